//! What a worker says of itself.

use serde_json::json;

use crate::actors::availability::Published;
use crate::charts::JobId;
use crate::charts::availability::Status;
use crate::wire::{Metadata, Register};
use crate::worker::capabilities::{Capabilities, Reading};
use crate::worker::paths::IoPaths;

/// What the registration says of a worker (protocol page, 1.1); identity and room are the session's.
pub(super) fn register(
    capabilities: &Capabilities,
    paths: Option<&IoPaths>,
    published: &Published,
) -> Register {
    let mut properties = capabilities.properties();
    if let Some(paths) = paths {
        properties.insert("io_paths".to_owned(), paths.advertised());
    }
    properties.extend(status_properties(published.status, published.job.as_ref()));
    Register {
        peer_id: String::new(),
        room_id: String::new(),
        token: String::new(),
        id_token: String::new(),
        role: Some("worker".to_owned()),
        is_admin: None,
        metadata: Some(Metadata {
            tags: tags(),
            properties,
        }),
        notices: true,
    }
}

fn tags() -> Vec<String> {
    vec!["sleap-rtc".to_owned(), "training-worker".to_owned()]
}

/// An update of what the GPUs are doing. It has the tags too, which hubs of old forget otherwise: a worker that waits for
/// jobs must not vanish from searches because it got warmer.
pub(super) fn gpu_metadata(capabilities: &Capabilities, reading: &Reading) -> Metadata {
    Metadata {
        tags: tags(),
        properties: capabilities.gpu_properties(reading),
    }
}

/// The status as properties. A key that no longer holds is an explicit null: an update never removes one.
pub(super) fn status_properties(status: Status, job: Option<&JobId>) -> crate::wire::Properties {
    let job = job.map(JobId::as_str);
    let (pending, current) = match status {
        Status::Available => (None, None),
        Status::Reserved => (job, None),
        Status::Busy => (None, job),
    };
    let mut properties = crate::wire::Properties::new();
    properties.insert("status".to_owned(), json!(status.as_str()));
    properties.insert("pending_job_id".to_owned(), json!(pending));
    properties.insert("current_job_id".to_owned(), json!(current));
    properties
}
