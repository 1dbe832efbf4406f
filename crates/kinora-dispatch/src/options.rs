//! Where NATS is, who we are there, and how patient everybody is.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};

use crate::error::{Error, Result};

/// What both sides need to know. The same prefix and stream on both, or they do not meet.
#[derive(Clone, PartialEq, Eq)]
pub struct DispatchOptions {
    /// `nats://host:4222`, `tls://host:4222`, with `user:password@` or `token@` before the host if needed (`%40` is an `@` in them);
    /// several with commas, of which the first that names a user counts.
    pub url: String,
    /// The first part of every subject: one for each installation of Kinora on the same NATS.
    pub prefix: String,
    /// The name of the stream of offers.
    pub stream: String,
    /// A token instead of user and password.
    pub token: Option<String>,
    /// A file with the JWT and the seed of a user (`.creds`).
    pub credentials: Option<PathBuf>,
    /// Certificates to trust besides those of the system, as PEM.
    pub tls_ca: Option<PathBuf>,
    /// Our certificate and its key, as PEM, if the server wants one.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
    /// Refuses connections without TLS.
    pub require_tls: bool,
    /// Where answers arrive. With one for each worker, permissions keep them from reading each other's answers.
    pub inbox_prefix: Option<String>,
    /// Refuses to start if it is not shown that offers survive a loss of power of the broker.
    pub require_sync: bool,
    /// The monitoring address of the NATS server (`http://host:8222`), asked for its sync setting.
    pub monitor: Option<String>,
    /// Copies of the stream (1, 3 or 5): more than 1 needs a cluster.
    pub replicas: usize,
    /// How long one call over NATS may take.
    pub call_timeout: Duration,
    /// How long a claim waits for an offer before it says that there is nothing to do.
    pub offer_wait: Duration,
    /// A worker that got no offer for so long asks the record itself: heals whatever may be wrong with offers.
    pub ask_after: Duration,
    /// How often the record is compared with the offers.
    pub top_up: Duration,
    /// How many offers may lie ready for each lane, beside those for workers that wait.
    pub standing_offers: usize,
}

impl Default for DispatchOptions {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            prefix: "kinora".into(),
            stream: "KINORA_JOBS".into(),
            token: None,
            credentials: None,
            tls_ca: None,
            tls_identity: None,
            require_tls: false,
            inbox_prefix: None,
            require_sync: false,
            monitor: None,
            replicas: 1,
            call_timeout: Duration::from_secs(5),
            offer_wait: Duration::from_secs(1),
            ask_after: Duration::from_secs(30),
            top_up: Duration::from_millis(250),
            standing_offers: 16,
        }
    }
}

