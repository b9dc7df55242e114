//! Messages that are built once: what changes from one to the next is written over.

use super::socket::{TEXT, find, frame};
use super::tokens::DEVICE;

/// Bytes of a message's content, as JSON.
const CONTENT: usize = 256;
/// The content begins with this, ten digits of the message's number, and sixteen of the time when it was due.
pub const MARK: &[u8] = b"\"~";
pub const NUMBER: usize = 10;
pub const TIME: usize = 16;

/// A frame in which only the digits change.
pub struct Template {
    bytes: Vec<u8>,
    number_at: usize,
}

impl Template {
    /// A message to this recipient.
    pub fn new(recipient: usize) -> Template {
        let room = CONTENT - MARK.len() - NUMBER - TIME - 1;
        let message = format!(
            r#"{{"type":"message","payload":{{"recipient_user_id":"r{recipient}","recipient_device_id":"{DEVICE}","content":"~{}{}"}}}}"#,
            "0".repeat(NUMBER + TIME),
            "x".repeat(room)
        );
        let mut bytes = Vec::new();
        frame(TEXT, message.as_bytes(), &mut bytes);
        let number_at = find(&bytes, MARK).map_or(0, |at| at + MARK.len());
        Template { bytes, number_at }
    }

    /// Appends the `number`th message, due at this time.
    pub fn append(&self, number: u64, due: u64, out: &mut Vec<u8>) {
        let start = out.len() + self.number_at;
        out.extend_from_slice(&self.bytes);
        write_digits(number, &mut out[start..start + NUMBER]);
        write_digits(due, &mut out[start + NUMBER..start + NUMBER + TIME]);
    }
}

fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The number that was written so.
pub fn read_digits(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| {
        number * 10 + u64::from(digit.wrapping_sub(b'0'))
    })
}
