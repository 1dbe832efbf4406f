//! Which store an address means.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::Result;
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::store::Store;

/// Opens the store at `url_or_path`: `postgres://…` and `postgresql://…` are databases on a server, `sqlite:PATH` and everything
/// else are files.
///
/// **Errors**: as [`PostgresStore::open`] and [`SqliteStore::open`].
pub fn open_store(url_or_path: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    if url_or_path.starts_with("postgres://") || url_or_path.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url_or_path, clock)?));
    }
    let path = url_or_path.strip_prefix("sqlite:").unwrap_or(url_or_path);
    Ok(Arc::new(SqliteStore::open(Path::new(path), clock)?))
}
