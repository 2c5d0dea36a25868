//! States of the wire in words: for people in tables, and the same words in JSON.

use ecovisor_sdk::operator::wire;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $prefix:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(value: i32) -> String {
                let name = wire::$kind::try_from(value).map_or("UNKNOWN", |known| known.as_str_name());
                name.strip_prefix($prefix).unwrap_or(name).to_lowercase()
            }
        )*
    };
}

words! {
    /// Where an app stands in its life: `active`, `draining`, `drained`.
    life: AppState, "APP_STATE_";
    /// What a figure rests on: `live`, `held`, `assumed`.
    quality: Quality, "QUALITY_";
    /// `real`, `scaled`, `simulated`.
    clock: ClockKind, "CLOCK_KIND_";
    /// `coming_tick`, `last_tick`.
    solar_basis: SolarBasis, "SOLAR_BASIS_";
    /// `notify`, `block_grid`.
    budget_action: BudgetAction, "BUDGET_ACTION_";
    /// `enforced`, `metered_only`.
    capping: CappingKind, "CAPPING_KIND_";
    /// `throttle`, `freeze`, `notify`; `unspecified` is the site's default.
    shortfall: Shortfall, "SHORTFALL_";
    /// `buffered`, `live`.
    solar_mode: SolarMode, "SOLAR_MODE_";
    /// `normal`, `safe`.
    site_mode: SiteMode, "SITE_MODE_";
    /// `grid_meter`, `storage` and so on.
    device_role: DeviceRole, "DEVICE_ROLE_";
    /// `late`, `gather`, `work`.
    tick_stage: TickStage, "TICK_STAGE_";
    /// `live`, `held`, `implausible`, `lost`.
    device_state: DeviceState, "DEVICE_STATE_";
    /// `battery_charge_rate` and so on.
    setting: SettingKind, "SETTING_KIND_";
    /// What a figure of the past was summed from: `tick`, `minute`, `hour`, `day`.
    usage_level: UsageLevel, "USAGE_LEVEL_";
}

/// What stands behind a container: `cgroup:/web/one`, `pid:42`, `gpu:0`, `tpu:0`, `lxc:web`.
pub fn target(target: Option<&wire::ContainerTarget>) -> String {
    use wire::container_target::Target;
    match target.and_then(|target| target.target.as_ref()) {
        Some(Target::CgroupPath(path)) => format!("cgroup:{path}"),
        Some(Target::Pid(pid)) => format!("pid:{pid}"),
        Some(Target::GpuIndex(index)) => format!("gpu:{index}"),
        Some(Target::TpuIndex(index)) => format!("tpu:{index}"),
        Some(Target::LxcName(name)) => format!("lxc:{name}"),
        None => super::NONE.into(),
    }
}

/// The same, short: cgroups from their root on.
pub fn target_short(container: Option<&wire::ContainerTarget>) -> String {
    target(container).replacen("cgroup:/sys/fs/cgroup/", "cgroup:", 1)
}

/// Quality and age of a reading: `live 200 ms`; nothing where the site has no such device.
pub fn freshness(freshness: Option<&wire::Freshness>) -> String {
    let Some(wire::Freshness { age_ms, quality: basis }) = freshness else { return String::new() };
    let age = super::or(*age_ms, super::span, "never read");
    format!("{} {age}", quality(*basis))
}

/// All that figures rest on, in one line: `solar live 200 ms, battery held 3 s`.
pub fn freshness_set(set: Option<&wire::FreshnessSet>) -> String {
    let Some(set) = set else { return String::new() };
    let wire::FreshnessSet { solar, grid, battery, grid_carbon, load } = set;
    let named =
        [("solar", solar), ("grid", grid), ("battery", battery), ("carbon", grid_carbon), ("load", load)];
    let present = named.iter().filter(|(_, reading)| reading.is_some());
    let words: Vec<String> =
        present.map(|(name, reading)| format!("{name} {}", freshness(reading.as_ref()))).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_words_and_unknown_ones_say_so() {
        assert_eq!(life(2), "draining");
        assert_eq!(capping(2), "metered_only");
        assert_eq!(life(99), "unknown");
        assert_eq!(shortfall(0), "unspecified");
    }

    #[test]
    fn what_was_never_read_says_so() {
        let reading = wire::Freshness { age_ms: None, quality: 3 };
        assert_eq!(freshness(Some(&reading)), "assumed never read");
    }
}
