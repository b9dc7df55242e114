//! The actor of `peer`: one peer connection with its watchdog and its channels' keep-alives. It owns the connection;
//! what runs on a channel belongs to whoever is told of the channel.

mod sight;

use std::collections::VecDeque;
use std::fmt;

use actix::prelude::*;
use tokio::sync::mpsc;

pub use self::sight::{AskPath, Sight};
use super::chart_actor::{ChartActor, Died, Feed, Perform, start};
use super::ice_watchdog::{Verdict, WatchdogActor, WatchdogPerformer};
use super::keep_alive::keep_alive;
use crate::charts::ice_watchdog::{IceWatchdog, Input as WatchdogInput};
use crate::charts::peer::{Act, Input, Lost, Peer, Side};
use crate::charts::{Chart as _, PeerId};
use crate::rtc::{Channel, Connection, DataPlane, IceState, RtcConfig, RtcEvent};

/// The label of the channel that a client makes.
pub const CHANNEL_LABEL: &str = "my-data-channel";

/// Candidates that are kept until there is a connection. Real peers have a few per interface.
const MAX_EARLY: usize = 64;

/// Tells connections apart, also two with the same peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link-{}", self.0)
    }
}

/// What a connection has to say.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkNews {
    /// Which connection.
    pub link: LinkId,
    /// What happened.
    pub what: LinkEvent,
}

/// One thing that happened to a connection.
pub enum LinkEvent {
    /// The local description is complete and wants to be sent.
    Description(String),
    /// A candidate that follows the description and wants to be sent.
    Candidate(String),
    /// The TURN servers give no relay; why, for a person to read.
    NoRelay(String),
    /// A channel was made, by this side or the other; it may not be open yet.
    Channel(Channel),
    /// The first channel is open.
    Open,
    /// The path is gone for now; the watchdog counts its 90 s.
    Suspect,
    /// The path is back.
    Recovered,
    /// The connection is lost for good.
    Lost(Lost),
    /// Nothing is left of it.
    Closed,
}

/// The answer of the other side.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RemoteAnswer(pub String);

/// The connection with its first description, or why there is none.
#[derive(Message)]
#[rtype(result = "()")]
struct Opened(Result<Setup, String>);

struct Setup {
    connection: Connection,
    events: mpsc::Receiver<RtcEvent>,
    description: String,
    channel: Option<Channel>,
}

/// Something from the connection or one of its channels.
#[derive(Message)]
#[rtype(result = "()")]
enum FromStack {
    Event(RtcEvent),
    NoRelay(String),
    ChannelOpened,
    ChannelEnded,
}

/// Performs the effects of `peer`.
pub struct PeerPerformer {
    link: LinkId,
    peer: PeerId,
    offer: Option<String>,
    label: &'static str,
    config: RtcConfig,
    plane: DataPlane,
    owner: Recipient<LinkNews>,
    supervisor: Option<Recipient<Died>>,
    connection: Option<Connection>,
    watchdog: Option<Addr<WatchdogActor>>,
    made_by_remote: VecDeque<Channel>,
    /// Candidates of the other side that came before there was a connection.
    early: Vec<RemoteCandidate>,
    channels: usize,
}

/// The actor of `peer`.
pub type PeerActor = ChartActor<PeerPerformer>;

/// What a connection needs to begin.
pub struct Dial {
    /// Its id.
    pub link: LinkId,
    /// Whom it is with.
    pub peer: PeerId,
    /// The offer to answer; without one, this side offers.
    pub offer: Option<String>,
    /// The label of the channel that this side makes, if it offers.
    pub label: &'static str,
    /// Settings.
    pub config: RtcConfig,
    /// Where it runs.
    pub plane: DataPlane,
    /// Who hears of it.
    pub owner: Recipient<LinkNews>,
    /// Who hears of a defect.
    pub supervisor: Option<Recipient<Died>>,
}

/// Begins a connection.
pub fn connect(dial: Dial) -> Addr<PeerActor> {
    let side = if dial.offer.is_some() {
        Side::Answerer
    } else {
        Side::Offerer
    };
    let instance = format!("{} {}", dial.link, dial.peer);
    let performer = PeerPerformer {
        link: dial.link,
        peer: dial.peer,
        offer: dial.offer,
        label: dial.label,
        config: dial.config,
        plane: dial.plane,
        owner: dial.owner,
        supervisor: dial.supervisor.clone(),
        connection: None,
        watchdog: None,
        made_by_remote: VecDeque::new(),
        early: Vec::new(),
        channels: 0,
    };
    let addr = start(Peer::new(side), performer, instance, dial.supervisor);
    addr.do_send(Feed(Input::Begin));
    addr
}

