//! The webhook's certificate, replaced without a restart.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Makes ring the provider of cryptography of this process.
///
/// # Errors
/// When another provider was installed before: two in one process are a mistake in the dependencies.
pub fn install_provider() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a provider of cryptography was installed twice"))
}

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A PEM that can't be read.
    #[error("tls.crt or tls.key is not PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The key is not the certificate's, or neither is usable.
    #[error("tls.crt and tls.key do not fit: {0}")]
    Mismatch(#[from] rustls::Error),
    /// A certificate that can't be parsed.
    #[error("tls.crt is not an X.509 certificate: {0}")]
    X509(String),
    /// It is not valid now.
    #[error("tls.crt is valid from {from} to {until} (Unix seconds), not at {now}")]
    Expired {
        /// Start, in Unix seconds.
        from: i64,
        /// End, in Unix seconds.
        until: i64,
        /// The time of the check.
        now: i64,
    },
}

/// A certificate chain and its key, read and checked.
#[derive(Clone, Debug)]
pub struct Leaf {
    key: Arc<CertifiedKey>,
    /// When it ends, in Unix seconds.
    pub not_after: i64,
}

impl Leaf {
    /// Reads PEM text and checks that key and certificate fit and are valid at `now` (Unix seconds).
    ///
    /// # Errors
    /// When they can't be used; the certificate in use then stays.
    pub fn from_pem(certificates: &[u8], key: &[u8], now: i64) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let first = chain
            .first()
            .ok_or_else(|| CertificateError::X509("no certificate".to_owned()))?;
        let (from, until) = validity(first)?;
        if now < from || now >= until {
            return Err(CertificateError::Expired { from, until, now });
        }
        let provider = CryptoProvider::get_default()
            .ok_or_else(|| CertificateError::X509("no provider of cryptography is installed".to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, provider)?;
        Ok(Self {
            key: Arc::new(key),
            not_after: until,
        })
    }
}

/// The time in which a certificate is valid, in Unix seconds: from, until.
///
/// # Errors
/// When it can't be parsed.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(i64, i64), CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| CertificateError::X509(error.to_string()))?;
    let validity = parsed.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// The certificate in use. Connections that are open keep theirs; new ones get the newest.
#[derive(Debug, Default)]
pub struct HotLeaf(ArcSwapOption<CertifiedKey>);

impl HotLeaf {
    /// Puts a certificate in use.
    pub fn set(&self, leaf: &Leaf) {
        self.0.store(Some(leaf.key.clone()));
    }
}

impl ResolvesServerCert for HotLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// The server's side of TLS: 1.2 and 1.3, HTTP/2 preferred.
///
/// # Errors
/// When the provider of cryptography lacks these versions.
pub fn server_config(leaf: Arc<HotLeaf>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(leaf);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
