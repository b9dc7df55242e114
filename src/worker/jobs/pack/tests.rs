#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::super::archive::{UnpackLimits, list, unpack};
use super::*;

static GO: AtomicBool = AtomicBool::new(false);

/// A directory `work/` to pack, and a place beside it.
fn work() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    fs::create_dir_all(work.join("models/centroid")).unwrap();
    fs::create_dir(work.join("empty")).unwrap();
    fs::write(work.join("models/centroid/best.ckpt"), vec![7; 700_000]).unwrap();
    fs::write(work.join("models/log.txt"), "loss 0.1\n".repeat(1000)).unwrap();
    fs::write(work.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    (dir, work)
}

fn names(zip: &Path) -> Vec<String> {
    list(zip)
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn what_is_packed_comes_out_again() {
    let (dir, work) = work();
    let zip = dir.path().join("labels.zip");
    let packed = pack_dir(&work, &zip, Some("labels"), &Selection::default(), &GO).unwrap();
    assert_eq!(
        packed,
        Packed {
            files: 3,
            bytes: 709_010,
            skipped: 0
        }
    );
    assert_eq!(
        names(&zip),
        [
            "labels/models/centroid/best.ckpt", "labels/models/log.txt", "labels/run.sh"
        ]
    );

    let into = dir.path().join("in");
    fs::create_dir(&into).unwrap();
    let unpacked = unpack(&zip, &into, &UnpackLimits::default(), &GO).unwrap();
    assert_eq!(
        (unpacked.root.clone(), unpacked.files, unpacked.bytes),
        (into.join("labels"), 3, 709_010)
    );
    for name in ["models/centroid/best.ckpt", "models/log.txt"] {
        assert!(fs::read(work.join(name)).unwrap() == fs::read(unpacked.root.join(name)).unwrap());
    }
    assert!(unpacked.root.join("empty").is_dir());
    assert_ne!(
        fs::metadata(unpacked.root.join("run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o100,
        0
    );

    // The same input gives the same bytes.
    let again = dir.path().join("again.zip");
    pack_dir(&work, &again, Some("labels"), &Selection::default(), &GO).unwrap();
    assert!(fs::read(&zip).unwrap() == fs::read(&again).unwrap());
}

#[test]
fn only_what_gets_smaller_is_compressed() {
    let (dir, work) = work();
    let mut noise = vec![0; 2 * WORTH_A_TRY as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    fs::write(work.join("noise.bin"), &noise).unwrap();
    // Two thirds of it shrink: the noise is in the middle only.
    let (begin, end) = (noise.len() / 3, noise.len() * 2 / 3);
    noise[..begin].fill(7);
    noise[end..].fill(7);
    fs::write(work.join("mixed.bin"), &noise).unwrap();
    fs::write(work.join("photo.JPG"), vec![7; 1000]).unwrap();
    let zip = dir.path().join("r.zip");
    pack_dir(&work, &zip, None, &Selection::default(), &GO).unwrap();
    let mut archive = zip::ZipArchive::new(File::open(&zip).unwrap()).unwrap();
    for (name, method) in [
        ("noise.bin", CompressionMethod::Stored),
        ("photo.JPG", CompressionMethod::Stored),
        ("mixed.bin", CompressionMethod::Deflated),
        ("models/centroid/best.ckpt", CompressionMethod::Deflated),
    ] {
        assert_eq!(
            archive.by_name(name).unwrap().compression(),
            method,
            "{name}"
        );
    }
}

#[test]
fn links_and_pipes_are_left_out_and_counted() {
    let (dir, work) = work();
    symlink("/etc", work.join("models/etc")).unwrap();
    symlink("/etc/passwd", work.join("passwd")).unwrap();
    nix::unistd::mkfifo(&work.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let zip = dir.path().join("r.zip");
    let packed = pack_dir(&work, &zip, None, &Selection::default(), &GO).unwrap();
    assert_eq!((packed.files, packed.skipped), (3, 3));
    assert_eq!(
        names(&zip),
        ["models/centroid/best.ckpt", "models/log.txt", "run.sh"]
    );
}

#[test]
fn an_archive_does_not_contain_itself_and_appears_when_complete() {
    let (_dir, work) = work();
    let zip = work.join("all.zip");
    pack_dir(&work, &zip, None, &Selection::default(), &GO).unwrap();
    pack_dir(&work, &zip, None, &Selection::default(), &GO).unwrap();
    assert_eq!(names(&zip).len(), 3);

    let error = pack_dir(
        &work,
        &work.join("no.zip"),
        None,
        &Selection::default(),
        &AtomicBool::new(true),
    )
    .unwrap_err();
    assert!(matches!(error, ArchiveError::Cancelled));
    let left: Vec<_> = fs::read_dir(&work)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("pack") && name != "no.zip"),
        "{left:?}"
    );
}

#[test]
fn outputs_are_relative_to_the_only_one_or_to_the_root() {
    let (dir, work) = work();
    let zip = dir.path().join("r.zip");
    let outputs = |names: &[&str]| names.iter().map(|name| work.join(name)).collect::<Vec<_>>();
    pack_outputs(&work, &outputs(&["runs", "models"]), &zip, &GO).unwrap();
    assert_eq!(names(&zip), ["centroid/best.ckpt", "log.txt"]);
    pack_outputs(
        &work,
        &outputs(&["run.sh", "models", "models/centroid"]),
        &zip,
        &GO,
    )
    .unwrap();
    assert_eq!(
        names(&zip),
        ["models/centroid/best.ckpt", "models/log.txt", "run.sh"]
    );
    pack_outputs(&work, &outputs(&["run.sh"]), &zip, &GO).unwrap();
    assert_eq!(names(&zip), ["run.sh"]);
    pack_outputs(&work, &outputs(&[""]), &zip, &GO).unwrap();
    assert_eq!(names(&zip).len(), 3);
}

#[test]
fn missing_outputs_and_outputs_that_are_links_are_named() {
    let (dir, work) = work();
    let secret = dir.path().join("secret");
    fs::create_dir_all(secret.join("deep")).unwrap();
    fs::write(secret.join("deep/key"), "k").unwrap();
    symlink(&secret, work.join("link")).unwrap();
    let zip = dir.path().join("r.zip");
    let outputs = [work.join("runs"), work.join("link"), work.join("link/deep")];
    let error = pack_outputs(&work, &outputs, &zip, &GO).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job left no output (expected: runs, link, link/deep)"
    );
    assert!(!zip.exists());
}

#[test]
fn other_programs_can_read_it() {
    let (dir, work) = work();
    let zip = dir.path().join("r.zip");
    pack_dir(&work, &zip, Some("top"), &Selection::default(), &GO).unwrap();
    match std::process::Command::new("python3")
        .args(["-m", "zipfile", "-t"])
        .arg(&zip)
        .output()
    {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => eprintln!("skipped: no python3 to read the archive with ({error})"),
    }
}

/// The same tree gives the same bytes, whatever its files' times and wherever it lies.
#[test]
fn packing_is_deterministic() {
    let dir = tempfile::tempdir().unwrap();
    let mut archives = Vec::new();
    // Made in another order, at other times.
    for (place, order) in [("one", [0, 1, 2]), ("two", [2, 0, 1])] {
        let work = dir.path().join(place).join("work");
        fs::create_dir_all(work.join("empty")).unwrap();
        for index in order {
            let (name, text) = [("z.txt", "z"), ("a/b.sh", "#!/bin/sh\n"), ("a.txt", "")][index];
            fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
            fs::write(work.join(name), text.repeat(1000)).unwrap();
            let day = std::time::Duration::from_secs(86_400 * archives.len() as u64);
            let file = File::options().write(true).open(work.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH + day)
                .unwrap();
        }
        let zip = dir.path().join(format!("{place}.zip"));
        let selection = Selection {
            instead: Some(("loaner.toml".into(), "[job]\n".into())),
            ..Selection::default()
        };
        pack_dir(&work, &zip, Some("work"), &selection, &GO).unwrap();
        archives.push(fs::read(zip).unwrap());
    }
    assert!(archives[0] == archives[1]);
    // No entry has a time: 1980 is where zip's calendar begins.
    let mut zip = zip::ZipArchive::new(Cursor::new(&archives[0])).unwrap();
    for index in 0..zip.len() {
        assert_eq!(
            zip.by_index(index).unwrap().last_modified().unwrap().year(),
            1980
        );
    }
}

/// Ignore files count in every directory, `.loanerignore` always and before `.gitignore`, which counts where it is asked for.
/// Parts of results that broke off are never packed.
#[test]
fn what_is_ignored_stays() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join("work").join(name);
    for name in [
        ".git/config", "keep.py", "a.log", "b.log", "data/big.bin", "data/small.csv", "sub/x.tmp",
        "sub/y.py", ".loaner-partial/0123",
    ] {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), "").unwrap();
    }
    fs::write(at(".gitignore"), "*.log\n").unwrap();
    fs::write(at(".loanerignore"), "*.bin\n!b.log\n").unwrap();
    fs::write(at("sub/.gitignore"), "*.tmp\n").unwrap();
    let zip = dir.path().join("x.zip");
    let packed = |gitignore, inputs: Option<&[&str]>| {
        let selection = Selection {
            gitignore,
            inputs: inputs.map(|inputs| inputs.iter().map(PathBuf::from).collect()),
            ..Selection::default()
        };
        pack_dir(&at(""), &zip, None, &selection, &GO).map(|_| names(&zip))
    };
    let all = [
        ".git/config", ".gitignore", ".loanerignore", "a.log", "b.log", "data/small.csv",
        "keep.py", "sub/.gitignore", "sub/x.tmp", "sub/y.py",
    ];
    assert_eq!(packed(false, None).unwrap(), all);
    let fewer = [
        ".gitignore", ".loanerignore", "b.log", "data/small.csv", "keep.py", "sub/.gitignore",
        "sub/y.py",
    ];
    assert_eq!(packed(true, None).unwrap(), fewer);
    assert_eq!(
        packed(true, Some(&["**/*.py", "data"])).unwrap(),
        ["data/small.csv", "keep.py", "sub/y.py"]
    );
    let error = packed(true, Some(&["*.py", "*.log", "dta/**"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "inputs: dta/** names no file of the package"
    );
}

/// Patterns name outputs beside files and directories; a file whose name looks like one is that file.
#[test]
fn outputs_by_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    for name in [
        "models/a/best.ckpt", "models/b.txt", "loss.csv", "sub/loss.csv", "a[1].txt", "a1.txt",
    ] {
        fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
        fs::write(work.join(name), "").unwrap();
    }
    symlink(dir.path(), work.join("models/out")).unwrap();
    let zip = dir.path().join("x.zip");
    let packed = |outputs: &[&str]| {
        let outputs: Vec<_> = outputs.iter().map(|output| work.join(output)).collect();
        pack_outputs(&work, &outputs, &zip, &GO).map(|_| names(&zip))
    };
    assert_eq!(
        packed(&["models/**"]).unwrap(),
        ["models/a/best.ckpt", "models/b.txt"]
    );
    assert_eq!(packed(&["*.csv"]).unwrap(), ["loss.csv"]);
    assert_eq!(
        packed(&["**/*.csv", "models/*"]).unwrap(),
        [
            "loss.csv", "models/a/best.ckpt", "models/b.txt", "sub/loss.csv"
        ]
    );
    assert_eq!(packed(&["a[1].txt"]).unwrap(), ["a[1].txt"]);
    assert_eq!(packed(&["a[12].txt", "nothing"]).unwrap(), ["a1.txt"]);
    assert!(matches!(
        packed(&["*.none"]),
        Err(ArchiveError::NoOutput { .. })
    ));
}
