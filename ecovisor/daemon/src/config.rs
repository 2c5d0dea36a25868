//! The configuration: one TOML file, every quantity a string with its unit, nothing unknown accepted. File -> [`Config`]
//! -> [`Rules`](ecovisor_core::Rules) and devices; nothing is opened in between.

mod build;
pub mod file;
mod groups;
mod quantity;
mod report;

pub use build::{AppSetup, Places};
pub use groups::{GroupSetup, place};
pub use quantity::Quantity;
pub use report::report;

#[cfg(test)]
mod bad;

use crate::doors::pace::Limits;
use crate::store::Engine;
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power, Ppm};
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the site is.
    pub site: SiteSection,
    /// Which clock it runs on; the real one where nothing is said.
    #[serde(default)]
    pub clock: ClockSection,
    /// The panels; none where it is missing.
    pub solar: Option<SolarSection>,
    /// The battery; none where it is missing.
    pub battery: Option<BatterySection>,
    /// The grid connection; islanded where it is missing.
    pub grid: Option<GridSection>,
    /// What happens to spilled solar.
    #[serde(default)]
    pub spill: SpillSection,
    /// How long readings are believed and held.
    #[serde(default)]
    pub readings: ReadingsSection,
    /// Where carbon intensity comes from.
    pub carbon: Option<CarbonSection>,
    /// What forecasts rest on.
    #[serde(default)]
    pub forecast: ForecastSection,
    /// The servers' power.
    pub host: HostSection,
    /// Emulated sun, battery and grid.
    pub sim: Option<SimSection>,
    /// The store.
    #[serde(default)]
    pub store: StoreSection,
    /// How long the past is kept.
    #[serde(default)]
    pub retention: RetentionSection,
    /// Who operates the site.
    #[serde(default)]
    pub operator: OperatorSection,
    /// The door for other machines.
    pub tls: Option<TlsSection>,
    /// The door for Prometheus.
    pub metrics: Option<MetricsSection>,
    /// What apps may ask for.
    #[serde(default)]
    pub limits: LimitsSection,
    /// Groups of apps that exist from the first start.
    #[serde(default, rename = "group")]
    pub groups: Vec<GroupSection>,
    /// Apps that exist from the first start.
    #[serde(default, rename = "app")]
    pub apps: Vec<AppSection>,
}

/// `[site]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSection {
    /// Its name, as in certificates: 1 to 63 of a-z, 0-9 and -.
    pub name: String,
    /// The settlement period, `100 ms` to `5 min`.
    #[serde(default = "defaults::tick")]
    pub tick: Quantity<Millis>,
    /// Where sockets are made; `/run/ecovisor`, or `$XDG_RUNTIME_DIR/ecovisor` without root.
    pub run_dir: Option<PathBuf>,
    /// Where state is kept; `/var/lib/ecovisor`, or `$XDG_STATE_HOME/ecovisor` without root.
    pub state_dir: Option<PathBuf>,
}

/// Which clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockChoice {
    /// The wall clock.
    #[default]
    Real,
    /// The wall clock times a factor; emulated devices only.
    Scaled,
}

/// `[clock]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSection {
    /// `real` or `scaled`.
    #[serde(default)]
    pub kind: ClockChoice,
    /// Virtual seconds in a real one, 1 to 100000.
    pub factor: Option<u32>,
    /// Where a scaled or simulated clock starts, RFC 3339, such as `2022-06-21T12:00:00Z`; now where nothing is said.
    pub start: Option<String>,
}

/// Which solar apps spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SolarRuleChoice {
    /// That of the tick before.
    Buffered,
    /// That of the tick itself.
    Live,
}

/// `[solar]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SolarSection {
    /// The most the panels make.
    pub peak: Quantity<Power>,
    /// `buffered` (default where there is a battery) or `live`.
    pub rule: Option<SolarRuleChoice>,
    /// Whether the inverter can be ordered down.
    #[serde(default = "defaults::yes")]
    pub curtailable: bool,
    /// `house`'s weight when solar is divided.
    #[serde(default)]
    pub house_weight: u32,
}

/// `[battery]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatterySection {
    /// Energy inside when full.
    pub capacity: Quantity<Energy>,
    /// Energy inside that is never used.
    #[serde(default = "defaults::nothing")]
    pub floor: Quantity<Energy>,
    /// Most power in.
    pub charge_limit: Quantity<Power>,
    /// Most power out.
    pub discharge_limit: Quantity<Power>,
    /// From the terminals in.
    #[serde(default = "defaults::efficiency")]
    pub charge_efficiency: Quantity<Ppm>,
    /// From inside to the terminals.
    #[serde(default = "defaults::efficiency")]
    pub discharge_efficiency: Quantity<Ppm>,
    /// What `house` may lack before all claims shrink; a hundredth of the capacity where nothing is said.
    pub tolerance: Option<Quantity<Energy>>,
}

