//! The flows of a tick, the balances they move, and the invariants that both obey.
//!
//! Every flow is energy moved in one tick from a named place to a named place, never negative. The checks here are
//! written against the tables alone, not against the code that filled them.

use crate::app::AppId;
use crate::battery::Conversion;
use crate::settle::{Metered, SolarRule};
use crate::split::split;
use core::fmt;
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum};
use serde::{Deserialize, Serialize};

/// What an app has between ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its claim on the battery, inside.
    pub stored: Energy,
    /// What it owes, inside, to all lenders together.
    pub debt: EnergySum,
    /// What it is owed, inside, by all debtors together.
    pub loan: EnergySum,
    /// Its part of the solar buffer: the solar it spends in the coming tick.
    pub buffered: Energy,
    /// For information: the carbon that the content of its battery has cost.
    pub carbon_content: Carbon,
}

impl Account {
    /// Takes out of the carbon content the part that goes with `leaving` of what is stored, rounded down; all of it with
    /// all of the energy.
    pub(crate) fn shed_carbon(&mut self, leaving: EnergySum) -> Carbon {
        let stored = self.stored.wide();
        let (content, leaving) = (self.carbon_content.get(), leaving.min(stored).get());
        // Nothing stored has nothing to shed.
        let part =
            crate::split::mul_div_floor(content, leaving, stored.get()).map_or(Carbon::ZERO, Carbon::new);
        self.carbon_content -= part;
        part
    }
}

macro_rules! flows {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$doc])* pub $field: $ty,)* }

        impl $name {
            /// Every field's name, in order; a ledger's columns.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// Every field's name and figure in base units, in order.
            pub fn figures(&self) -> impl Iterator<Item = (&'static str, u128)> {
                [$((stringify!($field), u128::from(self.$field.get()))),*].into_iter()
            }

            /// Sets a field by name, for whoever reads a ledger back; `None` where there is no such field or the
            /// figure does not fit.
            pub fn set(&mut self, field: &str, figure: u128) -> Option<()> {
                match field {
                    $(stringify!($field) => self.$field = <$ty>::new(figure.try_into().ok()?),)*
                    _ => return None,
                }
                Some(())
            }
        }
    };
}

flows! {
    /// One app's flows in one tick, in µJ at the terminals unless said otherwise.
    Flows {
        /// What its containers used.
        load: Energy,
        /// Its part of the site's solar.
        solar_in: Energy,
        /// Of its solar, to its load.
        solar_to_load: Energy,
        /// Of its solar, to repay.
        solar_to_lenders: Energy,
        /// Of its solar, into its battery.
        solar_to_battery: Energy,
        /// Of its solar, into the spill pool.
        spilled: Energy,
        /// Of its spill, to other apps.
        given: Energy,
        /// Of its spill, to the grid.
        exported: Energy,
        /// Of its spill, never made.
        curtailed: Energy,
        /// Of its spill, left in the solar buffer.
        kept: Energy,
        /// Of its spill, to overdrafts.
        spill_to_overdraft: Energy,
        /// From the spill pool.
        received: Energy,
        /// Of what it received, to its load.
        received_to_load: Energy,
        /// Of what it received, to repay.
        received_to_lenders: Energy,
        /// Of what it received, into its battery.
        received_to_battery: Energy,
        /// From its battery to its load.
        battery_to_load: Energy,
        /// From its battery to its load against its settings, islanded.
        forced_to_load: Energy,
        /// From the grid to its load, within its limit.
        grid_to_load: Energy,
        /// From the grid, to repay.
        grid_to_lenders: Energy,
        /// From the grid into its battery.
        grid_to_battery: Energy,
        /// Its load beyond its entitlement, from the grid.
        overdraft_grid: Energy,
        /// Its load beyond its entitlement, from solar about to be curtailed.
        overdraft_from_spill: Energy,
        /// Its load beyond its entitlement, from others' batteries.
        overdraft_lent: Energy,
        /// From its battery to others' overdrafts, on credit beyond its claim included (`house` only).
        lent: EnergySum,
        /// Into its battery from debtors.
        repaid_in: Energy,
        /// What charging lost.
        charge_loss: Energy,
        /// What discharging lost.
        discharge_loss: EnergySum,
        /// Taken from its claim, inside, because the meters say it is not there, or because it passed to `house`.
        adjusted_down: Energy,
        /// What it came to owe, inside.
        debt_incurred: EnergySum,
        /// What it no longer owes, inside.
        debt_repaid: EnergySum,
        /// What it came to be owed, inside.
        loan_granted: EnergySum,
        /// What it is no longer owed, inside.
        loan_repaid: EnergySum,
        /// Charged to it: µJ × mg/kWh.
        carbon: Carbon,
        /// Credited to `house`: µJ × mg/kWh; zero for apps.
        carbon_credit: Carbon,
    }
}

