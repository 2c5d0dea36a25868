//! A session: its settings are leases that it renews for as long as it lives, so that a dead app cannot leave the
//! battery discharging.
//!
//! ```text
//!            set                    renewed every third of the lease
//!  (nothing) ---> wanted, in force <---+
//!                   |        |    +----+
//!                   |        | daemon away: attempts with growing waits; asserted again when it is back
//!                   |        +---> refused on renewal: dropped, told by `dropped()`
//!                   +---> session dropped, or default asked for: lease runs out, default comes back
//! ```

use crate::setting::{Lease, Origin, Setting, Subject};
use crate::system::{Clock, SystemState};
use crate::watch::{Backoff, Ticks};
use crate::{Accepted, EnergySystem, Error, Tick, VirtualEnergy};
use ecovisor_units::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Lease of a session's settings in real time: long enough that a restart of the daemon ends none, short enough that a
/// dead app's battery is back at its default within half a minute.
pub const LEASE_DEFAULT: Millis = Millis::from_secs(30);

/// Renewals in one lease: two may fail before it ends.
const RENEWALS_PER_LEASE: u64 = 3;

/// A live energy system whose settings end when the app does: dropping it stops the renewals.
#[derive(Debug)]
pub struct Session {
    energy: EnergySystem,
    ticks: Ticks,
    kept: Arc<Kept>,
    renewals: JoinHandle<()>,
}

/// A setting that the daemon refused to renew; it is no longer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedSetting {
    /// The setting.
    pub setting: Setting,
    /// Why it was refused.
    pub error: Error,
}

/// What a session and its renewals share.
#[derive(Debug)]
struct Kept {
    lease: Lease,
    /// The lease in real time.
    length: Duration,
    /// Held over the call that asserts a setting, so that a renewal cannot overtake a newer one.
    settings: Mutex<Settings>,
    renew_now: Notify,
}

#[derive(Debug, Default)]
struct Settings {
    wanted: BTreeMap<Subject, Wanted>,
    dropped: BTreeMap<Subject, DroppedSetting>,
}

#[derive(Debug)]
struct Wanted {
    setting: Setting,
    /// When the daemon last accepted it and from which tick it held then; `None` before the first time.
    accepted: Option<(Instant, u64)>,
}

impl Session {
    /// Opens a session with the default lease.
    ///
    /// # Errors
    /// Why the daemon could not be asked for its clock.
    pub async fn open(energy: EnergySystem) -> Result<Self, Error> {
        Self::with_lease(energy, LEASE_DEFAULT).await
    }

    /// Opens a session whose settings outlive it by at most `lease` of real time. On a scaled clock the daemon is asked
    /// for that much more; on a simulated one, where real time says nothing, settings hold until changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lease is shorter than its three renewals; why the daemon could not be asked.
    pub async fn with_lease(energy: EnergySystem, lease: Millis) -> Result<Self, Error> {
        if lease.get() < RENEWALS_PER_LEASE {
            return Err(Error::invalid("a lease must be at least 3 ms"));
        }
        let length = Duration::from_millis(lease.get());
        let lease = lease_on(energy.state().await?.clock, lease);
        let kept = Arc::new(Kept { lease, length, settings: Mutex::default(), renew_now: Notify::new() });
        let renewals = tokio::spawn(renew(energy.clone(), Arc::clone(&kept)));
        Ok(Self { ticks: energy.ticks(), energy, kept, renewals })
    }

    /// The energy system below, whose own settings are not renewed.
    #[must_use]
    pub fn energy(&self) -> &EnergySystem {
        &self.energy
    }

    /// Settings that were refused on renewal since the last call; each is told once.
    pub async fn dropped(&self) -> Vec<DroppedSetting> {
        std::mem::take(&mut self.kept.settings.lock().await.dropped).into_values().collect()
    }

