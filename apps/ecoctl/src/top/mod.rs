//! `ecoctl top`: a live view of the site.
//!
//! ```text
//! feed (connects, retries) --\
//! keys (a thread, since reading a terminal blocks) --> one loop: change the view, draw it
//! settings under way --------/
//! ```
//! Drawing is a function of the view alone, so that `--once` and the tests draw what a terminal would show.

mod draw;
mod feed;
mod keys;
mod panels;
mod picture;
mod view;

use crate::cli::Global;
use crate::commands::container::cap_setter;
use crate::commands::setter::apply;
use crate::connect::Context;
use crate::failure::Failure;
use crate::show;
use clap::Args;
use ecovisor_sdk::operator::wire;
use feed::News;
use keys::Action;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::{DefaultTerminal, Terminal};
use tokio::sync::mpsc;
use view::View;

/// News that may wait to be drawn: a second of a site with many events; a slower terminal slows the feed down.
const NEWS_MAX: usize = 256;

/// A live view of the site. Keys: q quits, arrows select an app and a container, c sets the container's cap, + and -
/// change it, space pauses, ? helps.
#[derive(Debug, Args)]
pub struct Top {
    /// Print one frame as plain text and exit.
    #[arg(long)]
    once: bool,
    /// Width of that frame [default: the terminal's, or 80].
    #[arg(long, value_name = "CELLS", requires = "once")]
    width: Option<u16>,
    /// Height of that frame [default: the terminal's, or 24].
    #[arg(long, value_name = "CELLS", requires = "once")]
    height: Option<u16>,
}

impl Top {
    /// Does it.
    ///
    /// # Errors
    /// Whatever cannot be retried.
    pub async fn watch(self, global: &Global) -> Result<(), Failure> {
        if global.json {
            return Err(Failure::usage("top is for people").hint("`ecoctl site watch --json` tells the same"));
        }
        if self.once {
            return self.print_once(global).await;
        }
        // What no retry would change is said before the terminal is taken.
        let context = match Context::connect(global).await {
            Err(failure) if failure.kind != crate::failure::Kind::Unreachable => return Err(failure),
            connected => connected.ok(),
        };
        if let Some(context) = context {
            context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
        }
        let mut terminal = ratatui::try_init().map_err(|cause| {
            Failure::other(format!("top needs a terminal: {cause}"))
                .hint("`ecoctl top --once` prints one frame")
        })?;
        let ended = live(&mut terminal, global).await;
        ratatui::restore();
        ended
    }

    async fn print_once(&self, global: &Global) -> Result<(), Failure> {
        let context = Context::connect(global).await?;
        let view = first(&context).await?;
        let terminal = ratatui::crossterm::terminal::size().ok();
        let width = self.width.or(terminal.map(|(width, _)| width)).unwrap_or(80);
        let height = self.height.or(terminal.map(|(_, height)| height)).unwrap_or(24);
        crate::output::print(&text(&view, width, height)?)
    }
}

/// The view with the last tick; before the first, with what there is.
async fn first(context: &Context) -> Result<View, Failure> {
    let mut site = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
    let last = site.last.take();
    let mut view = View::default();
    view.connected(site);
    if let Some(tick) = last {
        view.tick(tick);
    }
    Ok(view)
}

/// A frame as plain text.
fn text(view: &View, width: u16, height: u16) -> Result<String, Failure> {
    let cannot =
        |cause: &dyn std::fmt::Display| Failure::other(format!("a frame of {width} x {height}: {cause}"));
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(|cause| cannot(&cause))?;
    terminal.draw(|frame| draw::draw(frame, view)).map_err(|cause| cannot(&cause))?;
    let cells = terminal.backend().buffer().content();
    let lines = cells.chunks(usize::from(width.max(1)));
    let lines: Vec<String> = lines
        .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_string())
        .collect();
    Ok(lines.join("\n").trim_end().to_string())
}

/// The loop.
async fn live(terminal: &mut DefaultTerminal, global: &Global) -> Result<(), Failure> {
    let (news, mut told) = mpsc::channel(NEWS_MAX);
    let feeding = tokio::spawn(feed::feed(global.clone(), news.clone()));
    let mut pressed = listen_to_keys();
    let mut view = View::default();
    let mut context = None;
    loop {
        let drawn = terminal.draw(|frame| draw::draw(frame, &view));
        drawn.map_err(|cause| Failure::other(format!("the terminal cannot be drawn: {cause}")))?;
        tokio::select! {
            Some(news) = told.recv() => match news {
                News::Connected(new, site) => {
                    context = Some(*new);
                    view.connected(*site);
                }
                News::Lost(why) => view.lost(why),
                News::Tick(tick) => view.tick(*tick),
                News::Event(line) => view.event(line),
                News::Said(line) => view.said(line),
            },
            event = pressed.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => match keys::press(&mut view, key) {
                    Action::None => {}
                    Action::Quit => break,
                    Action::Cap(cap) => match &context {
                        Some(context) => drop(tokio::spawn(set_cap(context.clone(), cap, news.clone()))),
                        None => view.said("not connected: the cap is not set".into()),
                    },
                },
                Some(_) => {}
                None => break,
            },
        }
    }
    feeding.abort();
    Ok(())
}

/// Reading a terminal blocks, so it has a thread of its own; it ends with the process.
fn listen_to_keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Sets a cap and says what came of it.
async fn set_cap(context: Context, cap: keys::Cap, news: mpsc::Sender<News>) {
    let keys::Cap { app, container, power } = cap;
    let figure = show::or(power, |power| power.to_string(), "none");
    let line = match apply(&context, &app, cap_setter(container.clone(), power, None)).await {
        Ok(reply) => {
            format!("cap of {container}: {figure}, in the books from tick {}", reply.holds_from_tick)
        }
        Err(failure) if failure.hint.is_empty() => failure.message,
        Err(failure) => format!("{}; {}", failure.message, failure.hint),
    };
    // Without a receiver the view has ended, and nobody wants to know.
    let _ = news.send(News::Said(line)).await;
}

#[cfg(test)]
mod tests;
