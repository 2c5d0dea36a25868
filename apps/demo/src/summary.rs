//! What the run came to, from the rows of the ledger: exact sums, divided once at the end.

use anyhow::Context as _;
use ecovisor_sdk::operator::wire;
use ecovisor_sdk::{Carbon, CarbonIntensity, CarbonMass, Energy, EnergySum};

/// The operator's own app.
pub const HOUSE: &str = "house";

/// What one app used, from where, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The app.
    pub name: String,
    /// Energy used.
    pub load: EnergySum,
    /// Of it from own solar.
    pub solar: EnergySum,
    /// Of it from the battery.
    pub battery: EnergySum,
    /// Of it from what others spilled.
    pub received: EnergySum,
    /// Of it from the grid, within the limit.
    pub grid: EnergySum,
    /// Of it beyond what the app was entitled to.
    pub overdraft: EnergySum,
    /// Charged into the battery from the grid.
    pub grid_charged: EnergySum,
    /// What the battery holds at the end.
    pub battery_left: Energy,
    /// Carbon of all that was drawn from the grid, for load and for charging.
    pub carbon: Carbon,
    /// Of it what the battery's content has cost: for later, and not yet used.
    pub carbon_stored: Carbon,
    /// Carbon if all of the load had come from the grid, at each tick's intensity.
    pub carbon_without: Carbon,
}

impl Account {
    fn add(&mut self, row: &wire::AppRow, intensity: CarbonIntensity) -> anyhow::Result<()> {
        let flows = row.flows.as_ref().context("a row of the ledger has no flows")?;
        let energy = Energy::new;
        self.load += energy(flows.load_uj);
        self.solar += energy(flows.solar_to_load_uj);
        self.battery += energy(flows.battery_to_load_uj) + energy(flows.forced_to_load_uj);
        self.received += energy(flows.received_to_load_uj);
        self.grid += energy(flows.grid_to_load_uj);
        self.overdraft += energy(flows.overdraft_grid_uj)
            + energy(flows.overdraft_from_spill_uj)
            + energy(flows.overdraft_lent_uj);
        self.grid_charged += energy(flows.grid_to_battery_uj);
        self.battery_left = energy(row.charge_level_uj);
        self.carbon += product(&flows.carbon_product)?;
        self.carbon_without += energy(flows.load_uj).carbon(intensity);
        Ok(())
    }

    /// Whether the sources sum to the load.
    pub fn adds_up(&self) -> bool {
        self.solar + self.battery + self.received + self.grid + self.overdraft == self.load
    }

    /// Carbon of what was used: without what was charged and is still in the battery.
    pub fn carbon_used(&self) -> Carbon {
        self.carbon.less(self.carbon_stored)
    }

    /// What the ecovisor changed.
    pub fn saving(&self) -> Saving {
        Saving::between(self.carbon_without, self.carbon_used())
    }
}

/// The site, over the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteTotals {
    /// Solar production.
    pub solar: EnergySum,
    /// Import from the grid.
    pub grid_import: EnergySum,
    /// Export into the grid.
    pub grid_export: EnergySum,
    /// Into the battery.
    pub battery_in: EnergySum,
    /// Out of the battery.
    pub battery_out: EnergySum,
    /// All loads.
    pub load: EnergySum,
    /// Carbon of the site.
    pub carbon: Carbon,
}

/// All accounts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// The apps in the order of creation, `house` last.
    pub apps: Vec<Account>,
    /// The site.
    pub site: SiteTotals,
    /// Settled ticks.
    pub ticks: u64,
    /// Of them estimated: they rest on a held or assumed reading.
    pub ticks_estimated: u64,
    /// Start of the first tick, by the site's clock, in ms since 1970.
    pub from_ms: u64,
    /// End of the last.
    pub to_ms: u64,
}

