//! What a user's devices find in their inbox, who a process is at a hub, and a hub with a private CA.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "inbox/follow.rs"]
mod follow;
#[path = "inbox/reservations.rs"]
mod reservations;
mod support;

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::stub::StubHub;
use support::{Lab, PATIENCE, Process};

fn loaner(command: &[&str], url: &str, state: &Path) -> Process {
    let mut args = vec!["--json"];
    args.extend(command);
    args.extend(["--hub", url, "--state-dir", state.to_str().unwrap()]);
    Process::start(&args, &[])
}

/// What `loaner inbox` shows: job and change.
async fn inbox(url: &str, state: &Path, flags: &[&str]) -> Vec<(String, String)> {
    let mut command = vec!["inbox"];
    command.extend(flags);
    let mut process = loaner(&command, url, state);
    assert_eq!(
        process.exit().await,
        0,
        "{}\n{}",
        process.stdout(),
        process.log()
    );
    notices(&process)
}

fn notices(process: &Process) -> Vec<(String, String)> {
    let events = process.events();
    let messages = events.iter().filter(|event| event["event"] == "message");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    messages
        .map(|event| {
            let notice = &event["job_notice"];
            (text(&notice["job_id"]), text(&notice["change"]))
        })
        .collect()
}

/// Waits until the inbox has this change; nothing is acknowledged.
async fn until_told(url: &str, state: &Path, change: &str) {
    let mut follower = loaner(&["inbox", "--follow", "--keep"], url, state);
    let told = |event: &Value| event["job_notice"]["change"] == change;
    follower.event_where("message", PATIENCE, told).await;
    follower.signal(Signal::SIGINT);
    assert_eq!(follower.exit().await, 0);
}

async fn adopt(url: &str, from: &Path, to: &Path) {
    let mut share = loaner(&["identity", "--share"], url, from);
    assert_eq!(share.exit().await, 0, "{}", share.log());
    assert!(
        share.log().contains("can read the inbox"),
        "{}",
        share.log()
    );
    let line = share.events()[0]["line"].as_str().unwrap().to_owned();
    let mut adopt = loaner(&["identity", "--adopt", &line], url, to);
    assert_eq!(adopt.exit().await, 0, "{}\n{}", adopt.stdout(), adopt.log());
    let (mut one, mut two) = (
        loaner(&["identity"], url, from),
        loaner(&["identity"], url, to),
    );
    assert_eq!((one.exit().await, two.exit().await), (0, 0));
    let (one, two) = (one.events().remove(0), two.events().remove(0));
    assert_eq!(one["user"], two["user"]);
    assert_ne!(one["device"], two["device"]);
}

fn changes(job: &str, changes: &[&str]) -> Vec<(String, String)> {
    let pair = |change: &&str| (job.to_owned(), (*change).to_owned());
    changes.iter().map(pair).collect()
}

/// The laptop is shut while the job runs: every device of its user finds out how it ended, once.
#[actix_rt::test]
async fn a_result_waits_for_every_device_of_a_user_whose_client_was_killed() {
    let lab = Lab::new().await;
    let (laptop, desk) = (lab.dir.path().join("laptop"), lab.dir.path().join("desk"));
    adopt(&lab.url, &laptop, &desk).await;
    // Returns nothing: there is nobody to take it.
    let go = lab.dir.path().join("go");
    let script = format!(
        "echo started; while ! [ -e {} ]; do sleep 0.05; done",
        go.display()
    );
    let package = lab.package("long", &script);
    let mut run = lab.run(&package, &["--state-dir", laptop.to_str().unwrap()]);
    let job = run.event("reserved").await["job"]
        .as_str()
        .unwrap()
        .to_owned();
    run.event("output").await;
    run.signal(Signal::SIGKILL);
    run.exit().await;
    lab.open_gate();
    until_told(&lab.url, &laptop, "completed").await;
    let expected = changes(&job, &["reserved", "completed"]);
    assert_eq!(inbox(&lab.url, &laptop, &["--keep"]).await, expected);
    assert_eq!(
        inbox(&lab.url, &laptop, &[]).await,
        expected,
        "--keep left it there"
    );
    assert_eq!(
        inbox(&lab.url, &laptop, &[]).await,
        [],
        "it was acknowledged"
    );
    assert_eq!(inbox(&lab.url, &desk, &[]).await, expected);
    assert_eq!(inbox(&lab.url, &desk, &[]).await, []);
}

