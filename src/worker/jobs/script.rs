//! `train-script.sh`: read for its config names, never executed (sleap-rtc wire protocol, 7).

use std::collections::HashMap;

use thiserror::Error;

use super::names::{NameError, safe_relative, shown};

/// The script's name inside a package.
pub const TRAIN_SCRIPT: &str = "train-script.sh";
/// Largest script that is read, in bytes.
pub const MAX_SCRIPT_BYTES: u64 = 1024 * 1024;
/// Most configs in one script.
pub const MAX_CONFIGS: usize = 256;

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// No line trains anything.
    #[error("{TRAIN_SCRIPT} has no `sleap-nn train ... --config-name X` line")]
    NoCommands,
    /// More than [`MAX_CONFIGS`].
    #[error("{TRAIN_SCRIPT} has more than {MAX_CONFIGS} training commands")]
    TooMany,
    /// A config name leads out of the package.
    #[error("{TRAIN_SCRIPT}, line {line}: the config name \"{name}\" is refused: {why}")]
    BadPath {
        /// Line number, from 1.
        line: usize,
        /// The name, for display.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// A config name that would mean something else on a command line or in an override.
    #[error(
        "{TRAIN_SCRIPT}, line {line}: the config name \"{name}\" is refused: \
         only letters, digits, '.', '_', '-' and '/' are allowed, and no '-' at its beginning"
    )]
    BadName {
        /// Line number, from 1.
        line: usize,
        /// The name, for display.
        name: String,
    },
    /// Two configs that would leave their models in one directory.
    #[error(
        "{TRAIN_SCRIPT}, line {line}: the config \"{name}\" would write over the model of line {first}, \
         both are called \"{stem}\"; rename one"
    )]
    SameModel {
        /// Line number of the second, from 1.
        line: usize,
        /// Its name, for display.
        name: String,
        /// Line number of the first.
        first: usize,
        /// What both models are called.
        stem: String,
    },
}

/// The config names of a script, in order. Each makes a model of its [stem](stem), and no two have the same. A line counts when it begins (after blanks) with `sleap-nn train` or
/// `sleap-train` and has `--config-name`, blanks, and a word further on; there is no continuation and no quoting, and
/// of several the last counts. All else in the script is ignored.
pub fn config_names(script: &str) -> Result<Vec<String>, ScriptError> {
    let mut names = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in script.lines().enumerate() {
        let Some(name) = config_name(line) else {
            continue;
        };
        check(name, index + 1)?;
        if names.len() == MAX_CONFIGS {
            return Err(ScriptError::TooMany);
        }
        names.push(name.to_owned());
        lines.push(index + 1);
    }
    if names.is_empty() {
        return Err(ScriptError::NoCommands);
    }
    let mut models = HashMap::new();
    for (name, &line) in names.iter().zip(&lines) {
        if let Some(first) = models.insert(stem(name), line) {
            return Err(ScriptError::SameModel {
                line,
                name: shown(name),
                first,
                stem: shown(stem(name)),
            });
        }
    }
    Ok(names)
}

fn config_name(line: &str) -> Option<&str> {
    const OPTION: &str = "--config-name";
    let line = line.trim_start();
    let rest = line
        .strip_prefix("sleap-nn train")
        .or_else(|| line.strip_prefix("sleap-train"))?;
    rest.rmatch_indices(OPTION).find_map(|(at, _)| {
        let after = &rest[at + OPTION.len()..];
        after
            .starts_with(char::is_whitespace)
            .then(|| after.split_whitespace().next())
            .flatten()
    })
}

