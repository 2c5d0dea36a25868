//! The servers: CPU time of containers turned into power, and caps written as CPU quotas.
//!
//! Powers are measured over real time; on a scaled clock they are multiplied by the virtual span.

use super::Span;
use super::outside::{PlantError, read};
use super::reader::{Key, Reader, Round};
use super::status::Status;
use crate::clock;
use crate::config::{Config, IdleChoice, LoadSection};
use crate::engine::handle::{Device, DeviceRole};
use ecovisor_audit::journal::Target;
use ecovisor_core::{ContainerId, Reading};
use ecovisor_drivers::host::{
    CappedCgroup, Cgroup, CgroupMeter, CpuTime, Hierarchies, IdleRule, PowerModel, ProcessTree, Share,
    idle_parts, machine_time, ticks_per_second,
};
use ecovisor_drivers::sim::workload::{Demand, Workload};
use ecovisor_drivers::trace;
use ecovisor_drivers::{ApplyError, CpuMeter as _, PowerCap, ReadError};
use ecovisor_units::{Energy, Millis, Power};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a workload cannot be metered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It does not exist, or may not be seen.
    #[error("{0}")]
    NoSuch(String),
    /// It is metered already.
    #[error("{0}")]
    Taken(String),
}

/// What a container's counter grew by: energy beyond idling, and CPU time.
type Grown = Result<(Energy, CpuTime), ReadError>;

/// What the servers used in a tick.
pub struct Used {
    /// All of them, metered or not.
    pub whole: Energy,
    /// Whether the whole could be read.
    pub readable: bool,
    /// Each container.
    pub containers: Vec<(ContainerId, Option<Reading<Energy>>)>,
}

enum Body {
    /// Real processes.
    Real { counter: Counter, cap: Option<(CappedCgroup, Option<Applied>)> },
    /// An emulated load.
    Emulated(Workload),
}

/// What a counter of CPU time said last.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    before: Option<CpuTime>,
    /// Real time since then, in µs: more than a tick where it was not read for a while.
    age_us: u64,
}

impl Counter {
    fn at(before: Option<CpuTime>) -> Self {
        Self { before, age_us: 0 }
    }

    /// What it says now and said before, and how much of the growth is of the last `real_us`: what was counted over a
    /// longer time is spread evenly, since the ticks between were settled without it.
    fn grow(&mut self, now: CpuTime, real_us: u64) -> Growth {
        let before = self.before.replace(now).unwrap_or(now);
        let over_us = std::mem::take(&mut self.age_us).max(real_us);
        Growth { before, now, real_us, over_us }
    }
}

/// How far a counter has come.
#[derive(Clone, Copy, Debug)]
struct Growth {
    before: CpuTime,
    now: CpuTime,
    real_us: u64,
    over_us: u64,
}

impl Growth {
    /// CPU time of the tick.
    fn used(self) -> CpuTime {
        CpuTime::from_nanos(self.part(self.now.since(self.before).nanos()))
    }

    /// Energy of the tick beyond idling.
    fn active(self, model: &PowerModel) -> Energy {
        Energy::new(self.part(model.active_between(self.before, self.now).get()))
    }

    /// The tick's part of what came over a longer time, rounded down; the whole where there was no longer time.
    fn part(self, whole: u64) -> u64 {
        let product = u128::from(whole) * u128::from(self.real_us);
        match product.checked_div(u128::from(self.over_us)) {
            Some(part) if self.over_us > self.real_us => u64::try_from(part).unwrap_or(u64::MAX),
            Some(_) | None => whole,
        }
    }
}

/// What was last written to an actuator, so that only changes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Applied {
    cap: Option<Power>,
    frozen: bool,
}

struct Metered {
    target: Target,
    body: Body,
    error: Option<String>,
    lost: bool,
}

impl Metered {
    fn is_emulated(&self) -> bool {
        matches!(self.body, Body::Emulated(_))
    }
}

/// The servers of this machine.
pub struct Host {
    model: PowerModel,
    idle_rule: IdleRule,
    hierarchies: Option<Hierarchies>,
    proc: PathBuf,
    containers: BTreeMap<ContainerId, Metered>,
    reader: Reader,
    machine: Counter,
    overdue_us: Option<u64>,
    emulated: BTreeMap<String, (Demand, Power)>,
    status: Status,
}

