#![allow(clippy::unwrap_used)]

mod any;

use any::KINDS;

use super::*;

/// Writes exactly `value`, and reads it back.
fn is_written_as(message: &PeerMessage, value: Value) {
    assert_eq!(message.to_value(), value);
    assert_eq!(PeerMessage::parse(&value).as_ref(), Ok(message));
}

fn request(value: Value) -> JobRequest {
    let mut message = json!({"app_message_type": "job_request", "job_id": "j1"});
    message
        .as_object_mut()
        .unwrap()
        .extend(value.as_object().unwrap().clone());
    match PeerMessage::parse(&message) {
        Ok(PeerMessage::JobRequest(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_read_and_written_as_the_page_has_it() {
    let value = json!({"app_message_type": "job_request", "job_id": "5d0c", "job_type": "training",
        "dataset_info": {"format": "slp", "path": "/local/path.zip", "estimated_size_mb": 12.5, "frame_count": 1000},
        "config": {"model_type": "centroid", "epochs": 100}, "requirements": {"min_gpu_memory_mb": 8000}});
    let message = PeerMessage::parse(&value).unwrap();
    is_written_as(&message, value);
    let PeerMessage::JobRequest(request) = message else {
        panic!("{message:?}")
    };
    assert_eq!(request.min_gpu_memory_mb(), Ok(8000));
    assert_eq!(request.model_type(), Some("centroid"));
    assert_eq!(
        (request.epochs(), request.frame_count()),
        (Some(100), Some(1000))
    );

    let bare = JobRequest {
        job_id: "j1".into(),
        ..JobRequest::default()
    };
    is_written_as(
        &PeerMessage::JobRequest(bare.clone()),
        json!({"app_message_type": "job_request", "job_id": "j1"}),
    );
    assert_eq!(bare.min_gpu_memory_mb(), Ok(0));
    assert_eq!(
        (bare.model_type(), bare.epochs(), bare.frame_count()),
        (None, None, None)
    );
}

/// PEER-03 and PEER-04 and PEER-05: the answers in the shapes that foreign clients read.
#[test]
fn responses_have_the_exact_shapes() {
    let accepted = JobResponse::accepted("j1", 5, WorkerInfo::default());
    let value = json!({"app_message_type": "job_response", "job_id": "j1", "accepted": true,
        "estimated_start_time_sec": 0, "estimated_duration_minutes": 5,
        "worker_info": {"gpu_utilization": 0.0, "available_memory_mb": 0}});
    is_written_as(&PeerMessage::JobResponse(accepted), value);
    let busy = JobResponse::rejected("j1", JobResponse::BUSY, None);
    let value = json!({"app_message_type": "job_response", "job_id": "j1", "accepted": false, "reason": "busy"});
    is_written_as(&PeerMessage::JobResponse(busy), value);
    let lacking = JobResponse::rejected(
        "j1",
        JobResponse::INCOMPATIBLE,
        Some("8 GB of 24 GB".into()),
    );
    let value = json!({"app_message_type": "job_response", "job_id": "j1", "accepted": false,
        "reason": "incompatible", "message": "8 GB of 24 GB"});
    is_written_as(&PeerMessage::JobResponse(lacking), value);
}

#[test]
fn assignment_and_cancellation_have_the_exact_shapes() {
    is_written_as(
        &PeerMessage::JobAssignment {
            job_id: "j1".into(),
            initiate_connection: true,
        },
        json!({"app_message_type": "job_assignment", "job_id": "j1", "initiate_connection": true}),
    );
    let bare = PeerMessage::parse(&json!({"app_message_type": "job_assignment", "job_id": "j1"}));
    assert!(matches!(
        bare,
        Ok(PeerMessage::JobAssignment {
            initiate_connection: true,
            ..
        })
    ));
    is_written_as(
        &PeerMessage::JobCancel {
            job_id: "j1".into(),
            reason: Some("user".into()),
        },
        json!({"app_message_type": "job_cancel", "job_id": "j1", "reason": "user"}),
    );
    is_written_as(
        &PeerMessage::JobCancel {
            job_id: "j1".into(),
            reason: None,
        },
        json!({"app_message_type": "job_cancel", "job_id": "j1"}),
    );
    is_written_as(
        &PeerMessage::cancelled("j1"),
        json!({"app_message_type": "job_cancelled", "job_id": "j1", "status": "cancelled", "cleanup_complete": true}),
    );
}

/// PEER-14, PEER-15 and PEER-16.
#[test]
fn reports_about_a_job_have_the_exact_shapes() {
    let status = JobStatus {
        job_id: "j1".into(),
        status: "starting".into(),
        progress: 0.0,
        message: Some("Initializing training: centroid".into()),
        details: None,
    };
    let value = json!({"app_message_type": "job_status", "job_id": "j1", "status": "starting", "progress": 0.0,
        "message": "Initializing training: centroid"});
    is_written_as(&PeerMessage::JobStatus(status), value);
    let result = json!({"training_duration_minutes": 12.3, "total_jobs": 2});
    let value = json!({"app_message_type": "job_complete", "job_id": "j1", "status": "completed", "result": result,
        "transfer_method": "webrtc_datachannel", "ready_for_download": true});
    is_written_as(
        &PeerMessage::JobComplete(JobComplete::new("j1", result, true)),
        value,
    );
    let error = JobError {
        code: "TRAINING_FAILED".into(),
        message: "Training job centroid failed with exit code 1".into(),
        recoverable: false,
    };
    let value = json!({"app_message_type": "job_failed", "job_id": "j1", "status": "failed",
        "error": {"code": "TRAINING_FAILED", "message": "Training job centroid failed with exit code 1",
        "recoverable": false}});
    is_written_as(&PeerMessage::failed("j1", error), value);
}

/// PEER-13: a type that is not known is reported, not failed on.
#[test]
fn unknown_types_are_told_by_name() {
    for kind in ["job_started", "", "Job_Request", "job_request ", "unknown"] {
        let message = PeerMessage::Unknown { kind: kind.into() };
        is_written_as(&message, json!({"app_message_type": kind, }));
    }
    assert_eq!(
        PeerMessage::parse(&json!("a plain string")),
        Err(WireError::NotAnObject)
    );
    assert_eq!(
        PeerMessage::parse(&json!({"x": 1})),
        Err(WireError::MissingField("app_message_type"))
    );
}

#[test]
fn a_memory_requirement_is_a_number_or_an_error() {
    let needs = |value: Value| {
        request(json!({"requirements": {"min_gpu_memory_mb": value}})).min_gpu_memory_mb()
    };
    assert_eq!(needs(json!(0)), Ok(0));
    assert_eq!(needs(json!(-5)), Ok(0));
    assert_eq!(needs(json!(8000.25)), Ok(8001));
    assert_eq!(needs(json!(1e300)), Ok(u64::MAX));
    for bad in [
        json!(null),
        json!("8000"),
        json!(true),
        json!([8000]),
        json!({"$gte": 1}),
    ] {
        assert!(
            matches!(
                needs(bad.clone()),
                Err(WireError::BadField {
                    field: "min_gpu_memory_mb",
                    ..
                })
            ),
            "{bad}"
        );
    }
}

#[test]
fn a_model_type_that_is_no_text_is_no_model_that_one_has() {
    let model = |value: Value| {
        request(json!({"config": {"model_type": value}}))
            .model_type()
            .map(str::to_owned)
    };
    assert_eq!(model(json!("base")).as_deref(), Some("base"));
    assert_eq!(model(json!(null)), None);
    assert_eq!(model(json!(["base"])).as_deref(), Some(""));
}

#[test]
fn estimates_follow_the_original_and_are_bounded() {
    let minutes = |value: Value| estimate_minutes(&request(value));
    let training =
        |epochs: Value| minutes(json!({"job_type": "training", "config": {"epochs": epochs}}));
    assert_eq!(minutes(json!({"job_type": "training"})), 50);
    assert_eq!(training(json!(100)), 50);
    assert_eq!(training(json!(10)), 5);
    assert_eq!(training(json!(11)), 5);
    assert_eq!(training(json!(3.9)), 1);
    assert_eq!(training(json!(-4)), 0);
    assert_eq!(training(json!("many")), 50);
    assert_eq!(training(json!(1e300)), MAX_ESTIMATE_MINUTES);
    let inference = |frames: Value| {
        minutes(json!({"job_type": "inference", "dataset_info": {"frame_count": frames}}))
    };
    assert_eq!(minutes(json!({"job_type": "inference"})), 10);
    assert_eq!(inference(json!(99)), 1);
    assert_eq!(inference(json!(250)), 2);
    assert_eq!(inference(json!(u64::MAX)), MAX_ESTIMATE_MINUTES);
    assert_eq!(minutes(json!({})), 60);
    assert_eq!(minutes(json!({"job_type": "dancing"})), 60);
}

#[test]
fn bad_messages_say_what_is_wrong() {
    let bad_field = |value: Value| match PeerMessage::parse(&value).unwrap_err() {
        WireError::BadField { field, .. } | WireError::MissingField(field) => field,
        other => panic!("{other:?}"),
    };
    for kind in KINDS.iter().filter(|kind| kind.starts_with("job_")) {
        assert_eq!(
            bad_field(json!({"app_message_type": kind})),
            "job_id",
            "{kind}"
        );
        for id in [
            json!(7),
            json!(""),
            json!("a:b"),
            json!("a\nb"),
            json!("j".repeat(257)),
        ] {
            assert_eq!(
                bad_field(json!({"app_message_type": kind, "job_id": id})),
                "job_id",
                "{kind}"
            );
        }
    }
    let with = |kind: &str, field: &str, value: Value| {
        let mut message =
            json!({"app_message_type": kind, "job_id": "j1", "accepted": true, "status": "s"});
        message[field] = value;
        bad_field(message)
    };
    assert_eq!(with("job_request", "config", json!([])), "config");
    assert_eq!(
        with("job_request", "requirements", json!("none")),
        "requirements"
    );
    assert_eq!(with("job_request", "job_type", json!(1)), "job_type");
    assert_eq!(with("job_response", "accepted", json!("yes")), "accepted");
    assert_eq!(with("job_response", "accepted", json!(null)), "accepted");
    assert_eq!(
        with("job_response", "estimated_duration_minutes", json!("5")),
        "estimated_duration_minutes"
    );
    assert_eq!(with("job_response", "worker_info", json!(5)), "worker_info");
    assert_eq!(
        with("job_assignment", "initiate_connection", json!(1)),
        "initiate_connection"
    );
    assert_eq!(with("job_status", "progress", json!("half")), "progress");
    assert_eq!(with("job_failed", "error", json!("E")), "error");
    assert_eq!(with("job_failed", "error", json!(null)), "error");
    assert_eq!(with("job_failed", "error", json!({})), "code");
}

#[test]
fn progress_is_brought_into_its_range() {
    let progress = |value: Value| {
        let message = json!({"app_message_type": "job_status", "job_id": "j", "status": "running", "progress": value});
        match PeerMessage::parse(&message).unwrap() {
            PeerMessage::JobStatus(status) => status.progress,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(progress(json!(0.5)), 0.5);
    assert_eq!(progress(json!(1)), 1.0);
    assert_eq!(progress(json!(87.5)), 1.0);
    assert_eq!(progress(json!(-0.0)).to_bits(), 0.0_f64.to_bits());
    assert_eq!(progress(json!(null)), 0.0);
}

/// What two Loaners say of visits and tunnels; a foreign peer never sees one.
#[test]
fn visits_and_tunnels_are_asked_for_and_answered() {
    is_written_as(
        &PeerMessage::Visit {},
        json!({"app_message_type": "loaner_visit"}),
    );
    is_written_as(
        &PeerMessage::Tunnel { tube: None },
        json!({"app_message_type": "loaner_tunnel"}),
    );
    is_written_as(
        &PeerMessage::Tunnel {
            tube: Some("t-1".to_owned()),
        },
        json!({"app_message_type": "loaner_tunnel", "tube": "t-1"}),
    );
    let refused = PeerMessage::VisitResponse {
        accepted: false,
        reason: Some("not now".to_owned()),
    };
    is_written_as(
        &refused,
        json!({"app_message_type": "loaner_visit_response", "accepted": false, "reason": "not now"}),
    );
}
