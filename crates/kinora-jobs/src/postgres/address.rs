//! Where the server is: a URL as libpq takes it, with all of its `sslmode`s.

use std::path::PathBuf;
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{self, Trust};
use crate::error::{Error, Result};

/// How long connecting may take, and how long a connection that is used may be silent before it counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

/// How to connect.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
    /// The server and the database, without names of users and passwords.
    pub(super) label: PathBuf,
}

impl Address {
    /// Reads a URL. Beyond what the driver knows: `sslmode=verify-ca`, `sslmode=verify-full`, `sslmode=allow` and `sslrootcert`.
    ///
    /// **Errors**: `Field`.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (base, options) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut others) = ("prefer", None, Vec::new());
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(decoded(value)?)),
                _ => others.push(option),
            }
        }
        let mut config: Config = format!("{base}?{}", others.join("&"))
            .parse()
            .map_err(|error| refused(super::faults::told(&error)))?;
        // `require` with a list of roots checks them, as in libpq.
        let (ssl, trust) = match (mode, &roots) {
            ("disable", _) => (SslMode::Disable, None),
            ("allow" | "prefer", _) => (SslMode::Prefer, Some(Trust::Anyone)),
            ("require", None) => (SslMode::Require, Some(Trust::Anyone)),
            ("require" | "verify-ca", _) => (SslMode::Require, Some(Trust::Authority)),
            ("verify-full", _) => (SslMode::Require, Some(Trust::Host)),
            _ => return Err(refused(format!("sslmode {mode:?} is not known"))),
        };
        config
            .ssl_mode(ssl)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("kinora");
        }
        let tls = trust
            .map(|trust| tls::connector(trust, roots.as_deref()))
            .transpose()
            .map_err(refused)?;
        let label = label(&config);
        Ok(Self { config, tls, label })
    }
}

fn refused(problem: String) -> Error {
    let problem = format!("{problem}\nhint: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full");
    Error::Field {
        field: "URL of the job store",
        problem,
    }
}

/// A part of a URL without its `%`.
fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(refused(format!("{text:?} has a % without two digits")));
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| refused(format!("{text:?} is no text")))
}

fn label(config: &Config) -> PathBuf {
    let mut label = String::from("postgresql://");
    for (index, host) in config.get_hosts().iter().enumerate() {
        label.push_str(if index == 0 { "" } else { "," });
        match host {
            Host::Tcp(name) => label.push_str(name),
            #[cfg(unix)]
            Host::Unix(folder) => label.push_str(&folder.display().to_string()),
        }
        let ports = config.get_ports();
        if let Some(port) = ports.get(index).or(ports.first()) {
            label.push_str(&format!(":{port}"));
        }
    }
    label.push('/');
    label.push_str(config.get_dbname().or(config.get_user()).unwrap_or(""));
    label.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers() {
        let address = Address::parse("postgres://me:secret@db.example:5433/jobs?sslmode=disable").unwrap();
        assert_eq!(address.label, PathBuf::from("postgresql://db.example:5433/jobs"));
        assert!(address.tls.is_none() && address.config.get_ssl_mode() == SslMode::Disable);
        let address = Address::parse("postgresql://a,b:1/jobs").unwrap();
        assert!(address.tls.is_some() && address.config.get_ssl_mode() == SslMode::Prefer);
        let address = Address::parse("postgresql://a/jobs?sslmode=require&connect_timeout=3").unwrap();
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        for bad in [
            "sslmode=maybe",
            "sslmode=verify-ca&sslrootcert=%2",
            "sslmode=require&sslrootcert=/none.pem",
            "wrong=1",
        ] {
            let Err(error) = Address::parse(&format!("postgresql://me:secret@a/jobs?{bad}")) else {
                panic!("{bad}")
            };
            assert!(matches!(error, Error::Field { .. }), "{error}");
            assert!(
                error.to_string().contains("hint: ") && !error.to_string().contains("secret"),
                "{error}"
            );
        }
        assert_eq!(decoded("%2Ftmp%2f%C3%A9").unwrap(), "/tmp/é");
    }
}
