//! Dividing an app's own share: children with virtual energy systems of their own.

use crate::error::present;
use crate::{Error, Life};
use ecovisor_proto::v1;
use ecovisor_units::{CarbonMass, Energy, Power};
use std::path::PathBuf;

/// What an app is entitled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Weight when solar is divided among siblings and their parent. Zero: no solar, unless nobody there has a weight.
    pub solar_weight: u32,
    /// Capacity of the virtual battery. Zero: no battery.
    pub battery_capacity: Energy,
    /// Level that no flow goes below.
    pub battery_floor: Energy,
    /// Most that the battery takes, at its terminals.
    pub charge_limit: Power,
    /// Most that the battery gives, at its terminals.
    pub discharge_limit: Power,
    /// Most that is drawn from the grid. Zero: no grid connection.
    pub grid_limit: Power,
}

/// A child of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its whole name, such as `web.batch`.
    pub name: String,
    /// What it was given, what it has given to its own children included.
    pub share: Share,
    /// Where it stands in its life.
    pub life: Life,
    /// The socket to which it connects: give it this in `ECOVISOR_SOCKET`.
    pub socket: PathBuf,
    /// What is in its battery.
    pub charge_level: Energy,
    /// Energy used since it was made, as far back as the ledger goes.
    pub load: Energy,
    /// Carbon since then, rounded down.
    pub carbon: CarbonMass,
    /// How many containers it has.
    pub containers: u32,
}

/// What dividing a share, or taking a part back, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divided {
    /// The first tick that it holds for; `None` for a dry run.
    pub holds_from_tick: Option<u64>,
    /// What the app keeps to itself.
    pub own: Share,
    /// The child afterwards; `None` where it is ended, and for a dry run.
    pub child: Option<Child>,
}

impl Share {
    pub(crate) fn write(self) -> v1::AppShare {
        v1::AppShare {
            solar_weight: u64::from(self.solar_weight),
            battery_capacity_uj: self.battery_capacity.get(),
            battery_floor_uj: self.battery_floor.get(),
            battery_charge_limit_mw: self.charge_limit.get(),
            battery_discharge_limit_mw: self.discharge_limit.get(),
            grid_limit_mw: self.grid_limit.get(),
        }
    }

    pub(crate) fn read(share: v1::AppShare) -> Result<Self, Error> {
        let v1::AppShare {
            solar_weight,
            battery_capacity_uj,
            battery_floor_uj,
            battery_charge_limit_mw,
            battery_discharge_limit_mw,
            grid_limit_mw,
        } = share;
        let solar_weight = u32::try_from(solar_weight).ok();
        Ok(Self {
            solar_weight: present(solar_weight, "a solar weight of at most 4294967295")?,
            battery_capacity: Energy::new(battery_capacity_uj),
            battery_floor: Energy::new(battery_floor_uj),
            charge_limit: Power::new(battery_charge_limit_mw),
            discharge_limit: Power::new(battery_discharge_limit_mw),
            grid_limit: Power::new(grid_limit_mw),
        })
    }
}

impl Child {
    pub(crate) fn read(child: v1::Child) -> Result<Self, Error> {
        let life = Life::read(child.state())?;
        let v1::Child { name, share, state: _, socket, charge_level_uj, load_uj, carbon_mg, containers } =
            child;
        Ok(Self {
            name,
            share: Share::read(present(share, "a child's share")?)?,
            life,
            socket: socket.into(),
            charge_level: Energy::new(charge_level_uj),
            load: Energy::new(load_uj),
            carbon: CarbonMass::new(carbon_mg),
            containers,
        })
    }
}

impl Divided {
    pub(crate) fn read(reply: v1::DivideShareReply) -> Result<Self, Error> {
        let v1::DivideShareReply { holds_from_tick, own, child } = reply;
        Ok(Self {
            holds_from_tick,
            own: Share::read(present(own, "what the app keeps")?)?,
            child: child.map(Child::read).transpose()?,
        })
    }
}