impl Accounts {
    /// Adds a row of the ledger.
    ///
    /// # Errors
    /// Where the row is not as the wire promises.
    pub fn add(&mut self, row: &wire::LedgerRow) -> anyhow::Result<()> {
        use wire::ledger_row::Account as Of;
        match row.account.as_ref().context("a row of the ledger is nobody's")? {
            Of::App(app) => {
                let intensity = CarbonIntensity::new(row.grid_carbon_mg_per_kwh);
                self.account(&app.app).add(app, intensity)
            }
            Of::Site(site) => self.add_site(row, site),
        }
    }

    fn add_site(&mut self, row: &wire::LedgerRow, site: &wire::SiteFlows) -> anyhow::Result<()> {
        let booked =
            |flow: &Option<wire::MeteredFlow>| Energy::new(flow.as_ref().map_or(0, |flow| flow.booked_uj));
        if self.ticks == 0 {
            self.from_ms = row.wall_start_ms;
        }
        self.to_ms = row.wall_start_ms.saturating_add(row.span_ms);
        self.ticks += 1;
        self.ticks_estimated += u64::from(row.estimated);
        self.site.solar += booked(&site.solar);
        self.site.grid_import += booked(&site.grid_import);
        self.site.grid_export += booked(&site.grid_export);
        self.site.battery_in += booked(&site.battery_in);
        self.site.battery_out += booked(&site.battery_out);
        self.site.load += Energy::new(site.load_booked_uj);
        self.site.carbon += product(&site.carbon_product)?;
        Ok(())
    }

    /// Notes what the content of an app's battery has cost.
    pub fn store(&mut self, name: &str, carbon_content: CarbonMass) {
        self.account(name).carbon_stored = carbon_content.product();
    }

    /// Puts `house` last, as everywhere: in the first ticks it may be alone.
    pub fn order(&mut self) {
        self.apps.sort_by_key(|account| account.name == HOUSE);
    }

    fn account(&mut self, name: &str) -> &mut Account {
        let at = self.apps.iter().position(|account| account.name == name);
        let at = at.unwrap_or_else(|| {
            self.apps.push(Account { name: name.to_owned(), ..Account::default() });
            self.apps.len() - 1
        });
        &mut self.apps[at]
    }

    /// Whether every app's sources sum to its load, and the loads to the site's.
    pub fn add_up(&self) -> bool {
        let loads: EnergySum = self.apps.iter().map(|account| account.load).sum();
        self.apps.iter().all(Account::adds_up) && loads == self.site.load
    }
}

/// Carbon against what it would have been, in tenths of a per cent, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// There is nothing to compare: no load, or none that would have had carbon.
    Nothing,
    /// That much less.
    Less(u64),
    /// That much more: charged for later, or overdrawn.
    More(u64),
}

impl Saving {
    fn between(without: Carbon, with: Carbon) -> Self {
        // Divided by 10³ first: products of a run that is a thousand times a power station's year would not fit.
        let whole = without.get() / 1_000;
        let difference = |more: Carbon, less: Carbon| {
            let permille = more.less(less).get().checked_div(whole)?;
            u64::try_from(permille).ok()
        };
        match with <= without {
            true => difference(without, with).map_or(Self::Nothing, Self::Less),
            false => difference(with, without).map_or(Self::Nothing, Self::More),
        }
    }
}

