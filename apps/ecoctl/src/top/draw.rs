//! A frame: title, flows and batteries, history, apps, containers of the selected app, the last event, keys.

use super::view::{Link, View};
use super::{panels, picture};
use crate::show::{self, state};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

/// Least width and height at which anything can be told.
const SMALLEST: (u16, u16) = (40, 12);
/// The height for which the layout is made; what a terminal has beyond goes to apps and containers.
const USUAL_HEIGHT: u16 = 24;

const HELP: &str = "\
up down      select an app
left right   select one of its containers
c            set the container's cap: 40, 1.2kW, none
+ -          change it by a twentieth
space        pause
q            quit

~ rests on a held or assumed reading
! overdraft: more than it is entitled to";

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("{} x {} is too small: 80 x 24 shows all", area.width, area.height);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let spare = area.height.saturating_sub(USUAL_HEIGHT);
    let [title, flows, history, apps, containers, event, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Length(4),
        Constraint::Min(3),
        Constraint::Length(5 + spare / 3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(view)).style(title_style(view)), title);
    draw_flows(frame, view, flows);
    panels::history(frame, view, history);
    if view.tick.is_some() {
        panels::apps(frame, view, apps);
        panels::containers(frame, view, containers);
    } else {
        frame.render_widget(Paragraph::new(waiting(view)).centered().block(panel("apps")), apps);
    }
    frame.render_widget(Paragraph::new(last_line(view)), event);
    let hint = Paragraph::new("q quit  arrows select  c cap  + - change  space pause  ? help");
    frame.render_widget(hint.style(Style::new().add_modifier(Modifier::DIM)), keys);
    if view.help {
        draw_help(frame, area);
    }
}

/// A part of the frame: a line with its name above it.
pub fn panel(name: &str) -> Block<'_> {
    Block::new()
        .borders(Borders::TOP)
        .title(format!(" {name} "))
        .border_style(Style::new().add_modifier(Modifier::DIM))
}

fn title_style(view: &View) -> Style {
    let style = Style::new().add_modifier(Modifier::REVERSED);
    match view.link {
        Link::Lost(_) => style.red(),
        Link::Waiting | Link::Live => style,
    }
}

fn heading(view: &View) -> String {
    let site = if view.site.name.is_empty() { "site" } else { &view.site.name };
    let mut parts = vec![format!(" {site}")];
    if let Some(tick) = &view.tick {
        parts.push(format!("tick {}", tick.tick));
        parts.push(crate::time::show(tick.wall_start_ms));
        let flows = tick.site.as_ref().filter(|flows| flows.grid_import.is_some());
        parts.extend(flows.map(|flows| show::intensity(flows.grid_carbon_mg_per_kwh)));
        parts.extend(tick.estimated.then(|| "estimated".into()));
    }
    match &view.link {
        Link::Waiting => parts.push("connecting".into()),
        Link::Live => {
            let mode = state::site_mode(view.site.mode);
            parts.extend((mode != "normal").then(|| format!("mode {mode}")));
        }
        Link::Lost(_) => parts.push("connection lost, retrying".into()),
    }
    parts.extend(view.paused.then(|| "PAUSED".into()));
    parts.join("  ")
}

fn waiting(view: &View) -> String {
    match &view.link {
        Link::Lost(why) => format!("\nconnection lost, retrying\n{why}"),
        Link::Waiting => "\nconnecting".into(),
        Link::Live => "\nwaiting for the first tick".into(),
    }
}

fn draw_flows(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Length(42), Constraint::Min(20)]).areas(area);
    let lines = view.flows().map(|(flows, span)| picture::lines(flows, span, view.site.capacity.as_ref()));
    let text = lines.map(|lines| lines.map(|line| format!(" {line}")).join("\n")).unwrap_or_default();
    frame.render_widget(Paragraph::new(text).block(panel("flows")), left);
    panels::batteries(frame, view, right);
}

/// The cap that is being typed; else why the connection is lost; else the last event.
fn last_line(view: &View) -> String {
    let container = view.selected_container();
    match (&view.prompt, container, &view.link) {
        (Some(typed), Some(container), _) => {
            let now = show::or(container.cap_mw, show::power, "none");
            format!(" cap of {} in W (now {now}): {typed}_", container.name)
        }
        (_, _, Link::Lost(why)) => format!(" {why}"),
        _ => format!(" {}", view.last_line),
    }
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (52.min(area.width), 11.min(area.height));
    let at = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, at);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" keys ")), at);
}
