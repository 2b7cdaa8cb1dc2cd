//! What the operator remembers about tenants' quotas. Nothing of it is needed to keep them: it decides when to look
//! again and who is served first.

mod demand;
mod motion;
mod pace;
mod writer;

pub(crate) use demand::{Demand, listen};
pub(crate) use motion::{Motions, SETTLE};
pub(crate) use pace::Pace;
pub(crate) use writer::Writer;
