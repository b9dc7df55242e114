#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::ChannelText::*;
use super::*;
use crate::wire::own::OwnText;
use crate::wire::{MAX_TEXT_BYTES, WireError};

fn s(text: &str) -> String {
    text.to_owned()
}

/// One of each message, with the text that the protocol page has for it.
fn examples() -> Vec<(&'static str, ChannelText)> {
    let meta = |name: &str, size, hint: &str| FileMeta {
        name: s(name),
        size,
        hint: s(hint),
    };
    vec![
        ("PACKAGE_TYPE::train", PackageType(PackageKind::Train)),
        ("PACKAGE_TYPE::track", PackageType(PackageKind::Track)),
        (
            "PACKAGE_TYPE::Train",
            PackageType(PackageKind::Other(s("Train"))),
        ),
        ("OUTPUT_DIR::models", OutputDir(s("models"))),
        ("OUTPUT_DIR::.", OutputDir(s("."))),
        (
            "FILE_META::labels.zip:300631:False",
            meta("labels.zip", 300_631, "False"),
        ),
        (
            "FILE_META::trained_labels.zip:235:models",
            meta("trained_labels.zip", 235, "models"),
        ),
        ("FILE_META::x.zip:0:", meta("x.zip", 0, "")),
        ("END_OF_FILE", EndOfFile),
        ("JOB_ID::job_ab12cd34", JobId(s("job_ab12cd34"))),
        ("INPUT_FILE::labels.zip", InputFile(s("labels.zip"))),
        ("INPUT_FILE::../x", InputFile(s("../x"))),
        (
            "ZMQ_CTRL::{\"command\": \"stop\"}",
            ZmqCtrl(s("{\"command\": \"stop\"}")),
        ),
        (
            "SHARED_INPUT_PATH::in/a.zip",
            SharedInputPath(s("in/a.zip")),
        ),
        ("SHARED_OUTPUT_PATH::out", SharedOutputPath(s("out"))),
        ("SHARED_STORAGE_JOB::start", SharedStorageJob(s("start"))),
        ("TRAIN_JOB_START::centroid", TrainJobStart(s("centroid"))),
        ("TRAIN_JOB_END::centroid", TrainJobEnd(s("centroid"))),
        (
            "TRAIN_JOB_ERROR::centroid::3",
            TrainJobError {
                name: s("centroid"),
                code: 3,
            },
        ),
        (
            "TRAIN_JOB_ERROR::a::b::-9",
            TrainJobError {
                name: s("a::b"),
                code: -9,
            },
        ),
        ("TRAINING_JOBS_DONE", TrainingJobsDone),
        (
            "PROGRESS_REPORT::{\"event\":\n\"x::y\"}",
            ProgressReport(s("{\"event\":\n\"x::y\"}")),
        ),
        ("INFERENCE_START", InferenceStart),
        (
            "INFERENCE_JOB_START::inference",
            InferenceJobStart(s("inference")),
        ),
        ("TRACK_LOG:frame 7\n", TrackLog(s("frame 7\n"))),
        ("TRACK_LOG::x", TrackLog(s(":x"))),
        (
            "INFERENCE_JOB_END::inference",
            InferenceJobEnd(s("inference")),
        ),
        (
            "INFERENCE_JOB_ERROR::inference::1",
            InferenceJobError {
                name: s("inference"),
                code: 1,
            },
        ),
        (
            "INFERENCE_ERROR::No track script found",
            InferenceError(s("No track script found")),
        ),
        ("INFERENCE_JOBS_DONE", InferenceJobsDone),
        ("FILE_EXISTS::labels.zip", FileExists(s("labels.zip"))),
        (
            "FILE_NOT_FOUND::../x::Invalid filename: contains path separator",
            FileNotFound {
                name: s("../x"),
                reason: s("Invalid filename: contains path separator"),
            },
        ),
        (
            "JOB_OUTPUT_PATH::/mnt/out/jobs/job_ab12cd34",
            JobOutputPath(s("/mnt/out/jobs/job_ab12cd34")),
        ),
        ("TRAINING_COMPLETE", TrainingComplete),
        ("PATH_VALIDATED::input", PathValidated(s("input"))),
        ("PATH_ERROR::no such path", PathError(s("no such path"))),
        (
            "JOB_COMPLETE::j1::out/j1",
            JobComplete {
                job_id: s("j1"),
                detail: s("out/j1"),
            },
        ),
        (
            "JOB_FAILED::j1::exit::3",
            JobFailed {
                job_id: s("j1"),
                message: s("exit::3"),
            },
        ),
        ("JOB_CANCELLED::j1", JobCancelled { job_id: s("j1") }),
        (
            "LOANER_PEER::{\"type\":\"begin\",\"from\":8388608}",
            Own(OwnText::Begin { from: 8 << 20 }),
        ),
        ("epoch 3\n", Log(s("epoch 3\n"))),
        ("", Log(s(""))),
    ]
}

