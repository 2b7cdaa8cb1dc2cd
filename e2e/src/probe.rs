//! The smallest HTTP client that can ask a process for `/readyz` and `/metrics`.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// An answer: the status code and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For example 200.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// `GET path` over plain HTTP, one connection per request.
pub async fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer> {
    timeout(limit, get_unbounded(address, path))
        .await
        .with_context(|| format!("no answer from http://{address}{path} within {limit:?}"))?
}

async fn get_unbounded(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connect to {address}"))?;
    // HTTP/1.0 makes the server close the connection after a body that isn't chunked.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    parse(&String::from_utf8_lossy(&bytes)).with_context(|| format!("ask http://{address}{path}"))
}

fn parse(text: &str) -> Result<Answer> {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!("not an HTTP answer: {text:?}")
    };
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let Some(status) = status else {
        bail!("not an HTTP answer: {head:?}")
    };
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_status_and_body() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno").unwrap();
        assert_eq!(
            answer,
            Answer {
                status: 503,
                body: "no".to_owned()
            }
        );
    }

    #[test]
    fn refuses_what_is_not_http() {
        assert!(parse("SSH-2.0-OpenSSH_9.2\r\n").is_err());
    }
}
