//! A connection on its way in: prepared, put into the table, answered, and then served by its actor.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use bytes::BytesMut;

use super::super::connections::{Entry, Full, Meter, Outlet};
use super::super::core::Core;
use super::super::device::{DeviceSink, Settled};
use super::super::engine::Sink;
use super::super::limits::Bucket;
use super::super::line::{Io, Line};
use super::super::outbox::Outbox;
use super::super::post::Postman;
use super::super::prometheus::Handshake;
use super::super::table::Now;
use super::{Connection, ConnectionActor, Speech};
use crate::actors::{Feed, start_on};
use crate::charts::hub_connection::{Dialect, HubConnection, Input, Settings};
use crate::wire::close::CloseCode;

/// A connection that is not answered yet.
pub(in crate::hub) struct Guest<'a> {
    core: &'a Arc<Core>,
    speech: Speech,
    pace: Bucket,
    from: Option<IpAddr>,
    outbox: Outbox,
    meter: Arc<Meter>,
    ctx: Context<ConnectionActor>,
}

impl<'a> Guest<'a> {
    /// Prepares a connection; `pace` is that of its bytes.
    pub(in crate::hub) fn new(
        speech: Speech,
        pace: Bucket,
        from: Option<IpAddr>,
        core: &'a Arc<Core>,
    ) -> Self {
        Guest {
            core,
            speech,
            pace,
            from,
            outbox: Outbox::new(core.config.limits.outbox_bytes),
            meter: Arc::default(),
            ctx: Context::new(),
        }
    }

    /// Settles how it is understood.
    pub(in crate::hub) fn speak(&mut self, speech: Speech) {
        self.speech = speech;
    }

    /// The way to the device that this connection is of.
    pub(in crate::hub) fn device_sink(&self, settled: &Settled) -> Arc<DeviceSink> {
        Arc::new(DeviceSink::new(self.outbox.clone(), settled))
    }

    /// What the handshake counts as.
    pub(in crate::hub) fn outcome(&self) -> Handshake {
        match &self.speech {
            Speech::Signalling => Handshake::Signalling,
            Speech::Device(_) => Handshake::Device,
            Speech::TurnedAway(_) => Handshake::Unauthorized,
        }
    }

    /// Puts it into the table.
    pub(in crate::hub) fn enter(self) -> Result<Admitted, Full> {
        let outlet = ActorOutlet {
            outbox: self.outbox.clone(),
            control: self.ctx.address().recipient(),
        };
        let device = match &self.speech {
            Speech::Device(speech) => Some(speech.settled.key.clone()),
            _ => None,
        };
        let entry = Entry {
            outlet: Box::new(outlet),
            device,
            turned_away: matches!(self.speech, Speech::TurnedAway(_)),
            seat: None,
            resumable: false,
            opened: Now::read().epoch,
            from: self.from,
            meter: Arc::clone(&self.meter),
        };
        let conn = self.core.open(entry, |conn| {
            if let Speech::Device(speech) = &self.speech {
                speech.attach(conn, &self.core.config);
            }
        })?;
        let connection = Connection {
            core: Arc::clone(self.core),
            conn,
            speech: self.speech,
            pace: self.pace,
            outbox: self.outbox,
            meter: self.meter,
            pause: Rc::default(),
            line: None,
            reading: None,
            opened: Instant::now(),
            heard: Instant::now(),
            suspect: false,
            seated: false,
            flushed: false,
            peer_done: false,
            detached: false,
            why: None,
        };
        Ok(Admitted {
            connection,
            ctx: self.ctx,
        })
    }
}

/// A connection in the table, whose handshake may be answered. Dropped unserved, it is out of the table again.
pub(in crate::hub) struct Admitted {
    connection: Connection,
    ctx: Context<ConnectionActor>,
}

impl Admitted {
    /// Serves the connection over `io` until its end. `read` came with the handshake.
    pub(in crate::hub) fn serve(self, io: Box<dyn Io>, read: BytesMut) {
        let Admitted {
            mut connection,
            ctx,
        } = self;
        let config = &connection.core.config;
        let line = Line::new(
            io,
            read,
            connection.outbox.clone(),
            config.limits.message_bytes,
            Rc::clone(&connection.pause),
        );
        let settings = match connection.speech.dialect() {
            Dialect::Signalling => Settings {
                opening: config.limits.unregistered_time,
                ..Settings::signalling()
            },
            Dialect::Device => Settings::device(),
        };
        // Connections that opened together are not to be pinged together.
        let jitter = 1.0 - 0.1 * rand::random::<f64>();
        let settings = Settings {
            silence: config.ping_interval.mul_f64(jitter),
            answer: config.pong_timeout,
            ..settings
        };
        connection.line = Some(line);
        let instance = connection.conn.to_string();
        start_on(
            ctx,
            HubConnection::new(settings),
            connection,
            instance,
            None,
        );
    }
}

/// What others hold of a connection.
struct ActorOutlet {
    outbox: Outbox,
    control: Recipient<Feed<Input>>,
}

impl Outlet for ActorOutlet {
    fn send(&self, text: String) -> bool {
        self.outbox.text(text.as_bytes())
    }

    fn close(&self, code: CloseCode) {
        self.control.do_send(Feed(Input::End(code)));
    }

    fn postman(&self) -> Option<Arc<dyn Sink>> {
        Some(Arc::new(Postman::new(self.outbox.clone())))
    }

    fn unseated(&self) {
        self.control.do_send(Feed(Input::Unseated));
    }

    fn resumed(&self) {
        self.control.do_send(Feed(Input::Resumed));
    }
}
