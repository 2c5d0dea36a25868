//! What the view shows, from the daemon: connects, tells ticks and events, and when the connection breaks says so and
//! tries again.

use crate::cli::Global;
use crate::commands::events;
use crate::connect::Context;
use crate::failure::Failure;
use ecovisor_sdk::operator::wire;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Time between two tries: short against a person's patience, long against a daemon's start.
const RETRY: Duration = Duration::from_secs(1);

/// News for the view.
#[derive(Debug)]
pub enum News {
    /// Connected; the site as it stands.
    Connected(Box<Context>, Box<wire::Site>),
    /// The connection broke, or there is none yet.
    Lost(String),
    /// A tick was settled.
    Tick(Box<wire::SiteTick>),
    /// Something happened, in one line.
    Event(String),
    /// What came of a setting.
    Said(String),
}

/// Feeds until nobody listens.
pub async fn feed(global: Global, news: Sender<News>) {
    loop {
        let Err(failure) = connection(&global, &news).await else { return };
        if news.send(News::Lost(failure.message)).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One connection, from its beginning to its end; `Ok` where nobody listens any more.
async fn connection(global: &Global, news: &Sender<News>) -> Result<(), Failure> {
    let context = Context::connect(global).await?;
    let mut site = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
    let mut ticks = context.ask(context.operator.watch_site(wire::WatchSiteRequest {})).await?;
    let all = wire::WatchAllEventsRequest::default();
    let mut events = context.ask(context.operator.watch_all_events(all)).await?;
    let ended = || Failure::other("the daemon ended the stream");
    let last = site.last.take();
    let mut next = vec![News::Connected(Box::new(context.clone()), Box::new(site))];
    next.extend(last.map(|tick| News::Tick(Box::new(tick))));
    loop {
        for news_item in next.drain(..) {
            if news.send(news_item).await.is_err() {
                return Ok(());
            }
        }
        next.push(tokio::select! {
            tick = context.next(&mut ticks) => News::Tick(Box::new(tick?.ok_or_else(ended)?)),
            event = context.next(&mut events) => News::Event(events::line(&event?.ok_or_else(ended)?)),
        });
    }
}
