#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::raw::MAX_TEXT;
use super::*;

#[test]
fn a_full_manifest() {
    let manifest = Manifest::parse(
        "[job]\nname = \"fit-1\"\ncommand = [\"sh\", \"train.sh\"]\noutputs = [\"models/\", \"loss.csv\"]\n\
         env = { B = \"2\", A = \"1\" }\n",
    )
    .unwrap();
    assert_eq!(manifest.name, "fit-1");
    assert_eq!(manifest.argv, ["sh", "train.sh"]);
    assert_eq!(
        manifest.outputs.unwrap(),
        [PathBuf::from("models"), PathBuf::from("loss.csv")]
    );
    assert_eq!(
        manifest.env,
        [("A".into(), "1".into()), ("B".into(), "2".into())]
    );
}

#[test]
fn a_short_manifest() {
    let manifest =
        Manifest::parse("[job]\ncommand = \"echo $X > out\"\noutputs = \"out\"\n").unwrap();
    assert_eq!(manifest.name, "job");
    assert_eq!(manifest.argv, ["sh", "-c", "echo $X > out"]);
    assert_eq!(manifest.outputs.unwrap(), [PathBuf::from("out")]);
    assert!(
        Manifest::parse("[job]\ncommand = \"x\"\n")
            .unwrap()
            .outputs
            .is_none()
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    let long = format!("[job]\ncommand = \"{}\"\n", "x".repeat(MAX_TEXT + 1));
    for (text, line, column, part) in [
        (
            "[job]\ncommand = \"x\"\noutput = \"m\"\n",
            3,
            1,
            "unknown field `output`",
        ),
        ("command = \"x\"\n", 1, 1, "unknown field `command`"),
        (
            "[job]\ncommand = \"x\"\noutputs = \"../..\"\n",
            3,
            11,
            "\"..\"",
        ),
        (
            "[job]\ncommand = \"x\"\noutputs = [\"a\", \"/etc\"]\n",
            3,
            11,
            "absolute",
        ),
        ("[job]\ncommand = []\n", 2, 11, "a command needs a program"),
        ("[job]\ncommand = \" \"\n", 2, 11, "a command is empty"),
        (
            "[job]\ncommand = 3\n",
            2,
            11,
            "a command: a string or a list of strings",
        ),
        (
            "[job]\ncommand = \"x\"\nname = \"a::b\"\n",
            3,
            8,
            "a name has 1 to 64",
        ),
        (
            "[job]\ncommand = \"x\"\nenv = { \"A=B\" = \"1\" }\n",
            3,
            7,
            "is no name of a variable",
        ),
        (
            "[job]\ncommand = \"x\"\nenv = { A = 1 }\n",
            3,
            13,
            "expected a string",
        ),
        ("[job]\ncommand = [\"a\\u0000b\"]\n", 2, 11, "NUL"),
        ("[job]\nname = \"x\"\n", 1, 1, "missing field `command`"),
        ("[job]\ncommand = \"x\n", 2, 13, ""),
        (long.as_str(), 2, 11, "longer than 8192 bytes"),
    ] {
        let ManifestError(error) = Manifest::parse(text).unwrap_err();
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}: {error}"
        );
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(\\[job\\]\n|command ?= ?|outputs = |\"|\\[|\\]|\n|,|\\PC){0,40}") {
        if let Err(ManifestError(error)) = Manifest::parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }
}

/// Every key, and what the optional ones are when they are not given.
#[test]
fn the_terms_of_a_job() {
    let manifest = Manifest::parse(
        "[job]\ncommand = \"x\"\ninputs = [\"*.py\", \"data/\"]\noutputs = [\"models/**\", \"*.csv\"]\n\
         [job.resources]\ngpu_memory = \"8 GB\"\ntime_limit = \"90m\"\ndisk = \"10 GB\"\n\
         [job.stop]\nsignal = \"TERM\"\ndeadline = \"45s\"\n[job.progress]\nformat = \"json\"\n",
    )
    .unwrap();
    assert_eq!(
        manifest.inputs.unwrap(),
        ["*.py", "data"].map(PathBuf::from)
    );
    assert_eq!(
        manifest.outputs.unwrap(),
        ["models/**", "*.csv"].map(PathBuf::from)
    );
    let expected = Terms {
        resources: Resources {
            gpu_memory: Some(8_000_000_000),
            time_limit: Some(Duration::from_secs(5400)),
            disk: Some(10_000_000_000),
        },
        stop: Stop {
            signal: StopSignal::Term,
            deadline: Duration::from_secs(45),
        },
        progress: ProgressFormat::Json,
        return_changed: false,
    };
    assert_eq!(manifest.terms, expected);
    let plain = Manifest::parse("[job]\ncommand = \"x\"\n").unwrap();
    assert_eq!(plain.terms, Terms::default());
    assert_eq!(plain.terms.stop.deadline, Duration::from_secs(60));
    assert_eq!(plain.terms.stop.signal, StopSignal::Int);
    assert!(plain.inputs.is_none());
}

/// Mistakes in the tables are told with their place too, and an unknown key with the known one that is most like it.
#[test]
fn mistakes_in_the_terms() {
    for (text, line, column, part) in [
        (
            "[job.resources]\ngpu_memory = \"8\"\n", 3, 14, "as in \"8 GB\"",
        ),
        (
            "[job.resources]\ngpu_memory = 8\n", 3, 14, "expected a string",
        ),
        (
            "[job.resources]\ntime_limit = \"soon\"\n",
            3,
            14,
            "as in \"90m\"",
        ),
        (
            "[job.resources]\n\n  disc = \"1 GB\"\n", 4, 3, "did you mean `disk`?",
        ),
        (
            "[job.resource]\ndisk = \"1 GB\"\n", 2, 6, "did you mean `resources`?",
        ),
        (
            "[job.stop]\nsignal = \"KILL\"\n",
            3,
            10,
            "unknown variant `KILL`, expected `INT` or `TERM`",
        ),
        ("[job.stop]\ndeadline = \"11m\"\n", 3, 12, "10 minutes"),
        (
            "[job.progress]\nformat = \"xml\"\n", 3, 10, "unknown variant `xml`",
        ),
        (
            "outputs = \"m\"\nreturn_changed = true\n",
            3,
            18,
            "leave it or return_changed out",
        ),
        ("outputs = [\"a[\"]\n", 2, 11, "is no pattern"),
        ("outputs = \"models/../*\"\n", 2, 11, "inside the package"),
        ("inputs = []\n", 2, 10, "the list is empty"),
        ("comand = \"x\"\n", 2, 1, "did you mean `command`?"),
        ("zzz = \"x\"\n", 2, 1, "expected one of `name`, `command`"),
    ] {
        let text = match text.starts_with('[') {
            true => format!("job.command = \"x\"\n{text}"),
            false => format!("[job]\n{text}command = \"x\"\n"),
        };
        let ManifestError(error) = Manifest::parse(&text).unwrap_err();
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}: {error}"
        );
        assert!(error.message.contains(part), "{text}: {error}");
    }
}
