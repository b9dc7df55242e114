//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` includes this file and feeds it the corpus.
//!
//! Run a target with `cargo +nightly fuzz run device_json`. What it finds belongs into `corpus/<target>/`.

use std::str::FromStr;

use loaner::hub::auth;
use loaner::wire::device::{self, Format};
use loaner::wire::{SessionString, signal};

const FORMATS: [Format; 2] = [Format::Json, Format::MessagePack];

/// A frame of the device dialect in JSON, in both directions.
pub fn device_json(bytes: &[u8]) {
    device_frame(Format::Json, bytes);
}

/// A frame of the device dialect in MessagePack, in both directions.
pub fn device_msgpack(bytes: &[u8]) {
    device_frame(Format::MessagePack, bytes);
}

/// What is understood can be written in both formats, is understood again, and then stays as it is.
fn device_frame(format: Format, bytes: &[u8]) {
    if let Ok(frame) = device::ToHub::parse(format, bytes) {
        for format in FORMATS {
            settles(
                |out| frame.encode(format, out),
                |bytes, out| device::ToHub::parse(format, bytes).map(|f| f.encode(format, out)),
            );
        }
    }
    if let Ok(frame) = device::FromHub::parse(format, bytes) {
        for format in FORMATS {
            settles(
                |out| frame.encode(format, out),
                |bytes, out| device::FromHub::parse(format, bytes).map(|f| f.encode(format, out)),
            );
        }
    }
}

fn settles<E: std::fmt::Debug>(
    write: impl Fn(&mut Vec<u8>),
    read_and_write: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), E>,
) {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    write(&mut once);
    read_and_write(&once, &mut twice).expect("what was written is read");
    assert_eq!(once, twice);
}

/// A frame of the signalling dialect, in both directions.
pub fn signal(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(frame) = signal::ToHub::parse(text) {
        signal::ToHub::parse(&frame.to_text()).expect("what was written is read");
    }
    if let Ok(frame) = signal::FromHub::parse(text) {
        signal::FromHub::parse(&frame.to_text()).expect("what was written is read");
    }
}

/// A session string.
pub fn session_string(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(session) = SessionString::from_str(text) {
        let again = SessionString::from_str(&session.to_string());
        assert_eq!(again.as_ref(), Ok(&session));
    }
}

/// A token as a stranger brings it: looked at, checked against a key that it was not made with, found in a request,
/// and never let through; and no request is written down with it.
pub fn jwt(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = auth::inspect(text);
    let verifier = VERIFIER.get_or_init(|| {
        auth::Verifier::new(auth::AuthConfig::default(), &[7; 32]).expect("the default settings")
    });
    assert!(verifier.verify(text).is_err(), "a forged id token");
    assert!(
        verifier.verify_refresh(text).is_err(),
        "a forged refresh token"
    );
    let _ = auth::token_of(Some(text), Some(text), text.split(','));
    let _ = auth::without_secrets(text);
}

static VERIFIER: std::sync::OnceLock<auth::Verifier> = std::sync::OnceLock::new();