/// `[grid]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSection {
    /// Most import.
    pub import_limit: Quantity<Power>,
    /// Most export; `0 W` where the site may not feed in.
    #[serde(default = "defaults::no_power")]
    pub export_limit: Quantity<Power>,
    /// Assumed where no intensity is known.
    #[serde(default = "defaults::intensity_worst")]
    pub intensity_worst: Quantity<CarbonIntensity>,
}

/// `[spill]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpillSection {
    /// Whether others may use what an app spills.
    #[serde(default)]
    pub redistribute: bool,
    /// Whether spill is exported.
    #[serde(default)]
    pub export: bool,
}

/// `[readings]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingsSection {
    /// Oldest that is believed; two ticks where nothing is said.
    pub young: Option<Quantity<Millis>>,
    /// Ticks for which the last one is held then.
    #[serde(default = "defaults::hold_ticks")]
    pub hold_ticks: u32,
}

impl Default for ReadingsSection {
    fn default() -> Self {
        Self { young: None, hold_ticks: defaults::hold_ticks() }
    }
}

/// `[carbon]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarbonSection {
    /// A zone of the built-in data, such as `US-CAL-CISO`.
    pub zone: Option<String>,
    /// A CSV file of one's own: `datetime_utc,carbon_intensity_g_per_kwh`, hour-starting.
    pub file: Option<PathBuf>,
    /// Whether the trace is repeated every year.
    #[serde(default = "defaults::yes")]
    pub repeat_yearly: bool,
}

/// `[forecast]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastSection {
    /// Whether a trace that is played is told as the forecast, as it will exactly be. `false`: forecasts are learnt, as on
    /// a site that does not know its future.
    #[serde(default = "defaults::yes")]
    pub from_trace: bool,
    /// Where the panels stand, degrees north; the emulated site's place where nothing is said.
    pub latitude: Option<f64>,
    /// Degrees east; likewise.
    pub longitude: Option<f64>,
    /// Angle between panels and ground, degrees; the latitude, at most 60, where nothing is said.
    pub tilt: Option<f64>,
    /// Direction that the panels face, degrees clockwise from north; the equator where nothing is said.
    pub azimuth: Option<f64>,
}

impl Default for ForecastSection {
    fn default() -> Self {
        Self { from_trace: defaults::yes(), latitude: None, longitude: None, tilt: None, azimuth: None }
    }
}

/// Who bears a server's idle power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleChoice {
    /// Each container by its quota of cores.
    ReservedCores,
    /// Each container by its use.
    Use,
    /// The operator.
    #[default]
    House,
}

/// `[host]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSection {
    /// Power of this machine when nothing runs.
    pub idle: Quantity<Power>,
    /// Power of this machine with all cores busy.
    pub peak: Quantity<Power>,
    /// Who bears idle power.
    #[serde(default)]
    pub idle_rule: IdleChoice,
    /// Where cgroups are.
    #[serde(default = "defaults::cgroup_root")]
    pub cgroup_root: PathBuf,
    /// Where processes are.
    #[serde(default = "defaults::proc_root")]
    pub proc_root: PathBuf,
}

/// `[sim]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimSection {
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Degrees north; the carbon zone's place where nothing is said.
    pub latitude: Option<f64>,
    /// Degrees east; likewise.
    pub longitude: Option<f64>,
    /// `tmy3` (measured hours of a station), `typical` (clear sky at the place, behind the station's clouds) or
    /// `clouds` (clear sky behind seeded clouds).
    #[serde(default)]
    pub sky: SkyChoice,
    /// The station of the weather: `greensboro-nc` or `sand-point-ak`.
    #[serde(default = "defaults::station")]
    pub station: String,
    /// How full the battery is at first.
    #[serde(default = "defaults::half")]
    pub battery_level: Quantity<Ppm>,
    /// How meters fail, and when.
    #[serde(default, rename = "fault")]
    pub faults: Vec<FaultSection>,
    /// When the grid is away.
    #[serde(default, rename = "outage")]
    pub outages: Vec<OutageSection>,
    /// Emulated containers, for sites without real processes.
    #[serde(default, rename = "load")]
    pub loads: Vec<LoadSection>,
}

/// Which sky.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SkyChoice {
    /// Measured hours of the station.
    Tmy3,
    /// Clear sky at the place, behind the station's clouds.
    #[default]
    Typical,
    /// Clear sky behind seeded clouds.
    Clouds,
}

