//! The sites of these tests, as an operator would write them.

/// A clear noon in California with two apps whose loads are emulated: a tick of a minute takes a tenth of a second.
pub const NOON: &str = r#"
[site]
name = "noon"
tick = "60 s"

[clock]
kind = "scaled"
factor = 600
start = "2022-06-21T19:00:00Z"

[solar]
peak = "200 W"

[battery]
capacity = "1.44 kWh"
floor = "432 Wh"
charge_limit = "360 W"
discharge_limit = "1440 W"

[grid]
import_limit = "500 W"

[carbon]
zone = "US-CAL-CISO"

[host]
idle = "0 W"
peak = "60 W"

[sim]
seed = 1

[[sim.load]]
app = "web"
name = "one"
power = "60 W"

[[sim.load]]
app = "batch"
name = "one"
power = "90 W"

[[app]]
name = "web"
solar_weight = 3
battery_capacity = "300 Wh"
battery_floor = "90 Wh"
charge_limit = "60 W"
discharge_limit = "100 W"
grid_limit = "100 W"

[[app]]
name = "batch"
solar_weight = 1
battery_capacity = "200 Wh"
charge_limit = "40 W"
discharge_limit = "100 W"
grid_limit = "60 W"
"#;

/// The same on the real clock, with ticks of half a second: a busy machine does not make gaps of them.
pub fn real() -> String {
    let clock = "[clock]\nkind = \"scaled\"\nfactor = 600\nstart = \"2022-06-21T19:00:00Z\"\n";
    replaced(&replaced(NOON, "tick = \"60 s\"", "tick = \"500 ms\""), clock, "")
}

/// When `NOON` begins, in ms since 1970 UTC.
pub const NOON_MS: u64 = 1_655_838_000_000;

/// `NOON` with more behind it.
pub fn noon_and(more: &str) -> String {
    format!("{NOON}{more}")
}

/// A configuration with `old`, which it has, changed.
pub fn replaced(config: &str, old: &str, new: &str) -> String {
    assert!(config.contains(old), "the configuration has no {old:?}");
    config.replacen(old, new, 1)
}
