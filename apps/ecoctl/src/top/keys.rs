//! What keys do.
//!
//! ```text
//! browsing --c--> typing a cap --Enter--> set it, browsing
//!                              \--Esc---> browsing
//! ```

use super::view::View;
use ecovisor_units::Power;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Least step of a cap.
const STEP_MIN: Power = Power::from_watts(1);
/// A step is that part of the cap: 1/20, so that twenty presses double or end it.
const STEP_PART: u64 = 20;

/// What is to be done beyond changing the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// End.
    Quit,
    /// Set a cap.
    Cap(Cap),
}

/// A cap that is to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Whose container.
    pub app: String,
    /// The container.
    pub container: String,
    /// The cap; `None` lifts it.
    pub power: Option<Power>,
}

/// A key was pressed.
pub fn press(view: &mut View, key: KeyEvent) -> Action {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Action::Quit;
    }
    if view.help {
        view.help = false;
        return Action::None;
    }
    match view.prompt.take() {
        Some(typed) => typing(view, typed, key.code),
        None => browsing(view, key.code),
    }
}

fn browsing(view: &mut View, key: KeyCode) -> Action {
    match key {
        KeyCode::Char('q') => return Action::Quit,
        KeyCode::Char('?') => view.help = true,
        KeyCode::Char(' ') => view.pause(),
        KeyCode::Up | KeyCode::Char('k') => view.select(-1, 0),
        KeyCode::Down | KeyCode::Char('j') => view.select(1, 0),
        KeyCode::Left | KeyCode::BackTab => view.select(0, -1),
        KeyCode::Right | KeyCode::Tab => view.select(0, 1),
        KeyCode::Char('c') if view.selected_container().is_some() => view.prompt = Some(String::new()),
        KeyCode::Char('+' | '=') => return step(view, true),
        KeyCode::Char('-') => return step(view, false),
        KeyCode::Char('c') => view.said("no container is selected".into()),
        _ => {}
    }
    Action::None
}

fn typing(view: &mut View, mut typed: String, key: KeyCode) -> Action {
    match key {
        KeyCode::Esc => return Action::None,
        KeyCode::Enter => return entered(view, &typed),
        KeyCode::Backspace => drop(typed.pop()),
        KeyCode::Char(letter) => typed.push(letter),
        _ => {}
    }
    view.prompt = Some(typed);
    Action::None
}

/// A bare number means watts: the prompt says so.
fn entered(view: &mut View, typed: &str) -> Action {
    let typed = typed.trim();
    let power = match typed {
        "none" => Ok(None),
        _ => typed.parse().or_else(|_| format!("{typed} W").parse()).map(Some),
    };
    match power {
        Ok(power) => set(view, power),
        Err(_) => {
            view.said(format!("`{typed}` is neither a power, such as `40` or `1.2kW`, nor `none`"));
            Action::None
        }
    }
}

/// A twentieth more or less than the cap that is set; without one, than what the container draws.
fn step(view: &mut View, more: bool) -> Action {
    let Some(container) = view.selected_container() else {
        view.said("no container is selected".into());
        return Action::None;
    };
    let from = Power::new(container.cap_mw.unwrap_or(container.power_mw));
    set(view, Some(stepped(from, more)))
}

fn stepped(from: Power, more: bool) -> Power {
    let step = Power::new(from.get() / STEP_PART).max(STEP_MIN);
    if more { from.saturating_add(step) } else { from.less(step) }
}

fn set(view: &mut View, power: Option<Power>) -> Action {
    let (Some(app), Some(container)) = (view.selected_app(), view.selected_container()) else {
        return Action::None;
    };
    Action::Cap(Cap { app: app.app.clone(), container: container.name.clone(), power })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::view;

    fn typed(view: &mut View, keys: &[KeyCode]) -> Action {
        keys.iter().fold(Action::None, |_, key| press(view, KeyEvent::new(*key, KeyModifiers::NONE)))
    }

    fn cap(power: Option<Power>) -> Action {
        Action::Cap(Cap { app: "web".into(), container: "one".into(), power })
    }

    #[test]
    fn a_cap_is_typed_and_set() {
        let c = KeyCode::Char;
        let check = |keys: &[KeyCode], power| assert_eq!(typed(&mut view(), keys), cap(power));
        check(&[c('c'), c('3'), c('0'), KeyCode::Enter], Some(Power::from_watts(30)));
        check(
            &[c('c'), c('3'), c('9'), KeyCode::Backspace, c('k'), c('W'), KeyCode::Enter],
            Some(Power::from_watts(3_000)),
        );
        check(&[c('c'), c('n'), c('o'), c('n'), c('e'), KeyCode::Enter], None);
        let mut view = view();
        assert_eq!(typed(&mut view, &[c('c'), c('x'), KeyCode::Enter]), Action::None);
        assert!(view.last_line.starts_with("`x` is neither"), "{}", view.last_line);
        assert_eq!(typed(&mut view, &[c('c'), c('4'), KeyCode::Esc, c('q')]), Action::Quit);
    }

    #[test]
    fn plus_and_minus_change_the_cap_by_a_twentieth() {
        assert_eq!(typed(&mut view(), &[KeyCode::Char('+')]), cap(Some(Power::from_watts(42))));
        assert_eq!(typed(&mut view(), &[KeyCode::Char('-')]), cap(Some(Power::from_watts(38))));
        assert_eq!(stepped(Power::ZERO, false), Power::ZERO);
        assert_eq!(stepped(Power::from_watts(2), false), Power::from_watts(1));
    }

    #[test]
    fn the_selection_stays_within_what_there_is() {
        let mut view = view();
        typed(&mut view, &[KeyCode::Up, KeyCode::Right, KeyCode::Right, KeyCode::Right]);
        assert_eq!((view.app, view.container), (0, 1));
        typed(&mut view, &[KeyCode::Down; 9]);
        assert_eq!((view.app, view.container), (2, 0));
    }

    #[test]
    fn a_pause_holds_the_tick_and_the_end_of_it_shows_the_newest() {
        let mut view = view();
        let mut later = view.tick.clone().unwrap();
        later.tick += 1;
        typed(&mut view, &[KeyCode::Char(' ')]);
        view.tick(later.clone());
        assert_ne!(view.tick.as_ref().unwrap().tick, later.tick);
        typed(&mut view, &[KeyCode::Char(' ')]);
        assert_eq!(view.tick.as_ref().unwrap().tick, later.tick);
    }
}
