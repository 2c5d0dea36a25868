//! The layout of a store: which rooms it has and what their keys mean. Every store says its own; an older one is brought to
//! the newest when it is opened, a newer one is refused.
//!
//! | layout | since |
//! | --- | --- |
//! | 1 | journal, records, snapshots |
//! | 2 | what stands for dropped records, beside them; a program that does not know it would drop them unsealed. Nothing moves |
//!
//! A migration is one batch: all of it and the new mark, or nothing. The values themselves say their own format
//! ([`ecovisor_audit::frame`]) and are never rewritten here: the journal's links are hashes of their bytes.

use super::StoreError;
use super::key::{Key, Room};
use super::shelf::{Shelf, Wholes, damaged};
use ecovisor_audit::frame::{self, Kind};
use serde::{Deserialize, Serialize};

/// What a store says of itself, so that it is known as one before anything else is read.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The layout of the keys.
    layout: u8,
}

/// What one migration changes.
#[derive(Debug, Default)]
pub struct Change {
    /// Written.
    pub puts: Vec<(Key, Vec<u8>)>,
    /// Removed.
    pub removed: Vec<Key>,
}

/// From one layout to the next.
type Step = fn(&dyn Shelf) -> Result<Change, StoreError>;

/// The steps from layout 1 on; one for each layout but the first.
const STEPS: [Step; 1] = [nothing_moves];

/// From 1 to 2: the new rooms are empty.
fn nothing_moves(_: &dyn Shelf) -> Result<Change, StoreError> {
    Ok(Change::default())
}

/// The newest layout among `steps`.
fn newest(steps: &[Step]) -> u8 {
    u8::try_from(steps.len() + 1).expect("there are few layouts")
}

/// The layout that a shelf says it has; `None` where it is empty.
///
/// # Errors
/// [`StoreError::NoMark`] where it holds something but no mark, and where the mark cannot be read.
pub fn of(shelf: &dyn Shelf) -> Result<Option<u8>, StoreError> {
    let place = Room::Mark.at(0);
    let Some((_, bytes)) = Wholes::of(&shelf, place)? else {
        let mut all = shelf.range(super::key::FIRST, super::key::LAST);
        return all.next().transpose()?.map_or(Ok(None), |_| Err(StoreError::NoMark));
    };
    let mark: Mark = frame::decode(Kind::Mark, &bytes).map_err(|error| damaged(place, error))?;
    Ok(Some(mark.layout))
}

/// Refuses a layout that this program does not know.
///
/// # Errors
/// [`StoreError::Newer`].
pub fn known(layout: u8) -> Result<(), StoreError> {
    let known = newest(&STEPS);
    let what = Room::Mark.at(0).to_string();
    if layout <= known { Ok(()) } else { Err(StoreError::Newer { what, found: layout, known }) }
}

/// The mark of the newest layout.
pub fn mark() -> (Key, Vec<u8>) {
    mark_of(newest(&STEPS))
}

fn mark_of(layout: u8) -> (Key, Vec<u8>) {
    (Room::Mark.at(0).key(0), frame::encode(Kind::Mark, &Mark { layout }))
}

/// Makes a store one of another layout, as far as it says.
#[cfg(test)]
pub fn set(shelf: &dyn Shelf, layout: u8) {
    shelf.write(vec![mark_of(layout)], Vec::new()).unwrap();
}

/// Marks an empty shelf, brings an older one to the newest layout.
///
/// # Errors
/// [`StoreError::Newer`] where it has a newer layout, and whatever keeps it from being read or written.
pub fn settle(shelf: &dyn Shelf) -> Result<(), StoreError> {
    settle_by(shelf, &STEPS)
}

fn settle_by(shelf: &dyn Shelf, steps: &[Step]) -> Result<(), StoreError> {
    let known = newest(steps);
    let Some(mut layout) = of(shelf)? else { return shelf.write(vec![mark_of(known)], Vec::new()) };
    if layout > known {
        return Err(StoreError::Newer { what: Room::Mark.at(0).to_string(), found: layout, known });
    }
    // Layout 0 never existed; it is taken for damage.
    let mut next = usize::from(layout).checked_sub(1).ok_or(StoreError::NoMark)?;
    while let Some(step) = steps.get(next) {
        tracing::info!(from = layout, to = layout + 1, "the store is brought to a newer layout");
        let Change { mut puts, removed } = step(shelf)?;
        puts.push(mark_of(layout + 1));
        shelf.write(puts, removed)?;
        (layout, next) = (layout + 1, next + 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    fn layout_of(shelf: &Memory) -> u8 {
        of(shelf).unwrap().unwrap()
    }

    fn all(shelf: &Memory) -> Vec<(Vec<u8>, Vec<u8>)> {
        shelf.range(super::super::key::FIRST, super::super::key::LAST).map(Result::unwrap).collect()
    }

    /// A step that moves a record, as one that changes a room would.
    fn moves(shelf: &dyn Shelf) -> Result<Change, StoreError> {
        let from = Room::Records.at(1).key(0);
        let (_, value) = shelf.range(from, Room::Records.at(2).key(0)).next().ok_or(StoreError::NoMark)??;
        Ok(Change { puts: vec![(Room::Records.at(7).key(0), value)], removed: vec![from] })
    }

    #[test]
    fn an_empty_shelf_gets_the_newest_mark() {
        let shelf = Memory::default();
        settle(&shelf).unwrap();
        assert_eq!(layout_of(&shelf), newest(&STEPS));
        let before = all(&shelf);
        settle(&shelf).unwrap();
        assert_eq!(all(&shelf), before);
    }

    #[test]
    fn an_older_layout_goes_through_every_step_to_the_newest() {
        let shelf = Memory::default();
        let record = (Room::Records.at(1).key(0), vec![9]);
        shelf.write(vec![mark_of(1), record], Vec::new()).unwrap();
        settle_by(&shelf, &[nothing_moves, moves]).unwrap();
        assert_eq!(layout_of(&shelf), 3);
        assert_eq!(all(&shelf)[1], (Room::Records.at(7).key(0).to_vec(), vec![9]));
        assert_eq!(all(&shelf).len(), 2, "what was moved is not left behind");
    }

    #[test]
    fn a_step_that_fails_leaves_the_store_as_it_was() {
        let shelf = Memory::default();
        shelf.write(vec![mark_of(1)], Vec::new()).unwrap();
        let before = all(&shelf);
        assert!(matches!(settle_by(&shelf, &[moves]), Err(StoreError::NoMark)));
        assert_eq!(all(&shelf), before);
    }

    #[test]
    fn a_newer_layout_and_values_without_a_mark_are_refused() {
        let shelf = Memory::default();
        shelf.write(vec![(Room::Records.at(1).key(0), vec![9])], Vec::new()).unwrap();
        assert!(matches!(settle(&shelf), Err(StoreError::NoMark)));
        shelf.write(vec![mark_of(200)], Vec::new()).unwrap();
        assert_eq!(
            settle(&shelf).unwrap_err().to_string(),
            format!(
                "the store's mark was written in format version 200, this program knows versions up to {}",
                newest(&STEPS)
            )
        );
        assert!(known(200).is_err() && known(newest(&STEPS)).is_ok());
    }
}
