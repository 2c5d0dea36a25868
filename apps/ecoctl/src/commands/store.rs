//! `ecoctl store`: the store of a running daemon, as a whole.

use crate::connect::Context;
use crate::failure::Failure;
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;
use serde_json::json;

/// The store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Copy it, as it is at one moment, into a new directory of the daemon's machine.
    Backup(Backup),
}

/// Copies.
#[derive(Debug, Args)]
pub struct Backup {
    /// The new directory: an absolute path on the daemon's machine, in a directory that only its user can write to.
    #[arg(long, value_name = "DIR")]
    to: String,
}

impl Store {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Backup(backup) => backup.run(context).await,
        }
    }
}

impl Backup {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = wire::BackupStoreRequest { directory: self.to.clone() };
        let mut replies = context.ask(context.operator.backup_store(request)).await?;
        while let Some(reply) = context.next(&mut replies).await? {
            let wire::BackupStoreReply { values, bytes, end } = reply;
            let Some(wire::BackupEnd { entries, head }) = end else { continue };
            let head: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            let json = json!({ "directory": self.to, "values": values, "bytes": bytes, "entries": entries, "head": head });
            let text = format!(
                "copied {values} values, {bytes} bytes, to {}\nafter journal entry {entries}, head {head}\n\
                 `ecovisord store verify {}` says whether it is whole",
                self.to, self.to
            );
            return context.output.answer(&json, &text);
        }
        Err(Failure::other("the daemon ended the copy before it was whole"))
    }
}
