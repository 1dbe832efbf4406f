//! A PostgreSQL server of a test's own: made in a temporary folder, reached by a socket there, gone afterwards.
//!
//! `KINORA_TEST_POSTGRES` may name a server instead (a URL; databases are made on it). Where there is neither, tests are skipped
//! and say so; with `KINORA_REQUIRE_POSTGRES=1` that is a failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use tempfile::TempDir;

const NAMED: &str = "KINORA_TEST_POSTGRES";
const REQUIRED: &str = "KINORA_REQUIRE_POSTGRES";

/// Runs the server and ends it when its standard input does, so that it does not outlive a test that is killed.
const KEEPER: &str = r#""$@" >>"$LOG" 2>&1 & server=$!; read -r _; kill -INT $server 2>/dev/null; wait $server"#;

/// Says that a test was skipped. Not by `eprintln!`, which is not shown for a test that succeeds.
pub fn skip(why: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var(REQUIRED).is_err(), "{REQUIRED} is set, but {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {name} ({count} in this program): {why}");
}

/// Where the programs of the server are.
fn programs() -> Result<PathBuf, String> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|entry| entry.path().join("bin")));
    let whole = |folder: &&PathBuf| {
        ["initdb", "postgres", "pg_ctl"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    let found = folders.iter().find(whole);
    found.cloned().ok_or_else(|| {
        format!("there is no PostgreSQL: neither {NAMED}, nor initdb, postgres and pg_ctl in PATH or /usr/lib/postgresql/*/bin")
    })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A server that can be crashed and started again.
pub struct Server {
    folder: TempDir,
    bin: PathBuf,
    /// Whom it runs as; it refuses to run as root.
    user: Option<String>,
    settings: Vec<String>,
    port: u16,
    keeper: Mutex<Option<Child>>,
    databases: AtomicUsize,
}

impl Server {
    /// A new server with more settings than usual (`name=value`), or `None`, which has been said.
    pub fn start(settings: &[&str]) -> Option<Self> {
        let bin = programs().map_err(|why| skip(&why)).ok()?;
        let root = output("id", &["-u"]).as_deref() == Some("0");
        let user = ["postgres", "nobody"]
            .into_iter()
            .find(|user| output("id", &["-u", user]).is_some());
        let server = Self {
            folder: tempfile::Builder::new().prefix("kpg").tempdir_in("/tmp").unwrap(),
            bin,
            user: if root { user.map(str::to_owned) } else { None },
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            port: 5432,
            keeper: Mutex::new(None),
            databases: AtomicUsize::new(0),
        };
        server.give("");
        let initdb = server.bin.join("initdb");
        let made = server
            .command(initdb.to_str().unwrap())
            .arg(server.data())
            .args([
                "--username=kinora",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--no-locale",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.go();
        Some(server)
    }

    /// The server that the tests of this program share; it ends with the last of them.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a file in its folder the server's own.
    pub fn give(&self, name: &str) {
        if let Some(user) = &self.user {
            assert!(output("chown", &[user, self.folder().join(name).to_str().unwrap()]).is_some());
        }
    }

    /// More settings, from the next start on.
    pub fn set(&mut self, settings: &[String]) {
        self.settings.extend_from_slice(settings);
    }

    /// Another port, from the next start on. Sockets have it in their name.
    pub const fn move_to(&mut self, port: u16) {
        self.port = port;
    }

    fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), "--clear-groups", program]);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder());
        command
    }

    /// Starts it (again), and waits until it answers.
    pub fn go(&self) {
        let mut command = self.command("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(self.bin.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder());
        for setting in [
            "listen_addresses=",
            "fsync=on",
            "max_connections=200",
            "shared_buffers=32MB",
        ] {
            command.args(["-c", setting]);
        }
        command.args(["-p", &self.port.to_string()]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.env("LOG", self.folder().join("log")).stdin(Stdio::piped());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        *self.keeper.lock().unwrap() = Some(child);
        let begun = Instant::now();
        while let Err(error) = Client::connect(&self.url("postgres"), NoTls) {
            let log = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "{error}\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, without a shutdown: what it had not written is lost.
    pub fn crash(&self) {
        let stopped = self
            .command(self.bin.join("pg_ctl").to_str().unwrap())
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.data())
            .output()
            .unwrap();
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        self.end();
    }

    fn end(&self) {
        let keeper = self
            .keeper
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(mut keeper) = keeper {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }

    /// The URL of a database that is there.
    pub fn url(&self, database: &str) -> String {
        url_by(self.folder(), self.port, database)
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("jobs_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        make(&self.url("postgres"), &name);
        self.url(&name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The URL of a database by the socket for `port` in `folder`.
pub fn url_by(folder: &Path, port: u16, database: &str) -> String {
    let host = folder.to_str().unwrap().replace('/', "%2F");
    format!("postgresql://kinora@{host}:{port}/{database}")
}

fn make(admin: &str, name: &str) {
    let mut client = Client::connect(admin, NoTls).unwrap();
    client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
}

/// A new database on the server that `KINORA_TEST_POSTGRES` names or else on the shared one, and what keeps it alive; `None` if
/// there is none, which has been said.
pub fn database() -> Option<(String, Option<Arc<Server>>)> {
    let Ok(admin) = std::env::var(NAMED) else {
        let server = Server::shared()?;
        return Some((server.database(), Some(server)));
    };
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "kinora_test_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::SeqCst)
    );
    make(&admin, &name);
    let (address, options) = admin
        .split_once('?')
        .map_or((&*admin, ""), |(address, options)| (address, options));
    let server = &address[..address
        .rfind('/')
        .filter(|at| *at > "postgresql:/".len())
        .unwrap_or(address.len())];
    Some((format!("{server}/{name}?{options}"), None))
}
