//! Rollups as bytes: in columns, and what follows from other figures is left out.
//!
//! Where a figure is the sum of others by the rules of the books, only what differs from that sum is written: nothing, in
//! books that are in order.

use super::{AppRollup, ContainerRollup, FlowSums, Rollup, SiteSums};
use crate::cells::{Cells, CellsError, Reader, Writer, wide};
use crate::frame::{self, FrameError, Kind};
use ecovisor_core::{Account, AppId, ContainerId, Flows, SiteFlows, Tick};
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum, Millis};
use thiserror::Error;

/// Why rollups cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RollupError {
    /// The frame is not whole.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The columns are none of rollups.
    #[error(transparent)]
    Cells(#[from] CellsError),
    /// A name that is not among the names.
    #[error("name {0} is not among the names")]
    NoName(usize),
}

/// The place of a flow among an app's, found when this is compiled.
const fn flow(field: &str) -> usize {
    let mut at = 0;
    while !same(Flows::FIELDS[at], field) {
        at += 1;
    }
    at
}

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Flows that are sums of others, in an order in which each stands after those that it is a sum of.
const SUMS: [(usize, &[usize]); 4] = [
    (
        flow("spilled"),
        &[flow("given"), flow("exported"), flow("curtailed"), flow("kept"), flow("spill_to_overdraft")],
    ),
    (
        flow("solar_in"),
        &[flow("solar_to_load"), flow("solar_to_lenders"), flow("solar_to_battery"), flow("spilled")],
    ),
    (flow("received"), &[flow("received_to_load"), flow("received_to_lenders"), flow("received_to_battery")]),
    (
        flow("load"),
        &[
            flow("solar_to_load"),
            flow("received_to_load"),
            flow("battery_to_load"),
            flow("forced_to_load"),
            flow("grid_to_load"),
            flow("overdraft_grid"),
            flow("overdraft_from_spill"),
            flow("overdraft_lent"),
        ],
    ),
];

const CARBON: usize = flow("carbon");

/// What an app draws from the grid.
const DRAWN: [usize; 4] =
    [flow("grid_to_load"), flow("grid_to_lenders"), flow("grid_to_battery"), flow("overdraft_grid")];

/// Columns of the stretch itself.
const START: usize = 0;
const TICK: usize = 1;
const TICKS: usize = 2;
const WALL_FIRST: usize = 3;
const WALL_LAST: usize = 4;
const SETTLED: usize = 5;
const GAPS: usize = 6;
const ESTIMATED_TICKS: usize = 7;
const INTENSITY_LAST: usize = 8;
const INTENSITY_BELOW: usize = 9;
const INTENSITY_ABOVE: usize = 10;
const APPS: usize = 11;
/// How many flows an app and the site have: a later version may have more, which an earlier one's rollups lack.
const APP_FIELDS: usize = 12;
const SITE_FIELDS: usize = 13;
const SITE: usize = 14;

/// Room for the flows of the site; columns of apps follow, then those of containers.
const SITE_ROOM: usize = 128;

/// Columns of an app or a container at one place: of an app 16, and its flows.
const ROOM: usize = 64;
const APP_FLOWS: usize = 16;

const _: () = assert!(SITE + SiteFlows::FIELDS.len() <= SITE_ROOM && APP_FLOWS + Flows::FIELDS.len() <= ROOM);

/// The column at a place: apps stand first, in order, then containers.
const fn at_place(place: usize, column: usize) -> usize {
    SITE_ROOM.saturating_add(place.saturating_mul(ROOM)).saturating_add(column)
}

/// Names, each once.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    /// The place of a name, which is added where it is new. Few are: an app has one name for its life.
    fn place(&mut self, name: &str) -> u64 {
        let at = self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        u64::try_from(at).unwrap_or(u64::MAX)
    }
}

/// Rollups as a frame.
///
/// # Panics
/// Never: columns take every figure.
#[must_use]
pub fn encode(rollups: &[Rollup]) -> Vec<u8> {
    let (mut writer, mut names) = (Writer::default(), Names::default());
    for rollup in rollups {
        write(&mut writer, &mut names, rollup).expect("columns take every figure");
    }
    let mut payload = frame::pack(&(rollups.len(), &names.0));
    payload.extend(writer.encode());
    frame::seal(Kind::Rollups, &payload)
}

