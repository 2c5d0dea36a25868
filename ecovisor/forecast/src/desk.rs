//! One quantity: its past, what was forecast of it, and how far that was off.
//!
//! The truth of an hour comes first ([`Desk::note`]): it is laid beside what was said of it 1 to 48 hours before, and
//! learnt. Then the next forecast is issued ([`Desk::issue`]), at the start of every hour.

use crate::errors::{Errors, LEADS, LeadError, Pair};
use crate::hours::Hours;
use crate::outlook::{Basis, Outlook, Step};
use crate::persistence::{Deviations, Fading, Period, Usual};
use crate::provided::Provided;
use crate::solar::Panels;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Hours that a forecast reaches ahead.
pub const HORIZON_HOURS: u64 = 48;

/// Hours of carbon, a day of them, before its first forecast: with fewer there is no hour of the day to rest on.
const CARBON_HOURS_MIN: usize = 24;
/// Sunlit hours before the first forecast of the sun: with fewer it is unknown what the array makes of a clear sky.
const SUNLIT_HOURS_MIN: usize = 6;
/// Part of the peak below which a clear hour is twilight, too dim to measure a sky by.
const SUNLIT_PART: f64 = 0.03;
/// Most that an hour brings over a clear one: sunlight thrown back by clouds, a cold array.
const CLEARNESS_MAX: f64 = 1.5;
/// Hours between two fits of how deviations fade.
const FIT_HOURS: u64 = 24;

/// What is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Settings {
    /// The grid's carbon intensity.
    Carbon,
    /// The power of an array.
    Solar(Panels),
}

impl Settings {
    /// What an hour's figure is measured in; zero where there is nothing to tell.
    fn scale(&self, hour: u64) -> f64 {
        match self {
            Self::Carbon => 1.0,
            Self::Solar(panels) => panels.clear(hour),
        }
    }

    /// Whether an hour teaches anything: the sun below the roofs does not.
    fn teaches(&self, scale: f64) -> bool {
        match self {
            Self::Carbon => true,
            Self::Solar(panels) => scale > SUNLIT_PART * crate::float::float(panels.peak.get()),
        }
    }

    /// Hours whose errors are alike: a quarter of the day, or a part of the sun's.
    fn class(&self, hour: u64) -> usize {
        match self {
            Self::Carbon => usize::try_from(hour % 24 / 6).unwrap_or(0),
            Self::Solar(panels) => panels.part_of_day(hour),
        }
    }

    fn period(&self) -> Period {
        match self {
            Self::Carbon => Period::Week,
            Self::Solar(_) => Period::Day,
        }
    }

    fn hours_min(&self) -> usize {
        match self {
            Self::Carbon => CARBON_HOURS_MIN,
            Self::Solar(_) => SUNLIT_HOURS_MIN,
        }
    }

    /// The most that can be, over the scale.
    fn ceiling(&self) -> f64 {
        match self {
            Self::Carbon => f64::MAX,
            Self::Solar(_) => CLEARNESS_MAX,
        }
    }

    fn own_source(&self) -> &'static str {
        match self {
            Self::Carbon => "persistence",
            Self::Solar(_) => "clear-sky",
        }
    }
}

/// What was said of an hour that has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    hour: u64,
    /// Place in [`LEADS`].
    lead: usize,
    provided: bool,
    expected: f64,
    low: f64,
    high: f64,
}

/// One quantity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Desk {
    settings: Settings,
    /// What came, over its scale.
    past: Hours,
    pending: Vec<Pending>,
    own: Errors,
    provided: Errors,
    provided_source: String,
    fading: Fading,
    fitted: Option<u64>,
    issued: Option<u64>,
}

