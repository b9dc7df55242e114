//! What two Loaner peers say to each other beside the inherited words: a version in common, files that are verified, and
//! uploads that go on where they were.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use loaner::wire::own::{CHECK_EVERY, Digest, FileOffer, OwnText, Versions};
use nix::sys::signal::Signal;
use rand::{RngExt as _, SeedableRng as _};

use support::peer::Call;
use support::{Lab, PATIENCE, until, zip};

/// A package whose job tells the digest of what came with it, as the worker's own tools see it; and that digest.
fn heavy(dir: &Path, megabytes: usize) -> (PathBuf, String) {
    let package = support::package(
        dir,
        "heavy",
        "sha256sum ballast; mkdir models; cp ballast models/",
    );
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut ballast = vec![0_u8; megabytes << 20];
    rand::rngs::StdRng::seed_from_u64(seed).fill(&mut ballast[..]);
    std::fs::write(package.join("ballast"), &ballast).unwrap();
    (package, hex(&ballast))
}

/// A SHA-256 digest as `sha256sum` prints it.
fn hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What the worker keeps of uploads that did not arrive.
fn kept(lab: &Lab) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(lab.dir.path().join("work/partial"));
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_none())
        .map(|path| (path.clone(), path.metadata().unwrap().len()))
        .collect()
}

/// An upload that ends in its middle, by Ctrl+C twice, goes on when the same command is given again: the worker has what was
/// checked, only the rest is sent, and what runs is what was given. The results are verified too.
#[actix_rt::test]
async fn an_interrupted_upload_goes_on_when_it_is_given_again() {
    let lab = Lab::new().await;
    let (package, sha256) = heavy(lab.dir.path(), 96);
    let state = lab.dir.path().join("state");
    let again = || lab.run(&package, &["--state-dir", state.to_str().unwrap()]);

    let mut client = again();
    client.event("uploading").await;
    let some = 3 * CHECK_EVERY;
    until("a good part is there", PATIENCE, || {
        kept(&lab).iter().any(|(_, bytes)| *bytes > some)
    })
    .await;
    client.signal(Signal::SIGINT);
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 130, "{}", client.stdout());
    lab.until_status("available", Duration::from_secs(120))
        .await;
    let found = kept(&lab);
    let [(_, there)] = found[..] else {
        panic!("{found:?}")
    };
    assert!(
        there >= some - CHECK_EVERY && there % CHECK_EVERY == 0,
        "{there}"
    );

    let mut client = again();
    let continued = client.event("continued").await;
    assert_eq!(continued["bytes"], there);
    let output = client.event("output").await;
    assert!(
        output["text"].as_str().unwrap().contains(&sha256),
        "{output}"
    );
    client.event("done").await;
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    assert_eq!(kept(&lab), []);
    let results = support::contents(&lab.out().join("trained_heavy.zip"));
    let [(name, ballast)] = &results[..] else {
        panic!("{} files came back", results.len())
    };
    assert_eq!((name.as_str(), hex(ballast)), ("ballast", sha256));
}

/// Another client that gives a package of the same name and size begins at the start, and what the first left is not its.
#[actix_rt::test]
async fn what_is_kept_is_kept_for_its_sender() {
    let lab = Lab::new().await;
    let (package, _) = heavy(lab.dir.path(), 64);
    let mut client = lab.run(&package, &[]);
    client.event("uploading").await;
    until("a good part is there", PATIENCE, || {
        kept(&lab).iter().any(|(_, bytes)| *bytes > 2 * CHECK_EVERY)
    })
    .await;
    client.signal(Signal::SIGINT);
    client.signal(Signal::SIGINT);
    client.exit().await;
    lab.until_status("available", Duration::from_secs(120))
        .await;
    let before = kept(&lab);
    assert_eq!(before.len(), 1);
    // Each process has a directory of state of its own, unless told otherwise.
    let mut other = lab.run(&package, &[]);
    other.event("done").await;
    assert!(!other.stdout().contains("continued"), "{}", other.stdout());
    assert_eq!(kept(&lab), before);
}

async fn send(call: &Call, bytes: &[u8]) {
    for piece in bytes.chunks(65536) {
        call.bytes(piece).await;
    }
}

async fn say(call: &Call, text: OwnText) {
    call.text(&text.to_text()).await;
}

