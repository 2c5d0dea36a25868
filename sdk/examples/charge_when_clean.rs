//! Charges the battery from the grid while grid energy is clean, and lives off it while it is not.
//! `ECOVISOR_SOCKET=/run/ecovisor/app/web.sock charge_when_clean "200 g/kWh"`

use anyhow::Context as _;
use ecovisor_sdk::{Battery, CarbonIntensity, EnergySystem, Error, Power, VirtualEnergy};

/// What to charge and discharge at that intensity.
fn plan(battery: &Battery, carbon: CarbonIntensity, clean: CarbonIntensity) -> (Power, Power) {
    match carbon <= clean {
        true => (battery.charge_limit, Power::ZERO),
        false => (Power::ZERO, battery.discharge_limit),
    }
}

async fn shift(energy: &mut impl VirtualEnergy, clean: CarbonIntensity) -> Result<(), Error> {
    let mut planned = None;
    while let Some(tick) = energy.next_tick().await? {
        let (Some(battery), Some(carbon)) = (tick.coming.battery, tick.coming.grid_carbon) else { continue };
        let plan = plan(&battery, carbon, clean);
        if planned != Some(plan) {
            energy.set_battery_charge_rate(plan.0).await?;
            energy.set_battery_max_discharge(plan.1).await?;
            planned = Some(plan);
            println!("tick {}: {carbon}, charge {}, discharge up to {}", tick.tick, plan.0, plan.1);
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let clean = std::env::args().nth(1).context("say which intensity is clean, such as `200 g/kWh`")?;
    let mut energy = EnergySystem::connect().await?.session().await?;
    Ok(shift(&mut energy, clean.parse()?).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::fake::{Fake, carbon, with_battery};

    #[tokio::test]
    async fn settings_change_only_with_the_plan() {
        let limit = Power::from_watts(40);
        let battery = Battery { charge_limit: limit, discharge_limit: limit, ..Battery::default() };
        let hours = [100, 150, 300]
            .map(|grams| with_battery(carbon(CarbonIntensity::from_grams_per_kwh(grams)), battery));
        let mut energy = Fake::new(hours);
        shift(&mut energy, CarbonIntensity::from_grams_per_kwh(200)).await.unwrap();
        assert_eq!(energy.made().len(), 4);
    }
}