#[test]
fn every_message_is_read_and_written_as_the_page_has_it() {
    for (text, message) in examples() {
        assert_eq!(ChannelText::parse(text).as_ref(), Ok(&message), "{text}");
        assert_eq!(message.to_text(), text);
    }
}

/// The list of tokens, which log text is kept free of, is the list that is read.
#[test]
fn every_token_is_known_and_every_message_begins_with_one() {
    for token in TOKENS {
        let used = examples()
            .iter()
            .any(|(text, _)| text.split(':').next() == Some(token));
        assert!(used, "{token}");
        let log = Log(s(token));
        assert_ne!(ChannelText::parse(token), Ok(log), "{token}");
    }
    for (text, message) in examples() {
        let token = text.split(':').next().unwrap();
        assert!(
            TOKENS.contains(&token) || matches!(message, Log(_)),
            "{text}"
        );
    }
}

/// A token counts at the beginning and as a whole, nowhere else.
#[test]
fn text_that_only_contains_a_token_is_log_text() {
    for text in [
        "saved FILE_META::a.zip:1:x", " FILE_META::a.zip:1:x", "\rEND_OF_FILE", "END_OF_FILE\n",
        "END_OF_FILES", "end_of_file", "FILE_META:a.zip:1:x", "FILE_META_2::a:1:x",
        "XFILE_META::a:1:x", "KEEP_ALIVE", "TRAINING_JOBS_DONE ", "TRAINING_LOGS::x", "::",
        "::END_OF_FILE", "JOB_ID:7", "\u{feff}END_OF_FILE", "TRACK_LOGS:x",
    ] {
        assert_eq!(ChannelText::parse(text), Ok(Log(s(text))), "{text}");
    }
}

