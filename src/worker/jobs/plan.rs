//! What is to be run for a package, decided before anything runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

mod inference;

use super::curves::Ports;
use super::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, ManifestError, Terms};
use super::names::{NameError, safe_relative, shown};
use super::script::{MAX_SCRIPT_BYTES, ScriptError, TRAIN_SCRIPT, config_names, stem};
use super::track::{TRACK_SCRIPT, TrackError};
use crate::wire::PackageKind;

/// Where the fixed training command leaves its models.
const MODELS: &str = "models";

/// Why there is nothing to run.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Neither script nor manifest.
    #[error("the package has neither {TRAIN_SCRIPT} nor {MANIFEST} nor {TRACK_SCRIPT}")]
    NoScript,
    /// An inference package without its script.
    #[error("the package has no {TRACK_SCRIPT}, and was announced as one for inference")]
    NoTrackScript,
    /// The script is empty of commands.
    #[error("{}", ScriptError::NoCommands)]
    NoCommands,
    /// The script is refused.
    #[error(transparent)]
    Script(ScriptError),
    /// The script of an inference is refused.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// There is no room for a result.
    #[error("there is no room for the result \"{name}\": {source}")]
    Result {
        /// Its path in the package.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The output directory lies outside the package.
    #[error("the output directory \"{dir}\" is refused: {why}")]
    OutputDir {
        /// The directory, for display.
        dir: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// Script or manifest is too large.
    #[error("{name} is larger than {limit} bytes")]
    TooLarge {
        /// Its name.
        name: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// Script or manifest cannot be read.
    #[error("{name}: {source}")]
    Io {
        /// Its name.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// Where a plan comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// The lines of `train-script.sh`, each run as the worker's own training command.
    Training,
    /// The lines of `track-script.sh`, each run as the worker's own inference command.
    Inference,
    /// The command of `loaner.toml`.
    Command,
}

/// One process to be run in the package root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name in `TRAIN_JOB_START::<name>`: the config's stem, or the job's name; `inference` in
    /// `INFERENCE_JOB_START::<name>`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Additions to the worker's environment.
    pub env: Vec<(String, String)>,
    /// It is a trainer, which is told where to report and where to hear commands when it starts.
    pub trainer: bool,
}

impl Step {
    /// The step with the ports that a trainer is to use; without any, whatever its configuration says, it uses none.
    pub fn told(&self, ports: Option<Ports>) -> Self {
        let mut step = self.clone();
        if self.trainer {
            let port = |port: Option<u16>| port.map_or("null".to_owned(), |port| port.to_string());
            let controller = port(ports.map(|ports| ports.controller));
            let publish = port(ports.map(|ports| ports.publish));
            step.argv.extend([
                format!("trainer_config.zmq.controller_port={controller}"),
                format!("trainer_config.zmq.publish_port={publish}"),
            ]);
        }
        step
    }
}

/// What is to be run, and what is to be sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps, one after the other. Never empty.
    pub steps: Vec<Step>,
    /// Files, directories and patterns below the package root, as paths that begin with it. For
    /// [`pack_outputs`](super::pack::pack_outputs); of an inference the one file that is sent as it is. Never empty.
    pub outputs: Vec<PathBuf>,
    /// How the steps are to be run.
    pub terms: Terms,
    /// Where the plan comes from.
    pub kind: PlanKind,
}

impl Plan {
    /// The plan for the package unpacked at `root`. `kind` is the client's `PACKAGE_TYPE`; where it said none, a package
    /// that has nothing but a `track-script.sh` is for inference. `output_dir_hint` is its `OUTPUT_DIR`, `models` unless
    /// given; it must lie inside the package. A manifest wins over a training. What a package for inference has
    /// in the place of a result is removed. Whether the plan may be run is for the [policy](crate::worker::policy) to say.
    pub fn for_package(
        root: &Path,
        kind: Option<&PackageKind>,
        output_dir_hint: Option<&str>,
    ) -> Result<Self, PlanError> {
        // A client for inference says where the result goes on its own disk: nothing of the package.
        if kind == Some(&PackageKind::Track) {
            return inference::plan(root)?.ok_or(PlanError::NoTrackScript);
        }
        let hint = output_dir_hint
            .filter(|hint| !hint.is_empty())
            .unwrap_or(MODELS);
        let output_dir = safe_relative(hint).map_err(|why| PlanError::OutputDir {
            dir: shown(hint),
            why,
        })?;
        if let Some(text) = read(root, MANIFEST, MAX_MANIFEST_BYTES)? {
            return Ok(Self::for_manifest(
                root,
                Manifest::parse(&text)?,
                output_dir,
            ));
        }
        let Some(script) = read(root, TRAIN_SCRIPT, MAX_SCRIPT_BYTES)? else {
            let tracked = match kind {
                None => inference::plan(root)?,
                Some(_) => None,
            };
            return tracked.ok_or(PlanError::NoScript);
        };
        let names = config_names(&script).map_err(|error| match error {
            ScriptError::NoCommands => PlanError::NoCommands,
            other => PlanError::Script(other),
        })?;
        // The fixed command writes to `models` whatever the client asked for.
        let mut outputs = vec![root.join(&output_dir)];
        if output_dir != Path::new(MODELS) {
            outputs.push(root.join(MODELS));
        }
        Ok(Self {
            steps: names.iter().map(|name| training(name)).collect(),
            outputs,
            terms: Terms::default(),
            kind: PlanKind::Training,
        })
    }

    fn for_manifest(root: &Path, manifest: Manifest, output_dir: PathBuf) -> Self {
        let outputs = manifest.outputs.unwrap_or_else(|| vec![output_dir]);
        Self {
            steps: vec![Step {
                name: manifest.name,
                argv: manifest.argv,
                env: manifest.env,
                trainer: false,
            }],
            outputs: outputs.iter().map(|output| root.join(output)).collect(),
            terms: manifest.terms,
            kind: PlanKind::Command,
        }
    }
}

/// The worker's own training command for a config (sleap-rtc wire protocol, 7). Its ports are known when it starts.
fn training(config_name: &str) -> Step {
    let name = stem(config_name).to_owned();
    let argv = [
        "sleap-nn",
        "train",
        "--config-name",
        config_name,
        "--config-dir",
        ".",
        "trainer_config.ckpt_dir=models",
        &format!("trainer_config.run_name={name}"),
        "trainer_config.train_data_loader.num_workers=0",
        "trainer_config.val_data_loader.num_workers=0",
    ];
    Step {
        name,
        argv: argv.map(str::to_owned).into(),
        env: Vec::new(),
        trainer: true,
    }
}

/// The text of a file of the package, `None` if it is not there.
fn read(root: &Path, name: &'static str, limit: u64) -> Result<Option<String>, PlanError> {
    let io = |source| PlanError::Io { name, source };
    let path = root.join(name);
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(meta) if !meta.is_file() => return Err(io(io::Error::other("it is not a file"))),
        meta => meta.map_err(io)?,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(PlanError::TooLarge { name, limit });
    }
    // A script is only looked through for what is known; of a manifest, what was meant would be guessed and run.
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) if name == MANIFEST => Err(io(io::Error::other("save it as UTF-8 text"))),
        Err(error) => Ok(Some(String::from_utf8_lossy(error.as_bytes()).into_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    const SCRIPT: (&str, &str) = (
        TRAIN_SCRIPT,
        "sleap-nn train --config-name centroid.yaml --other x\n",
    );
    const COMMANDS: (&str, &str) = (
        MANIFEST,
        "[job]\nname = \"fit\"\ncommand = [\"sh\", \"t.sh\"]\nenv = { A = \"1\" }\n",
    );

    #[test]
    fn a_script_becomes_the_fixed_command() {
        let package = package(&[SCRIPT]);
        let plan = Plan::for_package(package.path(), None, None).unwrap();
        assert_eq!(plan.kind, PlanKind::Training);
        assert_eq!(plan.outputs, [package.path().join("models")]);
        let [step] = plan.steps.as_slice() else {
            panic!("{plan:?}")
        };
        assert_eq!(step.name, "centroid");
        let fixed = "sleap-nn train --config-name centroid.yaml --config-dir . trainer_config.ckpt_dir=models \
             trainer_config.run_name=centroid trainer_config.train_data_loader.num_workers=0 \
             trainer_config.val_data_loader.num_workers=0";
        let told = |controller: &str, publish: &str| {
            format!(
                "{fixed} trainer_config.zmq.controller_port={controller} \
                 trainer_config.zmq.publish_port={publish}"
            )
        };
        let ports = Ports {
            controller: 40001,
            publish: 40002,
        };
        assert_eq!(
            step.told(Some(ports)).argv.join(" "),
            told("40001", "40002")
        );
        assert_eq!(step.told(None).argv.join(" "), told("null", "null"));
        assert_eq!(step.told(None).name, "centroid");
    }

    /// Only a trainer is told of ports.
    #[test]
    fn a_command_is_run_as_it_is() {
        let package = package(&[COMMANDS]);
        let plan = Plan::for_package(package.path(), None, None).unwrap();
        let ports = Ports {
            controller: 40001,
            publish: 40002,
        };
        assert_eq!(plan.steps[0].told(Some(ports)), plan.steps[0]);
        assert_eq!(plan.steps[0].told(None), plan.steps[0]);
    }

    #[test]
    fn a_manifest_wins() {
        let package = package(&[SCRIPT, COMMANDS]);
        let plan = Plan::for_package(package.path(), None, Some("runs/x")).unwrap();
        assert_eq!(plan.kind, PlanKind::Command);
        assert_eq!(plan.outputs, [package.path().join("runs/x")]);
        let step = Step {
            name: "fit".into(),
            argv: vec!["sh".into(), "t.sh".into()],
            env: vec![("A".into(), "1".into())],
            trainer: false,
        };
        assert_eq!(plan.steps, [step]);
    }

    #[test]
    fn an_output_directory_outside_the_package_is_refused() {
        let package = package(&[SCRIPT]);
        for hint in ["../..", "/etc", "models/../../x"] {
            let error = Plan::for_package(package.path(), None, Some(hint)).unwrap_err();
            assert!(
                matches!(error, PlanError::OutputDir { .. }),
                "{hint}: {error}"
            );
        }
        let plan = Plan::for_package(package.path(), None, Some("./runs/")).unwrap();
        assert_eq!(
            plan.outputs,
            [package.path().join("runs"), package.path().join("models")]
        );
    }

    #[test]
    fn a_package_without_commands_says_so() {
        let error = Plan::for_package(package(&[]).path(), None, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the package has neither train-script.sh nor loaner.toml nor track-script.sh"
        );
        let error = Plan::for_package(package(&[(TRAIN_SCRIPT, "echo hi\n")]).path(), None, None)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "train-script.sh has no `sleap-nn train ... --config-name X` line"
        );
        assert!(matches!(error, PlanError::NoCommands));
        let large = "x".repeat(MAX_MANIFEST_BYTES as usize + 1);
        let error =
            Plan::for_package(package(&[(MANIFEST, &large)]).path(), None, None).unwrap_err();
        assert!(matches!(error, PlanError::TooLarge { .. }), "{error}");
        let odd = package(&[]);
        fs::create_dir(odd.path().join(TRAIN_SCRIPT)).unwrap();
        let error = Plan::for_package(odd.path(), None, None).unwrap_err();
        assert!(matches!(error, PlanError::Io { .. }), "{error}");
    }
}
