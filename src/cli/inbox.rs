//! `loaner inbox`.

use std::io::{self, Write as _};
use std::time::Duration;

use loaner::client::{Inbox, InboxError, InboxMessage, InboxNews};
use loaner::wire::device::Content;
use loaner::wire::{JobChange, JobNotice};
use loaner::worker::jobs::names::is_unseen;
use serde_json::{Value, json};

use super::args::InboxArgs;
use super::exit::{Exit, Failure};
use super::{Signals, client_access};

/// Characters of a foreign message that are shown.
const SHOWN: usize = 400;

/// Shows what waits.
pub async fn run(args: InboxArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (follow, keep) = (args.follow, args.keep);
    let inbox = Inbox {
        hub: client_access(args.at)?,
        keep,
        follow,
    };
    let mut shown = 0_u64;
    let reading = inbox.read(|news| {
        let caught_up = matches!(news, InboxNews::CaughtUp);
        shown += u64::from(matches!(news, InboxNews::Message(_)));
        if caught_up && shown == 0 && !json {
            return say("Nothing waits.");
        }
        show(news, json)
    });
    tokio::select! {
        read = reading => read.map_err(failure),
        // Whoever follows has no other way to stop.
        () = signals.next() => match follow {
            true => Ok(()),
            false => Err(Failure::say(Exit::Interrupted, "stopped by the user")),
        },
    }
}

/// The exit code of what goes wrong with an identity or a mailbox.
pub fn failure(error: InboxError) -> Failure {
    let exit = match error {
        InboxError::Identity(_) | InboxError::Output(_) => Exit::File,
        InboxError::NoIdentity(_) => Exit::Other,
        InboxError::Hub(_)
        | InboxError::Unknown { .. }
        | InboxError::OldHub(_)
        | InboxError::Lost(_) => Exit::Hub,
    };
    Failure::new(exit, error)
}

/// Writes a line whole, or says why not: what was not shown stays in the mailbox.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn show(news: InboxNews, json: bool) -> io::Result<()> {
    match news {
        InboxNews::Message(message) if json => say(&event(&message).to_string()),
        InboxNews::Message(message) => say(&text(&message)),
        InboxNews::CaughtUp if json => say(&json!({ "event": "caught_up" }).to_string()),
        InboxNews::Connected { expired } if json => {
            say(&json!({ "event": "connected", "expired": expired }).to_string())
        }
        InboxNews::Lost(why) if json => {
            say(&json!({ "event": "hub_lost", "message": why }).to_string())
        }
        InboxNews::Connected { expired: 0 } | InboxNews::CaughtUp => Ok(()),
        InboxNews::Connected { expired } => {
            eprintln!("{expired} messages were too old to be kept, and are gone");
            Ok(())
        }
        InboxNews::Lost(why) => {
            eprintln!("{}; trying again", printable(&why));
            Ok(())
        }
    }
}

fn content(message: &InboxMessage) -> Value {
    match &message.content {
        // It was checked when it was read.
        Content::Json(text) => serde_json::from_str(text).unwrap_or_default(),
        Content::Binary(bytes) => json!({ "bytes": bytes.len() }),
    }
}

fn event(message: &InboxMessage) -> Value {
    let content = content(message);
    json!({
        "event": "message",
        "message_id": message.message_id,
        "sender_user_id": message.sender_user_id,
        "sender_device_id": message.sender_device_id,
        "sent_at": message.sent_at_ms,
        "job_notice": JobNotice::parse(&content).ok(),
        "content": content,
    })
}

