//! What a person sees of a submission: bars on a terminal, plain lines in a pipe, JSON on request.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use loaner::client::{Progress, TrainerReport, Ui};
use loaner::wire::PeerInfo;
use loaner::worker::jobs::disk::human;
use serde_json::json;

use super::run::can_ask;
use super::workers::line;

/// Shows a submission on the terminal. Progress goes to standard error, the job's output and the result to standard output.
pub struct Terminal {
    json: bool,
    fancy: bool,
    bar: Mutex<Option<ProgressBar>>,
    running: AtomicBool,
}

impl Terminal {
    /// A display in JSON or for people.
    pub fn new(json: bool) -> Self {
        Terminal {
            json,
            fancy: !json && std::io::stderr().is_terminal(),
            bar: Mutex::new(None),
            running: AtomicBool::new(false),
        }
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        // A bar that was being drawn when something panicked is still a bar.
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the last bar away.
    pub fn finish(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match self.bar().as_ref() {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn transfer(&self, what: &str, bytes: u64) {
        self.finish();
        if !self.fancy {
            return self.say(&format!("{what} ({})", indicatif::HumanBytes(bytes)));
        }
        let bar =
            ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(10));
        let template = "{msg:<12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(what.to_owned());
        *self.bar() = Some(bar);
    }

    fn spin(&self, what: String) {
        self.finish();
        if !self.fancy {
            return self.say(&what);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_message(what);
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        *self.bar() = Some(bar);
    }

    /// What takes so many seconds at most.
    fn count_down(&self, what: &str, seconds: u64) {
        self.finish();
        if !self.fancy {
            return self.say(&format!("{what} (at most {seconds} s)"));
        }
        let until = Instant::now() + Duration::from_secs(seconds);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let left = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let left = until.saturating_duration_since(Instant::now());
            // A bar that cannot be drawn is no reason for anything.
            let _ = write!(out, "{:.0} s left", left.as_secs_f64().ceil());
        };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}: {left}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner())
                .with_key("left", left),
        );
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.bar() = Some(bar);
    }

    /// How far the job itself says that it is.
    fn job(&self, fraction: f64, message: &str) {
        const STEPS: u64 = 1000;
        let message = printable(message);
        let position = (fraction * STEPS as f64) as u64;
        if !self.fancy {
            return self.say(format!("{:>3.0} %  {message}", fraction * 100.0).trim_end());
        }
        let mut bar = self.bar();
        let bar = bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
        });
        if bar.length() != Some(STEPS) {
            bar.set_length(STEPS);
            let template = "{spinner} {wide_bar} {percent}% {elapsed}  {msg}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
        }
        bar.set_position(position);
        bar.set_message(message);
    }

    /// How a training is, by its trainer: on a terminal always the latest, in a pipe a line for each epoch.
    fn reported(&self, report: &TrainerReport) {
        let Some(line) = report.line() else {
            return;
        };
        if let Some(bar) = self.bar().as_ref() {
            return bar.set_message(line);
        }
        if report.event.as_deref() == Some("epoch_end") {
            self.say(&line);
        }
    }

    fn at(&self, bytes: u64) {
        if let Some(bar) = self.bar().as_ref() {
            bar.set_position(bytes);
        }
    }

    fn show(&self, progress: &Progress) {
        match progress {
            Progress::Registered => self.spin("Registered with the hub".to_owned()),
            Progress::Chosen { worker } => self.spin(format!("Connecting to worker {worker}")),
            Progress::Reserved { job } => {
                self.spin(format!("The worker is reserved for job {job}"))
            }
            Progress::Connected => self.spin("Connected".to_owned()),
            Progress::Naming { name } => self.spin(format!("Asking the worker for {name}")),
            Progress::Found { name } => {
                self.spin(format!("The worker has {name}, and prepares it"))
            }
            Progress::Uploading { bytes } => self.transfer("Sending", *bytes),
            Progress::Continued { bytes } => {
                self.say(&format!(
                    "The worker has {} from an earlier attempt; only the rest is sent",
                    human(*bytes)
                ));
            }
            Progress::Uploaded { bytes } | Progress::Downloaded { bytes } => self.at(*bytes),
            // A quick worker starts before the last acknowledgement is back.
            Progress::Sent if self.running.load(Ordering::Relaxed) => {}
            Progress::Sent => self.spin("The package is sent; the worker prepares it".to_owned()),
            Progress::Started { name } => {
                self.running.store(true, Ordering::Relaxed);
                self.spin(format!("Running {name}"));
            }
            Progress::Job { fraction, message } => self.job(*fraction, message),
            Progress::Ending { state, seconds } if state == "stopping" => self.count_down(
                "The job was asked to stop, and saves what it has",
                *seconds,
            ),
            Progress::Ending { seconds, .. } => self.count_down("The job is being ended", *seconds),
            Progress::LeftOut { from, to } => self.say(&format!(
                "{} of output came too fast and are left out here; `loaner logs` has them, from offset {from}",
                human(to.saturating_sub(*from))
            )),
            Progress::Reported(report) => self.reported(report),
            Progress::Ended { name, code: 0 } => self.spin(format!("{name} is done")),
            Progress::Ended { name, code } => {
                self.finish();
                self.say(&format!("{name} failed with exit code {code}"));
            }
            Progress::Downloading { name, bytes } => {
                self.transfer(&format!("Receiving {name}"), *bytes)
            }
            Progress::Received { .. } => self.finish(),
            Progress::Suspect => self.say(
                "The path to the worker is gone for now; waiting up to 90 s for it to come back",
            ),
            Progress::Recovered => self.say("The path to the worker is back"),
            Progress::HubLost => self.say("The hub is out of reach; the job is not affected"),
            Progress::Cancelling => {
                self.finish();
                self.say("Stopping the job at the worker; Ctrl+C again leaves at once");
            }
        }
    }
}