/// One user may run two jobs at a time, and is told of both.
#[actix_rt::test]
async fn two_runs_of_one_user_do_not_disturb_each_other() {
    let lab = Lab::new().await;
    let (_other, id) = lab.another_worker(&[]).await;
    let state = lab.dir.path().join("state");
    let state = state.as_path();
    // Each waits for the other to have begun.
    let meet = |own: &str, their: &str| {
        let (own, their) = (lab.dir.path().join(own), lab.dir.path().join(their));
        format!(
            "touch {}; while ! [ -e {} ]; do sleep 0.05; done; echo met",
            own.display(),
            their.display()
        )
    };
    let (a, b) = (
        lab.package("a", &meet("a.on", "b.on")),
        lab.package("b", &meet("b.on", "a.on")),
    );
    let flags = ["--state-dir", state.to_str().unwrap()];
    let mut one = lab.run(&a, &flags);
    let mut two = lab.run_in_room(&b, &[&["--worker", &id], &flags[..]].concat());
    assert_eq!(one.exit().await, 0, "{}\n{}", one.stdout(), one.log());
    assert_eq!(two.exit().await, 0, "{}\n{}", two.stdout(), two.log());
    until_told(&lab.url, state, "completed").await;
    let mut jobs = Vec::new();
    while jobs.len() < 4 {
        jobs.extend(inbox(&lab.url, state, &[]).await);
    }
    let mut expected = Vec::new();
    for run in [&one, &two] {
        let done = run
            .events()
            .into_iter()
            .find(|event| event["event"] == "done")
            .unwrap();
        expected.extend(changes(
            done["job"].as_str().unwrap(),
            &["reserved", "completed"],
        ));
    }
    jobs.sort();
    expected.sort();
    assert_eq!(jobs, expected);
}

/// Without a place for an identity everything works but the inbox, and that is said once.
#[actix_rt::test]
async fn a_state_directory_that_cannot_be_written_stops_nothing() {
    let lab = Lab::new().await;
    let file = lab.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let package = lab.package("a", "echo hello");
    let mut run = lab.run(&package, &["--state-dir", file.to_str().unwrap()]);
    assert_eq!(run.exit().await, 0, "{}\n{}", run.stdout(), run.log());
    assert_eq!(
        run.log().matches("cannot be kept").count(),
        1,
        "{}",
        run.log()
    );
}

/// A hub without mailboxes is told apart from one that is not there, and from a user it does not know.
#[actix_rt::test]
async fn what_is_wrong_with_an_inbox_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let fails = async |command: &[&str], url: &str, code: i32, says: &str| {
        let mut process = loaner(command, url, dir.path());
        assert_eq!(process.exit().await, code, "{}", process.stdout());
        assert!(process.stdout().contains(says), "{}", process.stdout());
    };
    let stub = StubHub::start();
    fails(&["inbox"], &stub.url, 1, "nobody is known here").await;
    fails(&["identity", "--share"], &stub.url, 3, "keeps no mailboxes").await;
    fails(
        &["identity", "--adopt", "hello"],
        &stub.url,
        2,
        "this is no identity",
    )
    .await;
    let (hub, url) = support::hub().await;
    let mut share = loaner(&["identity", "--share"], &url, dir.path());
    assert_eq!(share.exit().await, 0);
    // Another hub at the same address.
    let listen = url.strip_prefix("http://").unwrap().to_owned();
    let mut hub = hub;
    hub.signal(Signal::SIGKILL);
    hub.exit().await;
    fails(&["inbox"], &url, 3, "cannot be reached").await;
    let _hub = support::hub_at(&listen).await;
    fails(&["inbox"], &url, 3, "does not know the user").await;
}

