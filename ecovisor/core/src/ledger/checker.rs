//! The invariants over a tick's tables. They are written against the tables alone, not against the code that filled
//! them; an app's own are looked at while its figures are at hand, the site's when all are summed.

use super::{Account, Flows, SiteFlows, Totals};
use crate::app::AppId;
use crate::battery::Conversion;
use crate::settle::{Metered, SolarRule};
use core::fmt;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum};

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

/// What every app of a tick is settled and checked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// The battery's losses.
    pub(crate) conversion: Conversion,
    /// The tick's intensity.
    pub(crate) intensity: CarbonIntensity,
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
    let rates = Rates { conversion: site.conversion, intensity: site.intensity };
    let mut totals = Totals::default();
    for entry in entries {
        match entry.app {
            AppId::HOUSE => check_house(site, &entry)?,
            _ => check_app(&rates, &entry)?,
        }
        totals.add_flows(entry.flows);
        totals.add_end(entry.flows, entry.after);
    }
    check_totals(site, &totals)
}

/// Checks what concerns one app alone, and not `house`: its part of invariants 1, 2, 3 and 5.
///
/// # Errors
/// The first invariant that does not hold.
#[inline]
pub(crate) fn check_app(rates: &Rates, entry: &Entry<'_>) -> Result<(), Broken> {
    check_flows(entry)?;
    check_claim(rates.conversion, entry)?;
    let own = entry.flows.grid_drawn().carbon(rates.intensity);
    equal(5, "an app's carbon", Some(entry.app), entry.flows.carbon.get(), own.get())
}

/// Checks what concerns `house` alone: its part of invariants 1, 2 and 3, with what the meters posted to it.
///
/// # Errors
/// The first invariant that does not hold.
pub(crate) fn check_house(site: &SiteEntry<'_>, entry: &Entry<'_>) -> Result<(), Broken> {
    check_flows(entry)?;
    let (arrived, left) = check_losses(site.conversion, entry)?;
    check_one_way(entry)?;
    let s = site.flows;
    let credit = u128::from(entry.before.stored.get()) + arrived;
    let gained = credit + (s.netting_gain + s.drift_up + s.freed).get() + site.deficit.1.get();
    let charge = u128::from(entry.after.stored.get()) + left + u128::from(entry.flows.adjusted_down.get());
    let lost = charge + (s.conversion_loss + s.drift_down).get() + site.deficit.0.get();
    equal(3, "house's claim after the tick", Some(entry.app), lost, gained)
}

#[inline]
fn equal(
    invariant: u8,
    what: &'static str,
    app: Option<AppId>,
    left: u128,
    right: u128,
) -> Result<(), Broken> {
    if left == right { Ok(()) } else { Err(Broken { invariant, what, app, left, right }) }
}

#[inline]
fn sum(parts: &[Energy]) -> u128 {
    parts.iter().copied().sum::<EnergySum>().get()
}

/// Invariants 1 and 2, the part of each app.
#[inline]
fn check_flows(entry: &Entry<'_>) -> Result<(), Broken> {
    check_sums(entry)?;
    let (f, app) = (entry.flows, Some(entry.app));
    let debt = entry.before.debt + f.debt_incurred;
    equal(2, "debt after the tick", app, (entry.after.debt + f.debt_repaid).get(), debt.get())?;
    let loan = entry.before.loan + f.loan_granted;
    equal(2, "loan after the tick", app, (entry.after.loan + f.loan_repaid).get(), loan.get())
}

/// Invariants 1 and 2, what each whole is made of.
#[inline]
fn check_sums(entry: &Entry<'_>) -> Result<(), Broken> {
    let (f, app) = (entry.flows, Some(entry.app));
    let solar_out = sum(&[f.solar_to_load, f.solar_to_lenders, f.solar_to_battery, f.spilled]);
    equal(1, "solar_in and where it went", app, u128::from(f.solar_in.get()), solar_out)?;
    let spill_out = sum(&[f.given, f.exported, f.curtailed, f.kept, f.spill_to_overdraft]);
    equal(1, "spilled and where it went", app, u128::from(f.spilled.get()), spill_out)?;
    let received_out = sum(&[f.received_to_load, f.received_to_lenders, f.received_to_battery]);
    equal(1, "received and where it went", app, u128::from(f.received.get()), received_out)?;
    let served = sum(&[
        f.solar_to_load,
        f.received_to_load,
        f.battery_to_load,
        f.forced_to_load,
        f.grid_to_load,
        f.overdraft_grid,
        f.overdraft_from_spill,
        f.overdraft_lent,
    ]);
    equal(2, "load and what served it", app, u128::from(f.load.get()), served)
}

/// Invariant 3 of an app that is not `house`.
#[inline]
pub(crate) fn check_claim(conversion: Conversion, entry: &Entry<'_>) -> Result<(), Broken> {
    let (f, app) = (entry.flows, Some(entry.app));
    let (arrived, left) = check_losses(conversion, entry)?;
    check_one_way(entry)?;
    let was = u128::from(entry.before.stored.get());
    let after = u128::from(entry.after.stored.get()) + left + u128::from(f.adjusted_down.get());
    equal(3, "stored after the tick", app, after, was + arrived)?;
    let flowed = was + arrived - left.min(was + arrived);
    let (floor, capacity) = (u128::from(entry.floor.get()), u128::from(entry.capacity.get()));
    let above = left == 0 || flowed >= floor.min(was);
    inside(above, "a flow took stored below the floor", app, flowed, floor)?;
    let below = f.battery_in().is_zero() || flowed <= capacity.max(was);
    inside(below, "a flow took stored above the capacity", app, flowed, capacity)
}

