//! The record of one job.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Keep, remove_file};
use crate::wire::own::{Digest, JobSummary, KeptResults, MAX_MESSAGE};
use crate::worker::jobs::disk::free_space;
use crate::worker::jobs::log::{Log, LogWriter};

/// The longest record that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024;

/// How a job went so far, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// What its package is called.
    pub name: String,
    /// The state of its chart.
    pub state: String,
    /// In milliseconds since 1970.
    began: u64,
    /// How long it took, in seconds, once it is over.
    seconds: Option<u64>,
    /// How far it said that it is, from 0 to 1.
    pub progress: Option<f64>,
    /// What there is to say of it.
    pub message: String,
    /// Results that wait.
    pub results: Option<KeptResults>,
    /// By which the client finds what it has of them already.
    key: Digest,
}

impl Story {
    pub(super) fn begun(id: &str, user: &str, name: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Story {
            id: id.to_owned(),
            user: user.to_owned(),
            name: name.to_owned(),
            state: "receiving".to_owned(),
            began: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
            seconds: None,
            progress: None,
            message: String::new(),
            results: None,
            key: Digest(rand::random()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.seconds.is_some()
    }

    pub(super) fn ended_at(&self) -> SystemTime {
        let seconds = Duration::from_secs(self.seconds.unwrap_or_default());
        let began = Duration::from_millis(self.began);
        UNIX_EPOCH
            .checked_add(began.saturating_add(seconds))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// The record of a job, shared by the job, which tells it, and all who look.
#[derive(Debug)]
pub struct Record {
    dir: PathBuf,
    number: u64,
    told: watch::Sender<Told>,
    since: Instant,
    log: Log,
    /// The most bytes of results that are kept.
    most: u64,
    /// Until the job takes it.
    writer: Mutex<Option<LogWriter>>,
    /// One at a time sees to its files.
    files: Mutex<Files>,
}

/// What becomes of a record's files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// They were removed, and none is written any more.
    gone: bool,
}

/// What is told of a job.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    story: Story,
    /// Until when its command may take its time.
    until: Option<Instant>,
}

impl Told {
    fn of(story: Story) -> watch::Sender<Self> {
        watch::channel(Told { story, until: None }).0
    }
}

/// Follows what is told of a job.
#[derive(Debug)]
pub struct Watching(watch::Receiver<Told>);

impl Watching {
    /// Waits until something has changed since the last time. A job that is forgotten changes no more.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

impl Record {
    pub(super) fn new(dir: &Path, number: u64, story: Story, keep: &Keep) -> Self {
        let (writer, log) = LogWriter::create(path(dir, number, "log"), keep.log);
        Record {
            dir: dir.to_owned(),
            number,
            told: Told::of(story),
            since: Instant::now(),
            log,
            most: keep.bytes,
            writer: Mutex::new(Some(writer)),
            files: Mutex::default(),
        }
    }

    pub(super) fn load(dir: &Path, number: u64) -> io::Result<Self> {
        let mut text = String::new();
        fs::File::open(path(dir, number, "json"))?
            .take(MAX_BYTES)
            .read_to_string(&mut text)?;
        let mut story: Story = serde_json::from_str(&text)?;
        let unfinished = !story.is_over();
        if unfinished {
            story.seconds = Some(0);
            story.state = "failed".to_owned();
            story.message = "the worker ended before the job did".to_owned();
        }
        let record = Record {
            dir: dir.to_owned(),
            number,
            told: Told::of(story),
            since: Instant::now(),
            log: Log::past(path(dir, number, "log")),
            most: 0,
            writer: Mutex::new(None),
            files: Mutex::default(),
        };
        if unfinished {
            record.save();
        }
        Ok(record)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How it went so far.
    pub fn story(&self) -> Story {
        self.told.borrow().story.clone()
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The one who writes its log: it is given once.
    pub fn writer(&self) -> Option<LogWriter> {
        // Nothing else is done under the lock.
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Makes its files. Blocks.
    pub fn create(&self) {
        let files = self.files();
        // A job that is over needs no log.
        let waiting = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting.as_ref().map(LogWriter::place);
        drop(waiting);
        if let Some(place) = place.filter(|_| !files.gone) {
            place.file();
        }
        self.write(&files);
    }

    /// From now on, whoever watches hears of changes.
    pub fn watch(&self) -> Watching {
        Watching(self.told.subscribe())
    }

    /// The job is in this state; where its command may take its time, for so long.
    pub fn is_in(&self, state: &str, for_at_most: Option<Duration>) {
        self.told.send_modify(|told| {
            told.story.state = state.to_owned();
            told.until = for_at_most.map(|time| Instant::now() + time);
        });
    }

    /// The job said how far it is.
    pub fn is_at(&self, progress: f64, message: &str) {
        self.told.send_modify(|told| {
            told.story.progress = Some(progress);
            told.story.message = short(message);
        });
    }

    /// The job is over, in this final state, and this is what there is to say of it. It has to be [settled](Self::settle).
    pub fn ended(&self, state: &str, message: &str) {
        self.told.send_modify(|told| {
            told.story.state = state.to_owned();
            told.story.message = short(message);
            told.story.seconds = Some(self.since.elapsed().as_secs());
            told.until = None;
        });
    }

    /// Writes down how the job ended. Blocks.
    pub fn settle(&self) {
        let files = self.files();
        // Without anybody to write it, the log is over.
        drop(self.writer());
        self.write(&files);
    }

    /// Removes its files, for good. Blocks.
    pub(super) fn remove(&self) {
        let mut files = self.files();
        files.gone = true;
        remove(&self.dir, self.number);
    }

    /// Whoever has this has the files to itself.
    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes results that did not get to the client: they wait here, if they are no more than is kept at all. Blocks.
    ///
    /// # Errors
    /// When they cannot be moved or copied; they are where they were.
    pub fn keep_results(&self, from: &Path, name: &str) -> io::Result<()> {
        let size = from.symlink_metadata()?.len();
        if size > self.most {
            return Err(io::Error::other("they are more than this worker keeps"));
        }
        let to = self.results_path();
        match fs::rename(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                if size > free_space(&self.dir)? {
                    return Err(io::Error::other("there is no room for them"));
                }
                fs::copy(from, &to).inspect_err(|_| remove_file(&to))?;
            }
            renamed => renamed?,
        }
        let name = name.to_owned();
        self.told
            .send_modify(|told| told.story.results = Some(KeptResults { name, size }));
        self.save();
        Ok(())
    }

    /// The results are with the client now. Blocks.
    pub fn results_fetched(&self) {
        self.told.send_modify(|told| told.story.results = None);
        remove_file(&self.results_path());
        self.save();
    }

    /// By which its client finds what it has of the results already.
    pub fn key(&self) -> Digest {
        self.told.borrow().story.key
    }

    /// Results that wait, and the key to them.
    pub fn kept_results(&self) -> Option<(KeptResults, Digest)> {
        let told = self.told.borrow();
        Some((told.story.results.clone()?, told.story.key))
    }

    /// Where results wait, if there are any.
    pub fn results_path(&self) -> PathBuf {
        path(&self.dir, self.number, "results")
    }

    /// The bytes that its files take.
    pub(super) fn bytes(&self) -> u64 {
        let results = self
            .told
            .borrow()
            .story
            .results
            .as_ref()
            .map_or(0, |kept| kept.size);
        self.log.state().written + results
    }

    /// What is told of it.
    pub fn summary(&self) -> JobSummary {
        let Told { story, until } = self.told.borrow().clone();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        JobSummary {
            id: story.id,
            name: story.name,
            state: story.state,
            began: story.began,
            seconds: story
                .seconds
                .unwrap_or_else(|| self.since.elapsed().as_secs()),
            seconds_left: left.map(|left| left.as_secs_f64().ceil() as u64),
            // Between 0 and 1, so it fits.
            percent: story.progress.map(|progress| (progress * 100.0) as u8),
            message: story.message,
            log: self.log.state().written,
            results: story.results,
        }
    }

    /// Writes the record. Blocks.
    fn save(&self) {
        self.write(&self.files());
    }

    /// That it cannot be written is only logged: it is known as long as the worker runs. What is told of the job is read here,
    /// so that what is written last is the latest.
    fn write(&self, files: &Files) {
        if files.gone {
            return;
        }
        let story = self.story();
        let target = path(&self.dir, self.number, "json");
        let written = tempfile::NamedTempFile::new_in(&self.dir).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(&story)?)?;
            file.persist(&target)?;
            Ok(())
        });
        if let Err(error) = written {
            tracing::warn!(path = %target.display(), %error, "the record of a job cannot be kept");
        }
    }
}

/// A message as it is kept, cut between characters.
fn short(message: &str) -> String {
    let end = message.floor_char_boundary(MAX_MESSAGE);
    message[..end].chars().filter(|c| !c.is_control()).collect()
}

fn path(dir: &Path, number: u64, what: &str) -> PathBuf {
    dir.join(format!("{number}.{what}"))
}

/// Removes all of a job.
pub(super) fn remove(dir: &Path, number: u64) {
    for what in ["json", "log", "results"] {
        remove_file(&path(dir, number, what));
    }
}
