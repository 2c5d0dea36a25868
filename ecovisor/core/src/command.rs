//! What can be asked of a site, and why it may be refused. A refusal changes nothing and says what would be accepted.

use crate::app::{AppId, AppName, AppPolicy};
use crate::cap::{ContainerId, ContainerName};
use crate::carbon::Budget;
use crate::reserve::{Part, ReservationId};
use crate::share::Share;
use crate::site::{Rules, Tick};
use crate::tree::{LEVELS_MAX, NodeId};
use alloc::vec::Vec;
use ecovisor_units::{CarbonRate, Energy, Millis, Power, Ppm, WattHours};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A change of what holds from the next tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A new app, at the end of the order, before `house`.
    CreateApp {
        /// Unique among the living.
        name: AppName,
        /// Its share.
        share: Share,
        /// Its policy.
        policy: AppPolicy,
    },
    /// Another share. What a lowered capacity no longer holds passes to `house`.
    ChangeShare {
        /// Whose.
        app: AppId,
        /// The whole new share.
        share: Share,
    },
    /// Another policy. Settings that were at their default follow it.
    ChangePolicy {
        /// Whose.
        app: AppId,
        /// The whole new policy.
        policy: AppPolicy,
    },
    /// An app winds down.
    DrainApp(AppId),
    /// An app ends; all it has passes to `house`. Refused while it is active and has containers.
    DeleteApp(AppId),
    /// A container joins an app.
    AttachContainer {
        /// Whose.
        app: AppId,
        /// Unique within the app.
        name: ContainerName,
        /// The most it can draw; at least 1 mW.
        ceiling: Power,
    },
    /// A container leaves.
    DetachContainer(ContainerId),
    /// Charge at this power until full; zero ends charging.
    SetChargeRate {
        /// Whose.
        app: AppId,
        /// At most the charge limit of its share.
        rate: Power,
        /// How long it holds; `None` means until changed.
        lease: Option<Millis>,
    },
    /// Most the battery gives to load.
    SetMaxDischarge {
        /// Whose.
        app: AppId,
        /// At most the discharge limit of its share.
        limit: Power,
        /// How long it holds; `None` means until changed.
        lease: Option<Millis>,
    },
    /// Most a container may draw; `None` lifts the cap.
    SetContainerCap {
        /// Which.
        container: ContainerId,
        /// Zero throttles it as far as it goes.
        cap: Option<Power>,
        /// How long it holds; `None` means until changed.
        lease: Option<Millis>,
    },
    /// Most carbon per time; `None` lifts the bound.
    SetCarbonRate {
        /// Whose.
        app: AppId,
        /// Zero forbids the grid wherever its intensity is above zero.
        rate: Option<CarbonRate>,
        /// How long it holds; `None` means until changed.
        lease: Option<Millis>,
    },
    /// Most carbon in a window; `None` lifts the bound.
    SetCarbonBudget {
        /// Whose.
        app: AppId,
        /// The window begins when the budget holds.
        budget: Option<Budget>,
        /// How long it holds; `None` means until changed.
        lease: Option<Millis>,
    },
    /// Other rules for the whole site, under which all shares must still fit.
    Reconfigure(Rules),
    /// Power for a window to come, with what backs it. Refused where any of that is not there, sun excepted.
    Reserve {
        /// For whom.
        app: AppId,
        /// Its begin, in ms of the site's own time.
        from: Millis,
        /// What the app may draw, all together; at least 1 mW.
        power: Power,
        /// With which confidence it is given; nothing here depends on it.
        confidence: Ppm,
        /// What backs it, in order of time.
        parts: Vec<Part>,
    },
    /// A reservation ends before its time.
    CancelReservation(ReservationId),
    /// A forecast has changed: by how much a reservation falls short of what was promised.
    WarnReservation {
        /// Which.
        reservation: ReservationId,
        /// Zero: it stands as given.
        short: Power,
    },
    /// A new group of apps.
    CreateGroup {
        /// Unique among groups.
        name: AppName,
        /// The group it lies below; `None` means the site.
        parent: Option<NodeId>,
        /// Its share, which those below it divide.
        share: Share,
    },
    /// Another share for a group, in which all below it must still fit.
    ChangeGroupShare {
        /// Which.
        group: NodeId,
        /// The whole new share.
        share: Share,
    },
    /// A group ends. Refused while anything lies below it.
    DeleteGroup(NodeId),
    /// A new app below a group, or below an app: then it is that app's child and lives on what that app gives it.
    CreateAppIn {
        /// The group's place, or the app's.
        parent: NodeId,
        /// Unique among the living; a child's is its parent's, a dot, and a name of its own.
        name: AppName,
        /// Its share, within its parent's.
        share: Share,
        /// Its policy.
        policy: AppPolicy,
    },
    /// A group or an app goes below another group or the site, with all that lies below it, where its share fits.
    Relocate {
        /// Which.
        node: NodeId,
        /// The group it goes below; `None` means the site.
        parent: Option<NodeId>,
    },
    /// An app's own weight among its children when solar is divided; it ends with the last child.
    SetOwnWeight {
        /// Whose.
        app: AppId,
        /// Zero leaves all its solar to its children, unless none of them has a weight.
        weight: u32,
    },
}

