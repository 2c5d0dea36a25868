//! What is known and said of sun and carbon. The engine tells every tick; the future is asked for from anywhere.
//!
//! What has been learnt is kept in a file beside the store, written anew after every full hour: advice, so a file that is
//! missing, damaged or about other panels is no reason not to start. The hour under way when the process ends is not
//! counted.

use super::gather::{Gather, Hour, Sample};
use super::told::{ForecastSource, Quantity, Told};
use crate::plant::Ahead;
use ecovisor_core::Outcome;
use ecovisor_forecast::provided::{Point, Provided};
use ecovisor_forecast::{Desk, LeadError, Outlook, Panels, Settings};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

const HOUR_MS: u64 = 3_600_000;

/// The version of the file.
const VERSION: u32 = 1;

/// Hours by which the clock may be set back before what was learnt is about another time: summer time and a wrong zone.
const BACK_HOURS_MAX: u64 = 24;

/// Looks at a trace for the mean of an hour.
const LOOKS: u64 = 4;

/// Forecasts of a site. One lock, held for some microseconds, a few hundred at a full hour.
#[derive(Debug)]
pub struct Forecasts {
    inner: Mutex<Inner>,
    ahead: Ahead,
    from_trace: bool,
    /// The hour that was last issued for, for whoever keeps the file.
    hours: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    gather: Gather,
    solar: Option<Said>,
    carbon: Said,
}

/// A desk and what it said last.
#[derive(Debug)]
struct Said {
    desk: Desk,
    outlook: Option<Arc<Outlook>>,
}

impl Said {
    fn new(settings: Settings) -> Self {
        Self { desk: Desk::new(settings), outlook: None }
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    solar: Option<Desk>,
    carbon: Desk,
}

/// Why a file cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] std::io::Error),
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged(#[from] serde_json::Error),
    /// It is another version's.
    #[error("it is of version {0}, not {VERSION}")]
    Version(u32),
}

impl Forecasts {
    /// Ones that know nothing yet, of `panels` where there are any. Traces that are played (`ahead`) are told as they are
    /// where `from_trace`.
    #[must_use]
    pub fn new(panels: Option<Panels>, ahead: Ahead, from_trace: bool) -> Self {
        let inner = Inner {
            gather: Gather::default(),
            solar: panels.map(|panels| Said::new(Settings::Solar(panels))),
            carbon: Said::new(Settings::Carbon),
        };
        Self { inner: Mutex::new(inner), ahead, from_trace, hours: watch::channel(0).0 }
    }

    /// Goes on with what was kept in `file`; what was learnt of other panels is left.
    ///
    /// # Errors
    /// Where it cannot be gone on from; then nothing has changed. A file that is not there is no error.
    pub fn recall(&self, file: &Path) -> Result<(), KeptError> {
        let bytes = match std::fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        let Kept { version, solar, carbon } = serde_json::from_slice(&bytes)?;
        if version != VERSION {
            return Err(KeptError::Version(version));
        }
        let mut inner = self.lock();
        inner.carbon.desk = carbon;
        if let (Some(said), Some(kept)) = (&mut inner.solar, solar)
            && said.desk.settings() == kept.settings()
        {
            said.desk = kept;
        }
        Ok(())
    }

    /// Keeps what is known in `file`, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep(&self, file: &Path) -> std::io::Result<()> {
        let kept = {
            let inner = self.lock();
            let solar = inner.solar.as_ref().map(|said| said.desk.clone());
            Kept { version: VERSION, solar, carbon: inner.carbon.desk.clone() }
        };
        let new = file.with_extension("new");
        let mut out = std::fs::File::create(&new)?;
        out.write_all(&serde_json::to_vec(&kept)?)?;
        out.sync_all()?;
        std::fs::rename(&new, file)
    }

    /// Changes whenever a forecast has been made.
    #[must_use]
    pub fn hours(&self) -> watch::Receiver<u64> {
        self.hours.subscribe()
    }