/// Which meter of the emulated site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterChoice {
    /// What the panels could give.
    SolarAvailable,
    /// What they give.
    Solar,
    /// Import.
    GridImport,
    /// Export.
    GridExport,
    /// Into the battery.
    BatteryIn,
    /// Out of the battery.
    BatteryOut,
    /// The battery's level.
    BatteryLevel,
    /// The load.
    Load,
}

/// How a meter fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultChoice {
    /// No answer.
    Silence,
    /// A step, of `energy`.
    Jump,
    /// The counter wraps.
    Wrap,
    /// The counter restarts at zero.
    Restart,
    /// `factor` of the truth.
    Lie,
}

/// `[[sim.fault]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSection {
    /// Which meter.
    pub meter: MeterChoice,
    /// How.
    pub kind: FaultChoice,
    /// From when, since the site began.
    pub from: Quantity<Millis>,
    /// Until when.
    pub to: Quantity<Millis>,
    /// How far a `jump` goes.
    pub energy: Option<Quantity<Energy>>,
    /// What a `lie` tells, in parts per million of the truth.
    pub factor_ppm: Option<u32>,
}

/// `[[sim.outage]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutageSection {
    /// From when, since the site began.
    pub from: Quantity<Millis>,
    /// Until when.
    pub to: Quantity<Millis>,
}

/// `[[sim.load]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSection {
    /// Whose.
    pub app: String,
    /// The container's name.
    pub name: String,
    /// What it draws at all times, uncapped.
    pub power: Option<Quantity<Power>>,
    /// What it draws uncapped, from a CSV file: `start_utc,power_w`.
    pub file: Option<PathBuf>,
    /// The most it can draw; `power`, or the file's highest figure, where nothing is said.
    pub ceiling: Option<Quantity<Power>>,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    /// Which engine keeps the ledger.
    #[serde(default)]
    pub engine: Engine,
    /// Ticks between snapshots.
    #[serde(default = "defaults::snapshot_ticks")]
    pub snapshot_ticks: u64,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { engine: Engine::default(), snapshot_ticks: defaults::snapshot_ticks() }
    }
}

/// Whether raw days wait for an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveChoice {
    /// They go when they are old enough.
    #[default]
    Optional,
    /// They stay until `ecoctl ledger archive` has taken them.
    Required,
}

/// `[retention]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    /// How long raw readings are kept, at least a day.
    #[serde(default = "defaults::keep_ticks")]
    pub ticks: Quantity<Millis>,
    /// How long minutes are kept, at least as long as raw readings.
    #[serde(default = "defaults::keep_minutes")]
    pub minutes: Quantity<Millis>,
    /// How long hours are kept, at least as long as minutes; for ever where nothing is said.
    pub hours: Option<Quantity<Millis>>,
    /// Whether raw days wait for an archive.
    #[serde(default)]
    pub archive: ArchiveChoice,
}

impl Default for RetentionSection {
    fn default() -> Self {
        let (ticks, minutes) = (defaults::keep_ticks(), defaults::keep_minutes());
        Self { ticks, minutes, hours: None, archive: ArchiveChoice::default() }
    }
}

/// `[operator]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSection {
    /// Users who operate the site besides root and the daemon's own, by number.
    #[serde(default)]
    pub uids: Vec<u32>,
    /// The group whose members operate the site, by number.
    pub gid: Option<u32>,
}

/// `[tls]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The CA that signs clients, PEM.
    pub ca: PathBuf,
    /// The server's certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// Where to listen; loopback only.
    pub listen: SocketAddr,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Settings that an app may make in a second of the site's clock.
    #[serde(default = "defaults::settings_per_s")]
    pub settings_per_s: NonZero<u16>,
    /// Settings that it may make at once.
    #[serde(default = "defaults::settings_at_once")]
    pub settings_at_once: NonZero<u16>,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self { settings_per_s: defaults::settings_per_s(), settings_at_once: defaults::settings_at_once() }
    }
}

impl LimitsSection {
    /// What holds in real seconds where the site's clock runs `factor` times as fast.
    #[must_use]
    pub fn of(self, factor: u32) -> Limits {
        let scaled = |figure: NonZero<u16>| u32::from(figure.get()).saturating_mul(factor.max(1));
        Limits {
            settings_per_s: scaled(self.settings_per_s),
            settings_at_once: scaled(self.settings_at_once),
        }
    }
}

/// What happens at zero supply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShortfallChoice {
    /// The smallest quota.
    #[default]
    Throttle,
    /// Stand still.
    Freeze,
    /// Tell only.
    Notify,
}

