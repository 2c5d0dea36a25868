//! A restart: the newest snapshot, then every entry after it, through the one function that moves the state.

use super::handle::Mode;
use crate::store::{Batch, Store, StoreError};
use ecovisor_audit::{Applied, Entry, Record, Snapshot};
use ecovisor_core::{Broken, Rules, Site, Tick};
use std::path::{Path, PathBuf};

/// The state to go on from.
#[derive(Debug)]
pub struct Recovered {
    /// As the journal left it.
    pub state: Snapshot,
    /// Safe where an invariant broke again.
    pub mode: Mode,
    /// The last tick's record; `None` for a new site.
    pub last: Option<Record>,
    /// Whether the store was empty.
    pub is_new: bool,
    /// Entries that were replayed.
    pub replayed: usize,
}

/// Why a site cannot go on from its store.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry was accepted once and is refused now: the store was changed, or a bug.
    #[error("journal entry {0} of those after the last snapshot is refused now: {1}")]
    Refused(usize, ecovisor_core::Refusal),
    /// The rules of a new site cannot hold.
    #[error(transparent)]
    Rules(ecovisor_core::Refusal),
}

/// Counts starts that did not come to an end of their replay, in a small file: a daemon that dies of its own journal must
/// not die of it for ever.
#[derive(Debug)]
pub struct Attempts(PathBuf);

/// Starts that may die in their replay before the next one leaves the last tick alone. One may be a power cut.
const ATTEMPTS_MAX: u32 = 2;

impl Attempts {
    /// Notes that a replay begins; returns whether it is to leave the last tick alone.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn begin(state_dir: &Path) -> std::io::Result<(Self, LastTick)> {
        let path = state_dir.join("replaying");
        let died: u32 =
            std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        std::fs::write(&path, format!("{}\n", died.saturating_add(1)))?;
        Ok((Self(path), if died >= ATTEMPTS_MAX { LastTick::LeftAlone } else { LastTick::Replayed }))
    }

    /// Notes that it came to its end.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub fn end(self) -> std::io::Result<()> {
        std::fs::remove_file(self.0)
    }
}

/// What a replay does with the last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastTick {
    /// It is replayed like the others.
    Replayed,
    /// It has ended the daemon before: the site comes up in safe mode without it.
    LeftAlone,
}

/// Reads the store and replays; a new store gets its first snapshot, a site under `rules`. Records that were not
/// committed before the end are made again and committed.
///
/// # Errors
/// [`RecoverError`].
pub fn recover(store: &dyn Store, rules: &Rules, last_tick: LastTick) -> Result<Recovered, RecoverError> {
    let loaded = store.load()?;
    let Some(checkpoint) = loaded.checkpoint else {
        let state = Snapshot::new(Site::new(rules.clone()).map_err(RecoverError::Rules)?);
        store.commit(Batch { snapshot: Some(state.clone()), ..Batch::default() })?;
        return Ok(Recovered { state, mode: Mode::Normal, last: None, is_new: true, replayed: 0 });
    };
    let known = store.ticks()?.map(|(_, last)| last);
    let mut last = known.map(|tick| store.record(tick)).transpose()?.flatten();
    let is_tick = |entry: &Entry| matches!(entry, Entry::Tick(_));
    let until = match (last_tick, loaded.entries.iter().rposition(is_tick)) {
        (LastTick::LeftAlone, Some(last)) => last,
        (LastTick::Replayed, _) | (LastTick::LeftAlone, None) => loaded.entries.len(),
    };
    let replayed = replay(checkpoint.snapshot, &loaded.entries[..until], Snapshot::apply)?;
    let missing: Vec<Record> =
        replayed.records.into_iter().filter(|r| known.is_none_or(|known| r.outcome.tick > known)).collect();
    last = missing.last().cloned().or(last);
    if !missing.is_empty() {
        store.commit(Batch { records: missing, ..Batch::default() })?;
    }
    let mode = match (replayed.broken, until < loaded.entries.len()) {
        (None, false) => Mode::Normal,
        (Some((tick, broken)), _) => Mode::Safe { reason: format!("tick {}: {broken}", tick.0) },
        (None, true) => {
            let tick = replayed.state.site.tick().0;
            Mode::Safe { reason: format!("tick {tick}: the daemon died whenever it was replayed") }
        }
    };
    Ok(Recovered { state: replayed.state, mode, last, is_new: false, replayed: loaded.entries.len() })
}

struct Replayed {
    state: Snapshot,
    records: Vec<Record>,
    broken: Option<(Tick, Broken)>,
}

