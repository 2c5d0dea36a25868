//! Containers, what they may draw, and lowering their caps to what their app may draw.

use crate::app::{AppId, Leased};
use crate::split::split;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use ecovisor_units::Power;
use serde::{Deserialize, Serialize};

/// Which container: given when it is attached, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(u32);

impl ContainerId {
    /// The container of that number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A container's name: 1..=128 printable ASCII characters without `/` and white space; unique within its app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

impl ContainerName {
    /// The name, or `None` where the text is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() && c != '/');
        fits.then(|| Self(String::from(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContainerName {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("a container's name is 1 to 128 printable characters without / and spaces")
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> String {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is metered and capped: a cgroup, a process tree, a GPU or TPU client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Which.
    pub id: ContainerId,
    /// Whose.
    pub app: AppId,
    /// Its name within the app.
    pub name: ContainerName,
    /// The most it can draw by its nature (all the cores it can reach, busy). Its load is taken to be this where it is
    /// unknown and nothing caps it.
    pub ceiling: Power,
    /// What it may draw by its app's wish; `None` means as much as it can.
    pub cap: Leased<Option<Power>>,
}

impl Container {
    /// The most it would draw if supply were no question.
    #[must_use]
    pub fn wish(&self) -> Power {
        self.cap.value.unwrap_or(self.ceiling).min(self.ceiling)
    }
}

/// Lowers `wishes` pro rata so that they sum to at most `supply`; leaves them where they do already.
#[must_use]
pub fn fit(wishes: &[Power], supply: Power) -> Vec<Power> {
    let mut caps = Vec::with_capacity(wishes.len());
    fit_into(wishes, supply, &mut caps);
    caps
}

/// [`fit`] at the end of `caps`.
pub(crate) fn fit_into(wishes: &[Power], supply: Power, caps: &mut Vec<Power>) {
    let wide = wishes.iter().map(|w| u128::from(w.get()));
    if wide.clone().sum::<u128>() <= u128::from(supply.get()) {
        caps.extend(wishes);
        return;
    }
    let narrow = |part: u128| Power::new(u64::try_from(part).expect("a part of a power is a power"));
    caps.extend(split(u128::from(supply.get()), wide).map(narrow));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn powers(figures: &[u64]) -> Vec<Power> {
        figures.iter().map(|&f| Power::new(f)).collect()
    }

    #[test]
    fn caps_are_lowered_pro_rata_to_the_supply() {
        assert_eq!(fit(&powers(&[30, 10]), Power::new(20)), powers(&[15, 5]));
        assert_eq!(fit(&powers(&[30, 10]), Power::ZERO), powers(&[0, 0]));
    }

    #[test]
    fn caps_within_the_supply_stay() {
        assert_eq!(fit(&powers(&[30, 10]), Power::new(40)), powers(&[30, 10]));
    }

    #[test]
    fn a_cap_beyond_the_ceiling_caps_nothing() {
        let mut container = Container {
            id: ContainerId::new(1),
            app: AppId::new(1),
            name: ContainerName::new("c").unwrap(),
            ceiling: Power::new(10),
            cap: Leased::lasting(None),
        };
        assert_eq!(container.wish(), Power::new(10));
        container.cap.value = Some(Power::new(99));
        assert_eq!(container.wish(), Power::new(10));
        container.cap.value = Some(Power::new(9));
        assert_eq!(container.wish(), Power::new(9));
    }

    #[test]
    fn container_names_stay_on_one_line_and_out_of_paths() {
        for name in ["", "a b", "a/b", "a\n", "é"] {
            assert!(ContainerName::new(name).is_none(), "{name:?}");
        }
        assert!(ContainerName::new("web_1.main:x@y").is_some());
    }
}
