//! What a store costs on this disk: the workload of a daemon, a batch per tick with the tick's inputs and the record of the
//! tick before, and a snapshot as often as a site makes one, as fast as it goes.

use super::super::engine::Engine;
use super::super::shelf::Shelved;
use super::super::{Batch, SNAPSHOT_EVERY_TICKS, Store, StoreError};
use super::make_target;
use crate::clock::{boot_us, process_cpu_us};
use ecovisor_audit::{Applied, Entry, Record, Snapshot};
use ecovisor_core::{
    AppId, AppName, AppPolicy, Command, ContainerId, ContainerName, ContainerUse, Inputs, Reading, Rules,
    Share, Site,
};
use ecovisor_units::{Energy, Millis, Power};
use serde::Serialize;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Which engine.
    pub engine: String,
    /// Apps, with a container each.
    pub apps: u32,
    /// Ticks that were committed.
    pub ticks: u64,
    /// Time of a commit that half of them did not exceed, in µs.
    pub commit_us_p50: u64,
    /// Time of a commit that 99 in 100 did not exceed, in µs.
    pub commit_us_p99: u64,
    /// Time of the slowest commit, in µs.
    pub commit_us_max: u64,
    /// CPU time of all threads, settling not counted, per tick, in µs.
    pub cpu_us_per_tick: u64,
    /// Memory of the process before there was a store, in KiB.
    pub rss_kib_before: u64,
    /// Memory of the process after the last commit, in KiB.
    pub rss_kib_after: u64,
    /// What was given to the store, in bytes.
    pub value_bytes: u64,
    /// What its files take on the disk, in bytes.
    pub disk_bytes: u64,
    /// Time to open and load it after it was closed in order, in µs.
    pub open_us: u64,
    /// Time to open and load a copy of the files as they were before that: as after `kill -9`, in µs.
    pub open_killed_us: u64,
}

/// Measures an engine in an empty or missing directory; what was written stays there.
///
/// # Errors
/// Where the directory is not empty, or the store cannot be written or read.
pub fn measure(directory: &Path, engine: Engine, apps: u32, ticks: u64) -> Result<Measured, StoreError> {
    make_target(directory)?;
    let (at, killed) = (directory.join("closed"), directory.join("killed"));
    let mut site = Busy::new(apps);
    let rss_kib_before = rss_kib();
    let store = Shelved::open_in(engine.shelf(&at)?, &at)?;
    store.commit(Batch { snapshot: Some(site.state.clone()), ..Batch::default() })?;
    let (mut commits, mut settling_us, mut value_bytes) = (Vec::new(), 0, 0);
    let cpu_began_us = process_cpu_us();
    for tick in 0..ticks {
        let settle_began_us = process_cpu_us();
        let batch = site.tick(tick);
        value_bytes += length(&batch);
        settling_us += process_cpu_us().saturating_sub(settle_began_us);
        let began_us = boot_us();
        store.commit(batch)?;
        commits.push(boot_us().saturating_sub(began_us));
    }
    let cpu_us = process_cpu_us().saturating_sub(cpu_began_us).saturating_sub(settling_us);
    let rss_kib_after = rss_kib();
    let disk = |source| StoreError::Disk { doing: "copy", source };
    super::copy::tree(&at, &killed).map_err(disk)?;
    let disk_bytes = blocks(&at).map_err(disk)?;
    drop(store);
    commits.sort_unstable();
    let at_most =
        |part: usize| commits.get((commits.len() * part / 100).min(commits.len().saturating_sub(1)));
    Ok(Measured {
        engine: engine.to_string(),
        apps,
        ticks,
        commit_us_p50: at_most(50).copied().unwrap_or(0),
        commit_us_p99: at_most(99).copied().unwrap_or(0),
        commit_us_max: commits.last().copied().unwrap_or(0),
        cpu_us_per_tick: cpu_us / ticks.max(1),
        rss_kib_before,
        rss_kib_after,
        value_bytes,
        disk_bytes,
        open_us: open_us(engine, &at)?,
        open_killed_us: open_us(engine, &killed)?,
    })
}

fn open_us(engine: Engine, directory: &Path) -> Result<u64, StoreError> {
    let began_us = boot_us();
    // sled's own threads may hold the lock a moment longer than the store that was dropped.
    let shelf = loop {
        match engine.shelf(directory) {
            Err(StoreError::InUse(_)) => std::thread::yield_now(),
            opened => break opened?,
        }
    };
    let _loaded = Shelved::open_in(shelf, directory)?.load()?;
    Ok(boot_us().saturating_sub(began_us))
}

fn rss_kib() -> u64 {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.ok().and_then(|status| status.vmrss).unwrap_or(0)
}

fn blocks(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let (entry, metadata) = {
            let entry = entry?;
            (entry.path(), entry.metadata()?)
        };
        bytes += if metadata.is_dir() { blocks(&entry)? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn length(batch: &Batch) -> u64 {
    let entries = batch
        .entries
        .iter()
        .map(|entry| ecovisor_audit::Linked::new(ecovisor_audit::Link::ORIGIN, entry.clone()).encode().len());
    let records = batch.records.iter().map(|record| record.encode().len());
    u64::try_from(entries.chain(records).sum::<usize>()).unwrap_or(u64::MAX)
}

/// A site whose apps all use something else in every tick.
struct Busy {
    state: Snapshot,
    apps: u32,
    pending: Vec<Record>,
}

impl Busy {
    fn new(apps: u32) -> Self {
        let site = Site::new(Rules::default()).expect("the default rules hold");
        let mut busy = Self { state: Snapshot::new(site), apps, pending: Vec::new() };
        for number in 1..=apps {
            let name = AppName::new(&format!("app-{number}")).expect("a name");
            let share = Share { solar_weight: number, ..Share::default() };
            busy.apply(&Entry::Command(Command::CreateApp { name, share, policy: AppPolicy::default() }));
            let (app, name) =
                (AppId::new(number), ContainerName::new(&format!("job-{number}")).expect("a name"));
            let ceiling = Power::from_watts(100);
            busy.apply(&Entry::Command(Command::AttachContainer { app, name, ceiling }));
        }
        busy.apply(&Entry::Tick(Inputs { span: Millis::from_secs(1), ..Inputs::default() }));
        busy
    }

    fn apply(&mut self, entry: &Entry) {
        let applied = self.state.apply(entry).expect("the rules hold");
        if let Applied::Settled(record) = applied {
            self.pending = vec![*record];
        }
    }

    fn tick(&mut self, tick: u64) -> Batch {
        let used = |number: u32| ContainerUse {
            container: ContainerId::new(number),
            used: Some(Reading::now(Energy::from_joules(u64::from(number) + tick % 97))),
        };
        let containers = (1..=self.apps).map(used).collect();
        let wall = Millis::from_secs(tick + 1);
        let entry = Entry::Tick(Inputs { span: Millis::from_secs(1), wall, containers, ..Inputs::default() });
        let records = std::mem::take(&mut self.pending);
        self.apply(&entry);
        let snapshot = (tick % SNAPSHOT_EVERY_TICKS == SNAPSHOT_EVERY_TICKS - 1).then(|| self.state.clone());
        Batch { entries: vec![entry], records, snapshot }
    }
}
