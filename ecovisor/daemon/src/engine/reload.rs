//! The configuration comes into force: at the first start all of it, later what has changed in the file, without a
//! missed tick. Apps that the file does not name are left alone.

use super::handle::{AskError, LoadedConfig, Mode, Reloaded, Reply};
use super::{Ended, Runner};
use crate::clock;
use crate::config::{AppSetup, Config, GroupSetup, place};
use ecovisor_audit::journal::{Entry, Note, Target};
use ecovisor_core::{AppName, AppPolicy, Command, ContainerName, NodeId, Share, Site};
use serde_json::json;
use std::sync::Arc;

/// One change, in words, with what makes it.
struct Change {
    words: String,
    step: Option<Step>,
    grants: Option<ecovisor_audit::journal::Grants>,
    app: String,
}

impl Change {
    fn of(words: String, step: Step) -> Self {
        Self { words, step: Some(step), grants: None, app: String::new() }
    }
}

/// What makes a change. Groups are looked up when it is their turn: an earlier change may make them.
enum Step {
    Command(Command),
    Group(GroupSetup),
    App(AppSetup),
    Move { node: NodeId, to: AppName },
}

impl Step {
    fn command(&self, site: &Site) -> Result<Command, String> {
        match self {
            Self::Command(command) => Ok(command.clone()),
            Self::Group(group) => group.create(site),
            Self::App(app) => app.create(site),
            Self::Move { node, to } => Ok(Command::Relocate { node: *node, parent: Some(place(site, to)?) }),
        }
    }
}

impl Runner {
    /// At a start: where the file differs from what was last applied, it comes into force; emulated loads are attached.
    pub(super) fn apply_at_start(&mut self) -> Result<(), Ended> {
        let before = self.applied.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        if before.as_deref() != Some(self.loaded.toml.as_str()) {
            let config = self.config.clone();
            self.bring_into_force(&config)?;
        }
        self.attach_emulated()
    }

    /// Reads the file again. What takes a restart is named and left.
    pub(super) fn reload(&mut self, dry_run: bool) -> Result<Result<Reply, AskError>, Ended> {
        if let Mode::Safe { reason } = &self.mode {
            return Ok(Err(AskError::SafeMode(reason.clone())));
        }
        let path = self.loaded.path.clone();
        let text = match crate::config::file::read_again(path.as_ref()) {
            Ok(text) => text,
            Err(error) => return Ok(Err(AskError::Config(error.to_string()))),
        };
        let config = match Config::parse(&text) {
            Ok(config) => config,
            Err(error) => return Ok(Err(AskError::Config(format!("{path}: {error}")))),
        };
        let needs_restart = needs_restart(&self.config, &config);
        if dry_run {
            let changed = self.changes(&config).into_iter().map(|change| change.words).collect();
            return Ok(Ok(Reply::Reloaded(Reloaded { holds_from: None, changed, needs_restart })));
        }
        if let Err(refused) = self.all_fit(&config) {
            return Ok(Err(refused));
        }
        let holds_from = Some(self.state.site.tick().next());
        self.loaded = Arc::new(LoadedConfig { toml: text, path, loaded_ms: clock::wall_ms() });
        let changed = self.bring_into_force(&config)?;
        self.config = Config { host: self.config.host.clone(), sim: self.config.sim.clone(), ..config };
        self.publish();
        let holds_from = if changed.is_empty() { None } else { holds_from };
        Ok(Ok(Reply::Reloaded(Reloaded { holds_from, changed, needs_restart })))
    }

    /// Whether every change would be accepted, one after the other: a reload is done whole or not at all.
    fn all_fit(&self, config: &Config) -> Result<(), AskError> {
        let mut site = self.state.site.clone();
        for change in self.changes(config) {
            if let Some(step) = &change.step {
                let made =
                    step.command(&site).and_then(|made| site.command(&made).map_err(|e| e.to_string()));
                made.map_err(|refusal| AskError::Config(format!("{}: {refusal}", change.words)))?;
            }
        }
        Ok(())
    }

    fn bring_into_force(&mut self, config: &Config) -> Result<Vec<String>, Ended> {
        let mut done = Vec::new();
        for change in self.changes(config) {
            if let Some(step) = &change.step
                && let Err(refusal) = self.take(step)?
            {
                tracing::error!(%refusal, "the configuration: {}", change.words);
                continue;
            }
            let app = self.state.site.find(&change.app).map(|app| app.id);
            if let (Some(grants), Some(app)) = (change.grants, app) {
                let note = Entry::Note(Note::Grants { app, grants });
                self.move_by(note.clone())?;
                self.unjournaled.push(note);
            }
            self.audit("Configure", json!({}), change.words.clone());
            done.push(change.words);
        }
        if let Some(path) = &self.applied
            && let Err(error) = std::fs::write(path, &self.loaded.toml)
        {
            tracing::warn!(%error, "cannot remember the applied configuration; the next start applies it again");
        }
        Ok(done)
    }

