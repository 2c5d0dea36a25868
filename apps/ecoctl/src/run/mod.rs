//! `ecoctl run`: starts any program as a container of an app, as `systemd-run` starts one as a unit.
//!
//! ```text
//! spawn, stopped -> own cgroup (where allowed) -> attach -> cap -> continue -> wait -> detach -> remove the cgroup
//!                        \-> else attach by pid: metered, not capped
//! ```
//! The program executes nothing of its own before it is attached and capped, so that not one joule is missed. Where a
//! process that it started outlives it, the container stays.

mod cgroup;
mod child;

pub use child::InternalExec;

use crate::commands::container::{attach, cap_setter, detach, uncapped};
use crate::commands::setter::apply;
use crate::connect::Context;
use crate::failure::Failure;
use cgroup::Cgroup;
use child::Child;
use clap::Args;
use ecovisor_sdk::operator::wire;
use ecovisor_units::Power;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::container_target::Target;

/// Runs a program as a container of an app; exits with its code.
#[derive(Debug, Args)]
pub struct Run {
    /// The app.
    #[arg(long)]
    app: String,
    /// The container's name, unique in the app [default: the program's name and its pid].
    #[arg(long)]
    name: Option<String>,
    /// Most power that it may draw, from its first instruction on.
    #[arg(long, value_name = "POWER")]
    cap: Option<Power>,
    /// Where cgroups are mounted.
    #[arg(long, hide = true, value_name = "DIR", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The container that the program became.
struct Attached<'a> {
    context: &'a Context,
    app: String,
    name: String,
    cgroup: Option<Cgroup>,
}

impl Run {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed before the program ran; its own failure is its exit code.
    pub async fn run(self, context: &Context) -> Result<ExitCode, Failure> {
        let app =
            context.ask(context.operator.show_app(wire::ShowAppRequest { app: self.app.clone() })).await?;
        if app.socket.is_empty() {
            say(&format!("app {} has no socket: the program will not find its energy system", app.name));
        }
        let child = Child::spawn(&self.command, &app.socket)?;
        let child = child.stopped().await?;
        let name = self.name.clone().unwrap_or_else(|| default_name(&self.command, child.pid()));
        // A child that is dropped before it is let go is killed: it has not run.
        let attached = self.attach(context, &app, name, &child).await?;
        let code = match self.cap(&attached).await {
            Ok(()) => child.run().await,
            Err(failure) => Err(failure),
        };
        attached.end().await;
        code
    }

    /// By cgroup where one can be made, else by pid.
    async fn attach<'a>(
        &self,
        context: &'a Context,
        app: &wire::App,
        name: String,
        child: &child::Stopped,
    ) -> Result<Attached<'a>, Failure> {
        let cgroup = match Cgroup::create(&self.cgroup_root, &parent(&self.cgroup_root, app), &name) {
            Ok(cgroup) => cgroup.join(child.pid()).map(|()| cgroup),
            Err(why) => Err(why),
        };
        let (target, cgroup) = match cgroup {
            Ok(cgroup) => (Target::CgroupPath(cgroup.name()), Some(cgroup)),
            Err(why) => {
                say(&format!("metered, not capped: no right to make a cgroup ({why})"));
                (Target::Pid(child.pid()), None)
            }
        };
        let attached = Attached { context, app: app.name.clone(), name, cgroup };
        match attach(context, &attached.app, &attached.name, target).await {
            Ok(reply) => {
                let why = reply.container.as_ref().filter(|_| attached.cgroup.is_some()).and_then(uncapped);
                why.iter().for_each(|why| say(why));
                Ok(attached)
            }
            Err(failure) => {
                // The child is still in it; it is killed when it is dropped, and its cgroup is empty then.
                attached.abandon();
                Err(failure)
            }
        }
    }

    async fn cap(&self, attached: &Attached<'_>) -> Result<(), Failure> {
        let Some(cap) = self.cap else { return Ok(()) };
        let set = cap_setter(attached.name.clone(), Some(cap), None);
        apply(attached.context, &attached.app, set).await.map(drop)
    }
}

impl Attached<'_> {
    /// Detaches and removes the cgroup, unless something still runs in it.
    async fn end(self) {
        let left = self.cgroup.as_ref().map_or(0, Cgroup::processes);
        if left > 0 {
            say(&format!(
                "{left} processes still run in container {}: it stays, until `ecoctl container detach {} --app {}`",
                self.name, self.name, self.app
            ));
            return;
        }
        if let Err(failure) = detach(self.context, &self.app, &self.name).await {
            say(&format!("container {} could not be detached: {}", self.name, failure.message));
        }
        if let Some(cgroup) = self.cgroup
            && let Err(why) = cgroup.remove().await
        {
            say(&format!("cgroup could not be removed: {why}"));
        }
    }

    /// Gives the cgroup up to a task that removes it as soon as the killed child has left it.
    fn abandon(self) {
        if let Some(cgroup) = self.cgroup {
            cgroup.evict();
        }
    }
}

/// Where the app's cgroups are made: below what was delegated to it, else below `ecovisor/<app>`.
fn parent(root: &Path, app: &wire::App) -> PathBuf {
    let delegated = app.spec.as_ref().and_then(|spec| spec.cgroup_subtree.as_deref()).map(Path::new);
    let below = delegated.map(|path| path.strip_prefix(root).unwrap_or(path));
    let below = below.map(|path| path.strip_prefix("/").unwrap_or(path).to_path_buf());
    below.unwrap_or_else(|| Path::new("ecovisor").join(&app.name))
}

/// `stress-4711`: what may stand in a container's name of the program's name, and the pid.
fn default_name(command: &[OsString], pid: u32) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c.to_ascii_lowercase() } else { '-' };
    // A name has at most 63 characters, a pid at most 10 digits.
    let stem: String = program.to_string_lossy().chars().map(plain).take(50).collect();
    format!("{stem}-{pid}")
}

/// What the user should know while the program has stdout.
fn say(text: &str) {
    eprintln!("ecoctl: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_after_its_program() {
        let name = |program: &str| default_name(&[program.into()], 7);
        assert_eq!(name("/usr/bin/stress-ng"), "stress-ng-7");
        assert_eq!(name("My App+"), "my-app--7");
        assert!(name(&"x".repeat(99)).len() <= 63);
    }

    #[test]
    fn cgroups_are_made_where_the_app_owns_them() {
        let root = Path::new("/sys/fs/cgroup");
        let mut app = wire::App { name: "web".into(), ..wire::App::default() };
        assert_eq!(parent(root, &app), Path::new("ecovisor/web"));
        let delegated =
            |path: &str| wire::AppSpec { cgroup_subtree: Some(path.into()), ..wire::AppSpec::default() };
        app.spec = Some(delegated("/sys/fs/cgroup/web.slice/a"));
        assert_eq!(parent(root, &app), Path::new("web.slice/a"));
        app.spec = Some(delegated("/web.slice"));
        assert_eq!(parent(root, &app), Path::new("web.slice"));
    }
}
