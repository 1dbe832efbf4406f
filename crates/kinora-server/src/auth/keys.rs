//! API keys: made, listed, revoked and found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kinora_jobs::{Allowance, Clock, Store, Timestamp};
use serde::{Deserialize, Serialize};

use super::secret::{KeyHash, hash_of, new_key};
use crate::ask::ask;
use crate::records::Records;
use crate::{Error, Files, Result, Scope};

/// How long a key that was found is believed without another look: a key that is revoked by another process (the program's
/// `keys` command, another server) works no longer than this.
const BELIEVED: Duration = Duration::from_secs(5);
/// The most keys that are remembered at once.
const MOST_REMEMBERED: usize = 10_000;
/// The name of the key that is made when there is none.
const FIRST_NAME: &str = "admin";
const FIRST_PROJECT: &str = "default";

/// What a key may do, and whose it is. The key itself is stored nowhere, its SHA-256 is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its name, which no other key ever gets: jobs, shares and the log name it.
    pub name: String,
    /// Whose videos it sees.
    pub project: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it works; for ever if absent.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Requests in a minute; as the server's settings say if absent.
    pub requests_per_minute: Option<u32>,
    hash: String,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// Its name: 1 to 64 of `a-z A-Z 0-9 . _ -`, with a letter or digit first.
    pub name: String,
    /// Whose videos it sees: written as the name is.
    pub project: String,
    /// What it may do; one does not include another.
    pub scopes: Vec<Scope>,
    /// How long it works; for ever if absent.
    pub lifetime: Option<Duration>,
    /// Requests in a minute; as the server's settings say if absent.
    pub requests_per_minute: Option<u32>,
    /// Its share of the workers, how many of its jobs may wait and run, its highest priority.
    pub allowance: Allowance,
}

impl NewKey {
    /// A key of `project` that reads and writes, without limits of its own.
    #[must_use]
    pub fn new(name: &str, project: &str) -> Self {
        Self {
            name: name.to_owned(),
            project: project.to_owned(),
            scopes: vec![Scope::Read, Scope::Write],
            lifetime: None,
            requests_per_minute: None,
            allowance: Allowance::default(),
        }
    }

    fn check(&self) -> Result<()> {
        checked_name("the name of the key", &self.name)?;
        checked_name("the project of the key", &self.project)?;
        if self.scopes.is_empty() {
            return Err(setting(
                "the scopes of the key",
                "there are none",
                "read, write or admin",
            ));
        }
        if self.requests_per_minute == Some(0) {
            return Err(setting("the requests of the key", "0 in a minute", "at least 1"));
        }
        Ok(self.allowance.validate()?)
    }
}

/// A key that was just made.
#[derive(Clone)]
pub struct CreatedKey {
    /// What is stored of it.
    pub key: Key,
    secret: String,
}

impl CreatedKey {
    /// The key itself, which cannot be shown again.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.secret
    }
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What became of a search for a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// It works.
    Valid(Key),
    /// It is no key, or nobody's.
    Unknown,
    /// Its time is over.
    Expired(Key),
    /// Somebody took it back.
    Revoked(Key),
}

