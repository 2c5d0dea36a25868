//! What each app makes of what it sees: policies, without anything around them. They run in the apps, above the
//! ecovisor, which knows nothing of them.

use crate::scene::App;
use ecovisor_sdk::{Battery, CarbonIntensity, ComingTick, Forecast, Millis, Power};

/// What an app does in the coming tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How much its workers work, in thousandths of a core.
    pub millicores: u32,
    /// At what rate the battery is charged; `None` leaves it at its default.
    pub charge: Option<Power>,
    /// What the battery gives at most; `None` leaves it at its default.
    pub discharge: Option<Power>,
    /// The cap of its containers; `None`: none.
    pub cap: Option<Power>,
}

/// What an app knows besides the tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knowledge {
    /// What a busy core draws.
    pub core_power: Power,
    /// Bounds of clean and dirty; `None` where nothing is known of the coming day.
    pub bounds: Option<Bounds>,
    /// Whether caps are enforced: an app that is only metered keeps to its cap by itself.
    pub enforced: bool,
}

/// The intensities that bound the cleanest and the dirtiest third of the coming day, in mg CO2e/kWh: advice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    clean_mg_per_kwh: f64,
    dirty_mg_per_kwh: f64,
}

impl Bounds {
    /// From a forecast; `None` where it says nothing of carbon.
    pub fn of(forecast: &Forecast) -> Option<Self> {
        let series = forecast.carbon_mg_per_kwh.as_ref()?;
        let mut steps: Vec<f64> = series.steps.iter().map(|step| step.p50).collect();
        steps.sort_by(f64::total_cmp);
        let at =
            |thirds: usize| steps.get((steps.len() * thirds / 3).min(steps.len().saturating_sub(1))).copied();
        Some(Self { clean_mg_per_kwh: at(1)?, dirty_mg_per_kwh: at(2)? })
    }

    fn grade(&self, carbon: CarbonIntensity) -> Grade {
        // Beyond 4 t/kWh all is dirty alike.
        let carbon = f64::from(u32::try_from(carbon.get()).unwrap_or(u32::MAX));
        match () {
            () if carbon <= self.clean_mg_per_kwh => Grade::Clean,
            () if carbon >= self.dirty_mg_per_kwh => Grade::Dirty,
            () => Grade::Between,
        }
    }
}

/// How clean the grid is, against the coming day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Clean,
    Between,
    Dirty,
}

/// What an app does in the tick that comes, which begins at `wall`.
pub fn plan(app: App, coming: &ComingTick, wall: Millis, knowledge: &Knowledge) -> Plan {
    let grade = knowledge.bounds.zip(coming.grid_carbon).map(|(bounds, carbon)| bounds.grade(carbon));
    match app {
        App::Trainer => train(coming, grade, knowledge.core_power),
        App::Web => serve(coming, grade, wall),
        App::Batch => follow_the_sun(coming, knowledge),
    }
}

/// Most that the trainer's two workers do.
pub const TRAINER_MILLICORES: u32 = 500;
/// Below this, training makes no progress worth its overhead: it is suspended.
const TRAINER_MILLICORES_MIN: u32 = 50;
/// What is in the battery is spread over so long.
const BATTERY_SPREAD: Millis = Millis::from_secs(2 * 3_600);

/// Runs at full speed while the grid is clean, and else as fast as sun and battery carry: suspend and resume by the
/// carbon's percentile, with scaling in between.
fn train(coming: &ComingTick, grade: Option<Grade>, core_power: Power) -> Plan {
    let stored =
        coming.battery.map_or(Power::ZERO, |battery| battery.above_floor().mean_power(BATTERY_SPREAD));
    let own = millicores_of(coming.solar.power.saturating_add(stored), core_power).min(TRAINER_MILLICORES);
    let millicores = match grade {
        Some(Grade::Clean) => TRAINER_MILLICORES,
        Some(Grade::Between | Grade::Dirty) | None if own < TRAINER_MILLICORES_MIN => 0,
        Some(Grade::Between | Grade::Dirty) | None => own,
    };
    Plan { millicores, ..Plan::default() }
}

/// What the web app's requests need in each hour of the day (UTC), in thousandths of a core: a quiet night and an
/// evening peak in California.
const WEB_MILLICORES: [u32; 24] = [
    250, 280, 300, 300, 290, 270, 240, 200, 160, 130, 120, 120, 130, 150, 180, 200, 210, 220, 220, 210, 210,
    220, 230, 240,
];
/// Rate at which the web app's battery charges from the grid.
const WEB_CHARGE: Power = Power::from_watts(30);

/// Serves whatever comes; charges while the grid is clean and lives off the battery while it is dirty.
fn serve(coming: &ComingTick, grade: Option<Grade>, wall: Millis) -> Plan {
    let hour = wall.get() / 3_600_000 % 24;
    let hour = usize::try_from(hour).unwrap_or(0);
    let millicores = WEB_MILLICORES.get(hour).copied().unwrap_or_default();
    let (charge, discharge) = match (grade, coming.battery) {
        (None, _) | (_, None) => (None, None),
        (Some(Grade::Clean), Some(battery)) => (Some(charge_into(&battery)), Some(Power::ZERO)),
        (Some(Grade::Between), Some(_)) => (Some(Power::ZERO), Some(Power::ZERO)),
        (Some(Grade::Dirty), Some(battery)) => (Some(Power::ZERO), Some(battery.discharge_limit)),
    };
    Plan { millicores, charge, discharge, cap: None }
}

