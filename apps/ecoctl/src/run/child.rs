//! The program: spawned stopped, continued when it is attached, waited for.
//!
//! ```text
//! spawn `ecoctl internal-exec` -> it stops itself -> Stopped -> SIGCONT -> it becomes the program -> exit code
//! ```
//! A stop instead of a pipe: nothing is inherited, stdin stays the program's own. If ecoctl dies before the program is
//! let go, the kernel kills it (PR_SET_PDEATHSIG): a program never runs unattached.

use crate::failure::Failure;
use clap::Args;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code where the program cannot be executed, as shells have it.
const CANNOT_EXECUTE: u8 = 126;
/// Exit code where there is no such program, as shells have it.
const NO_SUCH_PROGRAM: u8 = 127;
/// Exit codes of programs that a signal ended begin here, as shells have it.
const SIGNALLED: u8 = 128;

/// Stops, and when continued becomes a program.
#[derive(Debug, Args)]
pub struct InternalExec {
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl InternalExec {
    /// Becomes the program; returns only where that fails, and then ends the process with a shell's exit code.
    pub fn exec(&self) -> Failure {
        let stopped = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .and_then(|()| rustix::process::kill_process(rustix::process::getpid(), Signal::STOP))
            .and_then(|()| rustix::process::set_parent_process_death_signal(None));
        if let Err(cause) = stopped {
            return Failure::other(format!("the program could not wait to be attached: {cause}"));
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return Failure::usage("no program is named");
        };
        let cause = std::process::Command::new(program).args(arguments).exec();
        eprintln!("ecoctl: {} cannot be executed: {cause}", program.display());
        let code = match cause.kind() {
            std::io::ErrorKind::NotFound => NO_SUCH_PROGRAM,
            _ => CANNOT_EXECUTE,
        };
        std::process::exit(code.into())
    }
}

/// A program that has been spawned.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    pid: u32,
}

/// A program that waits to be let go; dropped, it is killed.
#[derive(Debug)]
pub struct Stopped {
    process: tokio::process::Child,
    pid: u32,
    forward: Forward,
}

impl Child {
    /// Spawns it, with `socket` as the address of its energy system where there is one.
    ///
    /// # Errors
    /// Where it cannot be spawned.
    pub fn spawn(command: &[OsString], socket: &str) -> Result<Self, Failure> {
        let cannot = |cause: std::io::Error| Failure::other(format!("no process can be started: {cause}"));
        let myself = std::env::current_exe().map_err(cannot)?;
        let mut spawning = tokio::process::Command::new(myself);
        spawning.arg("internal-exec").arg("--").args(command).kill_on_drop(true);
        if !socket.is_empty() {
            spawning.env(ecovisor_sdk::ENV_SOCKET, socket);
        }
        let process = spawning.spawn().map_err(cannot)?;
        let pid = process.id().ok_or_else(|| Failure::other("the program ended before it began"))?;
        Ok(Self { process, pid })
    }

    /// Waits until it has stopped itself.
    ///
    /// # Errors
    /// Where it ended instead.
    pub async fn stopped(self) -> Result<Stopped, Failure> {
        let Self { process, pid } = self;
        // From here on a signal waits for the program instead of ending ecoctl between attaching and detaching.
        let forward = Forward::new(pid)
            .map_err(|cause| Failure::other(format!("signals cannot be forwarded: {cause}")))?;
        let stopped = tokio::task::spawn_blocking(move || wait_until_stopped(pid)).await;
        match stopped {
            Ok(true) => Ok(Stopped { process, pid, forward }),
            Ok(false) | Err(_) => Err(Failure::other("the program ended before it was attached")),
        }
    }
}

/// Without taking its exit status, which is tokio's to take.
fn wait_until_stopped(pid: u32) -> bool {
    let Some(pid) = raw(pid) else { return false };
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Ok(Some(status)) => return status.stopped(),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

impl Stopped {
    /// Its pid.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it go and waits for it, forwarding signals; its exit code, or 128 and the signal that ended it.
    ///
    /// # Errors
    /// Where it can be neither continued nor waited for.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        let Self { mut process, pid: _, mut forward } = self;
        forward.send(Signal::CONT);
        loop {
            tokio::select! {
                status = process.wait() => {
                    let status = status.map_err(|cause| Failure::other(format!("the program was lost: {cause}")))?;
                    return Ok(ExitCode::from(code(status)));
                }
                signal = forward.next() => forward.send(signal),
            }
        }
    }
}

/// A shell's exit code.
fn code(status: std::process::ExitStatus) -> u8 {
    let signalled =
        status.signal().and_then(|signal| u8::try_from(signal).ok()).map(|signal| SIGNALLED | signal);
    let exited = status.code().and_then(|code| u8::try_from(code).ok());
    exited.or(signalled).unwrap_or(1)
}

/// Signals on their way to the program.
#[derive(Debug)]
struct Forward {
    pid: u32,
    /// A terminal sends these to the whole foreground group, the program included: to forward them would double them.
    from_terminal: bool,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    user_1: tokio::signal::unix::Signal,
    user_2: tokio::signal::unix::Signal,
}

impl Forward {
    fn new(pid: u32) -> std::io::Result<Self> {
        Ok(Self {
            pid,
            from_terminal: std::io::IsTerminal::is_terminal(&std::io::stdin()),
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal that is to be forwarded.
    async fn next(&mut self) -> Signal {
        loop {
            let (signal, doubled) = tokio::select! {
                _ = self.interrupt.recv() => (Signal::INT, self.from_terminal),
                _ = self.quit.recv() => (Signal::QUIT, self.from_terminal),
                _ = self.terminate.recv() => (Signal::TERM, false),
                _ = self.hangup.recv() => (Signal::HUP, false),
                _ = self.user_1.recv() => (Signal::USR1, false),
                _ = self.user_2.recv() => (Signal::USR2, false),
            };
            if !doubled {
                return signal;
            }
        }
    }

    /// A program that has just ended gets nothing, which is as it should be.
    fn send(&self, signal: Signal) {
        if let Some(pid) = raw(self.pid) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        let status = |raw| code(std::process::ExitStatus::from_raw(raw));
        assert_eq!(status(3 << 8), 3);
        assert_eq!(status(15), 143);
        assert_eq!(status(0), 0);
    }
}
