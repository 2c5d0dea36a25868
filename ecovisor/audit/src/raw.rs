//! Whether a tick's books rest on its raw readings: each reading that may be believed stands in the books as it was read,
//! each load is what the containers used, and the carbon is counted at the intensity that was read. Written with none of
//! the code that believes, holds and assumes.

use crate::books::Difference;
use crate::record::Record;
use ecovisor_core::freshness::READING_MAX;
use ecovisor_core::{Inputs, Quality, Reading, Rules};
use ecovisor_units::{CarbonIntensity, Energy};

/// No grid is dirtier: 10 kg/kWh. What is above it is no reading (energy rules, missing and wrong readings).
const INTENSITY_MAX: CarbonIntensity = CarbonIntensity::from_grams_per_kwh(10_000);

/// A tick with what it was settled from.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a> {
    /// As they were journaled.
    pub inputs: &'a Inputs,
    /// What they led to.
    pub record: &'a Record,
    /// The intensity of the tick before, which may be held.
    pub intensity_before: CarbonIntensity,
    /// The rules in force in the tick.
    pub rules: &'a Rules,
}

/// Checks it.
///
/// # Errors
/// The first figure that does not rest on what was read.
pub fn check(rest: &Rest<'_>) -> Result<(), Difference> {
    rest.time()?;
    rest.intensity()?;
    rest.meters()?;
    rest.containers()?;
    rest.loads()
}

