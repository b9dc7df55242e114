//! Weakness 14: who may read the answers.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

/// No answer lets the pages of another origin read it, whoever asks, and in whatever way.
#[actix_web::test]
async fn no_answer_is_for_pages_of_other_origins() {
    let hub = hub_with(|config| config.origins = vec!["https://lab.example".to_owned()]);
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let auth = format!("Authorization: Bearer {}\r\n", user.token);
    let preflight =
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";
    let cases = [
        ("GET /health", "", "200"),
        ("GET /ready", "", "200"),
        ("GET /metrics", "", "200"),
        ("GET /rooms", "", "404"),
        ("GET /nope", "", "404"),
        ("GET /", "", "426"),
        ("POST /anonymous-signin", "", "200"),
        ("POST /create-room", &auth, "200"),
        ("POST /create-room", "", "422"),
        ("POST /delete-peer", "", "422"),
        ("OPTIONS /create-room", preflight, "405"),
        ("OPTIONS /anonymous-signin", preflight, "405"),
        ("GET /ws?token=x", upgrade, "401"),
    ];
    let origins = [
        ("https://lab.example", "101"),
        ("https://evil.example", "403"),
    ];
    for (origin, socket) in origins {
        for (request, headers, status) in cases.into_iter().chain([("GET /", upgrade, socket)]) {
            // A page that may not connect is not told whether its token is good.
            let status = if headers == upgrade && socket == "403" {
                socket
            } else {
                status
            };
            let mut tcp = TcpStream::connect(addr).await.unwrap();
            let text = format!(
                "{request} HTTP/1.1\r\nHost: hub\r\nOrigin: {origin}\r\nContent-Length: 0\r\n{headers}\r\n"
            );
            tcp.write_all(text.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let byte = tokio::time::timeout(PATIENCE, tcp.read_u8()).await;
                answer.push(byte.expect("no answer").unwrap());
            }
            let answer = String::from_utf8(answer).unwrap().to_lowercase();
            let expected = format!("http/1.1 {status} ");
            assert!(
                answer.starts_with(&expected),
                "{request} {origin}: {answer}"
            );
            assert!(!answer.contains("access-control"), "{request}: {answer}");
        }
    }
}
