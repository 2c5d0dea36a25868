//! Groups as JSON.

use super::app::share;
use super::object;
use super::site::free;
use ecovisor_sdk::operator::wire;
use serde_json::Value;

/// A group.
pub fn group(group: &wire::Group) -> Value {
    object!(group => Group {
        name, parent, groups, apps, load_mw, charge_level_uj, load_uj, carbon_mg;
        share: share.as_ref().map(self::share),
        free: self::free(free.as_ref()),
    })
}

/// What a change of a group came to.
pub fn change(reply: &wire::GroupChangeReply) -> Value {
    object!(reply => GroupChangeReply {
        holds_from_tick;
        free: self::free(free.as_ref()),
        group: group.as_ref().map(self::group),
    })
}

/// What a move came to.
pub fn moved(reply: &wire::MoveShareReply) -> Value {
    object!(reply => MoveShareReply { holds_from_tick; free: self::free(free.as_ref()) })
}
