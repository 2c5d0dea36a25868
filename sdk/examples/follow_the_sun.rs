//! Follows the sun: caps the calling process at the solar power that the app will have in the coming tick, so that it
//! draws nothing from battery or grid. `ECOVISOR_SOCKET=/run/ecovisor/app/web.sock follow_the_sun`

use ecovisor_sdk::{EnergySystem, Error, Power, Target, VirtualEnergy};

const CONTAINER: &str = "worker";

/// Below this the process makes no progress worth its idle power; it waits for more sun instead.
const WORTH_RUNNING: Power = Power::from_watts(2);

async fn follow(energy: &mut impl VirtualEnergy) -> Result<(), Error> {
    while let Some(tick) = energy.next_tick().await? {
        let sun = tick.coming.solar.power;
        let cap = if sun < WORTH_RUNNING { Power::ZERO } else { sun };
        energy.set_container_power_cap(CONTAINER, cap).await?;
        println!("tick {}: used {}, sun {sun}, cap {cap}", tick.tick, tick.load());
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut energy = EnergySystem::connect().await?.session().await?;
    energy.attach(CONTAINER, Target::this_process()).await?;
    Ok(follow(&mut energy).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::fake::{Fake, sunny};

    #[tokio::test]
    async fn the_cap_is_the_sun_or_nothing() {
        let mut energy = Fake::new([sunny(Power::from_watts(40)), sunny(Power::from_watts(1))]);
        energy.attach_now(CONTAINER);
        follow(&mut energy).await.unwrap();
        assert_eq!(energy.made().len(), 2);
        assert_eq!(energy.cap_of(CONTAINER), Some(Power::ZERO));
    }
}
