//! Questions: considered one after the other, journaled with one commit, audited, then answered.

use super::handle::{Answer, AskError, Asked, Mode, Question, Reply, View, Workload};
use super::{Ended, Runner};
use crate::clock;
use crate::trail::{TrailEntry, TrailOutcome};
use ecovisor_audit::journal::{Entry, Grants, Note, Target};
use ecovisor_core::{Accepted, AppId, Command, ContainerId};
use ecovisor_units::Power;
use std::sync::Arc;

/// Questions answered with one commit.
const BATCH_MAX: usize = 64;

type ReplyTo = tokio::sync::oneshot::Sender<Result<Reply, AskError>>;

/// A question that was considered: whom to answer, what, and what the audit trail says.
type Considered = (ReplyTo, Result<Reply, AskError>, TrailEntry);

impl Runner {
    /// Answers `first` and what has come in behind it, with one commit for all.
    pub(super) fn answer(&mut self, first: Asked) -> Result<(), Ended> {
        let (mut answers, mut entries) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(asked) = next {
            let (reply, result, entry) = self.consider(asked)?;
            answers.push((reply, result));
            entries.push(entry);
            next = if answers.len() < BATCH_MAX { self.asks.try_recv().ok() } else { None };
        }
        self.flush()?;
        let audited = self.trail.write_all(&entries);
        if let Err(error) = &audited {
            tracing::error!(%error, "the audit trail cannot be written: nothing more is accepted");
        }
        self.publish();
        let view = self.view.borrow().clone();
        for (reply, mut result) in answers {
            if audited.is_err() {
                result = Err(AskError::Stopping);
            }
            if let Ok(Reply::Answer(answer)) = &mut result
                && answer.is_new
            {
                answer.view = view.clone();
            }
            // Whoever asked may have gone meanwhile.
            let _ = reply.send(result);
        }
        Ok(())
    }

    pub(super) fn answer_waiting(&mut self) -> Result<(), Ended> {
        match self.asks.try_recv() {
            Ok(asked) => self.answer(asked),
            Err(_) => Ok(()),
        }
    }

    /// Does what is asked, and says what the audit trail is to say of it; nobody is told before both are on the disk.
    fn consider(&mut self, asked: Asked) -> Result<Considered, Ended> {
        let Asked { actor, arguments, question, reply } = asked;
        let result = match question {
            Question::Command { command, dry_run: true, .. } => self.try_command(&command),
            Question::Command { command, grants, dry_run: false } => self.command(command, grants)?,
            Question::Attach { app, name, target } => self.attach(app, name, target)?,
            Question::Reload { dry_run } => self.reload(dry_run)?,
        };
        let (outcome, detail, holds_from) = match &result {
            Ok(Reply::Answer(answer)) => {
                (TrailOutcome::Accepted, String::new(), Some(answer.accepted.holds_from))
            }
            Ok(Reply::Reloaded(reloaded)) => {
                (TrailOutcome::Accepted, reloaded.changed.join("; "), reloaded.holds_from)
            }
            Err(error) => (TrailOutcome::Refused, error.to_string(), None),
        };
        if let Some(metrics) = &self.metrics {
            metrics.count_command(outcome);
        }
        let entry = TrailEntry {
            wall_ms: clock::wall_ms(),
            actor: actor.name,
            via: actor.via.to_owned(),
            method: actor.method.to_owned(),
            arguments,
            outcome,
            detail,
            holds_from_tick: holds_from.map(|tick| tick.0),
        };
        Ok((reply, result, entry))
    }

    pub(super) fn steers(&self) -> Result<(), AskError> {
        match &self.mode {
            Mode::Normal => Ok(()),
            Mode::Safe { reason } => Err(AskError::SafeMode(reason.clone())),
        }
    }

    /// What a command would lead to.
    fn try_command(&self, command: &Command) -> Result<Reply, AskError> {
        let mut site = self.state.site.clone();
        let accepted = site.command(command)?;
        let view = Arc::new(View { site: Arc::new(site), ..View::clone(&self.view.borrow()) });
        Ok(Reply::Answer(Answer { accepted, view, is_new: false }))
    }

