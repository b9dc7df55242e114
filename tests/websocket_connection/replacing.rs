//! One device on two connections at once: which of them it is on, and that the hub knows.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::support::{Device, hub_with};

/// What came of a connection: it has the message that was sent to the device, or it had to go.
async fn outcome(mut device: Device) -> Option<(Device, Value)> {
    loop {
        match device.next().await {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "message" {
                    return Some((device, frame["payload"]["message_id"].clone()));
                }
                assert_eq!(frame["type"], "connected", "{frame}");
            }
            Message::Close(Some(frame)) => {
                assert_eq!(u16::from(frame.code), 4409);
                return None;
            }
            other => panic!("not for a device: {other:?}"),
        }
    }
}

/// Two connections of one device that open at the same moment, on two threads of the hub: one of them is replaced, and the
/// other gets what is sent to the device from then on. A hundred and fifty times, since it is a race.
#[actix_web::test]
async fn of_two_connections_at_once_the_one_that_stays_is_the_one_that_hears() {
    let hub = hub_with(|config| config.limits.threads = 2);
    let addr = hub.addrs[0];
    let mut sender = Device::connect(addr, "bob", "desk").await;
    for round in 0..150 {
        let token = format!("token={}", super::support::token("alice", "laptop"));
        let (one, two) = tokio::join!(
            Device::ungreeted(addr, &token),
            Device::ungreeted(addr, &token),
        );
        sender
            .post("alice", Some("laptop"), &format!("m{round}"), json!(round))
            .await;
        let (one, two) = tokio::join!(outcome(one), outcome(two),);
        let mut stayed = None;
        for came in [one, two].into_iter().flatten() {
            let both = stayed.replace(came).is_some();
            assert!(!both, "round {round}: both heard it");
        }
        let (mut stayed, id) = stayed.unwrap_or_else(|| panic!("round {round}: neither heard it"));
        stayed.send("ack", json!({"up_to": id})).await;
        stayed.close().await;
        sender.expect("accepted").await;
    }
}
