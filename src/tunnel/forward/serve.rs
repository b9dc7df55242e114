//! The worker's end: it connects to the places that its client may reach.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use super::carrier::Carrier;
use super::flow::FIRST_WINDOW;
use super::frame::Frame;
use super::mux::{Counts, Heard, Mux, Side, too_many};
use super::pump::{pump, tune};
use super::reach::{AllowList, CONNECT};
use super::reason::{Reason, Reset};
use super::stream::Stream;

/// How long a tunnel may have no stream until it is ended; its client makes it again when it needs it.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// Refusals that may wait to be sent; who asks for more of them has the tunnel ended.
const MAX_REFUSALS: usize = 1024;
/// How long streams may take to end with their tunnel.
const LAST: Duration = Duration::from_secs(2);

/// Serves a client's tunnel until either side ends it; why it ended comes back. `ending` ends it from here.
pub async fn serve<C: Carrier>(
    carrier: C,
    allowed: AllowList,
    idle: Duration,
    mut ending: oneshot::Receiver<Reset>,
) -> Reset {
    let counts = Arc::new(Counts::default());
    let mux = Arc::new(Mux::new(carrier, Side::Worker, counts));
    let unused = unused(&mux, idle);
    tokio::pin!(unused);
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut work = JoinSet::new();
    let mut told = false;
    let mut end = loop {
        let heard = tokio::select! {
            heard = mux.next() => heard,
            Some(done) = work.join_next() => match defect(done) {
                Some(reset) => break reset,
                None => continue,
            },
            reset = &mut unused => break reset,
            // Whoever could have ended it is gone only where the tube is over.
            reset = &mut ending => break reset.unwrap_or_else(|_| Reset::lost()),
        };
        match heard {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Open { stream, host, port }) => {
                work.spawn(open(mux.clone(), stream, allowed.clone(), host, port));
            }
            Ok(Heard::Ask { stream, host, port }) => {
                work.spawn(answer(mux.clone(), stream, allowed.clone(), host, port));
            }
            Ok(Heard::TooMany(stream)) => {
                let reset = too_many();
                let Ok(place) = refusals.clone().try_acquire_owned() else {
                    break too_many();
                };
                let mux = mux.clone();
                work.spawn(async move {
                    let _place = place;
                    // That the tunnel is over is noticed elsewhere.
                    let _ = mux.send(Frame::Reset { stream, reset }.encode()).await;
                });
            }
            Ok(Heard::Goodbye(reset)) => {
                told = true;
                break reset;
            }
            Err(reset) => break reset,
        }
    };
    mux.over(&end);
    let goodbye = async {
        if !told {
            mux.goodbye(end.clone()).await;
        }
    };
    let last = timeout(LAST, async {
        let mut died = None;
        while let Some(done) = work.join_next().await {
            died = died.or(defect(done));
        }
        died
    });
    let ((), died) = tokio::join!(goodbye, last);
    if let Ok(Some(died)) = died {
        end = died;
    }
    end
}

/// The end of a tunnel of which a part died.
fn defect(done: Result<(), JoinError>) -> Option<Reset> {
    let words =
        "a part of the worker died: this is a defect of Loaner, and the worker's log has its panic";
    let died = done.is_err_and(|error| error.is_panic());
    died.then(|| Reset::new(Reason::Failed, words))
}

/// Waits until there has been no stream for this long.
async fn unused<C: Carrier>(mux: &Mux<C>, idle: Duration) -> Reset {
    loop {
        let due = mux.unused_since().unwrap_or_else(Instant::now) + idle;
        tokio::time::sleep_until(due).await;
        if mux
            .unused_since()
            .is_some_and(|since| since.elapsed() >= idle)
        {
            let words = "nothing went through the tunnel for a long time";
            return Reset::new(Reason::Idle, words);
        }
    }
}

async fn open<C: Carrier>(
    mux: Arc<Mux<C>>,
    stream: Arc<Stream>,
    allowed: AllowList,
    host: String,
    port: u16,
) {
    let live = mux.hold(stream);
    let connected = tokio::select! {
        connected = allowed.connect(&host, port) => connected,
        // Its client does not want it any more.
        _ = live.stream.was_reset() => return,
    };
    let id = live.stream.id;
    let frame = match &connected {
        Ok(_) => Frame::Opened {
            stream: id,
            credit: FIRST_WINDOW,
        },
        Err(reset) => Frame::Reset {
            stream: id,
            reset: reset.clone(),
        },
    };
    match &connected {
        Ok(_) => tracing::debug!(host, port, "a client is connected to this place"),
        Err(reset) => {
            tracing::info!(
                host,
                port,
                reason = reset.reason.as_str(),
                "a client is not connected to this place"
            );
        }
    }
    if let (Ok(tcp), Ok(())) = (connected, mux.send(frame.encode()).await) {
        tune(&tcp);
        let passed = pump(&live, tcp, "at the worker").await;
        tracing::debug!(
            host,
            port,
            sent = passed.sent,
            received = passed.received,
            "a connection is over"
        );
    }
}

async fn answer<C: Carrier>(
    mux: Arc<Mux<C>>,
    stream: Arc<Stream>,
    allowed: AllowList,
    host: String,
    port: u16,
) {
    let live = mux.hold(stream);
    let found = tokio::select! {
        found = timeout(CONNECT, allowed.addresses(&host, port)) => found,
        _ = live.stream.was_reset() => return,
    };
    let stream = live.stream.id;
    let frame = match found {
        Ok(Err(reset)) if reset.reason == Reason::Denied => Frame::Reset { stream, reset },
        // A host that is not to be found now may be there when it is needed.
        _ => Frame::Allowed { stream },
    };
    // Who is gone needs no answer.
    let _ = mux.send(frame.encode()).await;
}
