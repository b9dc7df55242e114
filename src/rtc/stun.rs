//! Asking STUN servers under which address a socket is seen (RFC 8489), outside of any connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter as _, Message, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::IceServer;
use super::servers::{resolve, usable_servers};
use crate::wire::IceUrl;

/// The waits for answers; before each, those that have not answered are asked (again).
const WAITS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(1000),
    Duration::from_millis(1000),
];
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1500;

/// A server that can be asked, by number. TURN servers answer this too, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer {
    /// As the hub names it.
    pub url: String,
    /// Where it is.
    pub address: SocketAddr,
}

/// The servers among these that can be asked by UDP, each address once and 8 at most. Names that cannot be resolved are
/// left out.
pub async fn stun_servers(servers: Vec<IceServer>) -> Vec<StunServer> {
    let urls = usable_servers(servers)
        .into_iter()
        .flat_map(|server| server.urls);
    let asked = urls.map(|url| async move {
        let parsed: IceUrl = url.parse().ok()?;
        let address = SocketAddr::from((resolve(&parsed).await?, parsed.port));
        Some(StunServer { url, address })
    });
    let mut found: Vec<StunServer> = Vec::new();
    for server in futures_util::future::join_all(asked)
        .await
        .into_iter()
        .flatten()
    {
        if found.iter().all(|known| known.address != server.address) {
            found.push(server);
        }
    }
    found
}

/// The addresses under which servers see a socket, in their order; `None` for one that does not answer, or not with an
/// address. Takes 3.5 s at most, and no longer than the slowest answer. Whatever others send to the socket is not heard.
///
/// # Errors
/// When the socket cannot be read.
pub async fn mapped_addresses(
    socket: &UdpSocket,
    servers: &[SocketAddr],
) -> io::Result<Vec<Option<SocketAddr>>> {
    let mut asked = Vec::new();
    for server in servers {
        let mut request = Message::new();
        let built = request.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)]);
        built.map_err(|error| io::Error::other(error.to_string()))?;
        asked.push((*server, request));
    }
    let mut seen = vec![None; servers.len()];
    for wait in WAITS {
        for ((server, request), _) in asked.iter().zip(&seen).filter(|(_, seen)| seen.is_none()) {
            if let Err(error) = socket.send_to(&request.raw, server).await {
                tracing::debug!(%server, %error, "a STUN server cannot be asked");
            }
        }
        let until = Instant::now() + wait;
        while seen.contains(&None) {
            let mut buffer = [0; MAX_ANSWER];
            let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await else {
                break;
            };
            let (length, from) = received?;
            let answer = buffer.get(..length).unwrap_or_default();
            // Anybody can send datagrams; only who saw a request knows its number.
            for ((server, request), seen) in asked.iter().zip(&mut seen) {
                if from == *server {
                    *seen = seen.or_else(|| mapped(answer, request.transaction_id));
                }
            }
        }
    }
    Ok(seen)
}

/// The address in an answer to the request of this number.
fn mapped(answer: &[u8], asked: TransactionId) -> Option<SocketAddr> {
    let mut message = Message::new();
    message.write(answer).ok()?;
    let mut address = XorMappedAddress::default();
    (message.transaction_id == asked && message.typ == BINDING_SUCCESS)
        .then(|| address.get_from(&message).ok())??;
    Some(SocketAddr::new(address.ip, address.port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer as RFC 5769 has it, under 2.2, without what signs it.
    const ANSWER: [u8; 32] = [
        0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12,
        0xa6, 0x43,
    ];

    fn number() -> TransactionId {
        TransactionId(ANSWER[8..20].try_into().unwrap())
    }

    #[test]
    fn an_answer_is_read_as_the_standard_has_it() {
        let address = mapped(&ANSWER, number());
        assert_eq!(address, Some(([192, 0, 2, 1], 32853).into()));
        assert_eq!(mapped(&ANSWER, TransactionId([7; 12])), None);
        let mut error = ANSWER;
        error[..2].copy_from_slice(&[0x01, 0x11]);
        assert_eq!(mapped(&error, number()), None);
        (0..ANSWER.len()).for_each(|end| assert_eq!(mapped(&ANSWER[..end], number()), None));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(answer in any::<Vec<u8>>(), at in 0..32_usize, byte in any::<u8>()) {
            mapped(&answer, number());
            let mut nearly = ANSWER;
            nearly[at] = byte;
            mapped(&nearly, number());
        }
    }
}
