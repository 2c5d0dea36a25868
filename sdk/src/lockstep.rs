//! Lock step with a simulated site: it waits at every tick until the app has answered, so that the code that runs live
//! runs through a week of trace in seconds.

use crate::error::refused_setter;
use crate::setting::Lease;
use crate::tick::RefusedSetting;
use crate::{Accepted, EnergySystem, Error, Setting, Tick, VirtualEnergy};
use ecovisor_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Answers on their way: the site asks for the next one only after it has heard the last.
const ANSWERS_MAX: usize = 1;

/// A simulated energy system, tick by tick. Settings wait for the next [`VirtualEnergy::next_tick`] and go out with it,
/// one round trip a tick; they hold from the coming tick, until changed. Dropping it lets the site go on alone.
#[derive(Debug)]
pub struct Lockstep {
    energy: EnergySystem,
    link: Link,
    waiting: Vec<Setting>,
    coming_tick: u64,
}

/// ```text
/// Unopened --next_tick--> Open --last tick told, or the stream ended--> Ended
/// ```
#[derive(Debug)]
enum Link {
    Unopened,
    Open { answers: mpsc::Sender<v1::TickDone>, ticks: Box<Streaming<v1::LockstepTick>>, told: u64 },
    Ended,
}

impl Lockstep {
    pub(crate) fn new(energy: EnergySystem) -> Self {
        Self { energy, link: Link::Unopened, waiting: Vec::new(), coming_tick: 0 }
    }

    /// Sends the answer to the tick that was told last, or opens the lock step with it.
    async fn answer(&mut self, setters: Vec<v1::Setter>) -> Result<(), Error> {
        match &mut self.link {
            Link::Unopened => {
                let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
                answers
                    .try_send(v1::TickDone { tick: None, setters })
                    .expect("a new channel has room for one");
                let ticks =
                    self.energy.service().run_lockstep(ReceiverStream::new(outgoing)).await?.into_inner();
                self.link = Link::Open { answers, ticks: Box::new(ticks), told: 0 };
                Ok(())
            }
            Link::Open { answers, told, .. } => {
                let done = v1::TickDone { tick: Some(*told), setters };
                // Where nobody listens any more, the stream of ticks says why.
                answers.send(done).await.or(Ok(()))
            }
            Link::Ended => Ok(()),
        }
    }

    /// The next tick, or nothing where the simulation has ended.
    async fn told(&mut self) -> Result<Option<v1::LockstepTick>, Error> {
        match &mut self.link {
            Link::Open { ticks, .. } => Ok(ticks.message().await?),
            Link::Unopened | Link::Ended => Ok(None),
        }
    }

    fn read(&mut self, wire: v1::LockstepTick, sent: &[Setting]) -> Result<Tick, Error> {
        let v1::LockstepTick { tick, refusals, last } = wire;
        let mut tick = Tick::read(crate::error::present(tick, "a tick of the lock step")?)?;
        for refusal in refusals {
            let setting = usize::try_from(refusal.index).ok().and_then(|index| sent.get(index));
            let setting =
                setting.ok_or_else(|| Error::unreadable("a refusal of a setting that was not sent"))?;
            tracing::warn!(message = %refusal.message, ?setting, "setting refused");
            let refusal = refused_setter(refusal, setting.unit());
            tick.refused.push(RefusedSetting { setting: setting.clone(), refusal });
        }
        self.coming_tick = tick.coming.tick;
        match &mut self.link {
            Link::Open { .. } if last => self.link = Link::Ended,
            Link::Open { told, .. } => *told = tick.tick,
            Link::Unopened | Link::Ended => {}
        }
        Ok(tick)
    }
}

impl VirtualEnergy for Lockstep {
    /// Not to be dropped half-way: the answer may have gone out already.
    async fn next_tick(&mut self) -> Result<Option<Tick>, Error> {
        let sent = std::mem::take(&mut self.waiting);
        self.answer(sent.iter().map(|setting| setting.write(Lease::UntilChanged)).collect()).await?;
        match self.told().await? {
            Some(wire) => self.read(wire, &sent).map(Some),
            None => {
                self.link = Link::Ended;
                Ok(None)
            }
        }
    }

    async fn set(&mut self, setting: Setting) -> Result<Accepted, Error> {
        self.waiting.push(setting);
        Ok(Accepted { holds_from_tick: self.coming_tick, lease_ends: None })
    }

    crate::energy::reads_through!(energy);
}
