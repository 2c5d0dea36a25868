//! `ecoctl completions`: for bash, zsh, fish, elvish and PowerShell.

use crate::failure::Failure;
use clap::Args;
use clap_complete::Shell;

/// Completions for a shell, on stdout.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Prints them.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn print(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::cli::description(), "ecoctl", &mut script);
        crate::output::print(String::from_utf8_lossy(&script).trim_end())
    }
}
