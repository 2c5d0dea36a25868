//! Lives of sites for the tests: a seed gives a snapshot, a journal and its records, with everything in them that the
//! books know: battery, buffer, islanding, spill, debts, lowered capacities, deleted apps, absurd meters.

use crate::{Applied, Checkpoint, Entry, Link, Linked, Record, Snapshot};
use ecovisor_core::battery::Conversion;
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::{
    AppId, AppName, AppPolicy, BatteryShare, Command, ContainerId, ContainerName, ContainerUse, Efficiency,
    Inputs, NodeId, Reading, Readings, Rules, Share, Site, SolarRule,
};
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};

/// A life and all that it left.
pub(crate) struct Life {
    pub(crate) start: Checkpoint,
    pub(crate) journal: Vec<Linked>,
    pub(crate) records: Vec<Record>,
    pub(crate) end: Snapshot,
}

/// Numbers that depend on a seed alone (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % below
    }
    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.roll(8) > 0).then_some(value)
    }
    fn power(&mut self, below: u64) -> Power {
        Power::new(self.roll(below))
    }
    fn reading(&mut self, below: u64) -> Option<Reading<Energy>> {
        let value = Energy::new(self.roll(below));
        self.maybe(Reading::now(value))
    }
}

/// A life of so many ticks.
pub(crate) fn life(seed: u64, ticks: u32) -> Life {
    lived(seed, ticks, |dice, tick, _| command(dice, tick))
}

/// A life in which shares nest: groups, apps in them, apps that divide theirs.
pub(crate) fn nested_life(seed: u64, ticks: u32) -> Life {
    lived(seed, ticks, |dice, tick, site| match dice.roll(3) {
        0 => command(dice, tick),
        _ => nesting(dice, site),
    })
}

fn lived(seed: u64, ticks: u32, command: fn(&mut Dice, u32, &Site) -> Command) -> Life {
    let mut dice = Dice(seed.wrapping_mul(2) + 1);
    let mut end = Snapshot::new(Site::new(rules(&mut dice)).unwrap());
    let start = Checkpoint { seq: 0, link: Link::ORIGIN, snapshot: end.clone() };
    let (mut journal, mut records, mut link) = (Vec::new(), Vec::new(), Link::ORIGIN);
    for tick in 0..ticks {
        let commands = (0..dice.roll(4))
            .map(|_| Entry::Command(command(&mut dice, tick, &end.site)))
            .collect::<Vec<_>>();
        for entry in commands.into_iter().chain([Entry::Tick(inputs(&mut dice, tick))]) {
            match end.apply(&entry).unwrap() {
                Applied::Refused(_) => continue,
                Applied::Settled(record) => records.push(*record),
                Applied::Accepted(_) | Applied::Noted => {}
            }
            let linked = Linked::new(link, entry);
            link = linked.link;
            journal.push(linked);
        }
    }
    Life { start, journal, records, end }
}

fn rules(dice: &mut Dice) -> Rules {
    let ppm =
        |dice: &mut Dice| Efficiency::new(900_000 + u32::try_from(dice.roll(100_001)).unwrap()).unwrap();
    let conversion = Conversion { charge: ppm(dice), discharge: ppm(dice) };
    let buffered = dice.roll(2) == 0;
    Rules {
        battery: Some(SiteBattery {
            capacity: Energy::new(1_000_000),
            charge_limit: Power::new(400),
            discharge_limit: Power::new(400),
            conversion,
        }),
        solar_peak: Power::new(100),
        solar_rule: if buffered {
            SolarRule::Buffered
        } else {
            SolarRule::Live { curtailable: dice.roll(2) == 0 }
        },
        grid: Some(GridConnection { import_limit: Power::new(500), export_limit: Power::new(50) }),
        redistribute: dice.roll(2) == 0,
        export: dice.roll(2) == 0,
        house_weight: 1,
        tolerance: Energy::new(dice.roll(20_000)),
        ..Rules::default()
    }
}

fn share(dice: &mut Dice) -> Share {
    let capacity = dice.roll(200_000);
    Share {
        solar_weight: u32::try_from(dice.roll(4)).unwrap(),
        battery: BatteryShare {
            capacity: Energy::new(capacity),
            floor: Energy::new(dice.roll(capacity + 1) / 4),
            charge_limit: dice.power(100),
            discharge_limit: dice.power(100),
        },
        grid_limit: dice.power(100),
    }
}

fn command(dice: &mut Dice, tick: u32) -> Command {
    let app = AppId::new(u32::try_from(1 + dice.roll(6)).unwrap());
    let lease = Some(Millis::new(1 + dice.roll(5000)));
    match dice.roll(8) {
        // A name comes back at once when its app has ended.
        0 | 1 => {
            let name = AppName::new(&format!("app-{}", dice.roll(4))).unwrap();
            Command::CreateApp { name, share: share(dice), policy: AppPolicy::default() }
        }
        2 => Command::ChangeShare { app, share: share(dice) },
        3 => Command::DrainApp(app),
        4 => Command::DeleteApp(app),
        5 => {
            let name = ContainerName::new(&format!("container-{tick}")).unwrap();
            Command::AttachContainer { app, name, ceiling: Power::new(200) }
        }
        6 => Command::SetChargeRate { app, rate: dice.power(100), lease },
        _ => Command::SetMaxDischarge { app, limit: dice.power(100), lease },
    }
}

