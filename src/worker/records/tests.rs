#![allow(clippy::unwrap_used)]

use super::*;
use crate::worker::jobs::lines::LogLine;

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().flatten();
    let mut names: Vec<_> = names
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn keep(jobs: usize, bytes: u64) -> Keep {
    Keep {
        jobs,
        bytes,
        ..Keep::default()
    }
}

/// A job that is under way.
fn begin(records: &Records, id: &str, user: &str) -> Arc<Record> {
    let record = records.begin(id, user, "p.zip");
    record.create();
    record
}

/// A job that is over, with a log of so many bytes.
async fn past(records: &Records, id: &str, user: &str, log: usize) -> Arc<Record> {
    let record = begin(records, id, user);
    let mut writer = record.writer().unwrap();
    let line = LogLine {
        text: "x".repeat(log - 1),
        overwrite: false,
    };
    writer.line(&line).await;
    writer.flush().await;
    drop(writer);
    record.ended("completed", "");
    record.settle();
    records.sweep();
    record
}

/// What was told of a job is there again at the next start, with its log; one that was under way is said to have failed.
#[tokio::test]
async fn records_outlive_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().into(), Keep::default()).unwrap();
    let told = past(&records, "a", "ann", 10).await.summary();
    let running = begin(&records, "b", "ann");
    running.is_in("running", None);
    drop((running, records));

    let records = Records::open(dir.path().into(), Keep::default()).unwrap();
    let [a, b] = &records.list("ann")[..] else {
        panic!("{:?}", records.list("ann"))
    };
    assert_eq!(*a, told);
    assert_eq!((a.log, a.state.as_str()), (10, "completed"));
    assert_eq!((b.id.as_str(), b.state.as_str()), ("b", "failed"));
    assert_eq!(b.message, "the worker ended before the job did");
    let mut reader = records
        .find("ann", "a")
        .unwrap()
        .log()
        .read(4)
        .await
        .unwrap();
    assert_eq!(reader.next(100, true).await.unwrap(), b"xxxxx\n");
    assert_eq!(reader.next(100, true).await.unwrap(), b"");
}

/// Each user sees their own jobs only, by id or by how it begins; two jobs of one id are two, and the later one is meant.
#[tokio::test]
async fn a_job_is_found_by_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().into(), Keep::default()).unwrap();
    past(&records, "aab", "ann", 2).await;
    past(&records, "aac", "ann", 2).await;
    past(&records, "aad", "bob", 2).await;
    past(&records, "aac", "ann", 3).await;
    assert_eq!(records.find("ann", "aab").unwrap().story().id, "aab");
    assert_eq!(records.find("bob", "aa").unwrap().story().id, "aad");
    assert_eq!(records.find("ann", "aac").unwrap().summary().log, 3);
    let unknown = records.find("ann", "aad").unwrap_err();
    assert!(unknown.contains("knows no job aad of yours"), "{unknown}");
    let several = records.find("ann", "aa").unwrap_err();
    assert!(several.contains("several jobs begin with aa"), "{several}");
    assert!(records.find("ann", "").is_err());
    let ids = |user| {
        let jobs = records.list(user).into_iter();
        jobs.map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids("ann"), ["aab", "aac", "aac"]);
    assert_eq!(ids("eve"), Vec::<String>::new());
}

/// The oldest goes when there are too many or too much, with all of its files; what is under way stays.
#[tokio::test]
async fn the_oldest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().into(), keep(2, 1000)).unwrap();
    let running = begin(&records, "run", "ann");
    for id in ["a", "b", "c"] {
        past(&records, id, "ann", 10).await;
    }
    let ids = |records: &Records| {
        let jobs = records.list("ann").into_iter();
        jobs.map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&records), ["run", "b", "c"]);
    past(&records, "d", "ann", 995).await;
    assert_eq!(ids(&records), ["run", "d"]);
    assert_eq!(files(dir.path()), ["1.json", "1.log", "5.json", "5.log"]);
    running.ended("failed", "no");
    running.settle();
    records.sweep();
    assert_eq!(
        ids(&records),
        ["run", "d"],
        "a log without a byte is no burden"
    );
    drop((running, records));
    assert_eq!(
        ids(&Records::open(dir.path().into(), keep(1, 1000)).unwrap()),
        ["d"]
    );
}

