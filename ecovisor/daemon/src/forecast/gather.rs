//! Hours out of ticks: the mean over the hour of what live readings said, where they cover it.

use ecovisor_units::{CarbonIntensity, Energy, Millis};

/// What one tick says of the truth.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it began, in ms since the Unix epoch.
    pub wall: Millis,
    /// Its length.
    pub span: Millis,
    /// What the panels could have given; `None` where that is held or assumed.
    pub solar: Option<Energy>,
    /// The grid's intensity, likewise.
    pub intensity: Option<CarbonIntensity>,
}

/// An hour that has passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    /// Since the Unix epoch.
    pub number: u64,
    /// Mean solar power, in mW; `None` where too little of the hour was seen.
    pub solar_mw: Option<f64>,
    /// Mean intensity, in mg/kWh.
    pub carbon_mg_per_kwh: Option<f64>,
}

/// Part of an hour that must have been seen, in ms: nine tenths. What is missing is then less than a forecast errs.
const SEEN_MS_MIN: u64 = 3_240_000;
const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    product: u128,
    seen_ms: u64,
}

impl Sum {
    fn add(&mut self, product: u128, span: Millis) {
        self.product = self.product.saturating_add(product);
        self.seen_ms = self.seen_ms.saturating_add(span.get());
    }

    /// Rounded down to a mW or a mg/kWh.
    fn mean(self) -> Option<f64> {
        let mean = self.product.checked_div(u128::from(self.seen_ms))?;
        let mean = u64::try_from(mean).unwrap_or(u64::MAX);
        (self.seen_ms >= SEEN_MS_MIN).then(|| ecovisor_forecast::float(mean))
    }
}

/// The hour that is under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gather {
    hour: Option<u64>,
    solar: Sum,
    intensity: Sum,
}

impl Gather {
    /// Takes a tick, which counts for the hour that its middle lies in; returns the hour before where this tick is the first
    /// of another, and the number of the one that is under way.
    pub fn tick(&mut self, sample: &Sample) -> (Option<Hour>, u64) {
        let middle = sample.wall.get().saturating_add(sample.span.get() / 2);
        let number = middle / HOUR_MS;
        let passed = self.hour.filter(|hour| *hour != number).map(|hour| Hour {
            number: hour,
            solar_mw: self.solar.mean(),
            carbon_mg_per_kwh: self.intensity.mean(),
        });
        if self.hour != Some(number) {
            *self = Self { hour: Some(number), ..Self::default() };
        }
        if let Some(solar) = sample.solar {
            self.solar.add(u128::from(solar.get()), sample.span);
        }
        if let Some(intensity) = sample.intensity {
            self.intensity.add(u128::from(intensity.get()) * u128::from(sample.span.get()), sample.span);
        }
        (passed, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_units::Power;

    fn minute(nth: u64, watts: Option<u64>) -> Sample {
        let span = Millis::from_secs(60);
        let solar = watts.map(|watts| Power::from_watts(watts).over(span));
        Sample { wall: Millis::new(nth * 60_000), span, solar, intensity: Some(CarbonIntensity::new(nth)) }
    }

    fn hour(samples: impl Iterator<Item = Sample>) -> Option<Hour> {
        let mut gather = Gather::default();
        samples.map(|sample| gather.tick(&sample)).fold(None, |last, (passed, _)| passed.or(last))
    }

    #[test]
    fn an_hour_is_the_mean_of_its_ticks() {
        let passed = hour((0..61).map(|nth| minute(nth, Some(nth))));
        assert_eq!(passed, Some(Hour { number: 0, solar_mw: Some(29_500.0), carbon_mg_per_kwh: Some(29.0) }));
    }

    #[test]
    fn an_hour_of_which_too_little_was_seen_says_nothing() {
        let seen =
            |from: u64| hour((0..61).map(|nth| minute(nth, (nth >= from).then_some(5)))).unwrap().solar_mw;
        assert_eq!((seen(6), seen(7)), (Some(5_000.0), None));
    }

    #[test]
    fn an_hour_that_was_skipped_is_not_made_up() {
        let mut gather = Gather::default();
        assert_eq!(gather.tick(&minute(0, Some(1))), (None, 0));
        let (passed, now) = gather.tick(&minute(300, Some(1)));
        assert_eq!((passed.map(|hour| (hour.number, hour.solar_mw)), now), (Some((0, None)), 5));
    }
}