impl Ui for Terminal {
    fn progress(&self, progress: Progress) {
        if !self.json {
            return self.show(&progress);
        }
        let event = match progress {
            // Every chunk is too much for a reader of lines.
            Progress::Uploaded { .. } | Progress::Downloaded { .. } => return,
            Progress::Registered => json!({ "event": "registered" }),
            Progress::Chosen { worker } => json!({ "event": "chosen", "worker": worker }),
            Progress::Reserved { job } => json!({ "event": "reserved", "job": job }),
            Progress::Connected => json!({ "event": "connected" }),
            Progress::Naming { name } => json!({ "event": "naming", "input": name }),
            Progress::Found { name } => json!({ "event": "found", "input": name }),
            Progress::Uploading { bytes } => json!({ "event": "uploading", "bytes": bytes }),
            Progress::Continued { bytes } => json!({ "event": "continued", "bytes": bytes }),
            Progress::Sent => json!({ "event": "sent" }),
            Progress::Started { name } => json!({ "event": "started", "name": name }),
            Progress::Job { fraction, message } => {
                json!({ "event": "progress", "progress": fraction, "message": message })
            }
            Progress::Ending { state, seconds } => {
                json!({ "event": "ending", "state": state, "seconds": seconds })
            }
            Progress::LeftOut { from, to } => {
                json!({ "event": "left_out", "from": from, "to": to })
            }
            Progress::Reported(report) => json!({
                "event": "progress_report",
                "epoch": report.epoch,
                "loss": report.loss,
                "val_loss": report.val_loss,
                "report": report.report,
            }),
            Progress::Ended { name, code } => {
                json!({ "event": "ended", "name": name, "code": code })
            }
            Progress::Downloading { name, bytes } => {
                json!({ "event": "downloading", "name": name, "bytes": bytes })
            }
            Progress::Received { path } => json!({ "event": "received", "path": path }),
            Progress::Suspect => json!({ "event": "path_suspect" }),
            Progress::Recovered => json!({ "event": "path_recovered" }),
            Progress::HubLost => json!({ "event": "hub_lost" }),
            Progress::Cancelling => json!({ "event": "cancelling" }),
        };
        super::print(true, &event, String::new);
    }

    fn output(&self, text: &str) {
        if self.json {
            return super::print(
                true,
                &json!({ "event": "output", "text": text }),
                String::new,
            );
        }
        let write = || {
            let mut out = std::io::stdout().lock();
            // A reader that is gone is no reason to stop the job.
            let _ = match text.strip_prefix('\r') {
                // On a terminal the line is overwritten; in a pipe that would glue everything together.
                Some(line) if !self.fancy => writeln!(out, "{}", printable(line)),
                Some(line) => write!(out, "\r{}", printable(line)),
                None => write!(out, "{}", printable(text)),
            };
            let _ = out.flush();
        };
        match self.bar().as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn choose(&self, workers: &[PeerInfo]) -> Option<usize> {
        if self.json || !can_ask() {
            self.say(
                "Several workers are free: choose one with --worker ID, or let --auto-select do it",
            );
            return None;
        }
        self.finish();
        eprintln!("Several workers are free:");
        for (number, worker) in (1..).zip(workers) {
            eprintln!("  {number}  {}", line(worker));
        }
        loop {
            eprint!("Which one (1 to {}, or nothing to leave)? ", workers.len());
            let _ = std::io::stderr().flush();
            let mut answer = String::new();
            if std::io::stdin().read_line(&mut answer).ok()? == 0 || answer.trim().is_empty() {
                return None;
            }
            match answer.trim().parse::<usize>() {
                Ok(number) if (1..=workers.len()).contains(&number) => return Some(number - 1),
                _ => eprintln!("That is none of them."),
            }
        }
    }
}

/// The worker's output may hold escape sequences that would do things to the terminal; only colours and text pass.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                let parameter = |c: &char| c.is_ascii_digit() || ";:".contains(*c);
                let sequence: String = std::iter::from_fn(|| rest.next_if(parameter))
                    .take(32)
                    .collect();
                match rest.peek() {
                    Some('m') => {
                        rest.next();
                        out.push_str(&format!("\u{1b}[{sequence}m"));
                    }
                    // What ends another sequence goes with it; what begins one does not.
                    Some(c) if !c.is_control() => {
                        rest.next();
                    }
                    _ => {}
                }
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn colours_pass_and_everything_else_that_moves_a_terminal_does_not() {
        assert_eq!(
            printable("a\u{1b}[31mred\u{1b}[0m\n"),
            "a\u{1b}[31mred\u{1b}[0m\n"
        );
        assert_eq!(printable("\u{1b}[2Jgone"), "gone");
        // No other sequence hides in one of colours.
        assert_eq!(printable("\u{1b}[\u{1b}]2;123\u{7}m"), "]2;123m");
        assert_eq!(printable("\u{1b}[\u{1b}#8m"), "#8m");
        assert_eq!(printable("\u{1b}]0;title\u{7}x"), "]0;titlex");
        assert_eq!(printable("tab\there\u{8}\u{0}"), "tab\there");
    }
}