/// The rollups of a frame.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Vec<Rollup>, RollupError> {
    let payload = frame::open(Kind::Rollups, bytes)?;
    let ((count, names), rest): ((usize, Vec<String>), _) =
        postcard::take_from_bytes(payload).map_err(FrameError::Payload)?;
    let mut reader = Reader::whole(rest)?;
    let mut rollups = Vec::new();
    for _ in 0..count {
        rollups.push(read(&mut reader, &names)?);
    }
    reader.finish()?;
    Ok(rollups)
}

fn write(w: &mut Writer, names: &mut Names, r: &Rollup) -> Result<(), CellsError> {
    w.narrow(START, r.start.get())?;
    w.narrow(TICK, r.tick.0)?;
    w.narrow(TICKS, r.ticks)?;
    w.narrow(WALL_FIRST, r.wall_first.get().wrapping_sub(r.start.get()))?;
    w.narrow(WALL_LAST, r.wall_last.get().wrapping_sub(r.start.get()))?;
    w.narrow(SETTLED, r.settled.get())?;
    w.narrow(GAPS, r.gaps)?;
    w.narrow(ESTIMATED_TICKS, r.estimated_ticks)?;
    w.narrow(INTENSITY_LAST, r.intensity_last.get())?;
    w.narrow(INTENSITY_BELOW, r.intensity_last.less(r.intensity_min).get())?;
    w.narrow(INTENSITY_ABOVE, r.intensity_max.less(r.intensity_last).get())?;
    w.cell(APPS, wide(r.apps.len()))?;
    w.cell(APP_FIELDS, wide(Flows::FIELDS.len()))?;
    w.cell(SITE_FIELDS, wide(SiteFlows::FIELDS.len()))?;
    for (i, figure) in r.site.iter().enumerate() {
        w.cell(SITE + i, *figure)?;
    }
    let mut place = r.apps.len();
    for (i, app) in r.apps.iter().enumerate() {
        write_app(w, names, i, app, r)?;
        let mut left = app.flows[flow("load")];
        let mut carbon = app.flows[CARBON];
        for (j, container) in app.containers.iter().enumerate() {
            // The last of an app's containers used what the others did not.
            let is_last = j + 1 == app.containers.len();
            let (energy, part) = if is_last { (left, carbon) } else { (0, 0) };
            w.narrow(at_place(place, 0), container.id.get())?;
            w.narrow(at_place(place, 1), names.place(&container.name))?;
            w.cell(at_place(place, 2), energy.wrapping_sub(container.energy))?;
            w.cell(at_place(place, 3), part.wrapping_sub(container.carbon.get()))?;
            left = left.wrapping_sub(container.energy);
            carbon = carbon.wrapping_sub(container.carbon.get());
            place += 1;
        }
    }
    Ok(())
}

fn write_app(
    w: &mut Writer,
    names: &mut Names,
    place: usize,
    app: &AppRollup,
    of: &Rollup,
) -> Result<(), CellsError> {
    let at = |column| at_place(place, column);
    let account = &app.account;
    w.narrow(at(0), app.id.get())?;
    w.narrow(at(1), names.place(&app.name))?;
    w.narrow(at(2), of.ticks.wrapping_sub(app.ticks))?;
    w.narrow(at(3), of.settled.get().wrapping_sub(app.settled.get()))?;
    w.narrow(at(4), app.estimated_ticks)?;
    w.narrow(at(5), app.estimated.get())?;
    w.narrow(at(6), app.overdraft_ticks)?;
    w.narrow(at(7), account.stored.get())?;
    w.narrow(at(8), account.stored.get().wrapping_sub(app.level_min.get()))?;
    w.narrow(at(9), app.level_max.get().wrapping_sub(account.stored.get()))?;
    w.cell(at(10), account.debt.get())?;
    w.cell(at(11), account.loan.get())?;
    w.narrow(at(12), account.buffered.get())?;
    w.cell(at(13), account.carbon_content.get())?;
    w.cell(at(14), wide(app.containers.len()))?;
    for (i, figure) in app.flows.iter().enumerate() {
        let rest = figure.wrapping_sub(follows(i, &app.flows, of.intensity_last));
        w.cell(at(APP_FLOWS + i), rest)?;
    }
    Ok(())
}

