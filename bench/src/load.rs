//! A load generator over HTTP/2 and TLS: some connections, each with some streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::figures::percentile;

/// What a round measured.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// How a server is asked.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

/// Sends the body again and again for a while; every answer must be a 200 that contains `expected`.
pub(crate) async fn round(
    address: SocketAddr,
    ca: &[u8],
    body: &Bytes,
    expected: &'static str,
    shape: Shape,
    period: Duration,
) -> Result<Round> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let mut workers = Vec::new();
    for _ in 0..shape.connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = connector.connect(name, stream).await.context("TLS")?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        for _ in 0..shape.streams {
            workers.push(tokio::spawn(ask(sender.clone(), body.clone(), expected, period)));
        }
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await??);
    }
    let took = begin.elapsed();
    times.sort_unstable();
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_second = times.len() as f64 / took.as_secs_f64();
    Ok(Round {
        per_second,
        p50: percentile(&times, 50),
        p99: percentile(&times, 99),
    })
}

async fn ask(
    mut sender: http2::SendRequest<Full<Bytes>>,
    body: Bytes,
    expected: &'static str,
    period: Duration,
) -> Result<Vec<Duration>> {
    let end = Instant::now() + period;
    let mut times = Vec::new();
    while Instant::now() < end {
        let request = http::Request::post("https://127.0.0.1/validate?timeout=3s")
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(Full::new(body.clone()))?;
        let begin = Instant::now();
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        ensure!(response.status() == 200, "{}", response.status());
        let answer = response.into_body().collect().await?.to_bytes();
        times.push(begin.elapsed());
        ensure!(
            answer.windows(expected.len()).any(|it| it == expected.as_bytes()),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(times)
}
