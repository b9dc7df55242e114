//! Settings from a file: they become the defaults of the flags of the same name, so that a flag and the environment
//! win over them, and a value is checked in one place whatever its source.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use toml::{Table, Value};

use super::args::{Args, Command, EndArgs, FetchArgs, JobsArgs, LogsArgs, RunArgs, Target};
use super::tunnel_args;

/// Why there is nothing to run.
pub enum Problem {
    /// The command line is wrong, or asks for help.
    Usage(clap::Error),
    /// The file of settings is wrong.
    File(anyhow::Error),
}

/// Parses a command line, with the settings of the file that it names or that lies where such files lie.
pub fn parse(argv: &[OsString]) -> Result<Args, Problem> {
    let mut command = Args::command();
    if let Some((path, table)) = find(argv).map_err(Problem::File)? {
        command = apply(command, &table)
            .with_context(|| format!("{} cannot be used", path.display()))
            .map_err(Problem::File)?;
    }
    let matches = command.try_get_matches_from(argv).map_err(Problem::Usage)?;
    read_matches(&matches).map_err(Problem::Usage)
}

fn read_matches(matches: &ArgMatches) -> Result<Args, clap::Error> {
    let mut args = Args::from_arg_matches(matches)?;
    if let Some((_, given)) = matches.subcommand() {
        match &mut args.command {
            Command::Run(run) => settle_run(run, given)?,
            Command::Jobs(JobsArgs { target })
            | Command::Logs(LogsArgs { target, .. })
            | Command::Stop(EndArgs { target, .. })
            | Command::Cancel(EndArgs { target, .. })
            | Command::Fetch(FetchArgs { target, .. }) => settle(target, given, &["worker"])?,
            Command::Tunnel(tunnel) => {
                tunnel_args::settle(tunnel, given)?;
                settle(&mut tunnel.target, given, &["worker"])?;
            }
            _ => {}
        }
    }
    Ok(args)
}

/// A session string names room and worker; so do flags of their own. What is given nearer to the user wins, and what
/// is given twice at the same place is a mistake. `others` are the flags that say which worker.
fn settle(target: &mut Target, given: &ArgMatches, others: &[&str]) -> Result<(), clap::Error> {
    let conflict = |message: &str| Err(Args::command().error(ErrorKind::ArgumentConflict, message));
    let source = |id: &str| given.value_source(id);
    if target.session.is_some() && target.of.room.is_some() {
        match source("session").cmp(&source("room")) {
            Ordering::Greater => target.of.room = None,
            Ordering::Less => target.session = None,
            Ordering::Equal => {
                return conflict(
                    "a session string (--session, LOANER_SESSION) and a room (--room, LOANER_ROOM) are both given; \
                     leave one of them out",
                );
            }
        }
    }
    if target.session.is_some() {
        let session = source("session");
        for id in others {
            if source(id) == Some(ValueSource::CommandLine) && session == source(id) {
                return conflict(
                    "a session string names its worker; leave --worker and --auto-select out",
                );
            }
        }
    }
    Ok(())
}

/// The same, and the flag that looks for a worker.
fn settle_run(run: &mut RunArgs, given: &ArgMatches) -> Result<(), clap::Error> {
    let conflict = |message: &str| Err(Args::command().error(ErrorKind::ArgumentConflict, message));
    let source = |id: &str| given.value_source(id);
    if run.target.worker.is_some() && run.auto_select {
        match source("worker").cmp(&source("auto_select")) {
            Ordering::Greater => run.auto_select = false,
            Ordering::Less => run.target.worker = None,
            Ordering::Equal => {
                return conflict(
                    "--worker names a worker, and --auto-select looks for one; leave one of them out",
                );
            }
        }
    }
    settle(&mut run.target, given, &["worker", "auto_select"])
}

fn find(argv: &[OsString]) -> anyhow::Result<Option<(PathBuf, Table)>> {
    if let Some(path) = named(argv) {
        let table = read(&path)?;
        return Ok(Some((path, table)));
    }
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let candidates = [
        Some(PathBuf::from("loaner.toml")),
        home.map(|home| home.join("loaner").join("loaner.toml")),
    ];
    for path in candidates
        .into_iter()
        .flatten()
        .filter(|path| path.is_file())
    {
        let table = read(&path)?;
        // A package's manifest has the same name; who works in a package has no settings there.
        if !table.contains_key("job") {
            return Ok(Some((path, table)));
        }
    }
    Ok(None)
}

/// The file that `--config` or `LOANER_CONFIG` names. clap cannot be asked yet: the file has its defaults.
fn named(argv: &[OsString]) -> Option<PathBuf> {
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            break;
        }
        if text == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os("LOANER_CONFIG").map(PathBuf::from)
}

fn read(path: &Path) -> anyhow::Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is not TOML", path.display()))
}

