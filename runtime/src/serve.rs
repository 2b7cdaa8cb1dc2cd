//! HTTPS, with bounds on what a caller may take: connections, time, streams and headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::middleware::{Next, from_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::pace::Pace;

/// How many connections are open at a time. An API server keeps a few; more is somebody else.
const MAX_CONNECTIONS: usize = 1024;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an HTTP/1 connection may be idle. An API server closes its own after 90 s: if this end were first, it could
/// cut off a review that is just being sent, which nobody sends again.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// How long requests in flight may take after the end was announced.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves the router until the token is cancelled, then lets requests in flight end.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve(
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("--listen {address}: {error}; choose a free address"))?;
    tracing::info!(%address, "Reviews are served");
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: take a breath instead of spinning.
                tracing::warn!(%error, "A connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            tracing::warn!(
                limit = MAX_CONNECTIONS,
                "A connection was refused: too many are open"
            );
            continue;
        };
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, acceptor, router, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("Requests in flight did not end in time");
    }
    Ok(())
}

/// Routes whose HTTP/1 answers end their connection as soon as the token is cancelled, so that callers which keep
/// connections have none left when [`serve`] stops.
pub fn closing(router: Router, closing: CancellationToken) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let closing = closing.clone();
        async move {
            let keeps = request.version() <= Version::HTTP_11;
            let mut response = next.run(request).await;
            if keeps && closing.is_cancelled() {
                response
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }))
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, watcher: Watcher) {
    // Without this an answer waits for the acknowledgement of the one before: 40 ms at the 99th percentile.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    // HTTP/2 has frames besides requests, and pings instead.
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let pace = (!is_h2).then(|| Pace::new(HEADER_TIMEOUT));
    answered(stream, router, watcher, pace, IDLE_TIMEOUT).await;
}

/// Answers what comes over one connection, until either side or the pace ends it.
async fn answered(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
    pace: Option<Pace>,
    idle: Duration,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Counts from the answer before, so it is the limit of idle connections; the pace has the one of headers.
        .header_read_timeout(idle)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(32 * 1024)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(10));
    let pace = pace.unwrap_or_default();
    let service = TowerToHyperService::new(pace.watch_service(router));
    let served = builder.serve_connection(TokioIo::new(pace.watch_stream(stream)), service);
    let connection = watcher.watch(served.into_owned());
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(error, "A connection ended early");
        },
        () = pace.lost() => tracing::debug!("A connection was closed: its request did not arrive in time"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_mins(1);

    /// A connection with these limits, what makes the server's answers close it, and what ends it when dropped.
    fn connected(head: Duration, idle: Duration) -> (DuplexStream, (CancellationToken, GracefulShutdown)) {
        let (ours, theirs) = duplex(64 * 1024);
        let stop = CancellationToken::new();
        let router = closing(Router::new().route("/", get(|| async { "yes" })), stop.clone());
        let graceful = GracefulShutdown::new();
        let watcher = graceful.watcher();
        tokio::spawn(answered(theirs, router, watcher, Some(Pace::new(head)), idle));
        (ours, (stop, graceful))
    }

    /// Sends a request and reads its answer.
    async fn ask(stream: &mut DuplexStream) -> String {
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("yes") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "closed after {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        answer
    }

    /// Whether the server closes the connection within several times the short limit.
    async fn is_closed(stream: &mut DuplexStream) -> bool {
        timeout(SHORT * 8, stream.read(&mut [0; 1])).await.is_ok()
    }

    #[tokio::test]
    async fn an_idle_connection_outlives_the_limit_of_headers() {
        let (mut stream, _stop) = connected(SHORT, LONG);
        ask(&mut stream).await;
        assert!(!is_closed(&mut stream).await);
        ask(&mut stream).await;
        let (mut stream, _stop) = connected(SHORT, SHORT);
        ask(&mut stream).await;
        assert!(is_closed(&mut stream).await, "idle for longer than it may");
    }

    #[tokio::test]
    async fn slow_headers_end_a_connection() {
        let (mut stream, _stop) = connected(SHORT, LONG);
        assert!(is_closed(&mut stream).await, "nothing was ever sent");
        let (mut stream, _stop) = connected(SHORT, LONG);
        ask(&mut stream).await;
        stream.write_all(&REQUEST[..8]).await.unwrap();
        assert!(is_closed(&mut stream).await, "a half request after a whole one");
        let (mut stream, _stop) = connected(LONG, LONG);
        stream.write_all(&REQUEST[..8]).await.unwrap();
        assert!(!is_closed(&mut stream).await);
    }

    #[tokio::test]
    async fn answers_close_connections_before_the_end() {
        let (mut stream, (stop, _graceful)) = connected(LONG, LONG);
        assert!(!ask(&mut stream).await.contains("connection: close"));
        stop.cancel();
        assert!(ask(&mut stream).await.contains("connection: close"));
        assert!(is_closed(&mut stream).await);
    }
}
