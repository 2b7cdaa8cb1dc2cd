//! The client of the API server.

use std::time::Duration;

use http::Response;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::BoxError;
use tower::filter::FilterLayer;
use tower::util::MapResponseLayer;

use crate::lease::Fence;
use crate::strip::StripManagedFields;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration: in-cluster, or `KUBECONFIG`.
///
/// # Errors
/// When neither is there.
pub async fn config() -> anyhow::Result<Config> {
    let mut config = Config::infer().await.map_err(|error| {
        anyhow::anyhow!(
            "no way to the API server: {error}; run in a Pod with a ServiceAccount, or set KUBECONFIG"
        )
    })?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    Ok(config)
}

/// A client that drops `managedFields` from every answer before it is parsed: a tenant can nest them deeper
/// than any parser goes, which would end all lists of that kind.
///
/// # Errors
/// When the configuration's certificates can't be read.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    let strip = MapResponseLayer::new(|it: Response<_>| it.map(StripManagedFields::new));
    Ok(ClientBuilder::try_from(config)?.with_layer(&strip).build())
}

/// A client that writes only as long as the fence stands: a leader that was paused and lost its Lease finds out
/// before its next write, not after.
///
/// # Errors
/// When the configuration's certificates can't be read.
pub fn fenced_client(config: Config, fence: Fence) -> Result<Client, kube::Error> {
    let strip = MapResponseLayer::new(|it: Response<_>| it.map(StripManagedFields::new));
    let check = FilterLayer::new(move |request: http::Request<Body>| {
        if request.method() == http::Method::GET || fence.stands() {
            Ok(request)
        } else {
            Err(BoxError::from(
                "the Lease is lost: this replica may not write any more",
            ))
        }
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&strip)
        .with_layer(&check)
        .build())
}

/// A client that leaves answers as they are, for reading `managedFields`. It must not parse them whole.
///
/// # Errors
/// When the configuration's certificates can't be read.
pub fn raw_client(config: Config) -> Result<Client, kube::Error> {
    Client::try_from(config)
}