impl PeerPerformer {
    fn tell(&self, what: LinkEvent) {
        self.owner.do_send(LinkNews {
            link: self.link,
            what,
        });
    }

    fn tell_watchdog(&self, event: WatchdogInput) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.do_send(Feed(event));
        }
    }

    /// Opens the connection on the data plane; the description comes back as a message.
    fn open(&mut self, ctx: &mut Context<PeerActor>) {
        let (plane, config, offer) = (self.plane.clone(), self.config.clone(), self.offer.take());
        let label = self.label;
        let back = ctx.address();
        self.plane.spawn(async move {
            let setup = async {
                let (connection, events, description, channel) = match offer {
                    Some(offer) => {
                        let (connection, events) =
                            Connection::open_for(&plane, &config, &offer).await?;
                        let answer = connection.answer(&offer).await?;
                        (connection, events, answer, None)
                    }
                    None => {
                        let (connection, events) = Connection::open(&plane, &config).await?;
                        let channel = connection.create_channel(label).await?;
                        let offer = connection.offer().await?;
                        (connection, events, offer, Some(channel))
                    }
                };
                Ok::<_, crate::rtc::RtcError>(Setup {
                    connection,
                    events,
                    description,
                    channel,
                })
            };
            back.do_send(Opened(setup.await.map_err(|error| error.to_string())));
        });
    }

    /// Keeps a channel alive and watches it; the owner gets it.
    fn serve(&mut self, channel: Channel, ctx: &mut Context<PeerActor>) {
        self.channels += 1;
        keep_alive(
            channel.clone(),
            &self.plane,
            &format!("{} {}", self.link, channel.label()),
        );
        self.tell(LinkEvent::Channel(channel.clone()));
        let back = ctx.address();
        self.plane.spawn(async move {
            if channel.opened().await.is_ok() {
                back.do_send(FromStack::ChannelOpened);
                channel.closed().await;
            }
            back.do_send(FromStack::ChannelEnded);
        });
    }
}

impl Perform for PeerPerformer {
    type Chart = Peer;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, ctx: &mut Context<ChartActor<Self>>) {
        match act {
            Act::SendOffer | Act::SendAnswer => self.open(ctx),
            Act::LogConnected => {
                tracing::info!(link = %self.link, peer = %self.peer, "ICE connection established")
            }
            Act::ServeChannel => {
                if let Some(channel) = self.made_by_remote.pop_front() {
                    tracing::info!(link = %self.link, label = channel.label(), "channel created by remote party");
                    self.serve(channel, ctx);
                }
            }
            Act::TellWatchdogConnected => self.tell_watchdog(WatchdogInput::Connected),
            Act::TellWatchdogDisconnected => self.tell_watchdog(WatchdogInput::Disconnected),
            Act::TellWatchdogFailed => self.tell_watchdog(WatchdogInput::Failed),
            Act::EndWatchdog => self.tell_watchdog(WatchdogInput::Closed),
            Act::ReportOpen => self.tell(LinkEvent::Open),
            Act::ReportLost(why) => self.tell(LinkEvent::Lost(why)),
            Act::ReportClosed => self.tell(LinkEvent::Closed),
            Act::CloseStack => match self.connection.take() {
                Some(connection) => {
                    let back = ctx.address();
                    self.plane.spawn(async move {
                        connection.close().await;
                        back.do_send(Feed(Input::StackClosed));
                    });
                }
                None => ctx.notify(Feed(Input::StackClosed)),
            },
        }
    }
}

impl Handler<Opened> for PeerActor {
    type Result = ();

