//! Exit codes, stable and documented in the help.

use std::fmt::Display;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something that has no code of its own.
    Other,
    /// The command line or the configuration is wrong.
    Usage,
    /// The hub cannot be reached, or refuses.
    Hub,
    /// No worker, or none that takes the job.
    NoWorker,
    /// The connection did not come up, or is lost.
    Connection,
    /// The job failed at the worker.
    Job,
    /// The package is none, or a file cannot be read or written.
    File,
    /// The worker knows no such job, or cannot do with it what was asked.
    NoJob,
    /// A defect of Loaner.
    Defect,
    /// Stopped by the user.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Other => 1,
            Exit::Usage => 2,
            Exit::Hub => 3,
            Exit::NoWorker => 4,
            Exit::Connection => 5,
            Exit::Job => 6,
            Exit::File => 7,
            Exit::NoJob => 8,
            Exit::Defect => 70,
            Exit::Interrupted => 130,
        }
    }
}

/// The list in the help.
pub const HELP: &str = "\
Exit codes:
    0  done
    1  something else went wrong
    2  the command line or the configuration is wrong
    3  the hub cannot be reached, or refused (wrong room, wrong token)
    4  no worker was found, or none takes the job (busy, not enough GPU memory) or the tunnel
    5  no connection to the worker came up, or it was lost for good
    6  the job failed at the worker
    7  the package is no package, or a file cannot be read or written
    8  the worker knows no such job, or it is too late for what was asked
   70  a defect of Loaner
  130  stopped by the user (Ctrl+C)

Every flag can also be given as an environment variable (LOANER_HUB for --hub), or in a file
loaner.toml (--config FILE, else ./loaner.toml, else ~/.config/loaner/loaner.toml), one table
per command, keys named like the flags:

    [worker]
    hub = \"http://hub.example:8080\"
    allow-commands = true

A flag wins over the environment, and the environment over the file.";

/// A failure with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// A failure with this code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Failure {
            exit,
            error: error.into(),
        }
    }

    /// A failure in words.
    pub fn say(exit: Exit, message: impl Display) -> Self {
        Failure {
            exit,
            error: anyhow::anyhow!("{message}"),
        }
    }

    /// A wrong command line or configuration.
    pub fn usage(error: anyhow::Error) -> Self {
        Failure {
            exit: Exit::Usage,
            error,
        }
    }

    /// What happened, and why.
    pub fn message(&self) -> String {
        // Some errors quote their cause already.
        self.error.chain().skip(1).map(ToString::to_string).fold(
            self.error.to_string(),
            |text, cause| {
                if text.contains(&cause) {
                    text
                } else {
                    format!("{text}: {cause}")
                }
            },
        )
    }
}
