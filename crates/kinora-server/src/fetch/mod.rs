//! The one way out of the house: pictures that a request names by their address, and webhooks.
//!
//! An address that a client chose must not lead to this machine, its neighbours or the metadata of its cloud. Addresses are
//! looked at after names are resolved and are those that are connected to, so a name that changes its mind meanwhile (DNS
//! rebinding) and a host written as a number in any form lead nowhere. Redirects are not followed, proxies are not used (one
//! would resolve names behind this check). Any port may be asked for. What is blocked fails as what is not there, so that
//! nobody finds out what listens in this network.

mod addresses;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use kinora_api::{ApiError, ErrorType};
use tokio::sync::Semaphore;
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::Config;
use crate::answer::{Answer, Failure};

/// How long a picture may take, from the name to the last byte.
const PICTURE_TIME: Duration = Duration::from_secs(30);
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Pictures at once: each holds a thread.
static PICTURES: Semaphore = Semaphore::const_new(16);
const USER_AGENT: &str = concat!("Kinora/", env!("CARGO_PKG_VERSION"));

/// Why nothing came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsent {
    /// It is no address of the web.
    #[error("it is no address that begins with http:// or https://")]
    Address,
    /// Blocked, unknown, closed, not encrypted as it should be: all the same to whoever asks.
    #[error("it could not be reached")]
    Unreachable,
    /// It was reached and said too little.
    #[error("it did not answer in time")]
    Late,
}

/// Resolves names, and keeps the addresses that may be connected to.
#[derive(Debug)]
struct Guarded {
    resolver: DefaultResolver,
    allow_private: bool,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|found| self.may_connect(found)) {
            kept.push(*address);
        }
        if kept.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        Ok(kept)
    }
}

impl Guarded {
    fn may_connect(&self, address: &SocketAddr) -> bool {
        self.allow_private || addresses::is_public(address.ip())
    }
}

/// The client; there is one that keeps to public addresses, and one for closed networks.
fn agent(allow_private: bool) -> &'static Agent {
    static AGENTS: [OnceLock<Agent>; 2] = [OnceLock::new(), OnceLock::new()];
    AGENTS[usize::from(allow_private)].get_or_init(|| {
        let config = Agent::config_builder()
            .tls_config(kinora_weights::system_tls())
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(USER_AGENT)
            .timeout_resolve(Some(CONNECT_TIME))
            .timeout_connect(Some(CONNECT_TIME))
            // The next request asks for the addresses again.
            .max_idle_connections(0)
            .build();
        let resolver = Guarded {
            resolver: DefaultResolver::default(),
            allow_private,
        };
        Agent::with_parts(config, DefaultConnector::default(), resolver)
    })
}

/// Reads an address that a client chose.
///
/// **Errors**: [`Unsent::Address`] for anything but the web, and for one with a user and a password in it.
pub(crate) fn web_address(url: &str) -> Result<Uri, Unsent> {
    let uri: Uri = url.parse().map_err(|_| Unsent::Address)?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri
        .authority()
        .is_some_and(|host| !host.host().is_empty() && !host.as_str().contains('@'));
    if web && plain { Ok(uri) } else { Err(Unsent::Address) }
}

impl From<ureq::Error> for Unsent {
    fn from(error: ureq::Error) -> Self {
        match error {
            // How long a name takes or a connection, is how a network can be felt out.
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => Self::Unreachable,
            ureq::Error::Timeout(_) => Self::Late,
            _ => Self::Unreachable,
        }
    }
}

/// Fetches a picture that a request names by its address.
///
/// **Errors**: 400 if it cannot be had, or has more than `limit_bytes`.
pub(crate) async fn fetch(config: &Config, url: &str, limit_bytes: u64) -> Answer<Bytes> {
    let uri = web_address(url).map_err(|error| refused(&format!("The picture cannot be fetched: {error}.")))?;
    let allow_private = config.allow_private_addresses;
    let slot = PICTURES.acquire().await.map_err(|error| Failure::internal(&error))?;
    let got = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        get(agent(allow_private), &uri, limit_bytes)
    });
    Ok(got.await.map_err(|error| Failure::internal(&error))??)
}

fn get(agent: &Agent, uri: &Uri, limit: u64) -> Result<Bytes, ApiError> {
    let unsent = |error: Unsent| refused(&format!("The picture cannot be fetched: {error}."));
    let too_long = || refused(&format!("The picture at this address has more than {limit} bytes."));
    let asked = agent
        .get(uri)
        .header("accept", "image/*")
        .header("accept-encoding", "identity")
        .config()
        .timeout_global(Some(PICTURE_TIME))
        .build()
        .call();
    let mut response = asked.map_err(|error| unsent(error.into()))?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(refused(&format!(
            "The picture cannot be fetched: the server answers {status}."
        )));
    }
    if response.body().content_length().is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let mut body = response.body_mut().as_reader().take(limit.saturating_add(1));
    body.read_to_end(&mut bytes).map_err(|_| unsent(Unsent::Late))?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes.into())
}

/// The address is not repeated: it may hold a signature that opens the picture.
fn refused(message: &str) -> ApiError {
    let param = Some("input_reference.image_url");
    let kind = ErrorType::InvalidRequestError;
    ApiError::new(400, kind, Some("invalid_image_url"), param, message.to_owned())
}

/// Sends a body; the status of the answer comes back, its content is not looked at.
///
/// **Errors**: [`Unsent`].
pub(crate) async fn post(
    allow_private: bool,
    url: &str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    time: Duration,
) -> Result<u16, Unsent> {
    let uri = web_address(url)?;
    let sent = tokio::task::spawn_blocking(move || {
        let mut request = agent(allow_private).post(&uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.config().timeout_global(Some(time)).build();
        let answer = request.send(&body[..]).map_err(Unsent::from)?;
        Ok(answer.status().as_u16())
    });
    sent.await.unwrap_or(Err(Unsent::Unreachable))
}

#[cfg(test)]
mod tests;
