//! Any message at all: what is written is read, and nothing makes the reader panic.

use proptest::option;
use proptest::prelude::*;

use super::super::*;
use crate::wire::arbitrary;

pub(super) const KINDS: &[&str] = &[
    "job_request", "job_response", "job_assignment", "job_cancel", "job_cancelled", "job_status",
    "job_complete", "job_failed", "loaner_visit", "loaner_tunnel", "loaner_visit_response", "",
];
const FIELDS: &[&str] = &[
    "job_id", "job_type", "dataset_info", "config", "requirements", "accepted", "reason",
    "message", "estimated_start_time_sec", "estimated_duration_minutes", "worker_info",
    "initiate_connection", "status", "cleanup_complete", "progress", "details", "result",
    "transfer_method", "ready_for_download", "error", "tube",
];

fn any_message() -> impl Strategy<Value = PeerMessage> {
    let id = arbitrary::job_id;
    let maybe = arbitrary::maybe_text;
    let text = any::<String>;
    let object = || option::of(arbitrary::object().prop_map(Value::Object));
    let fraction = || (0_u16..=1024).prop_map(|part| f64::from(part) / 1024.0);
    let info =
        (fraction(), any::<u64>()).prop_map(|(gpu_utilization, available_memory_mb)| WorkerInfo {
            gpu_utilization,
            available_memory_mb,
        });
    let some = arbitrary::value().prop_filter("null counts as absent", |value| !value.is_null());
    prop_oneof![
        (id(), maybe(), object(), object(), object()).prop_map(
            |(job_id, job_type, dataset_info, config, requirements)| {
                PeerMessage::JobRequest(JobRequest {
                    job_id,
                    job_type,
                    dataset_info,
                    config,
                    requirements,
                })
            }
        ),
        (
            id(),
            any::<bool>(),
            maybe(),
            maybe(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
            option::of(info)
        )
            .prop_map(
                |(
                    job_id,
                    accepted,
                    reason,
                    message,
                    estimated_start_time_sec,
                    estimated_duration_minutes,
                    worker_info,
                )| {
                    PeerMessage::JobResponse(JobResponse {
                        job_id,
                        accepted,
                        reason,
                        message,
                        estimated_start_time_sec,
                        estimated_duration_minutes,
                        worker_info,
                    })
                }
            ),
        (id(), any::<bool>()).prop_map(|(job_id, initiate_connection)| {
            PeerMessage::JobAssignment {
                job_id,
                initiate_connection,
            }
        }),
        (id(), maybe()).prop_map(|(job_id, reason)| PeerMessage::JobCancel { job_id, reason }),
        (id(), id(), any::<bool>()).prop_map(|(job_id, status, cleanup_complete)| {
            PeerMessage::JobCancelled {
                job_id,
                status,
                cleanup_complete,
            }
        }),
        (id(), id(), fraction(), maybe(), option::of(some)).prop_map(
            |(job_id, status, progress, message, details)| {
                PeerMessage::JobStatus(JobStatus {
                    job_id,
                    status,
                    progress,
                    message,
                    details,
                })
            }
        ),
        (id(), id(), arbitrary::value(), text(), any::<bool>()).prop_map(
            |(job_id, status, result, transfer_method, ready_for_download)| {
                PeerMessage::JobComplete(JobComplete {
                    job_id,
                    status,
                    result,
                    transfer_method,
                    ready_for_download,
                })
            }
        ),
        (id(), id(), id(), text(), any::<bool>()).prop_map(
            |(job_id, status, code, message, recoverable)| {
                PeerMessage::JobFailed {
                    job_id,
                    status,
                    error: JobError {
                        code,
                        message,
                        recoverable,
                    },
                }
            }
        ),
        Just(PeerMessage::Visit {}),
        maybe().prop_map(|tube| PeerMessage::Tunnel { tube }),
        (any::<bool>(), maybe())
            .prop_map(|(accepted, reason)| PeerMessage::VisitResponse { accepted, reason }),
        "[A-Z]{0,9}".prop_map(|kind| PeerMessage::Unknown { kind }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in any_message()) {
        prop_assert_eq!(PeerMessage::parse(&message.to_value()), Ok(message.clone()));
        let text = message.to_value().to_string();
        prop_assert_eq!(PeerMessage::parse(&serde_json::from_str(&text).unwrap()), Ok(message));
    }

    #[test]
    fn no_value_makes_the_reader_panic(value in arbitrary::value()) {
        let _ = PeerMessage::parse(&value);
    }

    /// Messages that are almost right do not panic it either, nor do the questions one asks of a request.
    #[test]
    fn no_message_makes_the_reader_panic(value in arbitrary::almost("app_message_type", KINDS, FIELDS)) {
        if let Ok(read) = PeerMessage::parse(&value) {
            if let PeerMessage::JobRequest(request) = &read {
                let _ = (request.min_gpu_memory_mb(), request.model_type());
                prop_assert!(estimate_minutes(request) <= MAX_ESTIMATE_MINUTES);
            }
            prop_assert_eq!(PeerMessage::parse(&read.to_value()), Ok(read));
        }
    }
}
