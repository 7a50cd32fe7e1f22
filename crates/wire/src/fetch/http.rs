//! The transport of the program: HTTP and HTTPS by reqwest.
//!
//! Redirects are followed here, at most [`REDIRECTS_MAX`], none to where its visitor should not be sent and none of what
//! is posted. Every other limit is the caller's, but that on connecting.

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, redirect};

use super::transport::{Answer, Parts, Request, Transport};
use super::{FetchError, FetchLimits, error, location};
use crate::tls::ClientTls;

/// Most redirects that are followed.
pub const REDIRECTS_MAX: usize = 3;

/// Clients with their pools of connections.
#[derive(Debug)]
pub(super) struct Http {
    getting: reqwest::Client,
    /// Follows no redirect.
    posting: reqwest::Client,
    limits: FetchLimits,
}

impl Http {
    pub(super) fn new(limits: &FetchLimits, tls: &ClientTls) -> Result<Self, FetchError> {
        let build = |client: reqwest::ClientBuilder| {
            let client = client.tls_backend_preconfigured(tls.speaking(&["h2", "http/1.1"]));
            client.build().map_err(|error| FetchError::Setup {
                reason: error::last_cause(&error),
            })
        };
        Ok(Self {
            getting: build(client(limits))?,
            posting: build(client(limits).redirect(redirect::Policy::none()))?,
            limits: limits.clone(),
        })
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Answer, FetchError>> {
        let limits = self.limits.clone();
        let encoding = HeaderValue::from_static(request.accept_encoding());
        let Request {
            asked, url, body, ..
        } = request;
        let request = match body {
            None => self.getting.get(url).header(ACCEPT_ENCODING, encoding),
            Some(body) => self
                .posting
                .post(url)
                .header(ACCEPT_ENCODING, encoding)
                .header(
                    CONTENT_TYPE,
                    HeaderValue::from_static("text/plain; charset=utf-8"),
                )
                .body(body),
        };
        async move {
            let response = request
                .send()
                .await
                .map_err(|error| FetchError::from_reqwest(&asked, &error, &limits))?;
            let encoding = response.headers().get(CONTENT_ENCODING);
            Ok(Answer {
                status: response.status().as_u16(),
                length: response.content_length(),
                encoding: encoding.map_or_else(Vec::new, |value| value.as_bytes().to_vec()),
                parts: parts(location::shown(&asked), response, limits),
            })
        }
        .boxed()
    }
}

fn parts(url: String, response: Response, limits: FetchLimits) -> Parts {
    stream::try_unfold(response, move |mut response| {
        let (url, limits) = (url.clone(), limits.clone());
        async move {
            match response.chunk().await {
                Ok(part) => Ok(part.map(|part| (part, response))),
                Err(error) => Err(FetchError::from_reqwest(&url, &error, &limits)),
            }
        }
    })
    .boxed()
}

fn client(limits: &FetchLimits) -> reqwest::ClientBuilder {
    let redirects = redirect::Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error(format!("more than {REDIRECTS_MAX} redirects"));
        }
        if !matches!(attempt.url().scheme(), "http" | "https") {
            return attempt.error("a redirect that leads away from HTTP");
        }
        if attempt
            .previous()
            .last()
            .is_some_and(|from| is_sideways(from, attempt.url()))
        {
            return attempt
                .error("a redirect away from https, or to an address of another machine");
        }
        attempt.follow()
    });
    let builder = reqwest::Client::builder()
        .user_agent(concat!("quorix/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect_timeout)
        .redirect(redirects);
    if limits.use_system_proxy {
        builder
    } else {
        builder.no_proxy()
    }
}

/// True if a server sends its visitor where it should not: from https to http, or to another host by its bare address
/// or as this machine, which is how one would reach into somebody's own network.
pub(super) fn is_sideways(from: &reqwest::Url, to: &reqwest::Url) -> bool {
    let is_named = to
        .domain()
        .is_some_and(|name| name != "localhost" && !name.ends_with(".localhost"));
    let is_same = from.host_str() == to.host_str();
    (from.scheme() == "https" && to.scheme() == "http") || !(is_same || is_named)
}
