//! Files that are on the worker's side already (sleap-rtc wire protocol, 4.6): an input directory that jobs read from,
//! and an output directory that their results go to.
//!
//! Both are opened once, when the worker starts, and everything is found beneath these two handles. A client names a
//! file of the input directory (`INPUT_FILE`) or gives paths relative to a root that client and worker share
//! (`SHARED_INPUT_PATH`, `SHARED_OUTPUT_PATH`). That root is not one directory here: an input path is taken relative
//! to the input directory, an output path relative to the output directory. An owner whose clients have one root for
//! both gives it as both.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use super::beneath::Directory;
use super::jobs::names::{NameError, safe_file_name, safe_relative, shown};
use super::jobs::output::{OutputDir, sweep};

/// Below the output directory: one directory for each job.
const JOBS: &str = "jobs";
/// Longest id of a job that names a directory, in bytes.
const MAX_ID: usize = 128;

/// Why the directories cannot be used.
#[derive(Debug, Error)]
pub enum PathsError {
    /// One of them is not there, or is no directory.
    #[error("{flag} {path} cannot be used: {source}; name a directory that exists", path = path.display())]
    Unusable {
        /// The flag that named it.
        flag: &'static str,
        /// The directory, as given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its path cannot be told to clients.
    #[error("{flag} {path} cannot be used: the path is not Unicode", path = path.display())]
    NotText {
        /// The flag that named it.
        flag: &'static str,
        /// The directory, resolved.
        path: PathBuf,
    },
}

/// An input and an output directory, held open.
#[derive(Debug)]
pub struct IoPaths {
    input: (String, Directory),
    output: (String, Directory),
    filesystem: String,
}

impl IoPaths {
    /// Opens both directories, and takes away what killed workers left in the second. `filesystem` tells people which storage they are on; `"unknown"` unless given.
    ///
    /// # Errors
    /// When one of them does not exist, is no directory, may not be read, or has a path that is not Unicode.
    pub fn open(
        input: &Path,
        output: &Path,
        filesystem: Option<String>,
    ) -> Result<Self, PathsError> {
        let input = opened("--input-path", input)?;
        let output = opened("--output-path", output)?;
        sweep(&output.1);
        if let Ok(jobs) = output.1.directory(Path::new(JOBS)) {
            sweep(&jobs);
        }
        Ok(Self {
            input,
            output,
            filesystem: filesystem.unwrap_or_else(|| "unknown".to_owned()),
        })
    }

    /// `io_paths` of the registration: absolute paths, all links resolved.
    pub fn advertised(&self) -> Value {
        json!({ "input": self.input.0, "output": self.output.0, "filesystem": self.filesystem })
    }

    /// Opens the file of this bare name in the input directory.
    ///
    /// # Errors
    /// The reason for `FILE_NOT_FOUND`, one of those of the protocol page (4.3).
    pub fn input(&self, name: &str) -> Result<InputFile, String> {
        let reason = match safe_file_name(name) {
            Ok(()) => return self.open_input(Path::new(name), name),
            Err(NameError::Separator) => "Invalid filename: contains path separator",
            Err(NameError::Parent) => "Invalid filename: contains parent reference",
            // No file that is served has such a name.
            Err(_) => MISSING,
        };
        Err(reason.to_owned())
    }

    /// Opens the file at this path relative to the input directory.
    ///
    /// # Errors
    /// The text for `PATH_ERROR`.
    pub fn shared_input(&self, path: &str) -> Result<InputFile, String> {
        let refused = |why: &str| format!("Input path \"{}\": {why}", shown(path));
        let safe = safe_relative(path).map_err(|why| refused(&why.to_string()))?;
        let name = safe.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| refused("it names no file"))?.to_owned();
        safe_file_name(&name).map_err(|why| refused(&why.to_string()))?;
        self.open_input(&safe, &name)
            .map_err(|reason| refused(&reason))
    }

