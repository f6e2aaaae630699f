//! What the console records of those who use it: every change, and every look at one person's history.
//!
//! The file and its lines are [`crate::evidence::audit`]'s.

use super::access::Viewer;
use super::answer::Failure;
use super::call::Call;
use crate::evidence::audit::{self, Change, Person};

/// Records that the viewer changed something: `what` in our words (`case.close`), `on` which thing, `details` what else there is to
/// say, such as the reason; may be empty. To be called once it was done.
pub(super) fn changed(call: &Call, what: &str, on: &str, details: &str) -> Result<(), Failure> {
    let by = call.viewer.as_ref().map(|viewer| Person { address: Some(call.client), ..person(viewer) });
    audit::changed(call.house.data_dir(), call.now, by.as_ref(), &Change { what, on, details })
        .map_err(failed)
}

/// As the audit knows a viewer.
pub(super) fn person(viewer: &Viewer) -> Person<'_> {
    Person { account: &viewer.name, role: viewer.role.as_str(), address: None }
}

/// The audit cannot be written or read.
pub(super) fn failed(source: std::io::Error) -> Failure {
    Failure::Files { what: "audit.jsonl", source }
}
