//! The mesh between workers (signalling-server.md, 2b): three frames of one pattern.

use serde_json::{Map, Value, json};

use super::engine::ConnId;
use super::frames::{Outcome, error, filled, quoted, truthy};
use super::table::{Now, Table};

/// How one of the mesh's frames is rebuilt, and what its failures say.
pub(super) struct Mesh {
    body: &'static str,
    delivered_as: &'static str,
    absent: fn(&str) -> Outcome,
    failed: Option<&'static str>,
}

/// Delivered as `mesh_offer`.
pub(super) const MESH_CONNECT: Mesh = Mesh {
    body: "offer",
    delivered_as: "mesh_offer",
    // This error alone has a reason and no message, as in the original.
    absent: |to| {
        Err(
            json!({"type": "error", "code": "PEER_NOT_FOUND", "reason": "peer_not_found", "target_peer_id": quoted(to)}),
        )
    },
    failed: Some("offer"),
};
/// Delivered as it is.
pub(super) const MESH_ANSWER: Mesh = Mesh {
    body: "answer",
    delivered_as: "mesh_answer",
    absent: |to| {
        Err(error(
            "PEER_NOT_FOUND",
            &format!("Target peer {} not found", quoted(to)),
        ))
    },
    failed: Some("answer"),
};
/// Delivered as it is; a missing target is met with silence.
pub(super) const ICE_CANDIDATE: Mesh = Mesh {
    body: "candidate",
    delivered_as: "ice_candidate",
    absent: |_| Ok(()),
    failed: None,
};

impl Table {
    /// The mesh's three frames, which are rebuilt from the sender's identity and one body.
    pub(super) fn mesh(
        &mut self,
        conn: ConnId,
        mut frame: Map<String, Value>,
        kind: &Mesh,
        now: Now,
    ) -> Outcome {
        let ids = (
            filled(&frame, "from_peer_id"),
            filled(&frame, "target_peer_id"),
        );
        let ((Some(from), Some(to)), true) = (ids, frame.get(kind.body).is_some_and(truthy)) else {
            let message = format!(
                "Missing required fields: from_peer_id, target_peer_id, {}",
                kind.body
            );
            return Err(error("INVALID_MESSAGE", &message));
        };
        let seat = self.speaker(conn, Some(from), "Sender not in any room")?;
        let to = to.to_owned();
        let Some(target) = self.target(&seat, &to) else {
            return (kind.absent)(&to);
        };
        let body = frame.remove(kind.body).unwrap_or_default();
        let message =
            json!({"type": kind.delivered_as, "from_peer_id": seat.peer, kind.body: body});
        if self.pass_on(&seat, &to, target, &message, now) {
            return Ok(());
        }
        match kind.failed {
            None => Ok(()),
            Some(what) => Err(error(
                "DELIVERY_FAILED",
                &format!("Failed to deliver mesh {what} to {}", quoted(&to)),
            )),
        }
    }
}
