#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn only(script: &str) -> Track {
    let mut all = commands(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    assert_eq!(all.len(), 1, "{script}");
    all.remove(0)
}

fn refusal(script: &str) -> String {
    commands(script)
        .map(|commands| format!("accepted: {commands:?}"))
        .unwrap_or_else(|error| error.to_string())
}

/// A script as the original's client writes it.
const ORIGINAL: &str = "#!/bin/bash\n\
    # made by sleap-rtc\n\
    sleap-nn track \\\n    --data_path d.slp \\\n    --only_suggested_frames \\\n    \
    --model_paths models/centroid \\\n    --model_paths models/centered_instance \\\n    -o d.predictions.slp\n";

/// The original's script becomes the worker's own command, with or without Windows' line ends.
#[test]
fn the_originals_script_becomes_the_workers_command() {
    for script in [ORIGINAL.to_owned(), ORIGINAL.replace('\n', "\r\n")] {
        let track = only(&script);
        assert_eq!(track.line, 3);
        assert_eq!(
            track.argv().join(" "),
            "sleap-nn track --data_path d.slp --model_paths models/centroid \
             --model_paths models/centered_instance -o d.predictions.slp --only_suggested_frames"
        );
    }
}

/// The example that users copy is one that is run.
#[test]
fn the_example_is_accepted() {
    let track = only(include_str!("../../../../examples/track/track-script.sh"));
    assert_eq!(track.output, "labels.predictions.slp");
    assert_eq!(track.models.len(), 2);
}

/// All that is known, in both spellings, and quotes of both kinds; the result is `predictions.slp` unless it is named.
#[test]
fn everything_that_is_known_is_passed_on() {
    let track = only(
        "\t sleap-nn  track -i './my data.slp' -m \"models/größe (1)\" --model_paths=models/b \
         --only_labeled_frames --only_predicted_frames --exclude_user_labeled --batch_size=4 \
         --peak_threshold 0.25 --frames '0-99,120' --video_index 0",
    );
    let argv: Vec<_> = track.argv();
    assert_eq!(
        argv,
        [
            "sleap-nn", "track", "--data_path", "my data.slp", "--model_paths", "models/größe (1)",
            "--model_paths", "models/b", "-o", "predictions.slp", "--only_labeled_frames",
            "--only_predicted_frames", "--exclude_user_labeled", "--batch_size", "4",
            "--peak_threshold", "0.25", "--frames", "0-99,120", "--video_index", "0",
        ]
    );
}

/// Only lines that begin with the command count, and whatever other lines say is not even split into words.
#[test]
fn only_lines_that_track_count() {
    let script = format!(
        "#!/bin/sh\nset -e; cd \"$(dirname \"$0\")\"\n# sleap-nn track -i commented.slp\n\
         echo sleap-nn track\nsleap-nn tracking\nsleap-nn-track x\nsleap-nn train --config-name a.yaml\n\n{}\n",
        "sleap-nn track -i d.slp -m a"
    );
    assert_eq!(only(&script).line, 9);
    for script in [
        "", "#!/bin/sh\nrm -rf /\n", "echo sleap-nn track", "sleap-nn",
    ] {
        assert_eq!(commands(script), Err(TrackError::NoCommands), "{script}");
    }
}