    pub(super) fn command(
        &mut self,
        command: Command,
        grants: Option<Grants>,
    ) -> Result<Result<Reply, AskError>, Ended> {
        let checked = self.steers().and_then(|()| self.state.site.would(&command).map_err(AskError::from));
        let accepted = match checked {
            Ok(accepted) => accepted,
            Err(error) => return Ok(Err(error)),
        };
        let app = accepted.app.or(subject(&command));
        let notes = grants.zip(app).map(|(grants, app)| Entry::Note(Note::Grants { app, grants }));
        let capped = capped_container(&command);
        let answered = self.commit_command(command, notes.into_iter().collect())?;
        if let (Ok(_), Some(container)) = (&answered, capped) {
            self.cap_at_once(container);
        }
        Ok(answered.map(|accepted| self.answered(accepted)).map_err(AskError::from))
    }

    /// Writes a container's cap to its actuator before the tick in which it holds: its wish, lowered to what the app's
    /// supply leaves to it as the last tick saw it.
    fn cap_at_once(&mut self, container: ContainerId) {
        let containers = self.state.site.containers(true);
        let Some(app) = containers.iter().find(|c| c.id == container).map(|c| c.app) else { return };
        let own: Vec<_> = containers.iter().filter(|c| c.app == app).collect();
        let wishes: Vec<Power> = own.iter().map(|c| c.wish()).collect();
        let supplies = self.outcome.iter().flat_map(|outcome| outcome.apps.iter());
        let supply = supplies.filter(|a| a.app == app && app != AppId::HOUSE).map(|a| a.supply).next();
        let caps = ecovisor_core::cap::fit(&wishes, supply.unwrap_or(Power::MAX));
        let caps: Vec<(ContainerId, Power, Power)> = own
            .iter()
            .zip(caps)
            .map(|(c, cap)| (c.id, cap, c.ceiling))
            .filter(|(id, _, _)| *id == container)
            .collect();
        for (id, cap, ceiling) in caps {
            self.plant.cap_at_once(id, (cap < ceiling).then_some(cap));
        }
    }

    fn answered(&self, accepted: Accepted) -> Reply {
        Reply::Answer(Answer { accepted, view: self.view.borrow().clone(), is_new: true })
    }

    pub(super) fn attach(
        &mut self,
        app: AppId,
        name: ecovisor_core::ContainerName,
        target: Target,
    ) -> Result<Result<Reply, AskError>, Ended> {
        if let Err(error) = self.steers() {
            return Ok(Err(error));
        }
        let command = match self.plant.ceiling(&target) {
            Ok(ceiling) => Command::AttachContainer { app, name, ceiling },
            Err(error) => return Ok(Err(AskError::NoWorkload(error.to_string()))),
        };
        let container = match self.state.site.would(&command) {
            Ok(Accepted { container: Some(container), .. }) => container,
            Ok(_) => return Ok(Err(AskError::NoWorkload("nothing was attached".to_owned()))),
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let metered_only = match self.plant.attach(container, &target) {
            Ok(metered_only) => metered_only,
            Err(crate::plant::OpenError::Taken(what)) => return Ok(Err(AskError::Taken(what))),
            Err(crate::plant::OpenError::NoSuch(why)) => return Ok(Err(AskError::NoWorkload(why))),
        };
        let note = Entry::Note(Note::Target { container, target: target.clone() });
        let accepted = match self.commit_command(command, vec![note])? {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.plant.detach(container);
                return Ok(Err(refusal.into()));
            }
        };
        let workload = Workload { app, target, metered_only, last_error: None, energy: Default::default() };
        self.workloads.insert(container, workload);
        Ok(Ok(self.answered(accepted)))
    }
}

/// The app that a command is about, where grants may come with it.
fn subject(command: &Command) -> Option<AppId> {
    match command {
        Command::ChangePolicy { app, .. } | Command::ChangeShare { app, .. } => Some(*app),
        _ => None,
    }
}

/// The container whose cap a command sets.
fn capped_container(command: &Command) -> Option<ContainerId> {
    match command {
        Command::SetContainerCap { container, .. } => Some(*container),
        _ => None,
    }
}
