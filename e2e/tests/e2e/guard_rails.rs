//! Guard rails and tenants' own NetworkPolicies, asked for by the tenants' own people.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use kube::{Api, Client};
use serde_json::json;

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    requests::{Rights, Step, send},
    steps::tenant,
};

/// A tenant of this test, and its owner's client.
struct Home {
    name: String,
    namespace: String,
    owner: Client,
}

async fn home(cluster: &Cluster, stem: &str, more: &str) -> Result<Home> {
    let (name, namespace) = (unique(stem), unique(&format!("{stem}-ns")));
    ready_tenant(cluster, &tenant(&name, &[&namespace], more), SOON).await?;
    // Without it no Pod is admitted.
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), &namespace);
    eventually(SOON, "the ServiceAccount of Pods is there", async || {
        accounts.get("default").await.map(drop).map_err(Into::into)
    })
    .await?;
    let owner = cluster.client_as(&format!("{name}-owner"), &["system:authenticated"])?;
    Ok(Home {
        name,
        namespace,
        owner,
    })
}

/// An object of a kind, as flow YAML: `$NS` and `$T` are the tenant's own.
fn object(home: &Home, kind: &str, rest: &str) -> String {
    let group = match kind {
        "Ingress" | "NetworkPolicy" => "networking.k8s.io/v1",
        "HTTPRoute" => "gateway.networking.k8s.io/v1",
        _ => "v1",
    };
    let name = unique("x");
    let rest = rest.replace("$T", &home.name).replace("$NS", &home.namespace);
    let (annotations, spec) = rest.split_once(" | ").unwrap_or(("{}", &rest));
    format!(
        "{{ apiVersion: {group}, kind: {kind}, metadata: {{ name: {name}, namespace: {}, annotations: {annotations} }}, spec: {spec} }}",
        home.namespace
    )
}

/// The owner is refused the one by this rule, and may have the other.
async fn pair(home: &Home, (kind, rule, refused, allowed): (&str, &str, &str, &str)) -> Result<()> {
    let refused = object(home, kind, refused);
    objects::denied(objects::create(&home.owner, &refused).await, rule).with_context(|| refused.clone())?;
    let allowed = object(home, kind, allowed);
    objects::create(&home.owner, &allowed)
        .await
        .with_context(|| allowed.clone())?;
    Ok(())
}

type Pair = (&'static str, &'static str, &'static str, &'static str);

const RAILS: &str = "workloads: { registries: [ghcr.io/acme], storageClasses: [fast], priorityClasses: [], runtimeClasses: [], \
    ingressClasses: [inner], hostnames: ['*.$T.example'], tolerations: [{ key: pool, value: acme }], \
    services: { loadBalancer: false, nodePort: false, externalIPs: [203.0.113.0/28], externalNames: [db.example.com] } }";

