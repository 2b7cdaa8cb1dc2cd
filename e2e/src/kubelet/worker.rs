//! Keeps the process of one Pod running, as a kubelet would: starts it, probes it, starts it again, ends it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{authentication::v1::BoundObjectReference, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use tokio::{sync::watch, time::sleep};

use super::{
    Context,
    invocation::{Invocation, invocation},
    replica::{Orders, Replica, State},
};
use crate::{
    cluster::ServiceAccountCredentials,
    probe,
    supervisor::{Process, ProcessSpec},
};

const PROBE_INTERVAL: Duration = Duration::from_millis(200);
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// Between restarts; doubled each time. A kubelet begins with 10 s, which no test wants to wait for.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);
/// A process that ran this long starts again at once when it ends.
const STABLE: Duration = Duration::from_secs(10);
/// Life of a ServiceAccount token, as the kubelet asks for.
const TOKEN_SECONDS: i64 = 3607;
/// A token is renewed at this age.
const TOKEN_AGE: Duration = Duration::from_mins(48);

/// Runs until the Pod is gone.
pub(super) async fn run(context: &Context, replica: &Replica) {
    let mut worker = Worker {
        context,
        replica,
        orders: replica.0.orders.subscribe(),
        token_since: None,
    };
    worker.work().await;
    worker.remove_pod().await;
}

struct Worker<'a> {
    context: &'a Context,
    replica: &'a Replica,
    orders: watch::Receiver<Orders>,
    token_since: Option<Instant>,
}

