#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::wire::{ChannelText, log_text};

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn versions() -> impl Strategy<Value = Versions> {
    (any::<u32>(), any::<u32>()).prop_map(|(a, b)| Versions {
        lowest: a.min(b),
        highest: a.max(b),
    })
}

fn summary() -> impl Strategy<Value = JobSummary> {
    let results = ("[a-z]{1,9}", any::<u64>()).prop_map(|(name, size)| KeptResults { name, size });
    (
        ("[a-z0-9-]{0,9}", "[a-z]{1,9}", "[a-z]{1,9}", "\\PC{0,20}"),
        (0..253_402_300_799_999_u64, any::<u64>(), any::<u64>()),
        proptest::option::of(0..86_400_u64),
        proptest::option::of(any::<u8>()),
        proptest::option::of(results),
    )
        .prop_map(
            |((id, name, state, message), (began, seconds, log), left, percent, results)| {
                JobSummary {
                    id,
                    name,
                    state,
                    began,
                    seconds,
                    seconds_left: left,
                    percent,
                    message,
                    log,
                    results,
                }
            },
        )
}

fn own_text() -> impl Strategy<Value = OwnText> {
    prop_oneof![
        versions().prop_map(OwnText::Hello),
        any::<u32>().prop_map(|version| OwnText::Welcome { version }),
        versions().prop_map(|versions| OwnText::NoVersion { versions }),
        (
            "[a-zé ]{1,20}\\.zip",
            any::<u64>(),
            proptest::option::of(digest()),
            "[a-z/]{0,9}"
        )
            .prop_filter("a name", |(name, ..)| safe_name(name).is_ok())
            .prop_map(|(name, size, key, hint)| OwnText::Offer(FileOffer {
                name,
                size,
                key,
                hint
            })),
        (any::<u64>(), digest()).prop_map(|(have, digest)| OwnText::Accept { have, digest }),
        ("[a-z]{1,9}", "[a-z/]{1,9}")
            .prop_map(|(kind, output_dir)| OwnText::Package { kind, output_dir }),
        any::<u64>().prop_map(|from| OwnText::Begin { from }),
        (any::<u64>(), digest()).prop_map(|(at, digest)| OwnText::Check { at, digest }),
        Just(OwnText::Verified),
        any::<String>()
            .prop_filter("short", |text| text.len() <= 1024)
            .prop_map(|message| OwnText::Rejected { message }),
        (any::<u64>(), any::<String>()).prop_map(|(at, text)| OwnText::LogPart { at, text }),
        (any::<u64>(), any::<u64>()).prop_map(|(from, to)| OwnText::LogGap { from, to }),
        any::<u64>().prop_map(|at| OwnText::LogEnd { at }),
        "\\PC{0,20}".prop_map(|name| OwnText::StepStarted { name }),
        ("\\PC{0,20}", any::<i32>()).prop_map(|(name, code)| OwnText::StepEnded { name, code }),
        Just(OwnText::CommandsDone),
        summary().prop_map(OwnText::Job),
        Just(OwnText::ListJobs),
        proptest::collection::vec(summary(), 0..5).prop_map(|jobs| OwnText::JobList { jobs }),
        ("[a-z]{0,9}", any::<u64>(), any::<bool>())
            .prop_map(|(job, from, follow)| OwnText::ReadLog { job, from, follow }),
        "[a-z]{0,9}".prop_map(|job| OwnText::WatchJob { job }),
        "[a-z]{0,9}".prop_map(|job| OwnText::StopJob { job }),
        "[a-z]{0,9}".prop_map(|job| OwnText::CancelJob { job }),
        "[a-z]{0,9}".prop_map(|job| OwnText::FetchResults { job }),
        "\\PC{0,20}".prop_map(|message| OwnText::Denied { message }),
    ]
}

proptest! {
    /// What is written is read again as the same, and as nothing else.
    #[test]
    fn there_and_back(text in own_text()) {
        let sent = text.to_text();
        prop_assert_eq!(ChannelText::parse(&sent).unwrap(), ChannelText::Own(text));
    }

    /// Rubbish is an error or a word, and never a panic.
    #[test]
    fn rubbish_is_read_without_panic(json in "(\\{|\\}|\"type\"|:|\"offer\"|\"check\"|\"at\"|,|[0-9]{1,25}|\\PC){0,30}") {
        let _ = OwnText::parse(&json);
    }

    /// The version is the newest of those that both have, and there is none just when they have none in common.
    #[test]
    fn the_newest_common_version(a in versions(), b in versions()) {
        let common = a.common(b);
        prop_assert_eq!(common, b.common(a));
        match common {
            Some(version) => {
                prop_assert!(a.lowest <= version && b.lowest <= version);
                prop_assert!(version == a.highest || version == b.highest);
                prop_assert!(version <= a.highest && version <= b.highest);
            }
            None => prop_assert!(a.highest < b.lowest || b.highest < a.lowest),
        }
    }
}

