//! Frames, as they stand in messages.

use proptest::prelude::*;

use super::super::frame::MAX_FRAME;
use super::*;

fn reset() -> impl Strategy<Value = Reset> {
    let reason = any::<u8>().prop_map(Reason::of_code);
    (reason, "\\PC{0,200}").prop_map(|(reason, words)| Reset { reason, words })
}

fn frame() -> impl Strategy<Value = Frame> {
    let place = || ("[a-z0-9.:-]{1,255}", 1_u16..);
    let stream = || 1_u32..;
    let bytes = proptest::collection::vec(any::<u8>(), 1..3000).prop_map(Bytes::from);
    prop_oneof![
        (stream(), any::<u32>(), place()).prop_map(|(stream, credit, (host, port))| {
            Frame::Open {
                stream,
                credit,
                host,
                port,
            }
        }),
        (stream(), any::<u32>()).prop_map(|(stream, credit)| Frame::Opened { stream, credit }),
        (stream(), bytes).prop_map(|(stream, bytes)| Frame::Data { stream, bytes }),
        (stream(), 1_u32..).prop_map(|(stream, bytes)| Frame::Credit { stream, bytes }),
        stream().prop_map(|stream| Frame::Finish { stream }),
        (stream(), reset()).prop_map(|(stream, reset)| Frame::Reset { stream, reset }),
        (stream(), place()).prop_map(|(stream, (host, port))| Frame::Ask { stream, host, port }),
        stream().prop_map(|stream| Frame::Allowed { stream }),
        reset().prop_map(Frame::Goodbye),
    ]
}

proptest! {
    /// What is written is read back as it was; a piece of it, or more than it, is not taken for the same.
    #[test]
    fn a_frame_is_read_as_it_was_written(frame in frame(), at in any::<prop::sample::Index>()) {
        let bytes = frame.encode();
        prop_assert!(bytes.len() <= MAX_FRAME);
        prop_assert_eq!(Frame::decode(bytes.clone()), Ok(frame.clone()));
        let part = bytes.slice(..at.index(bytes.len()));
        prop_assert_ne!(Frame::decode(part), Ok(frame));
    }

    /// No message makes the reader panic, and what it takes for a frame is one.
    #[test]
    fn garbage_is_refused_or_is_a_frame(message in proptest::collection::vec(any::<u8>(), 0..400), kind in 0_u8..12) {
        let mut message = message;
        if let Some(first) = message.first_mut() {
            *first = kind;
        }
        let message = Bytes::from(message);
        if let Ok(frame) = Frame::decode(message.clone()) {
            prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
        }
    }
}

/// The bounds of a frame, and what cannot be in one.
#[test]
fn what_is_no_frame_is_refused_with_its_fault() {
    let most = Frame::Data {
        stream: 1,
        bytes: vec![7; MAX_DATA].into(),
    };
    assert_eq!(most.encode().len(), MAX_FRAME);
    assert_eq!(Frame::decode(most.encode()), Ok(most));
    for (message, fault) in [
        (vec![3; MAX_FRAME + 1], FrameError::TooLong(MAX_FRAME + 1)),
        (vec![], FrameError::Short(0)),
        (vec![3, 0, 0, 0], FrameError::Short(3)),
        (vec![3, 0, 0, 0, 1], FrameError::Short(3)),
        (
            vec![3, 0, 0, 0, 0, 9],
            FrameError::Field("number of a stream"),
        ),
        (
            vec![9, 0, 0, 0, 1, 9],
            FrameError::Field("number of a stream"),
        ),
        (vec![4, 0, 0, 0, 1, 0, 0, 0, 0], FrameError::Field("credit")),
        (vec![5, 0, 0, 0, 1, 0], FrameError::Trailing(5)),
        (vec![7, 0, 0, 0, 1, 0, 0, b'a'], FrameError::Field("port")),
        (vec![7, 0, 0, 0, 1, 0, 1], FrameError::Field("host")),
        (
            vec![7, 0, 0, 0, 1, 0, 1, b'a', b' '],
            FrameError::Field("host"),
        ),
        (vec![7, 0, 0, 0, 1, 0, 1, 0xff], FrameError::Field("host")),
        (vec![77, 0, 0, 0, 1], FrameError::Kind(77)),
    ] {
        assert_eq!(Frame::decode(message.into()), Err(fault));
    }
    let mut long = vec![7, 0, 0, 0, 1, 0, 1];
    long.resize(7 + MAX_HOST + 1, b'a');
    assert_eq!(Frame::decode(long.into()), Err(FrameError::Field("host")));
    // Ours are cut, at a whole character.
    let long = Frame::Goodbye(Reset::new(Reason::Failed, "ü".repeat(MAX_WORDS)));
    let Ok(Frame::Goodbye(read)) = Frame::decode(long.encode()) else {
        panic!("no goodbye");
    };
    assert_eq!(read.words, "ü".repeat(MAX_WORDS / 2));
}