/// What a flow is by the rules where the others are what they are; zero where it follows from none.
fn follows(field: usize, flows: &FlowSums, intensity: CarbonIntensity) -> u128 {
    let sum = |parts: &[usize]| parts.iter().fold(0_u128, |sum, part| sum.wrapping_add(flows[*part]));
    if field == CARBON {
        return sum(&DRAWN).wrapping_mul(intensity.get().into());
    }
    SUMS.iter().find(|(whole, _)| *whole == field).map_or(0, |(_, parts)| sum(parts))
}

fn read(r: &mut Reader, names: &[String]) -> Result<Rollup, RollupError> {
    let start = r.narrow(START, 0_u64)?;
    let mut rollup = Rollup {
        start: Millis::new(start),
        tick: Tick(r.narrow(TICK, 0)?),
        ticks: r.narrow(TICKS, 0)?,
        wall_first: Millis::new(start.wrapping_add(r.narrow(WALL_FIRST, 0)?)),
        wall_last: Millis::new(start.wrapping_add(r.narrow(WALL_LAST, 0)?)),
        settled: Millis::new(r.narrow(SETTLED, 0)?),
        gaps: r.narrow(GAPS, 0)?,
        estimated_ticks: r.narrow(ESTIMATED_TICKS, 0)?,
        intensity_last: CarbonIntensity::new(r.narrow(INTENSITY_LAST, 0)?),
        intensity_min: CarbonIntensity::ZERO,
        intensity_max: CarbonIntensity::ZERO,
        site: [0; SiteFlows::FIELDS.len()],
        apps: Vec::new(),
    };
    let last = rollup.intensity_last.get();
    rollup.intensity_min = CarbonIntensity::new(last.wrapping_sub(r.narrow(INTENSITY_BELOW, 0)?));
    rollup.intensity_max = CarbonIntensity::new(last.wrapping_add(r.narrow(INTENSITY_ABOVE, 0)?));
    let apps = r.narrow(APPS, 0_u64)?;
    let app_fields = fields(r, APP_FIELDS, Flows::FIELDS.len())?;
    let site_fields = fields(r, SITE_FIELDS, SiteFlows::FIELDS.len())?;
    read_site(r, &mut rollup.site, site_fields)?;
    let apps = usize::try_from(apps).map_err(|_| CellsError::Truncated)?;
    let mut place = apps;
    for i in 0..apps {
        let (mut app, containers) = read_app(r, names, i, &rollup, app_fields)?;
        read_containers(r, names, &mut place, containers, &mut app)?;
        rollup.apps.push(app);
    }
    Ok(rollup)
}

/// How many fields there are; more than are known were written by a later program.
fn fields(r: &mut Reader, column: usize, known: usize) -> Result<usize, CellsError> {
    let figure = r.cell(column, 0)?;
    usize::try_from(figure)
        .ok()
        .filter(|fields| *fields <= known)
        .ok_or(CellsError::Figure { column, figure })
}

fn read_site(r: &mut Reader, site: &mut SiteSums, fields: usize) -> Result<(), CellsError> {
    for (i, figure) in site.iter_mut().take(fields).enumerate() {
        *figure = r.cell(SITE + i, 0)?;
    }
    Ok(())
}

/// An app, and how many containers it has.
fn read_app(
    r: &mut Reader,
    names: &[String],
    place: usize,
    of: &Rollup,
    fields: usize,
) -> Result<(AppRollup, u64), RollupError> {
    let at = |column| at_place(place, column);
    let mut app = AppRollup {
        id: AppId::new(r.narrow(at(0), 0)?),
        name: name(r, at(1), names)?,
        ticks: of.ticks.wrapping_sub(r.narrow(at(2), 0)?),
        settled: Millis::new(of.settled.get().wrapping_sub(r.narrow(at(3), 0)?)),
        estimated_ticks: r.narrow(at(4), 0)?,
        estimated: Millis::new(r.narrow(at(5), 0)?),
        overdraft_ticks: r.narrow(at(6), 0)?,
        flows: [0; Flows::FIELDS.len()],
        level_min: Energy::ZERO,
        level_max: Energy::ZERO,
        account: Account::default(),
        containers: Vec::new(),
    };
    let stored = r.narrow(at(7), 0_u64)?;
    app.level_min = Energy::new(stored.wrapping_sub(r.narrow(at(8), 0)?));
    app.level_max = Energy::new(stored.wrapping_add(r.narrow(at(9), 0)?));
    app.account = Account {
        stored: Energy::new(stored),
        debt: EnergySum::new(r.cell(at(10), 0)?),
        loan: EnergySum::new(r.cell(at(11), 0)?),
        buffered: Energy::new(r.narrow(at(12), 0)?),
        carbon_content: Carbon::new(r.cell(at(13), 0)?),
    };
    let containers = r.narrow(at(14), 0_u64)?;
    for (i, figure) in app.flows.iter_mut().take(fields).enumerate() {
        *figure = r.cell(at(APP_FLOWS + i), 0)?;
    }
    for field in SUMS.iter().map(|(whole, _)| *whole).chain([CARBON]) {
        app.flows[field] = app.flows[field].wrapping_add(follows(field, &app.flows, of.intensity_last));
    }
    Ok((app, containers))
}

