//! What coturn makes of the hub's credentials.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loaner::hub::ice::{IceConfig, Secret, TurnAuth, TurnServer};
use loaner::rtc::{Connection, DataPlane, IceServer, RtcConfig};

use crate::coturn::{self, SECRET};

const LIFETIME: Duration = Duration::from_secs(600);

/// Whether a peer with credentials that the hub made at this time gets a relay.
async fn relayed(plane: &DataPlane, port: u16, secret: &str, made_at: u64) -> bool {
    let hub = IceConfig {
        stun: Vec::new(),
        turn: vec![TurnServer {
            urls: vec![format!("turn:127.0.0.1:{port}")],
            auth: TurnAuth::Shared {
                secret: Secret::new(secret),
                lifetime: LIFETIME,
            },
        }],
    };
    hub.check().unwrap();
    let servers = hub.for_peer("W1", made_at).into_iter().map(|server| {
        let text = |name: &str| server[name].as_str().unwrap().to_owned();
        IceServer {
            urls: vec![server["urls"][0].as_str().unwrap().to_owned()],
            username: text("username"),
            credential: text("credential"),
        }
    });
    let config = RtcConfig {
        ice_servers: servers.collect(),
        ..RtcConfig::default()
    };
    let (connection, _events) = Connection::open(plane, &config).await.unwrap();
    connection.create_channel("c").await.unwrap();
    let offer = connection.offer().await.unwrap();
    let relayed = offer.contains("typ relay");
    let why = connection.without_relay().await;
    assert_eq!(why.is_none(), relayed, "{why:?} {offer}");
    connection.close().await;
    relayed
}

#[tokio::test(flavor = "multi_thread")]
async fn coturn_takes_them_until_they_expire() {
    let Some(turnserver) = coturn::program() else {
        return;
    };
    let port = UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .unwrap()
        .port();
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(turnserver);
    let _turn = coturn::start(command, "127.0.0.1", port, dir.path());
    let plane = DataPlane::start().unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let lifetime = LIFETIME.as_secs();
    assert!(relayed(&plane, port, SECRET, now).await);
    assert!(relayed(&plane, port, SECRET, now - lifetime + 60).await);
    assert!(!relayed(&plane, port, SECRET, now - lifetime - 1).await);
    assert!(!relayed(&plane, port, "another", now).await);
}
