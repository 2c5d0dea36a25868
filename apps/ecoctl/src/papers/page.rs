//! A statement as one page of HTML that needs nothing beside it: no script, no font, no picture from elsewhere. Each figure
//! that is shown says where it stands in the JSON at the page's end, so that the auditor's script checks what people read.

use super::figures::{About, Figures, Named};
use super::plot::{self, Plot};
use super::tables::Written;
use std::fmt::Write as _;

/// Above this, energies are in kWh: 100 kWh.
const KWH_FROM_UJ: u128 = 360_000_000_000_000;

/// Above this, masses are in kg: 100 kg.
const KG_FROM_MG: u128 = 100_000_000;

/// In which units a page shows energy and carbon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Units {
    energy: &'static str,
    carbon: &'static str,
}

/// How a figure of the JSON is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Energy,
    Carbon,
    Percent,
    Intensity,
    Hours,
    Count,
}

/// The rows of the table of totals: a heading, or a figure with its name.
enum Total {
    Heading(&'static str),
    Line(&'static str, &'static str, As, Option<&'static str>),
}

use Total::{Heading, Line};

const TOTALS: &[Total] = &[
    Heading("Load: what the app's containers used, and where it came from"),
    Line("Load", "load_uj", As::Energy, None),
    Line("from solar, its own and received", "load_from_solar_uj", As::Energy, Some("load_from_solar_ppm")),
    Line("from its battery", "load_from_battery_uj", As::Energy, Some("load_from_battery_ppm")),
    Line("from the grid, within its limit", "load_from_grid_uj", As::Energy, Some("load_from_grid_ppm")),
    Line("overdraft: beyond its entitlement", "overdraft_uj", As::Energy, Some("overdraft_ppm")),
    Line("of it from the grid", "overdraft_grid_uj", As::Energy, None),
    Line("of it from solar about to be curtailed", "overdraft_from_spill_uj", As::Energy, None),
    Line("of it lent by others' batteries", "overdraft_lent_uj", As::Energy, None),
    Line("of the load, settled from estimates", "estimated_load_uj", As::Energy, Some("estimated_load_ppm")),
    Heading("Solar: the app's part of the site's"),
    Line("Its part", "solar_in_uj", As::Energy, None),
    Line("to its load", "solar_to_load_uj", As::Energy, None),
    Line("into its battery", "solar_to_battery_uj", As::Energy, None),
    Line("to those it owes", "solar_to_lenders_uj", As::Energy, None),
    Line("given to other apps", "given_uj", As::Energy, None),
    Line("exported", "exported_uj", As::Energy, None),
    Line("curtailed", "curtailed_uj", As::Energy, None),
    Line("kept in the site's solar buffer", "kept_uj", As::Energy, None),
    Line("received from other apps", "received_uj", As::Energy, None),
    Heading("Battery: the app's claim; in and out at the terminals, the rest inside"),
    Line("In", "battery_in_uj", As::Energy, None),
    Line("Out", "battery_out_uj", As::Energy, None),
    Line("lost in charging", "charge_loss_uj", As::Energy, None),
    Line("lost in discharging", "discharge_loss_uj", As::Energy, None),
    Line("taken off, because the meters say it is not there", "adjusted_down_uj", As::Energy, None),
    Line("Stored before the first tick", "stored_open_uj", As::Energy, None),
    Line("Stored after the last tick", "stored_uj", As::Energy, None),
    Heading("Debts, in stored energy"),
    Line("Came to owe", "debt_incurred_uj", As::Energy, None),
    Line("Repaid", "debt_repaid_uj", As::Energy, None),
    Line("Owes after the last tick", "debt_uj", As::Energy, None),
    Line("Is owed after the last tick", "loan_uj", As::Energy, None),
    Heading("Grid and carbon"),
    Line("Drawn from the grid, for load and charging", "grid_drawn_uj", As::Energy, None),
    Line("Mean intensity of the grid, over the time", "intensity_mean_mg_per_kwh", As::Intensity, None),
    Line("CO2e charged", "carbon_mg", As::Carbon, None),
    Line("CO2e credited (only to house)", "carbon_credit_mg", As::Carbon, None),
    Heading("Ticks"),
    Line("Settled", "ticks", As::Count, None),
    Line("of them estimated", "estimated_ticks", As::Count, None),
    Line("of them gaps", "gap_ticks", As::Count, None),
];

/// The columns of the table of days.
const DAYS: [(&str, &str, As); 10] = [
    ("Load", "load_uj", As::Energy),
    ("Solar", "load_from_solar_uj", As::Energy),
    ("Battery", "load_from_battery_uj", As::Energy),
    ("Grid", "load_from_grid_uj", As::Energy),
    ("Over&shy;draft", "overdraft_uj", As::Energy),
    ("Charged", "battery_in_uj", As::Energy),
    ("Stored at end", "stored_uj", As::Energy),
    ("From grid, all", "grid_drawn_uj", As::Energy),
    ("CO2e", "carbon_mg", As::Carbon),
    ("Esti&shy;mated", "estimated_load_ppm", As::Percent),
];

/// The page.
pub fn html(figures: &Figures, about: &About, tables: &[Written]) -> String {
    let whole = figures.whole();
    let units = Units::of(&whole);
    let json = figures.json(about, tables);
    // Inside of a script, `</` would end it.
    let json = format!("{json:#}").replace("</", "<\\/");
    let parts = [
        header(figures, about),
        cards(&whole, units),
        pictures(&plot::plots(figures)),
        totals(&whole, units),
        days(figures, &whole, units),
        rests(figures, about, tables),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Energy and carbon of {}</title>\n<style>\n{}</style>\n</head>\n<body>\n{}\n\
         <script type=\"application/json\" id=\"statement\">\n{json}\n</script>\n</body>\n</html>\n",
        escaped(figures.app()),
        include_str!("style.css"),
        parts.join("\n"),
    )
}

impl Units {
    fn of(whole: &Named) -> Self {
        let of = |name: &str| whole.get(name).copied().unwrap_or(0);
        Self {
            energy: if of("load_uj") >= KWH_FROM_UJ { "kWh" } else { "Wh" },
            carbon: if of("carbon_mg") >= KG_FROM_MG { "kg" } else { "g" },
        }
    }

    const fn name(self, shown: As) -> &'static str {
        match shown {
            As::Energy => self.energy,
            As::Carbon => self.carbon,
            As::Percent => "%",
            As::Intensity => "g/kWh",
            As::Hours => "h",
            As::Count => "",
        }
    }
}

/// A figure in a unit: cut to thousandths, with spaces between thousands.
fn shown(figure: u128, unit: &str) -> String {
    let per_thousandth: u128 = match unit {
        "Wh" => 3_600_000,
        "kWh" => 3_600_000_000,
        "h" => 3_600,
        "kg" => 1_000,
        // Parts in a million.
        "%" => 10,
        // mg, or mg/kWh.
        "g" | "g/kWh" => 1,
        _ => return thousands(figure),
    };
    let thousandths = figure / per_thousandth;
    format!("{}.{:03}", thousands(thousandths / 1_000), thousandths % 1_000)
}

fn thousands(count: u128) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(" ")
}

