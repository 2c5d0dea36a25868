//! `ecoctl reservation`: power that apps may count on in windows to come.

use crate::connect::Context;
use crate::failure::Failure;
use crate::json::object;
use crate::output::Grid;
use crate::show;
use clap::Subcommand;
use ecovisor_sdk::operator::wire;
use serde_json::{Value, json};

/// Reservations of power: list, cancel. Apps ask for them by themselves.
#[derive(Debug, Subcommand)]
pub enum Reservation {
    /// Running and coming reservations, and what backs them.
    List {
        /// Only this app's.
        #[arg(long)]
        app: Option<String>,
    },
    /// End a reservation before its time; its app is told.
    Cancel {
        /// Its number.
        id: u64,
    },
}

impl Reservation {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List { app } => {
                let request = wire::ListAppReservationsRequest { app: app.unwrap_or_default() };
                let reply = context.ask(context.operator.list_app_reservations(request)).await?;
                let all: Vec<Value> = reply.reservations.iter().map(entry).collect();
                context.output.answer(&json!({ "reservations": all }), &table(&reply.reservations))
            }
            Self::Cancel { id } => {
                let request = wire::CancelReservationRequest { id };
                let reply = context.ask(context.operator.cancel_app_reservation(request)).await?;
                let tick = reply.holds_from_tick;
                let said = format!("reservation {id} ends: what it held is free from tick {tick}");
                context.output.answer(&json!({ "id": id, "holds_from_tick": tick }), &said)
            }
        }
    }
}

fn table(reservations: &[wire::Reservation]) -> String {
    if reservations.is_empty() {
        return "nothing is reserved".into();
    }
    let headings = [
        ">ID",
        "APP",
        ">POWER",
        "FROM",
        "UNTIL",
        ">SURE",
        ">SUN",
        ">OWN GRID",
        ">BATTERY",
        ">SITE GRID",
        "STATE",
    ];
    let mut grid = Grid::new(&headings);
    for one in reservations {
        let most =
            |of: fn(&wire::ReservationPart) -> u64| show::power(one.parts.iter().map(of).max().unwrap_or(0));
        let state = match (one.short_mw, one.running) {
            (0, true) => "running".into(),
            (0, false) => "to come".into(),
            (short, _) => format!("short of {}", show::power(short)),
        };
        grid.row(vec![
            one.id.to_string(),
            one.app.clone(),
            show::power(one.power_mw),
            crate::time::show(one.start_ms),
            crate::time::show(one.end_ms),
            format!("{} %", f64::from(one.confidence_ppm) / 10_000.0),
            most(|part| part.solar_mw),
            most(|part| part.own_grid_mw),
            most(|part| part.battery_mw),
            most(|part| part.site_grid_mw),
            state,
        ]);
    }
    grid.to_string()
}

fn entry(one: &wire::Reservation) -> Value {
    let part = |part: &wire::ReservationPart| object!(part => ReservationPart { end_ms, solar_mw, own_grid_mw, battery_mw, site_grid_mw });
    object!(one => Reservation {
        id, app, power_mw, start_ms, end_ms, confidence_ppm, short_mw, running;
        parts: parts.iter().map(part).collect::<Vec<_>>()
    })
}
