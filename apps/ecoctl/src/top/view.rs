//! What is shown: the last tick, some history, what is selected, and how the connection is.
//!
//! ```text
//! Waiting --connected--> Live --lost--> Lost --connected--> Live
//!    \-------lost---------------------/
//! ```

use crate::show;
use ecovisor_sdk::operator::wire;
use std::collections::VecDeque;

/// Ticks of history: four minutes at a second each, and as wide as the widest terminals.
const HISTORY_MAX: usize = 240;

/// How the connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// There was none yet.
    #[default]
    Waiting,
    /// It stands.
    Live,
    /// It broke, or cannot be made; why.
    Lost(String),
}

/// Mean powers of a tick, in mW.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Solar production.
    pub solar_mw: u64,
    /// Load.
    pub load_mw: u64,
    /// Import from the grid.
    pub grid_mw: u64,
}

/// What is shown.
#[derive(Debug, Default)]
pub struct View {
    /// How the connection is.
    pub link: Link,
    /// The site, without its last tick.
    pub site: wire::Site,
    /// The tick that is shown; none before the first.
    pub tick: Option<wire::SiteTick>,
    /// A newer one that waits while the view is paused.
    held: Option<wire::SiteTick>,
    /// Oldest first.
    pub history: VecDeque<Sample>,
    /// The last event, or what came of the last setting.
    pub last_line: String,
    /// Which app is selected.
    pub app: usize,
    /// Which of its containers.
    pub container: usize,
    /// Whether ticks wait.
    pub paused: bool,
    /// Whether help is shown.
    pub help: bool,
    /// The cap that is being typed.
    pub prompt: Option<String>,
}

impl View {
    /// The connection stands.
    pub fn connected(&mut self, site: wire::Site) {
        self.link = Link::Live;
        self.site = site;
    }

    /// The connection broke.
    pub fn lost(&mut self, why: String) {
        self.link = Link::Lost(why);
    }

    /// A tick was settled; a pause lets it wait.
    pub fn tick(&mut self, tick: wire::SiteTick) {
        // A connection that is made again tells the last tick again.
        let known = self.held.as_ref().or(self.tick.as_ref()).is_some_and(|last| last.tick == tick.tick);
        if known {
            return;
        }
        self.history.push_back(Sample::of(&tick));
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        if self.paused {
            self.held = Some(tick);
        } else {
            self.tick = Some(tick);
            self.select(0, 0);
        }
    }

    /// Something happened.
    pub fn event(&mut self, line: String) {
        self.last_line = line;
    }

    /// What came of a setting.
    pub fn said(&mut self, line: String) {
        self.last_line = line;
    }

    /// Pauses, or goes on with the newest tick.
    pub fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused && self.held.is_some() {
            self.tick = self.held.take();
            self.select(0, 0);
        }
    }

    /// Moves the selection; it stays within what there is.
    pub fn select(&mut self, apps: isize, containers: isize) {
        let before = self.app;
        self.app = moved(self.app, apps, self.apps().len());
        if self.app != before {
            self.container = 0;
        }
        self.container =
            moved(self.container, containers, self.selected_app().map_or(0, |app| app.containers.len()));
    }

    /// All apps of the tick that is shown.
    pub fn apps(&self) -> &[wire::AppTick] {
        self.tick.as_ref().map_or(&[], |tick| &tick.apps)
    }

    /// The app that is selected.
    pub fn selected_app(&self) -> Option<&wire::AppTick> {
        self.apps().get(self.app)
    }

    /// The container that is selected.
    pub fn selected_container(&self) -> Option<&wire::Container> {
        self.selected_app()?.containers.get(self.container)
    }

    /// The site's flows in the tick that is shown, and its length.
    pub fn flows(&self) -> Option<(&wire::SiteFlows, u64)> {
        let tick = self.tick.as_ref()?;
        Some((tick.site.as_ref()?, tick.span_ms))
    }
}

impl Sample {
    fn of(tick: &wire::SiteTick) -> Self {
        let Some(flows) = &tick.site else { return Self::default() };
        let mean = |uj| show::mean_mw(uj, tick.span_ms);
        let booked = |flow: Option<&wire::MeteredFlow>| flow.map_or(0, |flow| mean(flow.booked_uj));
        Self {
            solar_mw: booked(flows.solar.as_ref()),
            load_mw: mean(flows.load_booked_uj),
            grid_mw: booked(flows.grid_import.as_ref()),
        }
    }
}

fn moved(at: usize, by: isize, count: usize) -> usize {
    at.saturating_add_signed(by).min(count.saturating_sub(1))
}
