//! The books of a tick as tables, and whether they add up: recomputed here from the tables alone, with none of the code
//! that settled them.
//!
//! What a single tick's tables must show by themselves: what came in went somewhere, what was moved has two ends, books
//! and meters meet, carbon is what was drawn times the intensity. What two neighbouring ticks must show: every balance is
//! the one before it plus what came in less what went out.

use crate::record::Record;
use ecovisor_core::site::AppOutcome;
use ecovisor_core::{Account, AppId, AppName, Event, Flows, Metered, Outcome, SiteFlows};
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis};
use std::fmt;

/// One tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TickRows {
    /// Its number.
    pub tick: u64,
    /// When it began, in ms since the Unix epoch.
    pub wall_start: Millis,
    /// Its length.
    pub span: Millis,
    /// Whether it stands for a gap.
    pub gap: bool,
    /// A row for each app, `house` last.
    pub apps: Vec<AppRow>,
    /// The site's row.
    pub site: SiteRow,
}

/// One app in one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRow {
    /// Which; a name may come again after its app has ended, a number does not.
    pub id: AppId,
    /// Its name at that tick.
    pub app: String,
    /// Whether any figure rests on a held or assumed reading.
    pub estimated: bool,
    /// What moved.
    pub flows: Flows,
    /// What it has after the tick, when everything has passed on that passes; nothing where the app ended with it.
    pub account: Account,
    /// What passed from it after the settlement, to `house` or to the other side of a divided share.
    pub passed: Passed,
    /// What came to it then from its parent or a child; nothing to `house`, which has all that came to nobody else.
    pub came: Passed,
}

/// What passes to others when a capacity is lowered or an app ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Of its claim on the battery, inside; part of the tick's `adjusted_down`.
    pub claim: Energy,
    /// Of its part of the solar buffer.
    pub buffer: Energy,
    /// Of what it owed.
    pub debt: EnergySum,
    /// Of what it was owed.
    pub loan: EnergySum,
}

/// The site in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteRow {
    /// What was posted.
    pub flows: SiteFlows,
    /// At which intensity.
    pub intensity: CarbonIntensity,
    /// What the meters said; `None` where there was no reading.
    pub metered: Metered,
}

impl From<&Record> for TickRows {
    fn from(record: &Record) -> Self {
        let mut rows = Self::default();
        rows.become_of(&record.outcome, &record.app_names);
        rows
    }
}

impl TickRows {
    /// Becomes the rows of an outcome, in the memory that it has: for whoever makes rows of one tick after the other.
    /// `names` are the apps', in any order.
    pub fn become_of(&mut self, outcome: &Outcome, names: &[(AppId, AppName)]) {
        (self.tick, self.wall_start, self.span) = (outcome.tick.0, outcome.wall, outcome.span);
        self.gap = outcome.gap;
        self.site = SiteRow { flows: outcome.site, intensity: outcome.intensity, metered: outcome.metered };
        self.apps.truncate(outcome.apps.len());
        for (place, app) in outcome.apps.iter().enumerate() {
            // Names mostly stand in the order of the apps.
            let here = names.get(place).filter(|(id, _)| *id == app.app);
            let name = here.or_else(|| names.iter().find(|(id, _)| *id == app.app)).map(|(_, name)| name);
            match self.apps.get_mut(place) {
                Some(row) => row.become_of(outcome, app, name),
                None => self.apps.push(AppRow::new(outcome, app, name)),
            }
        }
    }
}

impl AppRow {
    fn new(outcome: &Outcome, app: &AppOutcome, name: Option<&AppName>) -> Self {
        let mut row = Self {
            id: app.app,
            app: String::new(),
            estimated: app.estimated,
            flows: app.flows,
            account: app.account,
            passed: Passed::default(),
            came: Passed::default(),
        };
        row.become_of(outcome, app, name);
        row
    }

    fn become_of(&mut self, outcome: &Outcome, app: &AppOutcome, name: Option<&AppName>) {
        self.app.clear();
        match name {
            Some(name) => self.app.push_str(name.as_str()),
            None => self.app.push_str(&nameless(app.app)),
        }
        (self.id, self.estimated, self.flows, self.account) =
            (app.app, app.estimated, app.flows, app.account);
        (self.passed, self.came) = passed(outcome, app.app);
    }
}