impl Desk {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            past: Hours::default(),
            pending: Vec::new(),
            own: Errors::default(),
            provided: Errors::default(),
            provided_source: String::new(),
            fading: Fading::default(),
            fitted: None,
            issued: None,
        }
    }

    /// What it forecasts.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The hour after the last that it has learnt from; zero before the first.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.past.end()
    }

    /// Takes what came in `hour`: mean power in mW, or mean intensity in mg/kWh. Hours come in order; what was said of
    /// those left out is forgotten.
    pub fn note(&mut self, hour: u64, came: f64) {
        let scale = self.settings.scale(hour);
        if !came.is_finite() || hour < self.past.end() && self.past.end() > 0 {
            return;
        }
        let class = self.settings.class(hour);
        if self.settings.teaches(scale) {
            for said in self.pending.iter().filter(|said| said.hour == hour) {
                let error = came - said.expected;
                let inside = said.low <= came && came <= said.high;
                let errors = if said.provided { &mut self.provided } else { &mut self.own };
                errors.note(said.lead, Pair { class, scaled: error / scale, error, inside });
            }
            self.past.note(hour, came / scale);
        }
        self.pending.retain(|said| said.hour > hour);
    }

    /// The forecast made at the start of `hour`, of it and the [`HORIZON_HOURS`] from it on: what is `provided` as far as it
    /// reaches, its own beyond. `None` where too little is known and nothing is provided. Both are compared with what comes.
    pub fn issue(&mut self, hour: u64, provided: Option<&Provided>) -> Option<Arc<Outlook>> {
        if let Some(provided) = provided
            && provided.source != self.provided_source
        {
            self.provided = Errors::default();
            self.pending.retain(|said| !said.provided);
            self.provided_source.clone_from(&provided.source);
        }
        let own = self.own_steps(hour);
        let theirs: Vec<Option<Step>> = hours_of(hour).map(|at| self.provided_step(at, provided?)).collect();
        let both = theirs.iter().zip(own.iter().map(Some).chain(std::iter::repeat(None)));
        let steps: Vec<Step> = both.map_while(|(theirs, own)| theirs.or(own.copied())).collect();
        let outlook = self.outlook(hour, steps);
        if self.issued.is_none_or(|issued| issued < hour) {
            self.remember(&Outlook { steps: own, ..outlook.clone() }, false);
            let theirs = theirs.into_iter().map_while(|step| step).collect();
            self.remember(&Outlook { steps: theirs, ..outlook.clone() }, true);
            self.issued = Some(hour);
        }
        (!outlook.steps.is_empty()).then(|| Arc::new(outlook))
    }

    /// How far earlier forecasts were off, by source: its own, and what was provided.
    #[must_use]
    pub fn report(&self) -> Vec<(String, Vec<LeadError>)> {
        let own = (self.settings.own_source().to_owned(), self.own.report());
        let theirs = (self.provided_source.clone(), self.provided.report());
        [theirs, own].into_iter().filter(|(_, leads)| !leads.is_empty()).collect()
    }

    fn outlook(&self, hour: u64, steps: Vec<Step>) -> Outlook {
        let provided = steps.first().is_some_and(|step| step.basis == Basis::Provided);
        let source = if provided { self.provided_source.as_str() } else { self.settings.own_source() };
        let range = self
            .past
            .known()
            .fold((f64::MAX, 0.0_f64), |(low, high), (_, figure)| (low.min(figure), high.max(figure)));
        Outlook {
            issued: hour,
            source: source.into(),
            steps,
            own: Arc::new(self.own.spread()),
            provided: Arc::new(self.provided.spread()),
            range,
            ceiling: self.settings.ceiling(),
        }
    }

    /// Its own forecast; empty where too little is known.
    fn own_steps(&mut self, hour: u64) -> Vec<Step> {
        if self.past.known().take(self.settings.hours_min()).count() < self.settings.hours_min() {
            return Vec::new();
        }
        let usual = Usual::of(&self.past, self.settings.period());
        if self.fitted.is_none_or(|fitted| hour.saturating_sub(fitted) >= FIT_HOURS) {
            self.fading = Fading::fit(&self.past, &usual);
            self.fitted = Some(hour);
        }
        let deviations = Deviations::before(&self.past, &usual, hour);
        let step = |(lead, at): (u64, u64)| {
            let scale = self.settings.scale(at);
            let (usual, basis) = usual.at(at)?;
            let left = deviations.figures(hour, lead).map_or(0.0, |figures| self.fading.left(figures, lead));
            let figure = (usual + left).clamp(0.0, self.settings.ceiling());
            Some(Step { expected: figure * scale, scale, class: self.settings.class(at), basis })
        };
        (1..).zip(hours_of(hour)).map_while(step).collect()
    }

    fn provided_step(&self, hour: u64, provided: &Provided) -> Option<Step> {
        let (scale, class) = (self.settings.scale(hour), self.settings.class(hour));
        let expected = provided.at(hour)?.max(0.0);
        Some(Step { expected, scale, class, basis: Basis::Provided })
    }

    fn remember(&mut self, outlook: &Outlook, provided: bool) {
        for (lead, hours) in LEADS.into_iter().enumerate() {
            let hour = outlook.issued.saturating_add(hours - 1);
            if let Some(said) = outlook.at(hour) {
                let (expected, low, high) = (said.p50, said.p10, said.p90);
                self.pending.push(Pending { hour, lead, provided, expected, low, high });
            }
        }
    }
}

fn hours_of(first: u64) -> impl Iterator<Item = u64> {
    first..first.saturating_add(HORIZON_HOURS)
}
