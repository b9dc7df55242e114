//! What a worker says of itself.

use serde_json::json;

use crate::actors::availability::Published;
use crate::charts::JobId;
use crate::charts::availability::Status;
use crate::wire::{DRAINING, Metadata, Register, own};
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
    properties.insert(own::TUNNELS.to_owned(), json!(own::TUNNELS_VERSION));
    properties.extend(status_properties(published));
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
///
/// A worker that drains is busy for everybody who looks for one, whatever words they know; ours read more.
pub(super) fn status_properties(published: &Published) -> crate::wire::Properties {
    let job = published.job.as_ref().map(JobId::as_str);
    let (pending, current) = match published.status {
        Status::Available => (None, None),
        Status::Reserved => (job, None),
        Status::Busy => (None, job),
    };
    let mut properties = crate::wire::Properties::new();
    let status = if published.draining {
        properties.insert(DRAINING.to_owned(), json!(true));
        Status::Busy
    } else {
        published.status
    };
    properties.insert("status".to_owned(), json!(status.as_str()));
    properties.insert("pending_job_id".to_owned(), json!(pending));
    properties.insert("current_job_id".to_owned(), json!(current));
    properties
}

/// Why a package is turned away that is not the holder's.
pub(super) fn refusal(published: &Published) -> String {
    if published.draining {
        return "the worker takes no new jobs: it ends when the one that it has is over".to_owned();
    }
    let status = published.status.as_str();
    format!("the worker is {status} for somebody else")
}
