//! The common scene by hand: one loop over columns, with the rules that this scene needs and no others, no checks, no
//! types. What it makes is compared with what the core makes, so that both have done the same sums.

use crate::scenes::{Scene, conversion};
use ecovisor_core::ledger::Account;
use ecovisor_core::settle::Terms;
use ecovisor_core::{AppId, Flows};

const MILLION: u64 = 1_000_000;

/// Columns, a place for each app but `house`.
#[derive(Default)]
pub struct Plain {
    loads: [Vec<u64>; 2],
    solar: Vec<u64>,
    capacity: Vec<u64>,
    floor: Vec<u64>,
    charge_limit: Vec<u64>,
    discharge_limit: Vec<u64>,
    charge: Vec<u64>,
    grid_limit: Vec<u64>,
    carbon_limit: Vec<u64>,
    stored: Vec<u64>,
    content: Vec<u128>,
    moved: Moved,
    rates: Rates,
    totals: Totals,
    ticks: usize,
}

/// Efficiencies in ppm, mg/kWh.
#[derive(Clone, Copy, Default)]
struct Rates {
    charge: u64,
    discharge: u64,
    intensity: u64,
}

/// What moved.
#[derive(Default)]
struct Moved {
    load: Vec<u64>,
    solar_in: Vec<u64>,
    solar_to_load: Vec<u64>,
    solar_to_battery: Vec<u64>,
    spilled: Vec<u64>,
    curtailed: Vec<u64>,
    battery_to_load: Vec<u64>,
    grid_to_load: Vec<u64>,
    grid_to_battery: Vec<u64>,
    overdraft_grid: Vec<u64>,
    charge_loss: Vec<u64>,
    discharge_loss: Vec<u64>,
    carbon: Vec<u128>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    load: u64,
    solar: u64,
    import: u64,
    curtailed: u64,
    battery_in: u64,
    battery_out: u64,
    charge_loss: u64,
    discharge_loss: u64,
    stored: u64,
    carbon: u128,
}

impl Plain {
    /// The same apps in columns.
    pub fn new(scene: &Scene) -> Self {
        let apps = scene.accounts.len() - 1;
        let terms = &scene.terms[0][..apps];
        let column = |of: fn(&Terms) -> u64| terms.iter().map(of).collect::<Vec<u64>>();
        let accounts = &scene.accounts[..apps];
        let zeros = || vec![0; apps];
        let moved = Moved {
            load: zeros(),
            solar_in: zeros(),
            solar_to_load: zeros(),
            solar_to_battery: zeros(),
            spilled: zeros(),
            curtailed: zeros(),
            battery_to_load: zeros(),
            grid_to_load: zeros(),
            grid_to_battery: zeros(),
            overdraft_grid: zeros(),
            charge_loss: zeros(),
            discharge_loss: zeros(),
            carbon: vec![0; apps],
        };
        Self {
            loads: [0, 1].map(|turn| scene.terms[turn][..apps].iter().map(|t| t.load.get()).collect()),
            solar: column(|t| t.solar.get()),
            capacity: column(|t| t.capacity.get()),
            floor: column(|t| t.floor.get()),
            charge_limit: column(|t| t.charge_limit.get()),
            discharge_limit: column(|t| t.discharge_limit.get()),
            charge: column(|t| t.charge.get()),
            grid_limit: column(|t| t.grid_limit.get()),
            carbon_limit: column(|t| t.carbon_limit.get()),
            stored: accounts.iter().map(|a| a.stored.get()).collect(),
            content: accounts.iter().map(|a| a.carbon_content.get()).collect(),
            moved,
            rates: Rates {
                charge: conversion().charge.ppm().into(),
                discharge: conversion().discharge.ppm().into(),
                intensity: scene.site.intensity.get(),
            },
            totals: Totals::default(),
            ticks: 0,
        }
    }