flows! {
    /// What a tick posted for the site as a whole, in µJ. Where a quantity has no meter, `over` and `short` are zero.
    SiteFlows {
        /// Solar in the books: production less curtailment.
        solar_booked: EnergySum,
        /// Solar the meter shows beyond that.
        solar_over: EnergySum,
        /// Solar the meter does not show.
        solar_short: EnergySum,
        /// Import in the books, after netting.
        grid_import_booked: EnergySum,
        /// Import the meter shows beyond that; its carbon is `house`'s.
        grid_import_over: EnergySum,
        /// Import the meter does not show; credited to `house`.
        grid_import_short: EnergySum,
        /// Export in the books, after netting.
        grid_export_booked: EnergySum,
        /// Export the meter shows beyond that.
        grid_export_over: EnergySum,
        /// Export the meter does not show.
        grid_export_short: EnergySum,
        /// Into the battery in the books, after netting.
        battery_in_booked: EnergySum,
        /// Into the battery by the meter beyond that.
        battery_in_over: EnergySum,
        /// Into the battery in the books, not by the meter.
        battery_in_short: EnergySum,
        /// Out of the battery in the books, after netting.
        battery_out_booked: EnergySum,
        /// Out of the battery by the meter beyond that.
        battery_out_over: EnergySum,
        /// Out of the battery in the books, not by the meter.
        battery_out_short: EnergySum,
        /// All load in the books.
        load_booked: EnergySum,
        /// Load the meter shows beyond all containers; part of `house`'s load.
        unmetered_load: EnergySum,
        /// Load in the books that the meter does not show.
        overbooked_load: EnergySum,
        /// Import and export that met inside the site.
        grid_netting: EnergySum,
        /// Conversion that netting avoided; credited to `house`, inside.
        netting_gain: EnergySum,
        /// What carrying the solar buffer cost; charged to `house`, inside.
        conversion_loss: EnergySum,
        /// The level is above the books; credited to `house`.
        drift_up: EnergySum,
        /// The level is below the books; charged to `house`.
        drift_down: EnergySum,
        /// What adjustments and passed claims gave to `house`.
        freed: EnergySum,
        /// Taken from the solar buffer by an adjustment.
        buffer_adjusted: EnergySum,
        /// The buffer after the tick.
        buffer: EnergySum,
        /// What `house` lacks after the tick.
        deficit: EnergySum,
        /// All claims and the buffer less the deficit after the tick; zero where the deficit is more.
        level_booked: EnergySum,
    }
}

impl Flows {
    /// All that came in at its battery's terminals.
    #[must_use]
    pub fn battery_in(&self) -> EnergySum {
        [self.solar_to_battery, self.received_to_battery, self.grid_to_battery, self.repaid_in]
            .into_iter()
            .sum()
    }

    /// All that went out at its battery's terminals.
    #[must_use]
    pub fn battery_out(&self) -> EnergySum {
        self.lent + self.battery_to_load + self.forced_to_load
    }

    /// All that it drew from the grid.
    #[must_use]
    pub fn grid_drawn(&self) -> EnergySum {
        [self.grid_to_load, self.grid_to_lenders, self.grid_to_battery, self.overdraft_grid].into_iter().sum()
    }

    /// All of its load beyond its entitlement.
    #[must_use]
    pub fn overdraft(&self) -> EnergySum {
        [self.overdraft_grid, self.overdraft_from_spill, self.overdraft_lent].into_iter().sum()
    }
}

