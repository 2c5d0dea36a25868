//! From the file to what the core and the drivers take; every refusal names the field, the value and what would be
//! accepted.

use super::{ArchiveChoice, ClockChoice, Config, RetentionSection, ShortfallChoice, SolarRuleChoice, groups};
use ecovisor_audit::history::{Archive, Retention};
use ecovisor_audit::journal::Grants;
use ecovisor_core::battery::Conversion;
use ecovisor_core::freshness::Patience;
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::{AppName, AppPolicy, BatteryShare, Efficiency, Rules, Share, Shortfall, Site, SolarRule};
use ecovisor_units::{Energy, Millis, Power, Ppm, WattHours};
use std::path::{Path, PathBuf};

/// Why a configuration cannot hold; the message names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidConfig {
    /// The field, as a dotted path.
    pub field: String,
    /// Value and what would be accepted.
    pub why: String,
}

pub(super) fn invalid(field: impl Into<String>, why: impl Into<String>) -> InvalidConfig {
    InvalidConfig { field: field.into(), why: why.into() }
}

/// An app as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSetup {
    /// Its name.
    pub name: AppName,
    /// The group it lies in; `None`: the site at first, later where it was moved.
    pub group: Option<AppName>,
    /// Its share.
    pub share: Share,
    /// Its policy.
    pub policy: AppPolicy,
    /// What its owner may attach.
    pub grants: Grants,
}

/// The most that a clock is scaled: a day in less than a second.
const FACTOR_MAX: u32 = 100_000;

impl Config {
    /// Parses the file's text.
    ///
    /// # Errors
    /// With the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let config: Self = toml::from_str(text).map_err(|e| invalid("the file", e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// A finer level must not outlive a coarser one: a query would find less the longer ago it asks.
    fn check_retention(&self) -> Result<(), InvalidConfig> {
        let section = &self.retention;
        let (day, ticks, minutes) = (Millis::from_secs(86_400), section.ticks.0, section.minutes.0);
        let least = |field: &str, value: Millis, least: Millis, of: &str| match value < least {
            true => Err(invalid(field, format!("{value} is less than {of}: give at least {least}"))),
            false => Ok(()),
        };
        least("retention.ticks", ticks, day, "a day")?;
        least("retention.minutes", minutes, ticks, "retention.ticks")?;
        section.hours.map_or(Ok(()), |hours| least("retention.hours", hours.0, minutes, "retention.minutes"))
    }

