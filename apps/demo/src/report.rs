//! What people and programs read of a run.

use crate::scene::{App, CORE, IDLE, Scene};
use crate::summary::{Account, Accounts, HOUSE, Saving};
use ecovisor_sdk::operator::wire;
use ecovisor_sdk::{CarbonIntensity, Energy, EnergySum, Millis, WattHours};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The books.
    pub accounts: Accounts,
    /// Whether caps were enforced, app by app.
    pub enforcement: Vec<Enforcement>,
    /// Whether `ecoctl ledger verify` replayed the ledger to the same figures.
    pub ledger_verified: bool,
    /// Apps that ended early, and how.
    pub lost: Vec<String>,
}

/// Whether an app's containers were held to their caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// The app.
    pub app: &'static str,
    /// Its containers.
    pub containers: usize,
    /// Why some were not; empty: all were.
    pub not_enforced: Vec<String>,
}

impl Outcome {
    /// Whether everything is as it should be: something was settled, it adds up, and an independent replay agrees.
    pub fn holds(&self) -> bool {
        self.ledger_verified && self.accounts.add_up() && self.accounts.ticks > 0
    }
}

/// What begins.
pub fn opening(scene: &Scene) -> String {
    format!(
        "{} apps at {} from {}, {} times as fast as real time, a tick every {} of it; Ctrl-C ends it with a summary",
        App::ALL.len(),
        scene.zone,
        scene.start,
        scene.speed_up,
        scene.tick()
    )
}

/// A tick in a line.
pub fn line(tick: &wire::SiteTick) -> String {
    let span = Millis::new(tick.span_ms);
    let power = |energy_uj: u64| Energy::new(energy_uj).mean_power(span);
    let site = tick.site.as_ref();
    let solar = site.and_then(|site| site.solar.as_ref()).map_or(0, |solar| solar.booked_uj);
    let carbon = CarbonIntensity::new(site.map_or(0, |site| site.grid_carbon_mg_per_kwh));
    let mut line = format!("{}  sun {}, grid {carbon} |", stamp(tick.wall_start_ms), power(solar));
    for app in &tick.apps {
        line.push_str(&format!(
            "  {} {}",
            app.app,
            power(app.flows.as_ref().map_or(0, |flows| flows.load_uj))
        ));
    }
    line
}

/// A moment of the site's clock.
fn stamp(wall_ms: u64) -> String {
    let stamp = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| "-".to_owned(), |stamp| stamp.strftime("%Y-%m-%d %H:%M").to_string())
}

/// The summary for people.
pub fn text(scene: &Scene, outcome: &Outcome) -> String {
    let accounts = &outcome.accounts;
    let mut out = String::new();
    let mut say = |line: String| {
        out.push_str(line.trim_end());
        out.push('\n');
    };
    say(String::new());
    say(format!(
        "{} to {} UTC, {} ticks{}",
        stamp(accounts.from_ms),
        stamp(accounts.to_ms),
        accounts.ticks,
        estimated(accounts.ticks_estimated)
    ));
    say(String::new());
    say(columns([
        "",
        "used",
        "= solar",
        "+ battery",
        "+ received",
        "+ grid",
        "+ overdraft",
        "CO2e",
        "all grid",
        "saved",
    ]));
    for account in &accounts.apps {
        say(columns(cells(account).each_ref().map(String::as_str)));
    }
    say(String::new());
    say("  all grid: the CO2e of the same load, had all of it come from the grid at each tick's intensity."
        .to_owned());
    say("  house: this machine at rest, and all that runs on it outside of the three apps.".to_owned());
    let stored = accounts.apps.iter().filter(|account| account.name != HOUSE).filter_map(stored);
    stored.for_each(&mut say);
    say(String::new());
    for app in App::ALL {
        say(format!("  {:8} {}", app.name(), app.policy()));
    }
    say(String::new());
    outcome.enforcement.iter().for_each(|of| say(format!("  {}", enforced(of))));
    if outcome.enforcement.iter().any(|of| !of.not_enforced.is_empty()) {
        say("  (Caps are CPU quotas of cgroups: root may make those, and users where systemd delegates `cpu`.)".to_owned());
    }
    outcome.lost.iter().for_each(|lost| say(format!("  {lost}")));
    say(String::new());
    sources(scene).into_iter().for_each(|source| say(format!("  {source}")));
    say(String::new());
    say(verdict(outcome));
    out
}

