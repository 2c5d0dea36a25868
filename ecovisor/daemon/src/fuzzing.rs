//! What fuzz targets feed, and what the replay of their corpus feeds in every test run: any bytes where bytes come in from
//! outside. Whatever they are, nothing panics, and what is accepted keeps the books.
//!
//! | function | what comes in |
//! | --- | --- |
//! | [`config`](fn@config) | the configuration's text, up to a site that settles |
//! | [`journal`] | stored values: entries, snapshots, records, the past; and entries that move a state |
//! | [`calls`](calls::calls) | requests to every method of both services |

mod calls;

pub use calls::calls;

use crate::config::{self, Config};
use ecovisor_audit::frame::{decode, encode, open, seal};
use ecovisor_audit::rollup;
use ecovisor_audit::{Applied, Checkpoint, Entry, Kind, Linked, LinkedRecord, Record, Seal, Snapshot};
use ecovisor_core::battery::Conversion;
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::{Efficiency, Inputs, Reading, Readings, Rules, Site, SolarRule};
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};

/// A configuration's text: refused, or a site that can be told of and that settles.
///
/// # Panics
/// Where what was accepted does not hold: a bug.
pub fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(config) = Config::parse(text) else { return };
    assert!(!config::report(&config).contains("the rules cannot hold"));
    let rules = config.rules().expect("parsing has tried the rules");
    let tick = rules.tick;
    let mut site = Site::new(rules).expect("parsing has made the site");
    config.populate(&mut site).expect("parsing has made the groups and apps");
    for span in [Millis::new(1), tick, Millis::new(tick.get() * 4)] {
        for readings in [Readings::default(), sunny(span)] {
            let inputs = Inputs { span, readings, ..Inputs::default() };
            site.step(&inputs).expect("the books hold");
        }
    }
}

/// A tick's readings on a good day.
fn sunny(span: Millis) -> Readings {
    Readings {
        solar: Some(Reading::now(Power::from_watts(50).over(span))),
        load: Some(Reading::now(Power::from_watts(30).over(span))),
        intensity: Some(Reading::now(CarbonIntensity::from_grams_per_kwh(300))),
        ..Readings::default()
    }
}

/// A site with everything: the state that entries from outside move.
fn rules() -> Rules {
    let ppm = |ppm| Efficiency::new(ppm).unwrap_or(Efficiency::LOSSLESS);
    Rules {
        battery: Some(SiteBattery {
            capacity: Energy::from_watt_hours(1_000),
            charge_limit: Power::from_watts(500),
            discharge_limit: Power::from_watts(400),
            conversion: Conversion { charge: ppm(950_000), discharge: ppm(900_001) },
        }),
        solar_peak: Power::from_watts(300),
        solar_rule: SolarRule::Buffered,
        grid: Some(GridConnection {
            import_limit: Power::from_watts(500),
            export_limit: Power::from_watts(100),
        }),
        redistribute: true,
        ..Rules::default()
    }
}

/// Stored values. The first byte says which; a frame is sealed around the rest, since whoever wrote the store could.
///
/// # Panics
/// Where a value that was read is written otherwise, or an entry breaks the books: a bug.
pub fn journal(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 8 {
        0 => drop((
            Linked::decode(rest),
            Checkpoint::decode(rest),
            LinkedRecord::decode(rest),
            Seal::decode(rest),
        )),
        1 => again(Kind::Journal, rest, |frame| Linked::decode(frame).ok(), Linked::encode),
        2 => again(Kind::Snapshot, rest, |frame| Checkpoint::decode(frame).ok(), Checkpoint::encode),
        3 => again(Kind::Record, rest, |frame| Record::decode(frame).ok(), Record::encode),
        4 => again(Kind::LinkedRecord, rest, |frame| LinkedRecord::decode(frame).ok(), LinkedRecord::encode),
        5 => again(Kind::Seal, rest, |frame| Seal::decode(frame).ok(), Seal::encode),
        6 => {
            if let Ok(rollups) = rollup::decode(rest) {
                assert_eq!(rollup::decode(&rollup::encode(&rollups)).ok(), Some(rollups));
            }
        }
        _ => entries(rest),
    }
}

/// Reads a frame of those bytes; what is read is written and read again to the same.
fn again<T: PartialEq + std::fmt::Debug>(
    kind: Kind,
    payload: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    let frame = seal(kind, payload);
    assert_eq!(open(kind, &frame).ok(), Some(payload));
    if let Some(value) = read(&frame) {
        assert_eq!(read(&write(&value)), Some(value));
    }
}

/// Entries, one behind the other, move a state: none panics, none breaks the books, a refused one changes nothing, and the
/// state they lead to survives its bytes.
fn entries(mut bytes: &[u8]) {
    let mut state = Snapshot::new(Site::new(rules()).expect("these rules hold"));
    while let Ok((entry, rest)) = postcard::take_from_bytes::<Entry>(bytes) {
        bytes = rest;
        let before = matches!(entry, Entry::Command(_)).then(|| state.clone());
        let applied = state.apply(&entry).expect("no entry breaks the books");
        if let (Applied::Refused(_), Some(before)) = (&applied, before) {
            assert_eq!(state, before, "a refused command changes nothing");
        }
        if let Applied::Settled(record) = applied {
            assert_eq!(decode(Kind::Record, &encode(Kind::Record, &*record)), Ok(*record));
        }
    }
    assert_eq!(decode(Kind::Snapshot, &encode(Kind::Snapshot, &state)), Ok(state));
}
