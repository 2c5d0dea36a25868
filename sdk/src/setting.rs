//! Settings: what an app may ask of its energy system, and what came of it.

use crate::Error;
use crate::error::present;
use ecovisor_proto::v1;
use ecovisor_units::{CarbonMass, CarbonRate, Millis, Power};

/// One setting. Each without its figure brings the app's default back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Power at which the battery is charged until full; the grid tops up what solar lacks. Zero: the grid does not charge.
    BatteryChargeRate(Option<Power>),
    /// Most that the battery gives to the load. Zero: nothing.
    BatteryMaxDischarge(Option<Power>),
    /// A container's power cap; without it there is none. Zero: it may use nothing.
    ContainerPowerCap {
        /// The container.
        container: String,
        /// Its cap.
        cap: Option<Power>,
    },
    /// Most carbon of grid power per hour. Zero: no grid energy that has carbon.
    CarbonRate(Option<CarbonRate>),
    /// Most carbon of grid power per window.
    CarbonBudget(Option<CarbonBudget>),
}

/// A carbon budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarbonBudget {
    /// Most carbon in a window. Zero: none.
    pub budget: CarbonMass,
    /// Length of a window; the first starts when the setting begins to hold. Never zero.
    pub window: Millis,
    /// What happens when it is spent.
    pub action: BudgetAction,
}

/// What a spent carbon budget does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetAction {
    /// It only tells.
    Notify,
    /// It keeps grid power from the app until the window ends.
    BlockGrid,
}

/// How long a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Until it is changed, whatever becomes of the app.
    UntilChanged,
    /// For that long by the site's clock; then the default comes back. Never zero.
    For(Millis),
}

/// A setting that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The first tick that it holds for; a container's cap acts at once.
    pub holds_from_tick: u64,
    /// When its lease ends, in wall-clock time since 1970 UTC; `None` where it holds until changed.
    pub lease_ends: Option<Millis>,
}

/// What a setting is about: two settings with one subject replace each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// [`Setting::BatteryChargeRate`].
    BatteryChargeRate,
    /// [`Setting::BatteryMaxDischarge`].
    BatteryMaxDischarge,
    /// [`Setting::ContainerPowerCap`] of this container.
    ContainerPowerCap(String),
    /// [`Setting::CarbonRate`].
    CarbonRate,
    /// [`Setting::CarbonBudget`].
    CarbonBudget,
}

impl Setting {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::BatteryChargeRate(_) => Subject::BatteryChargeRate,
            Self::BatteryMaxDischarge(_) => Subject::BatteryMaxDischarge,
            Self::ContainerPowerCap { container, .. } => Subject::ContainerPowerCap(container.clone()),
            Self::CarbonRate(_) => Subject::CarbonRate,
            Self::CarbonBudget(_) => Subject::CarbonBudget,
        }
    }

    /// Whether it brings the default back, so that there is nothing to renew.
    #[must_use]
    pub fn is_default(&self) -> bool {
        match self {
            Self::BatteryChargeRate(power) | Self::BatteryMaxDischarge(power) => power.is_none(),
            Self::ContainerPowerCap { cap, .. } => cap.is_none(),
            Self::CarbonRate(rate) => rate.is_none(),
            Self::CarbonBudget(budget) => budget.is_none(),
        }
    }

    /// The base unit of its figure, as the wire names it.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::BatteryChargeRate(_) | Self::BatteryMaxDischarge(_) | Self::ContainerPowerCap { .. } => {
                "mw"
            }
            Self::CarbonRate(_) => "mg_per_h",
            Self::CarbonBudget(_) => "mg",
        }
    }

    pub(crate) fn write(&self, lease: Lease) -> v1::Setter {
        use v1::setter::Set;
        let lease_ms = match lease {
            Lease::UntilChanged => None,
            Lease::For(length) => Some(length.get()),
        };
        let set = match self {
            Self::BatteryChargeRate(rate) => Set::BatteryChargeRate(v1::SetBatteryChargeRateRequest {
                rate_mw: rate.map(Power::get),
                lease_ms,
            }),
            Self::BatteryMaxDischarge(max) => Set::BatteryMaxDischarge(v1::SetBatteryMaxDischargeRequest {
                max_mw: max.map(Power::get),
                lease_ms,
            }),
            Self::ContainerPowerCap { container, cap } => {
                Set::ContainerPowerCap(v1::SetContainerPowerCapRequest {
                    container: container.clone(),
                    cap_mw: cap.map(Power::get),
                    lease_ms,
                })
            }
            Self::CarbonRate(rate) => Set::CarbonRate(v1::SetCarbonRateRequest {
                rate_mg_per_h: rate.map(CarbonRate::get),
                lease_ms,
            }),
            Self::CarbonBudget(budget) => Set::CarbonBudget(v1::SetCarbonBudgetRequest {
                budget_mg: budget.map(|budget| budget.budget.get()),
                window_ms: budget.map_or(0, |budget| budget.window.get()),
                action: budget.map_or(v1::BudgetAction::Unspecified, |budget| budget.action.write()).into(),
                lease_ms,
            }),
        };
        v1::Setter { set: Some(set) }
    }
}

