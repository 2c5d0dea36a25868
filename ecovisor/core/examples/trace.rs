//! Goes through a trace with a site of one app, as fast as the core goes, and says what came of it as one JSON object.
//!
//! The trace is CSV without a header, a line for each minute: solar in W, load in W, g CO2e/kWh, whole numbers. The site has
//! live solar, a lossless battery that belongs to the app, and a grid connection that takes and gives. With a second path,
//! the battery's level after each tick goes there, a line each, in µJ. hil-tests/vessim/compare.py lays both beside Vessim's.
//!
//! ```text
//! cargo run --release -p ecovisor-core --example trace -- TRACE.csv [LEVELS] [CAPACITY_WH] [LIMIT_W]
//! ```
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

use ecovisor_core::battery::Conversion;
use ecovisor_core::freshness::Patience;
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::*;
use ecovisor_units::*;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

const MINUTE: Millis = Millis::from_secs(60);

/// No limit that a trace of watts could reach: 1 GW.
const PLENTY: Power = Power::from_watts(1_000_000_000);

/// One line of the trace.
struct Minute {
    solar: Energy,
    load: Energy,
    intensity: CarbonIntensity,
}

/// What all ticks came to.
#[derive(Default)]
struct Totals {
    load: EnergySum,
    solar: EnergySum,
    import: EnergySum,
    export: EnergySum,
    charged: EnergySum,
    discharged: EnergySum,
    carbon: Carbon,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let trace = read(args.first().ok_or("the first argument is the path of a trace")?)?;
    let number = |at: usize, otherwise| args.get(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let (mut site, container) = site(number(2, 1_000)?, Power::from_watts(number(3, 500)?))?;
    let mut levels = Vec::with_capacity(trace.len());
    let (mut totals, mut outcome) = (Totals::default(), Outcome::default());
    let mut inputs = first_inputs(container);
    let began = Instant::now();
    for minute in &trace {
        inputs.readings.solar = Some(Reading::now(minute.solar));
        inputs.readings.intensity = Some(Reading::now(minute.intensity));
        inputs.containers[0].used = Some(Reading::now(minute.load));
        site.step_into(&inputs, &mut outcome)?;
        inputs.readings.battery_level = None;
        totals.add(&outcome.apps[0].flows);
        levels.push(outcome.apps[0].account.stored);
    }
    let took = began.elapsed();
    if let Some(path) = args.get(1) {
        let lines: Vec<String> = levels.iter().map(|level| level.get().to_string()).collect();
        std::fs::write(path, lines.join("\n") + "\n")?;
    }
    println!("{}", totals.json(trace.len(), took.as_secs_f64(), levels.last().copied().unwrap_or_default()));
    Ok(())
}

fn read(path: &str) -> Result<Vec<Minute>, Failure> {
    let line = |line: &str| -> Result<Minute, Failure> {
        let figures: Vec<u64> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let [solar, load, grams] = figures[..] else {
            return Err(format!("`{line}` is not solar_w,load_w,g_per_kwh").into());
        };
        Ok(Minute {
            solar: Power::from_watts(solar).over(MINUTE),
            load: Power::from_watts(load).over(MINUTE),
            intensity: CarbonIntensity::from_grams_per_kwh(grams),
        })
    };
    std::fs::read_to_string(path)?.lines().map(line).collect()
}

/// A site whose battery and grid connection are one app's, with one container.
fn site(capacity_wh: u64, limit: Power) -> Result<(Site, ContainerId), Failure> {
    let capacity = Energy::from_watt_hours(capacity_wh);
    let (charge_limit, discharge_limit) = (limit, limit);
    let conversion = Conversion::LOSSLESS;
    let mut site = Site::new(Rules {
        tick: MINUTE,
        longest_span: MINUTE,
        battery: Some(SiteBattery { capacity, charge_limit, discharge_limit, conversion }),
        solar_peak: PLENTY,
        solar_rule: SolarRule::Live { curtailable: true },
        grid: Some(GridConnection { import_limit: PLENTY, export_limit: PLENTY }),
        export: true,
        // Nobody reads this battery: the level that it begins with is believed for good, and the books go on from there.
        patience: Patience { young: MINUTE, hold_ticks: u32::MAX },
        ..Rules::default()
    })?;
    let battery = BatteryShare { capacity, floor: Energy::ZERO, charge_limit, discharge_limit };
    let share = Share { solar_weight: 1, battery, grid_limit: PLENTY };
    let name = AppName::new("app").ok_or("a name")?;
    let policy = AppPolicy { shortfall: Shortfall::Notify, ..AppPolicy::default() };
    let created = site.command(&Command::CreateApp { name, share, policy })?;
    let app = created.app.ok_or("an app was created")?;
    let name = ContainerName::new("main").ok_or("a name")?;
    let attached = site.command(&Command::AttachContainer { app, name, ceiling: PLENTY })?;
    let container = attached.container.ok_or("a container was attached")?;
    // Commands hold from the next tick: one of nothing, before the trace begins.
    site.step(&Inputs { span: MINUTE, ..first_inputs(container) })?;
    Ok((site, container))
}

/// The only reading of the battery's level: it is empty.
fn first_inputs(container: ContainerId) -> Inputs {
    let nothing = Some(Reading::now(Energy::ZERO));
    let intensity = Some(Reading::now(CarbonIntensity::ZERO));
    Inputs {
        span: MINUTE,
        readings: Readings { solar: nothing, battery_level: nothing, intensity, ..Readings::default() },
        containers: vec![ContainerUse { container, used: nothing }],
        ..Inputs::default()
    }
}

impl Totals {
    fn add(&mut self, flows: &Flows) {
        self.load += flows.load;
        self.solar += flows.solar_in;
        self.import += flows.grid_drawn();
        self.export += flows.exported;
        self.charged += flows.battery_in();
        self.discharged += flows.battery_out();
        self.carbon += flows.carbon;
    }

    /// Figures in µJ, carbon in µJ × mg/kWh, all as text, since JSON readers would make floats of them.
    fn json(&self, ticks: usize, seconds: f64, level: Energy) -> String {
        let figures = [
            ("load_uj", self.load.get()),
            ("solar_uj", self.solar.get()),
            ("import_uj", self.import.get()),
            ("export_uj", self.export.get()),
            ("charged_uj", self.charged.get()),
            ("discharged_uj", self.discharged.get()),
            ("carbon_uj_mg_per_kwh", self.carbon.get()),
            ("level_uj", level.get().into()),
        ];
        let figures = figures.map(|(name, figure)| format!(", \"{name}\": \"{figure}\"")).concat();
        format!("{{\"ticks\": {ticks}, \"seconds\": {seconds:.6}{figures}}}")
    }
}
