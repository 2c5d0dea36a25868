//! Ledger rows as flat tables: one column for each figure, the same names as in JSON. An app's figures stand alone, the
//! site's begin with `site_`; a row leaves the other's columns empty.

use crate::json;
use ecovisor_sdk::operator::wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wire::ledger_row::Account;

/// A row: column -> figure in text. What has no figure has no entry.
pub type Row = BTreeMap<String, String>;

/// Columns that every row has, in front.
pub const COMMON: [&str; 7] =
    ["tick", "wall_start_ms", "span_ms", "account", "estimated", "gap", "grid_carbon_mg_per_kwh"];

/// The account of the site's own row; no app can have this name, since names have no `(`.
pub const SITE: &str = "(site)";

/// A row of the ledger, flat.
pub fn flat(row: &wire::LedgerRow) -> Row {
    let wire::LedgerRow { tick, wall_start_ms, span_ms, gap, estimated, grid_carbon_mg_per_kwh, account } =
        row;
    let mut flat = Row::new();
    let common = json!({
        "tick": tick, "wall_start_ms": wall_start_ms, "span_ms": span_ms, "gap": gap, "estimated": estimated,
        "grid_carbon_mg_per_kwh": grid_carbon_mg_per_kwh,
    });
    flatten(&mut flat, "", &common);
    match account {
        Some(Account::App(app)) => {
            flat.insert("account".into(), app.app.clone());
            flatten(&mut flat, "", &app.flows.as_ref().map_or(Value::Null, json::flows::flows));
            let account = json!({ "charge_level_uj": app.charge_level_uj, "debt_uj": app.debt_uj, "loans_uj": app.loans_uj });
            flatten(&mut flat, "", &account);
        }
        Some(Account::Site(flows)) => {
            flat.insert("account".into(), SITE.into());
            flatten(&mut flat, "site_", &json::flows::site_flows(flows));
        }
        None => {}
    }
    flat
}

/// `{"solar": {"booked_uj": 1}}` becomes `site_solar_booked_uj: 1`.
fn flatten(flat: &mut Row, prefix: &str, value: &Value) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        match value {
            Value::Object(_) => flatten(flat, &format!("{prefix}{key}_"), value),
            Value::Null => {}
            Value::String(text) => drop(flat.insert(format!("{prefix}{key}"), text.clone())),
            plain => drop(flat.insert(format!("{prefix}{key}"), plain.to_string())),
        }
    }
}

/// All columns of a table: the common ones, the apps', the site's, each by name.
pub fn columns() -> Vec<String> {
    let metered = Some(wire::MeteredFlow { metered_uj: Some(0), ..wire::MeteredFlow::default() });
    let site = wire::SiteFlows {
        solar: metered,
        grid_import: metered,
        grid_export: metered,
        battery_in: metered,
        battery_out: metered,
        load_metered_uj: Some(0),
        battery_level_metered_uj: Some(0),
        ..wire::SiteFlows::default()
    };
    let app = wire::AppRow { flows: Some(wire::Flows::default()), ..wire::AppRow::default() };
    let own = |account| {
        let row = flat(&wire::LedgerRow { account: Some(account), ..wire::LedgerRow::default() });
        row.into_keys().filter(|column| !COMMON.contains(&column.as_str()))
    };
    let common = COMMON.iter().map(|column| (*column).to_string());
    common.chain(own(Account::App(app))).chain(own(Account::Site(site))).collect()
}

/// A row's figures in the order of `columns`.
pub fn ordered<'a>(row: &'a Row, columns: &'a [String]) -> impl Iterator<Item = &'a str> {
    columns.iter().map(|column| row.get(column).map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_a_row_has_its_column() {
        let columns = columns();
        assert_eq!(&columns[..7], &COMMON.map(String::from));
        for column in
            ["load_uj", "carbon_product", "charge_level_uj", "site_solar_booked_uj", "site_deficit_uj"]
        {
            assert!(columns.contains(&column.to_string()), "{column}");
        }
        let mut unique = columns.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), columns.len(), "no column twice");
    }

    #[test]
    fn a_row_leaves_the_others_columns_empty() {
        let flows = Some(wire::Flows { load_uj: 7, ..wire::Flows::default() });
        let app = wire::AppRow { app: "web".into(), flows, ..wire::AppRow::default() };
        let row = flat(&wire::LedgerRow {
            tick: 3,
            account: Some(Account::App(app)),
            ..wire::LedgerRow::default()
        });
        let columns = ["tick", "account", "load_uj", "site_deficit_uj"].map(String::from);
        assert_eq!(ordered(&row, &columns).collect::<Vec<_>>(), ["3", "web", "7", ""]);
    }
}
