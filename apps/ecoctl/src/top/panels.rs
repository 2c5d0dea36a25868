//! The parts of a frame that are tables and gauges.

use super::draw::panel;
use super::view::{Sample, View};
use crate::commands::battery::gauge;
use crate::show::{self, state};
use ecovisor_sdk::operator::wire;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, TableState};

/// Gauges of the apps' batteries, as many as fit.
pub fn batteries(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let all: Vec<String> = view.apps().iter().filter_map(battery).collect();
    let room = usize::from(area.height.saturating_sub(1));
    let mut shown: Vec<String> = all.iter().take(room).cloned().collect();
    if all.len() > room {
        shown.pop();
        shown.push(format!(" and {} more", all.len() - shown.len()));
    }
    if all.is_empty() && view.tick.is_some() {
        shown.push(" no app has one".into());
    }
    frame.render_widget(Paragraph::new(shown.join("\n")).block(panel("batteries")), area);
}

/// `web        ██████░░░░ 61 %   +40 W`.
fn battery(app: &wire::AppTick) -> Option<String> {
    let battery = app.battery.as_ref()?;
    let flow = match battery.charge_rate_mw.cmp(&battery.discharge_rate_mw) {
        std::cmp::Ordering::Greater => format!("+{}", show::power(battery.charge_rate_mw)),
        std::cmp::Ordering::Less => format!("-{}", show::power(battery.discharge_rate_mw)),
        std::cmp::Ordering::Equal => String::new(),
    };
    Some(format!(" {:<10} {:<16} {flow:>8}", short(&app.app, 10), gauge(battery)))
}

/// A quantity's name, its colour, and how it is read from a sample.
type Quantity = (&'static str, Color, fn(&Sample) -> u64);

/// One line of history for each quantity, oldest first; it scrolls when the line is full.
pub fn history(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let inner = panel("history").inner(area);
    frame.render_widget(panel("history"), area);
    let rows = Layout::vertical([Constraint::Length(1); 3]).split(inner);
    let quantities: [Quantity; 3] = [
        (" solar ", Color::Yellow, |sample| sample.solar_mw),
        (" load  ", Color::Cyan, |sample| sample.load_mw),
        (" grid  ", Color::Magenta, |sample| sample.grid_mw),
    ];
    for ((name, colour, of), row) in quantities.iter().zip(rows.iter()) {
        let [label, line] = Layout::horizontal([Constraint::Length(7), Constraint::Min(1)]).areas(*row);
        let width = usize::from(line.width);
        let newest = view.history.len().saturating_sub(width);
        let data: Vec<u64> = view.history.iter().skip(newest).map(of).collect();
        frame.render_widget(Paragraph::new(*name), label);
        frame.render_widget(Sparkline::default().data(&data).style(Style::new().fg(*colour)), line);
    }
}

/// The apps: power by source, cap, supply, battery.
pub fn apps(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let span = view.tick.as_ref().map_or(0, |tick| tick.span_ms);
    let rows = view.apps().iter().map(|app| Row::new(app_cells(app, span)));
    let header = row(["APP", ">LOAD", ">SOLAR", ">BATTERY", ">GRID", ">OTHERS", ">CAP", ">SUPPLY", ">LEVEL"]);
    let widths = [
        Constraint::Min(9),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(6),
    ];
    let table = Table::new(rows, widths).column_spacing(1).header(header.style(dim())).block(panel("apps"));
    let mut selected = TableState::default().with_selected(Some(view.app));
    frame.render_stateful_widget(table.row_highlight_style(highlight()), area, &mut selected);
}

fn app_cells(app: &wire::AppTick, span: u64) -> [Text<'static>; 9] {
    let flows = app.flows.clone().unwrap_or_default();
    let mean = |uj: u64| right(show::mean(uj, span));
    let overdraft = flows
        .overdraft_grid_uj
        .saturating_add(flows.overdraft_from_spill_uj)
        .saturating_add(flows.overdraft_lent_uj)
        .saturating_add(flows.forced_to_load_uj);
    let marks = format!("{}{}", if app.estimated { "~" } else { "" }, if overdraft > 0 { "!" } else { "" });
    let level =
        app.battery.as_ref().map(|b| format!("{} %", show::percent(b.charge_level_uj, b.capacity_uj)));
    [
        Text::from(format!(" {}{marks}", short(&app.app, 12))),
        mean(flows.load_uj),
        mean(flows.solar_to_load_uj),
        mean(flows.battery_to_load_uj.saturating_add(flows.forced_to_load_uj)),
        mean(flows.grid_to_load_uj.saturating_add(flows.overdraft_grid_uj)),
        mean(
            flows
                .received_to_load_uj
                .saturating_add(flows.overdraft_from_spill_uj)
                .saturating_add(flows.overdraft_lent_uj),
        ),
        right(show::or(app.effective_cap_mw.filter(|_| !app.containers.is_empty()), show::power, show::NONE)),
        right(if state::life(app.state) == "active" {
            show::power(app.supply_mw)
        } else {
            state::life(app.state)
        }),
        right(level.unwrap_or_else(|| show::NONE.into())),
    ]
}

/// The containers of the selected app.
pub fn containers(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let Some(app) = view.selected_app() else { return };
    let name = format!("containers of {}", app.app);
    if app.containers.is_empty() {
        frame.render_widget(Paragraph::new(" none").block(panel(&name)), area);
        return;
    }
    let rows = app.containers.iter().map(|container| Row::new(container_cells(container)));
    let header = row(["CONTAINER", ">POWER", ">CAP", ">IN FORCE", " CAPPING", " TARGET"]);
    let widths = [
        Constraint::Length(20),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(14),
        Constraint::Min(10),
    ];
    let table = Table::new(rows, widths).column_spacing(0).header(header.style(dim())).block(panel(&name));
    let mut selected = TableState::default().with_selected(Some(view.container));
    frame.render_stateful_widget(table.row_highlight_style(highlight()), area, &mut selected);
}

fn container_cells(container: &wire::Container) -> [Text<'static>; 6] {
    let mark = if container.estimated { "~" } else { "" };
    let kind = container.capping.as_ref().map_or(0, |capping| capping.kind);
    let power = |mw: Option<u64>| right(show::or(mw, show::power, show::NONE));
    [
        Text::from(format!(" {}{mark}", short(&container.name, 18))),
        power(Some(container.power_mw)),
        power(container.cap_mw),
        power(container.effective_cap_mw),
        Text::from(format!(" {}", state::capping(kind).replace('_', " "))),
        Text::from(format!(" {}", state::target_short(container.target.as_ref()))),
    ]
}

fn row<const N: usize>(headings: [&'static str; N]) -> Row<'static> {
    Row::new(headings.map(|heading| match heading.strip_prefix('>') {
        Some(figure) => right(figure.to_string()),
        None => {
            Text::from(if heading.starts_with(' ') { heading.to_string() } else { format!(" {heading}") })
        }
    }))
}

fn right(text: String) -> Text<'static> {
    Text::from(Line::from(text).alignment(Alignment::Right))
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn highlight() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// At most `width` characters; an ellipsis says that there are more.
fn short(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_string();
    }
    let kept: String = name.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}
