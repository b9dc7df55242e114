//! A system without netlink.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::time::Instant;

use super::super::netlink::Netlink;
use super::super::os::Os;
use super::super::watch::System as _;

/// A log that can be read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Waits three times for something to change, and returns how long that took and what was logged.
async fn three_messages(system: impl FnOnce() -> Os) -> (Duration, Vec<String>) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let begun = Instant::now();
    let mut system = system();
    for _ in 0..3 {
        system.message().await;
    }
    assert!(system.read().is_ok());
    (begun.elapsed(), log.lines())
}

/// Where netlink is refused, the network is looked at every 5 s, and the log says so once.
#[tokio::test(start_paused = true)]
async fn without_netlink_it_is_polled() {
    let refused = || Os::listening(Err(io::ErrorKind::PermissionDenied.into()));
    let (took, log) = three_messages(refused).await;
    assert_eq!(took.as_secs(), 15);
    assert!(log.len() == 1 && log[0].contains("every 5 s"), "{log:?}");
}

/// So it is where the socket breaks later; what may have changed until then is looked at at once.
#[tokio::test(start_paused = true)]
async fn when_netlink_breaks_it_is_polled() {
    let broken = || {
        // Not connected, so it is readable and reading fails.
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        Os::listening(Netlink::over(socket))
    };
    let (took, log) = three_messages(broken).await;
    assert_eq!(took.as_secs(), 10);
    assert!(log.len() == 1 && log[0].contains("every 5 s"), "{log:?}");
}