/// What a tenant with guard rails is refused, and what comes closest to it and is not.
const GUARDED: [Pair; 17] = [
    (
        "Pod",
        "BW-IMAGE-REGISTRY",
        "{ containers: [{ name: c, image: nginx }] }",
        "{ containers: [{ name: c, image: ghcr.io/acme/web }] }",
    ),
    (
        "Pod",
        "BW-IMAGE-REGISTRY",
        "{ containers: [{ name: c, image: ghcr.io/acme/web }], initContainers: [{ name: i, image: 'ghcr.io/acme-evil/web:1' }] }",
        "{ containers: [{ name: c, image: GHCR.io/acme/web }], initContainers: [{ name: i, image: 'ghcr.io/acme/evil/web:1' }] }",
    ),
    (
        "Pod",
        "BW-IMAGE-REGISTRY",
        "{ containers: [{ name: c, image: ghcr.io/acme/web }], volumes: [{ name: v, image: { reference: 'ghcr.io:5000/acme/data' } }] }",
        "{ containers: [{ name: c, image: ghcr.io/acme/web }], volumes: [{ name: v, image: { reference: 'ghcr.io/acme/data' } }] }",
    ),
    (
        "Pod",
        "BW-POD-TOLERATION",
        "{ containers: [{ name: c, image: ghcr.io/acme/web }], tolerations: [{ key: pool, value: globex }] }",
        "{ containers: [{ name: c, image: ghcr.io/acme/web }], tolerations: [{ key: pool, value: acme, effect: NoSchedule }] }",
    ),
    (
        "PersistentVolumeClaim",
        "BW-STORAGE-CLASS",
        "{ storageClassName: slow, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }",
        "{ storageClassName: fast, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }",
    ),
    (
        "PersistentVolumeClaim",
        "BW-STORAGE-CLASS",
        "{ accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }",
        "{ storageClassName: fast, accessModes: [ReadWriteMany], resources: { requests: { storage: 1Gi } } }",
    ),
    (
        "Ingress",
        "BW-INGRESS-CLASS",
        "{ ingressClassName: outer, rules: [{ host: www.$T.example }] }",
        "{ ingressClassName: inner, rules: [{ host: www.$T.example }] }",
    ),
    (
        "Ingress",
        "BW-HOSTNAME",
        "{ ingressClassName: inner, rules: [{ host: www.x$T.example }] }",
        "{ ingressClassName: inner, rules: [{ host: '*.www.$T.example' }] }",
    ),
    (
        "Ingress",
        "BW-HOSTNAME",
        "{ ingressClassName: inner, defaultBackend: { service: { name: s, port: { number: 80 } } } }",
        "{ ingressClassName: inner, rules: [{ host: a.$T.example }], tls: [{ hosts: [a.$T.example] }] }",
    ),
    (
        "Ingress",
        "BW-HOSTNAME",
        "{ nginx.ingress.kubernetes.io/server-alias: shop.example } | { ingressClassName: inner, rules: [{ host: b.$T.example }] }",
        "{ nginx.ingress.kubernetes.io/server-alias: c.$T.example } | { ingressClassName: inner, rules: [{ host: b.$T.example }] }",
    ),
    (
        "HTTPRoute",
        "BW-HOSTNAME",
        "{ hostnames: [shop.example] }",
        "{ hostnames: [shop.$T.example] }",
    ),
    (
        "HTTPRoute",
        "BW-HOSTNAME",
        "{ hostnames: [] }",
        "{ hostnames: ['*.$T.example'] }",
    ),
    (
        "Service",
        "BW-SERVICE-TYPE",
        "{ type: LoadBalancer, ports: [{ port: 80 }] }",
        "{ type: ClusterIP, ports: [{ port: 80 }] }",
    ),
    (
        "Service",
        "BW-SERVICE-TYPE",
        "{ type: NodePort, ports: [{ port: 80 }] }",
        "{ clusterIP: None, ports: [{ port: 80 }] }",
    ),
    (
        "Service",
        "BW-SERVICE-EXTERNAL-IP",
        "{ ports: [{ port: 80 }], externalIPs: [203.0.113.16] }",
        "{ ports: [{ port: 80 }], externalIPs: [203.0.113.15] }",
    ),
    (
        "Service",
        "BW-SERVICE-EXTERNAL-NAME",
        "{ type: ExternalName, externalName: db.globex.svc.cluster.local }",
        "{ type: ExternalName, externalName: db.example.com }",
    ),
    (
        "Service",
        "BW-HOSTNAME",
        "{ external-dns.alpha.kubernetes.io/hostname: shop.example } | { ports: [{ port: 80 }] }",
        "{ external-dns.alpha.kubernetes.io/hostname: shop.$T.example } | { ports: [{ port: 80 }] }",
    ),
];

