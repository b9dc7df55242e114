//! Packages that are made to hurt: manifests and scripts without end, archives that no writer of archives makes.

use std::io::Write as _;

use loaner::rtc::Incoming;
use tokio::time::timeout;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::after::{as_before, peak_memory};
use crate::files::heavy;
use crate::support::peer::Call;
use crate::support::{Lab, PATIENCE, until};

/// More than either side needs beside what it has at its start, in bytes.
const ROOM: u64 = 160 << 20;

/// What is added to an archive.
enum Part<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
}
use Part::{File, Link};

/// An archive of these, deflated.
fn archive(parts: &[Part<'_>]) -> Vec<u8> {
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for part in parts {
        match part {
            File(name, content) => {
                zip.start_file(*name, deflated).unwrap();
                zip.write_all(content).unwrap();
            }
            Link(name, target) => zip.add_symlink(*name, *target, deflated).unwrap(),
        }
    }
    zip.finish().unwrap().into_inner()
}

/// What is said up to the end of a job, which takes as long as the disk takes.
async fn until_told(call: &Call) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let message = timeout(10 * PATIENCE, call.channel.recv()).await.unwrap();
        if let Incoming::Text(text) = message.expect("the channel closed") {
            let over = text.starts_with("JOB_");
            texts.push(text);
            if over {
                return texts;
            }
        }
    }
}

/// Sends each of these as a package: it fails once, by this reason, and the worker is as it was.
async fn each_fails(lab: &Lab, packages: &[(Vec<u8>, &str)]) {
    let before = peak_memory(lab.worker.pid);
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    for (package, reason) in packages {
        call.upload("evil.zip", package).await;
        let mut texts = until_told(&call).await;
        let failed = texts.pop().unwrap();
        assert!(
            failed.starts_with("JOB_FAILED") && failed.contains(reason),
            "{failed}"
        );
        assert!(failed.len() < 1000 && !failed.contains('\n'), "{failed}");
        assert_eq!(texts, Vec::<String>::new(), "nothing ran");
        // As long as a disk takes that is busy.
        until("nothing is left", 10 * PATIENCE, || {
            lab.scratch().is_empty()
        })
        .await;
        lab.until_free().await;
        let told = client.hear_message("job_failed").await;
        assert!(
            told["error"]["message"].as_str().unwrap().contains(reason),
            "{told}"
        );
        assert!(client.kept_messages("job_failed").is_empty());
    }
    let grown = peak_memory(lab.worker.pid).saturating_sub(before);
    assert!(grown < ROOM, "the worker grew by {grown} bytes");
    call.hang_up().await;
    client.leave().await;
    as_before(lab).await;
}

/// A manifest of 100 MB, scripts of 100 MB, and manifests that nest without end: refused by their size, before they are read.
#[actix_rt::test]
async fn manifests_and_scripts_without_end() {
    let lab = Lab::new().await;
    // Text that does not shrink to nothing, or it would be a bomb first.
    let mut filler: Vec<u8> = Vec::with_capacity(100_000_000);
    let mut number = 1u32;
    while filler.len() < 100_000_000 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        filler.extend(format!("# {number:08x}{:08x}\n", number.rotate_left(7)).bytes());
    }
    let with = |line: &str| [line.as_bytes(), &filler].concat();
    let job = "[job]\ncommand = [\"true\"]\n";
    let nested = |begin: &str, open: &str| format!("{begin}{}", open.repeat(20_000)).into_bytes();
    each_fails(
        &lab,
        &[
            (
                archive(&[File("loaner.toml", &with(job))]),
                "loaner.toml is larger than",
            ),
            (
                archive(&[File(
                    "train-script.sh",
                    &with("sleap-nn train --config-name a\n"),
                )]),
                "train-script.sh is larger than",
            ),
            (
                archive(&[File("loaner.toml", &nested("[job]\ncommand = ", "["))]),
                "loaner.toml, line 2",
            ),
            (
                archive(&[File("loaner.toml", &nested("[job]\nenv = ", "{a="))]),
                "loaner.toml, line 2",
            ),
            (
                archive(&[File("loaner.toml", &nested("[job]\n[a", ".a"))]),
                "loaner.toml, line 2",
            ),
            (
                archive(&[File("loaner.toml", b"[job]\ncommand = \"\xff\"\n")]),
                "loaner.toml: save it as UTF-8",
            ),
        ],
    )
    .await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let script = with("sleap-nn track --data_path a --model_paths b\n");
    call.upload_inference("evil.zip", &archive(&[File("track-script.sh", &script)]))
        .await;
    let failed = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(
        failed.contains("track-script.sh is larger than"),
        "{failed}"
    );
    call.hang_up().await;
    client.leave().await;
    as_before(&lab).await;
}