/// What an app has charged and not yet used; it began with an empty battery.
fn stored(account: &Account) -> Option<String> {
    if account.battery_left.is_zero() {
        return None;
    }
    let (left, cost) = (WattHours(account.battery_left.wide()), account.carbon_stored);
    let charged = match account.grid_charged.is_zero() {
        true => "all of it solar".to_owned(),
        false => format!("it charged {} from the grid", WattHours(account.grid_charged)),
    };
    let cost = match cost.is_zero() {
        true => String::new(),
        false => format!("; the ledger has charged {cost} for it, which the table leaves out"),
    };
    Some(format!("  {}: {left} are left in its battery ({charged}){cost}", account.name))
}

fn estimated(ticks: u64) -> String {
    match ticks {
        0 => String::new(),
        _ => format!(", {ticks} of them estimated"),
    }
}

fn columns(cells: [&str; 10]) -> String {
    const WIDTHS: [usize; 10] = [8, 10, 11, 11, 12, 11, 13, 10, 10, 14];
    let mut line = String::new();
    for (place, (cell, width)) in cells.into_iter().zip(WIDTHS).enumerate() {
        match place {
            0 => line.push_str(&format!("{cell:width$}")),
            _ => line.push_str(&format!("{cell:>width$}")),
        }
    }
    line
}

fn cells(account: &Account) -> [String; 10] {
    let wh = |energy: EnergySum| WattHours(energy).to_string();
    [
        account.name.clone(),
        wh(account.load),
        wh(account.solar),
        wh(account.battery),
        wh(account.received),
        wh(account.grid),
        wh(account.overdraft),
        account.carbon_used().to_string(),
        account.carbon_without.to_string(),
        saved(account.saving()),
    ]
}

fn saved(saving: Saving) -> String {
    let per_cent = |permille: u64| format!("{}.{} %", permille / 10, permille % 10);
    match saving {
        Saving::Nothing => "-".to_owned(),
        Saving::Less(permille) => per_cent(permille),
        Saving::More(permille) => format!("{} more", per_cent(permille)),
    }
}

fn enforced(of: &Enforcement) -> String {
    let Enforcement { app, containers, not_enforced } = of;
    match (containers, not_enforced.as_slice()) {
        (0, _) => format!("{app}: no container at the end"),
        (_, []) => format!("{app}: caps were enforced"),
        (_, reasons) => format!("{app}: metered, but caps were not enforced: {}", reasons.join("; ")),
    }
}

/// Where the figures come from.
fn sources(scene: &Scene) -> [String; 3] {
    [
        format!(
            "carbon   Electricity Maps, 2022, zone {}, hourly, life-cycle average (ODbL 1.0)",
            scene.zone
        ),
        "sun      clear sky at the zone's place, dimmed by the clearness of TMY3 Greensboro, NC (NREL)"
            .to_owned(),
        format!(
            "power    CPU time really used here, as {IDLE} at rest and {CORE} a busy core: {} with all {} (assumed, not measured)",
            scene.peak(),
            scene.cores
        ),
    ]
}

fn verdict(outcome: &Outcome) -> String {
    let replay = match outcome.ledger_verified {
        true => "`ecoctl ledger verify` replayed the ledger to the same figures",
        false => "`ecoctl ledger verify` did NOT come to the same figures",
    };
    let sums = match outcome.accounts.add_up() {
        true => "every app's sources sum to its load, and the loads to the site's, to the microjoule",
        false => "the sums do NOT add up",
    };
    format!("The books: {replay}; {sums}.")
}

/// The summary for programs: keys end in their unit, energies are exact, carbon in mg is rounded down.
pub fn json(scene: &Scene, outcome: &Outcome) -> Value {
    let accounts = &outcome.accounts;
    let (house, apps): (Vec<&Account>, Vec<&Account>) = accounts.apps.iter().partition(|of| of.name == HOUSE);
    let site = &accounts.site;
    json!({
        "apps": apps.into_iter().map(account_json).collect::<Vec<_>>(),
        "house": house.into_iter().map(account_json).next(),
        "site": {
            "solar_uj": figure(site.solar),
            "grid_import_uj": figure(site.grid_import),
            "grid_export_uj": figure(site.grid_export),
            "battery_in_uj": figure(site.battery_in),
            "battery_out_uj": figure(site.battery_out),
            "load_uj": figure(site.load),
            "carbon_mg": site.carbon.to_milligrams().get(),
        },
        "ticks": accounts.ticks,
        "ticks_estimated": accounts.ticks_estimated,
        "tick_ms": scene.tick().get(),
        "speed_up": scene.speed_up,
        "from_ms": accounts.from_ms,
        "to_ms": accounts.to_ms,
        "ledger_verified": outcome.ledger_verified,
        "adds_up": accounts.add_up(),
        "caps": outcome.enforcement.iter().map(enforcement_json).collect::<Vec<_>>(),
        "lost": outcome.lost,
        "sources": sources(scene),
    })
}

