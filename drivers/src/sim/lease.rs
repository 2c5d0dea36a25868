//! A set-point that expires: the device's own reversion timer.

use ecovisor_units::Millis;

/// A setting with a lease, and what holds without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leased<T> {
    safe: T,
    set: Option<(T, Millis)>,
}

impl<T: Copy> Leased<T> {
    pub(super) const fn new(safe: T) -> Self {
        Self { safe, set: None }
    }

    /// Holds `value` for `lease` from now on; a lease of zero holds nothing.
    pub(super) fn set(&mut self, value: T, lease: Millis) {
        self.set = (!lease.is_zero()).then_some((value, lease));
    }

    /// What holds now.
    pub(super) fn now(&self) -> T {
        self.set.map_or(self.safe, |(value, _)| value)
    }

    /// How long that still holds; for ever where it is the safe value.
    pub(super) fn left(&self) -> Millis {
        self.set.map_or(Millis::MAX, |(_, left)| left)
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, span: Millis) {
        let left = |(value, left): (T, Millis)| (left > span).then(|| (value, left - span));
        self.set = self.set.and_then(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_to_the_millisecond() {
        let mut setting = Leased::new(0);
        setting.set(7, Millis::new(10));
        setting.pass(Millis::new(9));
        assert_eq!((setting.now(), setting.left()), (7, Millis::new(1)));
        setting.pass(Millis::new(1));
        assert_eq!((setting.now(), setting.left()), (0, Millis::MAX));
    }

    #[test]
    fn renewing_replaces_the_time_left() {
        let mut setting = Leased::new(0);
        setting.set(7, Millis::new(10));
        setting.set(8, Millis::new(3));
        assert_eq!((setting.now(), setting.left()), (8, Millis::new(3)));
        setting.set(9, Millis::ZERO);
        assert_eq!(setting.now(), 0);
    }
}
