//! A body that may not be too large and not too slow.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

/// What has to arrive in every span of [`Limits::body_time`](crate::Limits), in bytes: a byte a minute is standing still.
const LEAST_BYTES: u64 = 1024;
/// The most bytes between two parts of multipart, which is where their headers are.
const HEADER_BYTES: u64 = 1 << 20;

/// Why a body is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("too slow")]
    Stalled,
    #[error("broken off")]
    Broken,
    #[error("too long headers of a part")]
    Headers,
}

/// How many bytes may still come before something of use was found in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Option<Arc<AtomicU64>>);

impl Budget {
    /// Something of use was found.
    pub(super) fn renew(&self) {
        if let Some(left) = &self.0 {
            left.store(HEADER_BYTES, Ordering::Relaxed);
        }
    }

    /// Whether so many more may come.
    fn take(&self, bytes: u64) -> bool {
        self.0.as_ref().is_none_or(|left| {
            let before = left.load(Ordering::Relaxed);
            left.store(before.saturating_sub(bytes), Ordering::Relaxed);
            bytes <= before
        })
    }
}

/// The chunks of a body, one in each poll: whoever reads greedily still holds only one of them.
pub(super) struct Paced {
    body: BodyDataStream,
    left: u64,
    limit: u64,
    pace: Duration,
    /// When [`LEAST_BYTES`] have to be there, and how many are.
    due: Pin<Box<Sleep>>,
    arrived: u64,
    breathe: bool,
    budget: Budget,
}

impl Paced {
    pub(super) fn new(body: BodyDataStream, limit: u64, pace: Duration) -> Self {
        Self {
            body,
            left: limit,
            limit,
            pace,
            due: Box::pin(tokio::time::sleep(pace)),
            arrived: 0,
            breathe: false,
            budget: Budget::default(),
        }
    }

    /// From now on, no more than [`HEADER_BYTES`] come between two [`Budget::renew`].
    pub(super) fn budget(&mut self) -> Budget {
        self.budget = Budget(Some(Arc::new(AtomicU64::new(HEADER_BYTES))));
        self.budget.clone()
    }

    fn account(&mut self, bytes: u64) -> Result<(), Fault> {
        let limit = self.limit;
        self.left = self.left.checked_sub(bytes).ok_or(Fault::TooLarge { limit })?;
        self.arrived += bytes;
        if self.arrived >= LEAST_BYTES {
            self.arrived = 0;
            self.due.as_mut().reset(Instant::now() + self.pace);
        }
        if self.budget.take(bytes) {
            Ok(())
        } else {
            Err(Fault::Headers)
        }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.breathe) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.body.poll_next_unpin(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(Fault::Broken))),
            Poll::Ready(Some(Ok(chunk))) => {
                self.breathe = true;
                let accounted = self.account(chunk.len() as u64);
                Poll::Ready(Some(accounted.map(|()| chunk)))
            }
            Poll::Pending => match self.due.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Fault::Stalled))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
