//! From messages to what the core takes: each message is taken apart whole, and what does not fit is named with its
//! field, its value, and what would be accepted.

use super::errors::Problem;
use crate::identity::Paths;
use ecovisor_audit::Grants;
use ecovisor_core::{
    AppName, AppPolicy, BatteryShare, Budget, BudgetAction, ContainerName, Share, Shortfall,
};
use ecovisor_proto::v1;
use ecovisor_units::{CarbonMass, Energy, Millis, Power};
use std::path::{Component, Path, PathBuf};

/// What a name of an app is, for messages.
const APP_NAME: &str =
    "an app's name is 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -";

/// What a name of a container is, for messages (energy.proto, AttachContainerRequest). The core takes more.
const CONTAINER_NAME: &str = "a container's name is 1 to 63 of a-z, 0-9, -, _ and .";

/// An app's name.
///
/// # Errors
/// Where it is none.
pub fn app_name(field: &'static str, name: &str) -> Result<AppName, Problem> {
    let name_of_nobodys = AppName::new(name).filter(|name| name.parent().is_none());
    name_of_nobodys.ok_or_else(|| Problem::invalid(field, format!("{name:?}"), APP_NAME))
}

/// The name of a container that is to be made.
///
/// # Errors
/// Where it is none.
pub fn container_name(name: &str) -> Result<ContainerName, Problem> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let named = ((1..=63).contains(&name.len()) && name.chars().all(fits)).then(|| ContainerName::new(name));
    named.flatten().ok_or_else(|| Problem::invalid("name", format!("{name:?}"), CONTAINER_NAME))
}

/// A share.
///
/// # Errors
/// Where the weight does not fit; all else is the core's to refuse.
pub fn share(share: Option<v1::AppShare>) -> Result<Share, Problem> {
    let v1::AppShare {
        solar_weight,
        battery_capacity_uj,
        battery_floor_uj,
        battery_charge_limit_mw,
        battery_discharge_limit_mw,
        grid_limit_mw,
    } = share.ok_or_else(|| Problem::missing("share", "say what the app is entitled to"))?;
    let solar_weight = u32::try_from(solar_weight)
        .map_err(|_| Problem::invalid("solar_weight", solar_weight, "a weight is at most 4294967295"))?;
    Ok(Share {
        solar_weight,
        battery: BatteryShare {
            capacity: Energy::new(battery_capacity_uj),
            floor: Energy::new(battery_floor_uj),
            charge_limit: Power::new(battery_charge_limit_mw),
            discharge_limit: Power::new(battery_discharge_limit_mw),
        },
        grid_limit: Power::new(grid_limit_mw),
    })
}

/// What an operator says of an app: its share, its policy, what its owner may attach.
///
/// # Errors
/// Where something is missing, does not fit, or cannot be done yet.
pub fn app_spec(
    spec: Option<v1::AppSpec>,
    own_uid: u32,
    paths: &Paths,
) -> Result<(Share, AppPolicy, Grants), Problem> {
    let v1::AppSpec {
        share: whole,
        defaults,
        shortfall,
        owner_uid,
        cgroup_subtree,
        gpu_indices,
        tpu_indices,
    } = spec.ok_or_else(|| Problem::missing("spec", "say what the app is entitled to"))?;
    let share = share(whole)?;
    let shortfall = self::shortfall(shortfall)?.unwrap_or_default();
    let policy = policy(defaults.unwrap_or_default(), shortfall)?;
    let cgroup_subtree = cgroup_subtree.map(|path| cgroup_below(&path, &paths.cgroup_root)).transpose()?;
    let owner_uid = Some(owner_uid.unwrap_or(own_uid));
    Ok((share, policy, Grants { owner_uid, cgroup_subtree, gpu_indices, tpu_indices }))
}

fn policy(defaults: v1::DefaultSettings, shortfall: Shortfall) -> Result<AppPolicy, Problem> {
    let v1::DefaultSettings {
        battery_charge_rate_mw,
        battery_max_discharge_mw,
        carbon_rate_mg_per_h,
        carbon_budget_mg,
        carbon_window_ms,
        carbon_budget_action,
    } = defaults;
    let budget = carbon_budget_mg.is_some() || carbon_window_ms != 0 || carbon_budget_action != 0;
    let unsupported =
        [("carbon_rate_mg_per_h", carbon_rate_mg_per_h.is_some()), ("carbon_budget_mg", budget)];
    if let Some((field, _)) = unsupported.into_iter().find(|(_, set)| *set) {
        let message =
            format!("{field} cannot be a default yet: set it with ApplySetter once the app is there");
        return Err(Problem::not_supported(message).about(field));
    }
    Ok(AppPolicy {
        shortfall,
        charge_rate: Power::new(battery_charge_rate_mw.unwrap_or(0)),
        max_discharge: battery_max_discharge_mw.map(Power::new),
    })
}

