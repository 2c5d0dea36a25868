//! `ecoctl container`: the units that are metered and capped.

use super::setter::{Lease, apply_and_say};
use crate::cli::OrNone;
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::json;
use crate::output::Grid;
use crate::show::{self, state};
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;
use ecovisor_units::Power;
use wire::container_target::Target;
use wire::setter::Set;

/// Containers.
#[derive(Debug, Subcommand)]
pub enum Container {
    /// All containers, or one app's.
    List {
        /// Only this app's.
        #[arg(long)]
        app: Option<String>,
    },
    /// Make something at the site a container of an app.
    Attach(Attach),
    /// End a container: its cap is lifted, its figures stay in the ledger, what is behind it runs on.
    Detach(Named),
    /// Set or lift a container's power cap; acts at once.
    Cap(Cap),
}

/// A container by name.
#[derive(Debug, Args)]
pub struct Named {
    /// The container.
    name: String,
    /// Whose it is [default: the one app that has a container of that name].
    #[arg(long)]
    app: Option<String>,
}

/// Attaches a container.
#[derive(Debug, Args)]
pub struct Attach {
    /// The app.
    #[arg(long)]
    app: String,
    /// Its name, unique in the app: 1 to 63 of a-z, 0-9, `-`, `_` and `.`.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    target: TargetFlags,
}

/// What stands behind a container.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TargetFlags {
    /// A process and its children.
    #[arg(long)]
    pid: Option<u32>,
    /// A cgroup: its absolute path under the cgroup root, or its path from there.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// A GPU, by its index at the site.
    #[arg(long, value_name = "INDEX")]
    gpu: Option<u32>,
    /// A TPU, by its index at the site.
    #[arg(long, value_name = "INDEX")]
    tpu: Option<u32>,
    /// An LXC container, by its name.
    #[arg(long, value_name = "NAME")]
    lxc: Option<String>,
}

/// Caps a container.
#[derive(Debug, Args)]
pub struct Cap {
    /// The container.
    name: String,
    /// Most power, such as `40W`; `0W` throttles it to the smallest quota or freezes it, `none` lifts the cap.
    cap: OrNone<Power>,
    /// Whose it is [default: the one app that has a container of that name].
    #[arg(long)]
    app: Option<String>,
    #[command(flatten)]
    lease: Lease,
}

impl Container {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List { app } => list(context, app).await,
            Self::Attach(attach) => attach.run(context).await,
            Self::Detach(Named { name, app }) => {
                let app = owner(context, app, &name).await?;
                let tick = detach(context, &app, &name).await?;
                let json = serde_json::json!({ "app": app, "container": name, "holds_from_tick": tick });
                context.output.answer(&json, &format!("container {name} of {app} detached, from tick {tick}"))
            }
            Self::Cap(cap) => cap.run(context).await,
        }
    }
}

impl Attach {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { app, name, target } = self;
        let reply = attach(context, &app, &name, target.wire()).await?;
        let container = reply.container.unwrap_or_default();
        let json = serde_json::json!({
            "app": app,
            "container": json::flows::container(&container),
            "holds_from_tick": reply.holds_from_tick,
        });
        let note = uncapped(&container).map(|why| format!("\n{why}")).unwrap_or_default();
        let text = format!("container {name} of {app} attached, from tick {}{note}", reply.holds_from_tick);
        context.output.answer(&json, &text)
    }
}

impl TargetFlags {
    fn wire(self) -> Target {
        let Self { pid, cgroup, gpu, tpu, lxc } = self;
        let cgroup = cgroup.map(|path| Target::CgroupPath(absolute(&path)));
        let target =
            pid.map(Target::Pid).or(cgroup).or(gpu.map(Target::GpuIndex)).or(tpu.map(Target::TpuIndex));
        target.or(lxc.map(Target::LxcName)).expect("clap requires one of the group")
    }
}

/// `web/one` as the wire has it.
fn absolute(cgroup: &str) -> String {
    if cgroup.starts_with('/') { cgroup.into() } else { format!("/sys/fs/cgroup/{cgroup}") }
}

impl Cap {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { name, cap: OrNone(cap), app, lease } = self;
        let app = owner(context, app, &name).await?;
        let what = format!("cap of {name} of {app}: {}", show::or(cap, |cap| cap.to_string(), "none"));
        apply_and_say(context, &app, cap_setter(name, cap, lease.ms()), &what).await
    }
}

/// The setting of a cap.
pub fn cap_setter(container: String, cap: Option<Power>, lease_ms: Option<u64>) -> Set {
    let cap_mw = cap.map(Power::get);
    Set::ContainerPowerCap(wire::SetContainerPowerCapRequest { container, cap_mw, lease_ms })
}

