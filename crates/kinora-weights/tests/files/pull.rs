//! Pulling from a server of this file: one that breaks off, knows no ranges, lies, is slow, or sends elsewhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinora_weights::{Error, ModelFolder, PullError, PullOptions, PullPlan, Pulled, catalogue, plan_pull, pull};
use sha2::{Digest, Sha256};

/// How the server treats a file.
#[derive(Clone, Default)]
struct Hosted {
    data: Vec<u8>,
    /// Announced as a hub does it, behind a redirect.
    sha256: Option<String>,
    /// Breaks off after so many bytes of an answer, so many times.
    breaks: Option<(usize, usize)>,
    ignores_ranges: bool,
    /// Says 503 so many times.
    busy: usize,
    /// Sends `Location`.
    redirect: Option<String>,
    /// Waits before each of its first pieces.
    slow: Option<Duration>,
    /// No Content-Length.
    is_chunked: bool,
}

struct Server {
    files: Mutex<BTreeMap<String, Hosted>>,
    /// Method, path and range of each request.
    log: Mutex<Vec<String>>,
}

impl Server {
    /// Serves until the test process ends; gives its address.
    fn start(files: impl IntoIterator<Item = (&'static str, Hosted)>) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files = files.into_iter().map(|(path, file)| (path.to_owned(), file)).collect();
        let server = Arc::new(Self {
            files: Mutex::new(files),
            log: Mutex::default(),
        });
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                // A client that goes away is no failure.
                std::thread::spawn(move || drop(server.answer(stream)));
            }
        });
        (server, address)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or(Ok(String::new()))?;
        let mut range = None;
        for line in lines {
            let line = line?.to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(from) = line.strip_prefix("range: bytes=") {
                range = from.trim_end_matches('-').parse::<usize>().ok();
            }
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        self.log.lock().unwrap().push(format!("{method} {path} {range:?}"));
        self.send(stream, method, path.trim_start_matches('/'), range)
    }

    fn send(&self, mut stream: TcpStream, method: &str, path: &str, range: Option<usize>) -> std::io::Result<()> {
        let plain = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (name, behind) = match path.strip_prefix("cdn/") {
            Some(name) => (name, true),
            None => (path, false),
        };
        let file = {
            let mut files = self.files.lock().unwrap();
            let Some(file) = files.get_mut(name) else {
                return stream.write_all(plain("404 Not Found").as_bytes());
            };
            let now = file.clone();
            if file.busy > 0 {
                file.busy -= 1;
                return stream.write_all(plain("503 Service Unavailable").as_bytes());
            }
            if method == "GET"
                && (behind || file.sha256.is_none())
                && let Some((_, times)) = &mut file.breaks
            {
                *times = times.saturating_sub(1);
            }
            now
        };
        if let Some(target) = &file.redirect {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        if let Some(hash) = file.sha256.as_ref().filter(|_| !behind) {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: /cdn/{name}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                file.data.len()
            );
        }
        let from = range.filter(|_| !file.ignores_ranges).unwrap_or(0);
        if from >= file.data.len() && from > 0 {
            return stream.write_all(plain("416 Range Not Satisfiable").as_bytes());
        }
        let data = &file.data[from..];
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
        if from > 0 {
            let all = file.data.len();
            write!(stream, "Content-Range: bytes {from}-{}/{all}\r\n", all - 1)?;
        }
        match file.is_chunked {
            true => write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?,
            false => write!(stream, "Content-Length: {}\r\n\r\n", data.len())?,
        }
        if method == "HEAD" {
            return Ok(());
        }
        let broken = file.breaks.filter(|(_, times)| *times > 0).map(|(bytes, _)| bytes);
        let sent = &data[..broken.unwrap_or(data.len()).min(data.len())];
        for (i, piece) in sent.chunks(10_000).enumerate() {
            if let Some(wait) = file.slow.filter(|_| i < 3) {
                std::thread::sleep(wait);
            }
            match file.is_chunked {
                true => {
                    write!(stream, "{:x}\r\n", piece.len())?;
                    stream.write_all(piece)?;
                    write!(stream, "\r\n")?;
                }
                false => stream.write_all(piece)?,
            }
        }
        if file.is_chunked && broken.is_none() {
            write!(stream, "0\r\n\r\n")?;
        }
        stream.flush()
    }

    fn requests(&self, method: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.starts_with(method)).cloned().collect()
    }

    fn change(&self, name: &str, change: impl Fn(&mut Hosted)) {
        change(self.files.lock().unwrap().get_mut(name).unwrap());
    }
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect()
}

fn hosted(data: Vec<u8>) -> Hosted {
    Hosted {
        data,
        ..Hosted::default()
    }
}