impl Worker<'_> {
    async fn work(&mut self) {
        let mut delay = FIRST_DELAY;
        loop {
            let Ok(orders) = self
                .orders
                .wait_for(|it| !it.hold || it.end.is_some())
                .await
                .map(|it| *it)
            else {
                return;
            };
            if orders.end.is_some() {
                return;
            }
            let started = Instant::now();
            match self.start().await {
                Ok((process, invocation)) => {
                    self.update(|it| {
                        it.process = Some(process.clone());
                        it.problem = None;
                    });
                    if self.watch_over(&process, invocation.readiness.as_ref()).await == Outcome::Ended {
                        return;
                    }
                }
                Err(error) => self.update(|it| it.problem = Some(format!("{error:#}"))),
            }
            if started.elapsed() > STABLE {
                delay = FIRST_DELAY;
            }
            let ended = self.orders.clone();
            tokio::select! {
                () = sleep(delay) => {}
                () = end_or_hold(ended) => {}
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    async fn start(&mut self) -> Result<(Process, Invocation)> {
        let name = self.replica.name();
        let directory = self.context.cluster.directory().join("pods").join(&name);
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        self.renew_token().await?;
        let client = self.context.cluster.client();
        let mut invocation = invocation(&client, &self.replica.0.pod, self.replica.address()).await?;
        let kubeconfig = self.credentials().kubeconfig.display().to_string();
        invocation.environment.insert("KUBECONFIG".to_owned(), kubeconfig);
        let spec = ProcessSpec {
            name,
            program: self.program(&invocation.program)?,
            arguments: invocation.arguments.clone(),
            environment: std::mem::take(&mut invocation.environment),
            log: self.replica.log().to_owned(),
        };
        Ok((self.context.cluster.spawn(spec).await?, invocation))
    }

    /// The image holds `/NAME`; here it lies beside this program.
    fn program(&self, in_image: &str) -> Result<PathBuf> {
        let name = Path::new(in_image)
            .file_name()
            .with_context(|| format!("{in_image:?} isn't a program"))?;
        let program = self.context.programs.join(name);
        if !program.exists() {
            bail!(
                "the command is {in_image}, and there is no {}: build it with cargo",
                program.display()
            );
        }
        Ok(program)
    }

    /// Probes the process until it ends by itself or is ordered to.
    async fn watch_over(&mut self, process: &Process, readiness: Option<&(SocketAddr, String)>) -> Outcome {
        let mut ticks = tokio::time::interval(PROBE_INTERVAL);
        loop {
            let ended = self.orders.clone();
            tokio::select! {
                exit = process.wait() => {
                    self.update(|it| {
                        it.process = None;
                        it.ready = false;
                        it.last_exit = Some(exit);
                        it.restarts += 1;
                    });
                    return Outcome::Exited;
                }
                grace = end(ended) => {
                    // An error means that the supervisor is gone, and the process with it.
                    let exit = process.stop(grace).await.ok();
                    self.update(|it| {
                        it.process = None;
                        it.ready = false;
                        it.last_exit = exit;
                    });
                    return Outcome::Ended;
                }
                _ = ticks.tick() => {
                    let ready = match readiness {
                        Some((address, path)) => answers(*address, path).await,
                        None => true,
                    };
                    // The answer may have come from the process before it ended.
                    self.update(|it| it.ready = ready && process.exit().is_none());
                    // The old token is valid for a while yet: the next tick may have more luck.
                    let _ = self.renew_token().await;
                }
            }
        }
    }

    /// Asks for a token bound to the Pod and writes it where the kubeconfig looks for it, unless the last is young.
    async fn renew_token(&mut self) -> Result<()> {
        if self.token_since.is_some_and(|it| it.elapsed() < TOKEN_AGE) {
            return Ok(());
        }
        let pod = &self.replica.0.pod;
        let spec = pod.spec.as_ref().context("a Pod without spec")?;
        let account = spec.service_account_name.as_deref().unwrap_or("default");
        let bound_to = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        };
        let namespace = pod.namespace().unwrap_or_default();
        let cluster = &self.context.cluster;
        let token = cluster
            .request_token(&namespace, account, TOKEN_SECONDS, Some(bound_to))
            .await?;
        let credentials = self.credentials();
        let unfinished = credentials.token_file.with_extension("unfinished");
        fs::write(&unfinished, token)?;
        fs::rename(&unfinished, &credentials.token_file)?;
        cluster.write_kubeconfig(account, &credentials)?;
        self.token_since = Some(Instant::now());
        Ok(())
    }

    fn credentials(&self) -> ServiceAccountCredentials {
        let directory = self
            .context
            .cluster
            .directory()
            .join("pods")
            .join(self.replica.name());
        ServiceAccountCredentials {
            kubeconfig: directory.join("kubeconfig"),
            token_file: directory.join("token"),
        }
    }

    /// The last thing that a kubelet does for a Pod: deletes it without any more grace.
    async fn remove_pod(&self) {
        let pods: Api<Pod> = Api::namespaced(self.context.cluster.client(), &self.context.namespace);
        let preconditions = Preconditions {
            uid: self.replica.0.pod.metadata.uid.clone(),
            ..Preconditions::default()
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default().grace_period(0)
        };
        loop {
            match pods.delete(&self.replica.name(), &params).await {
                Ok(_) => return,
                // Gone already, or another Pod of the same name.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
                Err(_) => sleep(PROBE_INTERVAL).await,
            }
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        self.replica.0.state.send_modify(change);
        self.context.changed.send_modify(|count| *count += 1);
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    /// By itself.
    Exited,
    /// Because its Pod is being deleted.
    Ended,
}

async fn answers(address: SocketAddr, path: &str) -> bool {
    probe::get(address, path, PROBE_LIMIT)
        .await
        .is_ok_and(|it| (200..400).contains(&it.status))
}

/// Waits for the order to end.
async fn end(mut orders: watch::Receiver<Orders>) -> Duration {
    let orders = orders.wait_for(|it| it.end.is_some()).await;
    orders.ok().and_then(|it| it.end).unwrap_or_default()
}

/// Waits for any order other than to run.
async fn end_or_hold(mut orders: watch::Receiver<Orders>) {
    // An error means that nobody can order anything any more.
    let _ = orders.wait_for(|it| it.hold || it.end.is_some()).await;
}