/// The keys of a server. Clones are the same.
#[derive(Clone)]
pub struct Keys {
    by_hash: Records,
    by_name: Records,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    remembered: Arc<Mutex<HashMap<KeyHash, (Timestamp, Key)>>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys that lie in `files`; `store` gets what the jobs of each may take.
    #[must_use]
    pub fn new(files: &Files, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            by_hash: Records::new(files, "keys"),
            by_name: Records::new(files, "key-names"),
            store,
            clock,
            remembered: Arc::default(),
        }
    }

    /// Makes a key. What it returns is the only way to the key itself.
    ///
    /// **Errors**: [`Error::Setting`] for a name that is taken or not possible; what files and record of jobs say.
    pub async fn create(&self, new: &NewKey) -> Result<CreatedKey> {
        self.try_create(new).await?.ok_or_else(|| {
            let problem = format!("a key had the name {:?} already", new.name);
            setting(
                "the name of the key",
                &problem,
                "choose another one, names are not used again",
            )
        })
    }

    /// `None` if the name is taken.
    async fn try_create(&self, new: &NewKey) -> Result<Option<CreatedKey>> {
        new.check()?;
        let secret = new_key()?;
        let hash = hash_of(&secret).ok_or_else(|| setting("the key", "it cannot be read", "report this"))?;
        let now = self.clock.now();
        let mut scopes = new.scopes.clone();
        scopes.sort_unstable();
        scopes.dedup();
        let key = Key {
            name: new.name.clone(),
            project: new.project.clone(),
            scopes,
            created_at: now,
            expires_at: new.lifetime.map(|lifetime| now.after(lifetime)),
            revoked_at: None,
            requests_per_minute: new.requests_per_minute,
            hash: hash.hex(),
        };
        // The key before its name: if this process dies between, there is a key that nobody knows, and the name is free.
        self.by_hash.create(&key.hash, &key).await?;
        if !self.by_name.create(&key.name, &key.hash).await? {
            self.by_hash.delete(&key.hash).await?;
            return Ok(None);
        }
        let (name, allowance) = (key.name.clone(), new.allowance);
        ask(&self.store, move |store| store.set_allowance(&name, &allowance)).await?;
        tracing::info!(target: "audit", key = key.name, project = key.project, "a key was made");
        Ok(Some(CreatedKey { key, secret }))
    }

    /// Makes the first key, with all scopes in the project `default`; `None` if there has been a key already.
    ///
    /// **Errors**: as [`Keys::create`].
    pub async fn first_run(&self) -> Result<Option<CreatedKey>> {
        if !self.list().await?.is_empty() {
            return Ok(None);
        }
        let new = NewKey {
            scopes: Scope::ALL.to_vec(),
            ..NewKey::new(FIRST_NAME, FIRST_PROJECT)
        };
        // Of two servers that start together, one makes it.
        self.try_create(&new).await
    }

    /// All keys, also those that do not work any more, by their names.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn list(&self) -> Result<Vec<Key>> {
        let mut keys: Vec<Key> = self.by_hash.all().await?;
        keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    /// Takes a key back. Servers notice it within seconds.
    ///
    /// **Errors**: [`Error::Setting`] if there is none with this name; [`Error::Files`].
    pub async fn revoke(&self, name: &str) -> Result<Key> {
        checked_name("the name of the key", name)?;
        let unknown = || {
            setting(
                "the name of the key",
                &format!("no key has the name {name:?}"),
                "list the keys",
            )
        };
        let hash: String = self.by_name.get(name).await?.ok_or_else(unknown)?;
        let mut key: Key = self.by_hash.get(&hash).await?.ok_or_else(unknown)?;
        if key.revoked_at.is_none() {
            key.revoked_at = Some(self.clock.now());
            self.by_hash.put(&hash, &key).await?;
            tracing::info!(target: "audit", key = key.name, project = key.project, "a key was revoked");
        }
        if let Some(hash) = KeyHash::from_hex(&hash) {
            self.memory().remove(&hash);
        }
        Ok(key)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<KeyHash, (Timestamp, Key)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key with this text. It is looked up by its hash, so that the time of the search says nothing about the keys that
    /// are stored; an unknown one is not remembered, so that nobody fills the memory with them.
    ///
    /// **Errors**: [`Error::Files`].
    pub(super) async fn find(&self, text: &str) -> Result<Found> {
        let Some(hash) = hash_of(text) else {
            return Ok(Found::Unknown);
        };
        let now = self.clock.now();
        let remembered = self.memory().get(&hash).cloned();
        let key = match remembered {
            Some((at, key)) if now < at.after(BELIEVED) => key,
            _ => {
                let Some(key) = self.by_hash.get::<Key>(&hash.hex()).await? else {
                    self.memory().remove(&hash);
                    return Ok(Found::Unknown);
                };
                let mut memory = self.memory();
                if memory.len() >= MOST_REMEMBERED {
                    memory.clear();
                }
                memory.insert(hash, (now, key.clone()));
                key
            }
        };
        if KeyHash::from_hex(&key.hash) != Some(hash) {
            return Ok(Found::Unknown);
        }
        Ok(match (key.revoked_at, key.expires_at) {
            (Some(_), _) => Found::Revoked(key),
            (None, Some(end)) if end <= now => Found::Expired(key),
            _ => Found::Valid(key),
        })
    }
}

fn setting(what: &'static str, problem: &str, hint: &str) -> Error {
    Error::Setting {
        what,
        problem: problem.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Names of keys and projects are parts of paths, headers and lines of the log.
fn checked_name(what: &'static str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(());
    }
    let hint = "1 to 64 of a-z A-Z 0-9 . _ - with a letter or digit first";
    Err(setting(what, &format!("{name:?} is not possible"), hint))
}