/// Replays `entries`; stops before one that breaks an invariant, with the state as it was before it.
fn replay(
    first: Snapshot,
    entries: &[Entry],
    mut apply: impl FnMut(&mut Snapshot, &Entry) -> Result<Applied, Broken>,
) -> Result<Replayed, RecoverError> {
    let (mut state, mut records) = (first.clone(), Vec::new());
    for (i, entry) in entries.iter().enumerate() {
        let tick = state.site.tick();
        match apply(&mut state, entry) {
            Ok(Applied::Settled(record)) => records.push(*record),
            Ok(Applied::Accepted(_) | Applied::Noted) => {}
            Ok(Applied::Refused(refusal)) => return Err(RecoverError::Refused(i, refusal)),
            Err(broken) => {
                // A step that failed leaves no state: the entries before it are replayed once more.
                let before = replay(first, &entries[..i], apply)?;
                return Ok(Replayed { broken: Some((tick, broken)), ..before });
            }
        }
    }
    Ok(Replayed { state, records, broken: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use ecovisor_core::{AppName, AppPolicy, Command, Inputs, Share};
    use ecovisor_units::Millis;

    fn tick() -> Entry {
        Entry::Tick(Inputs { span: Millis::from_secs(1), ..Inputs::default() })
    }

    fn create(name: &str) -> Entry {
        let name = AppName::new(name).unwrap();
        Entry::Command(Command::CreateApp { name, share: Share::default(), policy: AppPolicy::default() })
    }

    fn commit(store: &MemoryStore, entries: Vec<Entry>) {
        store.commit(Batch { entries, ..Batch::default() }).unwrap();
    }

    #[test]
    fn a_restart_goes_on_where_the_journal_ended_and_makes_missing_records_again() {
        let store = MemoryStore::new();
        assert!(recover(&store, &Rules::default(), LastTick::Replayed).unwrap().is_new);
        commit(&store, vec![create("web"), tick(), tick()]);
        let recovered = recover(&store, &Rules::default(), LastTick::Replayed).unwrap();
        assert!(!recovered.is_new);
        assert_eq!((recovered.state.site.tick(), recovered.replayed), (Tick(2), 3));
        assert_eq!(recovered.mode, Mode::Normal);
        assert_eq!(store.ticks().unwrap(), Some((Tick(0), Tick(1))));
        assert!(recovered.state.site.find("web").is_some());
    }

    #[test]
    fn an_invariant_that_breaks_again_leads_to_safe_mode_before_that_tick() {
        let first = Snapshot::new(Site::new(Rules::default()).unwrap());
        let broken = Broken { invariant: 3, what: "made up", app: None, left: 1, right: 2 };
        let replayed = replay(first, &[tick(), create("web"), tick(), tick()], |state, entry| match entry {
            Entry::Tick(_) if state.site.tick() == Tick(1) => Err(broken),
            entry => state.apply(entry),
        })
        .unwrap();
        assert_eq!(replayed.broken, Some((Tick(1), broken)));
        assert_eq!((replayed.state.site.tick(), replayed.records.len()), (Tick(1), 1));
        assert!(replayed.state.site.find("web").is_some(), "what came before the tick is kept");
    }

    #[test]
    fn an_entry_that_is_refused_now_is_named() {
        let store = MemoryStore::new();
        recover(&store, &Rules::default(), LastTick::Replayed).unwrap();
        commit(&store, vec![create("web"), create("web")]);
        assert!(matches!(
            recover(&store, &Rules::default(), LastTick::Replayed),
            Err(RecoverError::Refused(1, _))
        ));
    }

    #[test]
    fn a_tick_that_kills_every_start_is_left_alone_from_the_third_on() {
        let dir = tempfile::tempdir().unwrap();
        let begin = || Attempts::begin(dir.path()).unwrap();
        assert_eq!((begin().1, begin().1), (LastTick::Replayed, LastTick::Replayed));
        let (third, last_tick) = begin();
        assert_eq!(last_tick, LastTick::LeftAlone);
        let store = MemoryStore::new();
        recover(&store, &Rules::default(), LastTick::Replayed).unwrap();
        commit(&store, vec![tick(), create("web"), tick()]);
        let recovered = recover(&store, &Rules::default(), last_tick).unwrap();
        assert_eq!(recovered.state.site.tick(), Tick(1));
        assert!(
            matches!(&recovered.mode, Mode::Safe { reason } if reason.starts_with("tick 1:")),
            "{recovered:?}"
        );
        third.end().unwrap();
        assert_eq!(begin().1, LastTick::Replayed);
    }
}
