//! The state that outlives the process, and the one function that moves it.
//!
//! Live running, restart and verification all go through [`Snapshot::apply`]; there is no second way in which a
//! balance or a note could change.

use crate::chain::Link;
use crate::frame::{self, FrameError, Kind};
use crate::journal::{Entry, Grants, Note, Target};
use crate::old::CheckpointOfVersion1;
use crate::record::Record;
use ecovisor_core::{Accepted, AppId, Broken, Command, ContainerId, Inputs, Outcome, Refusal, Site};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The books.
    pub site: Site,
    /// What the operator granted to apps.
    pub grants: BTreeMap<AppId, Grants>,
    /// What containers are on this machine.
    pub targets: BTreeMap<ContainerId, Target>,
}

/// What an entry led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A command was accepted.
    Accepted(Accepted),
    /// A command was refused and changed nothing. Such a command is not journaled, so on a replay this is a damage.
    Refused(Refusal),
    /// A tick was settled.
    Settled(Box<Record>),
    /// A note was taken.
    Noted,
}

impl Snapshot {
    /// A site without grants and containers.
    #[must_use]
    pub fn new(site: Site) -> Self {
        Self { site, grants: BTreeMap::new(), targets: BTreeMap::new() }
    }

    /// Moves the state by one entry.
    ///
    /// # Errors
    /// [`Broken`] where an invariant does not hold: a bug. The state is of no use then.
    pub fn apply(&mut self, entry: &Entry) -> Result<Applied, Broken> {
        match entry {
            Entry::Command(command) => Ok(self.command(command)),
            Entry::Tick(inputs) => Ok(Applied::Settled(Box::new(self.settle(inputs)?))),
            Entry::Note(note) => {
                self.note(note);
                Ok(Applied::Noted)
            }
        }
    }

    fn command(&mut self, command: &Command) -> Applied {
        match self.site.command(command) {
            Ok(accepted) => Applied::Accepted(accepted),
            Err(refusal) => Applied::Refused(refusal),
        }
    }

    fn settle(&mut self, inputs: &Inputs) -> Result<Record, Broken> {
        // Names first: an app that is deleted from this tick on is settled in it and gone after it.
        let names = Record::names_of(&self.site);
        Ok(Record { outcome: self.step(inputs)?, ..names }.with_newcomers(&self.site))
    }

    /// Moves the state by a tick, as [`Self::apply`] does, for whoever has the names already: a simulation of a year
    /// would copy the same ones half a million times.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn step(&mut self, inputs: &Inputs) -> Result<Outcome, Broken> {
        let outcome = self.site.step(inputs)?;
        self.forget_the_gone();
        Ok(outcome)
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Grants { app, grants } => drop(self.grants.insert(*app, grants.clone())),
            Note::Target { container, target } => drop(self.targets.insert(*container, target.clone())),
        }
    }

    /// Nothing is staged right after a step, so what is in force is all there is.
    fn forget_the_gone(&mut self) {
        let (apps, containers) = (self.site.apps(true), self.site.containers(true));
        // Both in the order of creation, which is that of their numbers; only `house`, the first, stands last.
        let apps = apps.split_last().map_or(&[][..], |(_, apps)| apps);
        let is_there = |app: &AppId| *app == AppId::HOUSE || apps.binary_search_by_key(app, |a| a.id).is_ok();
        self.grants.retain(|app, _| is_there(app));
        self.targets.retain(|id, _| containers.binary_search_by_key(id, |container| container.id).is_ok());
    }
}

/// A snapshot with its place in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How many entries it covers; also the number of the first entry after it.
    pub seq: u64,
    /// The chain's link after the last of them.
    pub link: Link,
    /// The state.
    pub snapshot: Snapshot,
}