impl std::fmt::Debug for DispatchOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatchOptions")
            .field("url", &self.address())
            .field("prefix", &self.prefix)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl DispatchOptions {
    /// Checks what can be checked without NATS.
    ///
    /// **Errors**: [`Error::Option`].
    pub fn validate(&self) -> Result<()> {
        let wrong = |field, problem: &str| {
            let problem = problem.to_owned();
            Err(Error::Option { field, problem })
        };
        let plain = |name: &str, more: &[char]| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || more.contains(&c);
            !name.is_empty() && name.len() <= 128 && name.chars().all(fits)
        };
        if self.prefix.split('.').any(|part| !plain(part, &[])) {
            return wrong(
                "prefix",
                "letters, digits, `_`, `-`, and single dots between them are possible",
            );
        }
        if !plain(&self.stream, &[]) {
            return wrong("stream", "1 to 128 letters, digits, `_` and `-` are possible");
        }
        if self
            .inbox_prefix
            .as_ref()
            .is_some_and(|prefix| prefix.split('.').any(|part| !plain(part, &[])))
        {
            return wrong(
                "inbox_prefix",
                "letters, digits, `_`, `-`, and single dots between them are possible",
            );
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return wrong("replicas", "1, 3 and 5 are possible");
        }
        if self.standing_offers == 0 || self.standing_offers > 4096 {
            return wrong("standing_offers", "1 to 4096 are possible");
        }
        let times = [
            ("call_timeout", self.call_timeout),
            ("top_up", self.top_up),
            ("offer_wait", self.offer_wait),
        ];
        for (field, time) in times {
            if time < Duration::from_millis(5) || time > Duration::from_secs(600) {
                return wrong(field, "5 ms to 10 minutes are possible");
            }
        }
        Ok(())
    }

    /// The addresses without user and password.
    pub(crate) fn address(&self) -> String {
        let one = |url: &str| {
            let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            if scheme.is_empty() {
                host.to_owned()
            } else {
                format!("{scheme}://{host}")
            }
        };
        self.url
            .split(',')
            .map(|url| one(url.trim()))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// User and password, or a token, as the address names them.
    fn user(&self) -> Option<(String, Option<String>)> {
        let mut named = self.url.split(',').filter_map(|url| {
            let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
            rest.rsplit_once('@').map(|(user, _)| user)
        });
        let user = named.next()?;
        Some(match user.split_once(':') {
            Some((user, password)) => (percent(user), Some(percent(password))),
            None => (percent(user), None),
        })
    }

    pub(crate) fn record_subject(&self, call: &str) -> String {
        format!("{}.record.{call}", self.prefix)
    }

    pub(crate) fn offer_subject(&self, lane: &str) -> String {
        format!("{}.offer.{lane}", self.prefix)
    }

    /// A connection that comes back by itself, for ever.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client> {
        let failed = |detail: String| Error::Connect {
            url: self.address(),
            detail,
        };
        let mut options = ConnectOptions::new()
            .name(name)
            .require_tls(self.require_tls)
            .connection_timeout(self.call_timeout)
            .ping_interval(Duration::from_secs(5))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis(50 * u64::try_from(attempt.min(20)).unwrap_or(20))
            });
        // The client reads addresses only.
        match self.user() {
            Some((user, Some(password))) => options = options.user_and_password(user, password),
            Some((token, None)) => options = options.token(token),
            None => {}
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(file) = &self.credentials {
            options = options.credentials_file(file).await.map_err(|error| Error::Option {
                field: "credentials",
                problem: format!("{}: {error}", file.display()),
            })?;
        }
        if let Some(ca) = &self.tls_ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.tls_identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        let address = self.address();
        let connecting = options.connect(address.split(',').collect::<Vec<_>>());
        match tokio::time::timeout(self.call_timeout.saturating_mul(2), connecting).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("no answer".into())),
        }
    }
}

/// Undoes `%40` and the like; what is no such mark stays.
fn percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                plain.push(value);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut DispatchOptions)) -> DispatchOptions {
        let mut options = DispatchOptions::default();
        change(&mut options);
        options
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        DispatchOptions::default().validate().unwrap();
        with(|options| options.prefix = "a.b-c_1".into()).validate().unwrap();
        let field = |change: fn(&mut DispatchOptions)| match with(change).validate() {
            Err(Error::Option { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(|options| options.prefix = "a..b".into()), "prefix");
        assert_eq!(field(|options| options.prefix = "a.>".into()), "prefix");
        assert_eq!(field(|options| options.prefix = String::new()), "prefix");
        assert_eq!(field(|options| options.stream = "a.b".into()), "stream");
        assert_eq!(field(|options| options.inbox_prefix = Some("*".into())), "inbox_prefix");
        assert_eq!(field(|options| options.replicas = 2), "replicas");
        assert_eq!(field(|options| options.standing_offers = 0), "standing_offers");
        assert_eq!(field(|options| options.top_up = Duration::ZERO), "top_up");
    }

    #[test]
    fn users_are_read_from_addresses() {
        let user = |url: &str| with(|options| options.url = url.into()).user();
        let pair = |user: &str, password: &str| Some((user.to_owned(), Some(password.to_owned())));
        assert_eq!(user("nats://host:4222"), None);
        assert_eq!(user("host, tls://u:p%40s%25@b:1"), pair("u", "p@s%"));
        assert_eq!(user("nats://u:@host"), pair("u", ""));
        assert_eq!(user("nats://t%zz%C3%A9@host"), Some(("t%zzé".into(), None)));
    }

    #[test]
    fn passwords_are_not_shown() {
        let options = with(|options| {
            options.url = "nats://user:se@cret@host:4222, tls://b:1".into();
            options.token = Some("secret token".into());
        });
        assert_eq!(options.address(), "nats://host:4222,tls://b:1");
        let shown = format!("{options:?}");
        assert!(!shown.contains("cret") && shown.contains("host:4222"), "{shown}");
    }
}
