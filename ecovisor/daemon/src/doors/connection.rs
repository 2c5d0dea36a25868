//! A connection with the identity of its caller, counted while it lasts.

use super::quiet::Lines;
use crate::engine::handle::Engine;
use crate::identity::{Access, Identity, Paths};
use ecovisor_core::AppId;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Connections of one app at the same time: a process needs one, so this is an app of many processes.
pub const PER_APP_MAX: usize = 32;

/// Connections of the operator: a few consoles and an exporter, and room to look what is wrong.
pub const OPERATOR_MAX: usize = 32;

/// Connections of nobody in particular: health checks.
pub const ANONYMOUS_MAX: usize = 8;

/// Connections of all together: with some 25 KB each (docs/decisions) this is 100 MB, and well below what a service may
/// open (1,024 files by default, raised in our unit file).
pub const ALL_MAX: usize = 4_096;

/// How long a caller may take to greet. Afterwards HTTP/2 asks every connection whether it is still there; before, a silent
/// one would hold its place for ever.
pub const GREETING_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of the greeting (RFC 9113, 3.4).
const GREETING_BYTES: usize = 24;

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    App(AppId),
    Operator,
    Anonymous,
}

impl Kind {
    fn of(identity: &Identity) -> (Self, usize) {
        match identity {
            Identity::App { id, .. } => (Self::App(*id), PER_APP_MAX),
            Identity::Operator { .. } => (Self::Operator, OPERATOR_MAX),
            Identity::Anonymous { .. } => (Self::Anonymous, ANONYMOUS_MAX),
        }
    }
}

/// How many there are of each kind.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<HashMap<Kind, usize>>>);

impl Places {
    /// A place for one more caller; `None` where there are too many.
    #[must_use]
    pub fn take(&self, identity: &Identity) -> Option<Place> {
        let (kind, most) = Kind::of(identity);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(kind).or_default();
        if *own >= most || all >= ALL_MAX {
            return None;
        }
        *own += 1;
        Some(Place { places: self.clone(), kind })
    }

    fn give_back(&self, kind: Kind) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&kind) {
            *own -= 1;
        }
        taken.retain(|_, own| *own > 0);
    }
}

/// A place, given back when the connection ends.
#[derive(Debug)]
pub struct Place {
    places: Places,
    kind: Kind,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(self.kind);
    }
}

/// Where every door leads.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Whose view tells who owns what.
    pub engine: Engine,
    /// Who is who.
    pub access: Arc<Access>,
    /// Where things are.
    pub paths: Arc<Paths>,
    /// Who is in.
    pub places: Places,
    /// What is said of those who are not.
    pub lines: Arc<Lines>,
    /// To the server.
    pub sender: mpsc::Sender<Result<Connection, Infallible>>,
}

impl Entrance {
    /// Lets a caller in, if there is room: without it the connection is closed at once.
    pub async fn enter(&self, identity: Identity, wire: Wire) {
        let Some(place) = self.places.take(&identity) else {
            if let Some(untold) = self.lines.crowded.due() {
                let who = identity.actor("").name;
                tracing::warn!(who, untold, "too many connections: this one is closed");
            }
            return;
        };
        let connection = Connection::new(wire, identity, place);
        // A server that is gone serves nobody: the connection is closed.
        drop(self.sender.send(Ok(connection)).await);
    }
}

/// What carries the bytes.
#[derive(Debug)]
pub enum Wire {
    /// A Unix socket.
    Unix(UnixStream),
    /// TCP with TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A caller's connection.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    identity: Arc<Identity>,
    greeting: Option<Greeting>,
    _place: Place,
}

/// A greeting that is not whole yet.
#[derive(Debug)]
struct Greeting {
    deadline: Pin<Box<Sleep>>,
    missing: usize,
}

impl Connection {
    fn new(wire: Wire, identity: Identity, place: Place) -> Self {
        let deadline = Box::pin(tokio::time::sleep(GREETING_TIME_MAX));
        let greeting = Some(Greeting { deadline, missing: GREETING_BYTES });
        Self { wire, identity: Arc::new(identity), greeting, _place: place }
    }

    /// Whether the caller has had its time to greet and has not.
    fn is_mute(&mut self, context: &mut Context<'_>) -> bool {
        let greeting = self.greeting.as_mut();
        greeting.is_some_and(|greeting| greeting.deadline.as_mut().poll(context).is_ready())
    }

    fn heard(&mut self, bytes: usize) {
        if let Some(greeting) = &mut self.greeting {
            greeting.missing = greeting.missing.saturating_sub(bytes);
        }
        self.greeting.take_if(|greeting| greeting.missing == 0);
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Identity>;

    fn connect_info(&self) -> Arc<Identity> {
        self.identity.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        if this.is_mute(context) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = match &mut this.wire {
            Wire::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        this.heard(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Unix(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_places_than_there_are_and_each_comes_back() {
        let (places, nobody) = (Places::default(), Identity::Anonymous { why: String::new() });
        let mut taken: Vec<Place> = (0..ANONYMOUS_MAX).map(|_| places.take(&nobody).unwrap()).collect();
        assert!(places.take(&nobody).is_none());
        let operator = Identity::Operator { by: crate::identity::Credential::Certificate(String::new()) };
        assert!(places.take(&operator).is_some(), "others have places of their own");
        taken.pop();
        assert!(places.take(&nobody).is_some());
        drop(taken);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
