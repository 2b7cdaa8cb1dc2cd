//! A Service without a node: one address that passes TCP connections on to the replicas that are ready.
//!
//! As with kube-proxy, a connection stays with its replica until one side closes it, and with no replica ready
//! nobody listens: the connection is refused.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Duration, sleep},
};

/// Passes connections on until it is dropped.
pub struct Service {
    task: JoinHandle<()>,
}

impl Service {
    /// Listens on `address` whenever there are `endpoints`.
    pub fn start(address: SocketAddr, endpoints: watch::Receiver<Vec<SocketAddr>>) -> Self {
        Self {
            task: tokio::spawn(serve(address, endpoints)),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(address: SocketAddr, mut endpoints: watch::Receiver<Vec<SocketAddr>>) {
    // Ends when nobody can change the endpoints any more.
    while endpoints.wait_for(|it| !it.is_empty()).await.is_ok() {
        let Ok(listener) = TcpListener::bind(address).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut turn = 0_usize;
        loop {
            tokio::select! {
                connection = listener.accept() => {
                    let chosen = choose(&endpoints.borrow(), &mut turn);
                    if let (Ok((connection, _)), Some(endpoint)) = (connection, chosen) {
                        // It ends with the connection, whatever becomes of the endpoint's readiness.
                        tokio::spawn(pass(connection, endpoint));
                    }
                }
                changed = endpoints.changed() => {
                    if changed.is_err() || endpoints.borrow().is_empty() {
                        break;
                    }
                }
            }
        }
    }
}

fn choose(endpoints: &[SocketAddr], turn: &mut usize) -> Option<SocketAddr> {
    *turn = turn.wrapping_add(1);
    endpoints.get(*turn % endpoints.len().max(1)).copied()
}

async fn pass(mut client: TcpStream, endpoint: SocketAddr) -> Result<()> {
    let mut server = TcpStream::connect(endpoint)
        .await
        .with_context(|| format!("connect to {endpoint}"))?;
    // Requests are small and somebody waits for each.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{slot::HeldSlot, wait::eventually};

    /// A server that greets with its name.
    async fn greeter(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                connection.write_all(name.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn greeting(address: SocketAddr) -> Result<String> {
        let mut text = String::new();
        TcpStream::connect(address)
            .await?
            .read_to_string(&mut text)
            .await?;
        Ok(text)
    }

    #[tokio::test]
    async fn takes_turns_and_refuses_without_endpoints() {
        let held = HeldSlot::take().unwrap();
        let [port] = held.slot.ports().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (one, two) = (greeter("one").await, greeter("two").await);
        let (sender, endpoints) = watch::channel(Vec::new());
        let _service = Service::start(address, endpoints);
        assert!(greeting(address).await.is_err(), "refused without endpoints");

        sender.send(vec![one, two]).unwrap();
        let deadline = Duration::from_secs(5);
        eventually(deadline, "it listens", async || greeting(address).await)
            .await
            .unwrap();
        let mut greetings = vec![greeting(address).await.unwrap(), greeting(address).await.unwrap()];
        greetings.sort();
        assert_eq!(greetings, ["one", "two"]);

        sender.send(Vec::new()).unwrap();
        let refused = async || {
            if greeting(address).await.is_err() {
                Ok(())
            } else {
                anyhow::bail!("accepted")
            }
        };
        eventually(deadline, "it refuses", refused).await.unwrap();
    }
}
