//! How a command tells its progress: by lines of its output, which a shell script can print as well.
//!
//! ```text
//! ::loaner progress 3/10 loss=0.25                          done and all
//! ::loaner progress 30% loss=0.25                           percent
//! ::loaner progress 0.3 loss=0.25                           a fraction
//! {"loaner": {"progress": 0.3, "message": "loss=0.25"}}     with format = "json"
//! ```
//!
//! The words after the number are a message, as free as they are optional. Such a line is not passed on as output; one
//! that is not quite like this is.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::manifest::ProgressFormat;

/// What a line of progress begins with.
const MARK: &str = "::loaner progress ";
/// Longest line that is looked at, in bytes.
const MAX_LINE: usize = 4096;
/// Longest message, in characters; the rest is left out.
const MAX_MESSAGE: usize = 256;
/// How often progress is passed on at most.
const EVERY: Duration = Duration::from_secs(1);

/// How far a command is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// What it says of it, without control characters; may be empty.
    pub message: String,
}

/// The progress that a line of output tells; `None` where it is an ordinary one.
pub fn parse(format: ProgressFormat, line: &str) -> Option<Progress> {
    if line.len() > MAX_LINE {
        return None;
    }
    match format {
        ProgressFormat::Lines => parse_line(line),
        ProgressFormat::Json => parse_json(line),
    }
}

fn parse_line(line: &str) -> Option<Progress> {
    let rest = line.strip_prefix(MARK)?.trim();
    let (number, message) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let fraction = if let Some((done, all)) = number.split_once('/') {
        plain(done)? / plain(all).filter(|all| *all > 0.0)?
    } else if let Some(percent) = number.strip_suffix('%') {
        plain(percent)? / 100.0
    } else {
        plain(number)?
    };
    Some(Progress {
        fraction: within(fraction),
        message: tidy(message),
    })
}

/// A number of digits and a point: no sign, exponent, infinity or the like.
fn plain(number: &str) -> Option<f64> {
    let digits = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    number.parse().ok().filter(|_| digits)
}

#[derive(Deserialize)]
struct Line {
    loaner: Told,
}

#[derive(Deserialize)]
struct Told {
    progress: f64,
    #[serde(default)]
    message: String,
}

fn parse_json(line: &str) -> Option<Progress> {
    // Most lines are none; this spares them the parser.
    if !line.starts_with('{') || !line.contains("\"loaner\"") {
        return None;
    }
    let Line { loaner } = serde_json::from_str(line).ok()?;
    Some(Progress {
        fraction: within(loaner.progress),
        message: tidy(&loaner.message),
    })
}

fn within(fraction: f64) -> f64 {
    // `+ 0.0` makes a plain zero of a negative one.
    fraction.clamp(0.0, 1.0) + 0.0
}

fn tidy(message: &str) -> String {
    let plain = message.trim().chars().filter(|c| !c.is_control());
    plain.take(MAX_MESSAGE).collect()
}

/// Holds progress back, so that it is passed on once a second at most; the last one always is.
#[derive(Debug, Default)]
pub struct Meter {
    format: ProgressFormat,
    waiting: Option<Progress>,
    last: Option<Instant>,
}

impl Meter {
    /// A meter for a command that tells its progress like this.
    pub fn new(format: ProgressFormat) -> Self {
        Meter {
            format,
            ..Self::default()
        }
    }

    /// Takes a line of output; whether it told progress.
    pub fn heard(&mut self, line: &str) -> bool {
        let progress = parse(self.format, line);
        let told = progress.is_some();
        if told {
            self.waiting = progress;
        }
        told
    }

    /// Waits until there is progress to pass on. Safe to cancel.
    pub async fn due(&mut self) -> Progress {
        let Some(progress) = self.waiting.clone() else {
            return std::future::pending().await;
        };
        if let Some(last) = self.last {
            tokio::time::sleep_until(last + EVERY).await;
        }
        self.waiting = None;
        self.last = Some(Instant::now());
        progress
    }