fn read_containers(
    r: &mut Reader,
    names: &[String],
    place: &mut usize,
    count: u64,
    app: &mut AppRollup,
) -> Result<(), RollupError> {
    let (mut left, mut carbon) = (app.flows[flow("load")], app.flows[CARBON]);
    for j in 0..count {
        let at = |column| at_place(*place, column);
        let (energy, part) = if j + 1 == count { (left, carbon) } else { (0, 0) };
        let container = ContainerRollup {
            id: ContainerId::new(r.narrow(at(0), 0)?),
            name: name(r, at(1), names)?,
            energy: energy.wrapping_sub(r.cell(at(2), 0)?),
            carbon: Carbon::new(part.wrapping_sub(r.cell(at(3), 0)?)),
        };
        left = left.wrapping_sub(container.energy);
        carbon = carbon.wrapping_sub(container.carbon.get());
        app.containers.push(container);
        *place = place.saturating_add(1);
    }
    Ok(())
}

fn name(r: &mut Reader, column: usize, names: &[String]) -> Result<String, RollupError> {
    let place = r.narrow(column, 0_u64)?;
    let place = usize::try_from(place).map_err(|_| CellsError::Truncated)?;
    names.get(place).cloned().ok_or(RollupError::NoName(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use crate::rollup::{Level, rolled};
    use proptest::prelude::*;

    fn minutes(seed: u64, ticks: u32) -> Vec<Rollup> {
        let life = life(seed, ticks);
        rolled(life.records.iter().map(|record| Rollup::of(record, Level::Minute)), Level::Minute)
    }

    #[test]
    fn the_bytes_of_rollups_are_fixed() {
        let mut rollup = minutes(3, 1).remove(0);
        rollup.site = [0; SiteFlows::FIELDS.len()];
        rollup.site[0] = 300;
        let mut app = AppRollup {
            name: "web".into(),
            level_min: Energy::new(5),
            account: Account { stored: Energy::new(9), ..Account::default() },
            ..rollup.apps.remove(0)
        };
        app.level_max = Energy::new(9);
        app.flows = [0; Flows::FIELDS.len()];
        app.flows[flow("grid_to_load")] = 7;
        app.flows[flow("load")] = 7;
        rollup.intensity_last = CarbonIntensity::new(2);
        rollup.intensity_min = CarbonIntensity::new(1);
        rollup.intensity_max = CarbonIntensity::new(2);
        app.flows[CARBON] = 14;
        let one = ContainerRollup {
            id: ContainerId::new(1),
            name: "one".into(),
            energy: 7,
            carbon: Carbon::new(14),
        };
        app.containers = vec![one];
        rollup.apps = vec![app];
        let bytes = encode(std::slice::from_ref(&rollup));
        assert_eq!(decode(&bytes), Ok(vec![rollup]));
        let crc = crc32fast::hash(&bytes);
        assert_eq!((bytes.len(), format!("{crc:08x}")), (339, "f65273f5".to_owned()));
    }

    #[test]
    fn damage_is_found() {
        let bytes = encode(&minutes(4, 70));
        let mut flipped = bytes.clone();
        flipped[50] ^= 1;
        assert!(matches!(decode(&flipped), Err(RollupError::Frame(FrameError::Checksum { .. }))));
        let cut = frame::seal(Kind::Rollups, &bytes[6..bytes.len() - 1]);
        assert!(matches!(decode(&cut), Err(RollupError::Cells(CellsError::Truncated))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_rollup_comes_back(seed in any::<u64>()) {
            let minutes = minutes(seed, 150);
            prop_assert_eq!(decode(&encode(&minutes)), Ok(minutes));
        }

        #[test]
        fn arbitrary_payloads_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&frame::seal(Kind::Rollups, &bytes));
        }
    }
}