/// What every tenant is refused, and what comes closest to it and is not.
const PLAIN: [Pair; 12] = [
    (
        "Pod",
        "BW-POD-NODENAME",
        "{ containers: [{ name: c, image: nginx }], nodeName: node-1 }",
        "{ containers: [{ name: c, image: nginx }], nodeSelector: { kubernetes.io/hostname: node-1 } }",
    ),
    (
        "Pod",
        "BW-POD-TOLERATION",
        "{ containers: [{ name: c, image: nginx }], tolerations: [{ operator: Exists }] }",
        "{ containers: [{ name: c, image: nginx }], tolerations: [{ key: pool, operator: Exists }] }",
    ),
    (
        "Pod",
        "BW-PRIORITY-CLASS",
        "{ containers: [{ name: c, image: nginx }], priorityClassName: system-node-critical }",
        "{ containers: [{ name: c, image: nginx }] }",
    ),
    (
        "PersistentVolumeClaim",
        "BW-PVC-VOLUME",
        "{ volumeName: pv-1, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }",
        "{ storageClassName: any, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }",
    ),
    (
        "Service",
        "BW-SERVICE-EXTERNAL-IP",
        "{ ports: [{ port: 80 }], externalIPs: [198.51.100.7] }",
        "{ type: NodePort, ports: [{ port: 80 }] }",
    ),
    (
        "Service",
        "BW-SERVICE-EXTERNAL-NAME",
        "{ type: ExternalName, externalName: db.example.com }",
        "{ type: LoadBalancer, ports: [{ port: 80 }] }",
    ),
    (
        "NetworkPolicy",
        "BW-NP-OPEN",
        "{ podSelector: {}, policyTypes: [Ingress], ingress: [{}] }",
        "{ podSelector: {}, policyTypes: [Ingress, Egress] }",
    ),
    (
        "NetworkPolicy",
        "BW-NP-OPEN",
        "{ podSelector: {}, ingress: [{ from: [{ podSelector: {} }, { namespaceSelector: {} }] }] }",
        "{ podSelector: {}, ingress: [{ from: [{ podSelector: {} }, { namespaceSelector: { matchLabels: { bailiwick.dev/tenant: $T } } }] }] }",
    ),
    (
        "NetworkPolicy",
        "BW-NP-OPEN",
        "{ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchExpressions: [{ key: bailiwick.dev/tenant, operator: NotIn, values: [other] }] } }] }] }",
        "{ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [$NS] }] } }] }] }",
    ),
    (
        "NetworkPolicy",
        "BW-NP-OPEN",
        "{ podSelector: {}, policyTypes: [Egress], egress: [{ to: [{ ipBlock: { cidr: 0.0.0.0/0, except: [10.0.0.0/8] } }] }] }",
        "{ podSelector: {}, policyTypes: [Egress], egress: [{ to: [{ ipBlock: { cidr: 192.0.2.0/25 } }] }] }",
    ),
    (
        "NetworkPolicy",
        "BW-NP-OPEN",
        "{ podSelector: {}, policyTypes: [Egress], egress: [{ ports: [{ port: 53, protocol: UDP }] }] }",
        "{ podSelector: {}, policyTypes: [Egress], egress: [{ ports: [{ port: 53, protocol: UDP }], to: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: kube-system } }, podSelector: { matchLabels: { k8s-app: kube-dns } } }] }] }",
    ),
    (
        "NetworkPolicy",
        "BW-NP-OPEN",
        "{ podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 192.0.2.0/24 } }] }] }",
        "{ podSelector: {}, ingress: [{ from: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: ingress-nginx } } }] }] }",
    ),
];

/// HTTPRoute as far as this test needs it; the Gateway API is not part of Kubernetes.
const ROUTES: &str = "{ apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, \
    metadata: { name: httproutes.gateway.networking.k8s.io, annotations: { api-approved.kubernetes.io: 'unapproved, a test' } }, \
    spec: { group: gateway.networking.k8s.io, scope: Namespaced, names: { kind: HTTPRoute, plural: httproutes, singular: httproute }, \
    versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }] } }";

