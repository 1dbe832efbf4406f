//! Encrypted connections to a server, and what each `sslmode` asks of its certificate.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kinora_jobs::{Error, PostgresStore, Store, Submission, SystemClock};
use serde_json::json;
use support::postgres::{Server, skip};

/// An authority (`ca.crt`) and a certificate of it for `localhost`. Says if there is no program to make them.
fn certificates(folder: &Path) -> bool {
    let common = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ];
    let authority = ["-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt"];
    let server = [
        [
            "-subj",
            "/CN=localhost",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-keyout",
            "server.key",
            "-out",
            "server.crt",
        ]
        .as_slice(),
        &[
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
    ]
    .concat();
    for more in [authority.as_slice(), &server] {
        match Command::new("openssl")
            .args(common)
            .args(more)
            .current_dir(folder)
            .output()
        {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                skip(&format!("there is no openssl to make certificates: {error}"));
                return false;
            }
        }
    }
    true
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn each_mode_asks_as_much_as_it_says() {
    let port = free_port();
    let Some(mut server) = Server::start(&[]) else { return };
    let folder = server.folder().to_owned();
    if !certificates(&folder) {
        return;
    }
    server.give("server.key");
    server.give("server.crt");
    // Only encrypted connections by the network. (The socket, by which the helper asks, has a name with the port.)
    std::fs::write(
        folder.join("data/pg_hba.conf"),
        "local all all trust\nhostssl all all all trust\n",
    )
    .unwrap();
    server.crash();
    let file = |name: &str| folder.join(name).display().to_string();
    server.set(&[
        "listen_addresses=localhost,127.0.0.1".into(),
        "ssl=on".into(),
        format!("ssl_cert_file={}", file("server.crt")),
        format!("ssl_key_file={}", file("server.key")),
    ]);
    server.move_to(port);
    server.go();

    let open = |host: &str, options: &str| {
        let url = format!("postgresql://kinora@{host}:{port}/postgres?{options}");
        PostgresStore::open(&url, Arc::new(SystemClock::new()))
    };
    let roots = format!("sslrootcert={}", folder.join("ca.crt").display());
    let works = [
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", String::new()),
        ("localhost", format!("sslmode=verify-full&{roots}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{roots}")),
        ("127.0.0.1", format!("sslmode=require&{roots}")),
    ];
    for (host, options) in works {
        let store = open(host, &options).unwrap_or_else(|error| panic!("{host} {options}: {error}"));
        let submission = Submission::new("p", "k", "video", json!(1));
        assert!(store.submit(&submission).unwrap().created);
    }
    // Not encrypted; not for this host; signed by nobody that the system trusts.
    let refused = [
        ("127.0.0.1", "sslmode=disable".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-full&{roots}")),
        ("localhost", "sslmode=verify-full".to_owned()),
        ("localhost", "sslmode=verify-ca".to_owned()),
    ];
    for (host, options) in refused {
        match open(host, &options) {
            // A machine may trust no certificate at all; then there is nothing to compare with.
            Err(error) => assert!(
                matches!(error, Error::Storage { .. } | Error::Field { .. }) && !error.is_transient(),
                "{host} {options}: {error}"
            ),
            Ok(_) => panic!("{host} {options}"),
        }
    }
}
