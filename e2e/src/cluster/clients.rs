//! Clients of the cluster: its administrator, anyone by impersonation, and ServiceAccounts with real tokens.

use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
    config::AuthInfo,
};

use super::{
    Cluster,
    kubeconfig::{self, Credentials, Server},
};

/// A ServiceAccount's kubeconfig, and the token file that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountCredentials {
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
    /// The token, which whoever keeps the process running renews.
    pub token_file: PathBuf,
}

impl Cluster {
    /// A client of the administrator, who is a member of `system:masters`. It doesn't try again on errors.
    pub fn client(&self) -> Client {
        self.0.client.clone()
    }

    /// A client of someone else, by impersonation. The API server adds `system:authenticated`, and to a
    /// ServiceAccount without `groups` those of ServiceAccounts.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let mut config = self.0.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            (!groups.is_empty()).then(|| groups.iter().map(|it| (*it).to_owned()).collect());
        Client::try_from(config).context("make a client")
    }

    /// A kubeconfig of someone else, by impersonation, for programs that take one.
    pub fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let url = self.url();
        let certificates = &self.0.certificates;
        let server = Server {
            url: &url,
            ca: &certificates.ca,
        };
        let path = self.0.directory.join("pki").join(format!("as-{user}.kubeconfig"));
        let credentials = Credentials::Impersonation(&certificates.admin, user, groups);
        kubeconfig::write(&path, &server, user, credentials)?;
        Ok(path)
    }

    /// A client that shows a real token of a ServiceAccount, which is made if it doesn't exist.
    pub async fn client_as_service_account(&self, namespace: &str, name: &str) -> Result<Client> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        if accounts.get_opt(name).await?.is_none() {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            };
            let account = ServiceAccount {
                metadata,
                ..ServiceAccount::default()
            };
            accounts
                .create(&PostParams::default(), &account)
                .await
                .context("create the ServiceAccount")?;
        }
        let token = self.request_token(namespace, name, 3600, None).await?;
        let mut config = Config::new(self.url().parse().context("parse the API server's address")?);
        config.root_cert.clone_from(&self.0.config.root_cert);
        config.auth_info = AuthInfo {
            token: Some(token.into()),
            ..AuthInfo::default()
        };
        config.default_retry = false;
        Client::try_from(config).context("make a client")
    }

    /// Asks the TokenRequest API for a token, as a kubelet does.
    pub(crate) async fn request_token(
        &self,
        namespace: &str,
        service_account: &str,
        seconds: i64,
        bound_to: Option<BoundObjectReference>,
    ) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec {
            bound_object_ref: bound_to,
            expiration_seconds: Some(seconds),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec: Some(spec),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(service_account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("request a token of ServiceAccount {namespace}/{service_account}"))?;
        answer
            .status
            .and_then(|it| it.token)
            .context("the API server gave no token")
    }

    /// Writes a kubeconfig that reads its token from a file.
    pub(crate) fn write_kubeconfig(&self, user: &str, credentials: &ServiceAccountCredentials) -> Result<()> {
        let url = self.url();
        let server = Server {
            url: &url,
            ca: &self.0.certificates.ca,
        };
        kubeconfig::write(
            &credentials.kubeconfig,
            &server,
            user,
            Credentials::TokenFile(&credentials.token_file),
        )
    }
}
