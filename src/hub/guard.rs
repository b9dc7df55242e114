//! Reads the headers of incoming WebSocket frames before anything buffers their payload.
//!
//! The WebSocket parser checks a frame's size only when all of it has arrived, so a peer that announces 2^62 bytes
//! could fill the memory. Here a message is judged by what its headers announce; one that is too large never passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut};
use futures_util::Stream;

use super::outbox::Outbox;
use super::table::Outlet;

/// Fragments of one message, at most; each one costs the parser memory beside its bytes.
const FRAGMENTS: usize = 1024;

/// A payload stream in which no message exceeds the limit. Past one that does, only control frames come through, so
/// that the close handshake still works.
pub(super) struct FrameGuard {
    inner: Payload,
    sieve: Sieve,
    outbox: Outbox,
}

impl FrameGuard {
    /// Guards `inner`. When a message is larger than `limit`, `outbox` is closed with 1009.
    pub(super) fn new(inner: Payload, limit: usize, outbox: Outbox) -> Self {
        FrameGuard {
            inner,
            sieve: Sieve::new(limit as u64),
            outbox,
        }
    }
}

impl Stream for FrameGuard {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match Pin::new(&mut self.inner).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    let passed = self.sieve.pass(&chunk);
                    if self.sieve.oversize {
                        self.outbox.close(1009, "message too large");
                    }
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(passed)));
                    }
                }
                other => return other,
            }
        }
    }
}

/// The state between two chunks of bytes.
struct Sieve {
    limit: u64,
    /// The header as far as it has arrived.
    header: Vec<u8>,
    /// Payload bytes still to come of the present frame.
    left: u64,
    /// Whether the present frame passes.
    keep: bool,
    /// Bytes and frames of the message that is being assembled.
    message: u64,
    fragments: usize,
    oversize: bool,
}

impl Sieve {
    fn new(limit: u64) -> Self {
        Sieve {
            limit,
            header: Vec::with_capacity(14),
            left: 0,
            keep: true,
            message: 0,
            fragments: 0,
            oversize: false,
        }
    }

    fn pass(&mut self, mut chunk: &[u8]) -> Bytes {
        let mut passed = BytesMut::with_capacity(chunk.len() + self.header.len());
        while !chunk.is_empty() {
            if self.left > 0 {
                let here = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(chunk.len());
                let (payload, rest) = chunk.split_at(here);
                if self.keep {
                    passed.extend_from_slice(payload);
                }
                self.left -= here as u64;
                chunk = rest;
                continue;
            }
            self.header.push(chunk[0]);
            chunk = &chunk[1..];
            if let Some(length) = payload_length(&self.header) {
                self.judge(length);
                self.left = length;
                if self.keep {
                    passed.extend_from_slice(&self.header);
                }
                self.header.clear();
            }
        }
        passed.freeze()
    }

    fn judge(&mut self, length: u64) {
        let (last, opcode) = (self.header[0] & 0x80 != 0, self.header[0] & 0x0f);
        if opcode >= 8 {
            // The parser refuses longer ones, but only after it has buffered them.
            self.keep = length <= 125;
            self.oversize |= !self.keep;
            return;
        }
        self.message = self.message.saturating_add(length);
        self.fragments += 1;
        self.oversize |= self.message > self.limit || self.fragments > FRAGMENTS;
        self.keep = !self.oversize;
        if last {
            self.message = 0;
            self.fragments = 0;
        }
    }
}

/// The payload's length, once the header is complete with its mask.
fn payload_length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    if header.len() < 2 + extended + mask {
        return None;
    }
    let bytes = &header[2..2 + extended];
    Some(match extended {
        0 => u64::from(second & 0x7f),
        _ => bytes
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_web::web::BytesMut;
    use proptest::prelude::*;

    /// A masked frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(0x80 | n as u8),
            n @ 126..=0xffff => {
                out.push(0xfe);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(0xff);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend([0; 4]);
        out.extend(payload);
        out
    }

    #[test]
    fn an_announced_giant_is_found_by_its_header() {
        let mut sieve = Sieve::new(1000);
        let mut header = vec![0x82, 0xff];
        header.extend((1u64 << 62).to_be_bytes());
        header.extend([0; 4]);
        assert!(sieve.pass(&header).is_empty());
        assert!(sieve.oversize);
        assert!(sieve.pass(&[0; 5000]).is_empty(), "nothing of it passes");
    }

    #[test]
    fn the_limit_is_inclusive_and_counts_whole_messages() {
        let whole = |sizes: &[usize]| {
            let mut sieve = Sieve::new(1000);
            for (at, size) in sizes.iter().enumerate() {
                let first =
                    if at == 0 { 1 } else { 0 } | if at + 1 == sizes.len() { 0x80 } else { 0 };
                sieve.pass(&frame(first, &vec![b'x'; *size]));
            }
            sieve.oversize
        };
        assert!(!whole(&[1000]));
        assert!(whole(&[1001]));
        assert!(!whole(&[500, 500]));
        assert!(whole(&[500, 501]));
        assert!(whole(&vec![0; FRAGMENTS + 1]));
    }

    #[test]
    fn control_frames_pass_after_a_giant() {
        let mut sieve = Sieve::new(10);
        let close = frame(0x88, &[3, 232]);
        let mut bytes = frame(0x81, &[b'x'; 11]);
        bytes.extend(frame(0x81, b"small"));
        bytes.extend(&close);
        assert_eq!(sieve.pass(&bytes), Bytes::from(close));
    }

    proptest! {
        #[test]
        fn what_is_within_the_limit_passes_unchanged_however_it_is_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
            cut in 1usize..40,
        ) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(0x82, payload)).collect();
            let mut sieve = Sieve::new(300);
            let mut passed = BytesMut::new();
            for chunk in bytes.chunks(cut) {
                passed.extend_from_slice(&sieve.pass(chunk));
            }
            prop_assert!(!sieve.oversize);
            prop_assert_eq!(&passed[..], &bytes[..]);
        }

        #[test]
        fn any_bytes_are_sifted_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..40) {
            let mut sieve = Sieve::new(50);
            for chunk in bytes.chunks(cut) {
                prop_assert!(sieve.pass(chunk).len() <= chunk.len() + 14);
            }
        }
    }
}
