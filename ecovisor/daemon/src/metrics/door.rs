//! The door that is scraped. Whoever is on this machine may knock at it, so it has few places, each for a while only:
//! connections are files, and files that are used up here would be missing where containers are metered.

use crate::doors::quiet::Quiet;
use crate::doors::unix::after_failed_accept;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Scrapers at the same time: a site has one or two.
pub const SCRAPERS_MAX: usize = 16;

/// How long a connection lasts. A scraper that is cut off connects again; four scrapes at the usual 15 s.
pub const SCRAPE_TIME_MAX: Duration = Duration::from_secs(60);

/// The door.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    crowded: Quiet,
    unaccepted: Quiet,
}

impl Door {
    /// A door where somebody listens already.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        let places = Arc::new(Semaphore::new(SCRAPERS_MAX));
        Self { listener, places, crowded: Quiet::default(), unaccepted: Quiet::default() }
    }
}

impl Listener for Door {
    type Io = Scrape;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Scrape, SocketAddr) {
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    after_failed_accept(&error, &self.unaccepted).await;
                    continue;
                }
            };
            match self.places.clone().try_acquire_owned() {
                Ok(place) => {
                    let end = Box::pin(tokio::time::sleep(SCRAPE_TIME_MAX));
                    return (Scrape { stream, end, _place: place }, from);
                }
                Err(_) => {
                    if let Some(untold) = self.crowded.due() {
                        tracing::warn!(%from, most = SCRAPERS_MAX, untold, "too many scrapers: this one is closed");
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A scraper's connection.
#[derive(Debug)]
pub struct Scrape {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Scrape {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end.as_mut().poll(context).is_ready() {
            // To the server it looks as if the scraper had gone.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Scrape {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, bind, serve};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn scrape(addr: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test(start_paused = true)]
    async fn silent_scrapers_take_a_few_places_for_a_while() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::new(Metrics::new()), std::future::pending()));
        let mut silent = Vec::new();
        for _ in 0..SCRAPERS_MAX {
            silent.push(TcpStream::connect(addr).await.unwrap());
        }
        // One more is closed without an answer.
        assert!(
            scrape(addr).await.is_err_and(|_| true) || scrape(addr).await.is_ok_and(|text| text.is_empty())
        );
        for stream in &mut silent {
            let mut nothing = Vec::new();
            stream.read_to_end(&mut nothing).await.unwrap();
        }
        assert!(scrape(addr).await.unwrap().starts_with("HTTP/1.1 200"));
    }
}
