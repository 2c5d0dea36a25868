//! Believing, holding and assuming readings: young is believed, old is held for a configured number of ticks, older is
//! replaced by the safe assumption. What is implausible counts as no reading.
//!
//! ```text
//!            young                    none, held < limit
//!   LIVE <----------- (any) -------------------------------> HELD
//!                                     none, held = limit
//!                       (any) ------------------------------> ASSUMED
//! ```

use ecovisor_units::{Energy, Millis};
use serde::{Deserialize, Serialize};

/// The most energy that one reading of one tick may carry: 2⁶² µJ, 1.2 GWh. More is no reading of any site. The bound
/// keeps every account inside a u64.
pub const READING_MAX: Energy = Energy::new(1 << 62);

/// A figure with its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading<T> {
    /// The figure.
    pub value: T,
    /// How old it is at the end of the tick.
    pub age: Millis,
    /// Whether it comes from a counter that runs through gaps, so that it also holds for one.
    pub counted: bool,
}

impl<T> Reading<T> {
    /// A figure of this moment from a counter.
    pub const fn now(value: T) -> Self {
        Self { value, age: Millis::ZERO, counted: true }
    }

    /// The reading if it may be believed: young, and within `plausible`.
    pub fn believed(self, young: Millis, plausible: impl Fn(&T) -> bool) -> Option<T> {
        (self.age <= young && plausible(&self.value)).then_some(self.value)
    }
}

/// What a figure rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Quality {
    /// Read.
    #[default]
    Live,
    /// The last reading, held.
    Held,
    /// The safe assumption.
    Assumed,
}

/// Which of the site's readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meter {
    /// Solar production.
    Solar,
    /// The battery's level.
    BatteryLevel,
    /// Carbon intensity of the grid.
    Intensity,
    /// The load of the whole site.
    Load,
    /// The grid connection.
    Grid,
    /// Flow through the battery's terminals.
    BatteryFlow,
}

/// How long readings are believed and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Oldest that is still believed.
    pub young: Millis,
    /// Ticks for which the last reading is held then; zero means none.
    pub hold_ticks: u32,
}

/// The memory of one reading: what was last believed, and for how many ticks it has been held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory<T> {
    last: Option<T>,
    held: u32,
    /// What the latest figure rests on.
    pub quality: Quality,
}

impl<T: Copy> Memory<T> {
    /// The figure of this tick and what it rests on: `fresh` where there is one, else the last one while patience
    /// lasts, else `None` for the safe assumption.
    pub fn settle(&mut self, fresh: Option<T>, hold_ticks: u32) -> Option<T> {
        match (fresh, self.last) {
            (Some(figure), _) => {
                *self = Self { last: Some(figure), held: 0, quality: Quality::Live };
                Some(figure)
            }
            (None, Some(figure)) if self.held < hold_ticks => {
                self.held += 1;
                self.quality = Quality::Held;
                Some(figure)
            }
            (None, _) => {
                self.quality = Quality::Assumed;
                None
            }
        }
    }

    /// What was last believed.
    #[must_use]
    pub fn last(&self) -> Option<T> {
        self.last
    }
}

/// Energy over a span: what is held of a meter is its mean power, so that a longer tick holds more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// In that span.
    pub energy: Energy,
    /// The span.
    pub span: Millis,
}

impl Held {
    /// The same mean power over `span`: energy × span ÷ its own span, rounded down. Over its own span it is the energy
    /// itself, also where that span is nothing.
    #[must_use]
    pub fn over(self, span: Millis) -> Energy {
        if span == self.span {
            return self.energy;
        }
        let product = u128::from(self.energy.get()) * u128::from(span.get());
        crate::battery::bounded(product.checked_div(u128::from(self.span.get())).unwrap_or(0))
            .min(READING_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_believed_then_held_then_assumed() {
        let mut memory = Memory::default();
        assert_eq!((memory.settle(None, 2), memory.quality), (None, Quality::Assumed));
        assert_eq!((memory.settle(Some(5), 2), memory.quality), (Some(5), Quality::Live));
        assert_eq!((memory.settle(None, 2), memory.quality), (Some(5), Quality::Held));
        assert_eq!((memory.settle(None, 2), memory.quality), (Some(5), Quality::Held));
        assert_eq!((memory.settle(None, 2), memory.quality), (None, Quality::Assumed));
        assert_eq!((memory.settle(Some(6), 2), memory.quality), (Some(6), Quality::Live));
    }

    #[test]
    fn only_the_young_and_plausible_are_believed() {
        let reading = |age, value| Reading { value, age: Millis::new(age), counted: false };
        let believed = |r: Reading<u64>| r.believed(Millis::new(10), |&v| v <= 100);
        assert_eq!(believed(reading(10, 100)), Some(100));
        assert_eq!(believed(reading(11, 100)), None);
        assert_eq!(believed(reading(10, 101)), None);
    }

    #[test]
    fn what_is_held_is_a_power() {
        let metered = Held { energy: Energy::new(100), span: Millis::new(10) };
        assert_eq!(metered.over(Millis::new(25)), Energy::new(250));
        let of_no_time = Held { span: Millis::ZERO, ..metered };
        assert_eq!(of_no_time.over(Millis::new(25)), Energy::ZERO);
        assert_eq!(of_no_time.over(Millis::ZERO), Energy::new(100));
    }
}
