//! Counters read beside the tick loop, within a deadline: one that does not answer delays neither the tick nor another
//! counter by more than it.
//!
//! ```text
//!   home --asked--> waiting --a thread takes it--> away --read--> home
//!                      |                             |
//!                      +-- deadline: taken back      +-- deadline: stays away until its thread returns it
//! ```
//! A thread reads one counter after the other. Where nothing comes back for a moment, another takes over what is still
//! waiting; whoever is stuck ends when it comes back. A counter that is away is not asked again, so that one that takes
//! ten seconds costs each round nothing but its own reading. Nothing is lost by that: counters go on.

use crate::clock;
use ecovisor_core::ContainerId;
use ecovisor_drivers::ReadError;
use ecovisor_drivers::host::CpuTime;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a round of readings may take. A tick may be delayed by 50 ms in all (promise R9), and the fastest comes
/// every 100 ms; a thousand files of the kernel take some 10 ms.
pub const DEADLINE: Duration = Duration::from_millis(40);

/// After so long without a reading another thread takes over what is waiting. A file of the kernel takes 10 µs; this is
/// a busy machine's scheduler.
const TAKE_OVER: Duration = Duration::from_millis(10);

/// Threads that may be stuck at the same time: devices that hang in the kernel are few, or the machine is lost.
const STUCK_MAX: usize = 8;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The whole machine.
    Machine,
    /// A container's workload.
    Container(ContainerId),
}

/// How a counter is read; it may take as long as it likes.
pub type Read = Box<dyn FnMut() -> Result<CpuTime, ReadError> + Send>;

/// A reading that was made, in which round.
struct Made {
    round: u64,
    key: Key,
    read: Read,
    result: Result<CpuTime, ReadError>,
}

/// Counters that wait to be read; taken from the front.
type Waiting = Arc<Mutex<VecDeque<(Key, Read)>>>;

/// Counters, and the threads that read them.
pub struct Reader {
    home: BTreeMap<Key, Read>,
    /// Each in the hands of a thread of its own.
    away: BTreeSet<Key>,
    /// Of these, those that nobody wants any more.
    forgotten: BTreeSet<Key>,
    /// Were not in time when they were asked last: they come after all others.
    slow: BTreeSet<Key>,
    round: u64,
    /// To the thread that is free.
    free: Option<Sender<(u64, Waiting)>>,
    made: (Sender<Made>, Receiver<Made>),
}

/// What a round of readings brought.
#[derive(Debug, Default)]
pub struct Round {
    /// What was read, or why not; nothing of what did not answer.
    pub read: BTreeMap<Key, Result<CpuTime, ReadError>>,
    /// How long it waited in vain, in µs; `None` where everything that was asked answered in time.
    pub overdue_us: Option<u64>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            home: BTreeMap::new(),
            away: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            slow: BTreeSet::new(),
            round: 0,
            free: None,
            made: channel(),
        }
    }
}

impl Reader {
    /// Begins to read a counter.
    pub fn add(&mut self, key: Key, read: Read) {
        self.forgotten.remove(&key);
        self.home.insert(key, read);
    }

    /// Ends reading a counter.
    pub fn remove(&mut self, key: Key) {
        self.home.remove(&key);
        self.slow.remove(&key);
        if self.away.contains(&key) {
            self.forgotten.insert(key);
        }
    }

