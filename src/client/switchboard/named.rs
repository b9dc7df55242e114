//! A package that is at the worker: who has files for clients, what it is told, and where the results stay.

use serde_json::Value;

use super::Client;
use crate::charts::submission::Input;
use crate::client::input::plain;
use crate::client::{Progress, Work, WorkerInput};
use crate::wire::{ChannelText, PeerInfo};

/// One of the directories of which a worker tells.
fn directory<'a>(worker: &'a PeerInfo, which: &str) -> Option<&'a str> {
    worker
        .metadata
        .properties
        .get("io_paths")?
        .get(which)
        .and_then(Value::as_str)
}

impl Client {
    pub(super) fn named(&self) -> Option<&WorkerInput> {
        match &self.work {
            Work::Named(input) => Some(input),
            Work::Package(_) => None,
        }
    }

    /// What a worker lacks for a package that is to be there already.
    pub(super) fn lacks_files(&self, worker: &PeerInfo) -> Option<String> {
        self.named()?;
        match directory(worker, "input") {
            Some(_) => None,
            None => Some(
                "has no files for its clients (it runs without --input-path and --output-path): \
                 send it the package itself"
                    .to_owned(),
            ),
        }
    }

    pub(super) fn name_file(&mut self) {
        let channel = self.link.as_ref().and_then(|link| link.line.clone());
        let (Some(input), Some(channel)) = (self.named(), channel) else {
            return;
        };
        self.ui.progress(Progress::Naming {
            name: input.path().to_owned(),
        });
        let words = input.words(&self.job);
        self.plane.spawn(async move {
            for text in words {
                if let Err(error) = channel.send_text(&text.to_text()).await {
                    // A channel that is gone is reported on its own.
                    return tracing::debug!(%error, "the file could not be named");
                }
            }
        });
    }

    /// Takes what the worker says of its own files; anything else comes back.
    pub(super) fn heard_of_files(&mut self, text: ChannelText) -> Option<ChannelText> {
        let Some(input) = self.named() else {
            return Some(text);
        };
        match input.answer(&text) {
            Some(Ok(())) => {
                self.ui.progress(Progress::Found {
                    name: input.path().to_owned(),
                });
                self.feed(Input::FileFound);
                return None;
            }
            Some(Err(reason)) => {
                // What comes after the first reason is of its making.
                self.detail.get_or_insert(reason);
                self.feed(Input::FileMissing);
                return None;
            }
            None => {}
        }
        match text {
            ChannelText::JobOutputPath(path) => self.at_worker = Some(plain(&path)),
            ChannelText::TrainingComplete => self.feed(Input::JobOver {
                ok: !self.command_failed,
            }),
            ChannelText::JobComplete { detail, .. } => {
                self.at_worker = Some(self.below_output(&detail));
                self.feed(Input::JobOver { ok: true });
            }
            other => return Some(other),
        }
        None
    }

    /// What the worker calls by a path relative to its output directory.
    fn below_output(&self, path: &str) -> String {
        let output = self
            .worker
            .as_ref()
            .and_then(|worker| directory(worker, "output"));
        match output {
            Some(output) => plain(&format!("{}/{path}", output.trim_end_matches('/'))),
            None => plain(path),
        }
    }

    /// Why the file that was named is not run, and what to do.
    pub(super) fn no_file(&self, reason: Option<&str>) -> String {
        let name = self.named().map_or("", WorkerInput::path);
        let input = self
            .worker
            .as_ref()
            .and_then(|worker| directory(worker, "input"));
        format!(
            "the worker cannot run {name}: {}; --worker-input names a file in its input directory{}, by a path relative to \
             that. To send a package of yours: loaner run PACKAGE",
            reason.unwrap_or("it gave no reason"),
            input
                .map(|input| format!(" ({})", plain(input)))
                .unwrap_or_default()
        )
    }

    /// The worker said nothing to the file that was named.
    pub(super) fn not_validated(&self) -> String {
        format!(
            "the worker did not say within 30 s whether it has {}; is it still running, and one that serves files of its \
             own? To send a package of yours: loaner run PACKAGE",
            self.named().map_or("the file", WorkerInput::path)
        )
    }
}
