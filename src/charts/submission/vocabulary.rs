//! The words of `submission`: its events, timers and effects, and how long its timers run.

use std::time::Duration;

/// How long discovery or the answer to a job request may take (the original's 5 s).
pub const ANSWER: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take; the peer chart gives up earlier where it can.
pub const DIAL: Duration = Duration::from_secs(30);
/// How long a worker may take to say whether it has a file (the original's 30 s).
pub const VALIDATION: Duration = Duration::from_secs(30);
/// How many connections are tried.
pub const DIALS: u8 = 3;
/// How long a worker may take to pack results after its last command.
pub const RESULTS: Duration = Duration::from_secs(15 * 60);
/// How long the terminal message may take after the results: the worker removes its directory before.
pub const VERDICT: Duration = Duration::from_secs(90);
/// How long a cancelled job may take to be acknowledged: the worker's grace of 10 s, and some.
pub const CANCEL: Duration = Duration::from_secs(25);

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No worker was found, or none was chosen.
    NoWorker,
    /// The worker is not to be had: busy, or not fit for the job.
    Rejected,
    /// The worker did not answer.
    NoAnswer,
    /// No connection came up.
    NotConnected,
    /// The package could not be sent.
    NotSent,
    /// The worker cannot use the file that was named.
    NoFile,
    /// The worker did not say whether it has the file.
    NotValidated,
    /// The connection was lost for good.
    LinkLost,
    /// The job failed at the worker.
    JobFailed,
    /// The results did not arrive whole.
    NotReceived,
    /// The user stopped it.
    Interrupted,
}

/// What hub, worker, channel and user report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// Begin by looking for workers.
    Start,
    /// Discovery found some: one has to be chosen.
    WorkersFound,
    /// Discovery found none.
    NoWorker,
    /// The worker is known; `negotiates` says whether it answers job requests.
    WorkerChosen {
        /// Whether it is one of ours.
        negotiates: bool,
    },
    /// The worker takes the job.
    JobAccepted,
    /// The worker does not take the job.
    JobRejected,
    /// The worker refuses the connection: it is somebody else's.
    WorkerBusy,
    /// The worker is not in the room any more, and no connection to it is coming up.
    WorkerLeft,
    /// The data channel is open.
    ChannelOpen,
    /// The connection did not come up.
    DialFailed,
    /// The package has left.
    PackageSent,
    /// The package could not be sent.
    SendFailed,
    /// The worker's last command ended.
    CommandsDone {
        /// Whether none had failed.
        ok: bool,
    },
    /// The worker announced the results.
    ResultsAnnounced,
    /// They are complete under their final name.
    ResultsReceived,
    /// They are not.
    ReceiveFailed,
    /// The worker's one terminal message.
    JobOver {
        /// Whether the job is complete.
        ok: bool,
    },
    /// The connection is lost for good.
    LinkLost,
    /// The user wants to stop.
    Interrupt,
    /// The worker says that the job is cancelled and cleaned up.
    JobCancelled,
    /// The worker has the file that was named, and runs it.
    FileFound,
    /// It has not, or cannot use it.
    FileMissing,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until hub or worker should have answered.
    Answer,
    /// Until an attempt to connect is given up.
    Dial,
    /// Until the worker should have said whether it has the file.
    Validation,
    /// Until the results should have been announced.
    Results,
    /// Until the verdict should have come.
    Verdict,
    /// Until the acknowledgement of a cancel is waited for no longer.
    Cancel,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Ask the hub for workers.
    Discover,
    /// Let user or rule choose one.
    Choose,
    /// Ask the worker for the job.
    SendJobRequest,
    /// Assign the job to the worker.
    SendJobAssignment,
    /// Connect to the worker.
    Dial,
    /// Give up the connection that did not come up.
    DropConnection,
    /// Send the package.
    SendPackage,
    /// Name a file of the worker's own.
    NameFile,
    /// Receive the results.
    ReceiveResults,
    /// Stop the stream under way; nothing stays half-written.
    StopStreams,
    /// Ask the worker to cancel the job.
    SendJobCancel,
    /// Tell the worker that the job does not come; nobody waits for its answer.
    ReleaseWorker,
    /// There is a result: say so.
    ReportDone,
    /// There is none: say why.
    ReportFailed(Why),
}
