//! Busy time of the whole machine.

use super::CpuTime;
use super::files::read;
use super::stat::machine;
use super::tree::nanos_of_ticks;
use crate::ReadError;
use std::path::Path;

/// What the whole machine has used since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineTime {
    /// Busy time over all cores: user, nice, system and interrupts.
    pub busy: CpuTime,
    /// Cores that are on, at least 1 on any machine.
    pub cores: u32,
}

/// Reads `stat` below `proc` (usually `/proc`), in whose clock a second has `ticks_per_second`
/// ([`super::ticks_per_second`]).
///
/// # Errors
/// [`ReadError::Implausible`] where the text cannot be understood; else as [`ReadError`] says.
pub fn machine_time(proc: &Path, ticks_per_second: u64) -> Result<MachineTime, ReadError> {
    let path = proc.join("stat");
    let (ticks, cores) = machine(&read(&path)?).ok_or_else(|| {
        ReadError::implausible(
            path.display().to_string(),
            "its text",
            "a line `cpu` with seven figures or more",
        )
    })?;
    Ok(MachineTime { busy: nanos_of_ticks(ticks, ticks_per_second), cores })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_time() {
        let proc = tempfile::tempdir().unwrap();
        std::fs::write(proc.path().join("stat"), "cpu  1 2 3 9 9 0 0 0 0 0\ncpu0 1 2 3 9 9 0 0 0 0 0\n")
            .unwrap();
        let expected = MachineTime { busy: CpuTime::from_nanos(60_000_000), cores: 1 };
        assert_eq!(machine_time(proc.path(), 100).unwrap(), expected);
    }

    #[test]
    fn this_machine_has_been_busy() {
        let now = machine_time(Path::new("/proc"), super::super::ticks_per_second()).unwrap();
        assert!(now.busy > CpuTime::ZERO);
        assert!(now.cores >= 1);
    }
}