fn text(message: &InboxMessage) -> String {
    let content = content(message);
    let Ok(notice) = JobNotice::parse(&content) else {
        let text = match &message.content {
            Content::Json(text) => printable(text),
            Content::Binary(bytes) => format!("{} bytes", bytes.len()),
        };
        return format!(
            "{}  from {}: {text}",
            time(message.sent_at_ms),
            printable(&message.sender_user_id)
        );
    };
    let worker = notice.worker.as_ref().unwrap_or(&notice.worker_id);
    let (worker, job) = (printable(worker), printable(&notice.job_id));
    let head = format!("{}  {worker}  job {job}", time(notice.at));
    match &notice.change {
        JobChange::Reserved => format!("{head}: the worker is reserved for it"),
        JobChange::LeaseExpired => format!(
            "{head}: the reservation expired, as the job did not follow in time\n  run it again when you are ready"
        ),
        JobChange::Released => {
            format!("{head}: the reservation ended, as the client was lost\n  run it again")
        }
        JobChange::Withdrawn => format!(
            "{head}: the reservation was withdrawn, as the worker stops\n  run it again, on another worker"
        ),
        JobChange::Completed {
            began,
            results_file,
            results_bytes,
        } => {
            let took = began.map(|began| notice.at.saturating_sub(began) / 1000);
            let took = took.map_or(String::new(), |seconds| {
                let took = indicatif::HumanDuration(Duration::from_secs(seconds));
                format!(" after {took}")
            });
            let results = match (results_file, results_bytes) {
                (None, _) => "it returned no files".to_owned(),
                (Some(file), bytes) => {
                    let size = bytes.map_or(String::new(), |bytes| {
                        format!(" ({})", indicatif::HumanBytes(bytes))
                    });
                    let file = printable(file);
                    format!(
                        "{file}{size} was sent to the client that ran it; look in its output directory"
                    )
                }
            };
            format!("{head}: completed{took}\n  {results}")
        }
        JobChange::Failed {
            message,
            recoverable,
            code,
        } => {
            let (code, message) = (printable(code), printable(message));
            let advice = if *recoverable {
                "run it again; it may succeed"
            } else {
                "it will fail again as it is"
            };
            format!("{head}: failed [{code}] {message}\n  {advice}")
        }
        JobChange::Cancelled => format!("{head}: cancelled"),
    }
}

/// A moment, in UTC.
fn time(ms: u64) -> String {
    let days = ms / 86_400_000;
    let seconds = ms / 1000 % 86_400;
    // Proleptic Gregorian calendar, in eras of 400 years that begin on the first of March; saturating, as years beyond
    // all clocks are shown no better anyway.
    let shifted = days.saturating_add(719_468);
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day_of_month:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Foreign text, cut and with everything escaped that could move a terminal or hide what is there.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    for c in rest.by_ref().take(SHOWN) {
        if is_unseen(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if rest.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use loaner::wire::device::Content;
    use proptest::prelude::*;

    fn message(content: &str) -> InboxMessage {
        InboxMessage {
            message_id: 1,
            sender_user_id: "evil\u{1b}[2J".to_owned(),
            sender_device_id: String::new(),
            sent_at_ms: 0,
            content: Content::Json(content.into()),
        }
    }

    #[test]
    fn moments_are_shown_as_calendars_have_them() {
        for (ms, shown) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399_000, "2000-02-28 23:59:59Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (1_709_251_200_000, "2024-03-01 00:00:00Z"),
            (4_107_542_399_000, "2100-02-28 23:59:59Z"),
        ] {
            assert_eq!(time(ms), shown);
        }
        let _ = time(u64::MAX);
    }

    #[test]
    fn foreign_messages_are_shown_safely_and_cut() {
        let long = format!("\"{}\"", "x".repeat(9000));
        let shown = text(&message(&long));
        assert!(shown.chars().count() < SHOWN + 100, "{shown}");
        assert!(shown.ends_with('…'));
        let shown = text(&message("{\"a\":\"\u{9b}2J\u{202e}\u{7f}\"}"));
        assert!(!shown.chars().any(is_unseen), "{shown:?}");
    }

    #[test]
    fn a_notice_says_what_happened_and_what_to_do() {
        let change = JobChange::Failed {
            code: "TRAINING_FAILED".to_owned(),
            message: "exit code 3\u{1b}]0;x\u{7}".to_owned(),
            recoverable: false,
        };
        let notice = JobNotice::new(
            "j".to_owned(),
            "w".to_owned(),
            Some("box".to_owned()),
            0,
            change,
        );
        let shown = text(&message(&notice.to_value().to_string()));
        assert!(
            shown.starts_with(
                "1970-01-01 00:00:00Z  box  job j: failed [TRAINING_FAILED] exit code 3"
            )
        );
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    proptest! {
        #[test]
        fn no_text_reaches_the_terminal_as_it_is(given in any::<String>()) {
            prop_assert!(!printable(&given).chars().any(is_unseen));
        }
    }
}
