//! The words of `job`: its events, timers and effects, and how long its timers run.

use std::time::Duration;

/// How long an assigned job waits for its package.
pub const ASSIGNMENT: Duration = Duration::from_secs(60);
/// How long a process group has between SIGTERM and SIGKILL, and between one SIGKILL and the next look.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long the job's directory may take to disappear.
pub const CLEANING: Duration = Duration::from_secs(60);

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::AsRefStr)]
pub enum Why {
    /// The package never came.
    NoPackage,
    /// The package did not arrive whole.
    NotReceived,
    /// The package cannot be run.
    NotPrepared,
    /// A command failed.
    CommandFailed,
    /// The results could not be packed.
    NotPacked,
    /// The results could not be sent.
    NotReturned,
    /// The connection to the client is lost for good.
    LinkLost,
    /// It was asked to stop, did not in time, and was killed.
    NotStopped,
    /// The worker is shutting down.
    Shutdown,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every command succeeded, and the results were returned.
    Completed,
    /// It failed.
    Failed(Why),
    /// Its user cancelled it.
    Cancelled,
}

/// What the transfer, the processes, the client and the worker report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// A package was announced and let in.
    PackageAnnounced,
    /// It arrived whole.
    PackageReceived,
    /// It did not.
    PackageBroken,
    /// It is unpacked, and there is a plan.
    Prepared,
    /// It cannot be run.
    PrepareFailed,
    /// One command of the plan started.
    StepStarted,
    /// One command ended.
    StepEnded {
        /// Whether with exit code 0.
        ok: bool,
    },
    /// The last command ended.
    RunEnded {
        /// Whether all ended with exit code 0.
        ok: bool,
    },
    /// The results are packed.
    Packed,
    /// There is nothing to return.
    NothingToReturn,
    /// The results could not be packed.
    PackFailed,
    /// The results have left.
    ResultsSent,
    /// The results could not be sent.
    SendFailed,
    /// Its user wants it to stop, and to have what it has by then.
    StopRequested {
        /// How long its command may take to save that; what the job says, at most ten minutes.
        deadline: Duration,
    },
    /// Its user cancels.
    CancelRequested,
    /// The connection to the holder is lost for good.
    LinkLost,
    /// The worker is to end.
    Shutdown,
    /// What was under way has stopped: transfer, unpacking, packing, or the whole process group.
    WorkGone,
    /// The job's directory is gone.
    ScratchGone,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until an assigned job without a package is given up.
    Assignment,
    /// Until a command that was asked to stop is killed.
    Stop,
    /// Until the process group is killed.
    Grace,
    /// Until the directory is taken for gone.
    Cleaning,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// The job begins: say so.
    ReportBegun,
    /// Unpack the package and make a plan.
    Prepare,
    /// Run the plan.
    Run,
    /// Tell the holder that a command starts.
    SendStarting,
    /// Tell the holder that a command succeeded.
    SendStepDone,
    /// Pack the results.
    Pack,
    /// Send the results.
    ReturnResults,
    /// Ask the command to end by its own signal, SIGINT unless the job says otherwise.
    AskToStop,
    /// End what is under way; a process group gets SIGTERM.
    TerminateWork,
    /// Kill the process group.
    KillWork,
    /// Remove the job's directory.
    RemoveScratch,
    /// Send the one terminal message.
    SendTerminal(Outcome),
    /// The job is over: say so.
    ReportEnded,
}
