//! Groups in the file, and which apps lie in them. The file names groups; a site has places, which are looked up when a
//! group or an app is made there.

use super::build::{AppSetup, InvalidConfig, invalid};
use super::{Config, GroupSection};
use ecovisor_core::{AppName, BatteryShare, Command, NodeId, Share, Site};
use ecovisor_units::Energy;

/// A group as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSetup {
    /// Its name.
    pub name: AppName,
    /// The group it lies below; `None`: the site at first, later where it was moved.
    pub parent: Option<AppName>,
    /// Its share.
    pub share: Share,
}

impl GroupSetup {
    /// What makes it.
    ///
    /// # Errors
    /// Where the group above is not there.
    pub fn create(&self, site: &Site) -> Result<Command, String> {
        let parent = self.parent.as_ref().map(|parent| place(site, parent)).transpose()?;
        Ok(Command::CreateGroup { name: self.name.clone(), parent, share: self.share })
    }
}

impl AppSetup {
    /// What makes it.
    ///
    /// # Errors
    /// Where its group is not there.
    pub fn create(&self, site: &Site) -> Result<Command, String> {
        let (name, share, policy) = (self.name.clone(), self.share, self.policy);
        match &self.group {
            None => Ok(Command::CreateApp { name, share, policy }),
            Some(group) => Ok(Command::CreateAppIn { parent: place(site, group)?, name, share, policy }),
        }
    }
}

/// A group's place in a site.
///
/// # Errors
/// Where there is no such group.
pub fn place(site: &Site, group: &AppName) -> Result<NodeId, String> {
    let found = site.tree(true).group_named(group.as_str()).map(|group| group.id);
    found.ok_or_else(|| {
        format!("there is no group `{group}`; a group stands in the file before what lies in it")
    })
}

impl Config {
    /// The groups that exist from the first start, in order.
    ///
    /// # Errors
    /// Where a name is none.
    pub fn group_setups(&self) -> Result<Vec<GroupSetup>, InvalidConfig> {
        self.groups.iter().enumerate().map(|(i, group)| group.setup(i)).collect()
    }

    /// Makes the file's groups and apps in a site that has none.
    ///
    /// # Errors
    /// Where one of them does not fit; the message names it.
    pub fn populate(&self, site: &mut Site) -> Result<(), InvalidConfig> {
        for (i, group) in self.group_setups()?.iter().enumerate() {
            let made = group.create(site).and_then(|make| site.command(&make).map_err(|e| e.to_string()));
            made.map_err(|why| invalid(format!("group[{i}] ({})", group.name), why))?;
        }
        for (i, app) in self.app_setups()?.iter().enumerate() {
            let made = app.create(site).and_then(|make| site.command(&make).map_err(|e| e.to_string()));
            made.map_err(|why| invalid(format!("app[{i}] ({})", app.name), why))?;
        }
        Ok(())
    }
}

impl GroupSection {
    fn setup(&self, i: usize) -> Result<GroupSetup, InvalidConfig> {
        let name = name(format!("group[{i}].name"), &self.name)?;
        let parent =
            self.parent.as_ref().map(|parent| self::name(format!("group[{i}].in"), parent)).transpose()?;
        let battery = BatteryShare {
            capacity: self.battery_capacity.0,
            floor: Energy::ZERO,
            charge_limit: self.charge_limit.0,
            discharge_limit: self.discharge_limit.0,
        };
        let share = Share { solar_weight: self.solar_weight, battery, grid_limit: self.grid_limit.0 };
        Ok(GroupSetup { name, parent, share })
    }
}

/// A name without a dot: that would say whose child an app is, and children are made by their parents.
pub(super) fn name(field: String, text: &str) -> Result<AppName, InvalidConfig> {
    let name = AppName::new(text).filter(|name| name.parent().is_none());
    name.ok_or_else(|| invalid(field, format!("`{text}` is not 1 to 63 of a-z, 0-9 and -, a letter first")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[site]\nname = \"a\"\n[host]\nidle = \"1 W\"\npeak = \"2 W\"\n\
                         [grid]\nimport_limit = \"9 W\"\n";

    fn refusal(sections: &str) -> String {
        Config::parse(&format!("{SMALL}{sections}")).unwrap_err().to_string()
    }

    #[test]
    fn what_lies_in_a_group_fits_into_it() {
        let org = "[[group]]\nname = \"org\"\ngrid_limit = \"5 W\"\n";
        let app =
            |grid: u64| format!("{org}[[app]]\nname = \"web\"\ngroup = \"org\"\ngrid_limit = \"{grid} W\"\n");
        assert!(Config::parse(&format!("{SMALL}{}", app(5))).is_ok());
        let beyond = refusal(&app(6));
        assert!(beyond.starts_with("app[0] (web): ") && beyond.contains("5 W that are free"), "{beyond}");
        let beyond = refusal(&org.replace("5 W", "10 W"));
        assert!(beyond.starts_with("group[0] (org): ") && beyond.contains("9 W that are free"), "{beyond}");
    }

    #[test]
    fn groups_are_named_and_stand_before_what_lies_in_them() {
        let unknown = refusal("[[app]]\nname = \"web\"\ngroup = \"org\"\n");
        assert!(unknown.contains("there is no group `org`"), "{unknown}");
        let late = refusal("[[group]]\nname = \"team\"\nin = \"org\"\n[[group]]\nname = \"org\"\n");
        assert!(late.starts_with("group[0] (team): there is no group `org`"), "{late}");
        let dotted = refusal("[[group]]\nname = \"a.b\"\n");
        assert!(dotted.starts_with("group[0].name: `a.b` is not"), "{dotted}");
    }
}
