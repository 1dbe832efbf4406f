//! Who may do what on NATS: users, tokens, TLS, and the permissions that the documentation promises to be enough.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kinora_dispatch::{Dispatch, DispatchOptions, Error, RemoteStore};
use kinora_jobs::{JobId, Store, Submission};
use serde_json::{Value, json};
use support::{Nats, claim_soon, each_ended_once, store};

fn submit(store: &dyn Store, request: Value) -> JobId {
    store
        .submit(&Submission::new("p", "k", "video", request))
        .unwrap()
        .job
        .id
}

/// The permissions of the documentation, word for word, are enough, and a worker cannot do more.
#[test]
fn a_worker_needs_no_more_permissions_than_documented() {
    let users = r#"
        authorization { users: [
            { user: server, password: s, permissions: {
                publish: ["kinora.offer.*", "inbox_w1.>", "$JS.API.STREAM.*.KINORA_JOBS", "$JS.API.CONSUMER.>", "$SYS.REQ.SERVER.PING.VARZ"]
                subscribe: ["kinora.record.*", "_INBOX.>"] } }
            { user: w1, password: w, permissions: {
                publish: ["kinora.record.>", "$JS.API.CONSUMER.MSG.NEXT.KINORA_JOBS.*", "$JS.ACK.KINORA_JOBS.>"]
                subscribe: ["inbox_w1.>"] } }
        ] }"#;
    let Some(nats) = Nats::start_with("", users) else {
        return;
    };
    let (store, _folder) = store();
    let user = |name: &str| DispatchOptions {
        url: format!("nats://{name}@127.0.0.1:{}", nats.port),
        ..nats.options()
    };
    let dispatch = Dispatch::start(user("server:s"), store.clone()).unwrap();
    let options = DispatchOptions {
        inbox_prefix: Some("inbox_w1".into()),
        ..user("w1:w")
    };
    let ids: Vec<_> = (0..5).map(|number| submit(&*store, json!(number))).collect();
    let remote = RemoteStore::connect(&options).unwrap();
    for _ in 0..5 {
        let job = claim_soon(&remote, &["video"]);
        remote.succeed(&job.ticket(), &job.request).unwrap();
    }
    each_ended_once(&*store, &ids);
    assert!(
        dispatch.counts().offers >= 5 && dispatch.trouble().is_none(),
        "{:?}",
        dispatch.trouble()
    );
    let wrong = Dispatch::start(user("w1:w"), store.clone()).map(drop).unwrap_err();
    assert!(matches!(wrong, Error::JetStream { .. }), "{wrong}");
    let wrong = RemoteStore::connect(&user("w1:guessed")).map(drop).unwrap_err();
    assert!(matches!(wrong, Error::Connect { .. }), "{wrong}");
}

#[test]
fn a_token_is_enough_and_needed() {
    let Some(nats) = Nats::start_with("", "authorization { token: \"s3cret@\" }") else {
        return;
    };
    let (store, _folder) = store();
    let with = |token: Option<&str>, url: String| DispatchOptions {
        token: token.map(Into::into),
        url,
        ..nats.options()
    };
    let _dispatch = Dispatch::start(with(Some("s3cret@"), nats.url()), store.clone()).unwrap();
    let in_address = format!("nats://s3cret%40@127.0.0.1:{}", nats.port);
    let remote = RemoteStore::connect(&with(None, in_address)).unwrap();
    let id = submit(&*store, json!(1));
    assert_eq!(claim_soon(&remote, &[]).id, id);
    for token in [None, Some("guessed")] {
        let error = RemoteStore::connect(&with(token, nats.url())).map(drop).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
}

/// Certificates of a day, by the `openssl` of the system.
fn certificates(folder: &Path) -> bool {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output();
        done.is_ok_and(|done| {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            true
        })
    };
    std::fs::write(
        folder.join("leaf.ext"),
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 1 -subj /CN=ca")
        && openssl("req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=nats")
        && openssl(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile leaf.ext -out leaf.pem",
        )
}

#[test]
fn tls_with_a_certificate_of_ones_own_works_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        writeln!(
            std::io::stderr().lock(),
            "SKIPPED: no openssl in PATH to make certificates with"
        )
        .unwrap();
        return;
    }
    let file = |name: &str| folder.path().join(name);
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("leaf.pem"),
        file("leaf.key"),
        file("ca.pem")
    );
    let Some(nats) = Nats::start_with("", &tls) else { return };
    let (store, _folder) = store();
    let good = DispatchOptions {
        url: format!("tls://127.0.0.1:{}", nats.port),
        tls_ca: Some(file("ca.pem")),
        tls_identity: Some((file("leaf.pem"), file("leaf.key"))),
        require_tls: true,
        ..nats.options()
    };
    let _dispatch = Dispatch::start(good.clone(), store.clone()).unwrap();
    let remote = RemoteStore::connect(&good).unwrap();
    let id = submit(&*store, json!(1));
    assert_eq!(claim_soon(&remote, &[]).id, id);
    let short = Duration::from_secs(1);
    for bad in [
        DispatchOptions {
            tls_ca: None,
            call_timeout: short,
            ..good.clone()
        },
        DispatchOptions {
            tls_identity: None,
            call_timeout: short,
            ..good
        },
    ] {
        let error = RemoteStore::connect(&bad).map(drop).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
}