    /// Ends the session at once: brings the default of each of its settings back instead of letting leases run out.
    ///
    /// # Errors
    /// Why a default could not be brought back; the lease then ends it.
    pub async fn release(self) -> Result<(), Error> {
        let wanted = std::mem::take(&mut self.kept.settings.lock().await.wanted);
        for subject in wanted.into_keys() {
            self.energy.apply(&default_of(subject), Lease::UntilChanged).await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}

impl VirtualEnergy for Session {
    async fn next_tick(&mut self) -> Result<Option<Tick>, Error> {
        let outages = self.ticks.outages();
        let tick = self.ticks.next().await?;
        if self.ticks.outages() > outages {
            self.kept.renew_now.notify_one();
        }
        Ok(Some(tick))
    }

    /// Makes a setting and renews it from now on. Where the daemon does not answer, the error says so and the setting is
    /// kept: it is asserted when the daemon is back. A refused setting is not kept; one that it would have replaced stays.
    async fn set(&mut self, setting: Setting) -> Result<Accepted, Error> {
        let mut settings = self.kept.settings.lock().await;
        let subject = setting.subject();
        if setting.is_default() {
            settings.wanted.remove(&subject);
            return self.energy.apply(&setting, Lease::UntilChanged).await;
        }
        let outcome = self.energy.apply(&setting, self.kept.lease).await;
        let accepted = match &outcome {
            Ok(accepted) => Some((Instant::now(), accepted.holds_from_tick)),
            Err(error) if error.is_passing() => {
                self.kept.renew_now.notify_one();
                None
            }
            Err(_) => return outcome,
        };
        settings.dropped.remove(&subject);
        settings.wanted.insert(subject, Wanted { setting, accepted });
        outcome
    }

    crate::energy::reads_through!(energy);
}

/// The lease in the site's time.
fn lease_on(clock: Clock, lease: Millis) -> Lease {
    match clock {
        Clock::Real => Lease::For(lease),
        Clock::Scaled { factor } => Lease::For(Millis::new(lease.get().saturating_mul(u64::from(factor)))),
        Clock::Simulated => Lease::UntilChanged,
    }
}

/// Renews every third of the lease; while the daemon is away, as often as the back-off says.
async fn renew(energy: EnergySystem, kept: Arc<Kept>) {
    let period = kept.length / u32::try_from(RENEWALS_PER_LEASE).expect("three fits");
    let mut backoff = Backoff::new();
    let mut wait = period;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = kept.renew_now.notified() => {}
        }
        wait = match renew_all(&energy, &kept).await {
            Ok(()) => {
                backoff.reset();
                period
            }
            Err(error) => {
                tracing::debug!(%error, "leases could not be renewed");
                backoff.grow().min(period)
            }
        };
    }
}

/// Asserts every wanted setting again. A setting that is refused is dropped; an error means that the daemon is away.
async fn renew_all(energy: &EnergySystem, kept: &Kept) -> Result<(), Error> {
    let mut settings = kept.settings.lock().await;
    if settings.wanted.is_empty() {
        return Ok(());
    }
    let state = energy.state().await?;
    settings.wanted.retain(|_, wanted| !has_ended(wanted, &state, kept.length));
    let Settings { wanted, dropped } = &mut *settings;
    let mut refused = Vec::new();
    for (subject, wanted) in wanted.iter_mut() {
        match energy.apply(&wanted.setting, kept.lease).await {
            // From which tick it first held stays: renewals do not begin it anew.
            Ok(accepted) => {
                let holds_from = wanted.accepted.map_or(accepted.holds_from_tick, |(_, first)| first);
                wanted.accepted = Some((Instant::now(), holds_from));
            }
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, setting = ?wanted.setting, "setting dropped");
                refused.push((subject.clone(), DroppedSetting { setting: wanted.setting.clone(), error }));
            }
        }
    }
    for (subject, setting) in refused {
        wanted.remove(&subject);
        dropped.insert(subject, setting);
    }
    Ok(())
}

/// Whether a charge ended by itself because the battery became full: it held, its lease cannot have run out, and yet the
/// default is in force. Renewing it would begin it anew and keep the battery from the load.
fn has_ended(wanted: &Wanted, state: &SystemState, lease: Duration) -> bool {
    let Setting::BatteryChargeRate(_) = wanted.setting else { return false };
    let Some((renewed, holds_from)) = wanted.accepted else { return false };
    let in_force = state.settings.battery_charge_rate.map(|rate| rate.origin);
    in_force == Some(Origin::Default) && state.coming_tick >= holds_from && renewed.elapsed() < lease
}

fn default_of(subject: Subject) -> Setting {
    match subject {
        Subject::BatteryChargeRate => Setting::BatteryChargeRate(None),
        Subject::BatteryMaxDischarge => Setting::BatteryMaxDischarge(None),
        Subject::ContainerPowerCap(container) => Setting::ContainerPowerCap { container, cap: None },
        Subject::CarbonRate => Setting::CarbonRate(None),
        Subject::CarbonBudget => Setting::CarbonBudget(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_long_in_real_time_on_every_clock() {
        assert_eq!(lease_on(Clock::Real, LEASE_DEFAULT), Lease::For(Millis::from_secs(30)));
        assert_eq!(
            lease_on(Clock::Scaled { factor: 60 }, LEASE_DEFAULT),
            Lease::For(Millis::from_secs(1_800))
        );
        assert_eq!(lease_on(Clock::Simulated, LEASE_DEFAULT), Lease::UntilChanged);
    }
}
