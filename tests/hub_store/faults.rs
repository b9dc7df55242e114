//! Files that cannot be used, and disks that are full.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use loaner::hub::engine::DeviceKey;
use loaner::hub::store::{OpenError, Place, SqliteStore, Store};

use super::{answer, ids, letter, open, wait};

fn bob() -> DeviceKey {
    DeviceKey::new("bob", "phone")
}

/// A closed store with letters in it.
fn store_with_letters(dir: &Path) -> PathBuf {
    let path = dir.join("hub.db");
    let (store, _) = open(&path).unwrap();
    let letters = (1..=200).map(|id| (bob(), letter(id, 500))).collect();
    wait(|done| store.append(letters, 1, done)).unwrap();
    store.close().unwrap();
    path
}

/// Every file of a directory, with what is in it.
fn all_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

/// The error of opening a file, which leaves everything as it was. A look at it says the same.
fn refused(path: &Path) -> OpenError {
    let before = all_of(path.parent().unwrap());
    let seen = SqliteStore::examine(&Place::File(path.to_owned())).unwrap_err();
    let error = open(path).unwrap_err();
    assert_eq!(seen.to_string(), error.to_string());
    let after = all_of(path.parent().unwrap());
    let names =
        |all: &[(PathBuf, Vec<u8>)]| Vec::from_iter(all.iter().map(|(name, _)| name.clone()));
    assert_eq!(names(&after), names(&before), "{error}");
    assert!(after == before, "changed: {error}");
    error
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_file_and_its_log_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/hub.db");
    let (store, _) = open(&path).unwrap();
    wait(|done| store.append(vec![(bob(), letter(1, 10))], 1, done)).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("hub.db-wal")), 0o600);
    store.close().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (_store, _) = open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn two_hubs_do_not_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = store_with_letters(dir.path());
    let (first, _) = open(&path).unwrap();
    for _ in 0..3 {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("stop that hub"), "{error}");
    }
    assert_eq!(ids(&first, &bob()).len(), 200, "the first is not disturbed");
    drop(first);
    open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_store_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("short", &b"hello"[..]), ("long", &[b'x'; 100_000][..])] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = refused(&path);
        assert!(
            matches!(error, OpenError::NotAStore { .. }),
            "{name}: {error}"
        );
    }
    let path = dir.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE letters (x)").unwrap();
    other.close().unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");

    let error = open(&dir.path().join("short/hub.db")).unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    let error = open(dir.path()).unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_damaged_store_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = store_with_letters(dir.path());
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let mut told = 0;
    for page in 0..pages {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0xa5);
        fs::write(&path, &damaged).unwrap();
        let error = refused(&path);
        assert!(
            matches!(
                error,
                OpenError::Damaged { .. } | OpenError::NotAStore { .. }
            ),
            "page {page}: {error}"
        );
        told += usize::from(matches!(error, OpenError::Damaged { .. }));
    }
    assert!(told > 10, "{told} of {pages}");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    fs::write(&path, &whole).unwrap();
    open(&path).unwrap();
}

#[test]
fn a_store_of_a_newer_version_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = store_with_letters(dir.path());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 7).unwrap();
    newer.close().unwrap();
    let error = refused(&path);
    assert!(
        matches!(error, OpenError::Newer { found: 7, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("update this program"), "{error}");

    // Also where its log was left beside it.
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer
        .set_db_config(
            rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            true,
        )
        .unwrap();
    newer.pragma_update(None, "user_version", 8).unwrap();
    newer.close().unwrap();
    assert!(path.with_file_name("hub.db-wal").exists());
    // The index of the log is made anew by whoever opens it.
    let _ = fs::remove_file(path.with_file_name("hub.db-shm"));
    let error = refused(&path);
    assert!(
        matches!(error, OpenError::Newer { found: 8, .. }),
        "{error}"
    );
}

#[test]
fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let (store, _) = open(&path).unwrap();
    store.limit_bytes(1 << 20);
    let (mut hear, mut stored) = (Vec::new(), Vec::new());
    for id in 1..=400 {
        let (done, told) = answer();
        // Every tenth is small, and may find room where a large one does not.
        let bytes = if id % 10 == 0 { 10 } else { 8000 };
        store.append(vec![(bob(), letter(id, bytes))], 1, done);
        store.seen(&DeviceKey::new("carol", "phone"), id);
        hear.push((id, told));
    }
    let mut last = None;
    for (id, told) in hear {
        match told.recv().unwrap() {
            Ok(()) => stored.push(id),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap().to_string();
    assert!(error.contains("full"), "{error}");
    assert!(stored.len() > 80, "{stored:?}");
    assert_eq!(ids(&store, &bob()), stored);
    let freed = wait(|done| store.acknowledge(&bob(), 400, done)).unwrap();
    assert_eq!(freed.letters, stored.len() as u64);
    wait(|done| store.append(vec![(bob(), letter(500, 8000))], 1, done)).unwrap();
    store.close().unwrap();
    let (store, found): (SqliteStore, _) = open(&path).unwrap();
    assert_eq!(ids(&store, &bob()), [500]);
    let carol = found
        .devices
        .iter()
        .find(|device| &*device.key.user == "carol");
    assert_eq!(carol.unwrap().seen_at_ms, 400);
}
