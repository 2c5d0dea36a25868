//! An app: asks its virtual energy system tick by tick, plans, and lets its workers burn. It speaks to the ecovisor
//! through the SDK as any app would, and ends when stdin does.

use crate::arguments::Worker;
use crate::crew::{Crew, Tools};
use crate::orders;
use crate::policy::{self, Bounds, Knowledge, Plan, TRAINER_MILLICORES};
use crate::scene::App;
use anyhow::Context as _;
use ecovisor_sdk::{
    Address, EnergySystem, Error, ForecastQuery, Millis, Session, Setting, Tick, VirtualEnergy as _,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the daemon may take to open the app's socket.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts.
const CONNECT_WAIT: Duration = Duration::from_millis(50);

/// What is looked ahead, and in which steps.
const HORIZON: Millis = Millis::from_secs(24 * 3_600);
const STEP: Millis = Millis::from_secs(3_600);
/// A forecast is asked for again after so much of the site's time.
const FORECAST_AGE_MAX: Millis = Millis::from_secs(3 * 3_600);

/// Runs the app until stdin ends.
///
/// # Errors
/// Where the ecovisor cannot be reached, or a worker is lost.
pub async fn work(arguments: Worker) -> anyhow::Result<()> {
    let energy = connect(&Address::socket(&arguments.socket)).await.context("cannot reach the ecovisor")?;
    let demo = std::env::current_exe().context("cannot find this program's own file")?;
    let tools =
        Tools { ecoctl: demo.with_file_name("ecoctl"), demo, operator_socket: arguments.operator_socket };
    let (app, hands) = (arguments.app, hands(arguments.app));
    let crew = Crew::hire(app.name(), hands, &energy, &tools).await.context("cannot start the workers")?;
    let session = energy.clone().session().await?;
    let mut shift = Shift {
        app,
        most_each: TRAINER_MILLICORES / u32::try_from(hands).unwrap_or(1),
        knowledge: Knowledge { core_power: arguments.core_power, bounds: None, enforced: crew.is_capped() },
        forecast_from: None,
        crew,
        session,
        done: Plan::default(),
    };
    let ended = shift.run().await;
    shift.end().await;
    ended
}

/// The trainer scales over two workers; the others are single processes.
fn hands(app: App) -> usize {
    match app {
        App::Trainer => 2,
        App::Web | App::Batch => 1,
    }
}

async fn connect(address: &Address) -> Result<EnergySystem, Error> {
    let deadline = Instant::now() + CONNECT_PATIENCE;
    loop {
        match EnergySystem::connect_to(address).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => sleep(CONNECT_WAIT).await,
            connected => return connected,
        }
    }
}

/// An app at work.
struct Shift {
    app: App,
    most_each: u32,
    knowledge: Knowledge,
    forecast_from: Option<Millis>,
    crew: Crew,
    session: Session,
    done: Plan,
}

impl Shift {
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut orders = orders::lines();
        loop {
            let tick = tokio::select! {
                // Nothing is ever written to it: it ends with whoever started this app.
                _ = orders.recv() => return Ok(()),
                error = self.crew.loss() => return Err(error),
                tick = self.session.next_tick() => tick?,
            };
            if let Some(tick) = tick {
                self.act(&tick).await?;
            }
        }
    }

    async fn act(&mut self, tick: &Tick) -> anyhow::Result<()> {
        let wall = tick.wall_start.saturating_add(tick.span);
        self.look_ahead(wall).await?;
        let plan = policy::plan(self.app, &tick.coming, wall, &self.knowledge);
        self.set(&plan).await?;
        self.crew.work(plan.millicores, self.most_each).await?;
        self.done = plan;
        Ok(())
    }

    async fn look_ahead(&mut self, wall: Millis) -> anyhow::Result<()> {
        if self.forecast_from.is_some_and(|from| wall.less(from) < FORECAST_AGE_MAX) {
            return Ok(());
        }
        let query = ForecastQuery { horizon: Some(HORIZON), step: Some(STEP) };
        match self.session.forecast(query).await {
            Ok(forecast) => self.knowledge.bounds = Bounds::of(&forecast),
            // A site may have no forecast; the policies do without.
            Err(error @ Error::NotSupported { .. }) => eprintln!("no forecast: {error}"),
            Err(error) if error.is_passing() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.forecast_from = Some(wall);
        Ok(())
    }

    /// Makes the settings that differ from the last plan's.
    async fn set(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let mut settings = Vec::new();
        if plan.charge != self.done.charge {
            settings.push(Setting::BatteryChargeRate(plan.charge));
        }
        if plan.discharge != self.done.discharge {
            settings.push(Setting::BatteryMaxDischarge(plan.discharge));
        }
        if plan.cap != self.done.cap {
            let caps = self.crew.containers();
            settings.extend(
                caps.map(|name| Setting::ContainerPowerCap { container: name.to_owned(), cap: plan.cap }),
            );
        }
        for setting in settings {
            match self.session.set(setting.clone()).await {
                Ok(_) => {}
                // The session asserts it when the daemon is back.
                Err(error) if error.is_passing() => eprintln!("{setting:?}: {error}"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Leaves nothing behind: no workers, no containers, no settings.
    async fn end(self) {
        let Self { crew, session, .. } = self;
        let energy = session.energy().clone();
        let containers: Vec<String> = crew.containers().map(str::to_owned).collect();
        if let Err(error) = session.release().await {
            eprintln!("settings are left to their leases: {error}");
        }
        for container in containers {
            // A worker that was lost has been detached by the daemon.
            if let Err(error) = energy.detach(&container).await {
                eprintln!("{container}: {error}");
            }
        }
        crew.dismiss().await;
    }
}