#[test]
fn guard_rails_hold_for_a_tenants_own_people() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        objects::apply(&client, ROUTES).await?;
        // Granted by name, so the Tenant has to be known first.
        let mut home = home(cluster, "rails", "").await?;
        let more = RAILS.replace("$T", &home.name);
        ready_tenant(cluster, &tenant(&home.name, &[&home.namespace], &more), SOON).await?;
        // Tenants have no rights on routes: their platform gives them.
        home.owner = cluster.client_as(
            &format!("{}-owner", home.name),
            &["system:authenticated", "system:masters"],
        )?;
        eventually(SOON, "routes are served and judged", async || {
            let route = object(&home, "HTTPRoute", "{ hostnames: [shop.example] }");
            objects::denied(objects::create(&home.owner, &route).await, "BW-HOSTNAME").map(drop)
        })
        .await?;
        for case in GUARDED {
            pair(&home, case).await?;
        }
        Ok(())
    })
}

#[test]
fn isolation_asks_for_some_of_it_anyway() -> Result<()> {
    on_shared_cluster(async |installed| {
        let network =
            "network: { ingress: { fromNamespaces: [ingress-nginx] }, egress: { toCIDRs: [192.0.2.0/24] } }";
        let home = home(&installed.cluster, "plain", network).await?;
        for case in PLAIN {
            pair(&home, case).await?;
        }
        Ok(())
    })
}

#[test]
fn a_debug_container_comes_from_the_same_registries() -> Result<()> {
    on_shared_cluster(async |installed| {
        let home = home(
            &installed.cluster,
            "debug",
            "workloads: { registries: [ghcr.io/acme] }",
        )
        .await?;
        let pod = object(
            &home,
            "Pod",
            "{ containers: [{ name: c, image: ghcr.io/acme/web }] }",
        );
        let pod = objects::create(&home.owner, &pod).await?.remove(0);
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            home.namespace,
            pod.metadata.name.unwrap_or_default()
        );
        let debug = |name: &str, image: &str| Step {
            user: String::new(),
            groups: Vec::new(),
            verb: "strategic".to_owned(),
            path: format!("{path}/ephemeralcontainers"),
            body: json!({ "spec": { "ephemeralContainers": [{ "name": name, "image": image }] } }),
            rights: Rights::All,
        };
        let refused = send(home.owner.clone(), &debug("a", "busybox"), "").await?;
        objects::denied(refused, "BW-IMAGE-REGISTRY")?;
        send(home.owner.clone(), &debug("b", "ghcr.io/acme/busybox"), "").await??;
        let image = |image: &str| Step {
            path: path.clone(),
            body: json!({ "spec": { "containers": [{ "name": "c", "image": image }] } }),
            ..debug("", "")
        };
        objects::denied(
            send(home.owner.clone(), &image("nginx"), "").await?,
            "BW-IMAGE-REGISTRY",
        )?;
        send(home.owner.clone(), &image("ghcr.io/acme/web:2"), "").await??;
        Ok(())
    })
}

#[test]
fn a_controller_of_pods_is_warned_of_what_its_pods_will_meet() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let home = home(cluster, "warned", "workloads: { registries: [ghcr.io/acme] }").await?;
        let user = format!("{}-owner", home.name);
        for (image, warned) in [("nginx", true), ("ghcr.io/acme/web", false)] {
            let name = unique("web");
            let deployment = format!(
                "{{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: {name}, namespace: {} }}, spec: {{ selector: {{ matchLabels: {{ a: b }} }}, template: {{ metadata: {{ labels: {{ a: b }} }}, spec: {{ containers: [{{ name: c, image: {image} }}] }} }} }} }}",
                home.namespace
            );
            let output = cluster
                .kubectl_with_input(&["create", "-f", "-", "--as", &user], &deployment)
                .await?;
            let warning = "Warning: BW-IMAGE-REGISTRY: spec.template.spec.containers[0].image: 'nginx'";
            ensure!(
                output.stderr.contains(warning) == warned,
                "{image}: {}",
                output.stderr
            );
            output.ok()?;
        }
        Ok(())
    })
}