    /// How long the past is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let archive = match self.retention.archive {
            ArchiveChoice::Optional => Archive::Optional,
            ArchiveChoice::Required => Archive::Required,
        };
        let RetentionSection { ticks, minutes, hours, archive: _ } = &self.retention;
        Retention { ticks: ticks.0, minutes: minutes.0, hours: hours.map(|hours| hours.0), archive }
    }

    /// Everything that can be known without opening anything: rules hold, shares fit, names are names.
    fn check(&self) -> Result<(), InvalidConfig> {
        if AppName::new(&self.site.name).is_none_or(|name| name.parent().is_some()) {
            return Err(invalid(
                "site.name",
                format!("`{}` is not 1 to 63 of a-z, 0-9 and -", self.site.name),
            ));
        }
        // The core refuses it too, but cannot name the field.
        let tick = self.site.tick.0;
        if tick < Millis::new(100) || tick > Millis::from_secs(300) {
            return Err(invalid("site.tick", format!("{tick} does not lie between 100 ms and 5 min")));
        }
        if self.host.peak.0 < self.host.idle.0 {
            let (peak, idle) = (self.host.peak, self.host.idle);
            return Err(invalid("host.peak", format!("{peak} lies below host.idle, {idle}")));
        }
        // There is neither encryption nor a caller's name at that door.
        if let Some(listen) =
            self.metrics.as_ref().map(|metrics| metrics.listen).filter(|at| !at.ip().is_loopback())
        {
            return Err(invalid(
                "metrics.listen",
                format!("{listen} is not a loopback address such as 127.0.0.1:9464"),
            ));
        }
        self.check_devices()?;
        self.check_retention()?;
        self.check_forecast()?;
        self.clock_start_ms()?;
        self.factor()?;
        let mut site = Site::new(self.rules()?).map_err(|e| invalid("the site", e.to_string()))?;
        self.populate(&mut site)
    }

    fn check_forecast(&self) -> Result<(), InvalidConfig> {
        let said = &self.forecast;
        if said.latitude.is_some() != said.longitude.is_some() {
            return Err(invalid("forecast", "give both latitude and longitude, or neither"));
        }
        let bounds = [
            ("forecast.latitude", said.latitude, -90.0, 90.0),
            ("forecast.longitude", said.longitude, -180.0, 180.0),
            ("forecast.tilt", said.tilt, 0.0, 90.0),
            ("forecast.azimuth", said.azimuth, 0.0, 360.0),
        ];
        for (field, said, least, most) in bounds {
            if let Some(degrees) = said.filter(|degrees| !(least..=most).contains(degrees)) {
                return Err(invalid(field, format!("{degrees} is not between {least} and {most} degrees")));
            }
        }
        Ok(())
    }

    fn check_devices(&self) -> Result<(), InvalidConfig> {
        let needs = |what: &str| invalid(what, "no device provides it: add [sim] for an emulated one");
        match (&self.sim, &self.solar, &self.battery) {
            (None, Some(_), _) => return Err(needs("solar")),
            (None, _, Some(_)) => return Err(needs("battery")),
            (Some(_), _, _) | (None, None, None) => {}
        }
        if let Some(carbon) = &self.carbon {
            match (&carbon.zone, &carbon.file) {
                (Some(_), Some(_)) | (None, None) => {
                    return Err(invalid("carbon", "give either zone or file"));
                }
                (Some(zone), None) if ecovisor_drivers::data::zone(zone).is_none() => {
                    let known: Vec<&str> =
                        ecovisor_drivers::data::ZONES.iter().map(|zone| zone.key).collect();
                    return Err(invalid("carbon.zone", format!("`{zone}` is none of {}", known.join(", "))));
                }
                (Some(_), None) | (None, Some(_)) => {}
            }
        }
        let Some(sim) = &self.sim else { return Ok(()) };
        if ecovisor_drivers::data::station(&sim.station).is_none() {
            let known: Vec<&str> =
                ecovisor_drivers::data::STATIONS.iter().map(|station| station.key).collect();
            return Err(invalid("sim.station", format!("`{}` is none of {}", sim.station, known.join(", "))));
        }
        let within = |figure: Option<f64>, most: f64| figure.is_none_or(|f| f.is_finite() && f.abs() <= most);
        if !within(sim.latitude, 90.0) {
            return Err(invalid("sim.latitude", "lies between -90 and 90"));
        }
        if !within(sim.longitude, 180.0) {
            return Err(invalid("sim.longitude", "lies between -180 and 180"));
        }
        for (i, load) in sim.loads.iter().enumerate() {
            if load.power.is_some() == load.file.is_some() {
                return Err(invalid(format!("sim.load[{i}]"), "give either power or file"));
            }
            if self.apps.iter().all(|app| app.name != load.app) {
                return Err(invalid(
                    format!("sim.load[{i}].app"),
                    format!("there is no [[app]] `{}`", load.app),
                ));
            }
            if ecovisor_core::ContainerName::new(&load.name).is_none() {
                let why =
                    format!("`{}` is not 1 to 128 printable characters without / and spaces", load.name);
                return Err(invalid(format!("sim.load[{i}].name"), why));
            }
        }
        for (i, fault) in sim.faults.iter().enumerate() {
            if fault.to <= fault.from {
                return Err(invalid(
                    format!("sim.fault[{i}].to"),
                    format!("{} is not after from, {}", fault.to, fault.from),
                ));
            }
        }
        Ok(())
    }

    /// Virtual time per real time.
    ///
    /// # Errors
    /// Where the factor is out of range, or given for the real clock.
    pub fn factor(&self) -> Result<u32, InvalidConfig> {
        match (self.clock.kind, self.clock.factor) {
            (ClockChoice::Real, None | Some(1)) => Ok(1),
            (ClockChoice::Real, Some(factor)) => Err(invalid(
                "clock.factor",
                format!("{factor} needs clock.kind = \"scaled\": real hardware runs at 1"),
            )),
            (ClockChoice::Scaled, Some(factor)) if (1..=FACTOR_MAX).contains(&factor) => Ok(factor),
            (ClockChoice::Scaled, Some(factor)) => {
                Err(invalid("clock.factor", format!("{factor} does not lie between 1 and {FACTOR_MAX}")))
            }
            (ClockChoice::Scaled, None) => {
                Err(invalid("clock.factor", "a scaled clock needs one, such as 60"))
            }
        }
    }

    /// Where a scaled or simulated clock starts, in ms since the Unix epoch; `None` means now.
    ///
    /// # Errors
    /// Where it is no RFC 3339 time, or lies before 1970.
    pub fn clock_start_ms(&self) -> Result<Option<u64>, InvalidConfig> {
        let Some(text) = &self.clock.start else { return Ok(None) };
        let refuse = || {
            invalid("clock.start", format!("`{text}` is no time such as 2022-06-21T12:00:00Z, from 1970 on"))
        };
        let stamp: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        u64::try_from(stamp.as_millisecond()).map(Some).map_err(|_| refuse())
    }

    /// The core's rules.
    ///
    /// # Errors
    /// Where they contradict themselves.
    pub fn rules(&self) -> Result<Rules, InvalidConfig> {
        let tick = self.site.tick.0;
        let battery = self.battery.as_ref().map(|b| self.site_battery(b)).transpose()?;
        let rule = self.solar.as_ref().and_then(|solar| solar.rule);
        let curtailable = self.solar.as_ref().is_none_or(|solar| solar.curtailable);
        let solar_rule = match (rule, battery, &self.solar) {
            (Some(SolarRuleChoice::Buffered), _, _) | (None, Some(_), Some(_)) => SolarRule::Buffered,
            (Some(SolarRuleChoice::Live), _, _) | (None, _, _) => SolarRule::Live { curtailable },
        };
        let capacity = battery.map_or(Energy::ZERO, |battery| battery.capacity);
        let tolerance = self.battery.as_ref().and_then(|b| b.tolerance).map(|t| t.0);
        let rules = Rules {
            tick,
            longest_span: Millis::new(tick.get().saturating_mul(3)),
            battery,
            solar_peak: self.solar.as_ref().map_or(Power::ZERO, |solar| solar.peak.0),
            solar_rule,
            grid: self.grid.as_ref().map(|grid| GridConnection {
                import_limit: grid.import_limit.0,
                export_limit: grid.export_limit.0,
            }),
            redistribute: self.spill.redistribute,
            export: self.spill.export,
            house_weight: self.solar.as_ref().map_or(0, |solar| solar.house_weight),
            tolerance: tolerance.unwrap_or(Energy::new(capacity.get() / 100)),
            patience: Patience {
                young: self.readings.young.map_or(Millis::new(tick.get().saturating_mul(2)), |young| young.0),
                hold_ticks: self.readings.hold_ticks,
            },
            intensity_worst: self
                .grid
                .as_ref()
                .map_or(Rules::default().intensity_worst, |grid| grid.intensity_worst.0),
            // A device falls back to its safe value when the daemon has been silent for this long (promises.md R1).
            order_lease: Millis::from_secs(30).max(Millis::new(tick.get().saturating_mul(3))),
            ..Rules::default()
        };
        rules.check().map_err(|e| invalid("the site", e.to_string()))?;
        Ok(rules)
    }

    fn site_battery(&self, battery: &super::BatterySection) -> Result<SiteBattery, InvalidConfig> {
        let (capacity, floor) = (battery.capacity.0, battery.floor.0);
        if floor >= capacity {
            return Err(invalid(
                "battery.floor",
                format!(
                    "{} leaves nothing of the capacity, {}",
                    WattHours(floor.wide()),
                    WattHours(capacity.wide())
                ),
            ));
        }
        let efficiency = |field: &str, ppm: Ppm| {
            Efficiency::new(ppm.get())
                .ok_or_else(|| invalid(field, "an efficiency lies above 0 % and up to 100 %"))
        };
        Ok(SiteBattery {
            capacity: capacity - floor,
            charge_limit: battery.charge_limit.0,
            discharge_limit: battery.discharge_limit.0,
            conversion: Conversion {
                charge: efficiency("battery.charge_efficiency", battery.charge_efficiency.0)?,
                discharge: efficiency("battery.discharge_efficiency", battery.discharge_efficiency.0)?,
            },
        })
    }

    /// The apps that exist from the first start.
    ///
    /// # Errors
    /// Where a name is none.
    pub fn app_setups(&self) -> Result<Vec<AppSetup>, InvalidConfig> {
        self.apps.iter().enumerate().map(|(i, app)| app.setup(i)).collect()
    }

    /// Where sockets are made.
    #[must_use]
    pub fn run_dir(&self, places: &Places) -> PathBuf {
        self.site.run_dir.clone().unwrap_or_else(|| places.run_dir.clone())
    }

    /// Where state is kept.
    #[must_use]
    pub fn state_dir(&self, places: &Places) -> PathBuf {
        self.site.state_dir.clone().unwrap_or_else(|| places.state_dir.clone())
    }
}

