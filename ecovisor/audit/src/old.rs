//! What earlier versions stored, read as they wrote it; the core brings it to today's form.

use crate::chain::Link;
use crate::journal::{Grants, Target};
use crate::snapshot::{Checkpoint, Snapshot};
use ecovisor_core::site::SiteOfVersion1;
use ecovisor_core::{AppId, ContainerId};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A snapshot with its place in the journal, as version 1 wrote it.
#[derive(Deserialize)]
pub(crate) struct CheckpointOfVersion1 {
    seq: u64,
    link: Link,
    snapshot: SnapshotOfVersion1,
}

#[derive(Deserialize)]
struct SnapshotOfVersion1 {
    site: SiteOfVersion1,
    grants: BTreeMap<AppId, Grants>,
    targets: BTreeMap<ContainerId, Target>,
}

impl TryFrom<CheckpointOfVersion1> for Checkpoint {
    type Error = &'static str;

    fn try_from(old: CheckpointOfVersion1) -> Result<Self, Self::Error> {
        let CheckpointOfVersion1 { seq, link, snapshot: SnapshotOfVersion1 { site, grants, targets } } = old;
        Ok(Self { seq, link, snapshot: Snapshot { site: site.try_into()?, grants, targets } })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Applied, Checkpoint, Kind, Linked, Record, frame};

    /// A site of version 1, as that version wrote it: the checkpoint with a command staged, then the entries after it,
    /// then the records of their ticks. Five apps, debts, containers, two of the apps' shares changed.
    const LIFE: &str = include_str!("../tests/golden/v1.txt");

    fn frames(kind: &str) -> Vec<Vec<u8>> {
        let hexes = LIFE.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
        hexes.map(bytes).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_site_of_version_1_goes_on_with_the_same_books() {
        let first = &frames("snapshot")[0];
        assert_eq!(frame::open_any(Kind::Snapshot, first).unwrap().0, 1);
        let Checkpoint { mut link, snapshot: mut state, .. } = Checkpoint::decode(first).unwrap();
        let mut records = Vec::new();
        for bytes in frames("entry") {
            let linked = Linked::decode(&bytes).unwrap();
            assert!(linked.follows(link), "the chain is not broken");
            assert_eq!(linked.encode(), bytes, "the journal's bytes are what they were");
            link = linked.link;
            match state.apply(&linked.entry).unwrap() {
                Applied::Settled(record) => records.push(*record),
                Applied::Accepted(_) | Applied::Noted => {}
                Applied::Refused(refusal) => panic!("{refusal}"),
            }
        }
        let written: Vec<Record> = frames("record").iter().map(|r| Record::decode(r).unwrap()).collect();
        assert_eq!((records.len(), records), (written.len(), written));
        let again = Checkpoint { seq: 1, link, snapshot: state }.encode();
        assert_eq!(frame::open_any(Kind::Snapshot, &again).unwrap().0, 2);
        assert_eq!(Checkpoint::decode(&again).unwrap().encode(), again);
    }

    #[test]
    fn a_new_site_of_version_1_is_a_new_site() {
        let golden = concat!(
            "01026c78dc4d000000000000000000000000000000000000000000000000000000000000000000e807b81700",
            "00010001ffffffffffffffffff010000000000d00f03c0843db0ea01808040808040010005686f7573650000",
            "000000000000000000ffffffffffffffffff0100000000000000000001010000000100000000000001000000",
            "0000000000000000000000000000e8070000",
        );
        let site = ecovisor_core::Site::new(ecovisor_core::Rules::default()).unwrap();
        assert_eq!(Checkpoint::decode(&bytes(golden)).unwrap().snapshot, crate::Snapshot::new(site));
    }
}
