//! How fast a caller sends the head of a request, on a connection that serves one request at a time.
//!
//! hyper's own limit runs from the answer before, so it can't tell a slow caller from an idle connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::interval;

/// How often a connection is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Where a connection is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// It waits for a request, of which nothing has arrived.
    Idle,
    /// A head has been arriving since then; of the first request from the start.
    Head(Instant),
    /// A request is being answered.
    Busy,
}

/// The pace of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    state: Arc<Mutex<State>>,
    limit: Option<Duration>,
}

impl Default for Pace {
    /// One that is never lost.
    fn default() -> Self {
        Self {
            state: Arc::new(Mutex::new(State::Busy)),
            limit: None,
        }
    }
}

impl Pace {
    /// One in which each head has to arrive within this time.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::Head(Instant::now()))),
            limit: Some(limit),
        }
    }

    /// The stream, watched for the begin of requests.
    pub(crate) fn watch_stream<S>(&self, stream: S) -> Paced<S> {
        Paced {
            stream,
            pace: self.clone(),
        }
    }

    /// The routes, watched for requests whose head is complete.
    pub(crate) fn watch_service(&self, router: Router) -> Router {
        if self.limit.is_none() {
            return router;
        }
        let pace = self.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let pace = pace.clone();
            async move {
                *pace.state() = State::Busy;
                let response = next.run(request).await;
                *pace.state() = State::Idle;
                response
            }
        }))
    }

    /// Ends when a head takes longer than it may.
    pub(crate) async fn lost(&self) {
        let Some(limit) = self.limit else {
            return std::future::pending().await;
        };
        let mut ticks = interval(INTERVAL.min(limit));
        loop {
            ticks.tick().await;
            if let State::Head(since) = *self.state()
                && since.elapsed() > limit
            {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that tells its pace of what arrives.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.pace.limit.is_some() && buffer.filled().len() > before {
            let mut state = self.pace.state();
            if let State::Idle = *state {
                *state = State::Head(Instant::now());
            }
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