/// An invariant that does not hold: a bug, with what is needed to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which of energy.md's invariants, 1..=6.
    pub invariant: u8,
    /// What was compared.
    pub what: &'static str,
    /// Whose; `None` for the site.
    pub app: Option<AppId>,
    /// The figure on the left.
    pub left: u128,
    /// The figure on the right.
    pub right: u128,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invariant {} is broken: {}: {} is not {}",
            self.invariant, self.what, self.left, self.right
        )?;
        match self.app {
            Some(app) => write!(f, " (app {})", app.get()),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Broken {}

/// One app's part of what is checked.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Whose.
    pub app: AppId,
    /// Before the tick.
    pub before: &'a Account,
    /// After the tick.
    pub after: &'a Account,
    /// In the tick.
    pub flows: &'a Flows,
    /// Its floor, inside.
    pub floor: Energy,
    /// Its capacity, inside.
    pub capacity: Energy,
}

/// The site's part of what is checked.
#[derive(Clone, Copy, Debug)]
pub struct SiteEntry<'a> {
    /// What was posted.
    pub flows: &'a SiteFlows,
    /// What the meters said; `None` where there is none.
    pub metered: &'a Metered,
    /// What was divided among the apps.
    pub solar: Energy,
    /// Which solar that was.
    pub solar_rule: SolarRule,
    /// What the containers used, of all apps together.
    pub contained: EnergySum,
    /// The tick's intensity.
    pub intensity: CarbonIntensity,
    /// `house`'s deficit before and after.
    pub deficit: (EnergySum, EnergySum),
    /// The battery's losses.
    pub conversion: Conversion,
}

/// Checks invariants 1 to 5 over a tick's tables, `house` last. (6 is the journal's: a refusal changes nothing, a
/// replay is equal; both are properties under test.)
///
/// # Errors
/// The first invariant that does not hold.
pub fn check<'a>(
    site: &SiteEntry<'_>,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
) -> Result<(), Broken> {
    for entry in entries.clone() {
        check_app(&entry)?;
        check_battery(site, &entry)?;
    }
    check_site(site, entries.clone())?;
    check_carbon(site, entries)
}

fn equal(
    invariant: u8,
    what: &'static str,
    app: Option<AppId>,
    left: u128,
    right: u128,
) -> Result<(), Broken> {
    if left == right { Ok(()) } else { Err(Broken { invariant, what, app, left, right }) }
}

fn sum(parts: &[Energy]) -> u128 {
    parts.iter().copied().sum::<EnergySum>().get()
}

/// Invariants 1 and 2, the part of each app.
fn check_app(entry: &Entry<'_>) -> Result<(), Broken> {
    let (f, app) = (entry.flows, Some(entry.app));
    let solar_out = sum(&[f.solar_to_load, f.solar_to_lenders, f.solar_to_battery, f.spilled]);
    equal(1, "solar_in and where it went", app, u128::from(f.solar_in.get()), solar_out)?;
    let spill_out = sum(&[f.given, f.exported, f.curtailed, f.kept, f.spill_to_overdraft]);
    equal(1, "spilled and where it went", app, u128::from(f.spilled.get()), spill_out)?;
    let received_out = sum(&[f.received_to_load, f.received_to_lenders, f.received_to_battery]);
    equal(1, "received and where it went", app, u128::from(f.received.get()), received_out)?;
    let served =
        sum(&[f.solar_to_load, f.received_to_load, f.battery_to_load, f.forced_to_load, f.grid_to_load])
            + f.overdraft().get();
    equal(2, "load and what served it", app, u128::from(f.load.get()), served)?;
    let debt = entry.before.debt + f.debt_incurred;
    equal(2, "debt after the tick", app, (entry.after.debt + f.debt_repaid).get(), debt.get())?;
    let loan = entry.before.loan + f.loan_granted;
    equal(2, "loan after the tick", app, (entry.after.loan + f.loan_repaid).get(), loan.get())
}

