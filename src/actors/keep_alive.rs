//! The actor of `keep_alive`: it waits for its channel to open, beats, and ends with it.

use actix::prelude::*;
use bytes::Bytes;

use super::chart_actor::{ChartActor, Feed, Perform, start};
use crate::charts::keep_alive::{Act, Input, KeepAlive};
use crate::rtc::{Channel, DataPlane};
use crate::wire::KEEP_ALIVE;

/// Where the beats go: a data channel, or what stands for it where time is steered.
pub trait Beat: Unpin + 'static {
    /// Sends one `KEEP_ALIVE`, as a binary message.
    fn beat(&mut self);
}

/// Performs the effects of `keep_alive`.
pub struct KeepAlivePerformer<B>(pub B);

/// The actor of `keep_alive`.
pub type KeepAliveActor<B> = ChartActor<KeepAlivePerformer<B>>;

impl<B: Beat> Perform for KeepAlivePerformer<B> {
    type Chart = KeepAlive;

    fn perform(&mut self, act: Act, _: &mut Context<ChartActor<Self>>) {
        match act {
            Act::SendKeepAlive => self.0.beat(),
        }
    }
}

/// Beats on a data channel, from the data plane: a full send buffer must not hold up an actor.
pub struct ChannelBeat {
    channel: Channel,
    plane: DataPlane,
}

impl Beat for ChannelBeat {
    fn beat(&mut self) {
        let channel = self.channel.clone();
        self.plane.spawn(async move {
            if let Err(error) = channel.send_binary(Bytes::from_static(KEEP_ALIVE)).await {
                tracing::debug!(label = channel.label(), %error, "keep-alive not sent");
            }
        });
    }
}

/// Keeps a channel alive from the moment it is open, also when it is open already, until it closes.
pub fn keep_alive(
    channel: Channel,
    plane: &DataPlane,
    instance: &str,
) -> Addr<KeepAliveActor<ChannelBeat>> {
    let performer = KeepAlivePerformer(ChannelBeat {
        channel: channel.clone(),
        plane: plane.clone(),
    });
    let addr = start(KeepAlive::new(), performer, instance, None);
    let events = addr.clone().recipient::<Feed<Input>>();
    plane.spawn(async move {
        if channel.opened().await.is_ok() {
            events.do_send(Feed(Input::ChannelOpen));
            channel.closed().await;
        }
        events.do_send(Feed(Input::ChannelClosed));
    });
    addr
}
