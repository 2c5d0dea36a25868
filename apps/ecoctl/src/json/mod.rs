//! Messages of the wire as JSON: the keys are the wire's field names, whose suffix is the unit; integers are numbers,
//! 128-bit products are strings, states are words. Each message is taken apart whole, so that a new field of the wire
//! fails to compile here until it is shown.

pub mod app;
pub mod event;
pub mod flows;
pub mod group;
pub mod site;

use ecovisor_sdk::Reason;

/// The object of a message: its plain fields by name, then (after `;`) those that need a conversion.
macro_rules! object {
    ($message:expr => $kind:ident { $($field:ident),* $(; $($part:ident: $value:expr),* $(,)?)? }) => {{
        let ecovisor_sdk::operator::wire::$kind { $($field,)* $($($part,)*)? } = $message;
        let mut object = serde_json::Map::new();
        $( object.insert(stringify!($field).into(), serde_json::json!($field)); )*
        $($( object.insert(stringify!($part).into(), serde_json::json!($value)); )*)?
        serde_json::Value::Object(object)
    }};
}
pub(crate) use object;

/// The reason of a refusal in a word: `exceeds_free`.
pub fn reason(reason: Reason) -> String {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name).to_lowercase()
}
