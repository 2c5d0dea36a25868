//! Prints what an app used, hour by hour, from which source and with how much carbon.
//! `ECOVISOR_SOCKET=/run/ecovisor/app/web.sock usage_report`

use ecovisor_sdk::{
    ByContainer, EnergySystem, Error, Millis, UsageBucket, UsageQuery, VirtualEnergy, WattHours,
};

const HOUR: Millis = Millis::from_secs(3_600);

fn line(bucket: &UsageBucket) -> String {
    let UsageBucket { start, load, solar, battery, grid, carbon, .. } = bucket;
    let [load, solar, battery, grid] = [load, solar, battery, grid].map(|energy| WattHours(energy.wide()));
    let mark = if bucket.estimated.is_zero() { "" } else { " (estimated)" };
    format!("{start}: {load} = solar {solar} + battery {battery} + grid {grid} + others; {carbon} CO2e{mark}")
}

async fn report(energy: &mut impl VirtualEnergy) -> Result<Vec<String>, Error> {
    let query = UsageQuery { step: Some(HOUR), by_container: ByContainer::Yes, ..UsageQuery::default() };
    let mut lines = Vec::new();
    for bucket in energy.usage(query).await? {
        lines.push(line(&bucket));
        for part in &bucket.containers {
            lines.push(format!("  {}: {}, {}", part.container, WattHours(part.energy.wide()), part.carbon));
        }
    }
    Ok(lines)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut energy = EnergySystem::connect().await?.unleased();
    for line in report(&mut energy).await? {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::{Energy, fake::Fake};

    #[tokio::test]
    async fn estimates_are_marked() {
        let load = Energy::from_watt_hours(2);
        let bucket = UsageBucket { load, solar: load, estimated: Millis::new(1), ..UsageBucket::default() };
        let lines = report(&mut Fake::new([]).with_usage(vec![bucket])).await.unwrap();
        assert!(lines[0].starts_with("0 ms: 2 Wh = solar 2 Wh + battery 0 mWh"), "{}", lines[0]);
        assert!(lines[0].ends_with("(estimated)"), "{}", lines[0]);
    }
}
