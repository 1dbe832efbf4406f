//! Encryption: certificate and key from files.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;
use crate::{Error, Result};

fn wrong(what: &'static str, path: &Path, problem: &dyn std::fmt::Display, hint: &str) -> Error {
    Error::Setting {
        what,
        problem: format!("{}: {problem}", path.display()),
        hint: hint.to_owned(),
    }
}

/// What encrypts connections, for HTTP/2 and HTTP/1.1.
///
/// **Errors**: [`Error::Setting`] for files that cannot be read, hold something else, or do not belong together.
pub(super) fn acceptor(files: &Tls) -> Result<TlsAcceptor> {
    let pem = "it begins with '-----BEGIN CERTIFICATE-----', the server's own certificate first";
    let bad = |problem: &dyn std::fmt::Display| wrong("the certificate", &files.certificate, problem, pem);
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(|error| bad(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(&error))?;
    if chain.is_empty() {
        return Err(bad(&"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        let hint = "it begins with '-----BEGIN PRIVATE KEY-----' and has no passphrase";
        wrong("the private key", &files.key, &error, hint)
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, key));
    let mut config = config.map_err(|error| {
        let hint = "certificate and key belong together: make both with one command";
        wrong("the private key", &files.key, &error, hint)
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_pem_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("text"), "hello").unwrap();
        let tls = |certificate: &str, key: &str| Tls {
            certificate: at(certificate),
            key: at(key),
        };
        let text_of = |tls: &Tls| acceptor(tls).map(|_| ()).unwrap_err().to_string();
        let missing = text_of(&tls("absent", "absent"));
        assert!(
            missing.contains("absent") && missing.contains("hint: it begins with"),
            "{missing}"
        );
        let empty = text_of(&tls("text", "text"));
        assert!(
            empty.contains("the certificate") && empty.contains("no certificate"),
            "{empty}"
        );
    }
}