    /// Settles the next tick.
    pub fn tick(&mut self) {
        let (apps, turn) = (self.stored.len(), self.ticks % 2);
        self.ticks += 1;
        let Rates { charge: charge_ppm, discharge: discharge_ppm, intensity } = self.rates;
        // Slices of one length, so that the loop is not kept busy with comparing indices.
        let (loads, solars) = (&self.loads[turn][..apps], &self.solar[..apps]);
        let (capacities, floors) = (&self.capacity[..apps], &self.floor[..apps]);
        let (charge_limits, discharge_limits) = (&self.charge_limit[..apps], &self.discharge_limit[..apps]);
        let (charges, grid_limits) = (&self.charge[..apps], &self.grid_limit[..apps]);
        let carbon_limits = &self.carbon_limit[..apps];
        let (stores, contents) = (&mut self.stored[..apps], &mut self.content[..apps]);
        let m = &mut self.moved;
        let (m_load, m_solar_in) = (&mut m.load[..apps], &mut m.solar_in[..apps]);
        let (m_solar_to_load, m_solar_to_battery) =
            (&mut m.solar_to_load[..apps], &mut m.solar_to_battery[..apps]);
        let (m_spilled, m_curtailed) = (&mut m.spilled[..apps], &mut m.curtailed[..apps]);
        let (m_battery_to_load, m_grid_to_load) =
            (&mut m.battery_to_load[..apps], &mut m.grid_to_load[..apps]);
        let (m_grid_to_battery, m_overdraft) =
            (&mut m.grid_to_battery[..apps], &mut m.overdraft_grid[..apps]);
        let (m_charge_loss, m_discharge_loss) = (&mut m.charge_loss[..apps], &mut m.discharge_loss[..apps]);
        let m_carbon = &mut m.carbon[..apps];
        let mut t = Totals::default();
        for i in 0..apps {
            let (load, solar, stored) = (loads[i], solars[i], stores[i]);
            let solar_to_load = solar.min(load);
            let room = capacities[i].saturating_sub(stored);
            let acceptance = charge_limits[i].min((room * MILLION).div_ceil(charge_ppm));
            let solar_to_battery = (solar - solar_to_load).min(acceptance);
            let spilled = solar - solar_to_load - solar_to_battery;
            let inside = stored + solar_to_battery * charge_ppm / MILLION;
            let charging = if inside - stored >= room { 0 } else { charges[i] };

            let mut open = load - solar_to_load;
            let beyond = if charging == 0 { u64::MAX } else { open.saturating_sub(grid_limits[i]) };
            let gives = inside.saturating_sub(floors[i]) * discharge_ppm / MILLION;
            let battery_to_load = open.min(gives).min(discharge_limits[i]).min(beyond);
            open -= battery_to_load;
            let grid_to_load = open.min(grid_limits[i]);
            let overdraft = open - grid_to_load;
            let wanted = if battery_to_load == 0 { charging.saturating_sub(solar_to_battery) } else { 0 };
            let grid_to_battery = wanted
                .min(acceptance - solar_to_battery)
                .min(grid_limits[i] - grid_to_load)
                .min(carbon_limits[i].saturating_sub(grid_to_load + overdraft));

            let input = solar_to_battery + grid_to_battery;
            let arrived = input * charge_ppm / MILLION;
            let left = (battery_to_load * MILLION).div_ceil(discharge_ppm);
            let import = grid_to_load + grid_to_battery + overdraft;
            let carbon = u128::from(import) * u128::from(intensity);
            if left > 0 && contents[i] > 0 {
                contents[i] -= contents[i] * u128::from(left) / u128::from(stored);
            }
            contents[i] += u128::from(grid_to_battery) * u128::from(intensity);
            stores[i] = stored + arrived - left;

            (m_load[i], m_solar_in[i], m_carbon[i]) = (load, solar, carbon);
            (m_solar_to_load[i], m_solar_to_battery[i]) = (solar_to_load, solar_to_battery);
            (m_spilled[i], m_curtailed[i]) = (spilled, spilled);
            (m_battery_to_load[i], m_grid_to_load[i]) = (battery_to_load, grid_to_load);
            (m_grid_to_battery[i], m_overdraft[i]) = (grid_to_battery, overdraft);
            (m_charge_loss[i], m_discharge_loss[i]) = (input - arrived, left - battery_to_load);
            t.load += load;
            t.solar += solar;
            t.import += import;
            t.curtailed += spilled;
            t.battery_in += input;
            t.battery_out += battery_to_load;
            t.charge_loss += input - arrived;
            t.discharge_loss += left - battery_to_load;
            t.stored += stores[i];
            t.carbon += carbon;
        }
        self.totals = std::hint::black_box(t);
    }

    /// What one app did, as the core tells it.
    fn flows(&self, i: usize) -> Flows {
        let (m, mut flows) = (&self.moved, Flows::default());
        let columns = [
            ("load", &m.load),
            ("solar_in", &m.solar_in),
            ("solar_to_load", &m.solar_to_load),
            ("solar_to_battery", &m.solar_to_battery),
            ("spilled", &m.spilled),
            ("curtailed", &m.curtailed),
            ("battery_to_load", &m.battery_to_load),
            ("grid_to_load", &m.grid_to_load),
            ("grid_to_battery", &m.grid_to_battery),
            ("overdraft_grid", &m.overdraft_grid),
            ("charge_loss", &m.charge_loss),
            ("discharge_loss", &m.discharge_loss),
        ];
        for (name, column) in columns {
            flows.set(name, column[i].into()).expect("a field of flows");
        }
        flows.set("carbon", m.carbon[i]).expect("a field of flows");
        flows
    }
}

/// Settles some ticks both ways and compares every figure.
///
/// # Panics
/// Where one differs.
pub fn compare(apps: usize, ticks: usize) {
    let mut scene = Scene::common(apps);
    let mut plain = Plain::new(&scene);
    for tick in 0..ticks {
        scene.tick();
        plain.tick();
        for (i, Account { stored, carbon_content, .. }) in scene.accounts[..apps].iter().enumerate() {
            assert_eq!(plain.flows(i), scene.settled.flows[i], "app {i} in tick {tick}");
            assert_eq!((plain.stored[i], plain.content[i]), (stored.get(), carbon_content.get()));
        }
        let house = &scene.settled.flows[apps];
        assert_eq!(scene.terms[0][apps].app, AppId::HOUSE);
        let (sums, site) = (plain.totals, &scene.settled.site);
        assert_eq!(u128::from(sums.load), site.load_booked.get());
        assert_eq!(u128::from(sums.import) + house.grid_drawn().get(), site.grid_import_booked.get());
        assert_eq!(u128::from(sums.solar - sums.curtailed), site.solar_booked.get());
    }
}
