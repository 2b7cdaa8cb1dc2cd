//! TenantPolicies: what a revision of one holds, which of them decide a request, and what becomes of what they say.
//!
//! - [`content`]: a spec becomes what a revision holds, with its digest; packs become their source.
//! - [`revision`]: what was stored becomes something that can be evaluated.
//! - [`trial`]: the tests that must pass before a revision may serve.
//! - [`report`]: what a webhook has loaded, serves and has counted.
//! - [`life`]: from revisions, approvals and what the webhooks report to which revision decides.
//! - [`orders`]: what a stored TenantPolicy tells the webhooks to do.
//! - [`judge`]: the policies' part of a decision.
//! - [`explain`]: why that part came out as it did.

pub mod content;
pub mod explain;
pub mod judge;
pub mod life;
pub mod orders;
pub mod pack;
pub mod report;
pub mod revision;
pub mod rollout;
pub mod schema;
pub mod served;
pub mod trial;

pub use content::{Content, SourceText};
pub use judge::{Differs, Judged, Moment, Ran, Said};
pub use revision::{Revision, StoredRevision};
pub use served::{Active, Candidate, Policies, Served};