impl Checkpoint {
    /// As a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        frame::encode(Kind::Snapshot, self)
    }

    /// From a frame; what an earlier version wrote goes on as what this one would have written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        match frame::open_any(Kind::Snapshot, bytes)? {
            (1, payload) => {
                frame::unpack::<CheckpointOfVersion1>(payload)?.try_into().map_err(FrameError::Migration)
            }
            (_, payload) => frame::unpack(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_core::{AppName, AppPolicy, ContainerName, Rules, Share, Tick};
    use ecovisor_units::{Millis, Power};

    fn site() -> Snapshot {
        Snapshot::new(Site::new(Rules::default()).unwrap())
    }

    fn create(name: &str) -> Entry {
        let share = Share { solar_weight: 1, grid_limit: Power::from_watts(100), ..Share::default() };
        let name = AppName::new(name).unwrap();
        Entry::Command(Command::CreateApp { name, share, policy: AppPolicy::default() })
    }

    fn tick() -> Entry {
        Entry::Tick(Inputs { span: Millis::from_secs(1), ..Inputs::default() })
    }

    fn settled(applied: Applied) -> Record {
        match applied {
            Applied::Settled(record) => *record,
            other => panic!("not a tick: {other:?}"),
        }
    }

    #[test]
    fn notes_live_as_long_as_what_they_are_about() {
        let mut state = site();
        let Applied::Accepted(Accepted { app: Some(app), .. }) = state.apply(&create("web")).unwrap() else {
            panic!("refused");
        };
        let grants = Grants { owner_uid: Some(7), ..Grants::default() };
        state.apply(&Entry::Note(Note::Grants { app, grants: grants.clone() })).unwrap();
        let name = ContainerName::new("one").unwrap();
        let attach = Command::AttachContainer { app, name, ceiling: Power::from_watts(5) };
        let Applied::Accepted(Accepted { container: Some(container), .. }) =
            state.apply(&Entry::Command(attach)).unwrap()
        else {
            panic!("refused");
        };
        let target = Target::Gpu(0);
        state.apply(&Entry::Note(Note::Target { container, target: target.clone() })).unwrap();
        state.apply(&tick()).unwrap();
        assert_eq!(state.grants, BTreeMap::from([(app, grants)]));
        assert_eq!(state.targets, BTreeMap::from([(container, target)]));

        state.apply(&Entry::Command(Command::DetachContainer(container))).unwrap();
        assert_eq!(state.targets.len(), 1, "it is metered until the tick ends");
        state.apply(&tick()).unwrap();
        assert_eq!((state.targets.len(), state.grants.len()), (0, 1));
        state.apply(&Entry::Command(Command::DeleteApp(app))).unwrap();
        let record = settled(state.apply(&tick()).unwrap());
        assert_eq!(record.app_name(app).map(AppName::as_str), Some("web"), "named in its last tick");
        assert_eq!(state.grants.len(), 0);
    }

    #[test]
    fn a_refused_command_changes_nothing() {
        let mut state = site();
        state.apply(&create("web")).unwrap();
        let before = state.clone();
        assert_eq!(state.apply(&create("web")), Ok(Applied::Refused(Refusal::NameTaken)));
        assert_eq!(state, before);
    }

    #[test]
    fn a_checkpoint_survives_its_bytes() {
        let mut state = site();
        state.apply(&create("web")).unwrap();
        state.apply(&tick()).unwrap();
        let checkpoint = Checkpoint { seq: 2, link: Link::ORIGIN.after(b"x"), snapshot: state };
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint.clone()));
        assert_eq!(checkpoint.snapshot.site.tick(), Tick(1));
    }

    #[test]
    fn the_bytes_of_a_new_site_are_fixed() {
        let checkpoint = Checkpoint { seq: 0, link: Link::ORIGIN, snapshot: site() };
        let hex: String = checkpoint.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "02020762b0c9000000000000000000000000000000000000000000000000000000000000000000e807b81700",
            "00010001ffffffffffffffffff010000000000d00f03c0843db0ea01808040808040010005686f7573650000",
            "000000000000000000ffffffffffffffffff0100000000000000000000010100000000000100000000000001",
            "0000000000000000000000000000000000e807000000",
        );
        assert_eq!(hex, golden);
    }
}
