//! Files that no operator means to write: each is refused with the field, the value and what would be accepted, or means
//! what it says.

use super::Config;
use crate::plant::{Plant, Span};
use ecovisor_core::Site;
use ecovisor_units::Millis;

const SMALL: &str = "[site]\nname = \"a\"\n[host]\nidle = \"1 W\"\npeak = \"2 W\"\n";

/// All that a site can have.
const WHOLE: &str = r#"
[site]
name = "a"
tick = "1 s"
[solar]
peak = "200 W"
[battery]
capacity = "1 kWh"
floor = "100 Wh"
charge_limit = "300 W"
discharge_limit = "400 W"
[grid]
import_limit = "500 W"
export_limit = "100 W"
intensity_worst = "900 g/kWh"
[carbon]
zone = "DE"
[host]
idle = "10 W"
peak = "60 W"
[sim]
seed = 1
[[sim.load]]
app = "web"
name = "one"
power = "60 W"
[[app]]
name = "web"
solar_weight = 1
battery_capacity = "300 Wh"
battery_floor = "90 Wh"
charge_limit = "60 W"
discharge_limit = "100 W"
grid_limit = "100 W"
"#;

fn refusal(text: &str) -> String {
    match Config::parse(text) {
        Err(refusal) => refusal.to_string(),
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
    }
}

/// `WHOLE` with one line replaced.
fn with(old: &str, new: &str) -> String {
    assert!(WHOLE.contains(old), "{old}");
    WHOLE.replacen(old, new, 1)
}

#[test]
fn the_whole_site_is_accepted() {
    Config::parse(WHOLE).unwrap();
}

#[test]
fn an_unknown_key_is_named_in_every_section() {
    let sections = [
        "[site]",
        "[solar]",
        "[battery]",
        "[grid]",
        "[carbon]",
        "[host]",
        "[sim]",
        "[[sim.load]]",
        "[[app]]",
    ];
    for section in sections {
        let refusal = refusal(&with(&format!("{section}\n"), &format!("{section}\nvolts = 3\n")));
        assert!(refusal.contains("unknown field `volts`, expected"), "{section}: {refusal}");
    }
    for section in ["clock", "spill", "readings", "store", "operator", "tls", "metrics", "limits", "nonsense"]
    {
        let refusal = refusal(&format!("{SMALL}[{section}]\nvolts = 3\n"));
        let named =
            ["unknown field `volts`", "unknown field `nonsense`"].iter().any(|name| refusal.contains(name));
        assert!(named, "{section}: {refusal}");
    }
}

#[test]
fn a_quantity_without_its_unit_or_beyond_what_counts_is_refused_with_what_would_be_accepted() {
    let power = "is not a power: a number and W, kW, MW or mW, such as `40 W`";
    let energy = "is not an energy: a number and Wh";
    let time = "is not a time: a number and ms, s, min, h or d";
    for (old, new, expected) in [
        ("peak = \"200 W\"", "peak = \"200\"", power),
        ("peak = \"200 W\"", "peak = 200", "invalid type: integer `200`, expected a string"),
        ("peak = \"200 W\"", "peak = nan", "invalid type: floating point"),
        ("peak = \"200 W\"", "peak = \"\"", power),
        ("peak = \"200 W\"", "peak = \"W\"", power),
        ("peak = \"200 W\"", "peak = \"NaN W\"", power),
        ("peak = \"200 W\"", "peak = \"inf W\"", power),
        ("peak = \"200 W\"", "peak = \"-200 W\"", power),
        ("peak = \"200 W\"", "peak = \"1e30 W\"", power),
        ("peak = \"200 W\"", "peak = \"200 V\"", power),
        ("peak = \"200 W\"", "peak = \"200 Wh\"", power),
        ("peak = \"200 W\"", "peak = \"0.0001 W\"", power),
        ("peak = \"200 W\"", "peak = \"1.2.3 W\"", power),
        ("peak = \"200 W\"", "peak = \"1000000000000000000000000000000 W\"", power),
        ("capacity = \"1 kWh\"", "capacity = \"100000000000000000000 Wh\"", energy),
        ("capacity = \"1 kWh\"", "capacity = \"-1 Wh\"", energy),
        ("tick = \"1 s\"", "tick = \"1\"", time),
        ("tick = \"1 s\"", "tick = \"-1 s\"", time),
        ("tick = \"1 s\"", "tick = \"99999999999999999999 d\"", time),
        ("intensity_worst = \"900 g/kWh\"", "intensity_worst = \"900\"", "is not a carbon intensity"),
    ] {
        let refusal = refusal(&with(old, new));
        assert!(refusal.contains(expected), "{new}\n{refusal}");
        let (field, value) = new.split_once(" = ").unwrap();
        // The line is shown, so that field and value are seen.
        assert!(refusal.contains(field) && refusal.contains(value), "{new}\n{refusal}");
    }
}