/// A command about how shares nest, for places and apps that there are and some that there are not.
fn nesting(dice: &mut Dice, site: &Site) -> Command {
    let node = NodeId::new(u32::try_from(dice.roll(8)).unwrap());
    let parent = (dice.roll(2) == 0).then(|| NodeId::new(u32::try_from(dice.roll(8)).unwrap()));
    let apps = site.apps(true);
    let app = &apps[usize::try_from(dice.roll(u64::try_from(apps.len()).unwrap())).unwrap()];
    let name = |dice: &mut Dice, stem| AppName::new(&format!("{stem}-{}", dice.roll(3))).unwrap();
    let policy = AppPolicy::default();
    match dice.roll(14) {
        0 => Command::CreateGroup { name: name(dice, "group"), parent, share: share(dice) },
        1 => Command::ChangeGroupShare { group: node, share: share(dice) },
        2 => Command::DeleteGroup(node),
        3 => Command::Relocate { node, parent },
        4 => Command::SetOwnWeight { app: app.id, weight: u32::try_from(dice.roll(4)).unwrap() },
        5 | 6 => Command::ChangeShare { app: app.id, share: part(dice) },
        7 | 8 => Command::DeleteApp(app.id),
        9 | 10 => Command::CreateAppIn { parent: node, name: name(dice, "in"), share: part(dice), policy },
        _ => {
            let place = site.tree(true).leaf(app.id).map_or(node, |leaf| leaf.id);
            let label = if dice.roll(2) == 0 { "x" } else { "y" };
            let name = app.name.child(label).unwrap();
            Command::CreateAppIn { parent: place, name, share: part(dice), policy }
        }
    }
}

/// A part of a share.
fn part(dice: &mut Dice) -> Share {
    let whole = share(dice);
    let quarter = |power: Power| Power::new(power.get() / 4);
    let battery = BatteryShare {
        capacity: Energy::new(whole.battery.capacity.get() / 4),
        floor: Energy::ZERO,
        charge_limit: quarter(whole.battery.charge_limit),
        discharge_limit: quarter(whole.battery.discharge_limit),
    };
    Share { battery, grid_limit: quarter(whole.grid_limit), ..whole }
}

fn inputs(dice: &mut Dice, tick: u32) -> Inputs {
    let span = if dice.roll(20) == 0 { 1000 + dice.roll(9000) } else { 1000 };
    let used =
        |dice: &mut Dice, i| ContainerUse { container: ContainerId::new(i), used: dice.reading(150_000) };
    let intensity = Reading::now(CarbonIntensity::new(dice.roll(600_000)));
    Inputs {
        span: Millis::new(span),
        wall: Millis::new(u64::from(tick) * 1000),
        grid_lost: dice.roll(4) == 0,
        readings: Readings {
            solar_available: dice.reading(100_000).filter(|_| tick.is_multiple_of(2)),
            solar: dice.reading(100_000),
            grid_import: dice.reading(300_000),
            grid_export: dice.reading(50_000),
            battery_in: dice.reading(200_000),
            battery_out: dice.reading(200_000),
            battery_level: dice.reading(1_000_000),
            load: dice.reading(300_000),
            intensity: dice.maybe(intensity),
        },
        containers: (1..12).map(|i| used(dice, i)).collect(),
    }
}

#[test]
fn the_lives_hold_all_that_the_books_know() {
    let lives: Vec<Life> = (0..100).map(|seed| life(seed, 60)).collect();
    let rows: Vec<crate::TickRows> =
        lives.iter().flat_map(|life| life.records.iter().map(crate::TickRows::from)).collect();
    let never = |fields: &[&'static str], happened: &dyn Fn(&str) -> bool| -> Vec<&'static str> {
        fields.iter().copied().filter(|field| !happened(field)).collect()
    };
    let moved = |field: &str| {
        let flows = rows.iter().flat_map(|tick| &tick.apps).flat_map(|row| row.flows.figures());
        flows.into_iter().any(|(name, figure)| name == field && figure > 0)
    };
    assert_eq!(never(ecovisor_core::Flows::FIELDS, &moved), [""; 0]);
    let posted = |field: &str| {
        rows.iter()
            .flat_map(|tick| tick.site.flows.figures())
            .any(|(name, figure)| name == field && figure > 0)
    };
    assert_eq!(never(ecovisor_core::SiteFlows::FIELDS, &posted), [""; 0]);
    let passed = |of: fn(&crate::books::Passed) -> bool| {
        rows.iter().flat_map(|tick| &tick.apps).any(|row| of(&row.passed))
    };
    assert!(passed(|p| !p.claim.is_zero()) && passed(|p| !p.debt.is_zero()) && passed(|p| !p.loan.is_zero()));
}

#[test]
fn the_nested_lives_divide_shares_and_take_them_back() {
    let lives: Vec<Life> = (0..150).map(|seed| nested_life(seed, 60)).collect();
    let rows: Vec<crate::TickRows> =
        lives.iter().flat_map(|life| life.records.iter().map(crate::TickRows::from)).collect();
    let came = |of: fn(&crate::books::Passed) -> bool| {
        rows.iter().flat_map(|tick| &tick.apps).filter(|row| of(&row.came)).count()
    };
    let (claims, buffers) = (came(|p| !p.claim.is_zero()), came(|p| !p.buffer.is_zero()));
    let deepest = lives.iter().flat_map(|life| life.end.site.apps(true));
    let deepest = deepest.filter(|app| app.name.as_str().matches('.').count() == 2).count();
    let groups = lives.iter().filter(|life| life.end.site.tree(true).groups().len() > 1).count();
    assert!(
        [claims, buffers, deepest, groups].iter().all(|&seen| seen > 0),
        "{claims} {buffers} {deepest} {groups}"
    );
}