/// The exact product, from its decimal text.
fn product(text: &str) -> anyhow::Result<Carbon> {
    text.parse().map(Carbon::new).with_context(|| format!("`{text}` is no carbon product"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KWH: u64 = 3_600_000_000_000;

    fn flows(load: u64, solar: u64, battery: u64, grid: u64) -> wire::Flows {
        wire::Flows {
            load_uj: load,
            solar_to_load_uj: solar,
            battery_to_load_uj: battery,
            grid_to_load_uj: grid,
            carbon_product: "0".to_owned(),
            ..wire::Flows::default()
        }
    }

    fn app_row(tick: u64, grams: u64, flows: wire::Flows) -> wire::LedgerRow {
        let app = wire::AppRow {
            app: "web".to_owned(),
            flows: Some(flows),
            charge_level_uj: tick,
            ..Default::default()
        };
        let account = Some(wire::ledger_row::Account::App(app));
        wire::LedgerRow { tick, grid_carbon_mg_per_kwh: grams * 1_000, account, ..Default::default() }
    }

    #[test]
    fn each_tick_counts_at_its_own_intensity() {
        let mut accounts = Accounts::default();
        // 1 kWh from the grid at 100 g, then 2 kWh from solar and battery while the grid stood at 400 g.
        let drawn =
            wire::Flows { carbon_product: (u128::from(KWH) * 100_000).to_string(), ..flows(KWH, 0, 0, KWH) };
        accounts.add(&app_row(0, 100, drawn)).unwrap();
        accounts.add(&app_row(1, 400, flows(2 * KWH, KWH, KWH, 0))).unwrap();
        let web = &accounts.apps[0];
        assert_eq!(web.carbon.to_milligrams().get(), 100_000);
        assert_eq!(web.carbon_without.to_milligrams().get(), 900_000);
        assert_eq!(web.saving(), Saving::Less(888));
        assert_eq!(web.battery_left, Energy::new(1));
        assert!(web.adds_up());
    }

    #[test]
    fn what_is_still_in_the_battery_is_not_used_yet() {
        let mut accounts = Accounts::default();
        // 1 kWh used and 3 kWh charged at 100 g, of which the 3 kWh are still there.
        let drawn = wire::Flows {
            grid_to_battery_uj: 3 * KWH,
            carbon_product: (u128::from(KWH) * 400_000).to_string(),
            ..flows(KWH, 0, 0, KWH)
        };
        accounts.add(&app_row(0, 100, drawn)).unwrap();
        assert_eq!(accounts.apps[0].saving(), Saving::More(3_000));
        accounts.store("web", CarbonMass::new(300_000));
        assert_eq!(accounts.apps[0].saving(), Saving::Less(0));
        assert_eq!(accounts.apps[0].grid_charged.get(), u128::from(3 * KWH));
    }

    #[test]
    fn energy_from_nowhere_does_not_add_up() {
        let mut accounts = Accounts::default();
        accounts.add(&app_row(0, 0, flows(10, 3, 3, 3))).unwrap();
        assert!(!accounts.apps[0].adds_up());
        assert!(!accounts.add_up());
    }

    #[test]
    fn loads_sum_to_the_sites() {
        let site = wire::SiteFlows {
            load_booked_uj: 10,
            solar: Some(wire::MeteredFlow { booked_uj: 4, ..Default::default() }),
            carbon_product: "7".to_owned(),
            ..Default::default()
        };
        let row = wire::LedgerRow {
            wall_start_ms: 100,
            span_ms: 20,
            estimated: true,
            account: Some(wire::ledger_row::Account::Site(site)),
            ..Default::default()
        };
        let mut accounts = Accounts::default();
        accounts.add(&app_row(0, 0, flows(10, 4, 3, 3))).unwrap();
        accounts.add(&row).unwrap();
        assert!(accounts.add_up());
        assert_eq!((accounts.ticks, accounts.ticks_estimated), (1, 1));
        assert_eq!((accounts.from_ms, accounts.to_ms), (100, 120));
        assert_eq!(accounts.site.solar, EnergySum::new(4));
    }

    #[test]
    fn a_saving_says_its_direction() {
        for (without, with, saving) in [
            (0, 0, Saving::Nothing),
            (0, 5, Saving::Nothing),
            (200_000, 50_000, Saving::Less(750)),
            (200_000, 200_000, Saving::Less(0)),
            (200_000, 300_000, Saving::More(500)),
        ] {
            assert_eq!(Saving::between(Carbon::new(without), Carbon::new(with)), saving, "{without} {with}");
        }
    }

    #[test]
    fn a_product_that_is_none_is_an_error() {
        let broken = wire::Flows { carbon_product: String::new(), ..flows(0, 0, 0, 0) };
        assert!(Accounts::default().add(&app_row(0, 0, broken)).is_err());
    }
}