/// `[[group]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSection {
    /// Its name: 1 to 63 of a-z, 0-9 and -.
    pub name: String,
    /// The group it lies below.
    #[serde(rename = "in")]
    pub parent: Option<String>,
    /// Weight when solar is divided.
    #[serde(default)]
    pub solar_weight: u32,
    /// Its part of the battery.
    #[serde(default = "defaults::nothing")]
    pub battery_capacity: Quantity<Energy>,
    /// Most power in.
    #[serde(default = "defaults::no_power")]
    pub charge_limit: Quantity<Power>,
    /// Most power out.
    #[serde(default = "defaults::no_power")]
    pub discharge_limit: Quantity<Power>,
    /// Most from the grid.
    #[serde(default = "defaults::no_power")]
    pub grid_limit: Quantity<Power>,
}

/// `[[app]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSection {
    /// Its name: 1 to 63 of a-z, 0-9 and -.
    pub name: String,
    /// The group it lies in.
    pub group: Option<String>,
    /// Weight when solar is divided.
    #[serde(default)]
    pub solar_weight: u32,
    /// Its part of the battery.
    #[serde(default = "defaults::nothing")]
    pub battery_capacity: Quantity<Energy>,
    /// What no flow takes from that.
    #[serde(default = "defaults::nothing")]
    pub battery_floor: Quantity<Energy>,
    /// Most power in.
    #[serde(default = "defaults::no_power")]
    pub charge_limit: Quantity<Power>,
    /// Most power out.
    #[serde(default = "defaults::no_power")]
    pub discharge_limit: Quantity<Power>,
    /// Most from the grid.
    #[serde(default = "defaults::no_power")]
    pub grid_limit: Quantity<Power>,
    /// What happens at zero supply.
    #[serde(default)]
    pub shortfall: ShortfallChoice,
    /// Charge rate where the app sets none.
    pub charge_rate: Option<Quantity<Power>>,
    /// Most discharge where the app sets none.
    pub max_discharge: Option<Quantity<Power>>,
    /// The user whose processes it may attach; the daemon's own where nothing is said.
    pub owner_uid: Option<u32>,
    /// The cgroup below which it may attach, from the cgroup root.
    pub cgroup_subtree: Option<String>,
}

mod defaults {
    use super::Quantity;
    use ecovisor_audit::history::Retention;
    use ecovisor_units::{CarbonIntensity, Energy, Millis, Power, Ppm};
    use std::num::NonZero;
    use std::path::PathBuf;

    pub fn tick() -> Quantity<Millis> {
        Quantity(Millis::from_secs(1))
    }
    /// Far above what an app needs that renews its leases and follows each tick, far below what fills a disk.
    pub fn settings_per_s() -> NonZero<u16> {
        const { NonZero::new(100).expect("100 is not zero") }
    }
    pub fn settings_at_once() -> NonZero<u16> {
        const { NonZero::new(200).expect("200 is not zero") }
    }
    pub fn yes() -> bool {
        true
    }
    pub fn nothing() -> Quantity<Energy> {
        Quantity(Energy::ZERO)
    }
    pub fn no_power() -> Quantity<Power> {
        Quantity(Power::ZERO)
    }
    /// One way through a lithium battery and its inverter: about 90 % both ways together (NREL ATB 2024, utility-scale
    /// storage: 85 % round trip; home systems' data sheets: 89 to 92 %).
    pub fn efficiency() -> Quantity<Ppm> {
        Quantity(Ppm::new(950_000).unwrap_or(Ppm::WHOLE))
    }
    /// About the dirtiest hour of the dirtiest zone of the built-in data, rounded up.
    pub fn intensity_worst() -> Quantity<CarbonIntensity> {
        Quantity(CarbonIntensity::from_grams_per_kwh(1_000))
    }
    /// The slowest meters answer every second tick; one more is grace.
    pub fn hold_ticks() -> u32 {
        3
    }
    /// A week: an incident is looked into tick by tick while people remember it.
    pub fn keep_ticks() -> Quantity<Millis> {
        Quantity(Retention::default().ticks)
    }
    /// A quarter: what bills and monthly reports are disputed by.
    pub fn keep_minutes() -> Quantity<Millis> {
        Quantity(Retention::default().minutes)
    }
    pub fn snapshot_ticks() -> u64 {
        crate::store::SNAPSHOT_EVERY_TICKS
    }
    pub fn cgroup_root() -> PathBuf {
        PathBuf::from("/sys/fs/cgroup")
    }
    pub fn proc_root() -> PathBuf {
        PathBuf::from("/proc")
    }
    pub fn station() -> String {
        "greensboro-nc".to_owned()
    }
    pub fn half() -> Quantity<Ppm> {
        Quantity(Ppm::new(500_000).unwrap_or(Ppm::WHOLE))
    }
}