/// A figure with its place in the JSON; empty where there is none of that name.
fn figure(path: &str, figures: &Named, name: &str, unit: &str) -> String {
    figures.get(name).map_or_else(String::new, |figure| {
        format!(r#"<span data-figure="{path}/{name}" data-unit="{unit}">{}</span>"#, shown(*figure, unit))
    })
}

fn header(figures: &Figures, about: &About) -> String {
    let (from, to) = figures.period_ms();
    let (first, end) = figures.ticks().unwrap_or_default();
    let time = |ms| crate::time::utc(ms, "%Y-%m-%d %H:%M:%S");
    let site = if about.site.is_empty() { String::new() } else { format!(" at {}", escaped(&about.site)) };
    format!(
        "<header>\n<h1>Energy and carbon of {}{site}</h1>\n\
         <p>{} to {} UTC <span class=\"of\">(ticks {first} to {})</span></p>\n</header>",
        escaped(figures.app()),
        time(from),
        time(to),
        end.saturating_sub(1),
    )
}

fn cards(whole: &Named, units: Units) -> String {
    let card = |class: &str, title: &str, name: &str, shown: As, more: Option<&str>| {
        let unit = units.name(shown);
        let more = more.map_or_else(String::new, |more| {
            format!("<br><small>{} % of the load</small>", figure("figures", whole, more, "%"))
        });
        let shown = figure("figures", whole, name, unit);
        format!("<div{class}><dt>{title}</dt><dd>{shown} <small>{unit}</small>{more}</dd></div>")
    };
    let warn = |name: &str| if whole.get(name).copied().unwrap_or(0) > 0 { " class=\"warn\"" } else { "" };
    let cards = [
        card("", "Load", "load_uj", As::Energy, None),
        card("", "From solar", "load_from_solar_uj", As::Energy, Some("load_from_solar_ppm")),
        card("", "From its battery", "load_from_battery_uj", As::Energy, Some("load_from_battery_ppm")),
        card("", "From the grid", "load_from_grid_uj", As::Energy, Some("load_from_grid_ppm")),
        card(warn("overdraft_uj"), "Overdraft", "overdraft_uj", As::Energy, Some("overdraft_ppm")),
        card("", "CO2e", "carbon_mg", As::Carbon, None),
        card(
            warn("estimated_load_uj"),
            "Estimated",
            "estimated_load_uj",
            As::Energy,
            Some("estimated_load_ppm"),
        ),
        card("", "Settled time", "settled_ms", As::Hours, None),
    ];
    format!("<dl class=\"cards\">\n{}\n</dl>", cards.join("\n"))
}

fn pictures(plots: &[Plot]) -> String {
    let mut text = String::from("<h2>Over time</h2>");
    for Plot { title, description, svg } in plots {
        let labelled = svg.replacen("<svg ", &format!("<svg aria-label=\"{description}\" "), 1);
        let _ = write!(text, "\n<figure>\n<figcaption>{title}</figcaption>\n{labelled}\n</figure>");
    }
    text
}

fn totals(whole: &Named, units: Units) -> String {
    let rows = TOTALS.iter().filter_map(|total| match total {
        Heading(heading) => {
            Some(format!("<tr class=\"group\"><th colspan=\"3\" scope=\"rowgroup\">{heading}</th></tr>"))
        }
        Line(name, key, shown, share) => whole.contains_key(*key).then(|| {
            let unit = units.name(*shown);
            let share =
                share.map_or_else(String::new, |share| format!("{} %", figure("figures", whole, share, "%")));
            let class = class(name, whole.get(*key).copied().unwrap_or(0));
            let shown = figure("figures", whole, key, unit);
            format!("<tr{class}><td>{name}</td><td>{shown} {unit}</td><td>{share}</td></tr>")
        }),
    });
    format!(
        "<h2>Totals</h2>\n<table>\n<thead><tr><th scope=\"col\">Flow</th><th scope=\"col\">Total</th>\
         <th scope=\"col\">Of the load</th></tr></thead>\n<tbody>\n{}\n</tbody>\n</table>",
        rows.collect::<Vec<_>>().join("\n")
    )
}

/// A part of what stands above it is set in, and what is nothing steps back.
fn class(name: &str, figure: u128) -> &'static str {
    match (name.starts_with(char::is_lowercase), figure) {
        (true, 0) => " class=\"part nil\"",
        (true, _) => " class=\"part\"",
        (false, 0) => " class=\"nil\"",
        (false, _) => "",
    }
}