/// What this worker does not know is refused by its name and line, and so is what only a shell understands.
#[test]
fn what_is_not_known_is_refused_by_name_and_line() {
    let good = "-i d.slp -m models/a";
    for (arguments, expected) in [
        (
            format!("{good} --device cuda"),
            "the option `--device` is not known here",
        ),
        (
            format!("{good} --device=cuda"),
            "the option `--device` is not known here",
        ),
        (format!("{good} -x"), "the option `-x` is not known here"),
        (
            format!("{good} extra.slp"),
            "\"extra.slp\" belongs to no option",
        ),
        (format!("{good} \"\""), "\"\" belongs to no option"),
        (format!("{good} -o"), "`-o` comes without a value"),
        (format!("{good} -i e.slp"), "`-i` is given twice"),
        (
            format!("{good} --frames 1 --frames 2"),
            "`--frames` is given twice",
        ),
        (
            format!("{good} --only_labeled_frames=1"),
            "`--only_labeled_frames` takes no value",
        ),
        ("-i d.slp".to_owned(), "`--model_paths` is missing"),
        ("-m models/a".to_owned(), "`--data_path` is missing"),
        (String::new(), "`--model_paths` is missing"),
        (
            format!("{good} --batch_size 0"),
            "`--batch_size` wants a whole number from 1 to 256, not \"0\"",
        ),
        (format!("{good} --batch_size 257"), "`--batch_size` wants"),
        (format!("{good} --batch_size +1"), "`--batch_size` wants"),
        (format!("{good} --batch_size -o"), "`--batch_size` wants"),
        (
            format!("{good} --peak_threshold 1.01"),
            "`--peak_threshold` wants a number from 0 to 1",
        ),
        (
            format!("{good} --peak_threshold nan"),
            "`--peak_threshold` wants",
        ),
        (
            format!("{good} --peak_threshold -0.1"),
            "`--peak_threshold` wants",
        ),
        (format!("{good} --video_index 1.5"), "`--video_index` wants"),
        (
            format!("{good} --frames 1-2-3"),
            "`--frames` wants frames and ranges of them",
        ),
        (format!("{good} --frames a"), "`--frames` wants"),
        (format!("{good} --frames ,"), "`--frames` wants"),
        (format!("{good} 'open"), "a ' quote is not closed"),
        (format!("{good}; rm -rf /"), "`;` is for a shell"),
        (format!("{good} -o $(id)"), "`$` is for a shell"),
        (format!("{good} -o \"$HOME\""), "`$` is for a shell"),
        (format!("{good} -o \"`id`\""), "``` is for a shell"),
        (format!("{good} > log"), "`>` is for a shell"),
        (format!("{good} | tee log"), "`|` is for a shell"),
        (format!("{good} & "), "`&` is for a shell"),
        (format!("{good} -m models/*"), "`*` is for a shell"),
        (format!("{good} -m models/\\ b"), "`\\` is for a shell"),
        (format!("{good} -o ~/x.slp"), "`~` is for a shell"),
        (format!("{good} # note"), "`#` is for a shell"),
    ] {
        let error = refusal(&format!("\n# x\nsleap-nn track {arguments}\n"));
        let line = error.strip_prefix("track-script.sh, line 3: ");
        assert!(
            line.is_some_and(|error| error.starts_with(expected)),
            "{arguments}: {error}"
        );
    }
}

/// Every path stays inside of the package, and none is an option in disguise.
#[test]
fn paths_that_lead_out_are_refused() {
    for path in [
        "../x", "/etc/passwd", "a/../../x", "C:/x", "a\\b", "--help", "-x", "./-x", ".", "",
        "a//b", "\u{1b}x",
    ] {
        for arguments in [
            format!("-i '{path}' -m m"),
            format!("-i d -m '{path}'"),
            format!("-i d -m m -o '{path}'"),
        ] {
            let error = refusal(&format!("sleap-nn track {arguments}"));
            assert!(
                error.starts_with("track-script.sh, line 1: the path "),
                "{arguments}: {error}"
            );
        }
    }
}

/// The result's name goes into a header: nothing in it may end a field, or be taken for a word of the protocol.
#[test]
fn results_have_names_that_can_be_announced() {
    for name in [
        "a:b.slp", "out/a:b.slp", "FILE_META", "x.END_OF_FILE.slp", "KEEP_ALIVE", ".hidden",
        "nul.slp", "x.", "' x.slp'",
    ] {
        let error = refusal(&format!("sleap-nn track -i d.slp -m m -o {name}"));
        assert!(error.contains("of `-o` is refused"), "{name}: {error}");
    }
    for name in ["größe 1.predictions.slp", "out/x'y.slp", "☃"] {
        let track = only(&format!("sleap-nn track -i d.slp -m m -o \"{name}\""));
        assert_eq!(track.output, name);
    }
}

/// A result replaces nothing that the package brought along to be read, and no other result; and there is one.
#[test]
fn one_result_and_nothing_overwritten() {
    let one = |arguments: &str| format!("sleap-nn track {arguments}\n");
    for (arguments, what) in [
        ("-i d.slp -m m -o d.slp", "d.slp"),
        ("-i d.slp -m m -o m", "m"),
        ("-i d.slp -m m -o m/best.ckpt", "m/best.ckpt"),
        ("-i d/x.slp -m m -o d", "d"),
        ("-i predictions.slp -m m", "predictions.slp"),
    ] {
        let expected = format!("the result \"{what}\" would replace what it is made from");
        assert!(refusal(&one(arguments)).contains(&expected), "{arguments}");
    }
    let over = one("-i a.slp -m m -o b.slp") + &one("-i c.slp -m m -o a.slp");
    assert!(
        refusal(&over).contains("line 2: the result \"a.slp\" would replace what it is made from")
    );
    let twice = one("-i a.slp -m m") + &one("-i b.slp -m m");
    assert!(
        refusal(&twice)
            .contains("line 2: the result \"predictions.slp\" would replace that of line 1")
    );

    let chain = one("-i a.slp -m m -o b.slp") + &one("-i b.slp -m n -o c.slp");
    assert_eq!(result(&commands(&chain).unwrap()), Ok("c.slp"));
    let two = one("-i a.slp -m m -o b.slp") + "\n" + &one("-i a.slp -m n -o c.slp");
    let error = result(&commands(&two).unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("line 3: \"c.slp\" would be a second result"),
        "{error}"
    );
}