fn on_hub(data: Vec<u8>) -> Hosted {
    Hosted {
        sha256: Some(sha256(&data)),
        ..hosted(data)
    }
}

fn options() -> PullOptions {
    PullOptions {
        source: None,
        retries: 3,
        first_wait: Duration::from_millis(1),
        timeout: Duration::from_secs(2),
    }
}

fn run(plan: &PullPlan) -> Result<Pulled, Error> {
    pull(plan, &options(), &mut |_| true)
}

fn why(error: Error) -> PullError {
    match error {
        Error::Pull(error) => *error,
        other => panic!("{other}"),
    }
}

/// Plans and pulls one file from a server that treats it like that.
fn pull_one(file: Hosted) -> (Arc<Server>, tempfile::TempDir, Result<Pulled, Error>) {
    let (server, address) = Server::start([("m/a.safetensors", file)]);
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_pull(&format!("{address}/m/a.safetensors"), folder.path(), &options()).unwrap();
    let result = run(&plan);
    (server, folder, result)
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_pulled(folder: &Path, expected: &[u8]) {
    assert_eq!(files_in(folder), ["a.safetensors"]);
    assert!(
        std::fs::read(folder.join("a.safetensors")).unwrap() == expected,
        "other bytes"
    );
}

#[test]
fn a_file_is_pulled_whole_and_verified_where_a_hash_is_known() {
    let bytes = data(300_000);
    let (server, folder, pulled) = pull_one(on_hub(bytes.clone()));
    let pulled = pulled.unwrap();
    assert_eq!((pulled.fetched, pulled.verified), (1, 1));
    assert_pulled(folder.path(), &bytes);
    assert_eq!(server.requests("GET /cdn").len(), 1);
    // No hash, no length.
    let (_, folder, pulled) = pull_one(Hosted {
        is_chunked: true,
        ..hosted(bytes.clone())
    });
    assert_eq!(pulled.unwrap().verified, 0);
    assert_pulled(folder.path(), &bytes);
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_stopped() {
    let bytes = data(300_000);
    let (server, folder, pulled) = pull_one(Hosted {
        breaks: Some((70_000, 2)),
        ..on_hub(bytes.clone())
    });
    assert_eq!(pulled.unwrap().verified, 1);
    assert_pulled(folder.path(), &bytes);
    let requests = server.requests("GET /cdn");
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(
        requests[1].ends_with("Some(70000)") && requests[2].ends_with("Some(140000)"),
        "{requests:?}"
    );
}

#[test]
fn a_pull_that_was_stopped_goes_on_at_the_next_call() {
    let bytes = data(300_000);
    let (server, address) = Server::start([("m/a.safetensors", on_hub(bytes.clone()))]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{address}/m/a.safetensors");
    let plan = plan_pull(&url, folder.path(), &options()).unwrap();
    assert_eq!(
        (plan.total_bytes(), plan.missing_bytes(), plan.licence.as_str()),
        (300_000, 300_000, "unknown")
    );
    let stopped = pull(&plan, &options(), &mut |progress| progress.done_bytes < 100_000);
    assert!(matches!(why(stopped.unwrap_err()), PullError::Cancelled));
    let plan = plan_pull(&url, folder.path(), &options()).unwrap();
    assert!(plan.missing_bytes() <= 200_000, "{}", plan.missing_bytes());
    let mut seen = Vec::new();
    pull(&plan, &options(), &mut |progress| {
        seen.push(progress.done_bytes);
        true
    })
    .unwrap();
    assert!(seen[0] > 100_000 && seen.last() == Some(&300_000), "{:?}", seen.first());
    assert_pulled(folder.path(), &bytes);
    // A third time nothing comes.
    let before = server.requests("GET").len();
    let plan = plan_pull(&url, folder.path(), &options()).unwrap();
    assert_eq!((plan.missing_bytes(), run(&plan).unwrap().fetched), (0, 0));
    assert_eq!(server.requests("GET").len(), before);
}

#[test]
fn a_part_of_another_version_is_not_used() {
    let (server, address) = Server::start([("m/a.safetensors", on_hub(data(300_000)))]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{address}/m/a.safetensors");
    let plan = plan_pull(&url, folder.path(), &options()).unwrap();
    assert!(pull(&plan, &options(), &mut |progress| progress.done_bytes < 100_000).is_err());
    let newer: Vec<u8> = data(300_000).iter().map(|b| b ^ 1).collect();
    server.change("m/a.safetensors", |file| *file = on_hub(newer.clone()));
    let plan = plan_pull(&url, folder.path(), &options()).unwrap();
    assert_eq!(plan.missing_bytes(), 300_000);
    run(&plan).unwrap();
    assert_pulled(folder.path(), &newer);
}

#[test]
fn a_server_without_ranges_starts_again() {
    let bytes = data(200_000);
    let (server, folder, pulled) = pull_one(Hosted {
        breaks: Some((70_000, 1)),
        ignores_ranges: true,
        ..on_hub(bytes.clone())
    });
    assert_eq!(pulled.unwrap().verified, 1);
    assert_pulled(folder.path(), &bytes);
    assert_eq!(server.requests("GET /cdn").len(), 2);
}

#[test]
fn wrong_bytes_are_removed_and_reported() {
    let (_, folder, pulled) = pull_one(Hosted {
        sha256: Some(sha256(b"something else")),
        ..hosted(data(50_000))
    });
    let error = why(pulled.unwrap_err());
    assert!(
        matches!(&error, PullError::WrongHash { got, .. } if *got == sha256(&data(50_000))),
        "{error}"
    );
    assert!(files_in(folder.path()).is_empty(), "{:?}", files_in(folder.path()));
    // A hash that lies beside the file counts too.
    let beside = |text: String| {
        let files = [
            ("m/a.safetensors", hosted(data(5000))),
            ("m/a.safetensors.sha256", hosted(text.into_bytes())),
        ];
        let (_, address) = Server::start(files);
        let folder = tempfile::tempdir().unwrap();
        let plan = plan_pull(&format!("{address}/m/a.safetensors"), folder.path(), &options()).unwrap();
        run(&plan)
    };
    assert_eq!(
        beside(format!("{}  a.safetensors\n", sha256(&data(5000))))
            .unwrap()
            .verified,
        1
    );
    assert!(matches!(
        why(beside(sha256(b"x")).unwrap_err()),
        PullError::WrongHash { .. }
    ));
    assert_eq!(beside("no hash".into()).unwrap().verified, 0);
}

#[test]
fn a_busy_server_is_asked_again_and_a_missing_file_is_not() {
    let (server, folder, pulled) = pull_one(Hosted {
        busy: 2,
        ..on_hub(data(1000))
    });
    assert!(pulled.is_ok(), "{pulled:?}");
    assert_pulled(folder.path(), &data(1000));
    server.change("m/a.safetensors", |file| file.busy = 1000);
    let url = format!("{}/m/a.safetensors", "http://127.0.0.1:1");
    let error = plan_pull(&url, folder.path(), &options()).unwrap_err();
    assert!(matches!(why(error), PullError::Network { .. }));
    let (server, address) = Server::start([]);
    let error = plan_pull(&format!("{address}/m/b"), folder.path(), &options()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("404") && text.contains("hint:"), "{text}");
    assert_eq!(server.requests("HEAD").len(), 1);
}

#[test]
fn a_slow_server_is_waited_for_and_a_silent_one_is_not() {
    let bytes = data(60_000);
    let (_, folder, pulled) = pull_one(Hosted {
        slow: Some(Duration::from_millis(150)),
        ..on_hub(bytes.clone())
    });
    assert!(pulled.is_ok(), "{pulled:?}");
    assert_pulled(folder.path(), &bytes);
    let (_, address) = Server::start([(
        "m/a.safetensors",
        Hosted {
            slow: Some(Duration::from_secs(30)),
            ..on_hub(bytes)
        },
    )]);
    let impatient = PullOptions {
        retries: 1,
        timeout: Duration::from_millis(200),
        ..options()
    };
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_pull(&format!("{address}/m/a.safetensors"), folder.path(), &impatient).unwrap();
    let begun = std::time::Instant::now();
    let error = why(pull(&plan, &impatient, &mut |_| true).unwrap_err());
    assert!(matches!(error, PullError::Network { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn redirects_out_of_the_web_are_refused() {
    for target in ["file:///etc/hostname", "ftp://127.0.0.1/a"] {
        let file = Hosted {
            redirect: Some(target.into()),
            ..Hosted::default()
        };
        let (_, address) = Server::start([("a.bin", file)]);
        let folder = tempfile::tempdir().unwrap();
        let error = why(plan_pull(&format!("{address}/a.bin"), folder.path(), &options()).unwrap_err());
        assert!(
            matches!(&error, PullError::Redirect { target: got, .. } if got == target),
            "{error}"
        );
    }
    let endless = Hosted {
        redirect: Some("/a.bin".into()),
        ..Hosted::default()
    };
    let (server, address) = Server::start([("a.bin", endless)]);
    let error = why(plan_pull(&format!("{address}/a.bin"), Path::new("."), &options()).unwrap_err());
    assert!(matches!(error, PullError::Redirect { .. }), "{error}");
    assert!(server.requests("HEAD").len() < 20);
    let error = why(plan_pull(&format!("{address}/.."), Path::new("."), &options()).unwrap_err());
    assert!(matches!(error, PullError::BadName { .. }), "{error}");
}

/// A source with the smallest model of the catalogue: the autoencoder in one file, the rest in shards.
fn source(index: &'static str) -> (Arc<Server>, String) {
    let at = |path: &str| -> &'static str {
        Box::leak(format!("Wan-AI/Wan2.1-T2V-1.3B-Diffusers/resolve/main/{path}").into_boxed_str())
    };
    let small = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "text_encoder/config.json",
        "vae/config.json",
        "transformer/config.json",
    ];
    let mut files: Vec<_> = small.iter().map(|path| (at(path), hosted(b"{}".to_vec()))).collect();
    files.push((at("vae/diffusion_pytorch_model.safetensors"), on_hub(data(7000))));
    files.push((at("text_encoder/model.safetensors"), on_hub(data(9000))));
    files.push((
        at("transformer/diffusion_pytorch_model.safetensors.index.json"),
        hosted(index.into()),
    ));
    files.push((at("transformer/one.safetensors"), on_hub(data(20_000))));
    files.push((at("transformer/two.safetensors"), on_hub(data(30_000))));
    Server::start(files)
}

#[test]
fn a_model_is_pulled_by_name_with_all_shards() {
    let (_, address) = source(r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"one.safetensors"}}"#);
    let options = PullOptions {
        source: Some(format!("{address}/")),
        ..options()
    };
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_pull("Wan2.1-T2V-1.3B", folder.path(), &options).unwrap();
    assert_eq!(
        (plan.licence.as_str(), plan.name.as_str()),
        ("Apache-2.0", "wan2.1-t2v-1.3b")
    );
    assert_eq!(plan.files.len(), 11);
    assert_eq!(plan.unverified().count(), 7);
    assert!(
        !folder.path().join("wan2.1-t2v-1.3b").exists(),
        "planning writes nothing"
    );
    let pulled = pull(&plan, &options, &mut |_| true).unwrap();
    assert_eq!((pulled.fetched, pulled.verified), (11, 4));
    let transformer = folder.path().join("wan2.1-t2v-1.3b/transformer");
    assert_eq!(
        std::fs::read(transformer.join("two.safetensors")).unwrap(),
        data(30_000)
    );
    assert!(files_in(&transformer).iter().all(|name| !name.contains(".part")));
    let model = ModelFolder::open_among(&plan.folder, &[]).unwrap();
    assert_eq!(model.licence(), Some("Apache-2.0"), "it remembers what was agreed to");
    let receipt = std::fs::read_to_string(plan.folder.join("pulled.json")).unwrap();
    assert!(
        receipt.contains(&sha256(&data(30_000))) && receipt.contains("transformer/two.safetensors"),
        "{receipt}"
    );
    let hash = model.weights_hash().unwrap();
    std::fs::remove_file(plan.folder.join("pulled.json")).unwrap();
    assert_eq!(
        model.weights_hash().unwrap(),
        hash,
        "where files came from changes no clip"
    );
    std::fs::write(plan.folder.join("pulled.json"), "{").unwrap();
    let error = ModelFolder::open_among(&plan.folder, &[]).unwrap_err().to_string();
    assert!(error.contains("pulled.json"), "{error}");

    let (_, address) = source(r#"{"weight_map":{"a":"../../../outside.safetensors"}}"#);
    let options = PullOptions {
        source: Some(address),
        ..options
    };
    let error = why(plan_pull("wan2.1-t2v-1.3b", folder.path(), &options).unwrap_err());
    assert!(matches!(error, PullError::BadName { .. }), "{error}");
}

#[test]
fn an_unknown_name_has_a_suggestion_and_a_full_disk_a_number() {
    let error = plan_pull("wan2.2-ti2v-5", Path::new("."), &options())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("did you mean `wan2.2-ti2v-5b`") && error.contains("hint:"),
        "{error}"
    );
    assert!(catalogue().iter().all(|entry| entry.licence == "Apache-2.0"));
    let (_, address) = Server::start([("m/a.safetensors", on_hub(data(1000)))]);
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan_pull(&format!("{address}/m/a.safetensors"), folder.path(), &options()).unwrap();
    plan.files[0].bytes = Some(u64::MAX / 2);
    if cfg!(unix) {
        let error = why(run(&plan).unwrap_err());
        assert!(matches!(error, PullError::NoSpace { free, .. } if free > 0), "{error}");
        assert!(files_in(folder.path()).is_empty());
    }
}