/// Invariant 3, the losses; returns what arrived in the store and what left it.
#[inline]
fn check_losses(conversion: Conversion, entry: &Entry<'_>) -> Result<(u128, u128), Broken> {
    let (f, app) = (entry.flows, Some(entry.app));
    let (input, output) = (f.battery_in().get(), f.battery_out().get());
    let (arrived, left) = (conversion.arriving(input), conversion.leaving(output));
    equal(3, "what charging lost", app, u128::from(f.charge_loss.get()), input - arrived)?;
    equal(3, "what discharging lost", app, f.discharge_loss.get(), left - output)?;
    Ok((arrived, left))
}

/// Invariant 3, an app's own flows.
#[inline]
fn check_one_way(entry: &Entry<'_>) -> Result<(), Broken> {
    let f = entry.flows;
    let no_input =
        f.solar_to_battery.is_zero() & f.received_to_battery.is_zero() & f.grid_to_battery.is_zero();
    let no_output = f.battery_to_load.is_zero() & f.forced_to_load.is_zero();
    if no_input || no_output {
        return Ok(());
    }
    let own_in = sum(&[f.solar_to_battery, f.received_to_battery, f.grid_to_battery]);
    let own_out = sum(&[f.battery_to_load, f.forced_to_load]);
    let (app, what) = (Some(entry.app), "charging and discharging in one tick");
    Err(Broken { invariant: 3, what, app, left: own_in, right: own_out })
}

#[inline]
fn inside(
    holds: bool,
    what: &'static str,
    app: Option<AppId>,
    left: u128,
    right: u128,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant: 3, what, app, left, right }) }
}

/// Checks what concerns the site: invariant 4, and its part of 2, 3 and 5.
///
/// # Errors
/// The first invariant that does not hold.
pub(crate) fn check_totals(site: &SiteEntry<'_>, totals: &Totals) -> Result<(), Broken> {
    check_sides(totals)?;
    let (s, t) = (site.flows, totals);
    equal(4, "the parts of the solar", None, t.solar_in.get(), u128::from(site.solar.get()))?;
    let import = s.grid_import_booked + s.grid_netting;
    equal(4, "import booked", None, t.grid_drawn.get(), import.get())?;
    let export = s.grid_export_booked + s.grid_netting;
    equal(4, "export booked", None, t.exported.get(), export.get())?;
    equal(4, "load booked", None, t.load.get(), s.load_booked.get())?;
    let contained = site.contained + s.unmetered_load;
    equal(4, "load and its containers", None, s.load_booked.get(), contained.get())?;
    let bus_in = s.solar_booked + s.grid_import_booked + s.battery_out_booked;
    let bus_out = s.load_booked + s.grid_export_booked + s.battery_in_booked;
    equal(4, "what meets at the bus", None, bus_in.get(), bus_out.get())?;
    check_level(site, totals)?;
    check_meters(s, site.metered)?;
    check_carbon(site, totals)
}

/// Invariants 2 and 4, the two sides of what apps give each other.
fn check_sides(totals: &Totals) -> Result<(), Broken> {
    let t = &totals.between;
    let sides = [
        (4, "given and received", t.given, t.received),
        (4, "to lenders and repaid", t.to_lenders, t.repaid_in),
        (4, "overdraft_lent and lent", t.overdraft_lent, t.lent),
        (4, "overdraft_from_spill and its givers", t.overdraft_from_spill, t.spill_to_overdraft),
        (2, "debts and loans incurred", t.debt_incurred, t.loan_granted),
        (2, "debts and loans repaid", t.debt_repaid, t.loan_repaid),
    ];
    sides
        .into_iter()
        .try_for_each(|(invariant, what, one, other)| equal(invariant, what, None, one.get(), other.get()))
}

/// Invariant 4, the part of the buffer, and what claims, buffer and deficit make together.
fn check_level(site: &SiteEntry<'_>, totals: &Totals) -> Result<(), Broken> {
    let s = site.flows;
    let made = match site.solar_rule {
        SolarRule::Buffered => totals.kept + s.solar_booked,
        SolarRule::Live { .. } => EnergySum::ZERO,
    };
    equal(4, "the buffer", None, (s.buffer + s.buffer_adjusted).get(), made.get())?;
    if let SolarRule::Live { .. } = site.solar_rule {
        let divided = s.solar_booked + totals.curtailed;
        equal(4, "solar booked", None, divided.get(), u128::from(site.solar.get()))?;
    }
    let taken = totals.adjusted_down + s.buffer_adjusted;
    equal(3, "what adjustments took and freed", None, taken.get(), s.freed.get())?;
    equal(3, "the deficit", None, s.deficit.get(), site.deficit.1.get())?;
    let level = (totals.stored + s.buffer).less(s.deficit);
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

/// Invariant 5, the part of the site.
fn check_carbon(site: &SiteEntry<'_>, totals: &Totals) -> Result<(), Broken> {
    let s = site.flows;
    let metered = s.grid_import_booked + s.grid_import_over - s.grid_import_short;
    let due = (metered + s.grid_netting + s.grid_import_short).carbon(site.intensity);
    equal(5, "carbon charged", None, totals.carbon.get(), due.get())?;
    let credit = (s.grid_netting + s.grid_import_short).carbon(site.intensity);
    equal(5, "carbon credited to house", None, totals.carbon_credit.get(), credit.get())
}
