//! Makes and reads certificates.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bailiwick_runtime::tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

use super::plan::{Authority, Change, Leaf, Lifetimes};

/// Certificates begin a little before they are made: clocks differ.
const BACKDATE: i64 = 300;

/// A CA and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ca {
    pub(super) certificate: String,
    pub(super) key: String,
    /// When it was made, in Unix seconds.
    pub(super) created: i64,
    /// When it ends, in Unix seconds.
    pub(super) not_after: i64,
}

impl Ca {
    /// Reads a CA; none when certificate or key can't be used.
    pub(super) fn read(certificate: String, key: String) -> Option<Self> {
        KeyPair::from_pem(&key).ok()?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let (from, not_after) = tls::validity(&der).ok()?;
        Some(Self {
            certificate,
            key,
            created: from + BACKDATE,
            not_after,
        })
    }

    fn make(lifetime: i64, now: i64) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = params(Vec::new(), lifetime, now)?;
        // The number tells generations of the CA apart: a verifier looks issuers up by name.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Bailiwick webhook CA {now}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Self::read(certificate, key.serialize_pem()).context("the new CA can't be read back")
    }
}

fn params(names: Vec<String>, lifetime: i64, now: i64) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = OffsetDateTime::from_unix_timestamp(now - BACKDATE)?;
    params.not_after = OffsetDateTime::from_unix_timestamp(now + lifetime)?;
    Ok(params)
}

impl Authority {
    /// The contents of its Secret.
    pub(super) fn to_data(&self) -> BTreeMap<String, Vec<u8>> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, value: &str| data.insert(key.to_owned(), value.as_bytes().to_vec());
        for (name, ca) in [("ca", &self.current), ("next", &self.next)] {
            if let Some(ca) = ca {
                put(&format!("{name}.crt"), &ca.certificate);
                put(&format!("{name}.key"), &ca.key);
            }
        }
        if let Some(previous) = &self.previous {
            put("previous.crt", previous);
            put("previous.until", &self.previous_until.to_string());
        }
        data
    }
}

/// The CA's Secret after a change.
pub(super) fn change(
    old: &Authority,
    change: Change,
    lifetimes: Lifetimes,
    now: i64,
) -> anyhow::Result<Authority> {
    let mut new = old.clone();
    match change {
        Change::Create => new.current = Some(Ca::make(lifetimes.ca, now)?),
        Change::CreateNext => new.next = Some(Ca::make(lifetimes.ca, now)?),
        Change::Promote => {
            if let Some(next) = new.next.take() {
                new.previous = new.current.replace(next).map(|it| it.certificate);
                new.previous_until = now + lifetimes.leaf;
            }
        }
        Change::DropPrevious => new.previous = None,
    }
    Ok(new)
}

/// The contents of the leaf's Secret: a new leaf, signed by the current CA.
pub(super) fn leaf(
    authority: &Authority,
    names: &[String],
    lifetimes: Lifetimes,
    now: i64,
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let ca = authority.current.as_ref().context("there is no CA")?;
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate()?;
    let lifetime = lifetimes.leaf.min(ca.not_after - now);
    let mut params = params(names.to_vec(), lifetime, now)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "bailiwick-webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(BTreeMap::from([
        ("tls.crt".to_owned(), certificate.pem().into_bytes()),
        ("tls.key".to_owned(), key.serialize_pem().into_bytes()),
        ("ca.crt".to_owned(), ca.certificate.clone().into_bytes()),
    ]))
}

/// Reads what matters of a leaf; none when it can't be used.
pub(super) fn read_leaf(certificate: &str, issuer: String) -> Option<Leaf> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let (_, not_after) = tls::validity(&der).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut names: Vec<String> = names
        .value
        .general_names
        .iter()
        .filter_map(|it| match it {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    names.sort();
    Some(Leaf {
        issuer,
        not_after,
        names,
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|it| std::net::Ipv6Addr::from(it).to_string())
}
