//! The end of a Tenant's part in a namespace that goes to another Tenant.
//!
//! The other one takes it when nobody has it on record. So it is forgotten last: when the API server itself says that nobody of
//! this tenant may enter any more.

use std::collections::BTreeMap;

use bailiwick_core::ownership::Claim;
use bailiwick_core::snapshot::{Snapshot, SubjectRef};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::ConditionType;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::carry_out::Done;
use crate::context::Context;
use crate::error::Error;

/// Forgets the namespaces that are handed over and hold no door of this tenant.
pub(super) async fn forget(
    tenant: &str,
    claims: &BTreeMap<String, Claim>,
    snapshot: &Snapshot,
    done: &mut Done,
    context: &Context,
) {
    for (namespace, claim) in claims {
        let Claim::HandOver { to } = claim else { continue };
        match left(tenant, namespace, snapshot, context).await {
            Ok(left) if left.is_empty() => {
                tracing::info!(tenant, namespace, to, "A Namespace is handed over");
                done.namespaces.retain(|it| it.name != *namespace);
            }
            Ok(left) => done.fail(
                ConditionType::AccessIsolated,
                Error::StillBound {
                    namespace: namespace.clone(),
                    bindings: left.join(", "),
                },
            ),
            Err(error) => done.fail(ConditionType::AccessIsolated, error),
        }
    }
}

/// The RoleBindings that the operator made, and those that name the tenant's people. ServiceAccounts of the namespace itself go
/// with it.
async fn left(
    tenant: &str,
    namespace: &str,
    snapshot: &Snapshot,
    context: &Context,
) -> Result<Vec<String>, Error> {
    let bindings: Api<RoleBinding> = Api::namespaced(context.client.clone(), namespace);
    let listed = bindings.list(&ListParams::default()).await;
    let listed = listed.map_err(Error::request("listing", format!("RoleBindings of {namespace}")))?;
    let enters = |binding: &RoleBinding| {
        let subjects = binding.subjects.iter().flatten();
        let subjects = subjects.map(|it| SubjectRef::from(it).within(namespace));
        let are_its_people = subjects
            .filter(|it| !(it.kind == "ServiceAccount" && it.namespace == namespace))
            .any(|it| snapshot.reaches(&it, tenant));
        binding.labels().contains_key(labels::MANAGED_BY) || are_its_people
    };
    let left = listed.items.into_iter().filter(enters);
    Ok(left.map(|it| it.name_any()).collect())
}
