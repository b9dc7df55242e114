//! A stream of bytes that come back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::{LONG, program};

/// Bytes of this place in the stream; no two stretches of it are the same.
fn bytes_at(from: usize, count: usize) -> Vec<u8> {
    (from..from + count)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Sends bytes that come back from the client's side, without a stop, and compares them. The longest time in which nothing
/// came back.
pub struct Echo {
    sending: std::thread::JoinHandle<usize>,
    receiving: std::thread::JoinHandle<(usize, Duration)>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    back: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Echo {
    pub fn start(stream: TcpStream) -> Echo {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let back = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        // Who waits for longer waits for ever.
        stream.set_read_timeout(Some(LONG * 2)).unwrap();
        stream.set_write_timeout(Some(LONG * 2)).unwrap();
        let (mut writer, mut reader) = (stream.try_clone().unwrap(), stream);
        let (stopped, came) = (stop.clone(), back.clone());
        let sending = std::thread::spawn(move || {
            let mut at = 0;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                writer.write_all(&bytes_at(at, 20_000)).unwrap();
                at += 20_000;
                // Some megabytes a second: what is looked at is not the speed.
                std::thread::sleep(Duration::from_millis(5));
            }
            writer.shutdown(std::net::Shutdown::Write).unwrap();
            at
        });
        let receiving = std::thread::spawn(move || {
            let (mut at, mut buffer) = (0, vec![0; 65536]);
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            loop {
                let count = reader.read(&mut buffer).unwrap();
                if count == 0 {
                    return (at, longest);
                }
                assert!(
                    buffer[..count] == bytes_at(at, count),
                    "other bytes at {at}"
                );
                at += count;
                came.store(at, std::sync::atomic::Ordering::Relaxed);
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        });
        Echo {
            sending,
            receiving,
            stop,
            back,
        }
    }

    /// Waits until so many bytes more came back.
    pub fn more(&self, bytes: usize, limit: Duration) {
        let goal = self.back.load(std::sync::atomic::Ordering::Relaxed) + bytes;
        program::until("bytes that come back", limit, || {
            self.back.load(std::sync::atomic::Ordering::Relaxed) >= goal
        });
    }

    /// Ends it: everything that was sent has to have come back.
    pub fn end(self) -> Duration {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let sent = self.sending.join().unwrap();
        let (back, longest) = self.receiving.join().unwrap();
        assert_eq!(back, sent, "bytes were lost");
        longest
    }
}
