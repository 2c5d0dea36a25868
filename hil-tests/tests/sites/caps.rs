//! Real CPU loads in real cgroups: metered, and held to their caps.

use crate::skip;
use ecovisor_hil_tests::machine::why_no_quotas;
use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Site, command, next};
use ecovisor_hil_tests::{balance, wait};
use ecovisor_sdk::operator::wire;
use ecovisor_sdk::{Capping, Target};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Child;

/// What one busy core draws beyond idling, in W, whatever machine this is.
const CORE_W: usize = 20;

/// A site of this machine alone, on the real clock.
fn here() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let peak = 5 + CORE_W * cores;
    format!(
        "[site]\nname = \"here\"\ntick = \"500 ms\"\n[grid]\nimport_limit = \"10 kW\"\n\
         [host]\nidle = \"5 W\"\npeak = \"{peak} W\"\n[[app]]\nname = \"web\"\ngrid_limit = \"1 kW\"\n"
    )
}

/// A busy loop as a container of `web`, capped from its first instruction on.
fn busy(site: &Site, name: &str, cap: &str) -> Child {
    let mut run = command(program("ecoctl").unwrap());
    run.arg("--socket").arg(site.socket()).args(["run", "--app", "web", "--name", name, "--cap", cap, "--"]);
    run.args(["sh", "-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap()
}

async fn end(mut run: Child) {
    let pid = run.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait::answer("ecoctl run ends with its program", run.wait()).await.unwrap();
}

/// A name of its own in the one tree of cgroups that all tests share.
fn name(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

/// Where the quota of a container of `web` is written, in v2 or in v1.
fn quota(name: &str) -> Option<String> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let v2 = root.join("ecovisor/web").join(name).join("cpu.max");
    let v1 = root.join("cpu/ecovisor/web").join(name).join("cpu.cfs_quota_us");
    [v2, v1].iter().find_map(|path| std::fs::read_to_string(path).ok()).map(|text| text.trim().to_owned())
}

#[tokio::test]
async fn a_busy_loop_settles_at_its_cap_and_the_rest_is_the_houses() {
    if let Some(why) = why_no_quotas() {
        skip!("{why}");
    }
    let site = Site::start(&here()).await.unwrap();
    let (name, mut ticks) = (name("busy"), site.ticks().await.unwrap());
    let run = busy(&site, &name, "10W");
    let seen =
        |tick: &wire::SiteTick| tick.apps[0].containers.first().map(|container| container.tick_energy_uj);
    while !matches!(seen(&next(&mut ticks).await.unwrap()), Some(1..)) {}
    let (mut energy, mut span) = (0, 0);
    for _ in 0..8 {
        let tick = next(&mut ticks).await.unwrap();
        balance::check(&tick).unwrap();
        let container = &tick.apps[0].containers[0];
        assert_eq!(container.capping.as_ref().unwrap().kind(), wire::CappingKind::Enforced);
        assert_eq!(container.effective_cap_mw, Some(10_000));
        let house = tick.apps.iter().find(|app| app.app == "house").unwrap().flows.as_ref().unwrap();
        assert!(house.load_uj >= tick.span_ms * 4_900, "idle power, 5 W, is the house's: {house:?}");
        energy += container.tick_energy_uj;
        span += tick.span_ms;
    }
    // A busy core draws 20 W; other tests may leave it less than its cap, never more.
    let mean_mw = energy / span;
    assert!((1_000..=11_000).contains(&mean_mw), "{mean_mw} mW under a cap of 10 W");
    end(run).await;
    wait::until("the container is gone", async || {
        site.app("web").await.ok()?.containers().await.ok()?.is_empty().then_some(())
    })
    .await
    .unwrap();
    assert_eq!(quota(&name), None, "its cgroup is gone");
}

#[tokio::test]
async fn a_daemon_that_stops_lifts_its_caps() {
    if let Some(why) = why_no_quotas() {
        skip!("{why}");
    }
    let mut site = Site::start(&here()).await.unwrap();
    let name = name("lifted");
    let run = busy(&site, &name, "5W");
    let is_free = |quota: &str| quota == "-1" || quota.starts_with("max");
    wait::until("the cap is written", async || quota(&name).filter(|quota| !is_free(quota))).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let left = quota(&name).unwrap();
    end(run).await;
    // ecoctl could not ask the daemon to detach, and took the cgroup away by itself.
    assert_eq!(quota(&name), None, "its cgroup is gone");
    assert!(is_free(&left), "the quota is still {left}");
}

#[tokio::test]
async fn a_process_without_a_cgroup_is_metered_only_and_says_so() {
    let site = Site::start(&here()).await.unwrap();
    let web = site.app("web").await.unwrap();
    let mut loop_ = command("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    let container = web.attach("tree", Target::Pid(loop_.id().unwrap())).await.unwrap();
    let Capping::MeteredOnly { reason } = &container.capping else { panic!("{container:?}") };
    assert!(reason.contains("ecoctl run"), "{reason}");
    let mut ticks = site.ticks().await.unwrap();
    let drawn = async {
        loop {
            let tick = next(&mut ticks).await?;
            balance::check(&tick)?;
            if tick.apps[0].flows.as_ref().is_some_and(|flows| flows.load_uj > 0) {
                break anyhow::Ok(());
            }
        }
    };
    wait::answer("its power is metered", drawn).await.unwrap();
    loop_.kill().await.unwrap();
    wait::until("a container whose processes have ended is detached", async || {
        web.containers().await.ok()?.is_empty().then_some(())
    })
    .await
    .unwrap();
}
