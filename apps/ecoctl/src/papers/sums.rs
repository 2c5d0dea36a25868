//! What an app's ticks sum up to over some stretch of time. The auditor's script sums the same from the tables alone.

use ecovisor_audit::TickRows;
use ecovisor_audit::books::AppRow;
use std::collections::BTreeMap;

/// µJ × mg/kWh in 1 mg: the µJ of a kWh.
const PRODUCT_PER_MG: u128 = 3_600_000_000_000;

/// Parts in a million.
const PPM: u128 = 1_000_000;

/// What is named after several flows together.
const TOGETHER: [(&str, &[&str]); 7] = [
    ("load_from_solar_uj", &["solar_to_load", "received_to_load"]),
    ("load_from_battery_uj", &["battery_to_load", "forced_to_load"]),
    ("load_from_grid_uj", &["grid_to_load"]),
    ("overdraft_uj", &["overdraft_grid", "overdraft_from_spill", "overdraft_lent"]),
    ("battery_in_uj", &["solar_to_battery", "received_to_battery", "grid_to_battery", "repaid_in"]),
    ("battery_out_uj", &["battery_to_load", "forced_to_load", "lent"]),
    ("grid_drawn_uj", &["grid_to_load", "grid_to_lenders", "grid_to_battery", "overdraft_grid"]),
];

/// The sums of an app's ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    ticks: u128,
    gap_ticks: u128,
    estimated_ticks: u128,
    settled_ms: u128,
    estimated_ms: u128,
    estimated_load_uj: u128,
    /// mg/kWh × ms: its mean over the time.
    intensity_ms: u128,
    /// The flows' names and sums, in the order of the table.
    flows: Vec<(&'static str, u128)>,
    /// After the last tick.
    stored_uj: u128,
    debt_uj: u128,
    loan_uj: u128,
}

impl Sums {
    /// Adds a tick of the app.
    pub fn add(&mut self, tick: &TickRows, row: &AppRow) {
        let span = u128::from(tick.span.get());
        self.ticks += 1;
        self.gap_ticks += u128::from(tick.gap);
        self.settled_ms += span;
        self.intensity_ms += u128::from(tick.site.intensity.get()) * span;
        if row.estimated {
            self.estimated_ticks += 1;
            self.estimated_ms += span;
            self.estimated_load_uj += u128::from(row.flows.load.get());
        }
        self.add_flows(row.flows.figures());
        self.stored_uj = row.account.stored.get().into();
        self.debt_uj = row.account.debt.get();
        self.loan_uj = row.account.loan.get();
    }