/// Nothing where the battery is nearly full: a charge that ends by itself would be asked for again at every tick.
fn charge_into(battery: &Battery) -> Power {
    let nearly_full = battery.room().get() < battery.capacity.get() / 20;
    if nearly_full { Power::ZERO } else { WEB_CHARGE.min(battery.charge_limit) }
}

/// What the batch app would always like to do.
const BATCH_MILLICORES: u32 = 400;
/// Below this much sun it waits.
const BATCH_SUN_MIN: Power = Power::from_watts(2);

/// Caps itself at the solar power of the coming tick. Where nobody enforces that, it keeps to it.
fn follow_the_sun(coming: &ComingTick, knowledge: &Knowledge) -> Plan {
    let sun = coming.solar.power;
    if sun < BATCH_SUN_MIN {
        return Plan { cap: Some(Power::ZERO), ..Plan::default() };
    }
    let own = millicores_of(sun, knowledge.core_power).min(BATCH_MILLICORES);
    let millicores = if knowledge.enforced { BATCH_MILLICORES } else { own };
    Plan { millicores, cap: Some(sun), ..Plan::default() }
}

/// How much of a core a power carries, in thousandths, rounded down.
fn millicores_of(power: Power, core_power: Power) -> u32 {
    let millicores = power.get().saturating_mul(1_000).checked_div(core_power.get()).unwrap_or(0);
    u32::try_from(millicores).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::{Energy, Quantiles, Series, Solar};

    const CORE: Power = Power::from_watts(40);

    /// A day of 100, 200, … 2400 g/kWh: clean up to 900, dirty from 1700.
    fn knowledge() -> Knowledge {
        let steps = (1..=24).map(|i| Quantiles { p50: f64::from(i) * 100_000.0, ..Quantiles::default() });
        let series = Series { source: "trace".to_owned(), steps: steps.collect(), ..Series::default() };
        let forecast = Forecast { carbon_mg_per_kwh: Some(series), ..Forecast::default() };
        Knowledge { core_power: CORE, bounds: Bounds::of(&forecast), enforced: true }
    }

    fn coming(sun_w: u64, grams: u64, battery: Option<Battery>) -> ComingTick {
        let solar = Solar { power: Power::from_watts(sun_w), ..Solar::default() };
        let grid_carbon = Some(CarbonIntensity::from_grams_per_kwh(grams));
        ComingTick { solar, grid_carbon, battery, ..ComingTick::default() }
    }

    fn battery(stored_wh: u64) -> Battery {
        let limit = Power::from_watts(40);
        Battery {
            charge_level: Energy::from_watt_hours(stored_wh),
            capacity: Energy::from_watt_hours(100),
            charge_limit: limit,
            discharge_limit: limit,
            ..Battery::default()
        }
    }

    #[test]
    fn the_trainer_runs_on_clean_grid_or_on_what_it_has() {
        for (sun_w, grams, stored_wh, millicores) in [
            (0, 900, 0, 500),    // clean
            (0, 901, 0, 0),      // not clean, nothing of its own: suspended
            (10, 1_000, 0, 250), // 10 W of 40 W a core
            (1, 1_000, 0, 0),    // 25 millicores are not worth it
            (4, 2_000, 20, 350), // 4 W and 20 Wh over two hours
            (90, 2_400, 0, 500),
        ] {
            let plan = plan(
                App::Trainer,
                &coming(sun_w, grams, Some(battery(stored_wh))),
                Millis::ZERO,
                &knowledge(),
            );
            assert_eq!(plan.millicores, millicores, "{sun_w} W, {grams} g/kWh, {stored_wh} Wh");
        }
    }

    #[test]
    fn web_charges_while_clean_and_discharges_while_dirty() {
        let (nothing, rate, all) =
            (Some(Power::ZERO), Some(Power::from_watts(30)), Some(Power::from_watts(40)));
        for (grams, stored_wh, charge, discharge) in [
            (100, 50, rate, nothing),
            (100, 96, nothing, nothing), // nearly full
            (1_200, 50, nothing, nothing),
            (1_700, 50, nothing, all),
        ] {
            let plan =
                plan(App::Web, &coming(0, grams, Some(battery(stored_wh))), Millis::ZERO, &knowledge());
            assert_eq!((plan.charge, plan.discharge), (charge, discharge), "{grams} g/kWh, {stored_wh} Wh");
            assert_eq!(plan.millicores, 250);
        }
    }

    #[test]
    fn without_a_forecast_settings_stay_at_their_defaults() {
        let knowledge = Knowledge { bounds: None, ..knowledge() };
        let plan =
            plan(App::Web, &coming(0, 100, Some(battery(50))), Millis::from_secs(2 * 3_600), &knowledge);
        assert_eq!(plan, Plan { millicores: 300, ..Plan::default() });
    }

    #[test]
    fn batch_is_capped_at_its_sun_and_keeps_to_it_where_nobody_enforces_it() {
        let sun = |watts| coming(watts, 100, None);
        let batch = |coming: &ComingTick, enforced| {
            let plan = plan(App::Batch, coming, Millis::ZERO, &Knowledge { enforced, ..knowledge() });
            (plan.millicores, plan.cap)
        };
        assert_eq!(batch(&sun(8), true), (400, Some(Power::from_watts(8))));
        assert_eq!(batch(&sun(8), false), (200, Some(Power::from_watts(8))));
        assert_eq!(batch(&sun(1), true), (0, Some(Power::ZERO)));
    }
}
