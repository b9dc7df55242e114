//! The tasks that work on the connection of a tube. They are aborted with it, at any point where they wait: so what has to
//! happen together happens between two of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::message::Message;
use super::{OVERHEAD, Received, Shared, Sign, Word, share};
use crate::rtc::{Channel, Incoming, MAX_MESSAGE_BYTES};
use crate::wire::KEEP_ALIVE;

/// How long the other side is not told of a little that came.
const SOON: Duration = Duration::from_millis(50);

/// Takes what comes.
pub(super) async fn read(
    shared: Arc<Shared>,
    channel: Channel,
    generation: u64,
    say: mpsc::Sender<Word>,
) {
    loop {
        // For the largest message there may be; what this one does not need is given back.
        let most = (MAX_MESSAGE_BYTES + OVERHEAD) as u32;
        let Ok(mut room) = shared.ahead.clone().acquire_many_owned(most).await else {
            return;
        };
        let message = channel.recv().await;
        if message.is_some() {
            shared.heard.send_replace(Instant::now());
        }
        let (message, length) = match message {
            Some(Incoming::Binary(bytes)) if bytes.as_ref() == KEEP_ALIVE => continue,
            Some(Incoming::Binary(bytes)) => {
                let length = bytes.len();
                (Incoming::Binary(bytes), length)
            }
            Some(Incoming::Text(text)) => match Message::parse(&text) {
                Some(message) => (message, text.len()),
                None => match hear(&shared, &text, generation, &say) {
                    Some(end) => return tell_of(&shared, end).await,
                    None => continue,
                },
            },
            None => return tell_of(&shared, Sign::Gone(generation)).await,
        };
        let Some(kept) = room.split(share(length) as usize) else {
            return;
        };
        let take = |received: &mut Received| received.take(length);
        // Nobody receives any more only where it is over.
        if shared.incoming_in.send((message, kept)).is_ok() {
            shared.received.send_modify(take);
        }
    }
}

/// Tells of an end, which must not be missed.
async fn tell_of(shared: &Shared, end: Sign) {
    // Without a manager there is nobody to be told.
    let _ = shared.signs.send(end).await;
}

/// What a word means; returned where it is the end of the connection, or of all.
fn hear(shared: &Shared, text: &str, generation: u64, say: &mpsc::Sender<Word>) -> Option<Sign> {
    let sign = match Word::parse(text) {
        Some(Word::Ping { generation }) => {
            // Who asks for more than can be sent is not answered each time.
            let _ = say.try_send(Word::Pong { generation });
            Sign::PeerPing(generation)
        }
        Some(Word::Pong { generation }) => Sign::Pong(generation),
        Some(Word::Have { messages }) => {
            let acknowledged = shared.sent().acknowledge(messages);
            shared.acknowledged.send_replace(());
            return acknowledged.err().map(|error| {
                tracing::warn!(%error, "a tube is out of step");
                Sign::Gone(generation)
            });
        }
        Some(Word::Close) => return Some(Sign::PeerClosed(generation)),
        other => {
            tracing::debug!(?other, "not for an open tube");
            return None;
        }
    };
    // One of many is enough.
    let _ = shared.signs.try_send(sign);
    None
}

/// Sends what there is to say, and what is kept, from where it was left. Ends with a goodbye, or with the channel.
pub(super) async fn write(shared: Arc<Shared>, channel: Channel, mut words: mpsc::Receiver<Word>) {
    loop {
        let word = match words.try_recv() {
            Ok(word) => Some(word),
            Err(_) if shared.has_next() => None,
            Err(_) => {
                shared.put_down(&channel);
                let word = tokio::select! {
                    word = words.recv() => match word {
                        Some(word) => Some(word),
                        None => return,
                    },
                    () = shared.pending.notified() => None,
                };
                if let Some(begun) = shared.take_up()
                    && begun.await.is_err()
                {
                    return;
                }
                word
            }
        };
        let is_last = word == Some(Word::Close);
        if word.is_none() || is_last {
            // Before a goodbye, everything.
            while let Some(message) = shared.next() {
                if message.send(channel.clone()).await.is_err() {
                    return;
                }
                if !is_last {
                    break;
                }
            }
        }
        if let Some(word) = word
            && channel.send_text(&word.to_text()).await.is_err()
        {
            return;
        }
        if is_last {
            return;
        }
    }
}

/// Tells the other side what is here: soon, or at once where it is much.
pub(super) async fn tell(shared: Arc<Shared>, say: mpsc::Sender<Word>) {
    let mut received = shared.received.subscribe();
    // The sender lives as long as what this is a part of.
    while received.wait_for(Received::is_untold).await.is_ok() {
        let due = received.wait_for(Received::is_due);
        let _ = tokio::time::timeout(SOON, due).await;
        let mut messages = 0;
        shared
            .received
            .send_modify(|received| messages = received.tell());
        if say.send(Word::Have { messages }).await.is_err() {
            return;
        }
    }
}