/// Makes `target` a container.
///
/// # Errors
/// A refusal, or whatever else failed.
pub async fn attach(
    context: &Context,
    app: &str,
    name: &str,
    target: Target,
) -> Result<wire::AttachContainerReply, Failure> {
    let target = Some(wire::ContainerTarget { target: Some(target) });
    let attach = Some(wire::AttachContainerRequest { name: name.into(), target });
    let request = wire::AttachAppContainerRequest { app: app.into(), attach };
    context.ask(context.operator.attach_app_container(request)).await
}

/// Ends a container; the tick from which it no longer counts.
///
/// # Errors
/// A refusal, or whatever else failed.
pub async fn detach(context: &Context, app: &str, name: &str) -> Result<u64, Failure> {
    let request = wire::DetachAppContainerRequest { app: app.into(), name: name.into() };
    Ok(context.ask(context.operator.detach_app_container(request)).await?.holds_from_tick)
}

/// Why a container cannot be held to its cap.
pub fn uncapped(container: &wire::Container) -> Option<String> {
    let capping = container.capping.as_ref()?;
    (capping.kind == i32::from(wire::CappingKind::MeteredOnly))
        .then(|| format!("metered, not capped: {}", capping.reason))
}

/// An app's containers, with its name.
async fn of_app(context: &Context, app: String) -> Result<Vec<(String, wire::Container)>, Failure> {
    let request = wire::ListAppContainersRequest { app: app.clone() };
    let reply = context.ask(context.operator.list_app_containers(request)).await?;
    Ok(reply.containers.into_iter().map(|container| (app.clone(), container)).collect())
}

/// All containers of the named app, or of all.
async fn all(context: &Context, app: Option<String>) -> Result<Vec<(String, wire::Container)>, Failure> {
    if let Some(app) = app {
        return of_app(context, app).await;
    }
    let apps = context.ask(context.operator.list_apps(wire::ListAppsRequest {})).await?.apps;
    let mut containers = Vec::new();
    for app in apps.into_iter().filter(|app| app.containers > 0) {
        containers.extend(of_app(context, app.name).await?);
    }
    Ok(containers)
}

/// The app that was named, or the only one with a container of that name.
async fn owner(context: &Context, app: Option<String>, name: &str) -> Result<String, Failure> {
    if let Some(app) = app {
        return Ok(app);
    }
    let containers = all(context, None).await?;
    only(
        containers.into_iter().filter(|(_, container)| container.name == name).map(|(app, _)| app).collect(),
        name,
    )
}

fn only(mut owners: Vec<String>, name: &str) -> Result<String, Failure> {
    match (owners.pop(), owners.is_empty()) {
        (Some(owner), true) => Ok(owner),
        (Some(owner), false) => {
            owners.push(owner);
            Err(Failure::usage(format!("container `{name}` exists in apps {}", owners.join(", ")))
                .hint("say whose with --app"))
        }
        (None, _) => Err(Failure::new(Kind::NotFound, format!("no app has a container `{name}`"))
            .hint("`ecoctl container list` shows them")),
    }
}

async fn list(context: &Context, app: Option<String>) -> Result<(), Failure> {
    let containers = all(context, app).await?;
    let json: Vec<_> = containers.iter().map(|(app, container)| entry(app, container)).collect();
    context.output.answer(&serde_json::json!({ "containers": json }), &table(&containers))
}

fn entry(app: &str, container: &wire::Container) -> serde_json::Value {
    let mut entry = json::flows::container(container);
    entry["app"] = app.into();
    entry
}

fn table(containers: &[(String, wire::Container)]) -> String {
    if containers.is_empty() {
        return "no containers".into();
    }
    let mut grid = Grid::new(&["APP", "NAME", "TARGET", ">POWER", ">CAP", ">IN FORCE", "CAPPING", ">ENERGY"]);
    for (app, container) in containers {
        let mark = if container.estimated { "~" } else { "" };
        let kind = container.capping.as_ref().map_or(0, |capping| capping.kind);
        grid.row(vec![
            app.clone(),
            container.name.clone(),
            state::target_short(container.target.as_ref()),
            format!("{mark}{}", show::power(container.power_mw)),
            show::or(container.cap_mw, show::power, show::NONE),
            show::or(container.effective_cap_mw, show::power, show::NONE),
            state::capping(kind).replace('_', " "),
            show::energy(container.energy_uj),
        ]);
    }
    grid.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_its_app_must_be_the_only_one() {
        assert_eq!(only(vec!["web".into()], "one"), Ok("web".into()));
        let two = only(vec!["web".into(), "batch".into()], "one").unwrap_err();
        assert_eq!(
            (two.kind, two.message.as_str()),
            (Kind::Usage, "container `one` exists in apps web, batch")
        );
        assert_eq!(only(vec![], "one").unwrap_err().kind, Kind::NotFound);
    }
}