impl BudgetAction {
    fn write(self) -> v1::BudgetAction {
        match self {
            Self::Notify => v1::BudgetAction::Notify,
            Self::BlockGrid => v1::BudgetAction::BlockGrid,
        }
    }

    fn read(wire: v1::BudgetAction) -> Result<Self, Error> {
        match wire {
            v1::BudgetAction::Notify => Ok(Self::Notify),
            v1::BudgetAction::BlockGrid => Ok(Self::BlockGrid),
            v1::BudgetAction::Unspecified => Err(Error::unreadable("a budget without its action")),
        }
    }
}

impl Accepted {
    pub(crate) fn read(wire: v1::SettingReply) -> Self {
        let v1::SettingReply { holds_from_tick, lease_ends_ms } = wire;
        Self { holds_from_tick, lease_ends: lease_ends_ms.map(Millis::new) }
    }
}

/// A figure in force, and how it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce<T> {
    /// The figure; `None` means no bound.
    pub figure: Option<T>,
    /// When the default comes back, in wall-clock time since 1970 UTC; `None` where it holds until changed.
    pub lease_ends: Option<Millis>,
    /// Whether this is the app's default and not something set.
    pub origin: Origin,
}

/// No bound, by default. Spelled out because a derived one would ask it of the figure.
impl<T> Default for InForce<T> {
    fn default() -> Self {
        Self { figure: None, lease_ends: None, origin: Origin::Default }
    }
}

/// Where a figure in force comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The app's default.
    #[default]
    Default,
    /// A setting.
    Set,
}

impl Origin {
    fn read(is_default: bool) -> Self {
        if is_default { Self::Default } else { Self::Set }
    }
}

/// The settings in force; container caps stand with their containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsInForce {
    /// Battery charge rate; `None` without a battery.
    pub battery_charge_rate: Option<InForce<Power>>,
    /// Most discharge to the load; `None` without a battery.
    pub battery_max_discharge: Option<InForce<Power>>,
    /// Bound on carbon per hour.
    pub carbon_rate: InForce<CarbonRate>,
    /// Bound on carbon per window.
    pub carbon_budget: InForce<CarbonBudget>,
    /// Spent of the budget in the running window, rounded down. Zero without a budget.
    pub carbon_budget_spent: CarbonMass,
    /// When the running window ends, in wall-clock time since 1970 UTC; `None` without a budget.
    pub carbon_window_ends: Option<Millis>,
}

impl SettingsInForce {
    pub(crate) fn read(wire: v1::SettingsInForce) -> Result<Self, Error> {
        let v1::SettingsInForce { battery_charge_rate, battery_max_discharge, carbon_rate, carbon_budget } =
            wire;
        let v1::CarbonRateSetting { rate_mg_per_h, lease_ends_ms, is_default } =
            present(carbon_rate, "carbon rate")?;
        let carbon_rate = InForce {
            figure: rate_mg_per_h.map(CarbonRate::new),
            lease_ends: lease_ends_ms.map(Millis::new),
            origin: Origin::read(is_default),
        };
        let wire = present(carbon_budget, "carbon budget")?;
        let action = wire.action();
        let v1::CarbonBudgetSetting {
            budget_mg,
            window_ms,
            action: _,
            spent_mg,
            window_ends_ms,
            lease_ends_ms,
            is_default,
        } = wire;
        let budget = |budget_mg| -> Result<CarbonBudget, Error> {
            let window = Millis::new(window_ms);
            Ok(CarbonBudget {
                budget: CarbonMass::new(budget_mg),
                window,
                action: BudgetAction::read(action)?,
            })
        };
        Ok(Self {
            battery_charge_rate: battery_charge_rate.map(power_in_force),
            battery_max_discharge: battery_max_discharge.map(power_in_force),
            carbon_rate,
            carbon_budget: InForce {
                figure: budget_mg.map(budget).transpose()?,
                lease_ends: lease_ends_ms.map(Millis::new),
                origin: Origin::read(is_default),
            },
            carbon_budget_spent: CarbonMass::new(spent_mg),
            carbon_window_ends: window_ends_ms.map(Millis::new),
        })
    }
}

fn power_in_force(wire: v1::PowerSetting) -> InForce<Power> {
    let v1::PowerSetting { power_mw, lease_ends_ms, is_default } = wire;
    InForce {
        figure: power_mw.map(Power::new),
        lease_ends: lease_ends_ms.map(Millis::new),
        origin: Origin::read(is_default),
    }
}
