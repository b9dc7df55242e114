//! `loaner status`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loaner::status::{Answer, Facts, Told, ask, places};
use serde_json::{Value, json};

use super::args::StatusArgs;
use super::exit::{Exit, Failure};
use super::inbox::printable;
use super::{Signals, print};

/// How often everybody is asked, where one stays.
const EVERY: Duration = Duration::from_secs(1);
const NOBODY: &str = "No worker, run or tunnel of yours is running here.";

/// Asks the processes of this user what they are at, once or until it is stopped.
pub async fn run(args: StatusArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let places = places(args.state_dir.as_deref());
    if places.is_empty() {
        return Err(Failure::say(
            Exit::Usage,
            "there is no directory in which processes could be found: set HOME, XDG_RUNTIME_DIR or LOANER_STATE_DIR",
        ));
    }
    let mut view = View::new(json, args.watch);
    loop {
        let answers = tokio::select! {
            answers = ask(&places) => answers,
            () = signals.next() => return stopped(args.watch),
        };
        view.show(&answers);
        if !args.watch {
            return verdict(&answers);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = signals.next() => {
                view.leave();
                return Ok(());
            }
        }
    }
}

fn stopped(watch: bool) -> Result<(), Failure> {
    match watch {
        true => Ok(()),
        false => Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    }
}

/// Who hangs is reason enough to fail.
fn verdict(answers: &[Answer]) -> Result<(), Failure> {
    let silent = answers.iter().filter(|answer| answer.told.is_err());
    let silent: Vec<String> = silent.map(|answer| answer.pid.to_string()).collect();
    match silent.is_empty() {
        true => Ok(()),
        false => Err(Failure::say(
            Exit::Other,
            format!("no status from process {}", silent.join(", ")),
        )),
    }
}

/// Where it is shown.
struct View {
    json: bool,
    /// A terminal that is redrawn.
    table: Option<ProgressBar>,
    /// What was shown last of each process, without what changes all the time.
    known: Option<BTreeMap<i32, String>>,
}

impl View {
    fn new(json: bool, watch: bool) -> Self {
        let table = (watch && !json && std::io::stdout().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(4));
            let style = ProgressStyle::with_template("{msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        View {
            json,
            table,
            known: None,
        }
    }

    /// Shows all of it on a terminal; else what is new.
    fn show(&mut self, answers: &[Answer]) {
        if let Some(table) = &self.table {
            let all: Vec<String> = answers.iter().map(paragraph).collect();
            return table.set_message(match all.is_empty() {
                true => NOBODY.to_owned(),
                false => all.join("\n\n"),
            });
        }
        let now: BTreeMap<i32, String> = answers
            .iter()
            .map(|answer| (answer.pid, lasting(answer)))
            .collect();
        let first = self.known.is_none();
        let known = self.known.replace(now.clone()).unwrap_or_default();
        for pid in known.keys().filter(|pid| !now.contains_key(pid)) {
            print(self.json, &json!({ "event": "ended", "pid": pid }), || {
                format!("Process {pid} has ended.")
            });
        }
        for answer in answers {
            if known.get(&answer.pid) != now.get(&answer.pid) {
                print(self.json, &event(answer), || paragraph(answer));
            }
        }
        if first && answers.is_empty() && !self.json {
            print(false, &Value::Null, || NOBODY.to_owned());
        }
    }

    /// Leaves what is shown as it is.
    fn leave(&self) {
        if let Some(table) = &self.table {
            table.abandon();
        }
    }
}

/// What does not change all the time of what a process says.
fn lasting(answer: &Answer) -> String {
    match &answer.told {
        Err(why) => (*why).to_owned(),
        Ok(told) => {
            let of = |part: &Facts| {
                let Facts {
                    chart,
                    instance,
                    state,
                    doing,
                    ..
                } = part;
                format!("{chart} {instance} {state} {doing}")
            };
            let parts: Vec<String> = told.parts.iter().map(of).collect();
            parts.join("\n")
        }
    }
}