/// What passed from an app and what came to it, by the events of the tick.
fn passed(outcome: &Outcome, of: AppId) -> (Passed, Passed) {
    let (mut passed, mut came) = (Passed::default(), Passed::default());
    for event in &outcome.events {
        match *event {
            Event::PassedToHouse { app, claim, buffer, debt, loan } if app == of => {
                passed.add(claim, buffer, debt, loan);
            }
            Event::PassedToApp { from, claim, buffer, debt, loan, .. } if from == of => {
                passed.add(claim, buffer, debt, loan);
            }
            Event::PassedToApp { to, claim, buffer, debt, loan, .. } if to == of => {
                came.add(claim, buffer, debt, loan);
            }
            _ => {}
        }
    }
    (passed, came)
}

impl Passed {
    fn add(&mut self, claim: Energy, buffer: Energy, debt: EnergySum, loan: EnergySum) {
        self.claim += claim;
        self.buffer += buffer;
        self.debt += debt;
        self.loan += loan;
    }
}

fn nameless(app: AppId) -> String {
    format!("#{}", app.get())
}

/// Two figures that should be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which tick.
    pub tick: u64,
    /// Whose; `None` for the site.
    pub app: Option<String>,
    /// Which figure.
    pub field: String,
    /// What is written.
    pub left: String,
    /// What it should be.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tick {}, {}: ", self.tick, self.app.as_deref().unwrap_or("the site"))?;
        write!(f, "{} is {}, should be {}", self.field, self.left, self.right)
    }
}

impl std::error::Error for Difference {}

impl TickRows {
    /// Whether the tables of this tick add up by themselves.
    ///
    /// # Errors
    /// The first figure that does not.
    pub fn check(&self) -> Result<(), Difference> {
        for row in &self.apps {
            self.check_app(row)?;
        }
        self.check_moves()?;
        self.check_sums()?;
        self.check_meters()?;
        self.check_carbon()
    }

    /// Whether every balance is the one of `before` with this tick's flows.
    ///
    /// # Errors
    /// The first balance that is not.
    pub fn check_after(&self, before: &Self) -> Result<(), Difference> {
        self.equal(None, "tick", self.tick.into(), u128::from(before.tick) + 1)?;
        let Some((house, apps)) = self.apps.split_last() else { return Ok(()) };
        for row in apps {
            self.check_balance(row, before.row(row.id))?;
        }
        for gone in before.apps.iter().filter(|row| self.row(row.id).is_none()) {
            let left =
                gone.account.stored.wide() + gone.account.buffered + gone.account.debt + gone.account.loan;
            self.equal(Some(gone), "what is left to the app that is gone", left.get(), 0)?;
        }
        self.check_house(house, before)
    }

    fn row(&self, id: AppId) -> Option<&AppRow> {
        self.apps.iter().find(|row| row.id == id)
    }

    fn equal(&self, row: Option<&AppRow>, field: &str, left: u128, right: u128) -> Result<(), Difference> {
        if left == right {
            return Ok(());
        }
        Err(Difference {
            tick: self.tick,
            app: row.map(|row| row.app.clone()),
            field: field.to_owned(),
            left: left.to_string(),
            right: right.to_string(),
        })
    }

    /// What came to an app went somewhere, and what it used came from somewhere.
    fn check_app(&self, row: &AppRow) -> Result<(), Difference> {
        let f = &row.flows;
        let sums: [(&str, Energy, &[Energy]); 4] = [
            ("solar_in", f.solar_in, &[f.solar_to_load, f.solar_to_lenders, f.solar_to_battery, f.spilled]),
            ("spilled", f.spilled, &[f.given, f.exported, f.curtailed, f.kept, f.spill_to_overdraft]),
            ("received", f.received, &[f.received_to_load, f.received_to_lenders, f.received_to_battery]),
            (
                "load",
                f.load,
                &[
                    f.solar_to_load,
                    f.received_to_load,
                    f.battery_to_load,
                    f.forced_to_load,
                    f.grid_to_load,
                    f.overdraft_grid,
                    f.overdraft_from_spill,
                    f.overdraft_lent,
                ],
            ),
        ];
        for (field, whole, parts) in sums {
            let parts = parts.iter().map(|part| u128::from(part.get())).sum();
            self.equal(Some(row), field, whole.get().into(), parts)?;
        }
        Ok(())
    }

    fn total<T: Into<u128>>(&self, of: impl Fn(&Flows) -> T) -> u128 {
        self.apps.iter().map(|row| of(&row.flows).into()).sum()
    }

