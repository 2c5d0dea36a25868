//! What a tick's readings amount to: believed, held or assumed, for the site and for each container.

use super::{ContainerEnergy, ContainerUse, Desk, Inputs, Rules, Site};
use crate::event::Event;
use crate::freshness::{Held, Meter, Quality, READING_MAX, Reading};
use crate::settle::{Metered, SolarRule};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, Millis};

/// The highest intensity that is one: 10 kg/kWh. The dirtiest grids on record stay below 1.5 kg/kWh.
pub(super) const INTENSITY_MAX: CarbonIntensity = CarbonIntensity::from_grams_per_kwh(10_000);

/// The site's readings as they were believed, held or assumed.
pub(super) struct Believed {
    pub(super) solar: Energy,
    pub(super) intensity: CarbonIntensity,
    pub(super) metered: Metered,
    pub(super) battery_gives: bool,
    pub(super) battery_takes: bool,
}

/// How one tick's readings are looked at.
struct Look<'a> {
    rules: &'a Rules,
    span: Millis,
    gap: bool,
}

impl Look<'_> {
    /// An energy over the tick. What no counter saw of a gap is no reading.
    fn energy(&self, reading: Option<Reading<Energy>>, most: Energy) -> Option<Energy> {
        let reading = reading.filter(|r| r.counted || !self.gap)?;
        reading.believed(self.rules.patience.young, |&e| e <= most)
    }

    /// For how many ticks the last reading of a flow is held. What no counter saw of a gap is not held either: it goes
    /// to `house`.
    fn hold_ticks(&self) -> u32 {
        if self.gap { 0 } else { self.rules.patience.hold_ticks }
    }

    fn metered(&self, inputs: &Inputs) -> Metered {
        let r = &inputs.readings;
        let capacity = self.rules.battery.map_or(Energy::ZERO, |battery| battery.capacity);
        // A level is a state, not a flow: it needs no counter to hold after a gap.
        let level = r.battery_level.and_then(|r| r.believed(self.rules.patience.young, |&e| e <= capacity));
        Metered {
            solar: self.energy(r.solar, self.solar_most()),
            grid_import: self.energy(r.grid_import, READING_MAX),
            grid_export: self.energy(r.grid_export, READING_MAX),
            battery_in: self.energy(r.battery_in, READING_MAX),
            battery_out: self.energy(r.battery_out, READING_MAX),
            load: self.energy(r.load, READING_MAX),
            level,
        }
    }

    /// What the panels can make at most, with an eighth on top, since a reading's span and the tick's differ by some
    /// milliseconds.
    fn solar_most(&self) -> Energy {
        let most = self.rules.solar_peak.over(self.span);
        most.saturating_add(Energy::new(most.get() / 8)).min(READING_MAX)
    }

    /// What there is to divide: live, what the panels could have given; buffered, what they gave.
    fn solar(&self, inputs: &Inputs, metered: &Metered) -> Option<Energy> {
        match self.rules.solar_rule {
            SolarRule::Live { .. } => {
                self.energy(inputs.readings.solar_available, self.solar_most()).or(metered.solar)
            }
            SolarRule::Buffered => metered.solar,
        }
    }

    fn intensity(&self, inputs: &Inputs) -> Option<CarbonIntensity> {
        inputs.readings.intensity?.believed(self.rules.patience.young, |&i| i <= INTENSITY_MAX)
    }
}

impl Site {
    pub(super) fn believe(&mut self, inputs: &Inputs, gap: bool, events: &mut Vec<Event>) -> Believed {
        let rules = &self.setup.rules;
        let look = Look { rules, span: inputs.span, gap };
        let metered = look.metered(inputs);
        let was = [self.solar.quality, self.level.quality, self.intensity.quality];
        let could = look.solar(inputs, &metered).map(|energy| Held { energy, span: inputs.span });
        let solar = self.solar.settle(could, look.hold_ticks()).map_or(Energy::ZERO, |h| h.over(inputs.span));
        let level_known = self.level.settle(metered.level, rules.patience.hold_ticks).is_some();
        let intensity = self.intensity.settle(look.intensity(inputs), rules.patience.hold_ticks);
        let intensity = intensity.unwrap_or(rules.intensity_worst);
        let flows_counted = metered.battery_in.is_some() && metered.battery_out.is_some();
        self.tell_quality(was, events);
        Believed {
            solar,
            intensity,
            metered,
            battery_gives: level_known && (!gap || flows_counted),
            battery_takes: !gap || flows_counted,
        }
    }