    /// Reads every counter that is home. What has not answered by the deadline, and what is away since an earlier round,
    /// has no reading.
    pub fn round(&mut self) -> Round {
        self.round += 1;
        // What comes back from an earlier round is stale: the counter is asked anew.
        while let Ok(made) = self.made.1.try_recv() {
            self.came_back(made);
        }
        let mut round = Round::default();
        if self.home.is_empty() || self.away.len() >= STUCK_MAX {
            return round;
        }
        let asked = self.ask();
        let (began_us, count) = (clock::boot_us(), asked.len());
        let waiting: Waiting = Arc::new(Mutex::new(asked));
        self.start(&waiting);
        while round.read.len() < count && since(began_us) < DEADLINE {
            let left = DEADLINE.saturating_sub(since(began_us));
            match self.made.1.recv_timeout(left.min(TAKE_OVER)) {
                Ok(made) => round.read.extend(self.came_back(made)),
                Err(RecvTimeoutError::Timeout) => self.take_over(&waiting),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.take_back(&waiting);
        round.overdue_us = (round.read.len() < count).then(|| micros(since(began_us)));
        round
    }

    /// All that is home goes away: those that answered in time the last time first.
    fn ask(&mut self) -> VecDeque<(Key, Read)> {
        let home = std::mem::take(&mut self.home);
        self.away.extend(home.keys());
        let (slow, swift): (Vec<_>, Vec<_>) = home.into_iter().partition(|(key, _)| self.slow.contains(key));
        swift.into_iter().chain(slow).collect()
    }

    /// A counter is home again; its reading, where it is of this round.
    fn came_back(&mut self, made: Made) -> Option<(Key, Result<CpuTime, ReadError>)> {
        let Made { round, key, read, result } = made;
        self.away.remove(&key);
        if self.forgotten.remove(&key) {
            return None;
        }
        // One that was removed and added meanwhile is home already, as another.
        self.home.entry(key).or_insert(read);
        if round != self.round {
            return None;
        }
        self.slow.remove(&key);
        Some((key, result))
    }

    /// Sends what is waiting to the free thread, or to a new one.
    fn start(&mut self, waiting: &Waiting) {
        let work = (self.round, waiting.clone());
        if let Some(free) = &self.free
            && free.send(work).is_ok()
        {
            return;
        }
        self.free = spawn(self.made.0.clone());
        if let Some(free) = &self.free {
            // A thread that has just been started takes its first work.
            drop(free.send((self.round, waiting.clone())));
        }
    }

    /// Nothing came for a moment: another thread goes on with what is waiting, if anything is.
    fn take_over(&mut self, waiting: &Waiting) {
        let left = lock(waiting).len();
        if left > 0 && self.away.len() - left < STUCK_MAX {
            self.free = None;
            self.start(waiting);
        }
    }

    /// The deadline has come: what no thread has taken stays home. Whoever is still away keeps its thread, which ends
    /// with it.
    fn take_back(&mut self, waiting: &Waiting) {
        for (key, read) in lock(waiting).drain(..) {
            self.away.remove(&key);
            if !self.forgotten.remove(&key) {
                self.home.insert(key, read);
            }
        }
        self.slow.extend(&self.away);
        if !self.away.is_empty() {
            self.free = None;
        }
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, VecDeque<(Key, Read)>> {
    // A thread that panicked ended the process; tests unwind, and the queue is whole then too.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since(began_us: u64) -> Duration {
    Duration::from_micros(clock::boot_us().saturating_sub(began_us))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A thread that reads until nobody sends it rounds; `None` where the system has none to give.
fn spawn(made: Sender<Made>) -> Option<Sender<(u64, Waiting)>> {
    let (rounds, work) = channel::<(u64, Waiting)>();
    let reading = move || {
        for (round, waiting) in work {
            loop {
                let next = lock(&waiting).pop_front();
                let Some((key, mut read)) = next else { break };
                let result = read();
                if made.send(Made { round, key, read, result }).is_err() {
                    return;
                }
            }
        }
    };
    let started = std::thread::Builder::new().name("reader".to_owned()).spawn(reading);
    match started {
        Ok(_) => Some(rounds),
        Err(error) => {
            tracing::error!(%error, "no thread for readings can be started");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(nth: u32) -> Key {
        Key::Container(ContainerId::new(nth))
    }

    /// A counter that answers at once.
    fn swift(nanos: u64) -> Read {
        Box::new(move || Ok(CpuTime::from_nanos(nanos)))
    }

    /// A counter that answers each time somebody lets it.
    fn held() -> (Sender<u64>, Read) {
        let (let_go, wait) = channel();
        let read = move || Ok(CpuTime::from_nanos(wait.recv().unwrap_or(0)));
        (let_go, Box::new(read))
    }

    fn read(round: &Round) -> Vec<(Key, u64)> {
        round.read.iter().filter_map(|(key, r)| Some((*key, r.as_ref().ok()?.nanos()))).collect()
    }

    #[test]
    fn what_answers_is_read_in_every_round() {
        let mut reader = Reader::default();
        reader.add(Key::Machine, swift(5));
        reader.add(key(1), swift(7));
        for _ in 0..3 {
            let round = reader.round();
            assert_eq!(read(&round), [(Key::Machine, 5), (key(1), 7)]);
            assert_eq!(round.overdue_us, None);
        }
        reader.remove(key(1));
        assert_eq!(read(&reader.round()), [(Key::Machine, 5)]);
    }

    #[test]
    fn one_that_does_not_answer_costs_one_deadline_and_no_other_reading() {
        let mut reader = Reader::default();
        let (let_go, stuck) = held();
        // It is asked first, and the others wait behind it.
        reader.add(Key::Machine, stuck);
        (1..=20).for_each(|nth| reader.add(key(nth), swift(u64::from(nth))));
        let first = reader.round();
        assert_eq!(first.read.len(), 20, "another thread took over");
        let overdue = first.overdue_us.unwrap();
        assert!((40_000..200_000).contains(&overdue), "{overdue} us");
        let second = reader.round();
        assert_eq!((second.read.len(), second.overdue_us), (20, None), "it is away, and nobody waits for it");
        let_go.send(9).unwrap();
        // What it says now is of the past; it is asked anew as soon as it is back.
        let again = (0..1_000).find_map(|_| {
            let_go.send(11).unwrap();
            let round = reader.round();
            (round.read.len() == 21).then_some(round)
        });
        assert_eq!(again.unwrap().read[&Key::Machine].as_ref().unwrap().nanos(), 11);
    }

    #[test]
    fn a_counter_that_is_removed_while_it_is_away_does_not_come_back() {
        let mut reader = Reader::default();
        let (let_go, stuck) = held();
        reader.add(key(1), stuck);
        assert!(reader.round().overdue_us.is_some());
        reader.remove(key(1));
        let_go.send(1).unwrap();
        for _ in 0..1_000 {
            assert!(reader.round().read.is_empty());
            if reader.away.is_empty() {
                break;
            }
            std::thread::yield_now();
        }
        assert!(reader.away.is_empty() && reader.home.is_empty());
    }

    #[test]
    fn where_too_much_is_stuck_nobody_waits_and_no_thread_is_started() {
        let mut reader = Reader::default();
        let mut held_back = Vec::new();
        for nth in 0..20 {
            let (let_go, stuck) = held();
            held_back.push(let_go);
            reader.add(key(nth), stuck);
        }
        for _ in 0..20 {
            let round = reader.round();
            assert!(round.read.is_empty());
            assert!(reader.away.len() <= STUCK_MAX, "{} are away", reader.away.len());
        }
        assert_eq!(reader.away.len(), STUCK_MAX);
        assert_eq!(reader.round().overdue_us, None);
    }
}
