//! The site of the demo, as a configuration: what there is, and who has which share of it.

use crate::sweep::prefix;
use clap::ValueEnum;
use ecovisor_units::{Millis, Power};
use jiff::Timestamp;

/// Fastest clock: a tick is then 30 ms of real time, about what its commit to disk takes on a slow disk.
pub const SPEED_UP_MAX: i64 = 10_000;

/// Real time per tick: long enough that a /proc clock of 10 ms measures it to 2 %, short enough to look live.
const TICK_REAL_MS: u64 = 500;
/// The bounds of a tick (docs/config.md, `site.tick`).
const TICK_MIN: Millis = Millis::new(100);
const TICK_MAX: Millis = Millis::from_secs(300);

/// Power of the machine at rest: a small server's. An assumption of the demo, and named as one in its summary.
pub const IDLE: Power = Power::from_watts(40);
/// Power of a busy core beyond that: with two cores the whole machine draws 120 W, as small servers do. Per core, so that
/// the apps, which use about one core together, matter as much on a large machine.
pub const CORE: Power = Power::from_watts(40);

/// An app of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Trains while the sun shines or the grid is clean.
    Trainer,
    /// Serves all day; shifts its grid energy with its battery.
    Web,
    /// Lives off the sun alone.
    Batch,
}

impl App {
    /// All of them, in the order in which the configuration creates them.
    pub const ALL: [Self; 3] = [Self::Trainer, Self::Web, Self::Batch];

    /// Its name at the site.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trainer => "trainer",
            Self::Web => "web",
            Self::Batch => "batch",
        }
    }

    /// What it does, for the summary.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Trainer => "runs on sun and battery, and on the grid in the cleanest third of the day",
            Self::Web => {
                "always serves; charges its battery in the cleanest third, lives off it in the dirtiest"
            }
            Self::Batch => "no battery, no grid: its cap follows its sun",
        }
    }

    /// Its section of the configuration.
    fn section(self) -> &'static str {
        match self {
            Self::Trainer => {
                "solar_weight = 2\nbattery_capacity = \"80 Wh\"\ncharge_limit = \"40 W\"\ndischarge_limit = \"40 W\"\n\
                 grid_limit = \"30 W\"\n"
            }
            Self::Web => {
                "solar_weight = 1\nbattery_capacity = \"120 Wh\"\ncharge_limit = \"40 W\"\ndischarge_limit = \"40 W\"\n\
                 grid_limit = \"50 W\"\n"
            }
            Self::Batch => "solar_weight = 2\nshortfall = \"throttle\"\n",
        }
    }
}

/// What the demo plays.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Virtual seconds per second.
    pub speed_up: u32,
    /// Zone of the carbon data.
    pub zone: String,
    /// Where the clock starts.
    pub start: Timestamp,
    /// Cores of this machine.
    pub cores: u32,
    /// Tells this run from others on this machine: its pid.
    pub run: u32,
}

impl Scene {
    /// The tick: half a second of real time, within the bounds of a tick.
    pub fn tick(&self) -> Millis {
        let virtual_ms = u64::from(self.speed_up).saturating_mul(TICK_REAL_MS);
        Millis::new(virtual_ms).clamp(TICK_MIN, TICK_MAX)
    }

    /// Power of the machine with all cores busy.
    pub fn peak(&self) -> Power {
        let cores = u64::from(self.cores.max(1));
        IDLE.saturating_add(Power::new(CORE.get().saturating_mul(cores)))
    }

    /// The configuration, TOML.
    pub fn toml(&self) -> String {
        let Self { speed_up, zone, start, run, .. } = self;
        let (tick_ms, idle_mw, peak_mw) = (self.tick().get(), IDLE.get(), self.peak().get());
        // All that the machine can draw, and what the batteries may charge meanwhile.
        let import_mw = self.peak().saturating_add(Power::from_watts(200)).get();
        let mut toml = format!(
            "# Written by the demo; docs/config.md says what each line means.\n\
             [site]\nname = \"demo\"\ntick = \"{tick_ms} ms\"\n\n\
             [clock]\nkind = \"scaled\"\nfactor = {speed_up}\nstart = \"{start}\"\n\n\
             [solar]\npeak = \"200 W\"\nhouse_weight = 1\n\n\
             [battery]\ncapacity = \"500 Wh\"\nfloor = \"100 Wh\"\ncharge_limit = \"320 W\"\ndischarge_limit = \"200 W\"\n\n\
             [grid]\nimport_limit = \"{import_mw} mW\"\n\n\
             [spill]\nredistribute = true\n\n\
             [carbon]\nzone = {zone:?}\n\n\
             [host]\nidle = \"{idle_mw} mW\"\npeak = \"{peak_mw} mW\"\n\n\
             [sim]\nsky = \"typical\"\nstation = \"greensboro-nc\"\nbattery_level = \"0 %\"\n"
        );
        for app in App::ALL {
            let (name, section) = (app.name(), app.section());
            // Cgroups of this run alone, so that two demos do not meet and nothing is left of either.
            let subtree = format!("{}{name}", prefix(*run));
            toml.push_str(&format!(
                "\n[[app]]\nname = \"{name}\"\ncgroup_subtree = \"{subtree}\"\n{section}"
            ));
        }
        toml
    }
}

/// Cores that /proc/stat counts, as the daemon's power model does: each has a line `cpu0`, `cpu1`, …
pub fn cores(proc_stat: &str) -> u32 {
    let is_core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u32::try_from(proc_stat.lines().filter(is_core).count()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(speed_up: u32) -> Scene {
        Scene { speed_up, zone: "DE".to_owned(), start: Timestamp::UNIX_EPOCH, cores: 2, run: 7 }
    }

    #[test]
    fn a_tick_is_half_a_second_of_real_time_within_its_bounds() {
        for (speed_up, tick_ms) in [(1, 500), (60, 30_000), (360, 180_000), (600, 300_000), (10_000, 300_000)]
        {
            assert_eq!(scene(speed_up).tick(), Millis::new(tick_ms), "{speed_up}");
        }
    }

    #[test]
    fn two_cores_draw_a_hundred_and_twenty_watts() {
        assert_eq!(scene(1).peak(), Power::from_watts(120));
    }

    #[test]
    fn a_zone_cannot_break_out_of_its_line() {
        let scene = Scene { zone: "X\"\n[grid]".to_owned(), ..scene(1) };
        assert!(scene.toml().contains("zone = \"X\\\"\\n[grid]\"\n"), "{}", scene.toml());
    }

    #[test]
    fn every_app_has_its_section() {
        let toml = scene(360).toml();
        for app in App::ALL {
            assert!(toml.contains(&format!("name = \"{}\"", app.name())));
        }
    }

    #[test]
    fn cores_are_the_numbered_lines() {
        assert_eq!(cores("cpu  1 2 3\ncpu0 1 2\ncpu1 1 2\nintr 5\ncpufreq 1\n"), 2);
        assert_eq!(cores(""), 1);
    }
}