#[test]
fn a_volume_that_the_platform_gives_is_bound() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let home = home(cluster, "bound", "").await?;
        let volume = unique("pv");
        let size = "accessModes: [ReadWriteOnce], storageClassName: ''";
        objects::create(
            &cluster.client(),
            &format!(
                "{{ apiVersion: v1, kind: PersistentVolume, metadata: {{ name: {volume} }}, spec: {{ {size}, capacity: {{ storage: 1Gi }}, hostPath: {{ path: /nowhere }}, claimRef: {{ namespace: {}, name: data }} }} }}",
                home.namespace
            ),
        )
        .await?;
        let claim = format!(
            "{{ apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{ name: data, namespace: {} }}, spec: {{ {size}, resources: {{ requests: {{ storage: 1Gi }} }} }} }}",
            home.namespace
        );
        objects::create(&home.owner, &claim).await?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), &home.namespace);
        eventually(SOON, "the claim is bound", async || {
            let bound = claims.get("data").await?.spec.and_then(|it| it.volume_name);
            ensure!(bound.as_ref() == Some(&volume), "{bound:?}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_hostname_is_granted_once_and_served_by_nobody_else() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let domain = format!("{}.example.org", unique("granted"));
        let grant = |names: &str| format!("workloads: {{ hostnames: [{names}] }}");
        home(cluster, "granted", &grant(&format!("'*.{domain}'"))).await?;
        let other = home(cluster, "envious", "").await?;
        let ingress = |host: &str| object(&other, "Ingress", &format!("{{ rules: [{{ host: '{host}' }}] }}"));
        for host in [
            format!("www.{domain}"),
            format!("*.{domain}"),
            "*.example.org".to_owned(),
            String::new(),
        ] {
            let mut ingress = ingress(&host);
            if host.is_empty() {
                ingress = object(
                    &other,
                    "Ingress",
                    "{ defaultBackend: { service: { name: s, port: { number: 80 } } } }",
                );
            }
            objects::denied(objects::create(&other.owner, &ingress).await, "BW-HOSTNAME")
                .with_context(|| host.clone())?;
        }
        objects::create(&other.owner, &ingress(&domain)).await?;
        for (names, rule) in [
            (format!("shop.{domain}"), "BW-TENANT-HOSTNAME"),
            (format!("'*.{domain}'"), "BW-TENANT-HOSTNAME"),
            ("'*.example.org'".to_owned(), "BW-TENANT-HOSTNAME"),
        ] {
            let rival = tenant(&unique("rival"), &[], &grant(&names));
            objects::denied(objects::create(&client, &rival).await, rule).with_context(|| names.clone())?;
        }
        objects::create(&client, &tenant(&unique("rival"), &[], &grant(&domain))).await?;
        Ok(())
    })
}

#[test]
fn the_schema_refuses_what_means_nothing() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        for workloads in [
            "registries: [acme/]",
            "registries: ['https://ghcr.io']",
            "registries: [GHCR.io/Acme]",
            "hostnames: ['*.com']",
            "hostnames: ['*']",
            "storageClasses: [Fast]",
            "priorityClasses: [system-node-critical]",
            "tolerations: [{ key: '' }]",
            "tolerations: [{ key: a, effect: Never }]",
            "services: { externalIPs: [0.0.0.0/0] }",
            "services: { externalIPs: [x] }",
            "services: { externalNames: [db] }",
        ] {
            let name = unique("senseless");
            let written = tenant(&name, &[], &format!("workloads: {{ {workloads} }}"));
            let error = objects::create(&client, &written)
                .await
                .err()
                .context(workloads)?;
            let code = match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) => status.code,
                _ => 0,
            };
            ensure!(code == 422, "{workloads}: {error:#}");
        }
        let all = "registries: ['[fd00::1]:5000/a', 'localhost:5000', ghcr.io/acme/], hostnames: [], services: { externalIPs: ['2001:db8::/32'], externalNames: ['*'] }";
        objects::create(
            &client,
            &tenant(&unique("sensible"), &[], &format!("workloads: {{ {all} }}")),
        )
        .await?;
        Ok(())
    })
}
