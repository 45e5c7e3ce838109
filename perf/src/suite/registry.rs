//! In-process fan-out: what the registry, and others of its kind, add to the channels they send into.

use crate::{row::Row, suite::Scale};

pub(crate) fn run(_: Scale) -> anyhow::Result<Vec<Row>> {
    Ok(Vec::new())
}