    fn open_input(&self, path: &Path, name: &str) -> Result<InputFile, String> {
        let opened = self.input.1.file(path).and_then(|file| {
            let size = file.metadata()?.len();
            Ok(InputFile {
                name: name.to_owned(),
                file,
                size,
            })
        });
        opened.map_err(|error| reason(&error).to_owned())
    }

    /// Makes room for the results of a job: `jobs/<id>` in the output directory.
    ///
    /// # Errors
    /// The reason for `FILE_NOT_FOUND`: no id, one that cannot name a directory, one that was used before, or a
    /// directory that cannot be made.
    pub fn output(&self, job: Option<&str>) -> Result<OutputDir, String> {
        let failed = |why: String| format!("Failed to create output directory: {why}");
        let job = job.ok_or_else(|| failed("no usable job id came before".to_owned()))?;
        let wrong = |why| failed(format!("the job id \"{}\" is refused: {why}", shown(job)));
        safe_file_name(job).map_err(wrong)?;
        if job.len() > MAX_ID {
            return Err(wrong(NameError::TooLong));
        }
        let path = Path::new(JOBS).join(job);
        OutputDir::reserve(&self.output.1, &path, false).map_err(|error| {
            failed(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "a job with this id has its results there already".to_owned()
                }
                _ => error.to_string(),
            })
        })
    }

    /// Makes room for results at this path relative to the output directory. An empty directory may be there already.
    ///
    /// # Errors
    /// The text for `PATH_ERROR`.
    pub fn shared_output(&self, path: &str) -> Result<OutputDir, String> {
        let refused = |why: String| format!("Output path \"{}\": {why}", shown(path));
        let safe = safe_relative(path).map_err(|why| refused(why.to_string()))?;
        // Such a directory is not known at the start.
        if let Ok(above) = self
            .output
            .1
            .directory(safe.parent().unwrap_or(Path::new("")))
        {
            sweep(&above);
        }
        OutputDir::reserve(&self.output.1, &safe, true).map_err(|error| {
            refused(match error.kind() {
                io::ErrorKind::AlreadyExists => "something is there already".to_owned(),
                _ => error.to_string(),
            })
        })
    }

    /// The absolute path of something in the output directory, to be shown.
    pub fn absolute(&self, output: &OutputDir) -> String {
        format!("{}/{}", self.output.0.trim_end_matches('/'), output.path())
    }
}

/// A file of the input directory, open: what becomes of its name from now on makes no difference.
#[derive(Debug)]
pub struct InputFile {
    /// Its own name, known to be safe.
    pub name: String,
    /// The file, opened for reading.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

const MISSING: &str = "File does not exist";

fn reason(error: &io::Error) -> &'static str {
    let link = rustix::io::Errno::LOOP.raw_os_error();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => MISSING,
        io::ErrorKind::InvalidInput => "Path is not a file",
        _ if error.raw_os_error() == Some(link) => "Path is not a file",
        _ => "File is not readable",
    }
}

fn opened(flag: &'static str, path: &Path) -> Result<(String, Directory), PathsError> {
    let unusable = |source| PathsError::Unusable {
        flag,
        path: path.to_owned(),
        source,
    };
    let resolved = path.canonicalize().map_err(unusable)?;
    let directory = Directory::open(&resolved).map_err(unusable)?;
    match resolved.into_os_string().into_string() {
        Ok(text) => Ok((text, directory)),
        Err(path) => Err(PathsError::NotText {
            flag,
            path: path.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever runs the tests may be allowed to read everything, so this is shown on the error alone.
    #[test]
    fn an_error_of_the_file_system_becomes_a_reason_of_the_protocol() {
        let said = |code: rustix::io::Errno| reason(&code.into());
        assert_eq!(said(rustix::io::Errno::NOENT), "File does not exist");
        assert_eq!(said(rustix::io::Errno::NOTDIR), "File does not exist");
        assert_eq!(said(rustix::io::Errno::LOOP), "Path is not a file");
        assert_eq!(said(rustix::io::Errno::ACCESS), "File is not readable");
        assert_eq!(said(rustix::io::Errno::IO), "File is not readable");
    }
}
