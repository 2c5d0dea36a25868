//! Subscriptions. A reader that is slow loses the oldest of what it did not read, and is told how much; it never holds
//! up anybody else.
//!
//! A subscription is asked for its next message when the reader's window has room for one, and makes it then: no task, no
//! queue and no message wait for a reader beside the news that all share.

use super::errors::Problem;
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::broadcast;
use tokio_stream::Stream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

/// What a conversation sends.
pub type Answers<T> = ReceiverStream<Result<T, Status>>;

/// What a subscription sends.
pub type Followed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Messages that wait for a slow partner's window in a conversation. One is being sent, one is ready.
pub const AHEAD_MAX: usize = 2;

/// Sends what `tell` makes of every piece of news, until the reader goes, the ecovisor stops, or `tell` has a problem.
/// `tell` hears how many pieces were lost since it last said something.
pub fn follow<N, T, F>(news: broadcast::Receiver<N>, stop: CancellationToken, tell: F) -> Followed<T>
where
    N: Clone + Send + 'static,
    T: Send + Unpin + 'static,
    F: FnMut(&N, u64) -> Result<Vec<T>, Problem> + Send + Unpin + 'static,
{
    Box::pin(Subscription {
        news: BroadcastStream::new(news),
        stop: Box::pin(stop.cancelled_owned()),
        tell,
        told: VecDeque::new(),
        missed: 0,
        ended: false,
    })
}

struct Subscription<N, T, F> {
    news: BroadcastStream<N>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    tell: F,
    /// What is left to be sent of the last piece.
    told: VecDeque<T>,
    missed: u64,
    ended: bool,
}

impl<N, T, F> Subscription<N, T, F>
where
    N: Clone + Send + 'static,
    F: FnMut(&N, u64) -> Result<Vec<T>, Problem>,
{
    /// The next message, or why there is none any more.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Problem>> {
        if self.stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Problem::stopping()));
        }
        loop {
            if let Some(message) = self.told.pop_front() {
                return Poll::Ready(Ok(message));
            }
            match ready!(Pin::new(&mut self.news).poll_next(context)) {
                None => return Poll::Ready(Err(Problem::stopping())),
                Some(Err(BroadcastStreamRecvError::Lagged(lost))) => {
                    self.missed = self.missed.saturating_add(lost);
                }
                Some(Ok(piece)) => match (self.tell)(&piece, self.missed) {
                    Err(problem) => return Poll::Ready(Err(problem)),
                    Ok(told) => {
                        self.missed = if told.is_empty() { self.missed } else { 0 };
                        self.told = told.into();
                    }
                },
            }
        }
    }
}

impl<N, T, F> Stream for Subscription<N, T, F>
where
    N: Clone + Send + 'static,
    T: Unpin,
    F: FnMut(&N, u64) -> Result<Vec<T>, Problem> + Unpin,
{
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let next = ready!(this.next(context));
        this.ended = next.is_err();
        Poll::Ready(Some(next.map_err(Status::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt as _;
    use tonic::Code;

    type Told = (u32, u64);

    fn say(piece: &u32, missed: u64) -> Result<Vec<Told>, Problem> {
        match *piece {
            13 => Err(Problem::unknown_app("gone")),
            piece if piece % 2 == 1 => Ok(vec![]),
            piece => Ok(vec![(piece, missed)]),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_lost() {
        let (news, heard) = broadcast::channel(2);
        for piece in 0..6 {
            news.send(piece).unwrap();
        }
        let mut answers = follow(heard, CancellationToken::new(), say);
        // Four of the six were lost; the piece after them says so.
        assert_eq!(answers.next().await.unwrap().unwrap(), (4, 4));
        news.send(6).unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), (6, 0));
    }

    #[tokio::test]
    async fn what_was_lost_is_told_with_the_next_message_not_with_a_silent_piece() {
        let (news, heard) = broadcast::channel(2);
        for piece in [0, 1, 3, 5] {
            news.send(piece).unwrap();
        }
        let mut answers = follow(heard, CancellationToken::new(), say);
        let next = tokio::spawn(async move { answers.next().await });
        tokio::task::yield_now().await;
        news.send(8).unwrap();
        assert_eq!(next.await.unwrap().unwrap().unwrap(), (8, 2));
    }

    #[tokio::test]
    async fn a_stream_ends_with_a_status_that_says_why() {
        let (news, heard) = broadcast::channel(2);
        let stop = CancellationToken::new();
        let mut stopped = follow(heard, stop.clone(), say);
        let mut refused = follow(news.subscribe(), stop.clone(), say);
        news.send(13).unwrap();
        assert_eq!(refused.next().await.unwrap().unwrap_err().code(), Code::NotFound);
        assert!(refused.next().await.is_none());
        let mut closed = follow(news.subscribe(), CancellationToken::new(), say);
        stop.cancel();
        let mut last = None;
        while let Some(answer) = stopped.next().await {
            last = Some(answer);
        }
        // Either the problem or the stop came first; both say why.
        assert!(last.unwrap().is_err());
        drop(news);
        assert_eq!(closed.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    }
}
