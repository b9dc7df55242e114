//! The client's end: it opens streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::carrier::Carrier;
use super::flow::FIRST_WINDOW;
use super::frame::Frame;
use super::mux::{Counts, Heard, Live, Mux, Side};
use super::place::Forward;
use super::pump::{Passed, breaks, pump, tune};
use super::reach::CONNECT;
use super::reason::{Reason, Reset};

/// How long the worker may take to answer: to connect, and something for the way.
const ANSWER: Duration = Duration::from_secs(CONNECT.as_secs() + 20);

/// A tunnel to a worker. Clones are the same one.
#[derive(Debug)]
pub struct Tunnel<C> {
    mux: Arc<Mux<C>>,
}

impl<C> Clone for Tunnel<C> {
    fn clone(&self) -> Self {
        Tunnel {
            mux: self.mux.clone(),
        }
    }
}

impl<C: Carrier> Tunnel<C> {
    /// Over this carrier; what goes through is counted. Nothing happens until somebody [listens](Self::listen).
    pub fn new(carrier: C, counts: Arc<Counts>) -> Self {
        Tunnel {
            mux: Arc::new(Mux::new(carrier, Side::Client, counts)),
        }
    }

    /// Hears what the worker says, until the tunnel is over; why comes back. All streams are reset then.
    pub async fn listen(&self) -> Reset {
        let (end, told) = loop {
            match self.mux.next().await {
                Ok(Heard::Goodbye(reset)) => break (reset, true),
                Ok(_) => {}
                Err(reset) => break (reset, false),
            }
        };
        self.mux.over(&end);
        if !told {
            self.mux.goodbye(end.clone()).await;
        }
        end
    }

    /// Whether the worker allows a place.
    ///
    /// # Errors
    /// Why not, or that it does not answer.
    pub async fn ask(&self, forward: &Forward) -> Result<(), Reset> {
        let live = self.mux.begin()?;
        let frame = Frame::Ask {
            stream: live.stream.id,
            host: forward.host.clone(),
            port: forward.port,
        };
        self.mux.send(frame.encode()).await?;
        answered(&live).await
    }

    /// Carries a connection that was accepted here to a place at the worker, until it is over. `opened` is called when it
    /// is connected there.
    ///
    /// # Errors
    /// The connection itself, and why the tunnel is over, where that was before the worker had connected it.
    pub async fn carry(
        &self,
        tcp: TcpStream,
        forward: &Forward,
        opened: impl FnOnce(),
    ) -> Result<Passed, (TcpStream, Reset)> {
        tune(&tcp);
        match self.opened(forward).await {
            Ok(live) => {
                opened();
                Ok(pump(&live, tcp, "here").await)
            }
            Err(reset) if self.is_over() => Err((tcp, reset)),
            Err(reset) => Ok(refuse(tcp, reset)),
        }
    }

    /// Whether it is over: nothing goes through any more.
    pub fn is_over(&self) -> bool {
        self.mux.is_over()
    }

    async fn opened(&self, forward: &Forward) -> Result<Live<C>, Reset> {
        let live = self.mux.begin()?;
        let stream = live.stream.id;
        let frame = Frame::Open {
            stream,
            credit: FIRST_WINDOW,
            host: forward.host.clone(),
            port: forward.port,
        };
        self.mux.send(frame.encode()).await?;
        match answered(&live).await {
            Ok(()) => {
                let counts = &self.mux.counts;
                counts
                    .opened
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(live)
            }
            Err(reset) => {
                if reset.reason == Reason::TimedOut {
                    let told = Frame::Reset {
                        stream,
                        reset: reset.clone(),
                    };
                    // The worker must not connect to what nobody waits for any more.
                    let _ = self.mux.send(told.encode()).await;
                }
                Err(reset)
            }
        }
    }

    /// Streams that are open now.
    pub fn live(&self) -> usize {
        self.mux.live()
    }

    /// Ends the tunnel and tells the worker, within a few seconds.
    pub async fn end(&self) {
        let reset = Reset::new(Reason::ShutDown, "the client ends the tunnel");
        self.mux.over(&reset);
        self.mux.goodbye(reset).await;
    }
}

/// Has a connection that was accepted here end as broken.
pub fn refuse(tcp: TcpStream, reset: Reset) -> Passed {
    breaks(&tcp);
    Passed {
        reset: Some(reset),
        ..Passed::default()
    }
}

async fn answered<C>(live: &Live<C>) -> Result<(), Reset> {
    let answer = async {
        tokio::select! {
            biased;
            reset = live.stream.was_reset() => Err(reset),
            () = live.stream.is_answered() => Ok(()),
        }
    };
    let late = || Reset::new(Reason::TimedOut, "the worker did not answer in time");
    timeout(ANSWER, answer)
        .await
        .unwrap_or_else(|_| Err(late()))
}
