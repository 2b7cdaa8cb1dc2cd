//! The certificates of a control plane: one throwaway CA per cluster.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// The name of the node, where there is one.
pub(crate) const NODE: &str = "bailiwick-node";

/// Files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// PEM of the certificate.
    pub(crate) certificate: PathBuf,
    /// PEM of its private key.
    pub(crate) key: PathBuf,
}

/// All files that the components, and a node's, are started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// PEM of the CA that signed all of them.
    pub(crate) ca: PathBuf,
    /// What kube-apiserver serves with.
    pub(crate) apiserver: CertificateFiles,
    /// What kube-apiserver shows to etcd, and etcd to kube-apiserver.
    pub(crate) etcd: CertificateFiles,
    /// A member of `system:masters`.
    pub(crate) admin: CertificateFiles,
    /// `system:kube-controller-manager`.
    pub(crate) controller_manager: CertificateFiles,
    /// `system:kube-scheduler`.
    pub(crate) scheduler: CertificateFiles,
    /// `system:kube-proxy`.
    pub(crate) proxy: CertificateFiles,
    /// `system:node:NAME`, the one node.
    pub(crate) kubelet: CertificateFiles,
    /// What the kubelet serves with.
    pub(crate) kubelet_server: CertificateFiles,
    /// What kube-apiserver shows to the kubelet.
    pub(crate) kubelet_client: CertificateFiles,
    /// Signs ServiceAccount tokens.
    pub(crate) service_account_key: PathBuf,
    /// Verifies them.
    pub(crate) service_account_public_key: PathBuf,
}

/// Whom a certificate is for.
struct Subject<'a> {
    files: &'a CertificateFiles,
    common_name: &'a str,
    organization: Option<&'a str>,
    usages: &'a [ExtendedKeyUsagePurpose],
}

impl Certificates {
    /// Those of an earlier start of the same cluster, or new ones. Servers are named by `addresses`.
    pub(crate) fn in_directory(directory: &Path, addresses: &[Ipv4Addr]) -> Result<Self> {
        let marker = directory.join("addresses");
        let wanted = format!("{addresses:?}");
        if fs::read_to_string(&marker).is_ok_and(|it| it == wanted) {
            return Ok(Self::named(directory));
        }
        Self::create(directory, addresses)?;
        // Last: without it, all are made anew.
        fs::write(&marker, wanted).with_context(|| format!("write {}", marker.display()))?;
        Ok(Self::named(directory))
    }

    fn named(directory: &Path) -> Self {
        let files = |name: &str| CertificateFiles {
            certificate: directory.join(format!("{name}.crt")),
            key: directory.join(format!("{name}.key")),
        };
        Self {
            ca: directory.join("ca.crt"),
            apiserver: files("apiserver"),
            etcd: files("etcd"),
            admin: files("admin"),
            controller_manager: files("controller-manager"),
            scheduler: files("scheduler"),
            proxy: files("proxy"),
            kubelet: files("kubelet"),
            kubelet_server: files("kubelet-server"),
            kubelet_client: files("kubelet-client"),
            service_account_key: directory.join("service-account.key"),
            service_account_public_key: directory.join("service-account.pub"),
        }
    }

    fn create(directory: &Path, addresses: &[Ipv4Addr]) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let files = Self::named(directory);
        let issuer = authority()?;
        fs::write(&files.ca, issuer.pem())?;

        let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let server = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let both = [client.clone(), server.clone()].concat();
        let node = format!("system:node:{NODE}");
        let masters = Some("system:masters");
        for (files, common_name, organization, usages) in [
            (&files.apiserver, "kube-apiserver", None, &server),
            (&files.etcd, "etcd", None, &both),
            (&files.admin, "admin", masters, &client),
            (
                &files.controller_manager,
                "system:kube-controller-manager",
                None,
                &client,
            ),
            (&files.scheduler, "system:kube-scheduler", None, &client),
            (&files.proxy, "system:kube-proxy", None, &client),
            (&files.kubelet, &*node, Some("system:nodes"), &client),
            (&files.kubelet_server, NODE, None, &server),
            (
                &files.kubelet_client,
                "kube-apiserver-kubelet-client",
                masters,
                &client,
            ),
        ] {
            let subject = Subject {
                files,
                common_name,
                organization,
                usages,
            };
            issue(&issuer, &subject, addresses)
                .with_context(|| format!("make the certificate of {common_name}"))?;
        }
        let service_account = KeyPair::generate()?;
        write_key(&files.service_account_key, &service_account)?;
        fs::write(
            &files.service_account_public_key,
            service_account.public_key_pem(),
        )?;
        Ok(())
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = params(&[])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "bailiwick-dev");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("make the CA")
}

fn issue(issuer: &CertifiedIssuer<'_, KeyPair>, subject: &Subject<'_>, addresses: &[Ipv4Addr]) -> Result<()> {
    let mut params = params(addresses)?;
    params
        .distinguished_name
        .push(DnType::CommonName, subject.common_name);
    if let Some(organization) = subject.organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = subject.usages.to_vec();
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    fs::write(&subject.files.certificate, certificate.pem())?;
    write_key(&subject.files.key, &key)
}

fn params(addresses: &[Ipv4Addr]) -> Result<CertificateParams> {
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        NODE,
    ];
    let names = if addresses.is_empty() {
        Vec::new()
    } else {
        names.map(str::to_owned).to_vec()
    };
    let mut params = CertificateParams::new(names)?;
    params
        .subject_alt_names
        .extend(addresses.iter().map(|it| SanType::IpAddress(IpAddr::V4(*it))));
    let day = |days| -> Result<_> {
        let date = Timestamp::now()
            .to_zoned(TimeZone::UTC)
            .checked_add(Span::new().days(days))?
            .date();
        Ok(rcgen::date_time_ymd(
            date.year().into(),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        ))
    };
    params.not_before = day(-1)?;
    params.not_after = day(365)?;
    Ok(params)
}

fn write_key(path: &Path, key: &KeyPair) -> Result<()> {
    fs::write(path, key.serialize_pem()).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
