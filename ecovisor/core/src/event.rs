//! What happened in a tick that somebody may want to be told. The core returns events; the shell logs and delivers them.

use crate::app::AppId;
use crate::cap::ContainerId;
use crate::freshness::{Meter, Quality};
use crate::reserve::ReservationId;
use ecovisor_units::{Energy, EnergySum, Millis, Power};
use serde::{Deserialize, Serialize};

/// A setting that can be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Setting {
    /// An app's charge rate.
    ChargeRate(AppId),
    /// An app's most discharge.
    MaxDischarge(AppId),
    /// An app's carbon rate.
    CarbonRate(AppId),
    /// An app's carbon budget.
    CarbonBudget(AppId),
    /// A container's cap.
    ContainerCap(ContainerId),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A battery has become full.
    BatteryFull(AppId),
    /// A battery has come down to its floor.
    BatteryEmpty(AppId),
    /// A charge setting has ended because the battery is full.
    ChargeEnded(AppId),
    /// A container's cap in force has come below its setting.
    CapLowered {
        /// Whose.
        container: ContainerId,
        /// What is in force from the coming tick.
        cap: Power,
    },
    /// A container's cap in force is its setting again.
    CapRestored(ContainerId),
    /// An app has begun to use more than it was entitled to.
    OverdraftStarted(AppId),
    /// An app uses no more than it is entitled to again.
    OverdraftEnded(AppId),
    /// A carbon budget has reached a mark.
    BudgetReached {
        /// Whose.
        app: AppId,
        /// 50, 80 or 100.
        percent: u8,
    },
    /// A lease has ended and the default is back.
    LeaseExpired(Setting),
    /// A claim has been reduced because `house` could not pay what the meters say is missing.
    BatteryAdjusted {
        /// Whose.
        app: AppId,
        /// By how much, inside.
        by: Energy,
    },
    /// A reading of the site has become held or assumed.
    MeterDegraded(Meter, Quality),
    /// A reading of the site is live again.
    MeterRecovered(Meter),
    /// A gap was settled as one entry.
    Gap(Millis),
    /// An app begins to drain.
    Draining(AppId),
    /// What an app had beyond a lowered capacity, or all it had at its deletion, has passed to `house`.
    PassedToHouse {
        /// From whom.
        app: AppId,
        /// Of its claim, inside.
        claim: Energy,
        /// Of its part of the solar buffer.
        buffer: Energy,
        /// Of what it owed.
        debt: EnergySum,
        /// Of what it was owed.
        loan: EnergySum,
    },
    /// A reservation's window has begun: what it reserves is the app's from the coming tick.
    ReservationBegan {
        /// Whose.
        app: AppId,
        /// Which.
        reservation: ReservationId,
    },
    /// A reservation is no more.
    ReservationEnded {
        /// Whose.
        app: AppId,
        /// Which.
        reservation: ReservationId,
        /// Why.
        end: ReservationEnd,
    },
    /// What backs a reservation falls short: as a later forecast has it, or of the coming tick.
    ReservationAtRisk {
        /// Whose.
        app: AppId,
        /// Which.
        reservation: ReservationId,
        /// What is missing of the promised power.
        short: Power,
    },
    /// What a child had, or its parent beyond what it keeps, has passed to the other: an app's share was divided, taken
    /// back or divided anew.
    PassedToApp {
        /// From whom.
        from: AppId,
        /// To whom.
        to: AppId,
        /// Of its claim, inside.
        claim: Energy,
        /// Of its part of the solar buffer.
        buffer: Energy,
        /// Of what it owed.
        debt: EnergySum,
        /// Of what it was owed.
        loan: EnergySum,
    },
}

/// Why a reservation is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationEnd {
    /// Its time is over.
    Over,
    /// It was cancelled, or its app ended.
    Cancelled,
}