    fn take(&mut self, step: &Step) -> Result<Result<(), String>, Ended> {
        match step.command(&self.state.site) {
            Ok(command) => {
                let done = self.commit_command(command, Vec::new())?;
                Ok(done.map(drop).map_err(|refusal| refusal.to_string()))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    /// What differs between the file and what holds, in the order in which it fits: shares that shrink come first.
    fn changes(&self, config: &Config) -> Vec<Change> {
        let mut changes = Vec::new();
        let none = |words: String, command| Change::of(words, Step::Command(command));
        if let Ok(rules) = config.rules()
            && rules != *self.state.site.rules_staged()
        {
            changes.push(none("the site's rules".to_owned(), Command::Reconfigure(rules)));
        }
        let setups = config.app_setups().unwrap_or_default();
        let mut shrinking = Vec::new();
        let shrinking_groups = self.group_changes(config, &mut changes);
        for setup in setups {
            let name = setup.name.to_string();
            let Some(app) = self.state.site.find(&name) else {
                changes.push(Change {
                    words: format!("app {name} created"),
                    grants: Some(setup.grants.clone()),
                    step: Some(Step::App(setup)),
                    app: name,
                });
                continue;
            };
            if let Some(leaf) = self.state.site.tree(true).leaf(app.id) {
                changes.extend(self.moved(format!("app {name}"), leaf.id, leaf.parent, setup.group.as_ref()));
            }
            // What the app has given to children is part of the share that the file tells.
            let granted = self.state.site.tree(true).leaf(app.id).map_or(app.share, |leaf| leaf.share);
            if granted != setup.share {
                let shrinks = setup.share.battery.capacity <= granted.battery.capacity
                    && setup.share.grid_limit <= granted.grid_limit;
                let change = none(
                    format!("app {name}: share"),
                    Command::ChangeShare { app: app.id, share: setup.share },
                );
                if shrinks { shrinking.push(change) } else { changes.push(change) }
            }
            let policy = beside_children(&setup, &granted, &app.share);
            if app.policy != policy {
                let command = Command::ChangePolicy { app: app.id, policy };
                changes.push(none(format!("app {name}: policy"), command));
            }
            if self.state.grants.get(&app.id) != Some(&setup.grants) {
                let words = format!("app {name}: what its owner may attach");
                changes.push(Change { words, step: None, grants: Some(setup.grants), app: name });
            }
        }
        shrinking.extend(shrinking_groups);
        shrinking.extend(changes);
        shrinking
    }

    /// What the file changes in groups; returned apart, the inner first, those that shrink.
    fn group_changes(&self, config: &Config, changes: &mut Vec<Change>) -> Vec<Change> {
        let mut shrinking = Vec::new();
        for setup in config.group_setups().unwrap_or_default() {
            let GroupSetup { name, parent, share } = &setup;
            let Some(group) = self.state.site.tree(true).group_named(name.as_str()) else {
                changes.push(Change::of(format!("group {name} created"), Step::Group(setup)));
                continue;
            };
            changes.extend(self.moved(format!("group {name}"), group.id, group.parent, parent.as_ref()));
            if group.share != *share {
                let command = Command::ChangeGroupShare { group: group.id, share: *share };
                let change = Change::of(format!("group {name}: share"), Step::Command(command));
                let shrinks = share.battery.capacity <= group.share.battery.capacity
                    && share.grid_limit <= group.share.grid_limit;
                if shrinks { shrinking.insert(0, change) } else { changes.push(change) }
            }
        }
        shrinking
    }

    /// What takes a place to the group that the file names; where it names none, it stays.
    fn moved(&self, what: String, node: NodeId, was: Option<NodeId>, to: Option<&AppName>) -> Option<Change> {
        let to = to?;
        let there = self.state.site.tree(true).group_named(to.as_str()).map(|group| group.id);
        let stays = there.is_some() && there == was;
        (!stays)
            .then(|| Change::of(format!("{what} moved to group {to}"), Step::Move { node, to: to.clone() }))
    }

    /// Attaches the emulated loads that are not containers yet.
    fn attach_emulated(&mut self) -> Result<(), Ended> {
        let loads = self.config.sim.as_ref().map(|sim| sim.loads.clone()).unwrap_or_default();
        for load in loads {
            let (Some(app), Some(name)) = (self.state.site.find(&load.app), ContainerName::new(&load.name))
            else {
                continue;
            };
            let app = app.id;
            if self.state.site.containers(true).iter().any(|c| c.app == app && c.name == name) {
                continue;
            }
            let target = Target::Emulated(format!("{}/{}", load.app, load.name));
            if let Err(error) = self.attach(app, name, target)? {
                tracing::error!(%error, "the emulated load {}/{}", load.app, load.name);
            }
        }
        Ok(())
    }
}

/// An app's policy in the file, of which nothing is done that its children have no room for: what an app gives to them
/// is its own decision, and must not keep the file from coming into force.
fn beside_children(file: &AppSetup, granted: &Share, own: &Share) -> AppPolicy {
    let given = granted.battery.charge_limit.less(own.battery.charge_limit);
    let left = file.share.battery.charge_limit.less(given);
    // Beyond the share that the file itself tells, it is the file that is wrong, and is refused.
    let fits = file.policy.charge_rate <= file.share.battery.charge_limit;
    let charge_rate = if fits { file.policy.charge_rate.min(left) } else { file.policy.charge_rate };
    AppPolicy { charge_rate, ..file.policy }
}

/// What the file changes that only a restart brings into force.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let differs = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") != format!("{b:?}");
    let sections = [
        ("site.name", old.site.name != new.site.name),
        ("clock", differs(&old.clock, &new.clock)),
        ("carbon", differs(&old.carbon, &new.carbon)),
        ("forecast", differs(&old.forecast, &new.forecast)),
        ("host", differs(&old.host, &new.host)),
        ("sim", differs(&old.sim, &new.sim)),
        ("tls", differs(&old.tls, &new.tls)),
        ("metrics", differs(&old.metrics, &new.metrics)),
        ("limits", differs(&old.limits, &new.limits)),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}
