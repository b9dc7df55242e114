//! A process's output, cut into lines (sleap-rtc wire protocol, 4.3).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Longest line, in bytes of output. A longer one is passed on in pieces.
pub const MAX_LINE: usize = 64 * 1024;
/// How long a carriage return at the end of what was read waits for a line feed that belongs to it.
const PAIR: Duration = Duration::from_millis(50);

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The text without its line end, never empty. Bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Whether the next line takes its place: it ended with a carriage return, as progress bars do, or was too long.
    pub overwrite: bool,
}

/// Cuts a stream into lines: `\n` and `\r\n` end a line, `\r` one that is to be overwritten. Empty lines are dropped.
#[derive(Debug)]
pub struct LineReader<R> {
    /// `None` once it has ended.
    source: Option<R>,
    /// Read, and not passed on yet, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Up to where no line end has been found.
    searched: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads from `source` until it ends or fails.
    pub fn new(source: R) -> Self {
        Self {
            source: Some(source),
            buffer: Vec::with_capacity(MAX_LINE),
            start: 0,
            searched: 0,
        }
    }

    pub(super) fn ended() -> Self {
        Self {
            source: None,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
        }
    }

    /// The next line; `None` when the output has ended. Safe to cancel.
    pub async fn next(&mut self) -> Option<LogLine> {
        loop {
            let line_end = |&byte: &u8| byte == b'\n' || byte == b'\r';
            let found = self.buffer[self.searched..].iter().position(line_end);
            self.searched = found.map_or(self.buffer.len(), |offset| self.searched + offset);
            if self.searched - self.start > MAX_LINE {
                let piece = &self.buffer[self.start..self.start + MAX_LINE];
                return self.take(self.start + whole_characters(piece), 0, true);
            }
            if found.is_none() {
                match self.fill().await {
                    Ok(1..) => continue,
                    _ => return self.take(self.buffer.len(), 0, false),
                }
            }
            let carriage_return = self.buffer[self.searched] == b'\r';
            if carriage_return && self.searched + 1 == self.buffer.len() && self.source.is_some() {
                // Elapsed or ended: then the return stands for itself.
                if let Ok(Ok(1..)) = timeout(PAIR, self.fill()).await {
                    continue;
                }
            }
            let end = self.searched;
            let pair = carriage_return && self.buffer.get(end + 1) == Some(&b'\n');
            let line = self.take(end, if pair { 2 } else { 1 }, carriage_return && !pair);
            if line.is_some() {
                return line;
            }
        }
    }

    /// Reads more. On the end, and on an error, forgets the source.
    async fn fill(&mut self) -> io::Result<usize> {
        let Some(source) = self.source.as_mut() else {
            return Ok(0);
        };
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.reserve(MAX_LINE);
        let read = source.read_buf(&mut self.buffer).await;
        if !matches!(read, Ok(1..)) {
            self.source = None;
        }
        read
    }

    /// Passes on what is buffered up to `end`, and drops the `skip` bytes after it. `None` if that is empty.
    fn take(&mut self, end: usize, skip: usize, overwrite: bool) -> Option<LogLine> {
        let line = &self.buffer[self.start..end];
        let line = (!line.is_empty()).then(|| LogLine {
            text: String::from_utf8_lossy(line).into_owned(),
            overwrite,
        });
        self.start = end + skip;
        self.searched = self.start;
        line
    }
}

/// How many of the bytes remain when a character cut in two at their end is left for later.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    match bytes[tail..].iter().rposition(|byte| byte & 0xC0 != 0x80) {
        Some(at)
            if bytes[tail + at] >= 0xC0 && std::str::from_utf8(&bytes[tail + at..]).is_err() =>
        {
            tail + at
        }
        _ => bytes.len(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn all<R: AsyncRead + Unpin>(source: R) -> Vec<(String, bool)> {
        let mut reader = LineReader::new(source);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await {
            lines.push((line.text, line.overwrite));
        }
        assert_eq!(reader.next().await, None);
        lines
    }

    fn line(text: &str, overwrite: bool) -> (String, bool) {
        (text.to_owned(), overwrite)
    }

    #[tokio::test]
    async fn line_ends() {
        let text = b"one\n\n  two\r\n\r10%\r20%\r\r\ndone \xff!\nleft over".as_slice();
        let expected = [
            line("one", false),
            line("  two", false),
            line("10%", true),
            line("20%", true),
            line("done \u{fffd}!", false),
            line("left over", false),
        ];
        assert_eq!(all(text).await, expected);
        assert_eq!(all(b"".as_slice()).await, []);
        assert_eq!(all(b"\n\r\n\r".as_slice()).await, []);
        assert_eq!(all(b"end\r".as_slice()).await, [line("end", true)]);
    }

    #[tokio::test]
    async fn a_progress_line_does_not_wait_for_the_next_and_a_cut_pair_is_one_end() {
        let (mut write, read) = tokio::io::duplex(64);
        let mut reader = LineReader::new(read);
        write.write_all(b"50%\r").await.unwrap();
        assert_eq!(
            reader.next().await,
            Some(LogLine {
                text: "50%".into(),
                overwrite: true
            })
        );
        let both = tokio::join!(reader.next(), async {
            write.write_all(b"whole\r").await.unwrap();
            tokio::task::yield_now().await;
            write.write_all(b"\n").await.unwrap();
        });
        assert_eq!(
            both.0,
            Some(LogLine {
                text: "whole".into(),
                overwrite: false
            })
        );
    }

    #[tokio::test]
    async fn an_endless_line_comes_in_pieces_cut_between_characters() {
        let text = "a".to_owned() + &"é".repeat(MAX_LINE) + "\nnext\n";
        let lines = all(text.as_bytes()).await;
        assert!(
            lines
                .iter()
                .all(|(text, _)| text.len() <= MAX_LINE && !text.contains('\u{fffd}'))
        );
        let overwrites: Vec<bool> = lines.iter().map(|line| line.1).collect();
        assert_eq!(overwrites, [true, true, false, false]);
        let joined: String = lines.iter().map(|line| line.0.as_str()).collect();
        assert_eq!(joined + "\n", text.replacen('\n', "", 1));
        // Bytes that are no characters at all are cut anywhere.
        let lines = all([0x80; MAX_LINE + 1].as_slice()).await;
        assert_eq!(lines.len(), 2);
    }

    proptest! {
        /// However the output is cut into reads, the lines are the same, and nothing is lost.
        #[test]
        fn lines_do_not_depend_on_the_reads(text in "([a-c]{0,3}(\n|\r|\r\n)?){0,20}", size in 1usize..7) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let (whole, pieces) = runtime.block_on(async {
                let (mut write, read) = tokio::io::duplex(size);
                let whole = all(text.as_bytes()).await;
                let writing = async move { write.write_all(text.as_bytes()).await.unwrap() };
                (whole, tokio::join!(all(read), writing).0)
            });
            prop_assert_eq!(whole, pieces);
        }
    }
}
