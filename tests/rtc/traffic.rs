//! Numbered messages there and back again: none may be lost, doubled, or out of order.

use loaner::rtc::{Channel, DataPlane, Incoming};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::pair::{Pair, chunk, soon};

/// How many messages are on their way at once.
const AT_ONCE: usize = 8;

/// Sends messages, and takes each back, until it is told to stop and everything has come back. Tells how many have.
pub async fn send(near: Channel, stopped: watch::Receiver<bool>, back: watch::Sender<usize>) {
    near.opened().await.unwrap();
    let (mut sent, mut number) = (0, 0);
    while !*stopped.borrow() || number < sent {
        while sent < number + AT_ONCE && !*stopped.borrow() {
            near.send_binary(chunk(sent)).await.unwrap();
            sent += 1;
        }
        match near.recv().await {
            Some(Incoming::Binary(data)) => assert!(data == chunk(number), "not message {number}"),
            other => panic!("{other:?} instead of message {number}"),
        }
        number += 1;
        back.send_replace(number);
    }
}

/// Sends back what comes, until the end, and tells how many did.
pub async fn echo(far: Channel, came: watch::Sender<usize>) {
    let mut number = 0;
    while let Some(Incoming::Binary(data)) = far.recv().await {
        assert!(data == chunk(number), "not message {number}");
        number += 1;
        came.send_replace(number);
        if far.send_binary(data).await.is_err() {
            return;
        }
    }
}

/// Both ends of it in one process.
pub struct Traffic {
    back: watch::Receiver<usize>,
    came: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    sending: JoinHandle<()>,
}

impl Traffic {
    pub fn start(plane: &DataPlane, pair: &Pair) -> Traffic {
        let (stop, stopped) = watch::channel(false);
        let (back_in, back) = watch::channel(0);
        let (came_in, came) = watch::channel(0);
        plane.spawn(echo(pair.far.clone(), came_in));
        Traffic {
            back,
            came,
            stop,
            sending: plane.spawn(send(pair.near.clone(), stopped, back_in)),
        }
    }

    /// Waits until so many more have come back.
    pub async fn more(&mut self, count: usize) {
        let wanted = *self.back.borrow() + count;
        let back = self.back.wait_for(|back| *back >= wanted);
        soon("messages", back).await.unwrap();
    }

    /// The end: everything that was sent has come, and come back.
    pub async fn end(self) {
        self.stop.send_replace(true);
        soon("everything", self.sending).await.unwrap();
        assert_eq!(*self.back.borrow(), *self.came.borrow());
    }
}
