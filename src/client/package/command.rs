//! A package made of a directory and a command: `loaner run DIR -- python train.py`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use toml::{Table, Value};

use super::PackageError;
use crate::worker::jobs::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, ManifestError};

/// A command to be run in a directory, instead of one that the directory's manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What to bring back: files, directories and patterns. Without any, what the directory's manifest says; without
    /// that, every file that the command made or changed.
    pub outputs: Vec<String>,
}

/// The text of a manifest in `dir`; `None` where there is none.
pub(super) fn manifest_text(dir: &Path) -> Result<Option<String>, PackageError> {
    let failed = |source| PackageError::Manifest {
        message: format!("{MANIFEST}: {source}"),
    };
    let file = match File::open(dir.join(MANIFEST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut text = String::new();
    let read = file
        .take(MAX_MANIFEST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if read as u64 > MAX_MANIFEST_BYTES {
        return Err(PackageError::Manifest {
            message: format!("{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes"),
        });
    }
    Ok(Some(text))
}

impl Command {
    /// The manifest of this command in `dir`: the directory's own says everything else. Its text comes along.
    pub(super) fn manifest(&self, dir: &Path) -> Result<(Manifest, String), PackageError> {
        let mistake = |error: ManifestError| PackageError::Manifest {
            message: error.to_string(),
        };
        let own = manifest_text(dir)?.unwrap_or_default();
        let mut table: Table = own.parse().unwrap_or_default();
        // Settings of the command line have a file of the same name, without a job in it.
        let is_manifest = table.contains_key("job") || own.parse::<Table>().is_err();
        if is_manifest {
            // Its mistakes are told with their place in the file as it was written.
            Manifest::parse_with(&own, self.argv.clone()).map_err(mistake)?;
        } else {
            table.clear();
        }
        let job = table
            .entry("job")
            .or_insert_with(|| Value::Table(Table::new()));
        let Some(job) = job.as_table_mut() else {
            return Err(PackageError::Manifest {
                message: format!("{MANIFEST}: job is not a table"),
            });
        };
        let list = |words: &[String]| words.iter().cloned().map(Value::String).collect();
        job.insert("command".to_owned(), Value::Array(list(&self.argv)));
        if !job.contains_key("name") {
            job.insert("name".to_owned(), Value::String(self.name()));
        }
        if !self.outputs.is_empty() {
            job.remove("return_changed");
            job.insert("outputs".to_owned(), Value::Array(list(&self.outputs)));
        } else if !job.contains_key("outputs") {
            job.insert("return_changed".to_owned(), Value::Boolean(true));
        }
        let text = table.to_string();
        let told = |ManifestError(at)| PackageError::Manifest {
            message: format!("this command cannot be packed: {}", at.message),
        };
        let manifest = Manifest::parse(&text).map_err(told)?;
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(PackageError::Manifest {
                message: format!("this command is longer than {MAX_MANIFEST_BYTES} bytes"),
            });
        }
        Ok((manifest, text))
    }

    /// How the job is called: like its program.
    fn name(&self) -> String {
        let program = self.argv.first().map(String::as_str).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name: String = name.chars().filter(plain).take(64).collect();
        match name.trim_start_matches(['.', '-']) {
            "" => "job".to_owned(),
            name => name.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn command(argv: &[&str], outputs: &[&str]) -> Command {
        Command {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            outputs: outputs.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    /// Without a manifest the job is called like its program, and returns what it made.
    #[test]
    fn a_command_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (manifest, _) = command(&["/usr/bin/python3", "a \"b\"\n"], &[])
            .manifest(dir.path())
            .unwrap();
        assert_eq!(manifest.name, "python3");
        assert_eq!(manifest.argv, ["/usr/bin/python3", "a \"b\"\n"]);
        assert!(manifest.terms.return_changed && manifest.outputs.is_none());
        let (manifest, _) = command(&["..."], &["m/**"]).manifest(dir.path()).unwrap();
        assert_eq!(manifest.name, "job");
        assert!(!manifest.terms.return_changed);
        assert_eq!(manifest.outputs.unwrap(), [Path::new("m/**")]);
    }

    /// The directory's manifest says what the command line does not; settings of the same name say nothing.
    #[test]
    fn a_command_beside_a_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join(MANIFEST);
        fs::write(
            &at,
            "[job]\nname = \"fit\"\noutputs = \"m\"\n[job.stop]\nsignal = \"INT\"\n",
        )
        .unwrap();
        let (manifest, _) = command(&["x"], &[]).manifest(dir.path()).unwrap();
        assert_eq!(
            (manifest.name.as_str(), manifest.argv.as_slice()),
            ("fit", &["x".to_owned()][..])
        );
        assert_eq!(manifest.outputs.unwrap(), [Path::new("m")]);
        assert_eq!(
            manifest.terms.stop.signal,
            crate::worker::jobs::manifest::StopSignal::Int
        );

        fs::write(&at, "[run]\nhub = \"http://a:1\"\n").unwrap();
        let (manifest, text) = command(&["x"], &[]).manifest(dir.path()).unwrap();
        assert_eq!(manifest.name, "x");
        assert!(!text.contains("run]"), "{text}");
    }

    /// A mistake in the directory's manifest is told with its place in that file.
    #[test]
    fn a_mistake_beside_a_command() {
        let dir = tempfile::tempdir().unwrap();
        for (text, part) in [
            (
                "[job]\nname = \"fit\"\noutput = \"m\"\n",
                "line 3, column 1: unknown field `output`",
            ),
            ("[job\n", "line 1"),
        ] {
            fs::write(dir.path().join(MANIFEST), text).unwrap();
            let error = command(&["x"], &[]).manifest(dir.path()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        fs::remove_file(dir.path().join(MANIFEST)).unwrap();
        let error = command(&["x"], &["../up"])
            .manifest(dir.path())
            .unwrap_err();
        assert!(error.to_string().contains("inside the package"), "{error}");
    }
}
