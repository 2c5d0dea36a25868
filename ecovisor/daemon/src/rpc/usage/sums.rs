//! The sums of one bucket: of an app's ticks, or of what they were rolled up into.

use super::Whose;
use crate::rpc::show::{carbon, uj};
use ecovisor_audit::rollup::AppRollup;
use ecovisor_audit::{Level, Record, Rollup};
use ecovisor_core::split::split;
use ecovisor_core::{AppId, Flows};
use ecovisor_proto::v1;
use ecovisor_units::{Carbon, CarbonIntensity, EnergySum, Millis};
use std::collections::BTreeMap;

/// The sums of one bucket.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    settled: Millis,
    estimated: Millis,
    load: EnergySum,
    solar: EnergySum,
    battery: EnergySum,
    grid: EnergySum,
    received: EnergySum,
    overdraft: EnergySum,
    charged: EnergySum,
    grid_charged: EnergySum,
    exported: EnergySum,
    curtailed: EnergySum,
    given: EnergySum,
    carbon: Carbon,
    /// The coarsest level that it was summed from; `None` while it is empty.
    level: Option<Level>,
    /// Whether periods that reach over its edges were counted whole.
    coarse: bool,
    /// In the order of attachment.
    containers: BTreeMap<u32, (String, EnergySum, Carbon)>,
}

impl Sums {
    /// Whether no settled tick is in it.
    pub const fn is_empty(&self) -> bool {
        self.settled.is_zero()
    }

    /// How many containers it tells of.
    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    /// Adds one app's tick.
    pub fn add(&mut self, record: &Record, app: AppId, by_container: bool) {
        let outcome = &record.outcome;
        let Some(of) = outcome.apps.iter().find(|of| of.app == app) else { return };
        let f = &of.flows;
        self.settled = self.settled.saturating_add(outcome.span);
        if of.estimated {
            self.estimated = self.estimated.saturating_add(outcome.span);
        }
        self.load += f.load;
        self.solar += f.solar_to_load;
        self.battery += f.battery_to_load.wide() + f.forced_to_load;
        self.grid += f.grid_to_load;
        self.received += f.received_to_load;
        self.overdraft += f.overdraft();
        self.charged += f.battery_in();
        self.grid_charged += f.grid_to_battery;
        self.exported += f.exported;
        self.curtailed += f.curtailed;
        self.given += f.given;
        self.carbon += f.carbon;
        self.rests_on(Level::Tick);
        if by_container {
            self.add_containers(record, app, load_carbon(f, outcome.intensity));
        }
    }

    /// Adds what an app's ticks were rolled up into; `coarse` where some of them belong to another bucket.
    pub fn add_rollup(
        &mut self,
        level: Level,
        rollup: &Rollup,
        whose: &Whose,
        by_container: bool,
        coarse: bool,
    ) {
        for app in rollup.apps.iter().filter(|app| whose.is(app)) {
            self.add_app(app);
            self.rests_on(level);
            self.coarse |= coarse;
            for container in app.containers.iter().filter(|_| by_container) {
                let empty = || (container.name.clone(), EnergySum::ZERO, Carbon::ZERO);
                let (_, energy, carbon) = self.containers.entry(container.id.get()).or_insert_with(empty);
                *energy += EnergySum::new(container.energy);
                *carbon += container.carbon;
            }
        }
    }

    fn add_app(&mut self, app: &AppRollup) {
        let flow = |field: &str| EnergySum::new(app.flow(field).unwrap_or_default());
        let flows = |fields: &[&str]| fields.iter().map(|field| flow(field)).sum::<EnergySum>();
        self.settled = self.settled.saturating_add(app.settled);
        self.estimated = self.estimated.saturating_add(app.estimated);
        self.load += flow("load");
        self.solar += flow("solar_to_load");
        self.battery += flows(&["battery_to_load", "forced_to_load"]);
        self.grid += flow("grid_to_load");
        self.received += flow("received_to_load");
        self.overdraft += flows(&["overdraft_grid", "overdraft_from_spill", "overdraft_lent"]);
        self.charged += flows(&["solar_to_battery", "received_to_battery", "grid_to_battery", "repaid_in"]);
        self.grid_charged += flow("grid_to_battery");
        self.exported += flow("exported");
        self.curtailed += flow("curtailed");
        self.given += flow("given");
        self.carbon += Carbon::new(app.flow("carbon").unwrap_or_default());
    }

    fn rests_on(&mut self, level: Level) {
        self.level = self.level.max(Some(level));
    }

    /// The carbon of the app's load, split by what each container used: boundaries are rounded, so the parts sum to it.
    fn add_containers(&mut self, record: &Record, app: AppId, carbon: Carbon) {
        let own = || record.outcome.containers.iter().filter(|container| container.app == app);
        let parts = split(carbon.get(), own().map(|container| u128::from(container.energy.get())));
        for (container, part) in own().zip(parts) {
            let named = record.container_names.iter().find(|(id, _, _)| *id == container.container);
            let Some((id, _, name)) = named else { continue };
            let empty = || (name.to_string(), EnergySum::ZERO, Carbon::ZERO);
            let (_, energy, carbon) = self.containers.entry(id.get()).or_insert_with(empty);
            *energy += container.energy;
            *carbon += Carbon::new(part);
        }
    }

    /// As the wire has it.
    pub fn bucket(self, (start_ms, length_ms): (u64, u64)) -> v1::UsageBucket {
        let (carbon_product, carbon_mg) = carbon(self.carbon);
        let whole = self.level.filter(|_| self.coarse).map_or(0, |level| level.length().get());
        let length_ms = length_ms.max(whole);
        let containers = self.containers.into_values().map(|(container, energy, carbon)| {
            v1::ContainerUsage { container, energy_uj: uj(energy), carbon_mg: carbon.to_milligrams().get() }
        });
        v1::UsageBucket {
            start_ms,
            length_ms,
            settled_ms: self.settled.get(),
            estimated_ms: self.estimated.get(),
            load_uj: uj(self.load),
            solar_uj: uj(self.solar),
            battery_uj: uj(self.battery),
            grid_uj: uj(self.grid),
            received_uj: uj(self.received),
            overdraft_uj: uj(self.overdraft),
            charged_uj: uj(self.charged),
            grid_charged_uj: uj(self.grid_charged),
            exported_uj: uj(self.exported),
            curtailed_uj: uj(self.curtailed),
            given_uj: uj(self.given),
            carbon_mg,
            carbon_product,
            containers: containers.collect(),
            level: self.level.map_or(v1::UsageLevel::Unspecified, wire_level).into(),
            coarse: self.coarse,
        }
    }
}

/// A level, as the wire has it.
const fn wire_level(level: Level) -> v1::UsageLevel {
    match level {
        Level::Tick => v1::UsageLevel::Tick,
        Level::Minute => v1::UsageLevel::Minute,
        Level::Hour => v1::UsageLevel::Hour,
        Level::Day => v1::UsageLevel::Day,
    }
}

/// The carbon of what an app's load drew from the grid; what charging drew is its battery's.
fn load_carbon(flows: &Flows, intensity: CarbonIntensity) -> Carbon {
    (flows.grid_to_load.wide() + flows.overdraft_grid).carbon(intensity)
}
