//! Stands between a store and its server, and loses what it is told to lose.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

/// What is lost next, and the connection with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A commit, before it reaches the server.
    Commit,
    /// What the server answers to a commit.
    AnswerToCommit,
}

#[derive(Default)]
struct Plan {
    next: Mutex<Option<Cut>>,
    cuts: AtomicUsize,
}

/// A socket that leads to the server.
pub struct Proxy {
    folder: TempDir,
    plan: Arc<Plan>,
}

impl Proxy {
    pub fn start(server: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("kpx").tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let plan = Arc::new(Plan::default());
        let (server, shared): (PathBuf, _) = (server.to_owned(), plan.clone());
        // Ends with the test program.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = UnixStream::connect(&server) else {
                    continue;
                };
                lead(client, server, shared.clone());
            }
        });
        Self { folder, plan }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Loses this the next time.
    pub fn cut(&self, what: Cut) {
        *self.plan.next.lock().unwrap() = Some(what);
    }

    /// How often something was lost.
    pub fn cuts(&self) -> usize {
        self.plan.cuts.load(Ordering::SeqCst)
    }
}

/// Copies both ways until one side ends or something is to be lost.
fn lead(mut client: UnixStream, mut server: UnixStream, plan: Arc<Plan>) {
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let mute = Arc::new(AtomicUsize::new(0));
    let muted = mute.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = from_server.read(&mut buffer) {
            if muted.load(Ordering::SeqCst) == 1 {
                // The commit has been answered, and now the line is cut.
                break;
            }
            if to_client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            if buffer[..count].windows(6).any(|word| word == b"COMMIT") {
                let cut = plan.next.lock().unwrap().take();
                plan.cuts.fetch_add(usize::from(cut.is_some()), Ordering::SeqCst);
                match cut {
                    Some(Cut::Commit) => {
                        let _ = client.shutdown(std::net::Shutdown::Both);
                        break;
                    }
                    Some(Cut::AnswerToCommit) => mute.store(1, Ordering::SeqCst),
                    None => {}
                }
            }
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
}