#[test]
fn malformed_messages_say_what_is_wrong() {
    let long = "x".repeat(5000);
    let cases: Vec<(String, &str)> = [
        ("FILE_META", "header"),
        ("FILE_META::", "header"),
        ("FILE_META::a.zip:7", "header"),
        ("FILE_META::a:b.zip:7:False", "header"),
        ("FILE_META::a.zip::7:False", "header"),
        ("FILE_META::a.zip:seven:False", "size"),
        ("FILE_META::a.zip::False", "size"),
        ("FILE_META::a.zip:-1:False", "size"),
        ("FILE_META::a.zip:+1:False", "size"),
        ("FILE_META::a.zip: 1:False", "size"),
        ("FILE_META::a.zip:1.5:False", "size"),
        ("FILE_META::a.zip:18446744073709551616:False", "size"),
        ("FILE_META::a.zip:٣:False", "size"),
        ("FILE_META::../a.zip:1:False", "name"),
        ("FILE_META::a\\b:1:False", "name"),
        ("FILE_META::..:1:False", "name"),
        ("FILE_META:::1:False", "name"),
        ("FILE_META:: a.zip:1:False", "name"),
        ("FILE_META::a\0.zip:1:False", "name"),
        ("FILE_META::NUL:1:False", "name"),
        ("FILE_META::a.zip:1:False\n", "hint"),
        ("END_OF_FILE::", "argument"),
        ("TRAINING_JOBS_DONE::x", "argument"),
        ("JOB_ID", "job_id"),
        ("JOB_ID::", "job_id"),
        ("JOB_ID::a:b", "job_id"),
        ("JOB_ID::a\nb", "job_id"),
        ("PACKAGE_TYPE", "kind"),
        ("PACKAGE_TYPE::train\n", "kind"),
        ("TRAIN_JOB_START", "name"),
        ("TRAIN_JOB_START::", "name"),
        ("TRAIN_JOB_START::a\n", "name"),
        ("TRAIN_JOB_ERROR::a", "code"),
        ("TRAIN_JOB_ERROR::a::", "code"),
        ("TRAIN_JOB_ERROR::a::x", "code"),
        ("TRAIN_JOB_ERROR::a::4294967296", "code"),
        ("TRAIN_JOB_ERROR::::3", "name"),
        ("FILE_NOT_FOUND::a", "reason"),
        ("JOB_FAILED::::x", "job_id"),
        ("JOB_COMPLETE::{\"job_id\":\"j\"}", "job_id"),
        ("INPUT_FILE::a\0b", "name"),
        ("ZMQ_CTRL", "json"),
        ("TRACK_LOG", "line"),
    ]
    .into_iter()
    .map(|(text, field)| (s(text), field))
    .chain([
        (format!("FILE_META::{long}:1:x"), "name"),
        (format!("FILE_META::a:1:{long}"), "hint"),
        (format!("OUTPUT_DIR::{long}"), "dir"),
        (format!("TRAIN_JOB_END::{}", &long[..256]), "name"),
        (format!("JOB_CANCELLED::{}", &long[..257]), "job_id"),
    ])
    .collect();
    for (text, expected) in cases {
        match ChannelText::parse(&text) {
            Err(WireError::BadField { field, why }) => {
                assert_eq!(field, expected, "{text}: {why}");
                assert!(!why.is_empty() && why.len() < 400);
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let colon = ChannelText::parse("FILE_META::a:b.zip:7:False")
        .unwrap_err()
        .to_string();
    assert!(colon.contains("colon"), "{colon}");
}

#[test]
fn the_end_of_a_job_is_not_missed_for_want_of_a_text() {
    let complete = JobComplete {
        job_id: s("j1"),
        detail: s(""),
    };
    assert_eq!(ChannelText::parse("JOB_COMPLETE::j1"), Ok(complete));
    let failed = JobFailed {
        job_id: s("j1"),
        message: s(""),
    };
    assert_eq!(ChannelText::parse("JOB_FAILED::j1"), Ok(failed));
}

#[test]
fn size_is_bounded() {
    let (len, max) = (MAX_TEXT_BYTES + 1, MAX_TEXT_BYTES);
    assert!(ChannelText::parse(&"x".repeat(max)).is_ok());
    assert_eq!(
        ChannelText::parse(&"x".repeat(len)),
        Err(WireError::TooLong { len, max })
    );
}

/// Free text cannot smuggle a token past a peer that looks for tokens anywhere.
#[test]
fn free_text_is_written_without_tokens() {
    let text = || s("END_OF_FILE FILE_META::a:1:x");
    let (job_id, name) = (s("j1"), s("a.zip"));
    for (message, own) in [
        (Log(text()), ""),
        (TrackLog(text()), "TRACK_LOG"),
        (InferenceError(text()), "INFERENCE_ERROR"),
        (PathError(text()), "PATH_ERROR"),
        (ProgressReport(text()), "PROGRESS_REPORT"),
        (
            FileNotFound {
                name,
                reason: text(),
            },
            "FILE_NOT_FOUND",
        ),
        (
            JobFailed {
                job_id: job_id.clone(),
                message: text(),
            },
            "JOB_FAILED",
        ),
        (
            JobComplete {
                job_id,
                detail: text(),
            },
            "JOB_COMPLETE",
        ),
    ] {
        let written = message.to_text();
        let free = written.strip_prefix(own).unwrap();
        assert!(
            TOKENS.iter().all(|token| !free.contains(token)),
            "{written}"
        );
        let read = ChannelText::parse(&written).unwrap();
        assert_eq!(
            std::mem::discriminant(&read),
            std::mem::discriminant(&message)
        );
    }
}

/// Text that begins with a token and goes on at random.
fn almost_a_message() -> impl Strategy<Value = String> {
    let rest = prop_oneof![
        any::<String>(),
        "(::?[a-z0-9./\\\\-]{0,6}){0,4}",
        "::[a-z]{1,5}(:[0-9]{1,3}:[a-z]{0,3}|::-?[0-9]{1,3})?",
    ];
    (proptest::sample::select(TOKENS), rest).prop_map(|(token, rest)| format!("{token}{rest}"))
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = ChannelText::parse(&text);
        let _ = ChannelText::parse(&String::from_utf8_lossy(&bytes));
    }

    /// What is read from text that is almost a message can be written, and is read again as the same.
    #[test]
    fn what_is_read_survives_being_written(text in almost_a_message()) {
        if let Ok(message) = ChannelText::parse(&text) {
            let again = ChannelText::parse(&message.to_text());
            // Free text may have had tokens, which are broken once.
            prop_assert_eq!(again.map(|message| message.to_text()), Ok(message.to_text()));
        }
    }

    #[test]
    fn file_headers_survive(name in "[^/\\\\:\\p{Cc}]{1,40}", size in any::<u64>(), hint in "[^:\\p{Cc}]{0,40}") {
        prop_assume!(safe_name(&name).is_ok());
        let message = FileMeta { name, size, hint };
        prop_assert_eq!(ChannelText::parse(&message.to_text()), Ok(message));
    }

    #[test]
    fn names_and_codes_survive(name in "[^\\p{Cc}]{1,40}", code in any::<i32>()) {
        for message in [
            TrainJobError { name: name.clone(), code },
            InferenceJobError { name: name.clone(), code },
            TrainJobStart(name.clone()),
            TrainJobEnd(name),
        ] {
            prop_assert_eq!(ChannelText::parse(&message.to_text()), Ok(message));
        }
    }
}