    /// What was held back until the end.
    pub fn last(&mut self) -> Option<Progress> {
        self.waiting.take()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::log_text;

    fn lines(line: &str) -> Option<(f64, String)> {
        parse(ProgressFormat::Lines, line).map(|told| (told.fraction, told.message))
    }

    fn json(line: &str) -> Option<(f64, String)> {
        parse(ProgressFormat::Json, line).map(|told| (told.fraction, told.message))
    }

    fn told(fraction: f64, message: &str) -> Option<(f64, String)> {
        Some((fraction, message.to_owned()))
    }

    /// The three ways to write a number, with and without a message.
    #[test]
    fn progress_in_lines() {
        assert_eq!(
            lines("::loaner progress 3/10 loss=0.25"),
            told(0.3, "loss=0.25")
        );
        assert_eq!(lines("::loaner progress 1/4"), told(0.25, ""));
        assert_eq!(
            lines("::loaner progress 30% epoch 3 "),
            told(0.3, "epoch 3")
        );
        assert_eq!(lines("::loaner progress 0.5"), told(0.5, ""));
        assert_eq!(lines("::loaner progress 12/10"), told(1.0, ""));
        assert_eq!(lines("::loaner progress 1 a\u{1b}[2Jb"), told(1.0, "a[2Jb"));
    }

    /// What is not quite a line of progress stays output.
    #[test]
    fn other_lines_are_output() {
        for line in [
            "", "epoch 3/10", " ::loaner progress 1/2", "::loaner progress", "::loaner progress ",
            "::loaner progress x", "::loaner progress 1/0", "::loaner progress -1",
            "::loaner progress nan", "::loaner progress inf", "::loaner progress 1e3",
            "::loaner progress /", "::loaner progress 1/2/3", "::Loaner progress 1",
        ] {
            assert_eq!(lines(line), None, "{line}");
        }
        assert_eq!(
            lines(&format!("::loaner progress 1 {}", "x".repeat(MAX_LINE))),
            None
        );
        for line in [
            "{}", "{\"loaner\": 1}", "{\"loaner\": {}}", "{\"loaner\": {\"progress\": \"1\"}}",
            "::loaner progress 1/2", "{\"loaner\": {\"progress\": 1}",
        ] {
            assert_eq!(json(line), None, "{line}");
        }
    }

    /// JSON, with keys of later versions ignored.
    #[test]
    fn progress_in_json() {
        assert_eq!(
            json("{\"loaner\":{\"progress\":0.3,\"message\":\"loss=0.25\"}}"),
            told(0.3, "loss=0.25")
        );
        assert_eq!(
            json("{\"a\":1,\"loaner\":{\"progress\":7,\"b\":2}}"),
            told(1.0, "")
        );
        assert_eq!(json("{\"loaner\":{\"progress\":-0.0}}"), told(0.0, ""));
    }

    /// A line of progress holds none of the words by which peers speak, so no peer takes it for one.
    #[test]
    fn the_mark_is_no_control_word() {
        assert_eq!(log_text(MARK), MARK);
    }

    /// Of many, the first is passed on at once, then one in a second, and the last one at the end.
    #[tokio::test(start_paused = true)]
    async fn once_a_second_and_the_last() {
        let mut meter = Meter::new(ProgressFormat::Lines);
        let start = Instant::now();
        for step in 0..=9 {
            assert!(meter.heard(&format!("::loaner progress {step}/10")));
        }
        assert_eq!(meter.due().await.fraction, 0.9);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(meter.heard("::loaner progress 1"));
        assert_eq!(meter.due().await.fraction, 1.0);
        assert_eq!(start.elapsed(), EVERY);
        assert_eq!(meter.last(), None);
        assert!(!meter.heard("loss 1"));
        assert!(meter.heard("::loaner progress 50%"));
        assert_eq!(meter.last().unwrap().fraction, 0.5);
    }

    proptest! {
        /// Whatever a command prints, progress is a number from 0 to 1 and a bounded message that is safe to show.
        #[test]
        fn whatever_is_printed(
            line in "(::loaner progress )?[0-9./%]{0,8} ?\\PC{0,300}|\\{\"loaner\": ?\\{\"progress\": ?-?[0-9e.]{1,6}(,\"message\":\"\\PC{0,9}\")?\\}\\}|(?s:.{0,40})"
        ) {
            for format in [ProgressFormat::Lines, ProgressFormat::Json] {
                if let Some(told) = parse(format, &line) {
                    prop_assert!((0.0..=1.0).contains(&told.fraction));
                    prop_assert!(told.fraction.is_sign_positive());
                    prop_assert!(told.message.chars().count() <= MAX_MESSAGE);
                    prop_assert!(!told.message.chars().any(char::is_control));
                }
            }
        }
    }
}
