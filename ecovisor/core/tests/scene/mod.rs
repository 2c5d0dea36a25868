//! What tables are told with: one tick of `settle`, or a whole site that lives through ticks.
#![allow(dead_code, reason = "each file of tests takes what it needs")]

use ecovisor_core::battery::Conversion;
use ecovisor_core::freshness::Patience;
use ecovisor_core::ledger::{Account, Broken};
use ecovisor_core::settle::{Metered, SiteTerms, Terms, settle};
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::*;
use ecovisor_units::*;

pub fn e(microjoules: u64) -> Energy {
    Energy::new(microjoules)
}

pub fn sum(microjoules: u128) -> EnergySum {
    EnergySum::new(microjoules)
}

pub fn mw(milliwatts: u64) -> Power {
    Power::new(milliwatts)
}

pub fn ms(millis: u64) -> Millis {
    Millis::new(millis)
}

/// Half of what goes in arrives, half of what is stored comes out: losses one can do in one's head.
pub fn lossy() -> Conversion {
    let half = Efficiency::new(500_000).expect("a half");
    Conversion { charge: half, discharge: half }
}

/// One tick to be settled.
#[derive(Clone)]
pub struct Scene {
    pub site: SiteTerms,
    pub terms: Vec<Terms>,
    pub accounts: Vec<Account>,
    pub deficit: EnergySum,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Books {
    pub flows: Vec<Flows>,
    pub site: SiteFlows,
    pub accounts: Vec<Account>,
    pub deficit: EnergySum,
    pub charge_ended: Vec<AppId>,
}

/// Live and curtailable, lossless, with a grid, a meter for nothing, every deficit tolerated, and `house` without anything. Apps have all limits
/// open, a battery of 1000 with nothing in it, and neither load nor solar.
pub fn scene() -> Scene {
    let site = SiteTerms {
        solar_rule: SolarRule::Live { curtailable: true },
        solar: Energy::ZERO,
        redistribute: false,
        export_limit: Energy::ZERO,
        islanded: false,
        intensity: CarbonIntensity::new(3),
        conversion: Conversion::LOSSLESS,
        tolerance: Energy::MAX,
        metered: Metered::default(),
    };
    let house =
        Terms { app: AppId::HOUSE, battery_gives: true, carbon_limit: Energy::MAX, ..Terms::default() };
    Scene { site, terms: vec![house], accounts: vec![Account::default()], deficit: EnergySum::ZERO }
}

impl Scene {
    pub fn app(mut self, tell: impl FnOnce(&mut Terms, &mut Account)) -> Self {
        let house = self.terms.len() - 1;
        let mut terms = Terms {
            app: AppId::new(u32::try_from(house).expect("a few apps") + 1),
            weight: 1,
            capacity: e(1_000),
            charge_limit: Energy::MAX,
            discharge_limit: Energy::MAX,
            grid_limit: Energy::MAX,
            carbon_limit: Energy::MAX,
            battery_gives: true,
            ..Terms::default()
        };
        let mut account = Account::default();
        tell(&mut terms, &mut account);
        self.terms.insert(house, terms);
        self.accounts.insert(house, account);
        self
    }

    pub fn house(mut self, tell: impl FnOnce(&mut Terms, &mut Account)) -> Self {
        let house = self.terms.len() - 1;
        tell(&mut self.terms[house], &mut self.accounts[house]);
        self
    }

    pub fn site(mut self, tell: impl FnOnce(&mut SiteTerms)) -> Self {
        tell(&mut self.site);
        self
    }

    pub fn islanded(self) -> Self {
        self.site(|site| site.islanded = true)
    }

    pub fn deficit(mut self, deficit: u128) -> Self {
        self.deficit = sum(deficit);
        self
    }

    pub fn try_settle(mut self) -> Result<Books, Broken> {
        if let SolarRule::Live { .. } = self.site.solar_rule {
            let solar: EnergySum = self.terms.iter().map(|t| t.solar).sum();
            self.site.solar = solar.narrow().expect("a little solar");
        }
        let settled = settle(&self.site, &self.terms, &mut self.accounts, &mut self.deficit)?;
        Ok(Books {
            flows: settled.flows,
            site: settled.site,
            accounts: self.accounts,
            deficit: self.deficit,
            charge_ended: settled.charge_ended,
        })
    }