/// Invariant 3.
fn check_battery(site: &SiteEntry<'_>, entry: &Entry<'_>) -> Result<(), Broken> {
    let (f, app, s) = (entry.flows, Some(entry.app), site.flows);
    let (input, output) = (f.battery_in().get(), f.battery_out().get());
    let arrived = site.conversion.arriving(input);
    equal(3, "what charging lost", app, u128::from(f.charge_loss.get()), input - arrived)?;
    let left = site.conversion.leaving(output);
    equal(3, "what discharging lost", app, f.discharge_loss.get(), left - output)?;
    let before = u128::from(entry.before.stored.get()) + arrived;
    let after = u128::from(entry.after.stored.get()) + left + u128::from(f.adjusted_down.get());
    let own_in = sum(&[f.solar_to_battery, f.received_to_battery, f.grid_to_battery]);
    let own_out = sum(&[f.battery_to_load, f.forced_to_load]);
    let inside = |holds: bool, what, left: u128, right: u128| match holds {
        true => Ok(()),
        false => Err(Broken { invariant: 3, what, app, left, right }),
    };
    inside(own_in == 0 || own_out == 0, "charging and discharging in one tick", own_in, own_out)?;
    if entry.app == AppId::HOUSE {
        let gained = before + (s.netting_gain + s.drift_up + s.freed).get() + site.deficit.1.get();
        let lost = after + (s.conversion_loss + s.drift_down).get() + site.deficit.0.get();
        return equal(3, "house's claim after the tick", app, lost, gained);
    }
    equal(3, "stored after the tick", app, after, before)?;
    let flowed = before - left.min(before);
    let (floor, capacity) = (u128::from(entry.floor.get()), u128::from(entry.capacity.get()));
    let was = u128::from(entry.before.stored.get());
    inside(output == 0 || flowed >= floor.min(was), "a flow took stored below the floor", flowed, floor)?;
    inside(
        input == 0 || flowed <= capacity.max(was),
        "a flow took stored above the capacity",
        flowed,
        capacity,
    )
}

/// Invariant 4, and 2's part of the site.
fn check_site<'a>(
    site: &SiteEntry<'_>,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
) -> Result<(), Broken> {
    let total =
        |of: &dyn Fn(&Flows) -> EnergySum| entries.clone().map(|e| of(e.flows)).sum::<EnergySum>().get();
    let (s, m) = (site.flows, site.metered);
    equal(4, "the parts of the solar", None, total(&|f| f.solar_in.wide()), u128::from(site.solar.get()))?;
    equal(4, "given and received", None, total(&|f| f.given.wide()), total(&|f| f.received.wide()))?;
    let to_lenders = |f: &Flows| f.solar_to_lenders.wide() + f.received_to_lenders + f.grid_to_lenders;
    equal(4, "to lenders and repaid", None, total(&to_lenders), total(&|f| f.repaid_in.wide()))?;
    equal(4, "overdraft_lent and lent", None, total(&|f| f.overdraft_lent.wide()), total(&|f| f.lent))?;
    let from_spill = total(&|f| f.overdraft_from_spill.wide());
    equal(
        4,
        "overdraft_from_spill and its givers",
        None,
        from_spill,
        total(&|f| f.spill_to_overdraft.wide()),
    )?;
    equal(2, "debts and loans incurred", None, total(&|f| f.debt_incurred), total(&|f| f.loan_granted))?;
    equal(2, "debts and loans repaid", None, total(&|f| f.debt_repaid), total(&|f| f.loan_repaid))?;
    let import = total(&Flows::grid_drawn);
    equal(4, "import booked", None, import, (s.grid_import_booked + s.grid_netting).get())?;
    let export = total(&|f| f.exported.wide());
    equal(4, "export booked", None, export, (s.grid_export_booked + s.grid_netting).get())?;
    equal(4, "load booked", None, total(&|f| f.load.wide()), s.load_booked.get())?;
    equal(
        4,
        "load and its containers",
        None,
        s.load_booked.get(),
        (site.contained + s.unmetered_load).get(),
    )?;
    let bus_in = s.solar_booked + s.grid_import_booked + s.battery_out_booked;
    let bus_out = s.load_booked + s.grid_export_booked + s.battery_in_booked;
    equal(4, "what meets at the bus", None, bus_in.get(), bus_out.get())?;
    check_level(site, entries)?;
    check_meters(s, m)
}