    fn tell_quality(&self, was: [Quality; 3], events: &mut Vec<Event>) {
        let meters = [Meter::Solar, Meter::BatteryLevel, Meter::Intensity];
        for (meter, was) in meters.into_iter().zip(was) {
            let is = self.quality(meter);
            if is == was || !self.setup.rules.needs(meter) {
                continue;
            }
            events.push(match is {
                Quality::Live => Event::MeterRecovered(meter),
                Quality::Held | Quality::Assumed => Event::MeterDegraded(meter, is),
            });
        }
    }

    /// What each app's containers used, onto the desk in the order of apps, and each container's part. Readings of
    /// containers that the site does not have are nobody's; where one is there twice the first counts.
    pub(super) fn loads(
        &mut self,
        inputs: &Inputs,
        gap: bool,
        desk: &mut Desk,
        containers: &mut Vec<ContainerEnergy>,
    ) {
        desk.loads.clear();
        desk.loads.resize(self.setup.apps.len(), Energy::ZERO);
        containers.clear();
        let mut given = in_order(&inputs.containers, &mut desk.sorted).iter().peekable();
        let look = Look { rules: &self.setup.rules, span: inputs.span, gap };
        for (container, past) in self.setup.containers.iter().zip(&mut self.container_past) {
            while given.next_if(|used| used.container < container.id).is_some() {}
            let reading = given.next_if(|used| used.container == container.id);
            let fresh = look.energy(reading.and_then(|used| used.used), READING_MAX);
            let fresh = fresh.map(|energy| Held { energy, span: inputs.span });
            let energy = match past.memory.settle(fresh, look.hold_ticks()) {
                Some(held) => held.over(inputs.span),
                // Nothing is invented for a gap that no counter saw.
                None if gap => Energy::ZERO,
                None => past.cap.over(inputs.span).min(READING_MAX),
            };
            if let Some(load) = self.setup.place(container.app).map(|place| &mut desk.loads[place]) {
                *load = load.saturating_add(energy).min(READING_MAX);
            }
            let (container, app, quality) = (container.id, container.app, past.memory.quality);
            containers.push(ContainerEnergy { container, app, energy, quality });
        }
    }

    /// Whether any figure of an app rests on a held or assumed reading: one of the site's, or of its own containers.
    /// Buffered solar was read one tick ago (`solar_before`).
    pub(super) fn estimated(
        &self,
        containers: &[ContainerEnergy],
        solar_before: Quality,
        estimated: &mut Vec<bool>,
    ) {
        let rules = &self.setup.rules;
        let meters = [Meter::Solar, Meter::BatteryLevel, Meter::Intensity];
        let now = meters.into_iter().any(|meter| rules.needs(meter) && self.quality(meter) != Quality::Live);
        let spent = rules.solar_rule == SolarRule::Buffered && solar_before != Quality::Live;
        let site = now || (spent && rules.needs(Meter::Solar));
        estimated.clear();
        estimated.resize(self.setup.apps.len(), site);
        for container in containers.iter().filter(|c| c.quality != Quality::Live) {
            if let Some(place) = self.setup.place(container.app) {
                estimated[place] = true;
            }
        }
    }
}

/// Readings by container, each container's first one before others of it; they usually come so.
fn in_order<'a>(given: &'a [ContainerUse], sorted: &'a mut Vec<ContainerUse>) -> &'a [ContainerUse] {
    if given.is_sorted_by_key(|used| used.container) {
        return given;
    }
    sorted.clear();
    sorted.extend(given);
    sorted.sort_by_key(|used| used.container);
    sorted
}