/// A hub of old gives no refresh token: the peer goes by the name of its user, and nothing is kept.
#[actix_rt::test]
async fn at_a_hub_of_old_everything_is_as_it_was() {
    let mut stub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let mut worker = loaner(
        &["worker", "--work-dir", work.to_str().unwrap()],
        &stub.url,
        dir.path(),
    );
    assert_eq!(stub.frame("register").await["peer_id"], "w-1");
    worker.event("registered").await;
    // It reserves itself, and asks the hub once whether it knows mail.
    let ask = |job: &str| {
        json!({ "type": "peer_message", "from_peer_id": "c", "to_peer_id": "w-1",
            "payload": { "app_message_type": "job_request", "job_id": job, "job_type": "training" } })
    };
    stub.say(ask("j-1"));
    assert_eq!(stub.frame("mail").await["payload"]["change"], "reserved");
    stub.say(json!({ "type": "error", "code": "UNKNOWN_MESSAGE_TYPE", "message": "?" }));
    // Its answer to this comes after it has heard that.
    stub.say(ask("j-2"));
    stub.frame("peer_message").await;
    worker.signal(Signal::SIGTERM);
    loop {
        let frame = stub.any_frame().await;
        assert_ne!(
            frame["type"], "mail",
            "it was told that there is none: {frame}"
        );
        if frame["type"] == "socket closed" {
            break;
        }
    }
    assert_eq!(worker.exit().await, 0, "{}", worker.log());
    let room = ["--room", "4fad4e39", "--token", "d3cc46"];
    let mut command = vec!["workers"];
    command.extend(room);
    let _client = loaner(&command, &stub.url, dir.path());
    assert_eq!(stub.frame("register").await["peer_id"], "w-1");
    let kept = std::fs::read_dir(dir.path().join("identity")).unwrap();
    for hub in kept {
        let files: Vec<_> = std::fs::read_dir(hub.unwrap().path()).unwrap().collect();
        let identities = files.iter().filter(|file| {
            let path = file.as_ref().unwrap().path();
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        assert_eq!(identities.count(), 0);
    }
}

/// Whoever gives the hub's authority can use it from end to end; whoever does not is told.
#[actix_rt::test]
async fn a_hub_with_a_private_authority_serves_a_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let authority = {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(file("ca.pem"), certificate.pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    std::fs::write(file("hub.pem"), certificate.pem()).unwrap();
    std::fs::write(file("hub.key"), key.serialize_pem()).unwrap();
    let (ca, certificate, key) = (file("ca.pem"), file("hub.pem"), file("hub.key"));
    let args = [
        "hub", "--json", "--listen", "127.0.0.1:0", "--store", "memory", "--tls-cert",
        &certificate, "--tls-key", &key,
    ];
    let mut hub = Process::start(&args, &[]);
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(url.starts_with("https://"), "{url}");
    let work = file("work");
    let socket = url.replacen("https", "wss", 1);
    let flags = ["--allow-commands", "--hub-ca", &ca];
    let mut worker = support::worker(&socket, work.as_ref(), &flags, &[]);
    let session = worker.event("registered").await["session"]
        .as_str()
        .unwrap()
        .to_owned();
    let package = support::package(dir.path(), "a", "echo hello");
    let (out, state) = (file("out"), dir.path().join("state"));
    let run = |env: &[(&str, &str)]| {
        let flags = [
            "--session",
            &session,
            "-o",
            &out,
            "--state-dir",
            state.to_str().unwrap(),
        ];
        support::run(&url, &package, &flags, env)
    };
    let mut distrustful = run(&[]);
    assert_eq!(distrustful.exit().await, 3, "{}", distrustful.stdout());
    for part in ["not trusted", "UnknownIssuer", "--hub-ca FILE"] {
        assert!(
            distrustful.stdout().contains(part),
            "{}",
            distrustful.stdout()
        );
    }
    let mut distrustful = support::worker(&url, work.as_ref(), &[], &[]);
    assert_eq!(distrustful.exit().await, 3, "{}", distrustful.stdout());
    assert!(
        distrustful.stdout().contains("--hub-ca FILE"),
        "{}",
        distrustful.stdout()
    );
    let mut trusting = run(&[("LOANER_HUB_CA", &ca)]);
    assert_eq!(
        trusting.exit().await,
        0,
        "{}\n{}",
        trusting.stdout(),
        trusting.log()
    );
    let mut inbox = loaner(&["inbox", "--hub-ca", &ca], &url, &state);
    assert_eq!(inbox.exit().await, 0, "{}", inbox.stdout());
    assert_eq!(notices(&inbox).last().unwrap().1, "completed");
}
