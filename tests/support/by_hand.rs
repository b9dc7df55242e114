//! A client's end of a tube, by hand.

use loaner::rtc::{Channel, Connection, DataPlane, RtcConfig, RtcEvent};
use loaner::tunnel::tube::{CHANNEL_LABEL, Word, first_word};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{PATIENCE, Peer};

/// A connection for a tube, by hand.
pub struct ByHand {
    connection: Connection,
    _events: mpsc::Receiver<RtcEvent>,
    pub channel: Channel,
}

impl ByHand {
    /// After the worker's leave, for this tube or for a new tunnel; of which nothing is said yet.
    pub async fn open(peer: &mut Peer, worker: &str, tube: Option<&str>) -> ByHand {
        let mut wish = json!({ "app_message_type": "loaner_tunnel" });
        if let Some(tube) = tube {
            wish["tube"] = tube.into();
        }
        peer.message(worker, wish);
        let answer = peer.hear_message("loaner_visit_response").await;
        assert_eq!(answer["accepted"], true, "{answer}");
        ByHand::offer(peer, worker).await
    }

    /// For whatever this peer may connect for.
    pub async fn offer(peer: &mut Peer, worker: &str) -> ByHand {
        let plane = DataPlane::start().unwrap();
        let (connection, events) = Connection::open(&plane, &RtcConfig::default())
            .await
            .unwrap();
        let channel = connection.create_channel(CHANNEL_LABEL).await.unwrap();
        let sdp = connection.offer().await.unwrap();
        peer.say(json!({ "type": "offer", "sender": peer.id, "target": worker, "sdp": sdp }));
        let answer = peer.hear("answer").await;
        connection
            .accept_answer(answer["sdp"].as_str().unwrap())
            .await
            .unwrap();
        timeout(PATIENCE, channel.opened()).await.unwrap().unwrap();
        ByHand {
            connection,
            _events: events,
            channel,
        }
    }

    /// The answer to the first word.
    pub async fn ask(&self, word: &Word) -> Option<Word> {
        self.channel.send_text(&word.to_text()).await.unwrap();
        let answer = timeout(PATIENCE, first_word(&self.channel)).await;
        answer.expect("no answer")
    }

    /// Closes the connection, and nothing else.
    pub async fn hang_up(&self) {
        self.connection.close().await;
    }
}
