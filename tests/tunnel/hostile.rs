//! Clients that do not keep to the rules, and how many there may be.

use bytes::Bytes;
use loaner::rtc::{DataPlane, Incoming};
use loaner::tunnel::forward::{Frame, MAX_DATA, Reason, Reset};
use loaner::tunnel::tube::{Tube, Word};
use serde_json::json;
use tokio::time::timeout;

use super::support::peer::sign_in;
use super::support::{ByHand, PATIENCE, Peer, until};
use super::{Through, lab, local, target};

impl ByHand {
    /// With a tunnel of its own.
    async fn connect(peer: &mut Peer, worker: &str) -> ByHand {
        let by_hand = ByHand::open(peer, worker, None).await;
        let begun = by_hand.ask(&Word::Begin).await;
        assert!(matches!(begun, Some(Word::Begun { .. })), "{begun:?}");
        by_hand
    }

    async fn say(&self, frame: Frame) {
        self.channel.send_binary(frame.encode()).await.unwrap();
    }

    /// The goodbye that follows.
    async fn goodbye(&self) -> Reset {
        let goodbye = async {
            loop {
                match self.channel.recv().await {
                    Some(Incoming::Binary(message)) => {
                        if let Ok(Frame::Goodbye(reset)) = Frame::decode(message) {
                            return reset;
                        }
                    }
                    Some(Incoming::Text(_)) => {}
                    None => panic!("no goodbye"),
                }
            }
        };
        timeout(PATIENCE, goodbye).await.expect("no goodbye")
    }
}

/// A client that sends more than it may, or what is no frame, is told so and thrown out; the tunnel of another client goes on.
#[actix_rt::test]
async fn a_client_that_breaks_the_rules_is_thrown_out_and_others_are_not() {
    let through = Through::new().await;
    let lab = &through.lab;
    let open = || Frame::Open {
        stream: 1,
        credit: 1,
        host: "localhost".to_owned(),
        port: through.remote,
    };
    for beyond in [true, false] {
        let mut peer = lab.peer("client").await;
        let client = ByHand::connect(&mut peer, &lab.worker_id).await;
        client.say(open()).await;
        let _there = super::accept(&through.target).await;
        if beyond {
            // More than the program's socket and all windows take, of which none is read.
            for _ in 0..(32 << 20) / MAX_DATA {
                let data = Frame::Data {
                    stream: 1,
                    bytes: vec![0; MAX_DATA].into(),
                };
                if client.channel.send_binary(data.encode()).await.is_err() {
                    break;
                }
            }
        } else {
            client
                .channel
                .send_binary(Bytes::from_static(b"\xffgarbage"))
                .await
                .unwrap();
        }
        let reset = client.goodbye().await;
        assert_eq!(reset.reason, Reason::Protocol, "{reset}");
        timeout(PATIENCE, client.channel.closed())
            .await
            .expect("it is not closed");
        peer.leave().await;
    }
    through.connect().await;
}

/// Tunnels are bounded in all: one more is refused with the reason, and jobs are not affected.
#[actix_rt::test]
async fn tunnels_are_bounded() {
    let (_target, remote) = target().await;
    let lab = lab(&[local(remote)]).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut peer = lab.peer("client").await;
        clients.push((ByHand::connect(&mut peer, &lab.worker_id).await, peer));
    }
    let mut peer = lab.peer("client").await;
    peer.message(
        &lab.worker_id,
        json!({ "app_message_type": "loaner_tunnel" }),
    );
    let answer = peer.hear_message("loaner_visit_response").await;
    assert_eq!(answer["accepted"], false, "{answer}");
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .contains("as many tunnels as it takes"),
        "{answer}"
    );
    // Questions about jobs have a count of their own.
    peer.message(
        &lab.worker_id,
        json!({ "app_message_type": "loaner_visit" }),
    );
    let answer = peer.hear_message("loaner_visit_response").await;
    assert_eq!(answer["accepted"], true, "{answer}");
    assert_eq!(
        lab.shown().await.unwrap()["metadata"]["properties"]["status"],
        "available"
    );
    // One that leaves makes room.
    let (gone, _peer) = clients.pop().unwrap();
    gone.channel
        .send_text(&Word::Close.to_text())
        .await
        .unwrap();
    until("there is room", PATIENCE, || {
        lab.worker.log_count("a tunnel is over") > 0
    })
    .await;
    // Of the one above, an offer is awaited for its questions.
    let mut peer = lab.peer("client").await;
    ByHand::connect(&mut peer, &lab.worker_id).await;
}

/// Of one user's tunnels, whatever the peers that have them are called, there are as many as there may be; another user has
/// one all the same, and so has that user when one is over.
#[actix_rt::test]
async fn the_tunnels_of_one_user_are_bounded() {
    let (_target, remote) = target().await;
    let lab = lab(&[local(remote)]).await;
    let (id_token, _) = sign_in(&lab.url).await;
    let device = || {
        let identity = (uuid::Uuid::new_v4().to_string(), id_token.clone());
        Peer::join_as(&lab.url, &lab.room, &lab.token, "client", identity)
    };
    let mut tunnels = Vec::new();
    for _ in 0..4 {
        let mut peer = device().await;
        tunnels.push((ByHand::connect(&mut peer, &lab.worker_id).await, peer));
    }
    let mut fifth = device().await;
    let wish = json!({ "app_message_type": "loaner_tunnel" });
    fifth.message(&lab.worker_id, wish.clone());
    let answer = fifth.hear_message("loaner_visit_response").await;
    assert_eq!(answer["accepted"], false, "{answer}");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("in all or of yours"), "{reason}");
    let mut other = lab.peer("client").await;
    ByHand::connect(&mut other, &lab.worker_id).await;
    let (gone, _peer) = tunnels.pop().unwrap();
    let goodbye = Word::Close.to_text();
    gone.channel.send_text(&goodbye).await.unwrap();
    until("there is room", PATIENCE, || {
        lab.worker.log_count("a tunnel is over") > 0
    })
    .await;
    tunnels.push((ByHand::connect(&mut fifth, &lab.worker_id).await, fifth));
    // One whose client is gone, without a goodbye, makes room as well.
    let (gone, _peer) = tunnels.swap_remove(0);
    let plane = DataPlane::start().unwrap();
    let (tube, _signs) = Tube::new(&plane);
    tube.carry(gone.channel.clone(), 1, 0).await.unwrap();
    tube.ping(1);
    until("it is connected, both ways", PATIENCE, || {
        lab.worker.log_count("\"to\":\"connected\"") > 0
    })
    .await;
    gone.hang_up().await;
    until("its connection is lost", PATIENCE, || {
        lab.worker.log_count("the connection of a tube is lost") > 0
    })
    .await;
    let mut sixth = device().await;
    ByHand::connect(&mut sixth, &lab.worker_id).await;
    lab.worker
        .logged("a tunnel whose client is away makes room for another")
        .await;
}