/// The next of these words; everything else is passed over.
async fn hear(call: &Call) -> OwnText {
    let text = call.until("LOANER_PEER::").await.pop().unwrap();
    OwnText::parse(text.strip_prefix("LOANER_PEER::").unwrap()).unwrap()
}

fn versions(lowest: u32, highest: u32) -> OwnText {
    OwnText::Hello(Versions { lowest, highest })
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

fn offer(archive: &[u8]) -> OwnText {
    OwnText::Offer(FileOffer {
        name: "a.zip".to_owned(),
        size: archive.len() as u64,
        key: None,
        hint: String::new(),
    })
}

/// A worker says in its registration which versions it speaks. One that has none in common with its client says so, and
/// goes on in the inherited words, as it does with a client that never greets.
#[actix_rt::test]
async fn without_a_version_in_common_the_inherited_words_are_spoken() {
    let lab = Lab::new().await;
    let shown = lab.shown().await.unwrap();
    let property = &shown["metadata"]["properties"]["loaner_peer"];
    assert_eq!(Versions::of_property(Some(property)).unwrap().lowest, 1);
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    say(&call, versions(7, 9)).await;
    let OwnText::NoVersion { versions } = hear(&call).await else {
        panic!("no refusal")
    };
    assert_eq!((versions.lowest, versions.highest), (1, 2));
    // What it says all the same is passed over.
    let archive = zip(&lab.package("a", "mkdir models; echo m > models/m"));
    say(&call, offer(&archive)).await;
    call.upload("a.zip", &archive).await;
    let (texts, results) = call.results().await;
    assert!(!results.is_empty());
    assert!(
        !texts.iter().any(|text| text.starts_with("LOANER_PEER")),
        "{texts:?}"
    );
}

/// A file whose bytes are not those that its sender digested is no package: the sender is told, the job fails, and
/// nothing of it is left.
#[actix_rt::test]
async fn damaged_bytes_are_told_of() {
    let lab = Lab::new().await;
    let archive = zip(&lab.package("a", "true"));
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    say(&call, versions(1, 1)).await;
    assert_eq!(hear(&call).await, OwnText::Welcome { version: 1 });
    say(&call, offer(&archive)).await;
    let OwnText::Accept { have: 0, .. } = hear(&call).await else {
        panic!("not accepted")
    };
    say(&call, OwnText::Begin { from: 0 }).await;
    let mut damaged = archive.clone();
    damaged[10] ^= 1;
    call.bytes(&damaged).await;
    let at = archive.len() as u64;
    say(
        &call,
        OwnText::Check {
            at,
            digest: digest(&archive),
        },
    )
    .await;
    let told = call.until("JOB_FAILED::").await.pop().unwrap();
    assert!(told.contains("damaged"), "{told}");
    let failed = client.hear_message("job_failed").await;
    assert_eq!(failed["job_id"], job);
    call.hang_up().await;
    lab.until_free().await;
    assert_eq!(kept(&lab), []);
}

/// What is said out of turn ends the transfer with a reason, and the worker is free again: bytes before their offset, an
/// offset where nothing is, a digest of another offset, more than was offered.
#[actix_rt::test]
async fn what_is_said_out_of_turn_ends_the_transfer() {
    let lab = Lab::new().await;
    let archive = zip(&lab.package("a", "true"));
    let check = |at| OwnText::Check {
        at,
        digest: digest(b""),
    };
    enum Do {
        Say(OwnText),
        Bytes(usize),
    }
    use Do::{Bytes, Say};
    let begin = |from| Say(OwnText::Begin { from });
    for (steps, word) in [
        (vec![Bytes(10)], "before their offset"),
        (vec![begin(5)], "where nothing is"),
        (vec![begin(0), begin(0)], "begun already"),
        (vec![begin(0), Bytes(10), Say(check(9))], "another offset"),
        (
            vec![begin(0), Bytes(10), Say(check(10))],
            "where none is due",
        ),
        (
            vec![begin(0), Bytes(archive.len()), Bytes(1)],
            "more than the announced",
        ),
    ] {
        let mut client = lab.peer("client").await;
        let call = client.call(&lab.worker_id).await;
        say(&call, versions(0, 1)).await;
        assert_eq!(hear(&call).await, OwnText::Welcome { version: 1 });
        say(&call, offer(&archive)).await;
        assert!(matches!(hear(&call).await, OwnText::Accept { .. }));
        for step in steps {
            match step {
                Say(text) => say(&call, text).await,
                Bytes(count) => send(&call, &vec![7; count]).await,
            }
        }
        let told = call.until("JOB_FAILED::").await.pop().unwrap();
        assert!(told.contains(word), "{word}: {told}");
        call.hang_up().await;
        client.leave().await;
        lab.until_free().await;
    }
}

/// What is there of an earlier attempt counts only where the sender says so: another file under the same key begins at the
/// start, and what arrives is that file.
#[actix_rt::test]
async fn another_file_under_the_same_key_begins_at_the_start() {
    let lab = Lab::new().await;
    let package = lab.package("a", "mkdir models; echo it is me > models/m");
    let mut ballast = vec![0_u8; CHECK_EVERY as usize + 1000];
    rand::rng().fill(&mut ballast[..]);
    std::fs::write(package.join("ballast"), &ballast).unwrap();
    let archive = zip(&package);
    let at = archive.len() as u64;
    let offered = |key| {
        let OwnText::Offer(offer) = offer(&archive) else {
            panic!("no offer")
        };
        OwnText::Offer(FileOffer { key, ..offer })
    };
    let key = Some(digest(b"only its sender knows it"));
    let half = CHECK_EVERY;
    for first in [true, false] {
        let mut client = lab.peer("client").await;
        let call = client.call(&lab.worker_id).await;
        say(&call, versions(1, 1)).await;
        assert_eq!(hear(&call).await, OwnText::Welcome { version: 1 });
        say(&call, offered(key)).await;
        let OwnText::Accept {
            have,
            digest: there,
        } = hear(&call).await
        else {
            panic!("not accepted")
        };
        say(&call, OwnText::Begin { from: 0 }).await;
        if first {
            assert_eq!(have, 0);
            let wrong = vec![7; half as usize];
            send(&call, &wrong).await;
            let digest = digest(&wrong);
            say(&call, OwnText::Check { at: half, digest }).await;
            until("it is checked", PATIENCE, || {
                kept(&lab).iter().any(|(_, bytes)| *bytes == half)
            })
            .await;
            call.hang_up().await;
            client.leave().await;
            lab.until_free().await;
            continue;
        }
        assert_eq!((have, there), (half, digest(&vec![7; half as usize])));
        send(&call, &archive[..half as usize]).await;
        let checked = digest(&archive[..half as usize]);
        say(
            &call,
            OwnText::Check {
                at: half,
                digest: checked,
            },
        )
        .await;
        send(&call, &archive[half as usize..]).await;
        let digest = digest(&archive);
        say(&call, OwnText::Check { at, digest }).await;
        assert_eq!(hear(&call).await, OwnText::Verified);
        call.until("TRAIN_JOB_END::a").await;
    }
}

/// A job whose results a Loaner client does not confirm is not complete.
#[actix_rt::test]
async fn results_count_when_the_client_has_them() {
    let lab = Lab::new().await;
    let archive = zip(&lab.package("a", "mkdir models; echo m > models/m"));
    let mut client = lab.peer("client").await;
    client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    say(&call, versions(1, 1)).await;
    assert_eq!(hear(&call).await, OwnText::Welcome { version: 1 });
    say(&call, offer(&archive)).await;
    assert!(matches!(hear(&call).await, OwnText::Accept { .. }));
    say(&call, OwnText::Begin { from: 0 }).await;
    call.bytes(&archive).await;
    let at = archive.len() as u64;
    say(
        &call,
        OwnText::Check {
            at,
            digest: digest(&archive),
        },
    )
    .await;
    assert_eq!(hear(&call).await, OwnText::Verified);
    let OwnText::Offer(offered) = hear(&call).await else {
        panic!("no results were offered")
    };
    assert_eq!(offered.name, "trained_a.zip");
    let message = "no room".to_owned();
    say(&call, OwnText::Rejected { message }).await;
    let failed = client.hear_message("job_failed").await;
    let why = failed["error"]["message"].as_str().unwrap();
    assert!(why.contains("no room"), "{failed}");
}
