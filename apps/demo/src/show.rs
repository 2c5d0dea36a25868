//! The demo from beginning to end: set the stage, play until told otherwise, count, clear away.

use crate::arguments::Show;
use crate::cast::Cast;
use crate::report::{self, Enforcement, Outcome};
use crate::scene::{App, Scene, cores};
use crate::stage::Stage;
use crate::stop::Stop;
use crate::summary::Accounts;
use crate::sweep::sweep;
use anyhow::Context as _;
use ecovisor_sdk::CarbonMass;
use ecovisor_sdk::operator::{Operator, wire};
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Between two looks at who is still there.
const LOOK: Duration = Duration::from_millis(200);
/// Ticks between two lines without a live view: one every two seconds.
const TICKS_PER_LINE: u64 = 4;
/// The tick in which the apps ended, the one that puts it into the ledger, and one that says that nothing moves any more.
const TICKS_TO_SETTLE: u32 = 3;
/// How long counting may take: a run of an hour has 36,000 rows.
const COUNT_PATIENCE: Duration = Duration::from_secs(60);

/// Plays the demo.
///
/// # Errors
/// Where it could not be played, or not counted.
pub async fn play(show: Show) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let stage = Stage::set(show.keep.as_deref())?;
    let stat =
        std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat: the demo needs Linux")?;
    let scene = Scene {
        speed_up: show.speed_up,
        zone: show.zone.clone(),
        start: show.start,
        cores: cores(&stat),
        run: std::process::id(),
    };
    let mut cast = Cast::default();
    let played = tokio::select! {
        played = perform(&show, &scene, &stage, &mut cast) => played,
        () = stop.asked() => Ok(None),
    };
    // A second signal from here on changes nothing: every wait below has an end.
    let outcome = match played {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => count(&stage, &mut cast).await,
        Err(error) => Err(error),
    };
    cast.end_view().await;
    cast.end_workers().await;
    cast.end_daemon().await;
    sweep(Path::new("/sys/fs/cgroup"), scene.run);
    let outcome = outcome?;
    match show.json {
        true => println!("{}", report::json(&scene, &outcome)),
        false => print!("{}", report::text(&scene, &outcome)),
    }
    if let Some(kept) = stage.kept() {
        eprintln!("demo: configuration, ledger and logs are in {}", kept.display());
    }
    Ok(if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays until the time is over or the view is closed, and counts.
async fn perform(
    show: &Show,
    scene: &Scene,
    stage: &Stage,
    cast: &mut Cast,
) -> anyhow::Result<Option<Outcome>> {
    let operator = cast.start_daemon(stage, scene).await?;
    cast.start_workers(stage)?;
    let deadline = show.length.map(|length| Instant::now() + Duration::from_millis(length.get()));
    let headless = show.headless || !std::io::stdout().is_terminal();
    if headless {
        eprintln!("demo: {}", report::opening(scene));
    } else {
        cast.start_view(stage)?;
    }
    let over = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => {}
        watched = watch(stage, cast) => watched?,
        told = tell(&operator), if headless => told?,
    }
    Ok(None)
}

/// Looks after everybody; ends where the view was closed.
async fn watch(stage: &Stage, cast: &mut Cast) -> anyhow::Result<()> {
    loop {
        cast.look(stage)?;
        tokio::select! {
            () = cast.view_closed() => return Ok(()),
            () = sleep(LOOK) => {}
        }
    }
}

/// Prints a line now and then.
async fn tell(operator: &Operator) -> anyhow::Result<()> {
    let mut ticks = operator.watch_site(wire::WatchSiteRequest {}).await?;
    while let Ok(Some(tick)) = ticks.next().await {
        if tick.tick.is_multiple_of(TICKS_PER_LINE) {
            eprintln!("{}", report::line(&tick));
        }
    }
    // The stream ended with the daemon: `watch` says why.
    std::future::pending().await
}

/// Ends the apps, and reads what they came to while the daemon still runs.
async fn count(stage: &Stage, cast: &mut Cast) -> anyhow::Result<Outcome> {
    cast.end_view().await;
    let operator = Operator::connect_to(&ecovisor_sdk::Address::socket(stage.operator_socket())).await;
    let operator = operator.context("stopped before the site was up")?;
    eprintln!("demo: ending the apps, settling, replaying the ledger");
    let counted = timeout(COUNT_PATIENCE, async {
        let enforcement = enforcement(&operator).await?;
        cast.look(stage)?;
        cast.end_workers().await;
        settle(&operator).await?;
        let mut accounts = accounts(&operator).await?;
        for app in operator.list_apps(wire::ListAppsRequest {}).await?.apps {
            let battery = app.system.and_then(|system| system.battery);
            accounts
                .store(&app.name, CarbonMass::new(battery.map_or(0, |battery| battery.carbon_content_mg)));
        }
        accounts.order();
        let ledger_verified = verify(stage).await?;
        Ok(Outcome { accounts, enforcement, ledger_verified, lost: std::mem::take(&mut cast.lost) })
    });
    counted.await.context("the daemon took too long to tell its books")?
}

/// Waits until what the apps did last is in the ledger, which keeps a tick when the next one is settled.
async fn settle(operator: &Operator) -> anyhow::Result<()> {
    let mut ticks = operator.watch_site(wire::WatchSiteRequest {}).await?;
    for _ in 0..TICKS_TO_SETTLE {
        ticks.next().await?.context("the daemon stopped before the last ticks were settled")?;
    }
    Ok(())
}

/// Whether each app's containers are capped.
async fn enforcement(operator: &Operator) -> anyhow::Result<Vec<Enforcement>> {
    let mut all = Vec::new();
    for app in App::ALL {
        let request = wire::ListAppContainersRequest { app: app.name().to_owned() };
        let containers = operator.list_app_containers(request).await?.containers;
        let cappings = containers.into_iter().filter_map(|container| container.capping);
        let mut reasons = Vec::new();
        let mut count = 0_usize;
        for capping in cappings {
            count += 1;
            if capping.kind() != wire::CappingKind::Enforced {
                reasons.push(capping.reason);
            }
        }
        reasons.dedup();
        all.push(Enforcement { app: app.name(), containers: count, not_enforced: reasons });
    }
    Ok(all)
}

/// All rows of the ledger, summed. One answer holds a million of them: a day and more of real time.
async fn accounts(operator: &Operator) -> anyhow::Result<Accounts> {
    let mut rows = operator.query_ledger(wire::QueryLedgerRequest::default()).await?;
    let mut accounts = Accounts::default();
    while let Some(row) = rows.next().await? {
        accounts.add(&row)?;
    }
    Ok(accounts)
}

/// Has the ledger replayed by `ecoctl`, which trusts nothing that the daemon says about it.
async fn verify(stage: &Stage) -> anyhow::Result<bool> {
    let mut command = Command::new(stage.program("ecoctl"));
    command.arg("--socket").arg(stage.operator_socket()).args(["ledger", "verify"]).kill_on_drop(true);
    let output =
        command.stdin(Stdio::null()).output().await.context("cannot start `ecoctl ledger verify`")?;
    if !output.status.success() {
        eprintln!("demo: `ecoctl ledger verify`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.status.success())
}
