//! Carbon rates and budgets: bounds on what an app draws from the grid.
//!
//! In the books they bound charging from the grid (step 7); load is bounded through caps.

use ecovisor_units::{Carbon, CarbonIntensity, CarbonMass, Energy, Millis};
use serde::{Deserialize, Serialize};

/// What a budget does when it is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BudgetAction {
    /// Tells the app, no more.
    #[default]
    Notify,
    /// Bounds grid power to what the budget still allows: none once it is spent, until the window ends.
    BlockGrid,
}

/// A bound on carbon in a window; the next window begins where one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The bound, for each window.
    pub mass: CarbonMass,
    /// A window's length; at least one tick.
    pub window: Millis,
    /// What happens when it is spent.
    pub action: BudgetAction,
}

/// What has been spent of a budget in the window that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Charged since the window began.
    pub carbon: Carbon,
    /// When the window began, in ms of the site's own time.
    pub since: Millis,
    /// The highest of 0, 50, 80 and 100 per cent that has been told.
    pub told_percent: u8,
}

/// The marks at which a budget tells its app, in per cent.
const MARKS_PERCENT: [u8; 3] = [50, 80, 100];

impl Spent {
    /// Nothing, in a window that begins now.
    #[must_use]
    pub fn since(now: Millis) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Counts what a tick that `began` then cost, and returns the marks it passed. It counts in the window in which it
    /// began, however long it lasted.
    pub fn count(&mut self, budget: Budget, cost: Carbon, began: Millis) -> impl Iterator<Item = u8> + use<> {
        self.roll(budget, began);
        self.carbon = self.carbon.saturating_add(cost);
        let whole = budget.mass.product().get();
        let before = self.told_percent;
        let reached =
            |percent: u8| self.carbon.get().saturating_mul(100) >= whole.saturating_mul(u128::from(percent));
        self.told_percent =
            MARKS_PERCENT.into_iter().rfind(|&m| reached(m)).map_or(before, |m| m.max(before));
        let after = self.told_percent;
        MARKS_PERCENT.into_iter().filter(move |&mark| mark > before && mark <= after)
    }

    /// Begins the window that `now` lies in, where the one that ran has ended.
    pub fn roll(&mut self, budget: Budget, now: Millis) {
        let age = now.less(self.since).get();
        if let Some(windows) = age.checked_div(budget.window.get()).filter(|&windows| windows > 0) {
            *self = Self::since(self.since + Millis::new(windows * budget.window.get()));
        }
    }

    /// The most grid energy that the budget still allows at `intensity`, rounded down; no bound at intensity zero or
    /// where the budget only tells.
    #[must_use]
    pub fn energy_left(&self, budget: Budget, intensity: CarbonIntensity) -> Energy {
        let left = budget.mass.product().less(self.carbon).get();
        match (budget.action, left.checked_div(u128::from(intensity.get()))) {
            (BudgetAction::BlockGrid, Some(energy)) => crate::battery::bounded(energy),
            (BudgetAction::BlockGrid, None) | (BudgetAction::Notify, _) => Energy::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const BUDGET: Budget =
        Budget { mass: CarbonMass::new(100), window: Millis::new(1_000), action: BudgetAction::BlockGrid };

    fn milligrams(mg: u64) -> Carbon {
        CarbonMass::new(mg).product()
    }

    #[test]
    fn a_budget_tells_at_50_80_and_100_per_cent_once_each() {
        let mut spent = Spent::since(Millis::ZERO);
        let mut marks = |mg| spent.count(BUDGET, milligrams(mg), Millis::new(1)).collect::<Vec<_>>();
        assert_eq!(marks(49), []);
        assert_eq!(marks(1), [50]);
        assert_eq!(marks(1), []);
        assert_eq!(marks(60), [80, 100]);
        assert_eq!(marks(60), []);
    }

    #[test]
    fn a_new_window_begins_with_nothing_spent() {
        let mut spent = Spent::since(Millis::ZERO);
        assert_eq!(spent.count(BUDGET, milligrams(100), Millis::new(999)).count(), 3);
        assert_eq!(spent.count(BUDGET, milligrams(50), Millis::new(2_500)).collect::<Vec<_>>(), [50]);
        assert_eq!(spent.since, Millis::new(2_000));
    }

    #[test]
    fn what_is_left_bounds_grid_energy_downwards() {
        let intensity = CarbonIntensity::new(3);
        let mut spent = Spent::since(Millis::ZERO);
        assert_eq!(spent.energy_left(BUDGET, intensity), Energy::new(120_000_000_000_000));
        let _ = spent.count(BUDGET, milligrams(100), Millis::ZERO);
        assert_eq!(spent.energy_left(BUDGET, intensity), Energy::ZERO);
        assert_eq!(spent.energy_left(BUDGET, CarbonIntensity::ZERO), Energy::MAX);
        assert_eq!(
            spent.energy_left(Budget { action: BudgetAction::Notify, ..BUDGET }, intensity),
            Energy::MAX
        );
    }
}