/// Invariant 4, the part of the buffer, and what claims, buffer and deficit make together.
fn check_level<'a>(
    site: &SiteEntry<'_>,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
) -> Result<(), Broken> {
    let s = site.flows;
    let sum = |of: &dyn Fn(&Entry<'a>) -> Energy| entries.clone().map(|e| of(&e)).sum::<EnergySum>();
    let made = match site.solar_rule {
        SolarRule::Buffered => sum(&|e| e.flows.kept) + s.solar_booked,
        SolarRule::Live { .. } => EnergySum::ZERO,
    };
    equal(4, "the buffer", None, (s.buffer + s.buffer_adjusted).get(), made.get())?;
    if let SolarRule::Live { .. } = site.solar_rule {
        let divided = s.solar_booked + sum(&|e| e.flows.curtailed);
        equal(4, "solar booked", None, divided.get(), u128::from(site.solar.get()))?;
    }
    let taken = sum(&|e| e.flows.adjusted_down) + s.buffer_adjusted;
    equal(3, "what adjustments took and freed", None, taken.get(), s.freed.get())?;
    equal(3, "the deficit", None, s.deficit.get(), site.deficit.1.get())?;
    let level = (sum(&|e| e.after.stored) + s.buffer).less(s.deficit);
    equal(4, "the level in the books", None, s.level_booked.get(), level.get())
}

/// Invariant 4, the part of the meters: booked + over − short = metered, and for load booked − overbooked.
fn check_meters(s: &SiteFlows, m: &Metered) -> Result<(), Broken> {
    let none = EnergySum::ZERO;
    let meters = [
        ("solar", s.solar_booked, s.solar_over, s.solar_short, m.solar),
        ("import", s.grid_import_booked, s.grid_import_over, s.grid_import_short, m.grid_import),
        ("export", s.grid_export_booked, s.grid_export_over, s.grid_export_short, m.grid_export),
        ("battery in", s.battery_in_booked, s.battery_in_over, s.battery_in_short, m.battery_in),
        ("battery out", s.battery_out_booked, s.battery_out_over, s.battery_out_short, m.battery_out),
        ("load", s.load_booked, none, s.overbooked_load, m.load),
        ("the level", s.level_booked, none, none, m.level),
    ];
    for (what, booked, over, short, metered) in meters {
        // Where there is no meter nothing may be posted beside the books.
        let said = metered.map_or(booked, Energy::wide);
        equal(4, what, None, (booked + over).get(), (short + said).get())?;
    }
    Ok(())
}

/// Invariant 5.
fn check_carbon<'a>(
    site: &SiteEntry<'_>,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
) -> Result<(), Broken> {
    let s = site.flows;
    let charged: Carbon = entries.clone().map(|e| e.flows.carbon).sum();
    let metered = s.grid_import_booked + s.grid_import_over - s.grid_import_short;
    let due = (metered + s.grid_netting + s.grid_import_short).carbon(site.intensity);
    equal(5, "carbon charged", None, charged.get(), due.get())?;
    let credited: Carbon = entries.clone().map(|e| e.flows.carbon_credit).sum();
    let credit = (s.grid_netting + s.grid_import_short).carbon(site.intensity);
    equal(5, "carbon credited to house", None, credited.get(), credit.get())?;
    for entry in entries.filter(|e| e.app != AppId::HOUSE) {
        let own = entry.flows.grid_drawn().carbon(site.intensity);
        equal(5, "an app's carbon", Some(entry.app), entry.flows.carbon.get(), own.get())?;
    }
    Ok(())
}

/// Divides energies by weights for tables of flows; see [`split`].
///
/// # Panics
/// Where a part does not fit an account: `whole` is at most the sum of the weights, which do.
pub(crate) fn parts(whole: EnergySum, weights: &[Energy]) -> alloc::vec::Vec<Energy> {
    let narrow = |part: u128| Energy::new(u64::try_from(part).expect("a part is at most its weight"));
    split(whole.get(), weights.iter().map(|w| u128::from(w.get()))).map(narrow).collect()
}