/// What is written late does not come after what was written since, nor bring back what was removed: nothing is left of a
/// job that is not kept, in whatever order its files are made, settled and removed.
#[tokio::test]
async fn a_late_hand_brings_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().into(), keep(1, 1000)).unwrap();
    let late = records.begin("a", "ann", "p.zip");
    late.ended("completed", "");
    late.settle();
    late.create();
    assert_eq!(files(dir.path()), ["1.json"], "its log was over");
    let text = fs::read_to_string(dir.path().join("1.json")).unwrap();
    assert!(text.contains("\"completed\""), "{text}");

    let gone = records.begin("b", "ann", "p.zip");
    gone.ended("failed", "");
    past(&records, "c", "ann", 10).await;
    gone.create();
    gone.settle();
    gone.results_fetched();
    assert_eq!(files(dir.path()), ["3.json", "3.log"]);
}

/// A disk that hangs holds up nobody who tells what becomes of a job: that is written by others.
#[test]
fn a_disk_that_hangs_holds_up_nobody_who_tells() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().into(), Keep::default()).unwrap();
    let record = records.begin("a", "ann", "p.zip");
    assert_eq!(files(dir.path()), Vec::<String>::new());
    let (told, telling) = (std::sync::mpsc::channel(), record.clone());
    let hangs = record.files();
    std::thread::spawn(move || {
        telling.is_in("running", None);
        telling.ended("completed", "");
        told.0.send(()).unwrap();
    });
    told.1.recv_timeout(Duration::from_secs(30)).unwrap();
    drop(hangs);
    assert_eq!(files(dir.path()), Vec::<String>::new());
    record.settle();
    assert_eq!(files(dir.path()), ["1.json"]);
}

/// Results that wait count, and go with their job; they have a key of their own.
#[tokio::test]
async fn results_wait_with_their_job() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().join("jobs"), keep(10, 1000)).unwrap();
    let record = past(&records, "a", "ann", 10).await;
    let other = past(&records, "b", "ann", 10).await;
    assert_ne!(record.key(), other.key());
    let results = dir.path().join("trained_p.zip");
    fs::write(&results, [7; 900]).unwrap();
    record.keep_results(&results, "trained_p.zip").unwrap();
    assert!(!results.exists());
    let kept = record.summary().results.unwrap();
    assert_eq!((kept.name.as_str(), kept.size), ("trained_p.zip", 900));
    assert_eq!(fs::read(record.results_path()).unwrap(), [7; 900]);
    records.sweep();
    assert_eq!(records.list("ann").len(), 2);
    past(&records, "c", "ann", 90).await;
    assert_eq!(
        files(&dir.path().join("jobs")).len(),
        4,
        "two jobs are left"
    );
    assert!(!record.results_path().exists());
}

/// Results that are more than is kept at all stay where they are, and cost nobody else's; what was fetched waits no more.
#[tokio::test]
async fn results_without_measure_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path().join("jobs"), keep(10, 1000)).unwrap();
    past(&records, "a", "ann", 10).await;
    let record = past(&records, "b", "bob", 10).await;
    let results = dir.path().join("trained_p.zip");
    fs::write(&results, [7; 1001]).unwrap();
    record.keep_results(&results, "trained_p.zip").unwrap_err();
    assert!(results.exists());
    assert_eq!(record.summary().results, None);
    records.sweep();
    assert_eq!(records.list("ann").len(), 1);

    fs::write(&results, [7; 900]).unwrap();
    record.keep_results(&results, "trained_p.zip").unwrap();
    record.results_fetched();
    assert!(!record.results_path().exists());
    drop((record, records));
    let records = Records::open(dir.path().join("jobs"), keep(10, 1000)).unwrap();
    assert_eq!(records.list("bob")[0].results, None);
}

/// A record that is damaged is removed, and so is a log that belongs to nothing; other files are none of its business.
#[test]
fn damage_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("3.json", "{"),
        ("3.log", "x"),
        ("4.log", "x"),
        ("9.results", "x"),
        ("notes.txt", "x"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let records = Records::open(dir.path().into(), Keep::default()).unwrap();
    assert_eq!(files(dir.path()), ["notes.txt"]);
    assert_eq!(records.list(""), []);
}