/// What an accepted command led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The tick from which it holds.
    pub holds_from: Tick,
    /// The app that was created.
    pub app: Option<AppId>,
    /// The container that was attached.
    pub container: Option<ContainerId>,
    /// The reservation that was made.
    pub reservation: Option<ReservationId>,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such app, or not any more.
    #[error("there is no app {}", .0.get())]
    UnknownApp(AppId),
    /// No such container, or not any more.
    #[error("there is no container {}", .0.get())]
    UnknownContainer(ContainerId),
    /// `house` is the operator's own; it has no share to change and does not end.
    #[error("house is the site's own app: its share is what others leave")]
    House,
    /// The name is taken.
    #[error("the name is taken")]
    NameTaken,
    /// The app winds down and takes nothing new.
    #[error("the app is draining and takes nothing new")]
    Draining,
    /// An active app with containers is not deleted.
    #[error("the app is active and has {containers} containers: drain it first, or detach them")]
    HasContainers {
        /// How many.
        containers: u32,
    },
    /// More battery capacity than is free.
    #[error("battery capacity of {} exceeds the {} that are free", WattHours(.asked.wide()), WattHours(.free.wide()))]
    Capacity {
        /// What was asked.
        asked: Energy,
        /// What would be accepted.
        free: Energy,
    },
    /// A floor above the capacity.
    #[error(
        "a battery floor of {} lies above the capacity of {}", WattHours(.floor.wide()), WattHours(.capacity.wide())
    )]
    Floor {
        /// What was asked.
        floor: Energy,
        /// The most that would be accepted.
        capacity: Energy,
    },
    /// More charge power than is free.
    #[error("a charge limit of {asked} exceeds the {free} that are free")]
    ChargePower {
        /// What was asked.
        asked: Power,
        /// What would be accepted.
        free: Power,
    },
    /// More discharge power than is free.
    #[error("a discharge limit of {asked} exceeds the {free} that are free")]
    DischargePower {
        /// What was asked.
        asked: Power,
        /// What would be accepted.
        free: Power,
    },
    /// More of the grid connection than is free.
    #[error("a grid limit of {asked} exceeds the {free} that are free")]
    GridLimit {
        /// What was asked.
        asked: Power,
        /// What would be accepted.
        free: Power,
    },
    /// A setting beyond the app's share.
    #[error("{asked} exceeds the share's limit of {limit}")]
    BeyondShare {
        /// What was asked.
        asked: Power,
        /// What would be accepted.
        limit: Power,
    },
    /// A lease of no time.
    #[error("a lease of 0 ms ends before it begins: give at least 1 ms, or none to hold until changed")]
    EmptyLease,
    /// A budget's window shorter than a tick.
    #[error("a budget window of {asked} is shorter than a tick of {tick}")]
    ShortWindow {
        /// What was asked.
        asked: Millis,
        /// The least that would be accepted.
        tick: Millis,
    },
    /// A container that can draw nothing.
    #[error("a container's ceiling must be at least 1 mW")]
    NoCeiling,
    /// More apps or containers than the site takes.
    #[error("the site takes no more than {limit} of these")]
    TooMany {
        /// The most.
        limit: u32,
    },
    /// No such reservation, or not any more.
    #[error("there is no reservation {}", .0.get())]
    UnknownReservation(ReservationId),
    /// A reservation that is none.
    #[error("{0}")]
    Reservation(&'static str),
    /// More of the grid than is there for reservations, of a share or of the site.
    #[error("reservations of {asked} from the grid exceed the {free} that they may take")]
    ReservedGrid {
        /// What all reservations would come to at their busiest.
        asked: Power,
        /// The most that would be accepted.
        free: Power,
    },
    /// More of a battery's power than its share has.
    #[error("reservations of {asked} from the battery exceed the {free} that it gives")]
    ReservedDischarge {
        /// What the app's reservations would come to at their busiest.
        asked: Power,
        /// The most that would be accepted.
        free: Power,
    },
    /// More energy than is in the battery and free to be held.
    #[error(
        "{} to be held for reservations exceed the {} that are there for it",
        WattHours(.asked.wide()), WattHours(.free.wide())
    )]
    ReservedEnergy {
        /// What was asked, inside.
        asked: Energy,
        /// The most that would be accepted.
        free: Energy,
    },
    /// No such group, or not any more, or an app where only a group may be.
    #[error("there is no group at place {}", .0.get())]
    UnknownGroup(NodeId),
    /// Shares would nest too deep.
    #[error("shares nest at most {LEVELS_MAX} levels deep, the site and the apps included")]
    TooDeep,
    /// A group would lie below itself.
    #[error("a group cannot lie below itself")]
    BelowItself,
    /// Only an app makes and ends children, and they stay with it.
    #[error("an app's children stay with it")]
    Child,
    /// A name that does not say whose child the app is, or says so where it is nobody's.
    #[error("an app's child is named after it, as in web.batch; no other name has a dot")]
    ChildName,
    /// What has others below it does not end.
    #[error("{children} shares lie below it: end or move them first")]
    HasChildren {
        /// How many.
        children: u32,
    },
    /// Less battery capacity than those below hold.
    #[error(
        "a battery capacity of {} is less than the {} that those below hold",
        WattHours(.asked.wide()), WattHours(.held.wide())
    )]
    HeldCapacity {
        /// What was asked.
        asked: Energy,
        /// The least that would be accepted.
        held: Energy,
    },
    /// Less power than those below hold.
    #[error("a {limit} limit of {asked} is less than the {held} that those below hold")]
    HeldPower {
        /// Which limit: `charge`, `discharge` or `grid`.
        limit: &'static str,
        /// What was asked.
        asked: Power,
        /// The least that would be accepted.
        held: Power,
    },
    /// Rules that contradict themselves.
    #[error("these rules cannot hold: {0}")]
    Rules(&'static str),
}
