//! `demo` (being written).
use crate::instance::Instance;
use anyhow::Result;
pub(crate) async fn demo(_: &Instance) -> Result<()> {
    Ok(())
}
