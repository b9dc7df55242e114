//! Jobs on files of the worker's own side, in both generations of their messages (sleap-rtc wire protocol, 4.3 and
//! 4.6; reading.md 18). Whether the client may do that now is asked before anything is told about a file.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{GONE, MayUse, Server, sink};
use crate::actors::job::{Announcement, Claim, Dialect, Place};
use crate::wire::ChannelText;
use crate::worker::jobs::input::fetch;
use crate::worker::jobs::output::OutputDir;
use crate::worker::paths::{InputFile, IoPaths};

/// The reply to anything that needs files on the worker's side: this worker has none.
const NO_PATHS: &str = "Worker I/O paths not configured";

/// What was said of the next job on files of the worker's side.
#[derive(Default)]
pub(super) struct Local {
    /// A file header whose bytes have not begun to come. The older generation sends one that has none.
    header: Option<(String, u64)>,
    job: Option<String>,
    input: Option<InputFile>,
    output: Option<OutputDir>,
    /// A path was refused: what was asked for does not start.
    refused: bool,
}

impl Server {
    /// Takes what concerns files on the worker's side; anything else comes back.
    pub(super) async fn local(&mut self, message: ChannelText) -> Option<ChannelText> {
        match message {
            ChannelText::FileMeta { name, size, .. } if self.desk.paths.is_some() => {
                self.header().await;
                self.local.header = Some((name, size));
            }
            ChannelText::JobId(id) => {
                self.local = Local {
                    job: Some(id),
                    ..Local::default()
                };
            }
            ChannelText::InputFile(name) => self.input_file(name).await,
            ChannelText::SharedInputPath(path) => {
                self.local.header = None;
                let found = self.look(move |paths| paths.shared_input(&path)).await;
                self.local.input = self.verdict("input", found).await;
            }
            ChannelText::SharedOutputPath(path) => {
                self.local.header = None;
                let found = self.look(move |paths| paths.shared_output(&path)).await;
                self.local.output = self.verdict("output", found).await;
            }
            ChannelText::SharedStorageJob(_) => self.shared_job().await,
            other => {
                self.header().await;
                return Some(other);
            }
        }
        None
    }

    /// A file header counts as the announcement of a package as soon as anything else than a path follows it.
    pub(super) async fn header(&mut self) {
        if let Some((name, size)) = self.local.header.take() {
            self.announced(name, size).await;
        }
    }

    async fn input_file(&mut self, name: String) {
        let asked = std::mem::take(&mut self.local);
        let Some(paths) = self.desk.paths.clone() else {
            return self.not_found(name, NO_PATHS.to_owned()).await;
        };
        if let Err(reason) = self.may_use().await {
            return self.failed(asked.job, reason).await;
        }
        let (wanted, job) = (name.clone(), asked.job.clone());
        let found = blocking(paths.clone(), move |paths| {
            let input = paths.input(&wanted)?;
            Ok((input, paths.output(job.as_deref())?))
        });
        match found.await {
            Ok((input, output)) => {
                let told = [
                    ChannelText::FileExists(name),
                    ChannelText::JobOutputPath(paths.absolute(&output)),
                ];
                let job = asked.job.unwrap_or_default();
                self.start(Dialect::Named, job, input, output, &told).await;
            }
            Err(reason) => self.not_found(name, reason).await,
        }
    }

    /// The paths of the older generation are each answered when they come; the job starts only if none was refused.
    async fn shared_job(&mut self) {
        let asked = std::mem::take(&mut self.local);
        let refusal = match asked {
            Local { refused: true, .. } => "the job does not start: its paths were refused",
            Local {
                job: Some(job),
                input: Some(input),
                output: Some(output),
                ..
            } => return self.start(Dialect::Shared, job, input, output, &[]).await,
            Local { job: None, .. } => "the job does not start: no usable job id came before",
            Local { .. } => "the job does not start: an input path and an output path come before",
        };
        let refusal = if self.desk.paths.is_some() {
            refusal
        } else {
            NO_PATHS
        };
        self.say(ChannelText::PathError(refusal.to_owned())).await;
    }

    async fn start(
        &mut self,
        dialect: Dialect,
        job_id: String,
        input: InputFile,
        output: OutputDir,
        told: &[ChannelText],
    ) {
        let (name, size) = (input.name.clone(), input.size);
        let claim = Claim {
            job_id: job_id.clone(),
            dialect,
            output: output.path(),
        };
        let announcement = Announcement {
            name: name.clone(),
            size,
            kind: self.kind.clone(),
            output_dir: self.output_dir.clone(),
            place: Some(Place { claim, output }),
        };
        match self.announce(announcement).await {
            Ok(admission) => {
                for text in told {
                    self.say(text.clone()).await;
                }
                if let Some(sink) = sink(&admission, &name, size).await {
                    tokio::spawn(fetch(input, sink, admission.milestones));
                }
            }
            Err(reason) => self.failed(Some(job_id), reason).await,
        }
    }

    /// Does something with the worker's directories, if it has any and the client may.
    async fn look<T: Send + 'static>(
        &self,
        what: impl FnOnce(&IoPaths) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let paths = self.desk.paths.clone().ok_or(NO_PATHS)?;
        self.may_use().await?;
        blocking(paths, what).await
    }

    async fn may_use(&self) -> Result<(), String> {
        self.may_submit()?;
        let (reply, answer) = oneshot::channel();
        self.desk.may_use.do_send(MayUse {
            link: self.link,
            reply,
        });
        answer.await.unwrap_or_else(|_| Err(GONE.to_owned()))
    }

    async fn verdict<T>(&mut self, which: &str, found: Result<T, String>) -> Option<T> {
        match found {
            Ok(found) => {
                self.say(ChannelText::PathValidated(which.to_owned())).await;
                Some(found)
            }
            Err(reason) => {
                self.local.refused = true;
                self.say(ChannelText::PathError(reason)).await;
                None
            }
        }
    }

    async fn not_found(&self, name: String, reason: String) {
        self.say(ChannelText::FileNotFound { name, reason }).await;
    }

    async fn failed(&self, job: Option<String>, message: String) {
        let job_id = job.unwrap_or_else(|| "none".to_owned());
        self.say(ChannelText::JobFailed { job_id, message }).await;
    }
}

async fn blocking<T: Send + 'static>(
    paths: Arc<IoPaths>,
    what: impl FnOnce(&IoPaths) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = spawn_blocking(move || what(&paths)).await;
    done.unwrap_or_else(|lost| Err(lost.to_string()))
}
