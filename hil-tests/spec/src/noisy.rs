//! One tenant that calls 10,000 times a second, and what the others feel of it, beside a bare server.

use crate::load::{Answers, Method, Pace, median, open, percentile};
use crate::report::{Bound, Form, Row};
use crate::site::{App, Site};
use anyhow::Result;
use std::time::Duration;

/// Apps of the site: the noisy one and the others.
const APPS: u32 = 10;

/// Connections of the noisy tenant.
const NOISY_CONNECTIONS: u32 = 8;

/// Others that call meanwhile, a hundred times a second each.
const OTHERS: u32 = 4;

/// 10,000 calls a second.
fn noise(time: Duration) -> Pace {
    Pace { burst: 10, every: Duration::from_millis(1), time }
}

/// 400 calls a second, from all others together.
fn quiet(time: Duration) -> Pace {
    Pace { burst: 2, every: Duration::from_millis(5), time }
}

/// Measures reads in turns with the bare server, then settings.
///
/// # Errors
/// Where a server does not answer.
pub async fn measure(form: Form) -> Result<Vec<Row>> {
    let site = Site::start(APPS).await?;
    let bare = site.bare().await?;
    let (mut noisy, mut others, mut plain_noisy, mut plain_others) = (vec![], vec![], vec![], vec![]);
    for _ in 0..NOISY_CONNECTIONS {
        noisy.push(site.app(0).await?);
        plain_noisy.push(bare.client().await?);
    }
    for nth in 1..=OTHERS {
        others.push(site.app(nth).await?);
        plain_others.push(bare.client().await?);
    }
    let before = site.overruns().await?.late;
    let (turns, slice) = form.pick((5, Duration::from_secs(4)), (3, Duration::from_secs(2)));
    let (mut own, mut other, mut answered) = (vec![], vec![], 0);
    for _ in 0..turns {
        let (_, felt) = under(&plain_noisy, &plain_others, slice, Method::GetEnergySystem).await?;
        other.push(p99_ms(&felt));
        let (noise, felt) = under(&noisy, &others, slice, Method::GetEnergySystem).await?;
        own.push(p99_ms(&felt));
        answered += noise.took.len();
    }
    let (noise, felt) = under(&noisy, &others, slice, Method::SetBatteryMaxDischarge).await?;
    let late = site.overruns().await?.late - before;
    let ratios: Vec<f64> = own.iter().zip(&other).map(|(own, other)| own / other).collect();
    Ok(vec![
        Row {
            id: "noisy_p99_ratio",
            what: "p99 of others while one tenant calls 10,000 times a second, of a bare server's".into(),
            unit: "x",
            promised: Some(Bound::AtMost(1.5)),
            quick: Some(Bound::AtMost(3.0)),
            measured: median(&ratios),
            note: format!(
                "{:.2} of {:.2} ms; {answered} of the noisy calls answered",
                median(&own),
                median(&other)
            ),
        },
        Row {
            id: "noisy_p99_ms",
            what: "the same in ms".into(),
            unit: "ms",
            promised: Some(Bound::AtMost(10.0)),
            quick: Some(Bound::AtMost(30.0)),
            measured: median(&own),
            note: format!("worst turn: {:.2} ms", own.iter().copied().fold(0.0, f64::max)),
        },
        Row {
            id: "noisy_settings_p99_ms",
            what: "p99 of others' questions while one tenant makes 10,000 settings a second".into(),
            unit: "ms",
            promised: Some(Bound::AtMost(10.0)),
            quick: Some(Bound::AtMost(30.0)),
            measured: p99_ms(&felt),
            note: format!(
                "{} settings accepted, {} refused for their number",
                noise.took.len(),
                noise.refused
            ),
        },
        Row {
            id: "noisy_late_ticks",
            what: "ticks more than 50 ms late meanwhile".into(),
            unit: "ticks",
            promised: Some(Bound::AtMost(0.0)),
            quick: Some(Bound::AtMost(1.0)),
            measured: crate::load::float(late),
            note: String::new(),
        },
    ])
}

fn p99_ms(answers: &Answers) -> f64 {
    percentile(&answers.took, 99).as_secs_f64() * 1e3
}

/// What the noisy tenant and the others got in the same time.
async fn under(noisy: &[App], others: &[App], time: Duration, method: Method) -> Result<(Answers, Answers)> {
    tokio::try_join!(open(noisy, noise(time), method), open(others, quiet(time), Method::GetEnergySystem))
}