fn check(name: &str, line: usize) -> Result<(), ScriptError> {
    if let Err(why) = safe_relative(name) {
        return Err(ScriptError::BadPath {
            line,
            name: shown(name),
            why,
        });
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if name.starts_with('-')
        || name.ends_with('/')
        || !name.chars().all(plain)
        || stem(name).is_empty()
    {
        return Err(ScriptError::BadName {
            line,
            name: shown(name),
        });
    }
    Ok(())
}

/// The config's name without directory and last suffix: how the protocol calls the model.
pub fn stem(config_name: &str) -> &str {
    let name = config_name.rsplit('/').next().unwrap_or(config_name);
    match name.rfind('.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name.trim_start_matches('.'),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_training_lines_with_a_config_name_count() {
        let script = "#!/bin/bash\n\
            # sleap-nn train --config-name commented.yaml\n\
            sleap-nn train --config-name centroid.yaml --config-dir . x=y\n\
            \t sleap-train labels.slp --config-name \t instance.yaml\r\n\
            sleap-nn train --config-name=ignored.yaml\n\
            sleap-nn track --config-name no.yaml\n\
            echo sleap-nn train --config-name no.yaml\n\
            sleap-nn train --config-name first.yaml --config-name last.yaml\n\
            sleap-nn train --config-name\n\
            sleap-nn train --config-name kept.yaml --config-name\n\
            sleap-nn train \\\n  --config-name continued.yaml\n";
        let names = config_names(script).unwrap();
        assert_eq!(
            names,
            ["centroid.yaml", "instance.yaml", "last.yaml", "kept.yaml"]
        );
    }

    #[test]
    fn a_script_without_commands_is_an_error() {
        let error = config_names("#!/bin/sh\nrm -rf /\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "train-script.sh has no `sleap-nn train ... --config-name X` line"
        );
        assert_eq!(config_names(""), Err(ScriptError::NoCommands));
    }

    #[test]
    fn names_that_lead_out_or_mean_something_else_are_refused() {
        for name in ["../x.yaml", "/etc/x", "a/../../b", "a\\b"] {
            let script = format!("\nsleap-nn train --config-name {name}");
            let error = config_names(&script).unwrap_err();
            assert!(
                matches!(error, ScriptError::BadPath { line: 2, .. }),
                "{name}: {error}"
            );
        }
        for name in [
            "'quoted.yaml'", "a=b", "x,y", "--help", "$(id)", "a;b", ".", "..",
        ] {
            assert!(
                config_names(&format!("sleap-nn train --config-name {name}")).is_err(),
                "{name}"
            );
        }
        let many = "sleap-nn train --config-name a\n".repeat(MAX_CONFIGS + 1);
        assert_eq!(config_names(&many), Err(ScriptError::TooMany));
    }

    /// Models are told apart by their stems alone, so two configs of one stem would be one model in the end.
    #[test]
    fn two_configs_of_one_stem_are_refused() {
        for second in ["b/fly.yml", "fly.yaml", "fly"] {
            let script = format!(
                "sleap-nn train --config-name fly.yaml\nsleap-nn train --config-name other.yaml\n\
                 sleap-nn train --config-name {second}\n"
            );
            assert_eq!(
                config_names(&script).unwrap_err().to_string(),
                format!(
                    "train-script.sh, line 3: the config \"{second}\" would write over the model of line 1, \
                     both are called \"fly\"; rename one"
                )
            );
        }
        let names = config_names(
            "sleap-nn train --config-name a/fly.yaml\nsleap-nn train --config-name fly.v2.yaml\n",
        );
        assert_eq!(names.unwrap(), ["a/fly.yaml", "fly.v2.yaml"]);
    }

    #[test]
    fn stems() {
        for (name, expected) in [
            ("centroid.yaml", "centroid"),
            ("a.b.yaml", "a.b"),
            ("plain", "plain"),
            ("conf/x.yml", "x"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_names_stay_inside(text in "(sleap-nn train|sleap-train|--config-name|[ \t\n./a=\u{e9}\\\\-]|\\PC){0,30}") {
            for name in config_names(&text).unwrap_or_default() {
                prop_assert!(!name.starts_with(['/', '-']) && !name.split('/').any(|part| part == ".."));
                prop_assert!(!stem(&name).is_empty());
            }
        }
    }
}
