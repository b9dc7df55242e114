//! The plan of an inference package.

use std::fs;
use std::io;
use std::path::Path;

use super::{Plan, PlanError, PlanKind, Step, read};
use crate::worker::jobs::manifest::Terms;
use crate::worker::jobs::script::MAX_SCRIPT_BYTES;
use crate::worker::jobs::track::{TRACK_SCRIPT, Track, commands, result};

/// How the protocol calls every inference (sleap-rtc wire protocol, 4.3).
const NAME: &str = "inference";

/// The plan of the package's script, `None` if it has none. What the package brings along in the place of a result is
/// removed: only what this job makes is ever returned.
pub(super) fn plan(root: &Path) -> Result<Option<Plan>, PlanError> {
    let Some(script) = read(root, TRACK_SCRIPT, MAX_SCRIPT_BYTES)? else {
        return Ok(None);
    };
    let commands = commands(&script)?;
    let outputs = vec![root.join(result(&commands)?)];
    for track in &commands {
        clear(&root.join(&track.output)).map_err(|source| PlanError::Result {
            name: track.output.clone(),
            source,
        })?;
    }
    Ok(Some(Plan {
        steps: commands.iter().map(step).collect(),
        outputs,
        terms: Terms::default(),
        kind: PlanKind::Inference,
    }))
}

fn step(track: &Track) -> Step {
    Step {
        name: NAME.to_owned(),
        argv: track.argv(),
        env: Vec::new(),
        trainer: false,
    }
}

/// Makes room for a file: its directory is there, and it is not.
fn clear(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::PackageKind;

    const COMMAND: &str = "sleap-nn track --data_path d.slp --model_paths models/a";

    fn package(script: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(TRACK_SCRIPT), script).unwrap();
        dir
    }

    fn planned(dir: &Path, kind: Option<PackageKind>) -> Result<Plan, PlanError> {
        Plan::for_package(dir, kind.as_ref(), Some("."))
    }

    /// The type decides; where nothing is said, the one script that is there does.
    #[test]
    fn the_type_or_else_the_script_says_what_a_package_is_for() {
        let both = package(COMMAND);
        fs::write(
            both.path().join("train-script.sh"),
            "sleap-nn train --config-name a.yaml\n",
        )
        .unwrap();
        let kind = |dir: &tempfile::TempDir, kind| planned(dir.path(), kind).map(|plan| plan.kind);
        use {PackageKind::Track, PackageKind::Train};
        assert_eq!(kind(&both, Some(Track)).unwrap(), PlanKind::Inference);
        assert_eq!(kind(&both, Some(Train)).unwrap(), PlanKind::Training);
        assert_eq!(kind(&both, None).unwrap(), PlanKind::Training);

        let track = package(COMMAND);
        assert_eq!(kind(&track, Some(Track)).unwrap(), PlanKind::Inference);
        assert_eq!(kind(&track, None).unwrap(), PlanKind::Inference);
        let error = kind(&track, Some(Train)).unwrap_err();
        assert!(matches!(error, PlanError::NoScript), "{error}");

        let none = tempfile::tempdir().unwrap();
        let error = kind(&none, Some(Track)).unwrap_err();
        assert!(matches!(error, PlanError::NoTrackScript), "{error}");
        let error = kind(&none, None).unwrap_err();
        assert!(matches!(error, PlanError::NoScript), "{error}");
    }

    /// One result is returned; a file that came with the package in its place, or in that of what it is made from, is
    /// gone before anything runs, and its directory is there.
    #[test]
    fn what_stands_where_results_go_is_removed() {
        let dir = package(&format!(
            "{COMMAND} -o half.slp\nsleap-nn track -i half.slp --model_paths models/b -o out/x.predictions.slp\n"
        ));
        fs::create_dir(dir.path().join("out")).unwrap();
        for stale in [
            "half.slp", "out/x.predictions.slp", "d.slp", "predictions.slp",
        ] {
            fs::write(dir.path().join(stale), "old").unwrap();
        }
        let plan = planned(dir.path(), None).unwrap();
        assert_eq!(plan.outputs, [dir.path().join("out/x.predictions.slp")]);
        assert_eq!(plan.steps.len(), 2);
        assert!(plan.steps.iter().all(|step| step.name == "inference"));
        for (name, there) in [
            ("half.slp", false),
            ("out/x.predictions.slp", false),
            ("d.slp", true),
            ("predictions.slp", true),
        ] {
            assert_eq!(dir.path().join(name).exists(), there, "{name}");
        }

        let new = package(&format!("{COMMAND} -o new/dir/x.slp\n"));
        planned(new.path(), None).unwrap();
        assert!(new.path().join("new/dir").is_dir());
        // A directory is nothing that a result may replace.
        let odd = package(COMMAND);
        fs::create_dir(odd.path().join("predictions.slp")).unwrap();
        let error = planned(odd.path(), None).unwrap_err();
        assert!(matches!(error, PlanError::Result { .. }), "{error}");
    }
}
