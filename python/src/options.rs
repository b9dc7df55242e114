//! What a program says of a tube that it wants.

use loaner::rtc::{IceServer, usable_servers};
use loaner::tunnel::registry::{NetworkChangeType, Role, TubeOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::waiting::seconds;

/// A STUN or TURN server, as WebRTC's `RTCIceServer` has it.
#[derive(FromPyObject)]
pub struct Server {
    #[pyo3(item)]
    urls: Urls,
    #[pyo3(item, default)]
    username: String,
    #[pyo3(item, default)]
    credential: String,
}

#[derive(FromPyObject)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

/// A tube as a program wants it; what is `None` is as usual.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Wishes {
    tube_id: String,
    role: String,
    conversation_id: String,
    patience: Option<f64>,
    keepalive: Option<f64>,
    ice_servers: Vec<Server>,
}

fn role(name: &str) -> PyResult<Role> {
    match name {
        "initiator" => Ok(Role::Initiator),
        "responder" => Ok(Role::Responder),
        _ => Err(PyValueError::new_err(format!(
            "a role is 'initiator' or 'responder', not {name:?}"
        ))),
    }
}

pub fn change(name: &str) -> PyResult<NetworkChangeType> {
    use NetworkChangeType::*;
    [
        InterfaceChange, IpChange, Timeout, IceFailure, QualityDegraded,
    ]
    .into_iter()
    .find(|change| change.as_ref() == name)
    .ok_or_else(|| PyValueError::new_err(format!("{name:?} is no type of a change of the network")))
}

impl Wishes {
    pub fn options(self) -> PyResult<TubeOptions> {
        let mut options = TubeOptions::new(self.tube_id, role(&self.role)?);
        options.conversation_id = self.conversation_id;
        if let Some(patience) = self.patience {
            options.patience = seconds("patience", patience)?;
        }
        if let Some(keepalive) = self.keepalive {
            options.keepalive = seconds("keepalive", keepalive)?;
        }
        let servers = self.ice_servers.into_iter().map(Server::into).collect();
        options.rtc.ice_servers = usable_servers(servers);
        Ok(options)
    }
}

impl From<Server> for IceServer {
    fn from(server: Server) -> Self {
        IceServer {
            urls: match server.urls {
                Urls::One(url) => vec![url],
                Urls::Many(urls) => urls,
            },
            username: server.username,
            credential: server.credential,
        }
    }
}