fn apply(mut command: clap::Command, table: &Table) -> anyhow::Result<clap::Command> {
    for (name, settings) in table {
        let Some(settings) = settings.as_table() else {
            bail!("`{name}` must be a table named after a command, such as [worker]");
        };
        let sub = command
            .find_subcommand(name)
            .ok_or_else(|| anyhow!("there is no command `{name}`; tables are named after commands, such as [worker]"))?
            .clone();
        let sub = settings
            .iter()
            .try_fold(sub, |sub, (key, value)| set(sub, name, key, value))?;
        command = command.mut_subcommand(name, |_| sub);
    }
    Ok(command)
}

fn set(
    command: clap::Command,
    table: &str,
    key: &str,
    value: &Value,
) -> anyhow::Result<clap::Command> {
    let argument = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(key))
        .ok_or_else(|| {
            anyhow!("`{key}` in [{table}] is not a setting; `loaner {table} --help` lists them")
        })?;
    let id = argument.get_id().clone();
    let texts = texts(value).with_context(|| format!("`{key}` in [{table}]"))?;
    // What was required is given now, and a flag that conflicts with it is still free to be used.
    Ok(command.mut_arg(id, |argument| {
        argument.required(false).default_values(texts)
    }))
}

fn texts(value: &Value) -> anyhow::Result<Vec<String>> {
    Ok(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::Boolean(flag) => vec![flag.to_string()],
        Value::Array(values) => {
            let nested: anyhow::Result<Vec<_>> = values.iter().map(texts).collect();
            nested?.concat()
        }
        Value::Datetime(_) | Value::Table(_) => {
            bail!("a text, a number, true, false, or a list of them was expected")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(file: &str, argv: &[&str]) -> Result<Args, String> {
        let table: Table = file.parse().expect("TOML");
        let command = apply(Args::command(), &table).map_err(|error| format!("{error:#}"))?;
        let matches = command
            .try_get_matches_from(argv)
            .map_err(|error| error.to_string())?;
        read_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_is_a_default_and_a_flag_wins() {
        let file = "[worker]\nhub = \"http://a:1\"\nallow-commands = true\nmax-package-mb = 7";
        let Command::Worker(worker) = parse_with(file, &["loaner", "worker"])
            .expect("args")
            .command
        else {
            panic!()
        };
        assert_eq!(worker.at.hub.to_string(), "http://a:1");
        assert!(worker.allow_commands);
        assert_eq!(worker.max_package_mb, 7);
        let args = parse_with(file, &["loaner", "worker", "--hub", "http://b:2"]).expect("args");
        let Command::Worker(worker) = args.command else {
            panic!()
        };
        assert_eq!(worker.at.hub.to_string(), "http://b:2");
    }

    #[test]
    fn a_list_becomes_several_values() {
        let file = "[hub]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]";
        let Command::Hub(hub) = parse_with(file, &["loaner", "hub"]).expect("args").command else {
            panic!()
        };
        assert_eq!(hub.listen.len(), 2);
    }

    #[test]
    fn a_flag_wins_over_a_setting_that_means_another_worker() {
        const SESSION: &str = "sleap-session:eyJyIjogImEiLCAidCI6ICJiIiwgInAiOiAiYyJ9";
        let file = format!("[run]\nsession = \"{SESSION}\"\nauto-select = true");
        let run = |argv: &[&str]| match parse_with(&file, argv).map(|args| args.command) {
            Ok(Command::Run(run)) => Ok(run),
            Ok(_) => panic!("not a run"),
            Err(error) => Err(error),
        };
        let given = run(&["loaner", "run", "p"]).expect("the setting");
        assert!(given.target.session.is_some());
        let given =
            run(&["loaner", "run", "p", "--room", "a", "--worker", "w"]).expect("the flags");
        assert!(given.target.session.is_none() && !given.auto_select);
        assert_eq!(given.target.of.room.as_deref(), Some("a"));
        for argv in [
            ["loaner", "run", "p", "--session", SESSION, "--room", "a"],
            ["loaner", "run", "p", "--session", SESSION, "--worker", "a"],
        ] {
            assert!(run(&argv).is_err_and(|error| error.contains("leave")));
        }
    }

    #[test]
    fn what_is_no_setting_is_named() {
        for (file, expected) in [
            ("[worker]\nhubb = \"x\"", "`hubb` in [worker]"),
            ("[wrkr]\nhub = \"x\"", "no command `wrkr`"),
            ("hub = \"x\"", "must be a table"),
            ("[worker]\nhub = 1979-05-27", "`hub` in [worker]"),
        ] {
            let error = parse_with(file, &["loaner", "worker"]).expect_err(file);
            assert!(error.contains(expected), "{error}");
        }
        assert!(parse_with("[worker]\nmax-package-mb = \"many\"", &["loaner", "worker"]).is_err());
    }
}
