//! What every call passes: nobody without a name goes further than health, which is audited, and each call has a span in
//! a log as fine as `debug`.

use super::pace::Pace;
use crate::clock;
use crate::identity::Identity;
use crate::rpc::Denials;
use crate::rpc::errors::Problem;
use ecovisor_proto::v1::Reason;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};
use tracing::Instrument as _;

/// The one service that is anybody's.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Puts a [`Gate`] before a service.
#[derive(Clone)]
pub struct GateLayer {
    denials: Denials,
    pace: Option<Arc<Pace>>,
}

impl GateLayer {
    /// A layer that tells `denials` who was not let through; `pace` bounds what apps may ask for, `None` nothing.
    #[must_use]
    pub fn new(denials: Denials, pace: Option<Pace>) -> Self {
        Self { denials, pace: pace.map(Arc::new) }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, denials: self.denials.clone(), pace: self.pace.clone() }
    }
}

/// A gate before a service.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    denials: Denials,
    pace: Option<Arc<Pace>>,
}

/// Who calls, as the log says it: written only where the log is so fine.
struct Who<'a>(Option<&'a Identity>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map(|identity| identity.actor("").name).as_deref().unwrap_or("anonymous"))
    }
}

/// Whether who calls is enough to go on.
fn admit(identity: Option<&Identity>, path: &str) -> Result<(), Problem> {
    match identity {
        Some(Identity::Anonymous { .. }) | None if path.starts_with(HEALTH) => Ok(()),
        Some(Identity::Anonymous { why }) => Err(Problem::not_allowed(why.clone())),
        None => Err(Problem::not_allowed("the connection has no identity")),
        Some(Identity::App { .. } | Identity::Operator { .. }) => Ok(()),
    }
}

/// Whether an app has not made too many settings.
fn in_pace(pace: Option<&Pace>, identity: Option<&Identity>, path: &str) -> Result<(), Problem> {
    match (pace, identity) {
        (Some(pace), Some(Identity::App { id, app, .. })) => pace.admit(clock::boot_us(), *id, app, path),
        (None, _) | (_, Some(Identity::Operator { .. } | Identity::Anonymous { .. }) | None) => Ok(()),
    }
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let identity = request.extensions().get::<Arc<Identity>>().map(Arc::as_ref);
        let admitted = admit(identity, request.uri().path());
        match admitted.and_then(|()| in_pace(self.pace.as_deref(), identity, request.uri().path())) {
            Ok(()) => {
                // Below `info`: a span costs a call a tenth of its time, and thousands come in a second.
                let span = tracing::debug_span!("rpc", method = request.uri().path(), who = %Who(identity));
                Box::pin(self.inner.call(request).instrument(span))
            }
            Err(problem) => {
                // Who asks too often is told so and not written down: a line is synced, and he would set the pace of it.
                if let Some(identity) = identity.filter(|_| problem.reason != Reason::TooMany) {
                    // The method's name is the caller's word, so it stands where words do.
                    let asked =
                        Problem::not_allowed(format!("{}: {}", request.uri().path(), problem.message));
                    (self.denials)(&identity.actor("gate"), &asked.message);
                }
                Box::pin(std::future::ready(Ok(Status::from(problem).into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Credential;

    const ENERGY: &str = "/ecovisor.v1.EnergyService/GetEnergySystem";

    #[test]
    fn nobody_without_a_name_goes_further_than_health() {
        let nobody = Identity::Anonymous { why: "uid 7 is nobody".into() };
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert!(admit(Some(&nobody), "/grpc.health.v1.Health/Check").is_ok());
        for path in [ENERGY, reflection, "/grpc.health.v1.Healthy/Check", "/"] {
            assert_eq!(admit(Some(&nobody), path).unwrap_err().message, "uid 7 is nobody", "{path}");
        }
    }

    #[test]
    fn a_connection_without_an_identity_is_nobodys() {
        assert!(admit(None, "/grpc.health.v1.Health/Check").is_ok());
        assert!(admit(None, ENERGY).is_err());
    }

    #[test]
    fn whoever_has_a_name_passes() {
        let operator = Identity::Operator { by: Credential::Certificate("x".into()) };
        admit(Some(&operator), ENERGY).unwrap();
        assert_eq!(Who(Some(&operator)).to_string(), "operator cert=x");
        assert_eq!(Who(None).to_string(), "anonymous");
    }
}
