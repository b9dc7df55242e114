#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn place(dir: &Path, max: u64, keep: u32) -> Place {
    Place {
        path: dir.join("log"),
        max,
        keep,
        json: false,
    }
}

/// The files of a log, the oldest first, and what is in them.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_by_key(|name| {
        let number: u32 = name
            .rsplit_once('.')
            .map_or(0, |(_, number)| number.parse().unwrap());
        std::cmp::Reverse(number)
    });
    let text = |name: &String| fs::read_to_string(dir.join(name)).unwrap();
    names
        .iter()
        .map(|name| (name.clone(), text(name)))
        .collect()
}

/// Lines of several threads are all there across the turns, each whole, and those of a thread in order; only the owner can
/// read them.
#[test]
fn no_line_is_lost_at_a_turn() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(place(dir.path(), 2000, 1000)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..500 {
                    let (mut log, line) = (log, format!("{thread} {number}\n"));
                    log.write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
    log.flush();
    let files = files(dir.path());
    assert!(files.len() > 5, "{}", files.len());
    for (name, text) in &files {
        assert!(text.len() <= 2000 && !text.is_empty(), "{name}");
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
    let all: String = files.into_iter().map(|(_, text)| text).collect();
    for thread in 0..4 {
        let begins = format!("{thread} ");
        let numbers = all.lines().filter_map(|line| line.strip_prefix(&begins));
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    }
}

fn write(log: &LogFile, lines: std::ops::Range<usize>) {
    let mut log = log;
    for number in lines {
        log.write_all(format!("line {number}\n").as_bytes())
            .unwrap();
    }
    LogFile::flush(log);
}

/// No more is kept than is to be: the latest lines; a start goes on where the last left off, and takes away what was kept
/// beyond that before.
#[test]
fn the_latest_lines_are_kept_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(place(dir.path(), 80, 3)).unwrap();
    write(&log, 100..200);
    let names = |files: &[(String, String)]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let kept = files(dir.path());
    assert_eq!(names(&kept), ["log.3", "log.2", "log.1", "log"]);
    let all: String = kept.into_iter().map(|(_, text)| text).collect();
    assert!(all.ends_with("line 198\nline 199\n"), "{all}");
    assert!(all.len() > 3 * 60 && all.len() <= 4 * 80, "{all}");

    // The file is let go when its thread ends, which is soon.
    drop(log);
    let again = loop {
        match LogFile::open(place(dir.path(), 80, 1)) {
            Ok(log) => break log,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
        }
        std::thread::yield_now();
    };
    write(&again, 200..201);
    let text = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(text.contains("line 199\nline 200\n"), "{text}");
    write(&again, 201..250);
    assert_eq!(names(&files(dir.path())), ["log.1", "log"]);
    drop(again);

    let alone = tempfile::tempdir().unwrap();
    let log = LogFile::open(place(alone.path(), 80, 0)).unwrap();
    write(&log, 100..200);
    let kept = files(alone.path());
    assert_eq!(names(&kept), ["log"]);
    assert!(kept[0].1.ends_with("line 199\n") && kept[0].1.len() <= 80);
}

/// A line that is longer than a file may be has one of its own.
#[test]
fn a_long_line_has_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(place(dir.path(), 80, 5)).unwrap();
    let long = format!("{}\n", "x".repeat(500));
    write(&log, 100..101);
    (&log).write_all(long.as_bytes()).unwrap();
    write(&log, 101..102);
    let texts: Vec<_> = files(dir.path())
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(texts, ["line 100\n", &long, "line 101\n"]);
}

/// A disk that fails loses lines, and nothing else; when it works again, the log goes on, and says how many.
#[test]
fn a_disk_that_fails_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    let log = LogFile::open(place(&below, 30, 2)).unwrap();
    write(&log, 100..102);
    // Nothing can be turned in a directory that is not there.
    fs::rename(&below, dir.path().join("gone")).unwrap();
    write(&log, 102..112);
    fs::create_dir(&below).unwrap();
    write(&log, 112..113);
    let all: String = files(&below).into_iter().map(|(_, text)| text).collect();
    assert!(all.contains("lines of this log are lost\n"), "{all}");
    assert!(all.ends_with("line 112\n"), "{all}");
}

/// Every line that is lost is counted in one note, also where the line after the note is lost too.
#[test]
fn a_lost_line_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    let log = LogFile::open(place(&below, 30, 1)).unwrap();
    write(&log, 100..103);
    fs::rename(&below, dir.path().join("gone")).unwrap();
    write(&log, 103..112);
    // There is room for a new file, and not for a second.
    fs::create_dir_all(below.join("log.1")).unwrap();
    write(&log, 112..113);
    let text = |name: &str| fs::read_to_string(below.join(name)).unwrap();
    assert_eq!(text("log"), "9 lines of this log are lost\n");
    fs::remove_dir(below.join("log.1")).unwrap();
    write(&log, 113..114);
    assert_eq!(text("log.1"), "1 lines of this log are lost\n");
    assert_eq!(text("log"), "line 113\n");
}

/// In a log of JSON, what is lost is told in JSON.
#[test]
fn a_log_of_json_is_json_throughout() {
    let dir = tempfile::tempdir().unwrap();
    let json = true;
    let log = LogFile::open(Place {
        json,
        ..place(dir.path(), 1000, 1)
    });
    let log = log.unwrap();
    log.missed.fetch_add(3, Ordering::Relaxed);
    (&log).write_all(b"{\"level\":\"INFO\"}\n").unwrap();
    log.flush();
    let text = fs::read_to_string(dir.path().join("log")).unwrap();
    let lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(
        lines[0]["fields"]["message"],
        "3 lines of this log are lost"
    );
    assert_eq!(lines[0]["level"], "WARN");
    let year = lines[0]["timestamp"].as_str().unwrap().get(..2);
    assert_eq!(year, Some("20"), "{text}");
}

/// The end waits for a queue that is full and moves again.
#[test]
fn a_flush_waits_behind_a_full_queue() {
    let (lines, waiting) = sync_channel(1);
    let log = LogFile {
        lines,
        missed: Arc::default(),
    };
    (&log).write_all(b"line\n").unwrap();
    let (begins, begun) = sync_channel(0);
    let flushing = std::thread::spawn(move || {
        begins.send(()).unwrap();
        log.flush();
    });
    begun.recv().unwrap();
    // One that does not wait is over by then.
    (0..50).for_each(|_| {
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(1));
    });
    assert!(matches!(waiting.recv(), Ok(Message::Line(_))));
    let Ok(Message::Flush(done)) = waiting.recv() else {
        panic!("it did not wait");
    };
    done.send(()).unwrap();
    flushing.join().unwrap();
}

/// What cannot be turned does not grow on.
#[test]
fn a_file_that_cannot_be_turned_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(place(dir.path(), 80, 1)).unwrap();
    let in_the_way = dir.path().join("log.1");
    fs::create_dir(&in_the_way).unwrap();
    write(&log, 100..300);
    assert!(fs::metadata(dir.path().join("log")).unwrap().len() <= 80);
    fs::remove_dir(&in_the_way).unwrap();
    write(&log, 300..301);
    let text = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(text.ends_with("line 300\n"), "{text}");
}

/// Two processes that write one log would lose each other's lines.
#[test]
fn a_log_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let _log = LogFile::open(place(dir.path(), 80, 2)).unwrap();
    let error = LogFile::open(place(dir.path(), 80, 2)).err().unwrap();
    assert!(error.to_string().contains("another process"), "{error}");
}