fn account_json(account: &Account) -> Value {
    json!({
        "name": account.name,
        "load_uj": figure(account.load),
        "solar_uj": figure(account.solar),
        "battery_uj": figure(account.battery),
        "received_uj": figure(account.received),
        "grid_uj": figure(account.grid),
        "overdraft_uj": figure(account.overdraft),
        "grid_charged_uj": figure(account.grid_charged),
        "battery_left_uj": account.battery_left.get(),
        "carbon_mg": account.carbon.to_milligrams().get(),
        "carbon_stored_mg": account.carbon_stored.to_milligrams().get(),
        "carbon_without_mg": account.carbon_without.to_milligrams().get(),
    })
}

fn enforcement_json(of: &Enforcement) -> Value {
    json!({
        "app": of.app,
        "containers": of.containers,
        "enforced": of.containers > 0 && of.not_enforced.is_empty(),
        "reasons": of.not_enforced,
    })
}

/// JSON numbers hold a u64: 5.1 GWh in µJ, which no demo reaches.
fn figure(energy: EnergySum) -> u64 {
    energy.narrow_saturating().get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::Carbon;

    fn outcome() -> Outcome {
        let account = |name: &str| Account {
            name: name.to_owned(),
            load: Energy::from_watt_hours(3).wide(),
            solar: Energy::from_watt_hours(2).wide(),
            grid: Energy::from_watt_hours(1).wide(),
            carbon: ecovisor_sdk::CarbonMass::new(200).product(),
            carbon_without: ecovisor_sdk::CarbonMass::new(800).product(),
            ..Account::default()
        };
        let mut accounts =
            Accounts { apps: vec![account("web"), account("house")], ticks: 7, ..Accounts::default() };
        accounts.site.load = Energy::from_watt_hours(6).wide();
        let enforcement = vec![
            Enforcement { app: "web", containers: 1, not_enforced: vec![] },
            Enforcement { app: "batch", containers: 1, not_enforced: vec!["no cgroups".to_owned()] },
        ];
        Outcome { accounts, enforcement, ledger_verified: true, lost: vec![] }
    }

    fn scene() -> Scene {
        Scene { speed_up: 360, zone: "DE".to_owned(), start: Timestamp::UNIX_EPOCH, cores: 2, run: 7 }
    }

    #[test]
    fn a_person_reads_sources_savings_and_why_caps_do_not_hold() {
        let text = text(&scene(), &outcome());
        for expected in ["3 Wh", "2 Wh", "200 mg", "800 mg", "75.0 %", "zone DE", "120 W with all 2"] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(text.contains("batch: metered, but caps were not enforced: no cgroups"), "{text}");
    }

    #[test]
    fn a_program_finds_every_figure_and_the_house_apart() {
        let json = json(&scene(), &outcome());
        assert_eq!(json["apps"].as_array().unwrap().len(), 1);
        assert_eq!(json["apps"][0]["load_uj"], 10_800_000_000_u64);
        assert_eq!(json["apps"][0]["carbon_without_mg"], 800);
        assert_eq!(json["house"]["name"], "house");
        assert_eq!(json["ledger_verified"], true);
        assert_eq!(json["caps"][1]["enforced"], false);
    }

    #[test]
    fn the_run_holds_only_with_ticks_sums_and_replay() {
        assert!(outcome().holds());
        assert!(!Outcome { ledger_verified: false, ..outcome() }.holds());
        let mut broken = outcome();
        broken.accounts.site.load = EnergySum::ZERO;
        assert!(!broken.holds());
        let empty = Outcome { accounts: Accounts::default(), ..outcome() };
        assert!(!empty.holds());
    }

    #[test]
    fn more_carbon_is_said_as_such() {
        assert_eq!(saved(Saving::More(52)), "5.2 % more");
        assert_eq!(saved(Account { carbon: Carbon::new(1), ..Account::default() }.saving()), "-");
    }
}