    pub fn settle(self) -> Books {
        self.try_settle().expect("the books are whole")
    }
}

/// A site that lives through ticks of one second: 1 mW is 1000 µJ in each.
pub struct World {
    pub site: Site,
}

/// A second a tick; a lossless battery of 1 J (1,000,000 µJ) with 100 mW each way; panels of 100 mW, live and
/// curtailable; 100 mW from the grid.
pub fn rules() -> Rules {
    Rules {
        tick: ms(1_000),
        longest_span: ms(2_000),
        battery: Some(SiteBattery {
            capacity: e(1_000_000),
            charge_limit: mw(100),
            discharge_limit: mw(100),
            conversion: Conversion::LOSSLESS,
        }),
        solar_peak: mw(100),
        solar_rule: SolarRule::Live { curtailable: true },
        grid: Some(GridConnection { import_limit: mw(100), export_limit: mw(0) }),
        patience: Patience { young: ms(2_000), hold_ticks: 2 },
        tolerance: Energy::MAX,
        ..Rules::default()
    }
}

pub fn share(weight: u32, capacity: u64, battery_mw: u64, grid_mw: u64) -> Share {
    let battery = BatteryShare {
        capacity: e(capacity),
        floor: e(0),
        charge_limit: mw(battery_mw),
        discharge_limit: mw(battery_mw),
    };
    Share { solar_weight: weight, battery, grid_limit: mw(grid_mw) }
}

impl World {
    pub fn new(rules: Rules) -> Self {
        Self { site: Site::new(rules).expect("these rules hold") }
    }

    pub fn ask(&mut self, command: Command) -> Accepted {
        self.site.command(&command).expect("this is accepted")
    }

    pub fn refused(&mut self, command: Command) -> Refusal {
        let before = self.site.clone();
        let refusal = self.site.command(&command).expect_err("this is refused");
        assert_eq!(self.site, before, "a refusal changes nothing");
        refusal
    }

    pub fn create_with(&mut self, name: &str, share: Share, policy: AppPolicy) -> AppId {
        self.ask(create(name, share, policy)).app.expect("an app is created")
    }

    pub fn create(&mut self, name: &str, share: Share) -> AppId {
        self.create_with(name, share, AppPolicy::default())
    }

    pub fn attach(&mut self, app: AppId, ceiling_mw: u64) -> ContainerId {
        let name = format!("c{}", self.site.containers(true).len());
        let name = ContainerName::new(&name).expect("a name");
        let accepted = self.ask(Command::AttachContainer { app, name, ceiling: mw(ceiling_mw) });
        accepted.container.expect("a container is attached")
    }

    pub fn pass(&mut self, inputs: &Inputs) -> Outcome {
        self.site.step(inputs).expect("the books are whole")
    }

    /// A tick in which the sun gives that much.
    pub fn sun(&mut self, solar: u64) -> Outcome {
        self.pass(&day(solar))
    }

    /// The same with the battery's level read; what it shows beyond the claims is `house`'s drift.
    pub fn watched(&mut self, solar: u64) -> Outcome {
        self.pass(&day_at(solar, 500_000))
    }

    pub fn stored(&self, app: AppId) -> u64 {
        self.site.account(app).expect("the app lives").stored.get()
    }
}

pub fn create(name: &str, share: Share, policy: AppPolicy) -> Command {
    Command::CreateApp { name: AppName::new(name).expect("a name"), share, policy }
}

/// A second with that much solar and 300 g/kWh; nobody reads the battery's level.
pub fn day(solar: u64) -> Inputs {
    let readings = Readings {
        solar: Some(Reading::now(e(solar))),
        intensity: Some(Reading::now(CarbonIntensity::new(300_000))),
        ..Readings::default()
    };
    Inputs { span: ms(1_000), readings, ..Inputs::default() }
}

/// The same with the battery's level.
pub fn day_at(solar: u64, level: u64) -> Inputs {
    let mut inputs = day(solar);
    inputs.readings.battery_level = Some(Reading::now(e(level)));
    inputs
}

pub fn used(container: ContainerId, energy: u64) -> ContainerUse {
    ContainerUse { container, used: Some(Reading::now(e(energy))) }
}

pub fn of(outcome: &Outcome, app: AppId) -> &ecovisor_core::site::AppOutcome {
    outcome.apps.iter().find(|a| a.app == app).expect("the app was settled")
}
