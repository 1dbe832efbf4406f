//! Connections: how many, how long they may take, and how they end.
//!
//! A client that says nothing, or a byte a minute, holds a socket and no thread, and only until
//! [`Limits::header_time`](crate::Limits) is over: `hyper` limits the headers of HTTP/1 (its limit does nothing unless a
//! timer is set), and whoever has not sent a whole request by then, in any protocol, is cut off here.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::stalled::Stalled;
use crate::App;

/// How long requests that are being answered have to end when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 128;
/// Streams that a client may open and give up before the connection is closed.
const RESETS: usize = 32;
/// The most bytes of all headers of a request.
const HEADER_BYTES: u32 = 64 << 10;
/// How long a connection of HTTP/2 may be idle.
const IDLE: Duration = Duration::from_secs(120);

/// What all connections share.
pub(super) struct Shared {
    router: Router,
    builder: Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    header_time: Duration,
    body_time: Duration,
    places: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(app: &App, tls: Option<TlsAcceptor>) -> Self {
        let limits = &app.config.limits;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_headers(100)
            .max_buf_size(512 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(limits.header_time.max(Duration::from_secs(5)))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            router: app.router(),
            builder,
            tls,
            header_time: limits.header_time,
            body_time: limits.body_time,
            places: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }
}

/// Takes connections until `shutdown` is there, then waits for those that are busy.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: impl Future<Output = ()>,
    stopping: &CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        // A place first: more clients than places wait in the backlog of the system.
        let place = tokio::select! {
            () = &mut shutdown => break,
            place = shared.places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, say: others have to end first.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (shared, watcher) = (shared.clone(), graceful.watcher());
        tokio::spawn(async move {
            open(stream, from, &shared, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    stopping.cancel();
    if tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off at the end");
    }
}

async fn open(stream: TcpStream, from: std::net::SocketAddr, shared: &Shared, watcher: Watcher) {
    // Answers are small and whole; waiting for more to send costs 40 ms each.
    stream.set_nodelay(true).ok();
    let stream = Stalled::new(stream, shared.body_time);
    let Some(tls) = &shared.tls else {
        return talk(stream, from, shared, watcher).await;
    };
    match tokio::time::timeout(shared.header_time, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, from, shared, watcher).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "a connection could not be encrypted"),
        Err(_) => tracing::debug!(%from, "a connection took too long to be encrypted"),
    }
}

/// Counts requests of a connection, so that one without any is found.
#[derive(Default)]
struct Activity {
    running: AtomicUsize,
    begun: AtomicUsize,
    ended: Notify,
}

/// One request of a connection, from its headers to the end of its answer's headers.
struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::SeqCst);
        activity.begun.fetch_add(1, Ordering::SeqCst);
        Self(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_one();
    }
}

/// Ends when a connection has had nothing to do for too long: no first request in the time that headers have.
async fn idle(activity: &Activity, header_time: Duration) {
    let mut seen = 0;
    let mut patience = header_time;
    loop {
        tokio::time::sleep(patience).await;
        while activity.running.load(Ordering::SeqCst) > 0 {
            activity.ended.notified().await;
        }
        let begun = activity.begun.load(Ordering::SeqCst);
        if begun == seen {
            return;
        }
        seen = begun;
        patience = IDLE;
    }
}

async fn talk<S>(stream: S, from: std::net::SocketAddr, shared: &Shared, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity::default());
    let (router, counted) = (shared.router.clone(), activity.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let busy = Busy::new(&counted);
        let (router, mut request) = (router.clone(), request.map(Body::new));
        request.extensions_mut().insert(axum::extract::ConnectInfo(from));
        async move {
            let answer = router.oneshot(request as Request).await?;
            let (parts, body) = answer.into_parts();
            // The request is not over before its answer's body is.
            let body = super::layers::Holding::new(body, busy);
            Ok::<_, Infallible>(axum::response::Response::from_parts(parts, body))
        }
    });
    let connection = shared.builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(watcher.watch(connection.into_owned()));
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!(%from, error, "a connection broke");
            }
        }
        () = idle(&activity, shared.header_time) => tracing::debug!(%from, "an idle connection was closed"),
    }
}
