//! What can be told of the images' recipe without building them: its health check does what it is for, and what it sets is what
//! hub and worker know.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::process::{Command, Stdio};

use support::Process;

fn recipe() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/container/Containerfile"
    );
    // An instruction goes on behind a backslash.
    std::fs::read_to_string(path).unwrap().replace("\\\n", " ")
}

/// The health check of a hub at this address, as the container's runtime would run it.
fn health(listen: &str) -> bool {
    let recipe = recipe();
    let check = recipe.lines().find(|line| line.starts_with("HEALTHCHECK "));
    let (_, argv) = check.unwrap().split_once(" CMD ").unwrap();
    let argv: Vec<String> = serde_json::from_str(argv).unwrap();
    let status = Command::new(&argv[0])
        .args(&argv[1..])
        .env("LOANER_LISTEN", listen)
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

/// A hub that serves is healthy; one that is not there, or does not serve yet, is not.
#[actix_rt::test]
async fn the_health_check_tells_a_hub_that_serves() {
    let mut hub = Process::start(
        &["hub", "--json", "--store", "memory"],
        &[("LOANER_LISTEN", "127.0.0.1:0")],
    );
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let listen = url.strip_prefix("http://").unwrap().to_owned();
    assert!(health(&listen));
    hub.signal(nix::sys::signal::Signal::SIGTERM);
    hub.exit().await;
    assert!(!health(&listen));

    // A hub that has not fetched its issuer's keys is alive, and not ready.
    let mut early = Process::start(
        &[
            "hub", "--json", "--store", "memory", "--jwks", "http://127.0.0.1:9/keys",
            "--jwt-issuer", "i", "--jwt-audience", "a",
        ],
        &[("LOANER_LISTEN", "127.0.0.1:0")],
    );
    let url = early.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(!health(url.strip_prefix("http://").unwrap()));
}

/// Every setting in the recipe is one of the command that its image runs.
#[test]
fn what_the_images_set_is_known() {
    let recipe = recipe();
    let mut known = 0;
    for image in recipe.split("\nFROM ").skip(1) {
        let Some(entry) = image
            .lines()
            .find_map(|line| line.strip_prefix("ENTRYPOINT "))
        else {
            continue;
        };
        let argv: Vec<String> = serde_json::from_str(entry).unwrap();
        assert_eq!(argv[0], "/usr/local/bin/loaner");
        let help = Command::new(env!("CARGO_BIN_EXE_loaner"))
            .args([&argv[1], "--help"])
            .output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        let settings = image
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        for (name, _) in settings.filter(|(name, _)| name.starts_with("LOANER_")) {
            assert!(help.contains(&format!("[env: {name}=")), "{name}: {help}");
            known += 1;
        }
        assert!(image.contains("\nUSER 10001:10001\n"), "it runs as root");
    }
    assert_eq!(known, 4);
}
