//! Section 2b: discovery and metadata.

use serde_json::json;

use crate::support::*;

#[actix_web::test]
async fn discovery_follows_the_golden_transcript() {
    let mut s = scene().await;
    let (w1, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let user = sign_in(s.addr).await;
    let metadata = json!({"role": "worker", "metadata": worker_metadata(8192)});
    let _w2 = Peer::join(s.addr, "W2", &user, &s.room, metadata).await;

    let list =
        s.c.ask(json!({"type": "discover_peers", "from_peer_id": c}))
            .await;
    assert_eq!(
        (&list["type"], &list["to_peer_id"], &list["count"]),
        (&json!("peer_list"), &json!(c), &json!(2))
    );
    let first = list["peers"][0].as_object().unwrap();
    assert_eq!(first.len(), 4);
    assert_eq!(
        (&first["peer_id"], &first["role"]),
        (&json!(w1), &json!("worker"))
    );
    assert_eq!(first["metadata"], worker_metadata(16384));
    assert!(
        first["connected_at"].as_f64().unwrap() > 1.7e9,
        "seconds since 1970"
    );

    let all = ["sleap-rtc", "zzz"];
    for (filters, found) in [
        (
            json!({"role": "worker", "room_id": s.room.id, "tags": ["sleap-rtc"], "properties": {"status": "available"}}),
            "12",
        ),
        (
            json!({"room_id": "elsewhere", "tags": all, "properties": {"gpu_memory_mb": {"$gte": 12000}}}),
            "1",
        ),
        (
            json!({"properties": {"gpu_memory_mb": {"$lte": 8192}}}),
            "2",
        ),
        (json!({"properties": {"gpu_memory_mb": {"$eq": 8192}}}), "2"),
        (
            json!({"properties": {"gpu_memory_mb": {"$gt": 99999999}}}),
            "12",
        ),
        (
            json!({"properties": {"gpu_memory_mb": {"$gte": 9000, "$lte": 20000}}}),
            "1",
        ),
        (json!({"properties": {"missing": {"$gte": 1}}}), ""),
        (json!({"properties": {"missing": null}}), "12"),
        (json!({"tags": []}), ""),
        (json!({"role": "nobody"}), ""),
        (json!(null), "12"),
        (
            json!({"role": null, "tags": null, "properties": null}),
            "12",
        ),
    ] {
        let names: Vec<&str> = found
            .chars()
            .map(|n| if n == '1' { w1.as_str() } else { "W2" })
            .collect();
        assert_eq!(s.c.discover(&c, filters.clone()).await, names, "{filters}");
    }
}

#[actix_web::test]
async fn bad_filters_and_bad_metadata_cost_nobody_a_connection() {
    let mut s = scene().await;
    let c = s.c_user.name.clone();
    let user = sign_in(s.addr).await;
    let odd = json!({"role": "worker", "metadata": {"tags": [1, null, {}], "properties": {"gpu_memory_mb": "8192", "status": []}}});
    let _odd = Peer::join(s.addr, "odd", &user, &s.room, odd).await;
    for filters in [
        json!({"properties": {"gpu_memory_mb": {"$gte": "8192"}}}),
        json!({"properties": {"gpu_memory_mb": {"$gte": 1, "$eq": [], "$lte": {}}}}),
        json!({"properties": {"status": {"$gte": null}}}),
        json!({"role": 5, "tags": [{}, []]}),
    ] {
        let reply =
            s.c.ask(json!({"type": "discover_peers", "from_peer_id": c, "filters": filters}))
                .await;
        assert_eq!(reply["type"], "peer_list", "{filters}");
    }
    for filters in [
        json!("x"),
        json!([]),
        json!({"tags": "x"}),
        json!({"properties": [1]}),
        json!({"tags": vec!["x"; 65]}),
    ] {
        let reply =
            s.c.ask(json!({"type": "discover_peers", "from_peer_id": c, "filters": filters}))
                .await;
        assert_eq!(
            (&reply["type"], &reply["code"]),
            (&json!("error"), &json!("INVALID_MESSAGE")),
            "{filters}"
        );
    }
    let reply = s.c.ask(json!({"type": "discover_peers", "from_peer_id": c, "filters": {"x": "x".repeat(20_000)}})).await;
    assert_eq!(reply["code"], "INVALID_MESSAGE");
}

#[actix_web::test]
async fn a_status_update_keeps_a_worker_discoverable() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let update = |properties: serde_json::Value| json!({"type": "update_metadata", "peer_id": w, "metadata": {"properties": properties}});
    let reply =
        s.w.ask(update(
            json!({"status": "reserved", "pending_job_id": "j1", "current_job_id": "j0"}),
        ))
        .await;
    let mut expected = worker_metadata(16384);
    expected["properties"]["status"] = json!("reserved");
    expected["properties"]["pending_job_id"] = json!("j1");
    expected["properties"]["current_job_id"] = json!("j0");
    assert_eq!(
        reply,
        json!({"type": "metadata_updated", "peer_id": w, "metadata": expected})
    );
    s.c.hears_nothing().await;

    let usual = |status: &str| json!({"role": "worker", "tags": ["sleap-rtc"], "properties": {"status": status}});
    assert_eq!(
        s.c.discover(&c, usual("reserved")).await,
        [w.as_str()],
        "the original has lost the tags by now"
    );
    s.w.ask(update(
        json!({"status": "available", "current_job_id": null}),
    ))
    .await;
    assert_eq!(s.c.discover(&c, usual("available")).await, [w.as_str()]);
    let list =
        s.c.ask(json!({"type": "discover_peers", "from_peer_id": c}))
            .await;
    let properties = list["peers"][0]["metadata"]["properties"]
        .as_object()
        .unwrap();
    assert_eq!(
        (
            properties.get("current_job_id"),
            &properties["pending_job_id"]
        ),
        (Some(&json!(null)), &json!("j1"))
    );

    let more = json!({"type": "update_metadata", "peer_id": w, "metadata": {"tags": ["extra", "sleap-rtc"], "note": 1}});
    let reply = s.w.ask(more).await;
    assert_eq!(
        reply["metadata"]["tags"],
        json!(["sleap-rtc", "training-worker", "inference-worker", "extra"])
    );
    assert_eq!(reply["metadata"]["note"], 1);
    assert_eq!(reply["metadata"]["properties"]["hostname"], "gpu-01");
}