impl Host {
    /// This machine, with the emulated loads of the configuration.
    ///
    /// # Errors
    /// Where a load's file cannot be read, or the power figures describe no machine.
    pub fn open(config: &Config) -> Result<Self, PlantError> {
        let refuse = |why: String| PlantError::Content { field: "host", why };
        let proc = config.host.proc_root.clone();
        let machine = machine_time(&proc, ticks_per_second());
        let cores = machine.as_ref().map_or(1, |machine| machine.cores);
        let model = PowerModel::new(config.host.idle.0, config.host.peak.0, cores)
            .map_err(|e| refuse(e.to_string()))?;
        let loads = config.sim.iter().flat_map(|sim| sim.loads.iter());
        let emulated = loads.map(open_load).collect::<Result<_, _>>()?;
        let mut reader = Reader::default();
        let (root, per_second) = (proc.clone(), ticks_per_second());
        reader.add(Key::Machine, Box::new(move || Ok(machine_time(&root, per_second)?.busy)));
        Ok(Self {
            model,
            idle_rule: match config.host.idle_rule {
                IdleChoice::ReservedCores => IdleRule::ReservedCores,
                IdleChoice::Use => IdleRule::Use,
                IdleChoice::House => IdleRule::House,
            },
            hierarchies: Hierarchies::detect(&config.host.cgroup_root),
            proc,
            containers: BTreeMap::new(),
            reader,
            machine: Counter::at(machine.ok().map(|machine| machine.busy)),
            overdue_us: None,
            emulated,
            status: Status::new("host", "host", &[DeviceRole::ContainerMeter, DeviceRole::PowerCap]),
        })
    }

    /// The most that a target can draw.
    ///
    /// # Errors
    /// Where there is no such thing.
    pub fn ceiling(&self, target: &Target) -> Result<Power, OpenError> {
        match target {
            Target::Emulated(name) => {
                let load = self.emulated.get(name);
                load.map(|(_, ceiling)| *ceiling)
                    .ok_or_else(|| OpenError::NoSuch(format!("there is no [[sim.load]] {name}")))
            }
            Target::Cgroup(_) | Target::ProcessTree { .. } => Ok(self.model.peak()),
            Target::Gpu(_) | Target::Tpu(_) | Target::Lxc(_) => Err(not_metered(target)),
        }
    }

    /// Begins to meter a workload; returns why it cannot be capped, where it cannot.
    ///
    /// # Errors
    /// Where it does not exist, may not be seen, or is metered already.
    pub fn attach(&mut self, container: ContainerId, target: &Target) -> Result<Option<String>, OpenError> {
        if self.containers.values().any(|metered| metered.target == *target) {
            return Err(OpenError::Taken(format!(
                "{} is attached already: a workload has one owner",
                shown(target)
            )));
        }
        let (body, metered_only) = match target {
            Target::Cgroup(path) => self.open_cgroup(container, path)?,
            Target::ProcessTree { pid, start_ticks } => self.open_tree(container, *pid, *start_ticks)?,
            Target::Emulated(name) => {
                let load = self.emulated.get(name);
                let (demand, _) =
                    load.ok_or_else(|| OpenError::NoSuch(format!("there is no [[sim.load]] {name}")))?;
                (Body::Emulated(Workload::new(demand.clone())), None)
            }
            Target::Gpu(_) | Target::Tpu(_) | Target::Lxc(_) => return Err(not_metered(target)),
        };
        self.containers.insert(container, Metered { target: target.clone(), body, error: None, lost: false });
        Ok(metered_only)
    }