    fn add_flows(&mut self, flows: impl Iterator<Item = (&'static str, u128)>) {
        if self.flows.is_empty() {
            self.flows = flows.collect();
            return;
        }
        for ((_, sum), (_, more)) in self.flows.iter_mut().zip(flows) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Adds what came after.
    pub fn append(&mut self, later: Self) {
        self.ticks += later.ticks;
        self.gap_ticks += later.gap_ticks;
        self.estimated_ticks += later.estimated_ticks;
        self.settled_ms += later.settled_ms;
        self.estimated_ms += later.estimated_ms;
        self.estimated_load_uj += later.estimated_load_uj;
        self.intensity_ms += later.intensity_ms;
        self.add_flows(later.flows.into_iter());
        (self.stored_uj, self.debt_uj, self.loan_uj) = (later.stored_uj, later.debt_uj, later.loan_uj);
    }

    /// A flow's sum.
    fn flow(&self, name: &str) -> u128 {
        self.flows.iter().find(|(flow, _)| *flow == name).map_or(0, |(_, sum)| *sum)
    }

    /// The sum of several flows that have a name together.
    fn together(&self, name: &str) -> u128 {
        let flows =
            TOGETHER.iter().find(|(together, _)| *together == name).map_or(&[][..], |(_, flows)| flows);
        flows.iter().map(|flow| self.flow(flow)).fold(0, u128::saturating_add)
    }

    /// Every figure by its name, which ends in its unit.
    pub fn figures(&self) -> BTreeMap<String, u128> {
        let named = |(name, sum): &(&str, u128)| {
            let unit = if name.starts_with("carbon") { "product" } else { "uj" };
            (format!("{name}_{unit}"), *sum)
        };
        let together = TOGETHER.iter().map(|(name, _)| ((*name).to_owned(), self.together(name)));
        let load = self.flow("load");
        let share = |part: u128| parts(part.saturating_mul(PPM), load);
        let own = [
            ("ticks", self.ticks),
            ("gap_ticks", self.gap_ticks),
            ("estimated_ticks", self.estimated_ticks),
            ("settled_ms", self.settled_ms),
            ("estimated_ms", self.estimated_ms),
            ("estimated_load_uj", self.estimated_load_uj),
            ("estimated_load_ppm", share(self.estimated_load_uj)),
            ("load_from_solar_ppm", share(self.together("load_from_solar_uj"))),
            ("load_from_battery_ppm", share(self.together("load_from_battery_uj"))),
            ("load_from_grid_ppm", share(self.together("load_from_grid_uj"))),
            ("overdraft_ppm", share(self.together("overdraft_uj"))),
            ("intensity_mean_mg_per_kwh", parts(self.intensity_ms, self.settled_ms)),
            ("carbon_mg", parts(self.flow("carbon"), PRODUCT_PER_MG)),
            ("carbon_credit_mg", parts(self.flow("carbon_credit"), PRODUCT_PER_MG)),
            ("stored_uj", self.stored_uj),
            ("debt_uj", self.debt_uj),
            ("loan_uj", self.loan_uj),
        ];
        let own = own.map(|(name, figure)| (name.to_owned(), figure));
        self.flows.iter().map(named).chain(together).chain(own).collect()
    }
}

/// Rounded down; nothing of nothing.
fn parts(of: u128, whole: u128) -> u128 {
    of.checked_div(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_audit::books::Passed;
    use ecovisor_units::{Energy, Millis};

    fn tick(load: u64, grid: u64, estimated: bool) -> TickRows {
        let mut tick = TickRows { span: Millis::from_secs(1), ..TickRows::default() };
        tick.site.intensity = ecovisor_units::CarbonIntensity::new(400_000);
        let mut row = AppRow {
            id: serde_json::from_str("1").unwrap(),
            app: "web".to_owned(),
            estimated,
            flows: Default::default(),
            account: Default::default(),
            passed: Passed::default(),
            came: Passed::default(),
        };
        row.flows.load = Energy::new(load);
        row.flows.grid_to_load = Energy::new(grid);
        row.flows.carbon = ecovisor_units::Carbon::new(u128::from(grid) * 400_000);
        row.account.stored = Energy::new(load * 2);
        tick.apps.push(row);
        tick
    }

    fn sums(ticks: &[TickRows]) -> Sums {
        let mut sums = Sums::default();
        ticks.iter().for_each(|tick| sums.add(tick, &tick.apps[0]));
        sums
    }

    #[test]
    fn ticks_sum_up() {
        let figures = sums(&[tick(5, 3, false), tick(7, 9_000_000, true)]).figures();
        let check = |name: &str, due: u128| assert_eq!(figures[name], due, "{name}");
        check("ticks", 2);
        check("load_uj", 12);
        check("grid_drawn_uj", 9_000_003);
        check("load_from_grid_uj", 9_000_003);
        check("estimated_load_uj", 7);
        check("estimated_load_ppm", 583_333);
        check("intensity_mean_mg_per_kwh", 400_000);
        check("carbon_product", 9_000_003 * 400_000);
        check("carbon_mg", 1);
        check("stored_uj", 14);
    }

    #[test]
    fn the_whole_is_its_parts_one_after_the_other() {
        let ticks = [tick(5, 3, false), tick(7, 2, true), tick(1, 1, false)];
        let mut first = sums(&ticks[..1]);
        first.append(sums(&ticks[1..]));
        assert_eq!(first, sums(&ticks));
        let mut nothing = Sums::default();
        nothing.append(first.clone());
        assert_eq!(nothing, first);
    }
}
