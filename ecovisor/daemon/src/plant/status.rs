//! How a device is, counted over its readings.

use crate::engine::handle::{Device, DeviceRole, DeviceState};
use ecovisor_drivers::ReadError;

/// A device's record.
#[derive(Clone, Debug)]
pub struct Status {
    name: String,
    driver: &'static str,
    roles: Vec<DeviceRole>,
    state: DeviceState,
    last_error: Option<(String, u64)>,
    last_read_ms: Option<u64>,
    now_ms: u64,
    reads: u64,
    failed_reads: u64,
}

impl Status {
    /// A device that has not been read.
    pub fn new(name: impl Into<String>, driver: &'static str, roles: &[DeviceRole]) -> Self {
        Self {
            name: name.into(),
            driver,
            roles: roles.to_vec(),
            state: DeviceState::Lost,
            last_error: None,
            last_read_ms: None,
            now_ms: 0,
            reads: 0,
            failed_reads: 0,
        }
    }

    /// Counts a reading at `now_ms`.
    pub fn read(&mut self, now_ms: u64) {
        (self.now_ms, self.last_read_ms, self.state) = (now_ms, Some(now_ms), DeviceState::Live);
        self.reads += 1;
    }

    /// Counts a fault at `now_ms`.
    pub fn failed(&mut self, error: &ReadError, now_ms: u64) {
        self.reads += 1;
        self.also_failed(error, now_ms);
    }

    /// Counts a fault in a reading of several figures that has been counted: it is one failed reading, whatever failed.
    pub fn also_failed(&mut self, error: &ReadError, now_ms: u64) {
        let counted = self.last_error.as_ref().is_some_and(|(_, at)| *at == now_ms);
        self.now_ms = now_ms;
        self.failed_reads += u64::from(!counted);
        self.last_error = Some((error.to_string(), now_ms));
        self.state = match error {
            ReadError::Transient { .. } => DeviceState::Held,
            ReadError::Implausible { .. } => DeviceState::Implausible,
            ReadError::Lost { .. } | ReadError::Forbidden { .. } => DeviceState::Lost,
        };
    }

    /// As operators see it.
    pub fn device(&self) -> Device {
        Device {
            name: self.name.clone(),
            driver: self.driver,
            roles: self.roles.clone(),
            state: self.state,
            age_ms: self.last_read_ms.map(|read| self.now_ms.saturating_sub(read)),
            last_error: self.last_error.as_ref().map(|(text, _)| text.clone()),
            last_error_ms: self.last_error.as_ref().map(|(_, at)| *at),
            reads: self.reads,
            failed_reads: self.failed_reads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_ages_while_it_does_not_answer_and_lives_again_when_it_does() {
        let mut status = Status::new("battery", "sim", &[DeviceRole::Storage]);
        assert_eq!((status.device().state, status.device().age_ms), (DeviceState::Lost, None));
        status.read(1_000);
        status.failed(&ReadError::transient("battery_level"), 3_000);
        let device = status.device();
        assert_eq!((device.state, device.age_ms), (DeviceState::Held, Some(2_000)));
        assert_eq!((device.reads, device.failed_reads, device.last_error_ms), (2, 1, Some(3_000)));
        status.read(4_000);
        assert_eq!((status.device().state, status.device().age_ms), (DeviceState::Live, Some(0)));
        (0..2).for_each(|_| status.also_failed(&ReadError::transient("battery_in"), 4_000));
        let device = status.device();
        assert_eq!((device.state, device.reads, device.failed_reads), (DeviceState::Held, 3, 2));
    }
}
