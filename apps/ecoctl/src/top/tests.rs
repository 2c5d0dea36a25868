//! Frames, whole.

use super::*;
use view::Link;

/// A tick of a small site: web and batch with containers, house last.
pub fn view() -> View {
    let mut view = View::default();
    view.connected(site());
    for number in 0..5 {
        view.tick(tick(number));
    }
    view
}

fn site() -> wire::Site {
    let capacity = wire::SiteCapacity { battery_capacity_uj: wh(1_440), ..wire::SiteCapacity::default() };
    wire::Site { name: "roof".into(), mode: 1, capacity: Some(capacity), ..wire::Site::default() }
}

const fn wh(watt_hours: u64) -> u64 {
    watt_hours * 3_600_000_000
}

const fn joules(joules: u64) -> u64 {
    joules * 1_000_000
}

fn flow(joules_booked: u64) -> Option<wire::MeteredFlow> {
    Some(wire::MeteredFlow { booked_uj: joules(joules_booked), ..wire::MeteredFlow::default() })
}

fn tick(number: u64) -> wire::SiteTick {
    let site = wire::SiteFlows {
        solar: flow(60 + 15 * number),
        grid_import: flow(40 - 10 * number),
        grid_export: flow(0),
        battery_in: flow(25),
        battery_out: flow(0),
        load_booked_uj: joules(75 + 5 * number),
        battery_level_booked_uj: wh(880),
        grid_carbon_mg_per_kwh: 216_560,
        ..wire::SiteFlows::default()
    };
    wire::SiteTick {
        tick: number,
        wall_start_ms: 1_767_225_600_000 + number * 1_000,
        span_ms: 1_000,
        site: Some(site),
        apps: vec![web(), batch(), house()],
        ..wire::SiteTick::default()
    }
}

fn web() -> wire::AppTick {
    let flows = wire::Flows {
        load_uj: joules(50),
        solar_to_load_uj: joules(45),
        grid_to_load_uj: joules(5),
        ..wire::Flows::default()
    };
    let battery = wire::Battery {
        charge_level_uj: wh(183),
        capacity_uj: wh(300),
        charge_rate_mw: 25_000,
        ..wire::Battery::default()
    };
    wire::AppTick {
        app: "web".into(),
        flows: Some(flows),
        battery: Some(battery),
        supply_mw: 245_000,
        effective_cap_mw: Some(70_000),
        state: 1,
        containers: vec![container("one", 40, Some(40)), container("two", 10, Some(30))],
        ..wire::AppTick::default()
    }
}

fn batch() -> wire::AppTick {
    let flows = wire::Flows {
        load_uj: joules(20),
        battery_to_load_uj: joules(18),
        overdraft_grid_uj: joules(2),
        ..wire::Flows::default()
    };
    wire::AppTick {
        app: "batch".into(),
        flows: Some(flows),
        supply_mw: 18_000,
        state: 2,
        estimated: true,
        containers: vec![container("train", 20, None)],
        ..wire::AppTick::default()
    }
}

fn house() -> wire::AppTick {
    wire::AppTick { app: "house".into(), supply_mw: u64::MAX, state: 1, ..wire::AppTick::default() }
}

fn container(name: &str, watts: u64, cap_watts: Option<u64>) -> wire::Container {
    let cap_mw = cap_watts.map(|cap| cap * 1_000);
    wire::Container {
        name: name.into(),
        target: Some(wire::ContainerTarget {
            target: Some(wire::container_target::Target::CgroupPath(format!(
                "/sys/fs/cgroup/ecovisor/{name}"
            ))),
        }),
        power_mw: watts * 1_000,
        cap_mw,
        effective_cap_mw: cap_mw,
        capping: Some(wire::Capping { kind: 1, reason: String::new() }),
        ..wire::Container::default()
    }
}

/// Frames are kept as files: `UPDATE_GOLDEN=1 cargo test` writes them anew.
fn golden(name: &str, view: &View, width: u16, height: u16) {
    let drawn = text(view, width, height).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{drawn}\n")).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    // The time of day depends on the time zone of whoever runs the tests.
    assert_eq!(without_time(&drawn), without_time(kept.trim_end()), "{name}:\n{drawn}");
}

fn without_time(frame: &str) -> String {
    let (first, rest) = frame.split_once('\n').unwrap_or((frame, ""));
    let words: Vec<&str> = first.split("  ").filter(|word| !word.contains(':')).collect();
    format!("{}\n{rest}", words.join("  "))
}

#[test]
fn a_frame_fits_into_80_by_24() {
    golden("top-80x24.txt", &view(), 80, 24);
}

#[test]
fn a_larger_terminal_shows_more() {
    golden("top-120x40.txt", &view(), 120, 40);
}

#[test]
fn before_the_first_tick_it_says_that_it_waits() {
    let mut view = View::default();
    view.connected(site());
    let drawn = text(&view, 80, 24).unwrap();
    assert!(drawn.contains("waiting for the first tick"), "{drawn}");
}

#[test]
fn a_lost_connection_is_told_and_the_last_figures_stay() {
    let mut view = view();
    view.lost("no daemon answers at /s: gone".into());
    assert_eq!(view.link, Link::Lost("no daemon answers at /s: gone".into()));
    let drawn = text(&view, 80, 24).unwrap();
    assert!(drawn.contains("connection lost, retrying"), "{drawn}");
    assert!(
        drawn.contains("no daemon answers at /s: gone") && drawn.contains("train") == (view.app == 1),
        "{drawn}"
    );
    assert!(drawn.contains("batch"), "{drawn}");
}

#[test]
fn help_and_prompt_are_drawn_over_it() {
    let mut view = view();
    view.help = true;
    assert!(text(&view, 80, 24).unwrap().contains("change it by a twentieth"));
    view.help = false;
    view.prompt = Some("35".into());
    assert!(text(&view, 80, 24).unwrap().contains("cap of one in W (now 40 W): 35_"));
}

#[test]
fn a_tiny_terminal_is_told_so() {
    assert!(text(&view(), 30, 5).unwrap().starts_with("30 x 5 is too small"));
}
