#![allow(clippy::unwrap_used)]
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

const HUB: &str = "https://hub.example:8443/lab";

fn identity(user: &str) -> Identity {
    Identity {
        hub: HUB.into(),
        user: user.into(),
        refresh_token: "s3cret".into(),
        device_id: "box-1".into(),
        introduced: false,
    }
}

#[test]
fn it_is_kept_for_its_owner_only_and_for_each_hub_by_itself() {
    let state = tempfile::tempdir().unwrap();
    let keeper = Keeper::client(state.path(), HUB);
    assert_eq!(keeper.load().unwrap(), None);
    keeper.save(identity("u")).unwrap();
    let again = Keeper::client(state.path(), HUB);
    assert_eq!(again.load().unwrap(), Some(identity("u")));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(again.path().unwrap()), 0o600);
    assert_eq!(mode(again.path().unwrap().parent().unwrap()), 0o700);
    for other in [
        "https://hub.example:8443/lab2", "http://hub.example:8443/lab",
    ] {
        assert_eq!(Keeper::client(state.path(), other).load().unwrap(), None);
    }
}

#[test]
fn each_running_worker_has_its_own_and_the_next_takes_over_a_free_one() {
    let state = tempfile::tempdir().unwrap();
    let first = Keeper::worker(state.path(), HUB).unwrap();
    let second = Keeper::worker(state.path(), HUB).unwrap();
    assert_ne!(first.path(), second.path());
    first.save(identity("one")).unwrap();
    second.save(identity("two")).unwrap();
    drop(first);
    let third = Keeper::worker(state.path(), HUB).unwrap();
    assert_eq!(third.load().unwrap(), Some(identity("one")));
}

#[tokio::test]
async fn a_lock_keeps_others_out() {
    let state = tempfile::tempdir().unwrap();
    let (one, two) = (
        Keeper::client(state.path(), HUB),
        Keeper::client(state.path(), HUB),
    );
    let held = one.lock().await.unwrap();
    let mut waiting = Box::pin(two.lock());
    let soon = Duration::from_millis(200);
    assert!(tokio::time::timeout(soon, &mut waiting).await.is_err());
    drop(held);
    assert!(waiting.await.unwrap().is_some());
}

#[test]
fn what_cannot_be_written_still_counts_while_the_process_runs() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::write(&file, "").unwrap();
    let keeper = Keeper::client(&file, HUB);
    assert!(keeper.save(identity("u")).is_err());
    assert_eq!(keeper.load().unwrap(), Some(identity("u")));
    assert!(Keeper::worker(&file, HUB).is_err());
}

#[test]
fn a_damaged_file_is_told_and_named() {
    let state = tempfile::tempdir().unwrap();
    let keeper = Keeper::client(state.path(), HUB);
    keeper.save(identity("u")).unwrap();
    fs::write(keeper.path().unwrap(), "{\"user\":").unwrap();
    let error = keeper.load().unwrap_err().to_string();
    assert!(
        error.contains("client.json") && error.contains("remove it"),
        "{error}"
    );
}

#[test]
fn a_shared_identity_is_another_device_of_the_same_user() {
    let line = Share::from(&identity("u")).to_string();
    assert!(!line.contains(char::is_whitespace));
    let share: Share = format!(" {line}\n").parse().unwrap();
    assert!(!format!("{share:?} {:?}", identity("u")).contains("s3cret"));
    let adopted = share.adopt();
    assert_eq!((adopted.user.as_str(), adopted.hub.as_str()), ("u", HUB));
    assert_eq!(adopted.refresh_token, "s3cret");
    assert_ne!(adopted.device_id, identity("u").device_id);
    assert_eq!("hello".parse::<Share>(), Err(ShareError::NoPrefix));
    assert_eq!(
        line[..line.len() - 9].parse::<Share>(),
        Err(ShareError::Damaged)
    );
    let bad = Share {
        hub: "ftp://x".into(),
        ..Share::from(&identity("u"))
    };
    assert_eq!(bad.to_string().parse::<Share>(), Err(ShareError::Damaged));
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        use base64::Engine as _;
        let _ = text.parse::<Share>();
        let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let _ = format!("loaner-identity:{body}").parse::<Share>();
    }
}