impl Rest<'_> {
    fn differs(&self, app: Option<String>, field: &str, left: String, right: String) -> Difference {
        Difference { tick: self.record.outcome.tick.0, app, field: field.to_owned(), left, right }
    }

    fn time(&self) -> Result<(), Difference> {
        let outcome = &self.record.outcome;
        let (is, read) = ((outcome.wall, outcome.span), (self.inputs.wall, self.inputs.span));
        if is == read {
            return Ok(());
        }
        let text = |(wall, span): (ecovisor_units::Millis, ecovisor_units::Millis)| {
            format!("{} ms for {} ms", wall.get(), span.get())
        };
        Err(self.differs(None, "the tick's time", text(is), text(read)))
    }

    /// What was read, else what was held, else the worst that the rules name.
    fn intensity(&self) -> Result<(), Difference> {
        let young = self.rules.patience.young;
        let read = self.inputs.readings.intensity.filter(|r| r.age <= young && r.value <= INTENSITY_MAX);
        let is = self.record.outcome.intensity;
        let due = match read {
            Some(read) => vec![read.value],
            None => vec![self.intensity_before, self.rules.intensity_worst],
        };
        if due.contains(&is) {
            return Ok(());
        }
        let due: Vec<String> = due.iter().map(|due| due.get().to_string()).collect();
        Err(self.differs(None, "intensity", is.get().to_string(), due.join(" or ")))
    }

    fn meters(&self) -> Result<(), Difference> {
        let (m, r) = (&self.record.outcome.metered, &self.inputs.readings);
        let meters = [
            ("metered solar", m.solar, r.solar),
            ("metered grid_import", m.grid_import, r.grid_import),
            ("metered grid_export", m.grid_export, r.grid_export),
            ("metered battery_in", m.battery_in, r.battery_in),
            ("metered battery_out", m.battery_out, r.battery_out),
            ("metered load", m.load, r.load),
            ("metered level", m.level, r.battery_level),
        ];
        meters.into_iter().try_for_each(|(field, is, read)| self.meter(field, is, read))
    }

    /// What the books have of a meter is what it said. What it said may be missing in them only where it is no reading:
    /// old, of a gap without a counter, or more than there can be.
    fn meter(
        &self,
        field: &str,
        is: Option<Energy>,
        read: Option<Reading<Energy>>,
    ) -> Result<(), Difference> {
        let bounded = matches!(field, "metered solar" | "metered level");
        let fits = match (is, read) {
            (Some(is), Some(read)) => is == read.value,
            (Some(_), None) => false,
            (None, Some(read)) => bounded || !self.is_reading(read),
            (None, None) => true,
        };
        if fits {
            return Ok(());
        }
        let text = |energy: Option<Energy>| energy.map_or("nothing".to_owned(), |e| e.get().to_string());
        Err(self.differs(None, field, text(is), text(read.map(|read| read.value))))
    }

    fn is_reading(&self, read: Reading<Energy>) -> bool {
        let counted = read.counted || !self.record.outcome.gap;
        counted && read.age <= self.rules.patience.young && read.value <= READING_MAX
    }

    /// A container's figure that claims to be read is what was read.
    fn containers(&self) -> Result<(), Difference> {
        for is in self.record.outcome.containers.iter().filter(|is| is.quality == Quality::Live) {
            let read = self.inputs.containers.iter().find(|read| read.container == is.container);
            let read = read.and_then(|read| read.used).map(|read| read.value);
            if read != Some(is.energy) {
                let names = &self.record.container_names;
                let name = names.iter().find(|(id, ..)| *id == is.container).map(|(.., name)| name.as_str());
                let field = format!("container {}", name.unwrap_or("without a name"));
                let read = read.map_or("nothing".to_owned(), |energy| energy.get().to_string());
                let app = self.record.app_name(is.app).map(|name| name.as_str().to_owned());
                return Err(self.differs(app, &field, is.energy.get().to_string(), read));
            }
        }
        Ok(())
    }

    /// An app's load is its containers', `house`'s also what no container used.
    fn loads(&self) -> Result<(), Difference> {
        let outcome = &self.record.outcome;
        let last = outcome.apps.len().saturating_sub(1);
        for (place, app) in outcome.apps.iter().enumerate() {
            let own = outcome.containers.iter().filter(|used| used.app == app.app);
            let own = own.map(|used| u128::from(used.energy.get())).sum::<u128>();
            let unmetered = if place == last { outcome.site.unmetered_load.get() } else { 0 };
            // A load is cut at what one reading may carry.
            let due = own.min(READING_MAX.get().into()).saturating_add(unmetered);
            let is = u128::from(app.flows.load.get());
            if is != due && is != due.min(READING_MAX.get().into()) {
                let name = self.record.app_name(app.app).map(|name| name.as_str().to_owned());
                return Err(self.differs(name, "load", is.to_string(), due.to_string()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use crate::{Applied, Entry};
    use ecovisor_core::Site;

    /// Each tick of a life with its inputs, its record, the intensity before and the rules in force.
    fn each(seed: u64, mut look: impl FnMut(&Inputs, Record, CarbonIntensity, Rules)) {
        let life = life(seed, 60);
        let mut state = life.start.snapshot;
        let mut before = CarbonIntensity::ZERO;
        for linked in life.journal {
            let rules = Site::rules(&state.site).clone();
            if let (Entry::Tick(inputs), Applied::Settled(record)) =
                (&linked.entry, state.apply(&linked.entry).unwrap())
            {
                let is = record.outcome.intensity;
                look(inputs, *record, before, rules);
                before = is;
            }
        }
    }

    fn checked(inputs: &Inputs, record: &Record, intensity_before: CarbonIntensity, rules: &Rules) -> bool {
        check(&Rest { inputs, record, intensity_before, rules }).is_ok()
    }

    #[test]
    fn every_tick_rests_on_what_was_read() {
        for seed in 0..8 {
            each(seed, |inputs, record, intensity_before, rules| {
                let rest = Rest { inputs, record: &record, intensity_before, rules: &rules };
                assert_eq!(check(&rest), Ok(()), "seed {seed}");
            });
        }
    }

    #[test]
    fn books_that_were_settled_from_other_readings_are_found() {
        let (mut ticks, mut found) = (0, [0; 4]);
        each(3, |inputs, record, before, rules| {
            let young = |read: Option<Reading<Energy>>| {
                read.filter(|r| r.age <= rules.patience.young && (r.counted || !record.outcome.gap))
            };
            let more = |read: &mut Option<Reading<Energy>>| {
                if let Some(read) = read {
                    read.value += Energy::new(1);
                }
            };
            let mut found_if = |place: usize, can: bool, other: &Inputs| {
                if can {
                    assert!(!checked(other, &record, before, &rules), "{place}: {other:?}");
                    found[place] += 1;
                }
            };
            let mut other = inputs.clone();
            more(&mut other.readings.grid_import);
            found_if(0, young(inputs.readings.grid_import).is_some(), &other);
            let mut other = inputs.clone();
            other.readings.solar = None;
            found_if(1, record.outcome.metered.solar.is_some(), &other);
            let mut other = inputs.clone();
            let live = record.outcome.containers.iter().find(|c| c.quality == Quality::Live);
            let given =
                live.and_then(|live| other.containers.iter_mut().find(|c| c.container == live.container));
            if let Some(given) = given {
                more(&mut given.used);
            }
            found_if(2, live.is_some(), &other);
            let mut other = inputs.clone();
            let intensity = other.readings.intensity.as_mut();
            let read = intensity.filter(|r| r.age <= rules.patience.young).map(|read| {
                read.value = CarbonIntensity::new(read.value.get() + 1);
            });
            found_if(3, read.is_some(), &other);
            ticks += 1;
        });
        assert!(found.iter().all(|found| found * 4 > ticks), "{found:?} of {ticks} ticks");
    }
}
