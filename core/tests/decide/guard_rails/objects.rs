//! Services and PersistentVolumeClaims.

use super::{create, object, rails, update};
use crate::cluster::{Ask, PASS, check_in};

#[test]
fn external_addresses_are_denied_unless_listed() {
    let service = |addresses: &str| format!("{{externalIPs: [{addresses}]}}");
    let refused = "BW-SERVICE-EXTERNAL-IP spec.externalIPs[0]";
    let list = "{services: {externalIPs: [198.51.100.7, 203.0.113.0/28, '2001:db8::/64']}}";
    for (address, listed) in [
        ("198.51.100.7", PASS),
        ("203.0.113.15", PASS),
        ("'2001:db8::1'", PASS),
        ("198.51.100.8", refused),
        ("203.0.113.16", refused),
        ("10.96.0.1", refused),
        ("'::ffff:198.51.100.7'", refused),
        ("x", refused),
    ] {
        create(list, "services", &service(address), listed);
        for workloads in ["{}", "{services: {}}", "{services: {externalIPs: []}}"] {
            create(workloads, "services", &service(address), refused);
        }
    }
    create("{}", "services", &service(""), PASS);
    create("{}", "services", "{externalIPs: null}", PASS);
    create(
        "{}",
        "services",
        "{clusterIP: 10.96.0.7, ports: [{port: 80}]}",
        PASS,
    );
    update(
        "{}",
        "services",
        &service("10.0.0.1"),
        &service("10.0.0.1, 10.0.0.2"),
        "BW-SERVICE-EXTERNAL-IP spec.externalIPs[1]",
    );
    update(
        "{}",
        "services",
        &service("10.0.0.1, 10.0.0.2"),
        &service("10.0.0.2"),
        PASS,
    );
}

#[test]
fn external_names_are_denied_unless_listed() {
    let service = |name: &str| format!("{{type: ExternalName, externalName: '{name}'}}");
    let refused = "BW-SERVICE-EXTERNAL-NAME spec.externalName";
    let list = "{services: {externalNames: [db.acme.example, '*.rds.example']}}";
    for (name, listed) in [
        ("db.acme.example", PASS),
        ("db.acme.example.", PASS),
        ("DB.acme.example", PASS),
        ("a.b.rds.example", PASS),
        ("rds.example", refused),
        ("db.globex-prod.svc.cluster.local", refused),
        ("db.globex-prod", refused),
        ("169.254.169.254", refused),
        ("xdb.acme.example", refused),
        ("", refused),
    ] {
        create(list, "services", &service(name), listed);
        create(
            "{services: {externalNames: ['*']}}",
            "services",
            &service(name),
            PASS,
        );
        for workloads in ["{}", "{services: {}}", "{services: {externalNames: []}}"] {
            create(workloads, "services", &service(name), refused);
        }
    }
    create(
        "{}",
        "services",
        "{type: ClusterIP, externalName: x.example}",
        PASS,
    );
    update(
        "{}",
        "services",
        "{type: ClusterIP}",
        &service("x.example"),
        refused,
    );
    update(
        "{}",
        "services",
        &service("x.example"),
        &service("y.example"),
        refused,
    );
}

#[test]
fn services_are_reached_from_outside_as_the_tenant_says() {
    let refused = "BW-SERVICE-TYPE spec.type";
    for (workloads, balancer, port) in [
        ("{}", PASS, PASS),
        ("{services: {}}", PASS, PASS),
        ("{services: {loadBalancer: true, nodePort: true}}", PASS, PASS),
        ("{services: {loadBalancer: false}}", refused, PASS),
        (
            "{services: {nodePort: false}}",
            "BW-SERVICE-TYPE spec.allocateLoadBalancerNodePorts",
            refused,
        ),
        (
            "{services: {loadBalancer: false, nodePort: false}}",
            refused,
            refused,
        ),
    ] {
        create(workloads, "services", "{type: LoadBalancer}", balancer);
        create(workloads, "services", "{type: NodePort}", port);
        create(workloads, "services", "{type: ClusterIP}", PASS);
        create(workloads, "services", "{}", PASS);
        update(
            workloads,
            "services",
            "{type: ClusterIP}",
            "{type: NodePort}",
            port,
        );
    }
    // A load balancer opens node ports, too, unless it says that it needs none.
    let no_ports = "{services: {nodePort: false}}";
    for (ports, expected) in [
        ("[{port: 80}]", PASS),
        ("[{port: 80, nodePort: 0}]", PASS),
        ("null", PASS),
        (
            "[{port: 80}, {port: 81, nodePort: 30080}]",
            "BW-SERVICE-TYPE spec.ports[1].nodePort",
        ),
    ] {
        let spec = format!("{{type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: {ports}}}");
        create(no_ports, "services", &spec, expected);
        create("{services: {loadBalancer: true}}", "services", &spec, PASS);
    }
}