/// The forms on the wire, which must not change.
#[test]
fn the_words_look_like_this() {
    let digest = Digest([0xab; 32]);
    let hex = "ab".repeat(32);
    for (text, json) in [
        (
            OwnText::Hello(VERSIONS),
            r#"{"type":"hello","lowest":1,"highest":2}"#.to_owned(),
        ),
        (
            OwnText::Offer(FileOffer {
                name: "a.zip".into(),
                size: 7,
                key: None,
                hint: "models".into(),
            }),
            r#"{"type":"offer","name":"a.zip","size":7,"hint":"models"}"#.to_owned(),
        ),
        (
            OwnText::Check { at: 9, digest },
            format!(r#"{{"type":"check","at":9,"digest":"{hex}"}}"#),
        ),
        (OwnText::Verified, r#"{"type":"verified"}"#.to_owned()),
        (
            OwnText::LogPart {
                at: 3,
                text: "a\r\n".into(),
            },
            r#"{"type":"log_part","at":3,"text":"a\r\n"}"#.to_owned(),
        ),
        (
            OwnText::StepEnded {
                name: "fit".into(),
                code: -2,
            },
            r#"{"type":"step_ended","name":"fit","code":-2}"#.to_owned(),
        ),
        (
            OwnText::Job(JobSummary {
                id: "j".into(),
                name: "p.zip".into(),
                state: "stopping".into(),
                began: 5,
                seconds: 6,
                seconds_left: Some(7),
                log: 8,
                ..JobSummary::default()
            }),
            concat!(
                r#"{"type":"job","id":"j","name":"p.zip","state":"stopping","began":5,"seconds":6,"#,
                r#""seconds_left":7,"log":8}"#
            )
            .to_owned(),
        ),
        (
            OwnText::ReadLog {
                job: "j".into(),
                from: 1,
                follow: true,
            },
            r#"{"type":"read_log","job":"j","from":1,"follow":true}"#.to_owned(),
        ),
        (
            OwnText::Package {
                kind: "train".into(),
                output_dir: "models".into(),
            },
            r#"{"type":"package","kind":"train","output_dir":"models"}"#.to_owned(),
        ),
        (
            OwnText::StopJob { job: "j".into() },
            r#"{"type":"stop_job","job":"j"}"#.to_owned(),
        ),
    ] {
        assert_eq!(text.to_text(), format!("LOANER_PEER::{json}"));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for json in [
        "",
        "{}",
        "[]",
        r#"{"type":"offer","name":"../x","size":1}"#,
        r#"{"type":"offer","name":"x","size":-1}"#,
        r#"{"type":"check","at":1,"digest":"ab"}"#,
        r#"{"type":"hello","lowest":2,"highest":1}"#,
        &json!({ "type": "stop_job", "job": "x".repeat(300) }).to_string(),
        &json!({ "type": "package", "kind": "train", "output_dir": "a\nb" }).to_string(),
        &json!({ "type": "denied", "message": "x".repeat(5000) }).to_string(),
        &json!({ "type": "job_list", "jobs": vec![JobSummary::default(); MAX_JOBS + 1] }).to_string(),
        &json!({ "type": "job_list", "jobs": [JobSummary { began: u64::MAX, ..JobSummary::default() }] })
            .to_string(),
        &json!({ "type": "job_list", "jobs": [JobSummary { seconds_left: Some(u64::MAX), ..JobSummary::default() }] })
            .to_string(),
        &json!({ "type": "job_list", "jobs": [JobSummary { id: "x".repeat(300), ..JobSummary::default() }] })
            .to_string(),
    ] {
        assert!(OwnText::parse(json).is_err(), "{json}");
    }
    let accent = format!(r#"{{"type":"check","at":1,"digest":"{}"}}"#, "é".repeat(32));
    assert!(OwnText::parse(&accent).is_err());
    // What a later version says beside these words harms nobody.
    assert_eq!(
        OwnText::parse(r#"{"type":"dance","steps":3}"#).unwrap(),
        OwnText::Unknown
    );
}

/// A trainer that prints one of these words does not speak for its worker.
#[test]
fn a_log_cannot_say_them() {
    let text = OwnText::Verified.to_text();
    let harmless = log_text(&text).into_owned();
    assert_eq!(
        ChannelText::parse(&harmless).unwrap(),
        ChannelText::Log(harmless)
    );
}

#[test]
fn a_property_is_read_or_not() {
    let read = |property: Value| Versions::of_property(Some(&property));
    assert_eq!(read(VERSIONS.property()), Some(VERSIONS));
    assert_eq!(Versions::of_property(None), None);
    for odd in [
        json!(1),
        json!([2, 1]),
        json!("1"),
        json!([1, 2, 3]),
        json!([-1, 1]),
    ] {
        assert_eq!(read(odd), None);
    }
}
