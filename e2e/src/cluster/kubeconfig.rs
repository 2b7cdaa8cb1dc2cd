//! Writes kubeconfig files.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::certificates::CertificateFiles;

/// How the user of a kubeconfig shows who they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Credentials<'a> {
    /// A client certificate.
    Certificate(&'a CertificateFiles),
    /// A file with a bearer token, read again when it changes.
    TokenFile(&'a Path),
    /// A client certificate, for the sake of this user in these groups.
    Impersonation(&'a CertificateFiles, &'a str, &'a [&'a str]),
}

/// The API server that a kubeconfig points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server<'a> {
    /// For example `https://127.0.0.1:20040`.
    pub(super) url: &'a str,
    /// PEM of its CA.
    pub(super) ca: &'a Path,
}

/// Writes a kubeconfig with one context, whole or not at all.
pub(super) fn write(
    path: &Path,
    server: &Server<'_>,
    user: &str,
    credentials: Credentials<'_>,
) -> Result<()> {
    let credentials = match credentials {
        Credentials::Certificate(files) => {
            json!({ "client-certificate": files.certificate, "client-key": files.key })
        }
        Credentials::TokenFile(file) => json!({ "tokenFile": file }),
        Credentials::Impersonation(files, user, groups) => {
            json!({ "client-certificate": files.certificate, "client-key": files.key, "as": user, "as-groups": groups })
        }
    };
    let document = document(server, user, &credentials);
    // JSON is YAML, and every client reads it.
    let text = serde_json::to_string_pretty(&document).context("write a kubeconfig")?;
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, text).with_context(|| format!("write {}", unfinished.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("write {}", path.display()))
}

fn document(server: &Server<'_>, user: &str, credentials: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "bailiwick", "cluster": { "server": server.url, "certificate-authority": server.ca } }],
        "users": [{ "name": user, "user": credentials }],
        "contexts": [{ "name": "bailiwick", "context": { "cluster": "bailiwick", "user": user } }],
        "current-context": "bailiwick",
    })
}
