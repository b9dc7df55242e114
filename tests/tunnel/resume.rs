//! Who may go on with a tunnel.

use loaner::rtc::DataPlane;
use loaner::rtc::Incoming;
use loaner::tunnel::forward::Frame;
use loaner::tunnel::tube::{Tube, Word};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::{ByHand, PATIENCE};
use super::{Through, accept};

const STREAM: u32 = 1;

/// Some bytes go both ways through a tube.
async fn goes_through(tube: &Tube, there: &mut TcpStream, text: &'static [u8]) {
    let data = Frame::Data {
        stream: STREAM,
        bytes: text.into(),
    };
    tube.send_binary(data.encode()).await.unwrap();
    let mut came = vec![0; text.len()];
    let read = timeout(PATIENCE, there.read_exact(&mut came)).await;
    read.expect("nothing comes to the worker").unwrap();
    assert_eq!(came, text);
    there.write_all(text).await.unwrap();
    let mut back = Vec::new();
    while back.len() < text.len() {
        let message = timeout(PATIENCE, tube.recv()).await;
        let message = message.expect("nothing comes back").unwrap();
        let Incoming::Binary(message) = message else {
            panic!("a text: {message:?}");
        };
        match Frame::decode(message).unwrap() {
            Frame::Data { bytes, .. } => back.extend_from_slice(&bytes),
            Frame::Opened { .. } | Frame::Credit { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(back, text);
}

/// Neither a wrong token nor another user gets hold of a tunnel, whose client notices nothing of it; its user, with the token,
/// goes on with it over another connection, and the first is closed.
#[actix_rt::test]
async fn only_its_user_with_its_token_goes_on_with_a_tunnel() {
    let through = Through::new().await;
    let lab = &through.lab;
    let mut owner = lab.user().await;
    let first = ByHand::open(&mut owner, &lab.worker_id, None).await;
    let Some(Word::Begun { id, token }) = first.ask(&Word::Begin).await else {
        panic!("no tunnel begins");
    };
    let (tube, _signs) = Tube::new(&DataPlane::start().unwrap());
    tube.carry(first.channel.clone(), 1, 0).await.unwrap();
    tube.ping(1);
    let open = Frame::Open {
        stream: STREAM,
        credit: 1 << 16,
        host: "localhost".to_owned(),
        port: through.remote,
    };
    tube.send_binary(open.encode()).await.unwrap();
    let mut there = accept(&through.target).await;
    goes_through(&tube, &mut there, b"one").await;

    let resume = |token: &str, have| Word::Resume {
        id: id.clone(),
        token: token.to_owned(),
        generation: 2,
        have,
    };
    let mut stranger = lab.user().await;
    let wrong = "0".repeat(token.len());
    let shortened = &token[1..];
    for (is_owner, token) in [
        (true, wrong.as_str()),
        (true, shortened),
        (true, ""),
        (false, token.as_str()),
    ] {
        let peer = if is_owner { &mut owner } else { &mut stranger };
        let another = ByHand::open(peer, &lab.worker_id, Some(&id)).await;
        let answer = another.ask(&resume(token, 0)).await;
        assert_eq!(answer, Some(Word::Refused), "{token}");
        let closed = timeout(PATIENCE, another.channel.closed()).await;
        closed.expect("it is not closed");
        goes_through(&tube, &mut there, b"two").await;
    }

    let mut again = lab.again(owner.id_token.clone()).await;
    let second = ByHand::open(&mut again, &lab.worker_id, Some(&id)).await;
    let have = tube.detach().await;
    let answer = second.ask(&resume(&token, have)).await;
    let Some(Word::Resumed { have }) = answer else {
        panic!("its user may not go on with it: {answer:?}");
    };
    tube.carry(second.channel.clone(), 2, have).await.unwrap();
    tube.ping(2);
    goes_through(&tube, &mut there, b"three").await;
    let closed = timeout(PATIENCE, first.channel.closed()).await;
    closed.expect("the first connection is not closed");

    // One that was overtaken is closed, and changes nothing.
    let late = ByHand::open(&mut again, &lab.worker_id, Some(&id)).await;
    let word = resume(&token, 0).to_text();
    late.channel.send_text(&word).await.unwrap();
    let closed = timeout(PATIENCE, late.channel.closed()).await;
    closed.expect("a connection that was overtaken is not closed");
    goes_through(&tube, &mut there, b"four").await;
}
