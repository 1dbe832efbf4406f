//! What the tests of this crate share: a server on a port of its own with a simulated worker, and a tiny client.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod client;
pub mod media;
pub mod runner;
pub mod schemas;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kinora_api::Rules;
use kinora_jobs::{SqliteStore, Store, SystemClock, Worker, WorkerOptions};
use kinora_server::{App, Config, Files, Server};
use serde_json::Value;
use tokio::sync::oneshot;

pub use client::Reply;

/// A server that answers, its record of jobs, and perhaps a worker.
pub struct Running {
    pub address: SocketAddr,
    pub store: Arc<SqliteStore>,
    pub files: Files,
    pub folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: Option<std::thread::JoinHandle<()>>,
    quit: Arc<AtomicBool>,
    worker: Option<std::thread::JoinHandle<()>>,
}

/// A server without a worker.
pub fn server() -> Running {
    server_with(|_| {})
}

/// A server whose settings were changed.
pub fn server_with(change: impl FnOnce(&mut Config)) -> Running {
    server_of(change, |app| app)
}

/// A server with a simulated worker.
pub fn server_and_worker() -> Running {
    let mut running = server();
    running.start_worker();
    running
}

pub fn server_of(change: impl FnOnce(&mut Config), finish: impl FnOnce(App) -> App) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().to_owned());
    config.limits.free_bytes = 0;
    change(&mut config);
    let clock = Arc::new(SystemClock::new());
    let store = Arc::new(SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap());
    let files = Files::in_folder(&folder.path().join("files")).unwrap();
    let app = finish(App::new(config, store.clone(), clock, files.clone(), Rules::sora()));
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let server = Server::bind(app).await.unwrap();
            tell.send(server.address()).unwrap();
            server.run(async { drop(stopped.await) }).await.unwrap();
        });
    });
    Running {
        address: told.recv_timeout(Duration::from_secs(30)).unwrap(),
        store,
        files,
        folder,
        stop: Some(stop),
        server: Some(server),
        quit: Arc::new(AtomicBool::new(false)),
        worker: None,
    }
}

impl Running {
    pub fn start_worker(&mut self) {
        let (store, quit) = (self.store.clone(), self.quit.clone());
        let runner = runner::Simulated::new(self.files.clone());
        self.worker = Some(std::thread::spawn(move || {
            let clock = SystemClock::new();
            let options = WorkerOptions {
                idle: Duration::from_millis(5),
                ..WorkerOptions::default()
            };
            let worker = Worker {
                store: &*store,
                runner: &runner,
                clock: &clock,
                options,
            };
            worker.run(&quit).unwrap();
        }));
    }

    /// Asks the server to end, without waiting for it.
    pub fn ask_to_stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()).ok());
    }

    /// Waits until the server has ended.
    pub fn wait_for_the_end(&mut self) {
        self.ask_to_stop();
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }

    /// Waits until the video has this status; its JSON.
    pub fn wait_for(&self, id: &str, status: &str) -> Value {
        let begun = Instant::now();
        loop {
            let video = self.get(&format!("/v1/videos/{id}")).expect(200);
            if video["status"] == status {
                return video;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{video}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A finished video of this prompt; its JSON.
    pub fn finished(&self, prompt: &str) -> Value {
        let made = self
            .post("/v1/videos", &serde_json::json!({ "prompt": prompt }))
            .expect(200);
        self.wait_for(made["id"].as_str().unwrap(), "completed")
    }

    /// The files of uploads that are there now.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.folder.path().join("tmp")).unwrap();
        folder.map(|entry| entry.unwrap().path()).collect()
    }

    pub fn jobs(&self) -> usize {
        self.store.list(&kinora_jobs::Query::default()).unwrap().jobs.len()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::SeqCst);
        if let Some(worker) = self.worker.take() {
            worker.join().ok();
        }
        self.ask_to_stop();
        if let Some(server) = self.server.take() {
            server.join().ok();
        }
    }
}