/// Links and files through them, names that lead out or that no terminal should see, one name twice, bombs.
#[actix_rt::test]
async fn archives_that_no_writer_makes() {
    let lab = Lab::new().await;
    let outside = lab.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let manifest = File("loaner.toml", b"[job]\ncommand = [\"true\"]\n");
    let through = |path: &str| archive(&[Link("way", target), File(path, b"x")]);
    let long = "n".repeat(256);
    let zeros = vec![0; 300 << 20];
    each_fails(
        &lab,
        &[
            (through("way/x"), "neither a file nor a directory"),
            (through("a"), "neither a file nor a directory"),
            (
                archive(&[Link("loaner.toml", "/etc/passwd")]),
                "neither a file nor a directory",
            ),
            (archive(&[File("../out", b"x")]), "the path"),
            (archive(&[File("/tmp/loaner-bad-input", b"x")]), "absolute"),
            (archive(&[File("a\\..\\..\\x", b"x")]), "separator"),
            (archive(&[File("a\u{1b}[2Jb", b"x")]), "control character"),
            (archive(&[File(&long, b"x")]), "too long"),
            (
                archive(&[File("x", b"1"), File("./x", b"2")]),
                "there twice",
            ),
            (
                archive(&[manifest, File("zeros", &zeros)]),
                "times its size",
            ),
        ],
    )
    .await;
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!std::path::Path::new("/tmp/loaner-bad-input").exists());
}

/// Names that only other systems mind, and names that look alike: the job finds each file as it was sent.
#[actix_rt::test]
async fn names_that_only_look_like_trouble_arrive() {
    let lab = Lab::new().await;
    let names = [
        "CON", "aux.txt", "NUL", "x.", "x ", "A", "a", "caf\u{e9}", "cafe\u{301}", "ze\u{200b}ro",
        "\u{202e}abc", "-rf", "$(touch evil)",
    ];
    let manifest = "[job]\ncommand = [\"sh\", \"-c\", \"cat data/* | wc -c; ls | wc -l\"]\n";
    let mut parts = vec![File("loaner.toml", manifest.as_bytes())];
    let paths: Vec<_> = names.iter().map(|name| format!("data/{name}")).collect();
    parts.extend(paths.iter().map(|path| File(path, b"x")));
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("odd.zip", &archive(&parts)).await;
    let texts = call.until("JOB_").await;
    assert!(texts.contains(&format!("{}\n", names.len())), "{texts:?}");
    assert!(texts.contains(&"2\n".to_owned()), "{texts:?}");
    lab.until_status("available", PATIENCE).await;
    call.hang_up().await;
    client.leave().await;
    as_before(&lab).await;
}

/// Half a gigabyte there, and the same back: neither side holds it in memory.
#[actix_rt::test]
async fn a_package_is_not_held_in_memory() {
    let lab = Lab::new().await;
    let before = peak_memory(lab.worker.pid);
    let script = "mkdir models; mv ballast models/; echo ready; while ! [ -e \"$HERE/go\" ]; do sleep 0.05; done";
    let script = script.replace("$HERE", lab.dir.path().to_str().unwrap());
    let package = heavy(lab.dir.path(), "large", 500, &script);
    let mut client = lab.run(&package, &[]);
    client.event_where("output", 4 * PATIENCE, |_| true).await;
    let sent = peak_memory(client.pid);
    assert!(sent < ROOM, "the client has {sent} bytes");
    lab.open_gate();
    client.event_where("received", 4 * PATIENCE, |_| true).await;
    assert_eq!(
        client.exit_within(2 * PATIENCE).await,
        0,
        "{}",
        client.stdout()
    );
    let grown = peak_memory(lab.worker.pid).saturating_sub(before);
    assert!(grown < ROOM, "the worker grew by {grown} bytes");
    as_before(&lab).await;
}
