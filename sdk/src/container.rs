//! Containers: what an app's load consists of, metered and capped one by one.

use crate::Error;
use crate::error::present;
use ecovisor_proto::v1;
use ecovisor_units::{Energy, Millis, Power};
use std::path::PathBuf;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name, unique in the app.
    pub name: String,
    /// What stands behind it.
    pub target: Target,
    /// Mean power of the last tick.
    pub power: Power,
    /// Energy since it was attached.
    pub energy: Energy,
    /// Energy of the last tick.
    pub tick_energy: Energy,
    /// The cap that was set; `None`: no cap.
    pub cap: Option<Power>,
    /// When the cap's lease ends, in wall-clock time since 1970 UTC; `None`: no cap, or it holds until changed.
    pub cap_lease_ends: Option<Millis>,
    /// The cap for the coming tick, which the ecovisor may have lowered; `None`: no cap.
    pub effective_cap: Option<Power>,
    /// Whether it can be held to its cap.
    pub capping: Capping,
    /// Whether its figures rest on a held or assumed reading.
    pub estimated: bool,
}

/// What stands behind a container; an app may attach only what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A cgroup, by its absolute path.
    Cgroup(PathBuf),
    /// A process and its children.
    Pid(u32),
    /// A GPU, by its index at the site.
    Gpu(u32),
    /// A TPU, by its index at the site.
    Tpu(u32),
    /// An LXC container, by its name.
    Lxc(String),
    /// An emulated load of the site's configuration; it cannot be attached.
    Emulated,
}

/// Whether the ecovisor can hold to a cap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Capping {
    /// Caps are enforced.
    #[default]
    Enforced,
    /// Power is metered and caps are kept in the books, but nothing enforces them.
    MeteredOnly {
        /// Why, for people.
        reason: String,
    },
}

impl Target {
    /// The calling process and its children.
    ///
    /// ```
    /// use ecovisor_sdk::Target;
    /// assert_eq!(Target::this_process(), Target::Pid(std::process::id()));
    /// ```
    #[must_use]
    pub fn this_process() -> Self {
        Self::Pid(std::process::id())
    }

    pub(crate) fn write(&self) -> Result<v1::ContainerTarget, Error> {
        use v1::container_target::Target as Wire;
        let target = match self {
            Self::Cgroup(path) => Wire::CgroupPath(
                path.to_str().ok_or_else(|| Error::invalid("a cgroup's path is not UTF-8"))?.to_string(),
            ),
            Self::Pid(pid) => Wire::Pid(*pid),
            Self::Gpu(index) => Wire::GpuIndex(*index),
            Self::Tpu(index) => Wire::TpuIndex(*index),
            Self::Lxc(name) => Wire::LxcName(name.clone()),
            Self::Emulated => return Err(Error::invalid("an emulated load cannot be attached")),
        };
        Ok(v1::ContainerTarget { target: Some(target) })
    }

    fn read(wire: v1::ContainerTarget) -> Self {
        use v1::container_target::Target as Wire;
        match wire.target {
            Some(Wire::CgroupPath(path)) => Self::Cgroup(path.into()),
            Some(Wire::Pid(pid)) => Self::Pid(pid),
            Some(Wire::GpuIndex(index)) => Self::Gpu(index),
            Some(Wire::TpuIndex(index)) => Self::Tpu(index),
            Some(Wire::LxcName(name)) => Self::Lxc(name),
            None => Self::Emulated,
        }
    }
}

impl Capping {
    pub(crate) fn read(wire: v1::Capping) -> Result<Self, Error> {
        match wire.kind() {
            v1::CappingKind::Enforced => Ok(Self::Enforced),
            v1::CappingKind::MeteredOnly => Ok(Self::MeteredOnly { reason: wire.reason }),
            v1::CappingKind::Unspecified => Err(Error::unreadable("capping is not said")),
        }
    }
}

impl Container {
    pub(crate) fn read(wire: v1::Container) -> Result<Self, Error> {
        let v1::Container {
            name,
            target,
            power_mw,
            energy_uj,
            tick_energy_uj,
            cap_mw,
            cap_lease_ends_ms,
            effective_cap_mw,
            capping,
            estimated,
        } = wire;
        Ok(Self {
            name,
            target: Target::read(present(target, "a container's target")?),
            power: Power::new(power_mw),
            energy: Energy::new(energy_uj),
            tick_energy: Energy::new(tick_energy_uj),
            cap: cap_mw.map(Power::new),
            cap_lease_ends: cap_lease_ends_ms.map(Millis::new),
            effective_cap: effective_cap_mw.map(Power::new),
            capping: Capping::read(present(capping, "a container's capping")?)?,
            estimated,
        })
    }

    pub(crate) fn read_all(wire: Vec<v1::Container>) -> Result<Vec<Self>, Error> {
        wire.into_iter().map(Self::read).collect()
    }
}
