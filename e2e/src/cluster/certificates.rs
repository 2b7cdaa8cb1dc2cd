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

/// Files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateFiles {
    /// PEM of the certificate.
    pub(super) certificate: PathBuf,
    /// PEM of its private key.
    pub(super) key: PathBuf,
}

/// All files that the components are started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificates {
    /// PEM of the CA that signed all of them.
    pub(super) ca: PathBuf,
    /// What kube-apiserver serves with.
    pub(super) apiserver: CertificateFiles,
    /// What kube-apiserver shows to etcd, and etcd to kube-apiserver.
    pub(super) etcd: CertificateFiles,
    /// A member of `system:masters`.
    pub(super) admin: CertificateFiles,
    /// `system:kube-controller-manager`.
    pub(super) controller_manager: CertificateFiles,
    /// Signs ServiceAccount tokens.
    pub(super) service_account_key: PathBuf,
    /// Verifies them.
    pub(super) service_account_public_key: PathBuf,
}

/// Whom a certificate is for.
struct Subject<'a> {
    file: &'a str,
    common_name: &'a str,
    organization: Option<&'a str>,
    usages: &'a [ExtendedKeyUsagePurpose],
}

impl Certificates {
    /// Makes all of them in `directory`.
    pub(super) fn create(directory: &Path, service_address: Ipv4Addr) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let issuer = authority()?;
        let ca = directory.join("ca.crt");
        fs::write(&ca, issuer.pem())?;

        let client = [ExtendedKeyUsagePurpose::ClientAuth];
        let server = [ExtendedKeyUsagePurpose::ServerAuth];
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let issue = |file, common_name, organization, usages: &[_]| {
            let subject = Subject {
                file,
                common_name,
                organization,
                usages,
            };
            issue(directory, &issuer, &subject, service_address)
                .with_context(|| format!("make the certificate of {common_name}"))
        };
        let service_account = KeyPair::generate()?;
        let service_account_key = directory.join("service-account.key");
        let service_account_public_key = directory.join("service-account.pub");
        write_key(&service_account_key, &service_account)?;
        fs::write(&service_account_public_key, service_account.public_key_pem())?;
        Ok(Self {
            ca,
            apiserver: issue("apiserver", "kube-apiserver", None, &server)?,
            etcd: issue("etcd", "etcd", None, &both)?,
            admin: issue("admin", "admin", Some("system:masters"), &client)?,
            controller_manager: issue(
                "controller-manager",
                "system:kube-controller-manager",
                None,
                &client,
            )?,
            service_account_key,
            service_account_public_key,
        })
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

fn issue(
    directory: &Path,
    issuer: &CertifiedIssuer<'_, KeyPair>,
    subject: &Subject<'_>,
    service_address: Ipv4Addr,
) -> Result<CertificateFiles> {
    let mut params = params(&[Ipv4Addr::LOCALHOST, service_address])?;
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
    let files = CertificateFiles {
        certificate: directory.join(format!("{}.crt", subject.file)),
        key: directory.join(format!("{}.key", subject.file)),
    };
    fs::write(&files.certificate, certificate.pem())?;
    write_key(&files.key, &key)?;
    Ok(files)
}

fn params(addresses: &[Ipv4Addr]) -> Result<CertificateParams> {
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
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
