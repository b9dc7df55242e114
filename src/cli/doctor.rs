//! `loaner doctor`.

use loaner::doctor::{Finding, Patient, Verdict, examine};
use loaner::identity::default_state_dir;
use loaner::rtc::DataPlane;
use loaner::worker::jobs::scratch::default_base;
use serde_json::json;

use super::args::DoctorArgs;
use super::exit::{Exit, Failure};
use super::inbox::printable;
use super::{Signals, print};

/// Looks at everything, and says what is well and what to do about the rest.
pub async fn run(args: DoctorArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let plane = DataPlane::start().map_err(|error| Failure::new(Exit::Other, error))?;
    let patient = Patient {
        trust: super::trust(&args.at)?,
        hub: args.at.hub,
        state_dir: args.at.state_dir.or_else(default_state_dir),
        work_dir: args.work_dir.unwrap_or_else(default_base),
        worker: args.worker,
    };
    let findings = tokio::select! {
        findings = examine(patient, &plane) => findings,
        () = signals.next() => return Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    };
    for finding in &findings {
        show(finding, json);
    }
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Fail);
    match failed.count() {
        0 => Ok(()),
        failed => Err(Failure::say(
            Exit::Other,
            format!("{failed} of {} checks failed", findings.len()),
        )),
    }
}

fn show(finding: &Finding, json: bool) {
    let event = json!({
        "event": "finding",
        "check": finding.check,
        "verdict": finding.verdict.as_str(),
        "found": finding.found,
        "advice": finding.advice,
    });
    print(json, &event, || {
        let (verdict, check) = (finding.verdict.as_str(), finding.check);
        let line = format!("{verdict:<5}{check:<9}{}", printable(&finding.found));
        match &finding.advice {
            Some(advice) => format!("{line}\n{:14}{}", "", printable(advice)),
            None => line,
        }
    });
}
