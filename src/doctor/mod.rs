//! A look at a machine and its way to a hub: what works, what does not, and what to do about it. Nothing is changed.

mod hub;
mod machine;
mod udp;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;

pub use self::hub::MAX_CLOCK_DIFFERENCE;
use crate::actors::session::{HubUrl, Trust};
use crate::rtc::DataPlane;

/// How long each check may take.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All is well.
    Ok,
    /// It works, but not as well as it could, or is not known.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// In a word: `ok`, `warn` or `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// One line of the doctor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do, where there is something.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding {
            check,
            verdict: Verdict::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding {
            verdict: Verdict::Warn,
            advice: Some(advice.into()),
            ..Self::ok(check, found)
        }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding {
            verdict: Verdict::Fail,
            advice: Some(advice.into()),
            ..Self::ok(check, found)
        }
    }
}

/// What is looked at.
pub struct Patient {
    /// The hub.
    pub hub: HubUrl,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Where state is kept; `None` where there is no place for it.
    pub state_dir: Option<PathBuf>,
    /// Below which jobs get their directories.
    pub work_dir: PathBuf,
    /// Whether the machine is to be a worker, and needs what a client does not.
    pub worker: bool,
}

/// Looks at everything, at the same time; findings are in a fixed order. Each check has [`DEADLINE`]; those that need to
/// know the hub's servers begin when it has told of them. Must run in an actix system.
pub async fn examine(patient: Patient, plane: &DataPlane) -> Vec<Finding> {
    let Patient {
        hub,
        trust,
        state_dir,
        work_dir,
        worker,
    } = patient;
    let (tell, servers) = oneshot::channel();
    let machine = |check, look: Box<dyn FnOnce() -> Finding + Send>| {
        let looking = plane.spawn_blocking(look);
        limited(check, async move {
            let found = looking.await;
            vec![found.unwrap_or_else(|error| {
                Finding::fail(check, error.to_string(), "this is a defect of Loaner")
            })]
        })
    };
    let checks: Vec<std::pin::Pin<Box<dyn Future<Output = Vec<Finding>>>>> = vec![
        Box::pin(hub::health(hub.clone(), trust.clone())),
        Box::pin(hub::sign_in(hub, trust, tell)),
        Box::pin(async move { udp::paths(servers.await.ok().flatten()).await }),
        Box::pin(machine("gpu", Box::new(move || machine::gpu(worker)))),
        Box::pin(machine("buffers", Box::new(machine::buffers))),
        Box::pin(machine(
            "disk",
            Box::new(move || machine::disk(&work_dir, worker)),
        )),
        Box::pin(machine(
            "state",
            Box::new(move || machine::state(state_dir.as_deref())),
        )),
    ];
    join_all(checks).await.into_iter().flatten().collect()
}

/// A check that may take no longer than [`DEADLINE`].
async fn limited(check: &'static str, looking: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(DEADLINE, looking)
        .await
        .unwrap_or_else(|_| {
            let found = format!("no result came within {} s", DEADLINE.as_secs());
            vec![Finding::fail(
                check, found, "try again; something hangs here",
            )]
        })
}
