//! What comes over a program's own signalling, also from whoever means no good.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use loaner::tunnel::message::{
    Delivery, MAX_DEPTH, MAX_ID_BYTES, MAX_MESSAGES, MAX_TEXT_BYTES, Message, MessageError,
};
use loaner::tunnel::registry::{
    ConnectionState, Manager, NetworkChangeType, Registry, Role, TubeOptions, TubeRuntime,
};
use loaner::tunnel::signal::SignalKind;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::two::{PATIENCE, Two, runtime, soon, until};

/// A registry with managers of these ids that have not begun.
fn registry(runtime: &TubeRuntime, role: Role, ids: &[&str]) -> Registry {
    let registry = Registry::default();
    for id in ids {
        let manager = Manager::new(runtime, TubeOptions::new(*id, role)).unwrap();
        registry.register(&manager).unwrap();
    }
    registry
}

/// What a manager's program is given.
fn program_of(manager: &Manager) -> Arc<Mutex<Vec<Message>>> {
    let given = Arc::new(Mutex::new(Vec::new()));
    let list = given.clone();
    manager.on_message(move |message| list.lock().unwrap().push(message.clone()));
    given
}

/// TUN-13, TUN-14: one object, or an array of them: each goes to the manager of its tube, in order, and counts as activity of
/// that tube and no other; what is wrong with one does not stop the others.
#[test]
fn each_message_finds_its_tube() {
    let runtime = runtime();
    let registry = registry(&runtime, Role::Initiator, &["a", "b", "c"]);
    let managers = ["a", "b", "c"].map(|id| registry.find(id).unwrap());
    let given = managers.each_ref().map(program_of);
    let activity = || managers.each_ref().map(Manager::last_activity);
    let before = activity();
    let one = json!({"tube_id": "a", "kind": "note", "data": 1, "conversation_id": "talk"});
    assert_eq!(registry.receive_value(&one), [Ok(Delivery::Program)]);
    let after = activity();
    assert!(after[0] > before[0]);
    assert_eq!(after[1..], before[1..]);
    let many = r#"[
        {"tube_id": "b", "kind": "note", "data": 2},
        {"tube_id": "nobody", "kind": "note"},
        {"kind": "note"},
        7,
        {"tube_id": "a", "kind": "answer", "data": "sdp"},
        {"tube_id": "a", "kind": "answer", "data": {"sdp": 1}, "generation": 1},
        {"tube_id": "b", "kind": "connection_state_changed", "data": "connected"},
        {"tube_id": "a", "kind": "note", "unknown": [{}], "data": 3}
    ]"#;
    let results = registry.receive(many);
    assert_eq!(results.len(), 8);
    assert_eq!(results[0], Ok(Delivery::Program));
    let unknown = MessageError::UnknownTube("nobody".to_owned());
    assert_eq!(results[1], Err(unknown));
    let malformed = |result: &Result<_, _>| matches!(result, Err(MessageError::Malformed(_)));
    assert!(results[2..4].iter().all(malformed), "{results:?}");
    assert_eq!(
        results[4],
        Err(MessageError::Generation(SignalKind::Answer))
    );
    assert_eq!(results[5], Err(MessageError::Data(SignalKind::Answer)));
    assert_eq!(results[6..], [Ok(Delivery::Program), Ok(Delivery::Program)]);
    let kinds = given.map(|given| {
        let given = given.lock().unwrap();
        let shown = |message: &Message| format!("{} {}", message.kind, message.data.get());
        given.iter().map(shown).collect::<Vec<_>>()
    });
    assert_eq!(kinds[0], ["note 1", "note 3"]);
    assert_eq!(
        kinds[1],
        ["note 2", "connection_state_changed \"connected\""]
    );
    assert!(kinds[2].is_empty());
    assert_eq!(activity()[2], before[2]);
}