/// Number and size of everything are bounded.
#[test]
fn there_are_limits() {
    let line = |index: usize| format!("sleap-nn track -i d.slp -m m -o {index}.slp\n");
    let most: String = (0..MAX_COMMANDS).map(line).collect();
    assert_eq!(commands(&most).unwrap().len(), MAX_COMMANDS);
    assert_eq!(commands(&(most + &line(99))), Err(TrackError::TooMany));
    let models = |count: usize| format!("sleap-nn track -i d.slp{}", " -m m".repeat(count));
    assert_eq!(only(&models(MAX_MODELS)).models.len(), MAX_MODELS);
    assert!(refusal(&models(MAX_MODELS + 1)).contains("more than 16 models"));
    let frames = "1,".repeat(4096) + "1";
    assert!(refusal(&format!("sleap-nn track -i d -m m --frames {frames}")).len() < 400);
    assert!(refusal(&format!("sleap-nn track -i {} -m m", "d/".repeat(40))).contains("too deeply"));
    assert!(refusal(&format!("sleap-nn track --{}", "x".repeat(1 << 19))).len() < 600);
}

/// Words of a script: what is known, what is not, and what only a shell understands.
fn script() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => proptest::sample::select(vec![
            "sleap-nn track", "\nsleap-nn track -i d -m m", "--data_path", "-i", "--model_paths", "-m", "-o",
            "--output_path", "--frames", "--batch_size", "--only_suggested_frames", "--peak_threshold",
        ]),
        6 => proptest::sample::select(vec![
            "a.slp", "b.slp", "models/a", "./-x", "../x", "'q r'", "\"q\"", "1-2", "0.5", "7", "=", "--data_path=x",
        ]),
        1 => proptest::sample::select(vec!["'", "\"", "\\", "\\\n", "\n", "$", ";", "\u{e9}", "\t", "--"]),
    ];
    proptest::collection::vec((word, prop_oneof![4 => Just(" "), 1 => Just("")]), 0..40).prop_map(
        |words| {
            words
                .into_iter()
                .map(|(word, gap)| word.to_owned() + gap)
                .collect()
        },
    )
}

proptest! {
    /// Whatever a script says, it is read without a panic, and what becomes a command has only known options, each path
    /// in its place, inside of the package.
    #[test]
    fn any_script_becomes_known_options_with_paths_inside(script in prop_oneof![4 => script(), 1 => any::<String>()]) {
        for track in commands(&script).unwrap_or_default() {
            let argv = track.argv();
            let mut words = argv.iter().map(String::as_str);
            prop_assert_eq!((words.next(), words.next()), (Some("sleap-nn"), Some("track")));
            while let Some(option) = words.next() {
                match option {
                    "--data_path" | "--model_paths" | "-o" => {
                        let path = words.next().unwrap();
                        prop_assert!(!path.starts_with(['/', '-']) && path.split('/').all(|part| !["", ".", ".."].contains(&part)), "{}", path);
                    }
                    "--batch_size" | "--peak_threshold" | "--frames" | "--video_index" => {
                        prop_assert!(words.next().unwrap().starts_with(|c: char| c.is_ascii_digit() || c == '.'));
                    }
                    flag => prop_assert!(flag.starts_with("--only_") || flag == "--exclude_user_labeled", "{}", flag),
                }
            }
        }
    }

    /// Quoted words come through as they are, whatever is in them.
    #[test]
    fn quoted_words_survive(parts in proptest::collection::vec("[^'\n\\\\]{0,12}", 0..8)) {
        let line: Vec<_> = parts.iter().map(|part| format!("'{part}'")).collect();
        prop_assert_eq!(words(&line.join(" ")), Ok(parts));
    }
}
