//! Events: what happens to an app between and in ticks.

use crate::Error;
use crate::error::present;
use crate::setting::Subject;
use crate::system::Quality;
use ecovisor_proto::v1;
use ecovisor_units::{CarbonIntensity, CarbonMass, Energy, Millis, Power, Ppm};

/// From which change on solar, carbon and the battery are told; all other events always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Least change of solar power since it was last told; `None`: solar is not told.
    pub solar_change: Option<Power>,
    /// Least change of carbon intensity since it was last told; `None`: it is not told.
    pub carbon_change: Option<CarbonIntensity>,
    /// Part of the capacity from which the battery counts as full; `None`: all of it.
    pub battery_full: Option<Ppm>,
    /// Part of the capacity down to which the battery counts as empty; `None`: its floor.
    pub battery_empty: Option<Ppm>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The tick in which it happened.
    pub tick: u64,
    /// When, by the site's wall clock, since 1970 UTC.
    pub wall: Millis,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Solar changed by at least the threshold.
    SolarChanged {
        /// What was last told.
        from: Power,
        /// What it is now.
        to: Power,
    },
    /// Grid carbon intensity changed by at least the threshold.
    CarbonChanged {
        /// What was last told.
        from: CarbonIntensity,
        /// What it is now.
        to: CarbonIntensity,
    },
    /// The battery reached the level that counts as full.
    BatteryFull {
        /// Its level.
        charge_level: Energy,
    },
    /// The battery reached the level that counts as empty.
    BatteryEmpty {
        /// Its level.
        charge_level: Energy,
    },
    /// Supply fell short and a container's cap was lowered.
    CapLowered {
        /// The container.
        container: String,
        /// The cap that was set; `None`: none was.
        cap: Option<Power>,
        /// The cap in force.
        effective_cap: Power,
    },
    /// Supply is back and a container has the cap that was set.
    CapRestored {
        /// The container.
        container: String,
        /// The cap in force; `None`: no cap.
        cap: Option<Power>,
    },
    /// The app used more than it was entitled to.
    OverdraftStarted {
        /// Overdraft of its first tick.
        overdraft: Energy,
    },
    /// The app is within its entitlement again.
    OverdraftEnded {
        /// Overdraft from its first to its last tick.
        overdraft: Energy,
        /// What the app now owes.
        debt: Energy,
    },
    /// A part of the carbon budget is spent.
    BudgetReached {
        /// 50, 80 or 100.
        percent: u32,
        /// Spent, rounded down.
        spent: CarbonMass,
        /// The budget.
        budget: CarbonMass,
    },
    /// A setting's lease ended and its default is back.
    LeaseExpired {
        /// What the setting was about.
        subject: Subject,
    },
    /// The battery is full and its charge setting ended.
    ChargeEnded {
        /// The rate that was set.
        charge_rate: Power,
    },
    /// The real battery holds less than its claims: this app's was lowered.
    BatteryAdjusted {
        /// Taken off.
        adjusted_down: Energy,
        /// Level after it.
        charge_level: Energy,
    },
    /// Readings of a device that the app's figures rest on are no longer fresh.
    DeviceDegraded {
        /// Its name.
        device: String,
        /// What its figures rest on now.
        quality: Quality,
    },
    /// They are fresh again.
    DeviceRecovered {
        /// Its name.
        device: String,
    },
    /// The operator drains the app.
    Draining {
        /// After when it may be deleted, in wall-clock time since 1970 UTC; `None`: when its debts are settled.
        until: Option<Millis>,
    },
    /// A reservation's window has begun.
    ReservationBegan {
        /// Which.
        reservation: u64,
    },
    /// A reservation is no more.
    ReservationEnded {
        /// Which.
        reservation: u64,
        /// Whether before its time.
        cancelled: bool,
    },
    /// What backs a reservation falls short.
    ReservationAtRisk {
        /// Which.
        reservation: u64,
        /// Power that is missing of what was promised.
        short: Power,
    },
    /// Something this SDK does not know yet.
    Unknown,
}

impl Thresholds {
    pub(crate) fn write(self) -> v1::WatchEventsRequest {
        v1::WatchEventsRequest {
            solar_change_mw: self.solar_change.map(Power::get),
            carbon_change_mg_per_kwh: self.carbon_change.map(CarbonIntensity::get),
            battery_full_ppm: self.battery_full.map(Ppm::get),
            battery_empty_ppm: self.battery_empty.map(Ppm::get),
        }
    }
}