/// TUN-16: what is not a manager's own passes through byte by byte: encrypted, odd numbers, doubled members, spaces and all.
#[test]
fn payloads_pass_through_unread() {
    let runtime = runtime();
    let registry = registry(&runtime, Role::Responder, &["a"]);
    let given = program_of(&registry.find("a").unwrap());
    let payloads = [
        r#""9vT+/w==\u0000\ud800""#,
        r#"{ "x" : 1.000000000000000000001e400,  "x":-0 }"#,
        "[ [ ] ,null]",
        "null",
        "12345678901234567890123456789",
    ];
    for payload in payloads {
        let text = format!(r#"{{"tube_id":"a","kind":"start","data":{payload}}}"#);
        assert_eq!(registry.receive(&text), [Ok(Delivery::Program)]);
        let array = format!(" [{text}] ");
        assert_eq!(registry.receive(&array), [Ok(Delivery::Program)]);
    }
    let given = given.lock().unwrap();
    let data: Vec<_> = given.iter().map(|message| message.data.get()).collect();
    let twice: Vec<_> = payloads.iter().flat_map(|payload| [*payload; 2]).collect();
    assert_eq!(data, twice);
}

/// Texts that are too much, and such that are none: each is refused with a reason, nothing of it is taken, and the tubes go on.
#[test]
fn what_is_too_much_is_refused() {
    let runtime = runtime();
    let registry = registry(&runtime, Role::Responder, &["a"]);
    let given = program_of(&registry.find("a").unwrap());
    let note = r#"{"tube_id":"a","kind":"note"}"#;
    let array = |count: usize, item: &str| format!("[{}]", vec![item; count].join(","));
    let only = |text: &str| match registry.receive(text).as_slice() {
        [Err(error)] => {
            assert!(error.to_string().len() < 1000);
            error.clone()
        }
        other => panic!("{} results", other.len()),
    };
    let million = array(1_000_000, note);
    let bytes = million.len();
    assert_eq!(only(&million), MessageError::TooLarge { bytes });
    assert_eq!(only(&array(MAX_MESSAGES + 1, note)), MessageError::TooMany);
    assert_eq!(only(&array(400_000, "7")), MessageError::TooMany);
    assert_eq!(
        only(&"x".repeat(MAX_TEXT_BYTES + 1)),
        MessageError::TooLarge {
            bytes: MAX_TEXT_BYTES + 1
        }
    );
    for open in ["[", "{\"a\":", "[{\"tube_id\":"] {
        let deep = open.repeat(MAX_TEXT_BYTES / open.len());
        assert!(matches!(only(&deep), MessageError::NotJson(_)), "{open}");
    }
    for text in [
        "", " ", "nothing", "{", "[}", "{\"tube_id\":\"a\"} {}", "\u{feff}{}",
    ] {
        assert!(matches!(only(text), MessageError::NotJson(_)), "{text:?}");
    }
    assert!(registry.receive("[]").is_empty());
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"tube_id":"a","kind":"note","data":{open}"[\"["{close}}}"#)
    };
    assert_eq!(only(&nested(MAX_DEPTH)), MessageError::TooDeep);
    assert_eq!(only(&nested(500_000)), MessageError::TooDeep);
    assert!(given.lock().unwrap().is_empty());
    let results = registry.receive(&format!("[{},{note}]", nested(MAX_DEPTH)));
    assert_eq!(results, [Err(MessageError::TooDeep), Ok(Delivery::Program)]);
    assert!(registry.receive(&nested(MAX_DEPTH - 1))[0].is_ok());
    let results = registry.receive(&array(MAX_MESSAGES, note));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(given.lock().unwrap().len(), MAX_MESSAGES + 2);
}

