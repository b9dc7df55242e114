use std::collections::BTreeMap;

use loaner::status::{Answer, Facts, Path, Told};

use super::{event, line, paragraph, time};

fn tube() -> Facts {
    Facts {
        chart: "tunnel".to_owned(),
        instance: "gpu-box".to_owned(),
        state: "reconnecting".to_owned(),
        doing: "making a new connection".to_owned(),
        attempt: Some(2),
        next_in: Some(12.4),
        next: Some("waiting before the next attempt".to_owned()),
        gives_up_in: Some(580.0),
        then: Some("it is given up".to_owned()),
        ..Facts::default()
    }
}

/// A lost connection is told in one line: what is tried, which attempt, what comes next, and when it is given up.
#[test]
fn a_part_is_one_line() {
    assert_eq!(
        line(&tube()),
        "tunnel gpu-box: reconnecting. Making a new connection. Attempt 2. In 12s: waiting before the next attempt. \
         In 9m 40s: it is given up."
    );
    let details = BTreeMap::from([("peer".to_owned(), "ann".to_owned())]);
    let up = Facts {
        chart: "ice_watchdog".to_owned(),
        state: "quiet".to_owned(),
        doing: "ICE is there.".to_owned(),
        path: Some(Path::Relayed),
        round_trip: Some(0.0123),
        then: Some("nothing follows".to_owned()),
        details,
        ..Facts::default()
    };
    assert_eq!(
        line(&up),
        "ice watchdog: quiet. ICE is there. Relayed, round trip 12.3 ms. Nothing follows. Peer ann."
    );
}

/// What a stranger may have named moves no terminal.
#[test]
fn no_name_moves_the_terminal() {
    let part = Facts {
        instance: "\u{1b}[2J\nx".to_owned(),
        ..tube()
    };
    let shown = line(&part);
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\n'),
        "{shown}"
    );
}

#[test]
fn a_process_is_a_paragraph_or_an_object() {
    let told = Told {
        pid: 7,
        command: "tunnel".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        running: 61.0,
        parts: vec![tube()],
        ..Told::default()
    };
    let answer = Answer {
        pid: 7,
        told: Ok(told),
    };
    let text = paragraph(&answer);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "loaner tunnel (process 7), for 1m 1s:");
    assert!(lines[1].starts_with("  tunnel gpu-box: reconnecting."));
    let json = event(&answer);
    assert_eq!(
        (&json["event"], &json["pid"]),
        (&"status".into(), &7.into())
    );
    assert_eq!(json["parts"][0]["attempt"], 2);
    let silent = Answer {
        pid: 8,
        told: Err("it does not answer"),
    };
    assert_eq!(paragraph(&silent), "Process 8: it does not answer.");
    assert_eq!(event(&silent)["answers"], false);
}

#[test]
fn times_are_said_as_people_say_them() {
    for (seconds, said) in [
        (-1.0, "less than a second"),
        (0.4, "less than a second"),
        (90.9, "1m 30s"),
        (f64::NAN, "less than a second"),
    ] {
        assert_eq!(time(seconds), said);
    }
}
