//! The journal: everything that moves the state, in the order in which it did. Who has a snapshot and the entries after
//! it has the state.
//!
//! Besides the core's commands and inputs it holds notes: facts of the shell that the core does not know but that must
//! survive a restart, such as which cgroup a container is.

use crate::chain::Link;
use crate::frame::{self, FrameError, Kind};
use ecovisor_core::{AppId, Command, ContainerId, Inputs};
use serde::{Deserialize, Serialize};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A command that was accepted. Refused ones are audited, not journaled.
    Command(Command),
    /// All that a tick brought in; it settles the tick.
    Tick(Inputs),
    /// A fact of the shell.
    Note(Note),
}

/// A fact of the shell; it is forgotten when the app or the container goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// What the operator granted an app; it replaces what was granted before.
    Grants {
        /// Whose.
        app: AppId,
        /// All of it.
        grants: Grants,
    },
    /// What a container is on this machine; it replaces what it was before.
    Target {
        /// Which.
        container: ContainerId,
        /// What it is.
        target: Target,
    },
}

/// What an app may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The user who owns the app's socket and processes; `None` means only the operator.
    pub owner_uid: Option<u32>,
    /// The cgroup subtree that is delegated to it, as a canonical path below the cgroup root; `None` means none.
    pub cgroup_subtree: Option<String>,
    /// GPUs it may use, by index.
    pub gpu_indices: Vec<u32>,
    /// TPUs it may use, by index.
    pub tpu_indices: Vec<u32>,
}

/// What a container is on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// A cgroup, by its path below the cgroup root.
    Cgroup(String),
    /// A process and its descendants.
    ProcessTree {
        /// Its root.
        pid: u32,
        /// When the root started, in clock ticks since boot (field 22 of /proc/pid/stat), because pids are used again.
        start_ticks: u64,
    },
    /// A GPU, by index.
    Gpu(u32),
    /// A TPU, by index.
    Tpu(u32),
    /// An LXC container, by name.
    Lxc(String),
    /// An emulated load of the site's configuration, as `app/name`.
    Emulated(String),
}

/// An entry with its link of the chain: what a journal stores and exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The link after the entry.
    pub link: Link,
    /// The entry.
    pub entry: Entry,
}

impl Linked {
    /// The entry that follows `before`.
    #[must_use]
    pub fn new(before: Link, entry: Entry) -> Self {
        Self { link: before.after(&frame::pack(&entry)), entry }
    }

    /// Whether it follows `before`.
    #[must_use]
    pub fn follows(&self, before: Link) -> bool {
        self.link == before.after(&frame::pack(&self.entry))
    }

    /// As a frame: the link, then the entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entry = frame::pack(&self.entry);
        frame::seal(Kind::Journal, &[&self.link.bytes()[..], &entry].concat())
    }

    /// From a frame.
    ///
    /// # Errors
    /// What is wrong with it. Whether it follows its predecessor is another question.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (link, entry) = frame::decode_pair(Kind::Journal, bytes)?;
        Ok(Self { link, entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_core::{ContainerUse, Reading};
    use ecovisor_units::{Energy, Millis, Power};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn tick() -> Entry {
        let mut inputs = Inputs { span: Millis::new(1000), wall: Millis::new(5), ..Inputs::default() };
        inputs.readings.solar = Some(Reading::now(Energy::new(7)));
        let used = Some(Reading { value: Energy::new(3), age: Millis::new(2), counted: false });
        inputs.containers.push(ContainerUse { container: ContainerId::new(1), used });
        Entry::Tick(inputs)
    }

    #[test]
    fn the_bytes_of_entries_are_fixed() {
        let check = |entry: Entry, golden: &str| assert_eq!(hex(&frame::pack(&entry)), golden, "{entry:?}");
        check(tick(), "01e8070500000107000100000000000000010101030200");
        let command =
            Command::SetChargeRate { app: AppId::new(2), rate: Power::new(300), lease: Some(Millis::new(9)) };
        check(Entry::Command(command), "000702ac020109");
        let grants = Grants {
            owner_uid: Some(1000),
            cgroup_subtree: Some("web".into()),
            gpu_indices: vec![0, 1],
            ..Grants::default()
        };
        check(Entry::Note(Note::Grants { app: AppId::new(2), grants }), "02000201e807010377656202000100");
        let target = Target::ProcessTree { pid: 12, start_ticks: 300 };
        check(Entry::Note(Note::Target { container: ContainerId::new(1), target }), "020101010cac02");
    }

    #[test]
    fn a_linked_entry_survives_its_bytes_and_knows_its_predecessor() {
        let first = Linked::new(Link::ORIGIN, tick());
        let second = Linked::new(first.link, tick());
        assert_eq!(Linked::decode(&second.encode()), Ok(second.clone()));
        assert!(second.follows(first.link));
        assert!(!second.follows(Link::ORIGIN));
    }
}