fn days(figures: &Figures, whole: &Named, units: Units) -> String {
    let cells = |path: &str, named: &Named| {
        let cell = |(_, key, shown): &(&str, &str, As)| {
            format!("<td>{}</td>", figure(path, named, key, units.name(*shown)))
        };
        DAYS.iter().map(cell).collect::<String>()
    };
    let heads = DAYS.iter().map(|(name, _, shown)| {
        format!("<th scope=\"col\">{name}<br><small>{}</small></th>", units.name(*shown))
    });
    let rows = figures.days().into_iter().enumerate().map(|(place, (start, named))| {
        let day = crate::time::utc(start, "%Y-%m-%d");
        format!("<tr><td>{day}</td>{}</tr>", cells(&format!("days/{place}"), &named))
    });
    format!(
        "<h2>By day</h2>\n<table class=\"days\">\n<caption>Days in UTC; a tick belongs to the day in which it begins. \
         Each figure is cut, not rounded up.</caption>\n<thead><tr><th scope=\"col\">Day</th>{}</tr></thead>\n<tbody>\n{}\n\
         <tr class=\"whole\"><td>All</td>{}</tr>\n</tbody>\n</table>",
        heads.collect::<String>(),
        rows.collect::<Vec<_>>().join("\n"),
        cells("figures", whole)
    )
}