    fn open_cgroup(
        &mut self,
        container: ContainerId,
        path: &str,
    ) -> Result<(Body, Option<String>), OpenError> {
        let none = || OpenError::NoSuch("there are no cgroups on this machine".to_owned());
        let hierarchies = self.hierarchies.as_ref().ok_or_else(none)?;
        let cgroup = Cgroup::existing(hierarchies, Path::new(path));
        let mut meter = CgroupMeter::new(cgroup.clone());
        let before = meter.cpu_time().map_err(|e| OpenError::NoSuch(e.to_string()))?;
        let (cap, why) = match cgroup.lift_quota() {
            Ok(()) => (Some((CappedCgroup::new(cgroup, self.cap_model(), Power::ZERO), None)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.reader.add(Key::Container(container), Box::new(move || meter.cpu_time()));
        Ok((Body::Real { counter: Counter::at(Some(before)), cap }, why))
    }

    fn open_tree(
        &mut self,
        container: ContainerId,
        pid: u32,
        start_ticks: u64,
    ) -> Result<(Body, Option<String>), OpenError> {
        let gone = |why: String| OpenError::NoSuch(format!("process {pid}: {why}"));
        let mut tree =
            ProcessTree::new(&self.proc, pid, ticks_per_second()).map_err(|e| gone(e.to_string()))?;
        if tree.started() != start_ticks {
            return Err(gone("is another one by now".to_owned()));
        }
        let before = tree.cpu_time().ok();
        let why = "a process tree has no quota of its own: start it with `ecoctl run`, or attach a cgroup"
            .to_owned();
        self.reader.add(Key::Container(container), Box::new(move || tree.cpu_time()));
        Ok((Body::Real { counter: Counter::at(before), cap: None }, Some(why)))
    }

    /// The model by which a cap becomes a quota. Where idle power is charged by reservation, a reserved core costs its
    /// part of the idle power too: the machine's whole peak, divided by its cores.
    fn cap_model(&self) -> PowerModel {
        match self.idle_rule {
            IdleRule::ReservedCores => {
                PowerModel::new(Power::ZERO, self.model.peak(), self.model.cores()).unwrap_or(self.model)
            }
            IdleRule::Use | IdleRule::House => self.model,
        }
    }

    /// Ends metering a workload and lifts its cap.
    pub fn detach(&mut self, container: ContainerId) {
        self.cap(container, None, false);
        self.containers.remove(&container);
        self.reader.remove(Key::Container(container));
    }

    /// Lifts every cap.
    pub fn release(&mut self) {
        let all: Vec<ContainerId> = self.containers.keys().copied().collect();
        for container in all {
            self.cap(container, None, false);
        }
    }

    /// Writes a cap where it has changed.
    pub fn cap(&mut self, container: ContainerId, cap: Option<Power>, frozen: bool) {
        let Some(metered) = self.containers.get_mut(&container) else { return };
        let wanted = Applied { cap, frozen };
        let done = match &mut metered.body {
            Body::Emulated(workload) => {
                let cap = if frozen { Some(Power::ZERO) } else { cap };
                written(workload, cap)
            }
            Body::Real { cap: Some((capped, applied)), .. } if *applied != Some(wanted) => {
                let was_frozen = applied.is_some_and(|applied| applied.frozen);
                let held = written(capped, cap).and_then(|()| match (was_frozen, frozen) {
                    (false, true) => capped.cgroup().freeze(),
                    (true, false) => capped.cgroup().thaw(),
                    (true, true) | (false, false) => Ok(()),
                });
                // What failed is tried again with the next order.
                *applied = held.is_ok().then_some(wanted);
                held
            }
            Body::Real { .. } => Ok(()),
        };
        if let Err(error) = done {
            if matches!(error, ApplyError::Gone { .. }) {
                // Its processes have ended; the meter says so too.
                return;
            }
            tracing::warn!(container = container.get(), %error, "a cap could not be written");
            metered.error = Some(error.to_string());
        }
    }

    /// What every container and the whole machine used since the last time.
    pub fn measure(&mut self, span: Span) -> Used {
        if span.real_us == 0 && self.containers.values().all(Metered::is_emulated) {
            return self.measure_emulated(span);
        }
        let now_ms = clock::wall_ms();
        let real = Millis::new(span.real_us / 1_000);
        let mut round = self.read(span);
        let machine = round.read.remove(&Key::Machine).unwrap_or_else(|| Err(no_answer("the machine")));
        let readable = machine.is_ok();
        match &machine {
            Ok(_) => self.status.read(now_ms),
            Err(error) => self.status.failed(error, now_ms),
        }
        self.machine.age_us = self.machine.age_us.saturating_add(span.real_us);
        let busy = machine.map_or(CpuTime::ZERO, |now| self.machine.grow(now, span.real_us).used());
        let mut used: Vec<(ContainerId, Grown)> = Vec::new();
        let mut emulated = Vec::new();
        for (&id, metered) in &mut self.containers {
            match &mut metered.body {
                Body::Emulated(workload) => {
                    emulated.push((id, Some(Reading::now(workload.draw(span.wall_ms, span.length)))));
                }
                Body::Real { counter, .. } => {
                    counter.age_us = counter.age_us.saturating_add(span.real_us);
                    let now = round.read.remove(&Key::Container(id));
                    let now = now.unwrap_or_else(|| Err(no_answer(&shown(&metered.target))));
                    let growth = now.map(|now| counter.grow(now, span.real_us));
                    used.push((id, growth.map(|growth| (growth.active(&self.model), growth.used()))));
                }
            }
        }
        let shares: Vec<Share> = used.iter().map(|(id, result)| self.share(*id, result)).collect();
        let idle = self.model.idling(real);
        let parts = idle_parts(self.idle_rule, idle, self.model.cores(), busy, &shares).parts;
        let mut whole = scaled(idle + self.model.active(busy), span);
        let mut containers = emulated;
        whole = whole.saturating_add(containers.iter().filter_map(|(_, r)| r.map(|r| r.value)).sum());
        for ((id, result), idle) in used.into_iter().zip(parts) {
            if let (Some(metered), Err(error)) = (self.containers.get_mut(&id), &result) {
                metered.lost = matches!(error, ReadError::Lost { .. });
                metered.error = Some(error.to_string());
            } else if let Some(metered) = self.containers.get_mut(&id) {
                metered.error = None;
            }
            let reading = result.ok().map(|(active, _)| Reading::now(scaled(active + idle, span)));
            containers.push((id, reading));
        }
        Used { whole, readable, containers }
    }

    /// Reads every counter that answers in time. Where no real time has passed nothing can have been used: a simulated
    /// site reads nothing.
    fn read(&mut self, span: Span) -> Round {
        let round = match span.real_us {
            0 => Round { read: self.unmoved(), overdue_us: None },
            _ => self.reader.round(),
        };
        self.overdue_us = round.overdue_us;
        round
    }

    /// Every counter as it was.
    fn unmoved(&self) -> BTreeMap<Key, Result<CpuTime, ReadError>> {
        let machine = (Key::Machine, self.machine.before);
        let containers = self.containers.iter().filter_map(|(id, metered)| match &metered.body {
            Body::Real { counter, .. } => Some((Key::Container(*id), counter.before)),
            Body::Emulated(_) => None,
        });
        let all = std::iter::once(machine).chain(containers);
        all.map(|(key, before)| (key, Ok(before.unwrap_or(CpuTime::ZERO)))).collect()
    }

    /// How long the last round of readings waited for some in vain, in µs; `None` where all were there in time.
    #[must_use]
    pub fn overdue_us(&self) -> Option<u64> {
        self.overdue_us
    }

    /// The same where no real time passed, so that no real counter can have moved: a simulated site.
    fn measure_emulated(&mut self, span: Span) -> Used {
        if self.machine.before.is_some() {
            self.status.read(span.wall_ms);
        }
        let mut containers = Vec::with_capacity(self.containers.len());
        let mut whole = Energy::ZERO;
        for (&id, metered) in &self.containers {
            if let Body::Emulated(workload) = &metered.body {
                let drawn = workload.draw(span.wall_ms, span.length);
                whole = whole.saturating_add(drawn);
                containers.push((id, Some(Reading::now(drawn))));
            }
        }
        Used { whole, readable: self.machine.before.is_some(), containers }
    }

    /// What cgroups used in a time in which nobody gathered, beyond idling: their counters went on.
    pub fn measure_absence(&mut self, span: Span) -> Vec<(ContainerId, Option<Reading<Energy>>)> {
        let mut round = self.reader.round();
        let mut all = Vec::new();
        for (&id, metered) in &mut self.containers {
            if let (Target::Cgroup(_), Body::Real { counter, .. }) = (&metered.target, &mut metered.body) {
                let now = round.read.remove(&Key::Container(id)).and_then(Result::ok);
                let active = now.map(|now| counter.grow(now, span.real_us).active(&self.model));
                all.push((id, active.map(|active| Reading::now(scaled(active, span)))));
            }
        }
        all
    }

    /// What the counters of cgroups said last, in ns.
    #[must_use]
    pub fn counters(&self) -> Vec<(ContainerId, u64)> {
        let said = |metered: &Metered| match (&metered.target, &metered.body) {
            (Target::Cgroup(_), Body::Real { counter, .. }) => counter.before.map(CpuTime::nanos),
            (_, Body::Real { .. } | Body::Emulated(_)) => None,
        };
        self.containers.iter().filter_map(|(id, metered)| Some((*id, said(metered)?))).collect()
    }

    /// What a counter said when it was last settled.
    pub fn recall(&mut self, container: ContainerId, nanos: u64) {
        let metered = self.containers.get_mut(&container);
        if let Some(Metered { target: Target::Cgroup(_), body: Body::Real { counter, .. }, .. }) = metered {
            *counter = Counter::at(Some(CpuTime::from_nanos(nanos)));
        }
    }

    /// A container's part in idle power: the cores it may use, and what it used.
    fn share(&self, id: ContainerId, result: &Grown) -> Share {
        let used = result.as_ref().map_or(CpuTime::ZERO, |(_, used)| *used);
        let body = self.containers.get(&id).map(|metered| &metered.body);
        let quota = match body {
            Some(Body::Real { cap: Some((capped, _)), .. }) => capped.cgroup().quota().ok().flatten(),
            Some(Body::Real { .. } | Body::Emulated(_)) | None => None,
        };
        let millicores = quota.and_then(|q| (q.quota_us.saturating_mul(1_000)).checked_div(q.period_us));
        // Without a quota nothing is reserved, and idle power stays with the house.
        let reserved_millicores = millicores.map_or(0, |m| u32::try_from(m).unwrap_or(u32::MAX));
        Share { reserved_millicores, used }
    }

    /// Containers whose processes have ended.
    #[must_use]
    pub fn lost(&self) -> Vec<ContainerId> {
        self.containers.iter().filter(|(_, metered)| metered.lost).map(|(id, _)| *id).collect()
    }

    /// Why each container cannot be read or capped at the moment.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<ContainerId, String> {
        self.containers.iter().filter_map(|(id, metered)| Some((*id, metered.error.clone()?))).collect()
    }

    /// The machine as a device.
    #[must_use]
    pub fn device(&self) -> Device {
        self.status.device()
    }
}

/// Writes a cap, or lifts it.
fn written(actuator: &mut impl PowerCap, cap: Option<Power>) -> Result<(), ApplyError> {
    match cap {
        Some(cap) => actuator.cap(cap).map(drop),
        None => actuator.lift(),
    }
}

/// A counter that was not there by the deadline.
fn no_answer(what: &str) -> ReadError {
    ReadError::transient(format!("the CPU time of {what}"))
}

/// Energy of real time as energy of virtual time: × virtual span ÷ real span, rounded down.
fn scaled(energy: Energy, span: Span) -> Energy {
    let product = u128::from(energy.get()) * u128::from(span.length.get()) * 1_000;
    let scaled = product.checked_div(u128::from(span.real_us)).unwrap_or(0);
    Energy::new(u64::try_from(scaled).unwrap_or(u64::MAX))
}

fn open_load(load: &LoadSection) -> Result<(String, (Demand, Power)), PlantError> {
    let (demand, most) = match (&load.power, &load.file) {
        (Some(power), _) => (Demand::Steady(power.0), power.0),
        (None, Some(path)) => {
            let bytes = read("sim.load.file", path)?;
            let refuse =
                |e: trace::TraceError| PlantError::Content { field: "sim.load.file", why: e.to_string() };
            let trace = trace::power(&path.display().to_string(), &bytes).map_err(refuse)?.repeat_yearly();
            let most = trace.intervals().iter().map(|interval| interval.value).max().unwrap_or(Power::ZERO);
            (Demand::Recorded(trace), most)
        }
        (None, None) => (Demand::Steady(Power::ZERO), Power::ZERO),
    };
    let ceiling = load.ceiling.map_or(most, |ceiling| ceiling.0).max(Power::new(1));
    Ok((format!("{}/{}", load.app, load.name), (demand, ceiling)))
}

fn not_metered(target: &Target) -> OpenError {
    OpenError::NoSuch(format!(
        "{} cannot be metered by this version: attach a cgroup or a process",
        shown(target)
    ))
}

/// A target in words.
#[must_use]
pub fn shown(target: &Target) -> String {
    match target {
        Target::Cgroup(path) => format!("cgroup {path}"),
        Target::ProcessTree { pid, .. } => format!("process {pid}"),
        Target::Gpu(index) => format!("GPU {index}"),
        Target::Tpu(index) => format!("TPU {index}"),
        Target::Lxc(name) => format!("LXC container {name}"),
        Target::Emulated(name) => format!("emulated load {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(more: &str) -> Host {
        let text = format!("[site]\nname = \"try\"\n[host]\nidle = \"10 W\"\npeak = \"30 W\"\n{more}");
        Host::open(&Config::parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn real_energy_becomes_virtual_energy_by_the_spans() {
        let span = |length, real_us| Span { wall_ms: 0, length: Millis::new(length), real_us };
        assert_eq!(scaled(Energy::new(7), span(1_000, 1_000_000)), Energy::new(7));
        assert_eq!(scaled(Energy::new(7), span(60_000, 1_000_000)), Energy::new(420));
        assert_eq!(scaled(Energy::new(7), span(60_000, 0)), Energy::ZERO, "no real time, no real energy");
    }

    #[test]
    fn a_process_is_metered_but_not_capped_and_says_why() {
        let mut host = host("");
        let proc = std::path::Path::new("/proc");
        let started = ProcessTree::new(proc, std::process::id(), ticks_per_second()).unwrap().started();
        let target = Target::ProcessTree { pid: std::process::id(), start_ticks: started };
        let why = host.attach(ContainerId::new(1), &target).unwrap().unwrap();
        assert!(why.contains("ecoctl run"), "{why}");
        let again = host.attach(ContainerId::new(2), &target).unwrap_err();
        assert!(matches!(again, OpenError::Taken(_)), "{again}");
        let used = host.measure(Span { wall_ms: 0, length: Millis::new(1_000), real_us: 1_000_000 });
        assert!(used.containers[0].1.is_some());
        assert!(used.whole >= Power::from_watts(10).over(Millis::new(1_000)), "idle power is always there");
    }

    #[test]
    fn a_pid_that_is_another_process_by_now_is_refused() {
        let target = Target::ProcessTree { pid: std::process::id(), start_ticks: 1 };
        let refused = host("").attach(ContainerId::new(1), &target).unwrap_err();
        assert!(refused.to_string().contains("another one by now"), "{refused}");
    }

    #[test]
    fn what_this_version_cannot_meter_is_refused_by_name() {
        for (target, name) in [
            (Target::Gpu(0), "GPU 0"),
            (Target::Tpu(1), "TPU 1"),
            (Target::Lxc("a".to_owned()), "LXC container a"),
        ] {
            let refused = host("").ceiling(&target).unwrap_err();
            assert!(refused.to_string().starts_with(name), "{refused}");
        }
    }

    #[test]
    fn an_emulated_load_stands_still_when_frozen() {
        let apps =
            "[[app]]\nname = \"web\"\n[sim]\n[[sim.load]]\napp = \"web\"\nname = \"a\"\npower = \"5 W\"\n";
        let (mut host, id) = (host(apps), ContainerId::new(1));
        host.attach(id, &Target::Emulated("web/a".to_owned())).unwrap();
        let span = Span { wall_ms: 0, length: Millis::new(1_000), real_us: 0 };
        let mut drawn = |cap, frozen| {
            host.cap(id, cap, frozen);
            host.measure(span).containers[0].1.unwrap().value
        };
        assert_eq!(drawn(None, false), Energy::from_joules(5));
        assert_eq!(drawn(Some(Power::from_watts(2)), false), Energy::from_joules(2));
        assert_eq!(drawn(None, true), Energy::ZERO);
        assert_eq!(drawn(None, false), Energy::from_joules(5));
    }

    #[test]
    fn a_cgroups_counter_that_went_on_settles_an_absence() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("web");
        std::fs::create_dir(&group).unwrap();
        std::fs::write(root.path().join("cgroup.controllers"), "cpu\n").unwrap();
        std::fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
        let used =
            |micros: u64| std::fs::write(group.join("cpu.stat"), format!("usage_usec {micros}\n")).unwrap();
        let open = || {
            let mut host = host(&format!("cgroup_root = \"{}\"\n", root.path().display()));
            host.attach(ContainerId::new(1), &Target::Cgroup("web".to_owned())).unwrap();
            host
        };
        used(5_000_000);
        let remembered = open().counters();
        assert_eq!(remembered, [(ContainerId::new(1), 5_000_000_000)]);

        // Two seconds of CPU time while nobody was there, of 20 W over all cores.
        used(7_000_000);
        let span = Span { wall_ms: 0, length: Millis::new(60_000), real_us: 60_000_000 };
        let absent = |mut host: Host| host.measure_absence(span)[0].1.unwrap().value;
        assert_eq!(absent(open()), Energy::ZERO, "without the old figure nothing is known of the absence");
        let mut host = open();
        host.recall(remembered[0].0, remembered[0].1);
        let cores = u64::from(host.model.cores());
        assert_eq!(absent(host), Energy::new(40_000_000 / cores));
    }
}
