//! Who may do what: known from the connection, never from a field; what is denied is in the audit trail.

use crate::configs::{NOON, noon_and, replaced};
use crate::skip;
use ecovisor_hil_tests::machine::why_no_other_users;
use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Ended, Site, command, ended};
use ecovisor_sdk::operator::{Operator, wire};
use ecovisor_sdk::{Address, Error, Lease, Power, Reason, Setting, Target};

/// A user whom no machine has.
const STRANGER: &str = "54321";

/// `ecoctl` as another user, over any socket of the site.
async fn as_stranger(site: &Site, socket: &std::path::Path, arguments: &[&str]) -> Ended {
    // The stranger may not pass to where the programs were built.
    let ecoctl = site.path("ecoctl");
    std::fs::copy(program("ecoctl").unwrap(), &ecoctl).unwrap();
    let mut stranger = command("setpriv");
    stranger.args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"]).arg(ecoctl);
    stranger.arg("--socket").arg(socket).args(arguments).current_dir("/");
    ended(&mut stranger).await.unwrap()
}

/// Whether the trail has one line with all of these.
fn assert_audited(site: &Site, parts: &[&str]) {
    let trail = site.trail().unwrap();
    let found = trail.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line of the audit trail has {parts:?}:\n{trail}");
}

#[tokio::test]
async fn an_app_is_not_the_operator() {
    let site = Site::start(NOON).await.unwrap();
    let web = Operator::connect_to(&Address::socket(site.app_socket("web"))).await.unwrap();
    let denied = web.list_apps(wire::ListAppsRequest {}).await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { reason: Reason::NotAllowed, .. }), "{denied}");
    let request = wire::DrainAppRequest { app: "batch".into(), dry_run: false };
    let denied = web.drain_app(request).await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { .. }), "{denied}");
    assert_audited(&site, &["app:web", "ListApps", "denied"]);
    assert_audited(&site, &["app:web", "DrainApp", "denied"]);
    let app =
        site.operator().await.unwrap().show_app(wire::ShowAppRequest { app: "batch".into() }).await.unwrap();
    assert_eq!(app.state(), wire::AppState::Active);
}

#[tokio::test]
async fn the_operator_is_not_an_app() {
    let site = Site::start(NOON).await.unwrap();
    let operator = ecovisor_sdk::EnergySystem::connect_to(&Address::socket(site.socket())).await.unwrap();
    let denied = operator.state().await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { .. }), "{denied}");
}

#[tokio::test]
async fn another_apps_container_is_unknown() {
    let site = Site::start(NOON).await.unwrap();
    let operator = site.operator().await.unwrap();
    let pid = Some(wire::container_target::Target::Pid(std::process::id()));
    let attach = wire::AttachContainerRequest {
        name: "other".into(),
        target: Some(wire::ContainerTarget { target: pid }),
    };
    let request = wire::AttachAppContainerRequest { app: "batch".into(), attach: Some(attach) };
    operator.attach_app_container(request).await.unwrap();
    let web = site.app("web").await.unwrap();
    let cap = Setting::ContainerPowerCap { container: "other".into(), cap: Some(Power::ZERO) };
    let unknown = web.apply(&cap, Lease::UntilChanged).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { reason: Reason::UnknownContainer, .. }), "{unknown}");
    let unknown = web.detach("other").await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { reason: Reason::UnknownContainer, .. }), "{unknown}");
    assert_audited(&site, &["app:web", "SetContainerPowerCap", "denied"]);
    assert_audited(&site, &["app:web", "DetachContainer", "denied"]);
    let taken = web.attach("mine", Target::this_process()).await.unwrap_err();
    assert!(matches!(&taken, Error::Refused(refusal) if refusal.reason == Reason::ContainerTaken), "{taken}");
    assert_eq!(site.app("batch").await.unwrap().containers().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_app_attaches_only_what_it_owns() {
    let site = Site::start(NOON).await.unwrap();
    let web = site.app("web").await.unwrap();
    for target in [Target::Cgroup("/sys/fs/cgroup/none".into()), Target::Gpu(0), Target::Tpu(0)] {
        let denied = web.attach("x", target.clone()).await.unwrap_err();
        assert!(matches!(denied, Error::NotAllowed { reason: Reason::NotOwned, .. }), "{target:?}: {denied}");
    }
    assert_audited(&site, &["app:web", "AttachContainer", "denied"]);
    let none = web.attach("x", Target::Pid(1 << 23)).await.unwrap_err();
    assert!(matches!(none, Error::NotFound { reason: Reason::NoSuchTarget, .. }), "{none}");
}

#[tokio::test]
async fn a_process_of_another_user_is_not_owned() {
    if let Some(why) = why_no_other_users() {
        skip!("{why}");
    }
    let site = Site::start(NOON).await.unwrap();
    let mut stranger = command("setpriv");
    let mut stranger = stranger.args(["--reuid", STRANGER, "--clear-groups", "sleep", "60"]).spawn().unwrap();
    let pid = stranger.id().unwrap();
    // The shell's user changes after it was started.
    ecovisor_hil_tests::wait::until("the process is the stranger's", async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.contains(&format!("Uid:\t{STRANGER}")).then_some(())
    })
    .await
    .unwrap();
    let denied = site.app("web").await.unwrap().attach("theirs", Target::Pid(pid)).await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { reason: Reason::NotOwned, .. }), "{denied}");
    assert_audited(&site, &["app:web", "AttachContainer", "denied"]);
    stranger.kill().await.unwrap();
}

#[tokio::test]
async fn a_stranger_is_neither_operator_nor_app() {
    if let Some(why) = why_no_other_users() {
        skip!("{why}");
    }
    let site = Site::start(&noon_and("[operator]\nuids = [54320]\n")).await.unwrap();
    let denied = as_stranger(&site, &site.socket(), &["app", "list"]).await;
    assert_eq!(denied.code, Some(4), "{}", denied.stderr);
    assert!(denied.stderr.contains("neither operates this site nor owns an app"), "{}", denied.stderr);
    // The kernel keeps a stranger from an app's socket before the daemon has to.
    let kept_out = as_stranger(&site, &site.app_socket("web"), &["app", "list"]).await;
    assert_eq!(kept_out.code, Some(3), "{}", kept_out.stderr);
}

#[tokio::test]
async fn a_named_user_operates_the_site() {
    if let Some(why) = why_no_other_users() {
        skip!("{why}");
    }
    let site = Site::start(&noon_and(&format!("[operator]\nuids = [{STRANGER}]\n"))).await.unwrap();
    let named = as_stranger(&site, &site.socket(), &["app", "list"]).await;
    assert_eq!(named.code, Some(0), "{}", named.stderr);
}

#[tokio::test]
async fn an_apps_owner_is_that_app_and_no_other() {
    if let Some(why) = why_no_other_users() {
        skip!("{why}");
    }
    let owned = format!("name = \"web\"\nowner_uid = {STRANGER}\nsolar_weight = 3\n");
    let config = replaced(NOON, "name = \"web\"\nsolar_weight = 3\n", &owned);
    let site = Site::start(&format!("{config}[operator]\nuids = [54320]\n")).await.unwrap();
    for socket in [site.app_socket("web"), site.socket()] {
        let web = as_stranger(&site, &socket, &["app", "list"]).await;
        assert_eq!(web.code, Some(4), "{}", web.stderr);
        assert!(web.stderr.contains("app web is not the operator"), "{}", web.stderr);
    }
    let batch = as_stranger(&site, &site.app_socket("batch"), &["app", "list"]).await;
    assert_eq!(batch.code, Some(3), "{}", batch.stderr);
}
