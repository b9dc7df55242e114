//! Parts of a job's log, made into lines again.

/// The most that is kept of a line that has not ended, in bytes; a longer one is shown in pieces.
const MAX_LINE: usize = 64 * 1024;

/// Puts lines together that come in parts.
#[derive(Debug, Default)]
pub struct Lines {
    rest: String,
}

impl Lines {
    /// Takes a part; `show` gets each line as [`Ui::output`](super::Ui::output) wants it: with a newline at its end, or with a
    /// carriage return at its beginning if the next takes its place.
    pub fn take(&mut self, part: &str, mut show: impl FnMut(&str)) {
        for piece in part.split_inclusive(['\n', '\r']) {
            self.rest.push_str(piece);
            if self.rest.ends_with('\r') {
                self.rest.pop();
                show(&format!("\r{}", self.rest));
                self.rest.clear();
            } else if self.rest.ends_with('\n') || self.rest.len() > MAX_LINE {
                show(&self.rest);
                self.rest.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&str]) -> Vec<String> {
        let (mut lines, mut shown) = (Lines::default(), Vec::new());
        for part in parts {
            lines.take(part, |line| shown.push(line.to_owned()));
        }
        shown
    }

    /// However a log is cut into parts, its lines are the same.
    #[test]
    fn lines_do_not_depend_on_the_parts() {
        let expected = ["one\n", "\r10%", "\r20%", "two\n"];
        assert_eq!(lines(&["one\n10%\r20%\rtwo\n"]), expected);
        assert_eq!(lines(&["on", "e\n1", "0%", "\r20%\rtwo", "\n"]), expected);
    }

    #[test]
    fn an_endless_line_is_shown_in_pieces() {
        let part = "x".repeat(40_000);
        assert_eq!(lines(&[&part, &part]), ["x".repeat(80_000)]);
    }
}