impl Event {
    pub(crate) fn read(wire: v1::Event) -> Result<Self, Error> {
        let v1::Event { tick, wall_ms, kind } = wire;
        let kind = kind.map_or(Ok(EventKind::Unknown), EventKind::read)?;
        Ok(Self { tick, wall: Millis::new(wall_ms), kind })
    }
}

impl EventKind {
    /// Over forty lines because the wire has fifteen kinds and each is spelled out.
    fn read(wire: v1::event::Kind) -> Result<Self, Error> {
        use v1::event::Kind;
        Ok(match wire {
            Kind::SolarChanged(v1::SolarChanged { from_mw, to_mw }) => {
                Self::SolarChanged { from: Power::new(from_mw), to: Power::new(to_mw) }
            }
            Kind::CarbonChanged(v1::CarbonChanged { from_mg_per_kwh, to_mg_per_kwh }) => {
                Self::CarbonChanged {
                    from: CarbonIntensity::new(from_mg_per_kwh),
                    to: CarbonIntensity::new(to_mg_per_kwh),
                }
            }
            Kind::BatteryFull(v1::BatteryFull { charge_level_uj }) => {
                Self::BatteryFull { charge_level: Energy::new(charge_level_uj) }
            }
            Kind::BatteryEmpty(v1::BatteryEmpty { charge_level_uj }) => {
                Self::BatteryEmpty { charge_level: Energy::new(charge_level_uj) }
            }
            Kind::CapLowered(v1::CapLowered { container, cap_mw, effective_cap_mw }) => Self::CapLowered {
                container,
                cap: cap_mw.map(Power::new),
                effective_cap: Power::new(effective_cap_mw),
            },
            Kind::CapRestored(v1::CapRestored { container, cap_mw }) => {
                Self::CapRestored { container, cap: cap_mw.map(Power::new) }
            }
            Kind::OverdraftStarted(v1::OverdraftStarted { overdraft_uj }) => {
                Self::OverdraftStarted { overdraft: Energy::new(overdraft_uj) }
            }
            Kind::OverdraftEnded(v1::OverdraftEnded { overdraft_uj, debt_uj }) => {
                Self::OverdraftEnded { overdraft: Energy::new(overdraft_uj), debt: Energy::new(debt_uj) }
            }
            Kind::BudgetReached(v1::BudgetReached { percent, spent_mg, budget_mg }) => Self::BudgetReached {
                percent,
                spent: CarbonMass::new(spent_mg),
                budget: CarbonMass::new(budget_mg),
            },
            Kind::LeaseExpired(wire) => Self::LeaseExpired { subject: read_subject(wire)? },
            Kind::ChargeEnded(v1::ChargeEnded { charge_rate_mw }) => {
                Self::ChargeEnded { charge_rate: Power::new(charge_rate_mw) }
            }
            Kind::BatteryAdjusted(v1::BatteryAdjusted { adjusted_down_uj, charge_level_uj }) => {
                Self::BatteryAdjusted {
                    adjusted_down: Energy::new(adjusted_down_uj),
                    charge_level: Energy::new(charge_level_uj),
                }
            }
            Kind::DeviceDegraded(wire) => {
                Self::DeviceDegraded { quality: Quality::read(wire.quality())?, device: wire.device }
            }
            Kind::DeviceRecovered(v1::DeviceRecovered { device }) => Self::DeviceRecovered { device },
            // The operator's alone; an app never hears of it.
            Kind::TickOverrun(_) => Self::Unknown,
            Kind::ReservationBegan(v1::ReservationBegan { reservation }) => {
                Self::ReservationBegan { reservation }
            }
            Kind::ReservationEnded(v1::ReservationEnded { reservation, cancelled }) => {
                Self::ReservationEnded { reservation, cancelled }
            }
            Kind::ReservationAtRisk(v1::ReservationAtRisk { reservation, short_mw }) => {
                Self::ReservationAtRisk { reservation, short: Power::new(short_mw) }
            }
            Kind::Draining(v1::Draining { until_ms }) => Self::Draining { until: until_ms.map(Millis::new) },
        })
    }
}

fn read_subject(wire: v1::LeaseExpired) -> Result<Subject, Error> {
    match wire.setting() {
        v1::SettingKind::BatteryChargeRate => Ok(Subject::BatteryChargeRate),
        v1::SettingKind::BatteryMaxDischarge => Ok(Subject::BatteryMaxDischarge),
        v1::SettingKind::ContainerPowerCap => Ok(Subject::ContainerPowerCap(wire.container)),
        v1::SettingKind::CarbonRate => Ok(Subject::CarbonRate),
        v1::SettingKind::CarbonBudget => Ok(Subject::CarbonBudget),
        v1::SettingKind::Unspecified => present(None, "which setting's lease ended"),
    }
}