    /// Every move between apps has two ends.
    fn check_moves(&self) -> Result<(), Difference> {
        let narrow = |of: fn(&Flows) -> Energy| self.total(|f| of(f).get());
        let wide = |of: fn(&Flows) -> EnergySum| self.total(|f| of(f).get());
        let to_lenders = narrow(|f| f.solar_to_lenders) + narrow(|f| f.received_to_lenders);
        let ends = [
            ("received of all", narrow(|f| f.received), narrow(|f| f.given)),
            ("repaid_in of all", narrow(|f| f.repaid_in), to_lenders + narrow(|f| f.grid_to_lenders)),
            ("lent of all", wide(|f| f.lent), narrow(|f| f.overdraft_lent)),
            (
                "spill_to_overdraft of all",
                narrow(|f| f.spill_to_overdraft),
                narrow(|f| f.overdraft_from_spill),
            ),
            ("loan_granted of all", wide(|f| f.loan_granted), wide(|f| f.debt_incurred)),
            ("loan_repaid of all", wide(|f| f.loan_repaid), wide(|f| f.debt_repaid)),
        ];
        ends.into_iter().try_for_each(|(field, left, right)| self.equal(None, field, left, right))
    }

    /// What was taken from claims and buffer was freed; what is left of all of them is what is booked of the one real
    /// battery; debts are loans.
    fn check_sums(&self) -> Result<(), Difference> {
        let s = &self.site.flows;
        let all = |of: fn(&AppRow) -> EnergySum| self.apps.iter().map(of).sum::<EnergySum>().get();
        let taken = all(|row| row.flows.adjusted_down.wide());
        let level = (all(|row| row.account.stored.wide()) + s.buffer.get()).saturating_sub(s.deficit.get());
        let sums = [
            ("freed", s.freed.get(), taken + s.buffer_adjusted.get()),
            ("level_booked", s.level_booked.get(), level),
            ("buffer", s.buffer.get(), all(|row| row.account.buffered.wide())),
            ("loan of all", all(|row| row.account.loan), all(|row| row.account.debt)),
        ];
        sums.into_iter().try_for_each(|(field, left, right)| self.equal(None, field, left, right))
    }

    /// What is booked is what the apps did, and meets what the meters said.
    fn check_meters(&self) -> Result<(), Difference> {
        let (s, m) = (&self.site.flows, &self.site.metered);
        let drawn = self.total(grid_drawn);
        let exported = self.total(|f| f.exported.get());
        let booked = [
            ("grid_import_booked", s.grid_import_booked.get() + s.grid_netting.get(), drawn),
            ("grid_export_booked", s.grid_export_booked.get() + s.grid_netting.get(), exported),
            ("load_booked", s.load_booked.get(), self.total(|f| f.load.get())),
        ];
        booked.into_iter().try_for_each(|(field, left, right)| self.equal(None, field, left, right))?;
        let meters = [
            ("metered solar", s.solar_booked, s.solar_over, s.solar_short, m.solar),
            (
                "metered grid_import",
                s.grid_import_booked,
                s.grid_import_over,
                s.grid_import_short,
                m.grid_import,
            ),
            (
                "metered grid_export",
                s.grid_export_booked,
                s.grid_export_over,
                s.grid_export_short,
                m.grid_export,
            ),
            ("metered battery_in", s.battery_in_booked, s.battery_in_over, s.battery_in_short, m.battery_in),
            (
                "metered battery_out",
                s.battery_out_booked,
                s.battery_out_over,
                s.battery_out_short,
                m.battery_out,
            ),
            ("metered load", s.load_booked, EnergySum::ZERO, s.overbooked_load, m.load),
        ];
        for (field, booked, over, short, metered) in meters {
            if let Some(metered) = metered {
                let shown = u128::from(metered.get()) + short.get();
                self.equal(None, field, shown, booked.get() + over.get())?;
            }
        }
        match m.level {
            Some(level) => self.equal(None, "metered level", level.get().into(), s.level_booked.get()),
            None => Ok(()),
        }
    }

