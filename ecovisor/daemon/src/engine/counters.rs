//! What counters said in the last settled tick, in a small text beside the store: a gap is settled from them, and totals go
//! on. Not synced: after a power cut the machine's own counters are gone too, and totals are summed from the ledger.

use super::Runner;
use super::handle::Totals;
use ecovisor_core::{AppId, ContainerId, Tick};
use ecovisor_units::{Carbon, EnergySum};
use std::collections::BTreeMap;

impl Runner {
    /// Remembers what the containers' counters and the apps' totals are after `tick`.
    pub(super) fn remember_counters(&self, tick: u64) {
        let Some(path) = &self.counters else { return };
        let mut text = format!("tick {tick}\n");
        for (container, nanos) in self.plant.counters() {
            text.push_str(&format!("cpu {} {nanos}\n", container.get()));
        }
        for (app, Totals { load, carbon }) in &self.totals {
            text.push_str(&format!("app {} {} {}\n", app.get(), load.get(), carbon.get()));
        }
        let beside = path.with_extension("new");
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot remember the counters: a gap would be estimated");
        }
    }

    /// Goes on from what was remembered of the last settled tick; without that, totals are summed from the ledger.
    pub(super) fn recall_counters(&mut self) {
        let text = self.counters.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let settled = self.state.site.tick();
        let recalled = text.as_deref().and_then(|text| parse(text, settled));
        let Some(Recalled { cpu, totals }) = recalled else {
            self.totals = self.summed(settled);
            return;
        };
        for (container, nanos) in cpu {
            self.plant.recall(container, nanos);
        }
        self.totals = totals;
    }

    /// The ledger's sums, of all the ticks that it still has.
    fn summed(&self, before: Tick) -> BTreeMap<AppId, Totals> {
        let mut totals = BTreeMap::new();
        for record in self.store.records(Tick(0), before) {
            match record {
                Ok(record) => super::add_totals(&mut totals, &record),
                Err(error) => {
                    tracing::error!(%error, "totals begin after what cannot be read");
                    totals.clear();
                }
            }
        }
        totals
    }
}

struct Recalled {
    cpu: Vec<(ContainerId, u64)>,
    totals: BTreeMap<AppId, Totals>,
}

/// Reads what was remembered; `None` where it is of another tick than the one before `coming`, or no such text.
fn parse(text: &str, coming: Tick) -> Option<Recalled> {
    let mut lines = text.lines();
    let tick: u64 = lines.next()?.strip_prefix("tick ")?.parse().ok()?;
    if tick.checked_add(1)? != coming.0 {
        return None;
    }
    let mut recalled = Recalled { cpu: Vec::new(), totals: BTreeMap::new() };
    for line in lines {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["cpu", container, nanos] => {
                recalled.cpu.push((ContainerId::new(container.parse().ok()?), nanos.parse().ok()?));
            }
            ["app", app, load, carbon] => {
                let (load, carbon) = (EnergySum::new(load.parse().ok()?), Carbon::new(carbon.parse().ok()?));
                recalled.totals.insert(AppId::new(app.parse().ok()?), Totals { load, carbon });
            }
            _ => return None,
        }
    }
    Some(recalled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_last_tick_are_recalled_and_others_are_not() {
        let text = "tick 7\ncpu 3 500\napp 1 20 30\n";
        let recalled = parse(text, Tick(8)).unwrap();
        assert_eq!(recalled.cpu, [(ContainerId::new(3), 500)]);
        let totals = Totals { load: EnergySum::new(20), carbon: Carbon::new(30) };
        assert_eq!(recalled.totals, BTreeMap::from([(AppId::new(1), totals)]));
        assert!(parse(text, Tick(9)).is_none(), "a tick later the counters are old");
        for torn in ["", "tick", "tick 7\ncpu 3\n", "tick 7\napp 1 x 3\n"] {
            assert!(parse(torn, Tick(8)).is_none(), "{torn:?}");
        }
    }
}
