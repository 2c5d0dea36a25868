//! What the kernel says of a process: memory, CPU time, files.

use anyhow::{Context as _, Result};

/// Resident memory, in KiB.
///
/// # Errors
/// Where the process is gone.
pub fn rss_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// CPU time of all its threads so far, in clock ticks of 10 ms (proc(5): fields 14 and 15 of `stat`).
///
/// # Errors
/// Where the process is gone.
pub fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("a process has a name")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |at: usize| -> Result<u64> { Ok(fields.get(at).context("stat is short")?.parse()?) };
    Ok(field(11)? + field(12)?)
}

/// Open files.
///
/// # Errors
/// Where the process is gone, or another user's.
pub fn files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
