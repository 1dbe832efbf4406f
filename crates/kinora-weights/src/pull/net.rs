//! Requests: redirects are followed here, one by one, so that each can be refused and its headers read.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::{PullError, PullOptions};

const MOST_REDIRECTS: usize = 10;

/// Asks servers.
pub(super) struct Client {
    agent: Agent,
    /// For this machine itself, which no proxy can reach.
    direct: Agent,
}

/// An answer, and what all servers on the way to it said.
pub(super) struct Answer {
    pub response: Response<Body>,
    /// The address that answered.
    pub url: String,
    /// The sha256 and the length of the file that a model hub announces on the way.
    pub announced: Announced,
}

/// What is known of a file before it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub bytes: Option<u64>,
    pub sha256: Option<String>,
    pub etag: Option<String>,
}

/// How Kinora's clients encrypt: with the certificates that the system trusts, which is what works behind the proxies of
/// companies, and the cryptography of `ring`. Reads the certificates, so it is worth keeping.
#[must_use]
pub fn system_tls() -> TlsConfig {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> = certificates
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

impl Client {
    pub fn new(options: &PullOptions) -> Self {
        let tls = system_tls();
        let config = || {
            Agent::config_builder()
                .tls_config(tls.clone())
                .http_status_as_error(false)
                .max_redirects(0)
                .user_agent(concat!("kinora/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(options.timeout))
                .timeout_recv_response(Some(options.timeout))
                .timeout_per_read(Some(options.timeout))
        };
        Self {
            agent: config().build().into(),
            direct: config().proxy(None).build().into(),
        }
    }

    fn agent(&self, url: &str) -> &Agent {
        let host = url.split("://").nth(1).unwrap_or_default();
        let is_here = ["127.0.0.1", "localhost", "[::1]"].iter().any(|here| {
            let rest = host.strip_prefix(here);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
        if is_here { &self.direct } else { &self.agent }
    }

    /// Length and hash of a file, without the file.
    pub fn head(&self, url: &str) -> Result<Answer, PullError> {
        self.follow(url, |url| self.agent(url).head(url).call())
    }

    /// The file, from a byte on.
    pub fn get(&self, url: &str, from: u64) -> Result<Answer, PullError> {
        self.follow(url, |url| {
            let request = self.agent(url).get(url).header("Accept-Encoding", "identity");
            match from {
                0 => request.call(),
                _ => request.header("Range", format!("bytes={from}-")).call(),
            }
        })
    }

    fn follow(
        &self,
        url: &str,
        ask: impl Fn(&str) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, PullError> {
        let mut at = url.to_owned();
        let mut announced = Announced::default();
        for _ in 0..MOST_REDIRECTS {
            let response = ask(&at).map_err(|error| PullError::Network {
                url: at.clone(),
                reason: error.to_string(),
            })?;
            announced.read(response.headers());
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(Answer {
                    response,
                    url: at,
                    announced,
                });
            }
            let target = text(response.headers(), "location").unwrap_or_default();
            at = target_of(&at, &target)?;
        }
        Err(PullError::Redirect {
            url: url.into(),
            target: at,
            reason: "too many redirects",
        })
    }
}

impl Announced {
    /// What the headers of a hub say of the file behind its redirect.
    fn read(&mut self, headers: &HeaderMap) {
        if let Some(bytes) = text(headers, "x-linked-size").and_then(|text| text.parse().ok()) {
            self.bytes = Some(bytes);
        }
        let linked = text(headers, "x-linked-etag").map(|text| text.trim_matches('"').to_lowercase());
        if let Some(hash) = linked.filter(|hash| is_sha256(hash)) {
            self.sha256 = Some(hash);
        }
        if let Some(etag) = text(headers, "etag").filter(|etag| !etag.starts_with("W/")) {
            self.etag = Some(etag);
        }
    }
}

/// A header as text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Where a redirect leads, if it may.
fn target_of(from: &str, target: &str) -> Result<String, PullError> {
    let refused = |reason| PullError::Redirect {
        url: from.into(),
        target: target.into(),
        reason,
    };
    let (scheme, rest) = from
        .split_once("://")
        .ok_or_else(|| refused("it comes from no address"))?;
    let host = rest.split('/').next().unwrap_or_default();
    let absolute = match target {
        "" => return Err(refused("it names no target")),
        _ if target.starts_with("//") => format!("{scheme}:{target}"),
        _ if target.starts_with('/') => format!("{scheme}://{host}{target}"),
        _ if target.contains("://") => target.to_owned(),
        // `file:x`, `data:x`; a relative path has a slash before any colon.
        _ if target.split('/').next().is_some_and(|start| start.contains(':')) => target.to_owned(),
        _ => {
            let path = from.split(['?', '#']).next().unwrap_or(from);
            let folder = path
                .rfind('/')
                .filter(|&at| at > scheme.len() + 2)
                .map_or(path, |at| &path[..at]);
            format!("{folder}/{target}")
        }
    };
    let lower = absolute.to_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err(refused("only http and https are followed"));
    }
    if from.to_lowercase().starts_with("https://") && !lower.starts_with("https://") {
        return Err(refused("it leaves the encrypted connection"));
    }
    Ok(absolute)
}

/// The wait before an attempt: twice as long each time, at most a minute.
pub(super) fn back_off(first: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.min(10)).min(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_web_and_encrypted() {
        for (from, target, expected) in [
            ("https://a/b/c?d=/x", "https://e/f", Some("https://e/f")),
            ("https://a/b/c?d=/x", "/f", Some("https://a/f")),
            ("https://a/b/c?d=/x", "f", Some("https://a/b/f")),
            ("https://a", "f", Some("https://a/f")),
            ("https://a/b", "//e/f", Some("https://e/f")),
            ("http://a/b", "https://e", Some("https://e")),
            ("http://a/b", "HTTP://e", Some("HTTP://e")),
            ("https://a/b", "http://a/b", None),
            ("http://a/b", "file:///etc/passwd", None),
            ("http://a/b", "ftp://a/b", None),
            ("http://a/b", "data:text/plain,x", None),
            ("http://a/b", "", None),
        ] {
            assert_eq!(target_of(from, target).ok().as_deref(), expected, "{from} {target}");
        }
    }

    #[test]
    fn waiting_doubles_up_to_a_minute() {
        let second = Duration::from_secs(1);
        assert_eq!([0, 1, 3].map(|n| back_off(second, n).as_secs()), [1, 2, 8]);
        assert_eq!(back_off(second, 40).as_secs(), 60);
    }
}
