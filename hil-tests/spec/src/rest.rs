//! What a daemon takes that nobody calls: CPU and memory, with few apps and with many.

use crate::load::float;
use crate::report::{Bound, Form, Row};
use crate::site::Site;
use anyhow::Result;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What is promised of a size.
struct Size {
    apps: u32,
    ids: [&'static str; 2],
    percent: [f64; 2],
    megabytes: [f64; 2],
}

const SIZES: [Size; 2] = [
    Size { apps: 10, ids: ["rest_cpu_10", "rest_rss_10"], percent: [0.5, 1.0], megabytes: [40.0, 48.0] },
    Size {
        apps: 1_000,
        ids: ["rest_cpu_1000", "rest_rss_1000"],
        percent: [5.0, 10.0],
        megabytes: [120.0, 120.0],
    },
];

/// Measures both sizes, one after the other.
///
/// # Errors
/// Where a daemon does not run.
pub async fn measure(form: Form) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in SIZES {
        rows.extend(measure_size(form, &size).await?);
    }
    Ok(rows)
}

async fn measure_size(form: Form, size: &Size) -> Result<[Row; 2]> {
    let site = Site::start(size.apps).await?;
    // The first ticks fill caches and make sockets.
    sleep(Duration::from_secs(2)).await;
    let (began, before) = (Instant::now(), site.daemon.cpu()?);
    sleep(form.pick(Duration::from_secs(120), Duration::from_secs(10))).await;
    let percent = (site.daemon.cpu()? - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let megabytes = float(site.daemon.rss_bytes()?) / 1e6;
    let bounds = |[full, quick]: [f64; 2]| (Some(Bound::AtMost(full)), Some(Bound::AtMost(quick)));
    let row = |id, what: &str, unit, (promised, quick), measured, note| Row {
        id,
        what: format!("{what}, {} apps, ticks of 1 s", size.apps),
        unit,
        promised,
        quick,
        measured,
        note,
    };
    let over = format!("over {:.0} s", began.elapsed().as_secs_f64());
    Ok([
        row(size.ids[0], "a daemon's CPU", "% of a core", bounds(size.percent), percent, over),
        row(
            size.ids[1],
            "its memory",
            "MB",
            bounds(size.megabytes),
            megabytes,
            "resident, at the end".to_owned(),
        ),
    ])
}
