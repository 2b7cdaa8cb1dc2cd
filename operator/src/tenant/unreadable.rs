//! A Tenant that can't be read whole: its people and namespaces stay its own, its objects stay as they are, and it
//! says what can't be read. Nobody but a person can help. Deleted, it takes access along as any other does; what is
//! to be deleted with it is decided by what can be read.

use std::collections::BTreeMap;

use bailiwick_core::ownership::{Claim, NamespaceFacts};
use bailiwick_core::stored::StoredTenant;

use super::carry_out::{Done, let_go, take_access};
use super::status;
use crate::context::Context;
use crate::error::Error;

/// One pass.
pub(super) async fn pass(
    stored: &StoredTenant,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
    context: &Context,
) -> Result<(), Error> {
    status::write_unreadable(stored, context).await?;
    if stored.tenant.metadata.deletion_timestamp.is_none() {
        let fields: Vec<&str> = stored.unreadable.iter().map(|it| it.field.as_str()).collect();
        return Err(Error::Unreadable(fields.join(", ")));
    }
    let mut done = Done::default();
    take_access(&stored.tenant, claims, facts, context, &mut done).await;
    match done.error {
        Some(error) => Err(error),
        None => let_go(&stored.tenant, context).await,
    }
}
