//! `ecoctl device`: what the site is made of, and how it is.

use crate::connect::Context;
use crate::failure::Failure;
use crate::output::Grid;
use crate::show::{self, state};
use clap::Subcommand;
use ecovisor_sdk::operator::wire;
use serde_json::json;

/// Devices.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// All devices, in the order of the configuration.
    List,
}

impl Device {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::List = self;
        let reply = context.ask(context.operator.list_devices(wire::ListDevicesRequest {})).await?;
        let devices: Vec<_> = reply.devices.iter().map(crate::json::site::device).collect();
        context.output.answer(&json!({ "devices": devices }), &table(&reply.devices))
    }
}

fn table(devices: &[wire::Device]) -> String {
    let mut grid =
        Grid::new(&["NAME", "DRIVER", "ROLES", "STATE", ">AGE", ">READS", ">FAILED", "LAST ERROR"]);
    for device in devices {
        let roles: Vec<String> = device.roles.iter().map(|role| state::device_role(*role)).collect();
        let error = device.last_error.as_ref().map(|error| match device.last_error_ms {
            Some(at) => format!("{error} ({})", crate::time::show(at)),
            None => error.clone(),
        });
        grid.row(vec![
            device.name.clone(),
            device.driver.clone(),
            roles.join(","),
            state::device_state(device.state),
            show::or(device.age_ms, show::span, "never read"),
            device.reads.to_string(),
            device.failed_reads.to_string(),
            error.unwrap_or_else(|| show::NONE.into()),
        ]);
    }
    grid.to_string()
}