#[test]
fn a_figure_out_of_its_range_is_named() {
    for (old, new, expected) in [
        ("tick = \"1 s\"", "tick = \"0 s\"", "site.tick: 0 ms does not lie between 100 ms and 5 min"),
        ("tick = \"1 s\"", "tick = \"99 ms\"", "site.tick: 99 ms does not"),
        ("tick = \"1 s\"", "tick = \"301 s\"", "site.tick: 5.016 min does not"),
        ("name = \"a\"", "name = \"\"", "site.name: `` is not 1 to 63 of a-z"),
        (
            "intensity_worst = \"900 g/kWh\"",
            "intensity_worst = \"11 kg/kWh\"",
            "an intensity is at most 10 kg/kWh",
        ),
        ("name = \"one\"", "name = \"\"", "sim.load[0].name: `` is not 1 to 128"),
        ("app = \"web\"", "app = \"\"", "sim.load[0].app: there is no [[app]] ``"),
        ("capacity = \"1 kWh\"", "capacity = \"5000 MWh\"", "a battery holds at most 2^62 µJ, 1.2 GWh"),
        ("floor = \"100 Wh\"", "floor = \"1 kWh\"", "battery.floor: 1 kWh leaves nothing"),
        (
            "grid_limit = \"100 W\"",
            "grid_limit = \"501 W\"",
            "app[0] (web): a grid limit of 501 W exceeds the 500 W that are free",
        ),
        (
            "grid_limit = \"100 W\"",
            "grid_limit = \"18446744073709551615 mW\"",
            "exceeds the 500 W that are free",
        ),
        ("battery_capacity = \"300 Wh\"", "battery_capacity = \"901 Wh\"", "app[0] (web): "),
        ("battery_floor = \"90 Wh\"", "battery_floor = \"301 Wh\"", "app[0] (web): "),
        ("charge_limit = \"60 W\"", "charge_limit = \"301 W\"", "app[0] (web): "),
        ("discharge_limit = \"100 W\"", "discharge_limit = \"401 W\"", "app[0] (web): "),
        ("solar_weight = 1", "solar_weight = -1", "invalid value: integer `-1`, expected u32"),
        (
            "solar_weight = 1",
            "solar_weight = 4294967296",
            "invalid value: integer `4294967296`, expected u32",
        ),
        ("solar_weight = 1", "solar_weight = 1.5", "invalid type: floating point `1.5`, expected u32"),
        ("seed = 1", "latitude = nan", "sim.latitude: lies between -90 and 90"),
        ("seed = 1", "longitude = -inf", "sim.longitude: lies between -180 and 180"),
        ("seed = 1", "latitude = 1e300", "sim.latitude: lies between"),
        ("peak = \"60 W\"", "peak = \"9 W\"", "host.peak: 9 W lies below host.idle, 10 W"),
        ("zone = \"DE\"", "zone = \"\"", "carbon.zone: `` is none of AU-SA"),
    ] {
        let refusal = refusal(&with(old, new));
        assert!(refusal.contains(expected), "{new}\n{refusal}");
    }
}

