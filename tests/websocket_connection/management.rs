//! Connection Management, and Connection Limits.

use serde_json::json;

use crate::support::*;

/// SOCK-04: a connection is tracked by its id, and found by its user.
#[actix_web::test]
async fn connections_are_found_by_id_and_by_user() {
    let hub = hub();
    let addr = hub.addrs[0];
    let laptop = Device::connect(addr, "ann", "laptop").await;
    let phone = Device::connect(addr, "ann", "phone").await;
    let other = Device::connect(addr, "bob", "laptop").await;
    let ids = |listed: &serde_json::Value| -> Vec<String> {
        let connections = listed["connections"].as_array().unwrap();
        let id = |entry: &serde_json::Value| entry["connection_id"].as_str().unwrap().to_owned();
        connections.iter().map(id).collect()
    };
    let id = |device: &Device| {
        device.connected["connection_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        ids(&ask(addr, "/connections").await),
        [id(&laptop), id(&phone), id(&other)]
    );
    let anns = ask(addr, "/connections?user_id=ann").await;
    assert_eq!(ids(&anns), [id(&laptop), id(&phone)]);
    let after = id(&laptop).rsplit('-').next().unwrap().to_owned();
    let rest = ask(addr, &format!("/connections?after={after}")).await;
    assert_eq!(ids(&rest), [id(&phone), id(&other)]);
}

/// SOCK-05: a user's devices are told apart, and each is reached by its name.
#[actix_web::test]
async fn the_devices_of_a_user_are_reached_one_by_one() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut laptop = Device::connect(addr, "ann", "laptop").await;
    let mut phone = Device::connect(addr, "ann", "phone").await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    bob.post("ann", Some("phone"), "1", json!("for the phone"))
        .await;
    assert_eq!(phone.take().await["content"], "for the phone");
    bob.expect("accepted").await;
    bob.post("ann", Some("laptop"), "2", json!("for the laptop"))
        .await;
    assert_eq!(laptop.take().await["content"], "for the laptop");
    bob.expect("accepted").await;
    phone.hears_nothing().await;
    laptop.hears_nothing().await;
}

/// SOCK-05: of two connections of one device the newer stays, and the older is told why it goes.
#[actix_web::test]
async fn the_newer_connection_of_a_device_takes_over() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut old = Device::connect(addr, "ann", "laptop").await;
    let mut new = Device::connect(addr, "ann", "laptop").await;
    assert_eq!(old.closed_with().await, (4409, "replaced".to_owned()));
    old.close().await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    bob.post("ann", Some("laptop"), "1", json!(1)).await;
    assert_eq!(new.take().await["content"], 1);
    assert_eq!(bob.expect("accepted").await["status"], "delivered");
}

/// SOCK-06: however a connection ends, nothing of it is left: neither in the table nor in the mappings of its user.
#[actix_web::test]
async fn a_thousand_ends_of_every_kind_leave_nothing() {
    let hub = hub_with(|config| config.limits.connections_per_user = 1000);
    let addr = hub.addrs[0];
    for round in 0..100 {
        let mut devices = Vec::new();
        for n in 0..10 {
            devices.push(Device::connect(addr, "ann", &format!("d{n}")).await);
        }
        for (n, device) in devices.into_iter().enumerate() {
            if (n + round) % 2 == 0 {
                device.close().await;
            } else {
                device.vanish();
            }
        }
    }
    until(|| async { ask(addr, "/connections").await["total"] == 0 }).await;
    // The sessions that can be resumed are those of the ten devices, once each.
    let parked = ask(addr, "/connections?user_id=ann").await;
    assert_eq!(parked["connections"].as_array().unwrap().len(), 10);
    for entry in parked["connections"].as_array().unwrap() {
        assert_eq!(entry["state"], "resumable");
    }
}

/// SOCK-12: for one connection too many of a user the oldest is closed, before the new one is greeted.
#[actix_web::test]
async fn the_oldest_connection_of_a_user_makes_room() {
    let hub = hub_with(|config| config.limits.connections_per_user = 2);
    let addr = hub.addrs[0];
    let mut first = Device::connect(addr, "ann", "a").await;
    let mut second = Device::connect(addr, "ann", "b").await;
    let mut other = Device::connect(addr, "bob", "a").await;
    let mut third = Device::connect(addr, "ann", "c").await;
    assert_eq!(first.closed_with().await.0, 4428);
    second.hears_nothing().await;
    third.hears_nothing().await;
    other.hears_nothing().await;
    assert_eq!(refusals(addr, "connections_per_user").await, 1);
}

/// SOCK-13: near its limit the hub takes only users that it knows, at its limit nobody, and says when to come back.
#[actix_web::test]
async fn a_hub_that_fills_up_refuses_with_a_time_to_come_back() {
    let hub = hub_with(|config| {
        config.limits.sockets = 3;
        config.limits.sockets_soft = 2;
    });
    let addr = hub.addrs[0];
    let ann = Device::connect(addr, "ann", "a").await;
    let _bob = Device::connect(addr, "bob", "a").await;
    let turned_away = |user: &'static str, device: &'static str| async move {
        let path = format!("/ws/?token={}", token(user, device));
        let (status, head, _) = refused(addr, &path, &[]).await;
        assert_eq!(status, 503);
        assert!(head.contains("retry-after"), "{head}");
    };
    turned_away("cid", "a").await;
    let _second = Device::connect(addr, "ann", "b").await;
    turned_away("ann", "c").await;
    assert_eq!(refusals(addr, "sockets_soft").await, 1);
    assert_eq!(refusals(addr, "sockets").await, 1);
    // Who was here lately is known, and comes back.
    ann.close().await;
    until(|| async { ask(addr, "/connections").await["total"] == 2 }).await;
    Device::connect(addr, "ann", "a").await;
}