    /// Takes what a settled tick says; `live` says whether solar and intensity rest on readings of that tick.
    pub fn note(&self, outcome: &Outcome, live: (bool, bool)) {
        let Outcome { wall, span, solar, intensity, gap, .. } = outcome;
        let seen = |live: bool| live && !gap;
        let solar = seen(live.0).then_some(*solar);
        let intensity = seen(live.1).then_some(*intensity);
        self.tick(&Sample { wall: *wall, span: *span, solar, intensity });
    }

    fn tick(&self, sample: &Sample) {
        let mut inner = self.lock();
        let (passed, hour) = inner.gather.tick(sample);
        if let Some(passed) = passed {
            inner.learn(passed);
        }
        if *self.hours.borrow() == hour {
            return;
        }
        inner.begin_anew_before(hour);
        let points = |of| self.from_trace.then(|| self.points(of, hour)).flatten();
        let carbon = inner.carbon.desk.issue(hour, points(Quantity::Carbon).as_ref());
        inner.carbon.outlook = carbon;
        if let Some(said) = &mut inner.solar {
            said.outlook = said.desk.issue(hour, points(Quantity::Solar).as_ref());
        }
        self.hours.send_replace(hour);
    }

    /// The trace's hours from `hour` on, as somebody's forecast.
    fn points(&self, of: Quantity, hour: u64) -> Option<Provided> {
        let told = Told::trace(&self.ahead, of)?;
        let mean = |hour: u64| -> Option<f64> {
            let start = hour.checked_mul(HOUR_MS)?;
            let at = |look: u64| told.look.at(start + HOUR_MS / LOOKS * look + HOUR_MS / LOOKS / 2);
            let sum = (0..LOOKS).map(at).try_fold(0.0, |sum, said| Some(sum + said?.p50))?;
            Some(sum / ecovisor_forecast::float(LOOKS))
        };
        let hours = hour..hour.saturating_add(ecovisor_forecast::desk::HORIZON_HOURS);
        let points = hours.map_while(|hour| {
            let (start_ms, end_ms) = (hour * HOUR_MS, (hour + 1) * HOUR_MS);
            Some(Point { start_ms, end_ms, expected: mean(hour)? })
        });
        Some(Provided { source: told.source.clone(), issued_at_ms: hour * HOUR_MS, points: points.collect() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left behind is one hour short at most, and the process ends then anyway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn learn(&mut self, hour: Hour) {
        let Hour { number, solar_mw, carbon_mg_per_kwh } = hour;
        if let Some(carbon) = carbon_mg_per_kwh {
            self.carbon.desk.note(number, carbon);
        }
        if let (Some(said), Some(solar)) = (&mut self.solar, solar_mw) {
            said.desk.note(number, solar);
        }
    }

    /// What was learnt in a future that the clock has been set back from would never be joined again.
    fn begin_anew_before(&mut self, hour: u64) {
        for said in self.solar.iter_mut().chain([&mut self.carbon]) {
            if said.desk.end() > hour.saturating_add(BACK_HOURS_MAX) {
                tracing::warn!(
                    hour,
                    learnt_until = said.desk.end(),
                    "the clock went back: forecasts begin anew"
                );
                *said = Said::new(*said.desk.settings());
            }
        }
    }
}

impl ForecastSource for Forecasts {
    fn told(&self, of: Quantity) -> Option<Told> {
        let trace = self.from_trace.then(|| Told::trace(&self.ahead, of)).flatten();
        trace.or_else(|| {
            let inner = self.lock();
            let said = match of {
                Quantity::Solar => inner.solar.as_ref()?,
                Quantity::Carbon => &inner.carbon,
            };
            said.outlook.clone().map(Told::outlook)
        })
    }

    fn errors(&self, of: Quantity) -> Vec<(String, Vec<LeadError>)> {
        let inner = self.lock();
        match of {
            Quantity::Solar => inner.solar.as_ref().map(|said| said.desk.report()).unwrap_or_default(),
            Quantity::Carbon => inner.carbon.desk.report(),
        }
    }
}