#[test]
fn an_app_has_a_name_of_its_own() {
    for (name, expected) in [
        ("", "app[0].name: `` is not 1 to 63 of a-z, 0-9 and -, a letter first"),
        ("a b", "app[0].name: `a b` is not"),
        ("ä", "app[0].name: `ä` is not"),
        ("../x", "app[0].name: `../x` is not"),
        ("house", "app[0] (house): "),
    ] {
        let refusal = refusal(&format!("{SMALL}[[app]]\nname = \"{name}\"\n"));
        assert!(refusal.starts_with(expected), "{refusal}");
    }
    let long = refusal(&format!("{SMALL}[[app]]\nname = \"{}\"\n", "a".repeat(64)));
    assert!(long.starts_with("app[0].name: `aaa"), "{long}");
}

#[test]
fn a_key_said_twice_is_refused() {
    let twice = refusal(&format!("{SMALL}peak = \"3 W\"\n"));
    assert!(twice.contains("duplicate key"), "{twice}");
    let twice = refusal(&format!("{SMALL}[host]\nidle = \"1 W\"\n"));
    assert!(twice.contains("duplicate key"), "{twice}");
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let plain = format!("{:?}", Config::parse(WHOLE).unwrap());
    assert_eq!(format!("{:?}", Config::parse(&WHOLE.replace('\n', "\r\n")).unwrap()), plain);
    assert_eq!(format!("{:?}", Config::parse(&format!("\u{feff}{WHOLE}")).unwrap()), plain);
    let lone = refusal(&WHOLE.replace('\n', "\r"));
    assert!(lone.contains("the file: "), "{lone}");
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    for text in [
        "\0",
        "[site",
        "= 3",
        "[site]\nname = 'a\n",
        "\u{7f}ELF",
        "{\"site\": {}}",
        "<xml/>",
        "[site]\nname = \"\\ud800\"\n",
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with("the file: TOML parse error at line"), "{text:?}: {refusal}");
    }
    let empty = refusal("");
    assert!(empty.contains("missing field `site`"), "{empty}");
    // Nesting without end must not end the stack.
    let deep = refusal(&format!("a = {}", "[".repeat(200_000)));
    assert!(deep.len() < 1_000_000, "{} bytes", deep.len());
}

#[test]
fn the_largest_figures_that_count_are_settled_without_overflow() {
    let most = u64::MAX;
    let mut text = WHOLE.to_owned();
    for (old, new) in [
        ("tick = \"1 s\"", "tick = \"5 min\"".to_owned()),
        ("capacity = \"1 kWh\"", format!("capacity = \"{} uJ\"", 1_u64 << 62)),
        ("charge_limit = \"300 W\"", format!("charge_limit = \"{most} mW\"")),
        ("discharge_limit = \"400 W\"", format!("discharge_limit = \"{most} mW\"")),
        ("import_limit = \"500 W\"", format!("import_limit = \"{most} mW\"")),
        ("export_limit = \"100 W\"", format!("export_limit = \"{most} mW\"")),
        ("intensity_worst = \"900 g/kWh\"", "intensity_worst = \"10 kg/kWh\"".to_owned()),
        ("power = \"60 W\"", format!("power = \"{most} mW\"")),
        ("peak = \"60 W\"", format!("peak = \"{most} mW\"")),
        ("solar_weight = 1", format!("solar_weight = {}", u32::MAX)),
        ("grid_limit = \"100 W\"", format!("grid_limit = \"{most} mW\"")),
    ] {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, &new, 1);
    }
    let config = Config::parse(&text).unwrap();
    let mut site = Site::new(config.rules().unwrap()).unwrap();
    config.populate(&mut site).unwrap();
    let mut plant = Plant::open(&config).unwrap();
    let length = Millis::from_secs(300);
    for tick in 0..3 {
        let wall_ms = 1_655_838_000_000 + tick * length.get();
        let span = Span { wall_ms, length, real_us: 300_000_000 };
        let inputs = plant.gather(span, wall_ms + length.get());
        let outcome = site.step(&inputs).unwrap();
        plant.apply(&outcome.orders);
    }
    let solar = with("peak = \"200 W\"", &format!("peak = \"{most} mW\""));
    let refused = refusal(&solar);
    assert!(refused.starts_with("the site: "), "{refused}");
}