    /// Carbon is what was drawn times the intensity; `house` also bears what the meters show beyond the books.
    fn check_carbon(&self) -> Result<(), Difference> {
        let (s, intensity) = (&self.site.flows, u128::from(self.site.intensity.get()));
        let last = self.apps.len().saturating_sub(1);
        for (i, row) in self.apps.iter().enumerate() {
            let (over, credit) = match i == last {
                true => (s.grid_import_over.get(), s.grid_netting.get() + s.grid_import_short.get()),
                false => (0, 0),
            };
            let due = grid_drawn(&row.flows).saturating_add(over).saturating_mul(intensity);
            self.equal(Some(row), "carbon", row.flows.carbon.get(), due)?;
            let credit = credit.saturating_mul(intensity);
            self.equal(Some(row), "carbon_credit", row.flows.carbon_credit.get(), credit)?;
        }
        Ok(())
    }

    /// An app that was not there before begins with nothing.
    fn check_balance(&self, row: &AppRow, before: Option<&AppRow>) -> Result<(), Difference> {
        let was = before.map(|row| row.account).unwrap_or_default();
        let (f, now, passed, came) = (&row.flows, &row.account, &row.passed, &row.came);
        let plus = was.stored.wide() + f.battery_in() + came.claim;
        let minus = f.battery_out() + f.discharge_loss + f.charge_loss + f.adjusted_down;
        let balances = [
            ("stored", now.stored.wide(), plus, minus),
            ("debt", now.debt, was.debt + f.debt_incurred + came.debt, f.debt_repaid + passed.debt),
            ("loan", now.loan, was.loan + f.loan_granted + came.loan, f.loan_repaid + passed.loan),
        ];
        balances.into_iter().try_for_each(|(field, now, plus, minus)| {
            let due = self.less(row, field, plus.get(), minus.get())?;
            self.equal(Some(row), field, now.get(), due)
        })
    }

    fn less(&self, row: &AppRow, field: &str, plus: u128, minus: u128) -> Result<u128, Difference> {
        plus.checked_sub(minus).ok_or_else(|| Difference {
            tick: self.tick,
            app: Some(row.app.clone()),
            field: format!("what was taken from {field}"),
            left: minus.to_string(),
            right: format!("at most {plus}"),
        })
    }

    /// `house`: its claim below zero is the site's deficit, and what apps leave passes to it.
    fn check_house(&self, row: &AppRow, before: &Self) -> Result<(), Difference> {
        let (s, f) = (&self.site.flows, &row.flows);
        let was = before.row(row.id).map(|row| row.account).unwrap_or_default();
        let passed =
            |of: fn(&Passed) -> EnergySum| self.apps.iter().map(|row| of(&row.passed)).sum::<EnergySum>();
        // What came to an app from another is freed like all that passes, and does not reach `house`.
        let came =
            |of: fn(&Passed) -> EnergySum| self.apps.iter().map(|row| of(&row.came)).sum::<EnergySum>();
        let gained = was.stored.wide() + f.battery_in() + s.netting_gain + s.drift_up + s.freed + s.deficit;
        let lost = f.battery_out()
            + f.discharge_loss
            + f.charge_loss
            + s.conversion_loss
            + s.drift_down
            + before.site.flows.deficit
            + came(|c| c.claim.wide());
        let balances = [
            ("stored", row.account.stored.wide(), gained, lost),
            (
                "debt",
                row.account.debt,
                was.debt + f.debt_incurred + passed(|p| p.debt),
                f.debt_repaid + came(|c| c.debt),
            ),
            (
                "loan",
                row.account.loan,
                was.loan + f.loan_granted + passed(|p| p.loan),
                f.loan_repaid + came(|c| c.loan),
            ),
        ];
        balances.into_iter().try_for_each(|(field, now, plus, minus)| {
            let due = self.less(row, field, plus.get(), minus.get())?;
            self.equal(Some(row), field, now.get(), due)
        })
    }
}

fn grid_drawn(f: &Flows) -> u128 {
    [f.grid_to_load, f.grid_to_lenders, f.grid_to_battery, f.overdraft_grid]
        .into_iter()
        .map(|part| u128::from(part.get()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;

    #[test]
    fn rows_in_used_memory_are_the_rows() {
        let mut used = TickRows::default();
        let records: Vec<Record> = (0..4).flat_map(|seed| life(seed, 40).records).collect();
        let most = records.iter().map(|record| record.outcome.apps.len()).max().unwrap();
        assert!(most > 2 && records.iter().any(|record| record.outcome.apps.len() == 1), "apps come and go");
        for record in &records {
            used.become_of(&record.outcome, &record.app_names);
            assert_eq!(used, TickRows::from(record));
        }
    }
}