    fn handle(&mut self, opened: Opened, ctx: &mut Self::Context) {
        let mut setup = match opened.0 {
            Ok(setup) => setup,
            Err(error) => {
                let performer = self.performer();
                tracing::warn!(link = %performer.link, peer = %performer.peer, %error, "no connection could be set up");
                self.feed(&Input::NegotiationFailed, ctx);
                return;
            }
        };
        let answers = setup.channel.is_none();
        if self.chart().state() != "negotiating" {
            // Given up meanwhile: what came too late is closed at once.
            self.performer()
                .plane
                .spawn(async move { setup.connection.close().await });
            return;
        }
        let back = ctx.address();
        let performer = self.performer();
        performer.connection = Some(setup.connection.clone());
        for candidate in std::mem::take(&mut performer.early) {
            ctx.notify(candidate);
        }
        let (connection, hear) = (setup.connection.clone(), ctx.address());
        performer.plane.spawn(async move {
            if let Some(why) = connection.without_relay().await {
                hear.do_send(FromStack::NoRelay(why));
            }
        });
        let connection = setup.connection;
        performer.watchdog = Some(start(
            IceWatchdog::new(),
            WatchdogPerformer {
                look: Box::new(move || connection.ice_state()),
                peer: ctx.address().recipient(),
            },
            performer.link.to_string(),
            performer.supervisor.clone(),
        ));
        performer.plane.spawn(async move {
            while let Some(event) = setup.events.recv().await {
                back.do_send(FromStack::Event(event));
            }
        });
        if let Some(channel) = setup.channel.take() {
            performer.serve(channel, ctx);
        }
        performer.tell(LinkEvent::Description(setup.description));
        if answers {
            self.feed(&Input::Agreed, ctx);
        }
    }
}

impl Handler<RemoteAnswer> for PeerActor {
    type Result = ();

    fn handle(&mut self, answer: RemoteAnswer, ctx: &mut Self::Context) {
        let Some(connection) = self.performer().connection.clone() else {
            return;
        };
        let (back, link) = (ctx.address(), self.performer().link);
        self.performer().plane.spawn(async move {
            match connection.accept_answer(&answer.0).await {
                Ok(()) => back.do_send(Feed(Input::Agreed)),
                Err(error) => {
                    tracing::warn!(%link, %error, "the answer could not be used");
                    back.do_send(Feed(Input::NegotiationFailed));
                }
            }
        });
    }
}

impl Handler<FromStack> for PeerActor {
    type Result = ();

    fn handle(&mut self, news: FromStack, ctx: &mut Self::Context) {
        let event = match news {
            FromStack::Event(RtcEvent::Ice(state)) => match state {
                IceState::New | IceState::Checking => return,
                IceState::Connected | IceState::Completed => Input::IceConnected,
                IceState::Disconnected => Input::IceDisconnected,
                IceState::Failed => Input::IceFailed,
                IceState::Closed => Input::ChannelClosed,
            },
            FromStack::Event(RtcEvent::Channel(channel)) => {
                self.performer().made_by_remote.push_back(channel);
                Input::ChannelCreated
            }
            FromStack::Event(RtcEvent::Candidate(candidate)) => {
                return self.performer().tell(LinkEvent::Candidate(candidate));
            }
            FromStack::NoRelay(why) => return self.performer().tell(LinkEvent::NoRelay(why)),
            FromStack::Event(RtcEvent::Ended) => Input::ChannelClosed,
            FromStack::ChannelOpened => {
                tracing::info!(link = %self.performer().link, "channel is open");
                Input::ChannelOpen
            }
            FromStack::ChannelEnded => {
                let performer = self.performer();
                performer.channels = performer.channels.saturating_sub(1);
                if performer.channels > 0 {
                    return;
                }
                Input::ChannelClosed
            }
        };
        self.feed(&event, ctx);
    }
}

impl Handler<Verdict> for PeerActor {
    type Result = ();

    fn handle(&mut self, verdict: Verdict, ctx: &mut Self::Context) {
        match verdict {
            Verdict::Suspect => self.performer().tell(LinkEvent::Suspect),
            Verdict::Recovered => self.performer().tell(LinkEvent::Recovered),
            Verdict::Reset => self.feed(&Input::GivenUp, ctx),
        }
    }
}

/// A candidate that came on its own: of another Loaner, or of a later foreign peer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RemoteCandidate(pub serde_json::Value);

impl Handler<RemoteCandidate> for PeerActor {
    type Result = ();

    fn handle(&mut self, candidate: RemoteCandidate, _: &mut Self::Context) {
        let performer = self.performer();
        let Some(connection) = performer.connection.clone() else {
            if performer.early.len() < MAX_EARLY {
                performer.early.push(candidate);
            }
            return;
        };
        let value = candidate.0;
        let text = value
            .as_str()
            .or_else(|| value["candidate"].as_str())
            .map(str::to_owned);
        let mid = value["sdpMid"].as_str().map(str::to_owned);
        let line = value["sdpMLineIndex"]
            .as_u64()
            .and_then(|line| u16::try_from(line).ok());
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let link = self.performer().link;
        self.performer().plane.spawn(async move {
            if let Err(error) = connection.add_candidate(&text, mid, line).await {
                tracing::debug!(%link, %error, "a candidate could not be used");
            }
        });
    }
}
