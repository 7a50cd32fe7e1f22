//! What stands before a log's service: nobody's entries are read before it is known whose they are.
//!
//! Only `Submit` is guarded; what else there is tells what everybody may know, and is read with a small limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quorix_wire::token::AUTHORIZATION;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::AROUND_ENTRIES_MAX;
use super::room::Room;
use crate::access::{Access, Peer, Refusal};

/// The time since some fixed moment, which never goes back.
pub type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The full name of the guarded method.
const SUBMIT: &str = "/quorix.v1.LogService/Submit";
/// How long to wait before trying again, in milliseconds (gRPC, proposal A6). Clients of gRPC know it.
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A service behind access control.
#[derive(Clone)]
pub(super) struct Gate<S> {
    pub(super) access: Arc<Access>,
    pub(super) clock: Monotonic,
    /// What is being sent takes room of it.
    pub(super) room: Room,
    /// Takes submissions.
    pub(super) submit: S,
    /// Takes everything else.
    pub(super) other: S,
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self.submit.poll_ready(context) {
            Poll::Ready(Ok(())) => self.other.poll_ready(context),
            waiting => waiting,
        }
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != SUBMIT {
            return Box::pin(self.other.call(request));
        }
        let authorization = match authorization(request.headers()) {
            Ok(authorization) => authorization,
            Err(refusal) => return refuse(&refusal),
        };
        let peer = request.extensions().get::<Peer>();
        let now = (self.clock)();
        match self.access.admit(peer, authorization.as_deref(), now) {
            Ok(admitted) => {
                let reserved = match self.room.enter(&admitted) {
                    Ok(reserved) => reserved,
                    Err(status) => {
                        let response = status.into_http();
                        return Box::pin(async { Ok(response) });
                    }
                };
                request.extensions_mut().insert(admitted.clone());
                request.extensions_mut().insert(reserved.clone());
                let access = Arc::clone(&self.access);
                let may_go_on = move |came: usize| {
                    let entries = came.saturating_sub(AROUND_ENTRIES_MAX);
                    let checked =
                        access.check_size(&admitted, entries.try_into().unwrap_or(u64::MAX));
                    checked.map_err(|refusal| status_of(&refusal))
                };
                let request = request.map(|body| reserved.metered(body, may_go_on));
                Box::pin(self.submit.call(request))
            }
            Err(refusal) => refuse(&refusal),
        }
    }
}

/// The bytes of the one authorization, if there is any.
fn authorization(headers: &http::HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let metadata = MetadataMap::from_headers(
        headers
            .iter()
            .filter(|(name, _)| name.as_str() == AUTHORIZATION)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    );
    let mut all = metadata.get_all_bin(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        let is_absent = metadata.is_empty();
        return if is_absent {
            Ok(None)
        } else {
            Err(Refusal::NotKnown)
        };
    };
    let bytes = value.to_bytes().map_err(|_| Refusal::NotKnown)?;
    Ok(Some(bytes.to_vec()))
}

fn refuse(refusal: &Refusal) -> BoxFuture<http::Response<Body>, Infallible> {
    let response = status_of(refusal).into_http();
    Box::pin(async { Ok(response) })
}

/// A refusal as gRPC says it.
pub(super) fn status_of(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::NotKnown | Refusal::Stale => Code::Unauthenticated,
        Refusal::User { .. } => Code::PermissionDenied,
        Refusal::Limited { .. } => Code::ResourceExhausted,
        Refusal::TooLarge { .. } => Code::InvalidArgument,
    };
    let mut status = Status::new(code, refusal.to_string());
    if let Refusal::Limited { wait, .. } = refusal {
        let wait = MetadataValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        status.metadata_mut().insert(PUSHBACK, wait);
    }
    status
}

#[cfg(test)]
mod tests;
