//! Encryption by files. The certificate and key in `tests/support/tls` are for these tests alone.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinora_server::{Error, Tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::client::read_reply;
use crate::support::server_with;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/support/tls")
        .join(name)
}

fn good() -> Tls {
    Tls {
        certificate: file("certificate.pem"),
        key: file("key.pem"),
    }
}

fn client(protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

#[test]
fn requests_are_encrypted() {
    let running = server_with(|config| config.tls = Some(good()));
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(client(&[b"http/1.1"])), name).unwrap();
    let mut stream = StreamOwned::new(connection, running.connect());
    stream
        .write_all(b"GET /v1/videos HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(read_reply(&mut stream, false).unwrap().expect(200)["object"], "list");

    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(client(&[b"h2", b"http/1.1"])), name).unwrap();
    let mut stream = StreamOwned::new(connection, running.connect());
    stream.flush().unwrap();
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));

    // Without encryption there is no answer, and the server lives on.
    let mut plain = running.connect();
    plain
        .write_all(b"GET /v1/videos HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut got = Vec::new();
    plain.read_to_end(&mut got).ok();
    assert!(!got.starts_with(b"HTTP"), "{got:?}");
}

#[test]
fn settings_that_cannot_work_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    std::fs::write(
        &other,
        std::fs::read_to_string(file("key.pem"))
            .unwrap()
            .replace("PRIVATE", "STRANGE"),
    )
    .unwrap();
    let cases: [(Box<dyn Fn(&mut kinora_server::Config)>, &str); 4] = [
        (
            Box::new(|config| {
                config.tls = Some(Tls {
                    key: "/absent".into(),
                    ..good()
                })
            }),
            "the private key: /absent",
        ),
        (
            Box::new(|config| {
                config.tls = Some(Tls {
                    certificate: file("key.pem"),
                    ..good()
                })
            }),
            "the certificate",
        ),
        (
            Box::new(move |config| {
                config.tls = Some(Tls {
                    key: other.clone(),
                    ..good()
                })
            }),
            "the private key",
        ),
        (
            Box::new(|config| config.cors = vec!["studio".to_owned()]),
            "the origin of web pages",
        ),
    ];
    for (change, begins) in cases {
        let error = bind_error(&*change);
        assert!(matches!(error, Error::Setting { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(begins) && text.contains("\nhint: "), "{text}");
    }
    // An address that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind_error(&|config| config.address = address);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

fn bind_error(change: &dyn Fn(&mut kinora_server::Config)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let mut config = kinora_server::Config::new("127.0.0.1:0".parse().unwrap(), folder.path().to_owned());
    change(&mut config);
    let clock = Arc::new(kinora_jobs::SystemClock::new());
    let store = kinora_jobs::SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap();
    let files = kinora_server::Files::in_folder(&folder.path().join("files")).unwrap();
    let app = kinora_server::App::new(config, Arc::new(store), clock, files, kinora_api::Rules::sora());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(kinora_server::Server::bind(app)).unwrap_err()
}
