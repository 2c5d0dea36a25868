//! Settles the ticks of the executable model (hil-tests/model) with the core: JSON lines in, JSON lines out.
//!
//! A line carries `site`, `state` and `inputs` as model.py reads them; the answer has model.py's shape. Where a line also
//! carries `books`, the model's own answer, the two are compared and any difference ends the run. Figures beyond a u64
//! travel as strings, since JSON readers would make floats of them.
//!
//!     nice python3 hil-tests/model/emit.py 100000 1 | cargo run --release -p ecovisor-core --example settle_json

use ecovisor_core::battery::Conversion;
use ecovisor_core::ledger::Account;
use ecovisor_core::settle::{Metered, Settled, SiteTerms, SolarRule, Terms, settle};
use ecovisor_core::split::split;
use ecovisor_core::{AppId, Efficiency, Flows, SiteFlows};
use ecovisor_units::{Carbon, CarbonIntensity, CarbonRate, Energy, EnergySum, Millis, Power};
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};

/// Why a line could not be settled.
type Failure = Box<dyn std::error::Error>;

#[allow(dead_code, reason = "tests/model.rs takes this file as a module and has a main of its own")]
fn main() -> Result<(), Failure> {
    let mut compared = 0_u64;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let tick: Value = serde_json::from_str(&line?)?;
        let answer = answer(&tick)?;
        match tick.get("books") {
            Some(books) => {
                compare(&tick, books, &answer)?;
                compared += 1;
            }
            None => writeln!(out, "{answer}")?,
        }
    }
    if compared > 0 {
        writeln!(out, "{compared} ticks, no difference")?;
    }
    Ok(())
}

/// What the core makes of one tick of the model.
///
/// # Errors
/// Where the line is no tick, or an invariant breaks.
pub fn answer(tick: &Value) -> Result<Value, Failure> {
    let (site, state, inputs) = (&tick["site"], &tick["state"], &tick["inputs"]);
    let apps = state["apps"].as_array().ok_or("state.apps is a list")?;
    let terms = terms(site, apps, inputs)?;
    let mut accounts = apps.iter().map(account).collect::<Result<Vec<_>, _>>()?;
    let mut deficit = EnergySum::new(figure(&state["deficit_uj"])?);
    let site_terms = site_terms(site, inputs)?;
    let settled = settle(&site_terms, &terms, &mut accounts, &mut deficit)?;
    if site_terms.solar_rule == SolarRule::Buffered {
        let weights: Vec<u128> = terms.iter().map(|t| u128::from(t.weight)).collect();
        divide_buffer(settled.site.buffer, &weights, &mut accounts);
    }
    Ok(json!({
        "state": state_after(apps, &terms, &accounts, &settled, deficit),
        "apps": settled.flows.iter().map(flows).collect::<Vec<_>>(),
        "site": books(&settled.site),
    }))
}

/// Compares the model's answer with the core's, figure by figure.
///
/// # Errors
/// Names the figures that differ, and the tick.
pub fn compare(tick: &Value, model: &Value, core: &Value) -> Result<(), Failure> {
    let mut differences = Vec::new();
    differ("", model, core, &mut differences);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("the model and the core differ:\n{}\nin {tick}", differences.join("\n")).into())
}

fn differ(path: &str, model: &Value, core: &Value, found: &mut Vec<String>) {
    match (model, core) {
        (Value::Object(left), Value::Object(right)) => {
            let names = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            for name in names {
                let (l, r) =
                    (left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null));
                differ(&format!("{path}.{name}"), l, r, found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (i, (l, r)) in left.iter().zip(right).enumerate() {
                differ(&format!("{path}[{i}]"), l, r, found);
            }
        }
        _ if model == core => {}
        _ => found.push(format!("{path}: model {model}, core {core}")),
    }
}

fn figure(value: &Value) -> Result<u128, Failure> {
    match value {
        Value::Number(number) => Ok(number.as_u64().ok_or("a figure is an unsigned integer")?.into()),
        Value::String(text) => Ok(text.parse()?),
        other => Err(format!("{other} is no figure").into()),
    }
}

fn small(value: &Value) -> Result<u64, Failure> {
    Ok(figure(value)?.try_into()?)
}

fn said(value: u128) -> Value {
    u64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::from)
}

