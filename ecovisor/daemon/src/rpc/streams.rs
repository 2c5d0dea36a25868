//! Subscriptions. A reader that is slow loses the oldest of what it did not read, and is told how much; it never holds
//! up anybody else.

use super::errors::Problem;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What a subscription sends.
pub type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Messages that wait for a slow reader's window besides what the broadcast keeps. One is being sent, one is ready.
pub const AHEAD_MAX: usize = 2;

/// How long a reader may take to be told that the ecovisor stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Sends what `tell` makes of every piece of news, until the reader goes, the ecovisor stops, or `tell` has a problem.
/// `tell` hears how many pieces were lost since it last said something.
pub fn follow<N, T, F>(mut news: broadcast::Receiver<N>, stop: CancellationToken, mut tell: F) -> Answers<T>
where
    N: Clone + Send + 'static,
    T: Send + 'static,
    F: FnMut(&N, u64) -> Result<Vec<T>, Problem> + Send + 'static,
{
    let (answers, out) = mpsc::channel(AHEAD_MAX);
    tokio::spawn(async move {
        let mut missed = 0_u64;
        let end = loop {
            let piece = tokio::select! {
                () = stop.cancelled() => break Problem::stopping(),
                () = answers.closed() => return,
                piece = news.recv() => piece,
            };
            match piece {
                Err(RecvError::Lagged(lost)) => missed = missed.saturating_add(lost),
                Err(RecvError::Closed) => break Problem::stopping(),
                Ok(piece) => match tell(&piece, missed) {
                    Err(problem) => break problem,
                    Ok(told) => {
                        missed = if told.is_empty() { missed } else { 0 };
                        if !send_all(&answers, &stop, told).await {
                            break Problem::stopping();
                        }
                    }
                },
            }
        };
        // A reader that does not even read this is gone; then there is nobody to tell.
        drop(timeout(FAREWELL, answers.send(Err(end.into()))).await);
    });
    ReceiverStream::new(out)
}

/// Whether all were sent before the ecovisor stopped. A reader that is gone is noticed at the next piece.
async fn send_all<T>(
    answers: &mpsc::Sender<Result<T, Status>>,
    stop: &CancellationToken,
    all: Vec<T>,
) -> bool {
    for one in all {
        tokio::select! {
            () = stop.cancelled() => return false,
            sent = answers.send(Ok(one)) => drop(sent),
        }
    }
    true
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
        tokio::task::yield_now().await;
        news.send(8).unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), (8, 2));
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