#[actix_web::test]
async fn malformed_updates_are_refused_and_change_nothing() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let missing = "Missing required fields: peer_id, metadata";
    for (frame, code, message) in [
        (
            json!({"peer_id": w, "metadata": {}}),
            "INVALID_MESSAGE",
            Some(missing),
        ),
        (
            json!({"metadata": {"a": 1}}),
            "INVALID_MESSAGE",
            Some(missing),
        ),
        (
            json!({"peer_id": "ghost", "metadata": {"a": 1}}),
            "NOT_IN_ROOM",
            Some("Peer not in any room"),
        ),
        (
            json!({"peer_id": w, "metadata": ["x"]}),
            "INVALID_MESSAGE",
            None,
        ),
        (
            json!({"peer_id": w, "metadata": {"tags": "x"}}),
            "INVALID_MESSAGE",
            None,
        ),
        (
            json!({"peer_id": w, "metadata": {"properties": "x"}}),
            "INVALID_MESSAGE",
            None,
        ),
        (
            json!({"peer_id": w, "metadata": {"note": "x".repeat(20_000)}}),
            "INVALID_MESSAGE",
            None,
        ),
    ] {
        let mut update = frame.clone();
        update["type"] = json!("update_metadata");
        let reply = s.w.ask(update).await;
        assert_eq!(
            (&reply["type"], &reply["code"]),
            (&json!("error"), &json!(code)),
            "{frame}"
        );
        if let Some(message) = message {
            assert_eq!(reply["message"], message);
        }
    }
    let list =
        s.c.ask(json!({"type": "discover_peers", "from_peer_id": c}))
            .await;
    assert_eq!(list["peers"][0]["metadata"], worker_metadata(16384));
}