#[test]
fn with_a_list_a_claim_names_its_class() {
    let claim = |class: &str| format!("{{storageClassName: {class}}}");
    let refused = "BW-STORAGE-CLASS spec.storageClassName";
    for (workloads, none, fast, slow) in [
        ("{}", PASS, PASS, PASS),
        ("{storageClasses: []}", refused, refused, refused),
        ("{storageClasses: [fast]}", refused, PASS, refused),
    ] {
        create(workloads, "persistentvolumeclaims", "{}", none);
        create(workloads, "persistentvolumeclaims", &claim("null"), none);
        create(workloads, "persistentvolumeclaims", &claim("''"), none);
        create(workloads, "persistentvolumeclaims", &claim("fast"), fast);
        create(workloads, "persistentvolumeclaims", &claim("slow"), slow);
    }
    // The annotation comes first for who provisions.
    let both = "{metadata: {name: c, annotations: {volume.beta.kubernetes.io/storage-class: slow}}, spec: {storageClassName: fast}}";
    check_in(
        &rails("{storageClasses: [fast]}"),
        &Ask::create("persistentvolumeclaims", both).within("acme-prod"),
        "BW-STORAGE-CLASS metadata.annotations['volume.beta.kubernetes.io/storage-class']",
    );
    // A default that comes later.
    update(
        "{storageClasses: [fast]}",
        "persistentvolumeclaims",
        "{}",
        &claim("slow"),
        refused,
    );
    update(
        "{storageClasses: [fast]}",
        "persistentvolumeclaims",
        "{}",
        &claim("fast"),
        PASS,
    );
}

#[test]
fn nobody_but_the_binder_names_a_volume() {
    let refused = "BW-PVC-VOLUME spec.volumeName";
    create("{}", "persistentvolumeclaims", "{volumeName: pv-1}", refused);
    create("{}", "persistentvolumeclaims", "{volumeName: ''}", PASS);
    let bind = Ask::update(
        "persistentvolumeclaims",
        &object("{}"),
        &object("{volumeName: pv-1}"),
    )
    .within("acme-prod");
    let make = Ask::create("persistentvolumeclaims", &object("{volumeName: pv-1}")).within("acme-prod");
    for (user, bound) in [
        ("alice", refused),
        (
            "system:serviceaccount:kube-system:statefulset-controller",
            refused,
        ),
        (
            "system:serviceaccount:acme-prod:persistent-volume-binder",
            refused,
        ),
        ("system:serviceaccount:kube-system:persistent-volume-binder", PASS),
        ("system:kube-controller-manager", PASS),
    ] {
        check_in(&rails("{}"), &bind.clone().by(user), bound);
        check_in(&rails("{}"), &make.clone().by(user), refused);
    }
    update(
        "{}",
        "persistentvolumeclaims",
        "{volumeName: pv-1}",
        "{volumeName: pv-2}",
        refused,
    );
}

#[test]
fn data_comes_from_the_tenants_own_namespaces() {
    let refused = "BW-PVC-SOURCE spec.dataSourceRef.namespace";
    let claim = |namespace: &str| {
        format!("{{dataSourceRef: {{kind: PersistentVolumeClaim, name: data, namespace: {namespace}}}}}")
    };
    for (namespace, expected) in [
        ("acme-prod", PASS),
        ("acme-dev", PASS),
        ("null", PASS),
        ("''", PASS),
        ("globex-prod", refused),
        ("kube-system", refused),
        ("unseen", refused),
    ] {
        let ask = Ask::create("persistentvolumeclaims", &object(&claim(namespace))).within("acme-prod");
        check_in(&rails("{}"), &ask, expected);
    }
    create(
        "{}",
        "persistentvolumeclaims",
        "{dataSource: {kind: PersistentVolumeClaim, name: data}}",
        PASS,
    );
}