fn rests(figures: &Figures, about: &About, tables: &[Written]) -> String {
    let (first, end) = figures.ticks().unwrap_or_default();
    let chain = about.chain_head.as_ref().map_or_else(
        || "none: this statement was made of tables, without the journal that they follow from".to_owned(),
        |head| format!("<span class=\"hash\">{head}</span> after tick {}", end.saturating_sub(1)),
    );
    let mut list = format!(
        "<dt>Ticks</dt><dd>{first} to {}</dd>\n<dt>Hash chain</dt><dd>{chain}</dd>",
        end.saturating_sub(1)
    );
    for table in tables {
        let (file, hash) = (escaped(&table.file_name()), &table.sha256);
        let _ = write!(list, "\n<dt>{file}</dt><dd>SHA-256 <span class=\"hash\">{hash}</span></dd>");
    }
    let daemon =
        about.daemon.as_ref().map_or_else(String::new, |daemon| format!(", ecovisord {}", escaped(daemon)));
    let _ = write!(list, "\n<dt>Made by</dt><dd>{}{daemon}</dd>", escaped(&about.software));
    format!(
        "<h2>What this rests on</h2>\n<dl class=\"rests\">\n{list}\n</dl>\n<h2>How to recompute it</h2>\n\
         <p>With this page and its two tables in one folder, and nothing of the ecovisor but a short script to \
         read first:</p>\n<pre>ecoctl ledger auditor &gt; recompute.py\npython3 recompute.py THIS-PAGE.html</pre>\n\
         <p>It adds up every tick of the tables, follows every balance from tick to tick, multiplies what was drawn from the \
         grid by its carbon intensity, and compares all figures of this page. That the tables follow from the meters, and that \
         no tick was exchanged, is what <code>ecoctl ledger verify --head</code> shows from the journal.</p>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_cut_and_grouped() {
        let check = |figure: u128, unit: &str, due: &str| assert_eq!(shown(figure, unit), due);
        check(3_600_000_000, "Wh", "1.000");
        check(3_599_999_999, "Wh", "0.999");
        check(4_444_800_000_000_000, "Wh", "1 234 666.666");
        check(360_000_000_000_000, "kWh", "100.000");
        check(1_500, "g", "1.500");
        check(583_333, "%", "58.333");
        check(5_400_000, "h", "1.500");
        check(1_234, "", "1 234");
        check(7, "", "7");
    }

    #[test]
    fn nothing_of_a_name_becomes_markup() {
        assert_eq!(escaped("<b>&\"x\""), "&lt;b&gt;&amp;&quot;x&quot;");
        let about = About { site: "</script><b>".to_owned(), ..About::default() };
        let page = html(&Figures::new("web"), &about, &[]);
        assert_eq!(page.matches("</script>").count(), 1, "the JSON ends where it ends");
        assert!(page.contains("&lt;/script&gt;&lt;b&gt;"));
    }
}
