//! Between the socket and the routes: connections and their limits, encryption, names of requests.

mod connections;
pub(crate) mod layers;
mod stalled;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::{App, Error, Result};

tokio::task_local! {
    /// The name of the request that this task answers.
    pub(crate) static REQUEST_ID: String;
}

/// The name of the request that is being answered, or nothing outside of one.
pub(crate) fn current_request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// A server that has its address and does not answer yet.
pub struct Server {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Checks the settings, takes the address and deletes what a server that was killed left of uploads.
    ///
    /// **Errors**: [`Error::Setting`] for certificates, keys and origins that are none, [`Error::Io`] for an address or a
    /// folder that cannot be used.
    pub async fn bind(app: App) -> Result<Self> {
        app.config.check()?;
        layers::check_origins(&app.config.cors)?;
        let tls = app.config.tls.as_ref().map(tls::acceptor).transpose()?;
        crate::body::sweep(&app.config.folder)?;
        let asked = app.config.address;
        let io = |source| Error::Io {
            action: "listen on",
            path: asked.to_string().into(),
            source,
        };
        let listener = TcpListener::bind(asked).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        Ok(Self {
            app,
            listener,
            address,
            tls,
        })
    }

    /// Where it listens: the port is a real one also if 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is there. Then nothing new is taken, event streams are cut, and requests that are being
    /// answered have half a minute to end.
    ///
    /// **Errors**: none at present; connections that fail are only logged.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let stopping = self.app.stopping.clone();
        let shared = Arc::new(connections::Shared::new(&self.app, self.tls));
        connections::accept(self.listener, shared, shutdown, &stopping).await;
        Ok(())
    }
}
