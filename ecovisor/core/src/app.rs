//! An app: a tenant with a share, settings that may be leases, and a life from creation to deletion.

use crate::carbon::Budget;
use crate::share::Share;
use alloc::string::String;
use core::fmt;
use ecovisor_units::{CarbonRate, Millis, Power};
use serde::{Deserialize, Serialize};

/// Which app: given at creation, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(u32);

impl AppId {
    /// The operator's own app, which is always there and always last.
    pub const HOUSE: Self = Self(0);

    /// The app of that number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number; zero is `house`.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The name of an app or of a group: 1..=63 of a-z, 0-9 and `-`, beginning with a letter and not ending with `-`, as in
/// DNS labels (RFC 1035, 2.3.1), so that it fits in a socket's path, a certificate's URI and a metric's label. The child
/// of an app is named by its parent's name, a dot and such a label: `web.batch`; the whole is at most 63 long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

impl AppName {
    /// The name, or `None` where the text is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_label = |label: &str| {
            label.starts_with(|c: char| c.is_ascii_lowercase())
                && !label.ends_with('-')
                && label.chars().all(letters)
        };
        let fits = (1..=63).contains(&text.len()) && text.split('.').all(is_label);
        fits.then(|| Self(String::from(text)))
    }

    /// The name of the app whose child this one is; `None` where it is nobody's.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('.').map(|(parent, _)| parent)
    }

    /// The name of a child of this app; `None` where that is none, or longer than a name may be.
    #[must_use]
    pub fn child(&self, label: &str) -> Option<Self> {
        let name = Self::new(&alloc::format!("{}.{label}", self.0))?;
        (!label.contains('.')).then_some(name)
    }

    /// The operator's own app.
    #[must_use]
    pub fn house() -> Self {
        Self(String::from("house"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppName {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
            .ok_or("a name is 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -")
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> String {
        name.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to an app's containers when it has no supply at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shortfall {
    /// They run on the smallest quota.
    #[default]
    Throttle,
    /// They are frozen.
    Freeze,
    /// They run on; the overdraft is only booked. For apps whose owner is trusted.
    Notify,
}

/// A setting that may end by itself: then the default comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased<T> {
    /// What is set.
    pub value: T,
    /// When it ends, in ms of the site's own time (the sum of its spans); `None` means when it is changed.
    pub until: Option<Millis>,
}

impl<T> Leased<T> {
    /// A setting without an end.
    pub const fn lasting(value: T) -> Self {
        Self { value, until: None }
    }

    /// Whether its end has come.
    #[must_use]
    pub fn has_ended(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// What an app has set, or what comes back when its leases end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Charge the battery at this power, from the grid where solar does not reach, until it is full; zero means no.
    pub charge_rate: Leased<Power>,
    /// Most the battery gives to load; [`Power::MAX`] means as much as its share allows.
    pub max_discharge: Leased<Power>,
    /// Most carbon per time; `None` means no bound.
    pub carbon_rate: Leased<Option<CarbonRate>>,
    /// Most carbon in a window; `None` means no bound.
    pub carbon_budget: Leased<Option<Budget>>,
}

impl Default for Settings {
    /// The battery serves load as far as it can and charges from the sun alone; carbon is not bounded.
    fn default() -> Self {
        Self {
            charge_rate: Leased::lasting(Power::ZERO),
            max_discharge: Leased::lasting(Power::MAX),
            carbon_rate: Leased::lasting(None),
            carbon_budget: Leased::lasting(None),
        }
    }
}

/// What the operator decided about an app besides its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPolicy {
    /// What happens at zero supply.
    pub shortfall: Shortfall,
    /// Default of [`Settings::charge_rate`].
    pub charge_rate: Power,
    /// Default of [`Settings::max_discharge`]; `None` means as much as its share allows.
    pub max_discharge: Option<Power>,
}

impl AppPolicy {
    /// What holds while the app has set nothing.
    #[must_use]
    pub fn defaults(self) -> Settings {
        Settings {
            charge_rate: Leased::lasting(self.charge_rate),
            max_discharge: Leased::lasting(self.max_discharge.unwrap_or(Power::MAX)),
            ..Settings::default()
        }
    }
}

/// Where an app stands in its life. `Active -> Draining -> gone`; there is no way back from draining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It may do all that its share allows.
    #[default]
    Active,
    /// It winds down: no new container, no new setting, its battery gives and takes nothing in.
    Draining,
}

/// A tenant as the register knows it; its balances are an [`Account`](crate::ledger::Account).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Which.
    pub id: AppId,
    /// Its name, unique among the living.
    pub name: AppName,
    /// What it may use itself: its share without what it has given to children.
    pub share: Share,
    /// What the operator decided.
    pub policy: AppPolicy,
    /// What holds.
    pub settings: Settings,
    /// Where it stands.
    pub life: Life,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_where_they_are_used() {
        for name in ["a", "web", "web-1", "a23456789-123456789-123456789-123456789-123456789-123456789-123"] {
            assert!(AppName::new(name).is_some(), "{name}");
        }
        for name in ["", "1web", "Web", "web_1", "web-", "-web", "a/b", "..", "wéb", &"a".repeat(64)] {
            assert!(AppName::new(name).is_none(), "{name}");
        }
        for name in [".", "a.", ".a", "a..b", "a.-b", "a-.b", "a.1", "a/../b"] {
            assert!(AppName::new(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_child_is_named_after_its_parent() {
        let web = AppName::new("web").unwrap();
        let batch = web.child("batch").unwrap();
        assert_eq!((batch.as_str(), batch.parent(), web.parent()), ("web.batch", Some("web"), None));
        assert_eq!(batch.child("x").unwrap().parent(), Some("web.batch"));
        for label in ["", "a.b", "..", "1", &"a".repeat(60)] {
            assert_eq!(web.child(label), None, "{label}");
        }
    }

    #[test]
    fn a_lease_ends_when_its_time_has_come() {
        let lease = Leased { value: (), until: Some(Millis::new(10)) };
        assert!(!lease.has_ended(Millis::new(9)));
        assert!(lease.has_ended(Millis::new(10)));
        assert!(!Leased::lasting(()).has_ended(Millis::MAX));
    }
}
