//! The STUN and TURN servers of `loaner hub`.

use std::io::Read as _;
use std::path::Path;

use loaner::hub::ice::{IceConfig, IceConfigError, Secret, TurnAuth, TurnServer};

use super::exit::{Exit, Failure};

/// Where the TURN secret itself may be, for those who keep secrets in the environment. There is no flag for it: every
/// process of a machine can read the command lines of the others.
const TURN_SECRET: &str = "LOANER_TURN_SECRET";

/// Bytes of a file with a secret, at most.
const MAX_SECRET_BYTES: u64 = 4096;

/// What the flags say; errors teach what is missing.
pub fn ice(
    stun: Vec<String>,
    turn: Vec<String>,
    secret_file: Option<&Path>,
) -> Result<IceConfig, Failure> {
    let secret = match secret_file {
        Some(path) => Some(read_secret(path)?),
        None => std::env::var(TURN_SECRET)
            .ok()
            .filter(|secret| !secret.is_empty()),
    };
    let turn = match (turn, secret) {
        (urls, None) if urls.is_empty() => Vec::new(),
        (urls, Some(_)) if urls.is_empty() => {
            return Err(Failure::say(
                Exit::Usage,
                "there is a TURN secret but no TURN server: give --turn-server turn:HOST:PORT too",
            ));
        }
        (_, None) => {
            return Err(Failure::say(
                Exit::Usage,
                "--turn-server needs the secret that the hub and the TURN server share: give --turn-secret-file FILE \
                 (coturn has it as static-auth-secret, beside use-auth-secret)",
            ));
        }
        // One entry each, so that a peer that cannot use one address still takes the others.
        (urls, Some(secret)) => urls
            .into_iter()
            .map(|url| TurnServer {
                urls: vec![url],
                auth: TurnAuth::Shared {
                    secret: Secret::new(&*secret),
                    lifetime: TurnServer::LIFETIME,
                },
            })
            .collect(),
    };
    let config = IceConfig { stun, turn };
    config
        .check()
        .map_err(|error: IceConfigError| Failure::new(Exit::Usage, error))?;
    Ok(config)
}

/// The secret in a file, without the line's end. What is in the file is never said.
fn read_secret(path: &Path) -> Result<String, Failure> {
    let refused = |why: String| {
        let file = path.display();
        Failure::say(
            Exit::Usage,
            format!("the TURN secret cannot be read from {file}: {why}"),
        )
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(refused("the file is too long for a secret".to_owned()));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    match secret {
        "" => Err(refused("the file is empty".to_owned())),
        secret if secret.contains(['\r', '\n']) => Err(refused(
            "it has several lines; the secret alone was expected".to_owned(),
        )),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn refusal(stun: &[&str], turn: &[&str], secret: Option<&Path>) -> String {
        let failure = ice(strings(stun), strings(turn), secret).expect_err("a refusal");
        assert_eq!(failure.exit, Exit::Usage);
        failure.message()
    }

    #[test]
    fn a_secret_is_a_line_in_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secret");
        std::fs::write(&file, "hush\r\n").expect("written");
        assert!(read_secret(&file).is_ok_and(|secret| secret == "hush"));
        let long = "x".repeat(5000);
        for (text, expected) in [
            ("\n", "empty"),
            ("a\nb\n", "several lines"),
            (&*long, "too long"),
        ] {
            std::fs::write(&file, text).expect("written");
            let message = refusal(&[], &["turn:h"], Some(&file));
            assert!(message.contains(expected), "{message}");
        }
        let message = refusal(&[], &["turn:h"], Some(&dir.path().join("none")));
        assert!(message.contains("No such file"), "{message}");
    }

    #[test]
    fn what_does_not_go_together_is_said_with_its_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secret");
        std::fs::write(&file, "hush").expect("written");
        for (message, expected) in [
            (refusal(&["turn:h"], &[], None), "--turn-server"),
            (refusal(&["stun//h"], &[], None), "turn:turn.example:3478"),
            (refusal(&[], &["turn:h"], None), "--turn-secret-file"),
            (refusal(&[], &[], Some(&file)), "--turn-server"),
            (refusal(&[], &["stun:h"], Some(&file)), "--ice-server"),
            (refusal(&[], &["turn:h:99999"], Some(&file)), "1 to 65535"),
        ] {
            assert!(
                message.contains(expected) && !message.contains("hush"),
                "{message}"
            );
        }
        let config = ice(
            strings(&["stun:h"]),
            strings(&["turn:h", "turns:h"]),
            Some(&file),
        );
        assert!(config.is_ok_and(|config| config.stun.len() == 1 && config.turn.len() == 2));
    }
}