fn event(answer: &Answer) -> Value {
    match &answer.told {
        Ok(told) => {
            let mut event = json!({ "event": "status", "answers": true });
            if let (Some(event), Ok(Value::Object(told))) =
                (event.as_object_mut(), serde_json::to_value(told))
            {
                event.extend(told);
            }
            event
        }
        Err(why) => json!({
            "event": "status", "answers": false, "pid": answer.pid, "message": why,
        }),
    }
}

/// One process, in some lines.
fn paragraph(answer: &Answer) -> String {
    match &answer.told {
        Err(why) => format!("Process {}: {why}.", answer.pid),
        Ok(told) => {
            let mut lines = vec![head(answer.pid, told)];
            lines.extend(told.parts.iter().map(|part| format!("  {}", line(part))));
            if told.parts.is_empty() {
                lines.push("  It has nothing under way.".to_owned());
            }
            if told.more > 0 {
                lines.push(format!("  And {} more.", told.more));
            }
            if let Some(said) = &told.said {
                let text = printable(&said.text);
                lines.push(format!("  {} ago, it said: {text}", time(said.ago)));
            }
            lines.join("\n")
        }
    }
}

fn head(pid: i32, told: &Told) -> String {
    let (command, running) = (printable(&told.command), time(told.running));
    let ours = env!("CARGO_PKG_VERSION");
    let version = match told.version == ours {
        true => String::new(),
        false => format!(", Loaner {}", printable(&told.version)),
    };
    format!("loaner {command} (process {pid}{version}), for {running}:")
}

/// One part. The words are its own; here they are only put one after the other.
fn line(part: &Facts) -> String {
    let name = format!("{} {}", part.chart, part.instance).replace('_', " ");
    let state = part.state.replace('_', " ");
    let mut sentences = match state.is_empty() {
        true => vec![],
        false => vec![state],
    };
    sentences.push(sentence(&part.doing));
    if let Some(attempt) = part.attempt {
        sentences.push(format!("Attempt {attempt}"));
    }
    let round_trip = part.round_trip.map(|round_trip| {
        let milliseconds = (round_trip * 1000.0).max(0.1);
        format!("round trip {milliseconds:.1} ms")
    });
    let path = part.path.map(|path| path.to_string());
    let way: Vec<String> = path.into_iter().chain(round_trip).collect();
    if !way.is_empty() {
        sentences.push(sentence(&way.join(", ")));
    }
    if let (Some(next_in), Some(next)) = (part.next_in, &part.next) {
        sentences.push(format!("In {}: {}", time(next_in), lower(next)));
    }
    match (part.gives_up_in, &part.then) {
        (Some(time_left), Some(then)) => {
            sentences.push(format!("In {}: {}", time(time_left), lower(then)));
        }
        (None, Some(then)) => sentences.push(sentence(then)),
        (_, None) => {}
    }
    // A part may be named by whom it is with.
    let details = part
        .details
        .iter()
        .filter(|(_, value)| **value != part.instance);
    let details: Vec<String> = details
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if !details.is_empty() {
        sentences.push(sentence(&details.join(", ")));
    }
    let sentences: Vec<String> = sentences
        .iter()
        .map(|sentence| format!("{}.", printable(sentence.trim_end_matches('.'))))
        .collect();
    format!("{}: {}", printable(name.trim()), sentences.join(" "))
}

/// With a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// As it is said within a sentence. A name that is written in capitals stays so.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().to_string() + &text[first.len_utf8()..]
        }
        _ => text.to_owned(),
    }
}

/// Seconds, as people say them.
fn time(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
    match seconds.as_secs() {
        0 => "less than a second".to_owned(),
        whole => humantime::format_duration(Duration::from_secs(whole)).to_string(),
    }
}

#[cfg(test)]
mod tests;