fn holds(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

fn site_terms(site: &Value, inputs: &Value) -> Result<SiteTerms, Failure> {
    let efficiency = |name: &str| -> Result<Efficiency, Failure> {
        Ok(Efficiency::try_from(u32::try_from(small(&site[name])?)?)?)
    };
    let meter = |name: &str| match &inputs["metered"][name] {
        Value::Null => Ok(None),
        value => small(value).map(|energy| Some(Energy::new(energy))),
    };
    Ok(SiteTerms {
        solar_rule: match site["solar"].as_str() {
            Some("buffered") => SolarRule::Buffered,
            _ => SolarRule::Live { curtailable: holds(&site["curtailable"]) },
        },
        solar: Energy::new(small(&inputs["solar_uj"])?),
        redistribute: holds(&site["redistribute"]),
        export_limit: if holds(&site["export"]) { Energy::MAX } else { Energy::ZERO },
        islanded: holds(&inputs["islanded"]),
        intensity: CarbonIntensity::new(small(&inputs["intensity_mg_per_kwh"])?),
        conversion: Conversion { charge: efficiency("charge_ppm")?, discharge: efficiency("discharge_ppm")? },
        tolerance: Energy::new(small(&site["tolerance_uj"])?),
        metered: Metered {
            solar: meter("solar")?,
            grid_import: meter("grid_import")?,
            grid_export: meter("grid_export")?,
            battery_in: meter("battery_in")?,
            battery_out: meter("battery_out")?,
            load: meter("load")?,
            level: meter("level")?,
        },
    })
}

/// One [`Terms`] per app, `house` last, made as `Site` makes them.
fn terms(site: &Value, apps: &[Value], inputs: &Value) -> Result<Vec<Terms>, Failure> {
    let span = Millis::new(small(&inputs["span_ms"])?);
    let intensity = CarbonIntensity::new(small(&inputs["intensity_mg_per_kwh"])?);
    let buffered = site["solar"] == "buffered";
    let weights = apps.iter().map(|app| figure(&app["solar_weight"])).collect::<Result<Vec<_>, _>>()?;
    let live = by_weight(figure(&inputs["solar_uj"])?, &weights);
    let mut terms = Vec::with_capacity(apps.len());
    for (i, app) in apps.iter().enumerate() {
        let energy = |name: &str| small(&app[name]).map(Energy::new);
        let power = |name: &str| small(&app[name]).map(Power::new);
        let carbon_limit = match &app["carbon_rate_mg_per_h"] {
            Value::Null => Energy::MAX,
            rate => CarbonRate::new(small(rate)?).power_within(intensity).over(span),
        };
        terms.push(Terms {
            app: app_id(i, apps.len()),
            solar: if buffered { energy("buffered_uj")? } else { Energy::new(live[i].try_into()?) },
            load: Energy::new(small(&inputs["loads_uj"][i])?),
            weight: weights[i].try_into()?,
            capacity: energy("capacity_uj")?,
            floor: energy("floor_uj")?,
            charge_limit: power("charge_limit_mw")?.over(span),
            discharge_limit: power("discharge_limit_mw")?.min(power("max_discharge_mw")?).over(span),
            charge: power("charge_rate_mw")?.over(span),
            grid_limit: power("grid_limit_mw")?.over(span),
            carbon_limit,
            battery_gives: true,
        });
    }
    Ok(terms)
}

fn app_id(i: usize, apps: usize) -> AppId {
    if i + 1 == apps { AppId::HOUSE } else { AppId::new(u32::try_from(i + 1).unwrap_or(u32::MAX)) }
}

/// By solar weight; all to `house`, last, where nobody has one.
fn by_weight(whole: u128, weights: &[u128]) -> Vec<u128> {
    if weights.iter().any(|&weight| weight > 0) {
        return split(whole, weights.iter().copied()).collect();
    }
    let mut parts = vec![0; weights.len()];
    parts[weights.len() - 1] = whole;
    parts
}

fn divide_buffer(buffer: EnergySum, weights: &[u128], accounts: &mut [Account]) {
    for (account, part) in accounts.iter_mut().zip(by_weight(buffer.get(), weights)) {
        account.buffered = EnergySum::new(part).narrow_saturating();
    }
}

fn account(app: &Value) -> Result<Account, Failure> {
    Ok(Account {
        stored: Energy::new(small(&app["stored_uj"])?),
        debt: EnergySum::new(figure(&app["debt_uj"])?),
        loan: EnergySum::new(figure(&app["loan_uj"])?),
        buffered: Energy::new(small(&app["buffered_uj"])?),
        carbon_content: Carbon::ZERO,
    })
}

fn state_after(
    apps: &[Value],
    terms: &[Terms],
    accounts: &[Account],
    settled: &Settled,
    deficit: EnergySum,
) -> Value {
    let mut after = Vec::new();
    for ((app, terms), account) in apps.iter().zip(terms).zip(accounts) {
        let mut app = app.clone();
        app["stored_uj"] = said(account.stored.get().into());
        app["debt_uj"] = said(account.debt.get());
        app["loan_uj"] = said(account.loan.get());
        app["buffered_uj"] = said(account.buffered.get().into());
        if settled.charge_ended.contains(&terms.app) {
            app["charge_rate_mw"] = Value::from(0);
        }
        after.push(app);
    }
    json!({ "apps": after, "deficit_uj": said(deficit.get()) })
}

/// All flows but those of loans, which the model keeps in its state alone.
fn flows(flows: &Flows) -> Value {
    let shown = flows.figures().filter(|(name, _)| !name.starts_with("loan_"));
    Value::Object(shown.map(|(name, figure)| (name.to_string(), said(figure))).collect::<Map<_, _>>())
}

fn books(site: &SiteFlows) -> Value {
    let mut books = Map::new();
    for (name, value) in site.figures() {
        let part = ["booked", "over", "short"]
            .into_iter()
            .find_map(|part| Some((name.strip_suffix(part)?.strip_suffix('_')?, part)));
        match part {
            // The model has neither: they follow from the loads and the claims.
            _ if ["load_booked", "level_booked", "buffer_adjusted"].contains(&name) => {}
            Some((meter, part)) => {
                let entry = books.entry(meter.to_string()).or_insert_with(|| Value::Object(Map::new()));
                entry[part] = said(value);
            }
            None => {
                books.insert(name.to_string(), said(value));
            }
        }
    }
    Value::Object(books)
}