/// What happens at zero supply; `None` where it was not said.
///
/// # Errors
/// Where the number has no name in this version.
pub fn shortfall(number: i32) -> Result<Option<Shortfall>, Problem> {
    let known = v1::Shortfall::try_from(number).map_err(|_| {
        Problem::invalid("shortfall", number, "this version knows THROTTLE, FREEZE and NOTIFY")
    })?;
    Ok(match known {
        v1::Shortfall::Unspecified => None,
        v1::Shortfall::Throttle => Some(Shortfall::Throttle),
        v1::Shortfall::Freeze => Some(Shortfall::Freeze),
        v1::Shortfall::Notify => Some(Shortfall::Notify),
    })
}

/// A cgroup that need not exist yet, as a path below the root: `/sys/fs/cgroup/web` is `web`.
fn cgroup_below(path: &str, root: &Path) -> Result<String, Problem> {
    let below = Path::new(path).strip_prefix(root).ok().filter(|below| {
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        plain && below.components().next().is_some()
    });
    let below = below.map(|below| below.components().collect::<PathBuf>());
    let below = below.and_then(|below| below.to_str().map(str::to_owned));
    let accepted = format!("give the absolute path of a cgroup below {}, without ..", root.display());
    below.ok_or_else(|| Problem::invalid("cgroup_subtree", format!("{path:?}"), &accepted))
}

/// A carbon budget; `None` lifts it, and the other fields are ignored then.
///
/// # Errors
/// Where the window or what is to happen is missing.
pub fn budget(budget_mg: Option<u64>, window_ms: u64, action: i32) -> Result<Option<Budget>, Problem> {
    let Some(mass) = budget_mg else { return Ok(None) };
    if window_ms == 0 {
        return Err(Problem::invalid("window_ms", 0, "give the length of the window, at least one tick"));
    }
    let accepted = "say NOTIFY or BLOCK_GRID";
    let known =
        v1::BudgetAction::try_from(action).map_err(|_| Problem::invalid("action", action, accepted))?;
    let action = match known {
        v1::BudgetAction::Unspecified => return Err(Problem::missing("action", accepted)),
        v1::BudgetAction::Notify => BudgetAction::Notify,
        v1::BudgetAction::BlockGrid => BudgetAction::BlockGrid,
    };
    Ok(Some(Budget { mass: CarbonMass::new(mass), window: Millis::new(window_ms), action }))
}