/// Messages whose members are of the wrong type, doubled or too long are no messages.
#[test]
fn members_are_what_they_should_be() {
    let runtime = runtime();
    let registry = registry(&runtime, Role::Responder, &["a"]);
    let long = "x".repeat(MAX_ID_BYTES + 1);
    let texts = [
        r#"{"tube_id":"a","tube_id":"b","kind":"note"}"#.to_owned(),
        r#"{"tube_id":"a","kind":"note","data":1,"data":2}"#.to_owned(),
        r#"{"tube_id":7,"kind":"note"}"#.to_owned(),
        r#"{"tube_id":null,"kind":"note"}"#.to_owned(),
        r#"{"tube_id":"a"}"#.to_owned(),
        r#"{"tube_id":"a","kind":["note"]}"#.to_owned(),
        r#"{"tube_id":"a","kind":"offer","data":"x","generation":-1}"#.to_owned(),
        r#"{"tube_id":"a","kind":"offer","data":"x","generation":1.5}"#.to_owned(),
        r#"{"tube_id":"a","kind":"offer","data":"x","generation":"1"}"#.to_owned(),
        r#"{"tube_id":"a","kind":"note","conversation_id":{}}"#.to_owned(),
        r#"[["a","note",null,null,null]]"#.to_owned(),
        format!(r#"{{"tube_id":"{long}","kind":"note"}}"#),
        format!(r#"{{"tube_id":"a","kind":"{long}"}}"#),
        format!(r#"{{"tube_id":"a","kind":"note","conversation_id":"{long}"}}"#),
        format!(
            r#"{{"tube_id":"a","kind":"note","generation":"{}"}}"#,
            "x".repeat(500_000)
        ),
        "\"a\"".to_owned(),
        "null".to_owned(),
    ];
    for text in texts {
        let results = registry.receive(&text);
        let [Err(MessageError::Malformed(why))] = results.as_slice() else {
            panic!("{results:?}");
        };
        assert!(why.chars().count() <= 200, "{why}");
    }
    let own = |data: Value, generation: Value| {
        let offer =
            json!({"tube_id": "a", "kind": "offer", "data": data, "generation": generation});
        registry.receive_value(&offer)
    };
    let data = Err(MessageError::Data(SignalKind::Offer));
    let generation = Err(MessageError::Generation(SignalKind::Offer));
    assert_eq!(
        own(json!("x".repeat((64 << 10) + 1)), json!(1)),
        [data.clone()]
    );
    assert_eq!(own(json!(null), json!(1)), [data]);
    assert_eq!(own(json!("x"), json!(0)), [generation.clone()]);
    assert_eq!(own(json!("x"), json!(null)), [generation]);
}

/// A responder whose first offer is nonsense fails, and takes a good one of a later generation.
#[tokio::test]
async fn nonsense_for_an_offer_does_no_harm() {
    let runtime = runtime();
    let two = Two::new(&runtime, "a", Default::default());
    let far = &two.far;
    let offer = |data: &str| {
        json!({"tube_id": "a", "kind": "offer", "data": data, "generation": 1}).to_string()
    };
    assert!(far.registry.receive(&offer("v=0 nonsense"))[0].is_ok());
    let failed = soon("a state", far.manager.reaches(ConnectionState::Failed)).await;
    assert!(failed);
    // The first offer comes too late, and the initiator makes another.
    two.near.manager.start();
    let offers = || two.near.heard.of(SignalKind::Offer).len();
    until("an offer", || offers() == 1).await;
    let change = NetworkChangeType::IceFailure;
    two.near.manager.handle_network_change(change);
    let failed = soon("a state", two.near.manager.reaches(ConnectionState::Failed)).await;
    assert!(failed);
    two.near.manager.restart().await.unwrap();
    two.are(ConnectionState::Connected).await;
    two.echo("hello").await;
    two.close().await;
}

/// Messages of the managers' own kinds that are nonsense, stale, doubled or for the other side, thousands of them: the tube stays
/// connected, messages go both ways, what is more than it can handle is told to be, and nothing is signalled in return.
#[tokio::test]
async fn a_flood_changes_nothing() {
    let runtime = runtime();
    let two = Two::connected(&runtime, "a").await;
    let count = |heard: &super::two::Heard| heard.signals.lock().unwrap().len();
    // Connecting, an offer or an answer, and connected.
    let before = [3, 3];
    let all_told = || [count(&two.near.heard), count(&two.far.heard)] == before;
    until("the signals of the beginning", all_told).await;
    let mut batch = Vec::new();
    for kind in [
        "offer", "answer", "ice_restart_offer", "icecandidate", "ice_restart_request",
    ] {
        let to_near = matches!(kind, "offer" | "ice_restart_offer");
        for generation in [1_u64, 2, 1000, u64::MAX] {
            // Old, or not for this side: what the initiator is to offer, and answers that nobody asked for.
            if to_near || generation == 1 && kind != "ice_restart_request" || kind == "answer" {
                let message = json!({
                    "tube_id": "a", "kind": kind, "data": "nonsense", "generation": generation,
                });
                batch.push(message);
            }
        }
    }
    let (text, size) = (Value::Array(batch.clone()).to_string(), batch.len());
    let far_text = batch
        .iter()
        .filter(|message| message["generation"] == 1 && message["kind"] != "answer")
        .cloned()
        .collect::<Vec<_>>();
    let far_text = Value::Array(far_text).to_string();
    let mut taken = 0;
    for round in 0..500 {
        for (program, text) in [(&two.near, &text), (&two.far, &far_text)] {
            for result in program.registry.receive(text) {
                match result {
                    Ok(_) => taken += 1,
                    Err(error) => assert_eq!(error, MessageError::Busy("a".to_owned())),
                }
            }
        }
        if round % 50 == 0 {
            two.echo("through the flood").await;
        }
    }
    assert!(taken >= size, "{taken}");
    let deadline = Instant::now() + PATIENCE;
    let note = r#"{"tube_id":"a","kind":"answer","data":"x","generation":1}"#;
    while two.near.registry.receive(note)[0].is_err() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(10)).await;
    }
    two.echo("after the flood").await;
    let report = two.near.manager.report().await.unwrap();
    assert_eq!(report.status.public, ConnectionState::Connected);
    assert!(report.stale > 0);
    let after = [count(&two.near.heard), count(&two.far.heard)];
    assert_eq!(after, before);
    assert_eq!(two.near.manager.metrics().connections, 1);
    two.close().await;
}