/// Where things are when the file does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Sockets.
    pub run_dir: PathBuf,
    /// State.
    pub state_dir: PathBuf,
}

impl Places {
    /// The system's places for root, the user's own else.
    #[must_use]
    pub fn of(root: bool, xdg_runtime: Option<&Path>, xdg_state: Option<&Path>, home: Option<&Path>) -> Self {
        if root {
            return Self { run_dir: "/run/ecovisor".into(), state_dir: "/var/lib/ecovisor".into() };
        }
        let home = home.unwrap_or(Path::new("/"));
        Self {
            run_dir: xdg_runtime.map_or_else(|| home.join(".ecovisor/run"), |dir| dir.join("ecovisor")),
            state_dir: xdg_state
                .map_or_else(|| home.join(".local/state/ecovisor"), |dir| dir.join("ecovisor")),
        }
    }
}

impl super::AppSection {
    fn setup(&self, i: usize) -> Result<AppSetup, InvalidConfig> {
        let name = groups::name(format!("app[{i}].name"), &self.name)?;
        let group =
            self.group.as_ref().map(|group| groups::name(format!("app[{i}].group"), group)).transpose()?;
        let share = Share {
            solar_weight: self.solar_weight,
            battery: BatteryShare {
                capacity: self.battery_capacity.0,
                floor: self.battery_floor.0,
                charge_limit: self.charge_limit.0,
                discharge_limit: self.discharge_limit.0,
            },
            grid_limit: self.grid_limit.0,
        };
        let policy = AppPolicy {
            shortfall: match self.shortfall {
                ShortfallChoice::Throttle => Shortfall::Throttle,
                ShortfallChoice::Freeze => Shortfall::Freeze,
                ShortfallChoice::Notify => Shortfall::Notify,
            },
            charge_rate: self.charge_rate.map_or(Power::ZERO, |rate| rate.0),
            max_discharge: self.max_discharge.map(|limit| limit.0),
        };
        let grants = Grants {
            owner_uid: self.owner_uid,
            cgroup_subtree: self.cgroup_subtree.clone(),
            gpu_indices: Vec::new(),
            tpu_indices: Vec::new(),
        };
        Ok(AppSetup { name, group, share, policy, grants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[site]\nname = \"a\"\n[host]\nidle = \"1 W\"\npeak = \"2 W\"\n";

    fn refusal(addition: &str) -> String {
        Config::parse(&format!("{SMALL}{addition}")).unwrap_err().to_string()
    }

    #[test]
    fn the_smallest_site_is_a_host_on_its_own() {
        let config = Config::parse(SMALL).unwrap();
        let rules = config.rules().unwrap();
        assert_eq!(rules.tick, Millis::from_secs(1));
        assert!(rules.battery.is_none() && rules.grid.is_none());
        assert_eq!(config.factor(), Ok(1));
    }

    #[test]
    fn nothing_unknown_is_accepted() {
        assert!(refusal("[grid]\nimport_limit = \"1 kW\"\nimprot = 1\n").contains("unknown field `improt`"));
    }

    #[test]
    fn a_refusal_names_the_field_the_value_and_what_would_be_accepted() {
        for (addition, expected) in [
            ("[grid]\nimport_limit = \"1 lW\"\n", "`1 lW` is not a power"),
            ("[metrics]\nlisten = \"0.0.0.0:9\"\n", "metrics.listen: 0.0.0.0:9 is not a loopback address"),
            ("[clock]\nfactor = 60\n", "clock.factor: 60 needs clock.kind"),
            ("[clock]\nkind = \"scaled\"\nfactor = 0\n", "clock.factor: 0 does not lie between 1"),
            ("[clock]\nkind = \"scaled\"\nfactor = 2\nstart = \"noon\"\n", "clock.start: `noon` is no time"),
            ("[solar]\npeak = \"1 kW\"\n", "solar: no device provides it"),
            ("[carbon]\nzone = \"XX\"\n", "carbon.zone: `XX` is none of AU-SA"),
            ("[carbon]\n", "carbon: give either zone or file"),
            ("[[app]]\nname = \"Web\"\n", "app[0].name: `Web`"),
            ("[[app]]\nname = \"a\"\n[[app]]\nname = \"a\"\n", "app[1] (a): the name is taken"),
            (
                "[[app]]\nname = \"a\"\ngrid_limit = \"1 W\"\n",
                "a grid limit of 1 W exceeds the 0 mW that are free",
            ),
            ("[sim]\nlatitude = 91.0\n", "sim.latitude: lies between"),
            ("[sim]\nstation = \"moon\"\n", "sim.station: `moon` is none of greensboro-nc"),
            (
                "[sim]\n[battery]\ncapacity = \"1 Wh\"\nfloor = \"1 Wh\"\ncharge_limit = \"1 W\"\ndischarge_limit = \"1 W\"\n",
                "battery.floor: 1 Wh leaves nothing",
            ),
        ] {
            let refusal = refusal(addition);
            assert!(refusal.contains(expected), "{addition}\n{refusal}");
        }
    }

    #[test]
    fn the_past_is_kept_longer_the_coarser_it_is() {
        let with = |section: &str| format!("{SMALL}[retention]\n{section}\n");
        let check = |section: &str, message: &str| {
            assert_eq!(Config::parse(&with(section)).unwrap_err().to_string(), message, "{section}");
        };
        check("ticks = \"1h\"", "retention.ticks: 1 h is less than a day: give at least 1 d");
        check("minutes = \"2 d\"", "retention.minutes: 2 d is less than retention.ticks: give at least 7 d");
        check("hours = \"89 d\"", "retention.hours: 89 d is less than retention.minutes: give at least 90 d");
        let days = |days: u64| Millis::from_secs(days * 86_400);
        assert_eq!(Config::parse(SMALL).unwrap().retention(), Retention::default());
        let kept = Config::parse(&with("ticks = \"1d\"\nhours = \"90 d\"\narchive = \"required\"")).unwrap();
        let due = Retention {
            ticks: days(1),
            minutes: days(90),
            hours: Some(days(90)),
            archive: Archive::Required,
        };
        assert_eq!(kept.retention(), due);
    }

    #[test]
    fn a_site_with_solar_and_battery_is_buffered_unless_it_says_live() {
        let devices = "[sim]\n[solar]\npeak = \"100 W\"\nRULE[battery]\ncapacity = \"1 kWh\"\nfloor = \"300 Wh\"\ncharge_limit = \"200 W\"\ndischarge_limit = \"1 kW\"\n";
        let rules = |rule: &str| {
            Config::parse(&format!("{SMALL}{}", devices.replace("RULE", rule))).unwrap().rules().unwrap()
        };
        assert_eq!(rules("").solar_rule, SolarRule::Buffered);
        assert_eq!(rules("rule = \"live\"\n").solar_rule, SolarRule::Live { curtailable: true });
        assert_eq!(rules("").battery.unwrap().capacity, Energy::from_watt_hours(700));
        assert_eq!(rules("").tolerance, Energy::from_watt_hours(7));
    }

    #[test]
    fn root_has_the_systems_places_and_others_their_own() {
        assert_eq!(Places::of(true, None, None, None).run_dir, Path::new("/run/ecovisor"));
        let own = Places::of(false, Some(Path::new("/r")), None, Some(Path::new("/h")));
        assert_eq!(own.run_dir, Path::new("/r/ecovisor"));
        assert_eq!(own.state_dir, Path::new("/h/.local/state/ecovisor"));
    }
}