/// A level in ppm.
///
/// # Errors
/// Beyond the whole.
pub fn ppm(field: &'static str, ppm: u32) -> Result<u32, Problem> {
    const WHOLE: u32 = 1_000_000;
    if ppm > WHOLE {
        let problem = Problem::invalid(field, ppm, "a level is at most 1000000 ppm");
        return Err(problem.bounded(u64::from(WHOLE), Some(u64::from(WHOLE)), super::errors::Unit::Ppm));
    }
    Ok(ppm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::Reason;

    fn paths() -> Paths {
        Paths::new("/run/ecovisor".into())
    }

    fn spec() -> v1::AppSpec {
        v1::AppSpec { share: Some(v1::AppShare::default()), ..v1::AppSpec::default() }
    }

    #[test]
    fn a_spec_becomes_share_policy_and_grants() {
        let whole = v1::AppSpec {
            share: Some(v1::AppShare {
                solar_weight: 1,
                battery_capacity_uj: 2,
                battery_floor_uj: 3,
                battery_charge_limit_mw: 4,
                battery_discharge_limit_mw: 5,
                grid_limit_mw: 6,
            }),
            defaults: Some(v1::DefaultSettings {
                battery_charge_rate_mw: Some(7),
                battery_max_discharge_mw: Some(8),
                ..v1::DefaultSettings::default()
            }),
            shortfall: v1::Shortfall::Freeze.into(),
            owner_uid: Some(1000),
            cgroup_subtree: Some("/sys/fs/cgroup/web.slice/a/".into()),
            gpu_indices: vec![0],
            tpu_indices: vec![1],
        };
        let (share, policy, grants) = app_spec(Some(whole), 5, &paths()).unwrap();
        assert_eq!((share.solar_weight, share.grid_limit), (1, Power::new(6)));
        let battery = BatteryShare {
            capacity: Energy::new(2),
            floor: Energy::new(3),
            charge_limit: Power::new(4),
            discharge_limit: Power::new(5),
        };
        assert_eq!(share.battery, battery);
        let expected = AppPolicy {
            shortfall: Shortfall::Freeze,
            charge_rate: Power::new(7),
            max_discharge: Some(Power::new(8)),
        };
        assert_eq!(policy, expected);
        let subtree = Some(String::from("web.slice/a"));
        let expected = Grants {
            owner_uid: Some(1000),
            cgroup_subtree: subtree,
            gpu_indices: vec![0],
            tpu_indices: vec![1],
        };
        assert_eq!(grants, expected);
    }

    #[test]
    fn an_app_without_an_owner_is_the_daemons_own() {
        assert_eq!(app_spec(Some(spec()), 5, &paths()).unwrap().2.owner_uid, Some(5));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let check = |spec: Option<v1::AppSpec>, reason: Reason, field: &str| {
            let problem = app_spec(spec, 0, &paths()).unwrap_err();
            assert_eq!((problem.reason, problem.field), (reason, Some(field)), "{}", problem.message);
        };
        check(None, Reason::Invalid, "spec");
        check(Some(v1::AppSpec::default()), Reason::Invalid, "share");
        let share = v1::AppShare { solar_weight: 1 << 32, ..v1::AppShare::default() };
        check(Some(v1::AppSpec { share: Some(share), ..spec() }), Reason::Invalid, "solar_weight");
        check(Some(v1::AppSpec { shortfall: 9, ..spec() }), Reason::Invalid, "shortfall");
        let carbon = v1::DefaultSettings { carbon_rate_mg_per_h: Some(0), ..v1::DefaultSettings::default() };
        check(
            Some(v1::AppSpec { defaults: Some(carbon), ..spec() }),
            Reason::NotSupported,
            "carbon_rate_mg_per_h",
        );
        let carbon = v1::DefaultSettings { carbon_window_ms: 1, ..v1::DefaultSettings::default() };
        check(
            Some(v1::AppSpec { defaults: Some(carbon), ..spec() }),
            Reason::NotSupported,
            "carbon_budget_mg",
        );
        for path in ["", "web", "/sys/fs/cgroup", "/sys/fs/cgroup/../x", "/etc"] {
            let spec = v1::AppSpec { cgroup_subtree: Some(path.into()), ..spec() };
            check(Some(spec), Reason::Invalid, "cgroup_subtree");
        }
    }

    #[test]
    fn names_of_new_containers_are_short_and_plain() {
        for name in ["a", "web-1_x.y", &"a".repeat(63)] {
            assert!(container_name(name).is_ok(), "{name}");
        }
        for name in ["", "Web", "a b", "a/b", "a:b", &"a".repeat(64)] {
            assert_eq!(container_name(name).unwrap_err().field, Some("name"), "{name}");
        }
    }

    #[test]
    fn a_budget_needs_a_window_and_an_action() {
        let block = i32::from(v1::BudgetAction::BlockGrid);
        let expected =
            Budget { mass: CarbonMass::new(5), window: Millis::new(7), action: BudgetAction::BlockGrid };
        assert_eq!(budget(Some(5), 7, block), Ok(Some(expected)));
        assert_eq!(budget(None, 0, 0), Ok(None));
        assert_eq!(budget(Some(5), 0, block).unwrap_err().field, Some("window_ms"));
        assert_eq!(budget(Some(5), 7, 0).unwrap_err().field, Some("action"));
        assert_eq!(budget(Some(5), 7, 9).unwrap_err().field, Some("action"));
    }

    #[test]
    fn a_level_is_at_most_the_whole() {
        assert_eq!(ppm("x", 1_000_000), Ok(1_000_000));
        assert_eq!(ppm("x", 1_000_001).unwrap_err().limit, Some(1_000_000));
    }
}
