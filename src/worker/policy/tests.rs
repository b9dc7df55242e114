#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;
use crate::worker::jobs::manifest::Terms;
use crate::worker::jobs::plan::Step;

fn plan(kind: PlanKind, argv: &[&str], env: &[&str]) -> Plan {
    Plan {
        steps: vec![Step {
            name: "job".into(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: env
                .iter()
                .map(|name| ((*name).to_owned(), "1".to_owned()))
                .collect(),
            trainer: false,
        }],
        outputs: vec![PathBuf::from("models")],
        terms: Terms::default(),
        kind,
    }
}

fn command(argv: &[&str]) -> Plan {
    plan(PlanKind::Command, argv, &[])
}

fn who(room: &str, user: &str) -> Asker {
    Asker {
        room: room.to_owned(),
        user: user.to_owned(),
    }
}

fn refusal(policy: &Policy, plan: &Plan, asker: &Asker) -> String {
    policy.check(plan, asker).unwrap_err().to_string()
}

/// Without a file: the recipe runs, a command does not, and it is told what would change that.
#[test]
fn the_default() {
    let policy = Policy::recipes_only();
    let recipe = plan(PlanKind::Training, &["sleap-nn"], &[]);
    assert_eq!(
        policy.check(&recipe, &Asker::default()),
        Ok(Grant::default())
    );
    let told = refusal(
        &policy,
        &command(&["python", "train.py"]),
        &Asker::default(),
    );
    assert!(
        told.contains("ask its owner to start it with --allow-commands"),
        "{told}"
    );
    assert!(
        told.contains("[[allow]] command = [\"python\", \"train.py\"]"),
        "{told}"
    );
    let all = Policy::all_commands();
    assert!(all.check(&recipe, &Asker::default()).is_ok());
    assert!(
        all.check(
            &plan(PlanKind::Command, &["x"], &["PATH"]),
            &Asker::default()
        )
        .is_ok()
    );
}

/// What a pattern matches, word by word.
#[test]
fn patterns_of_commands() {
    for (pattern, matching, others) in [
        (
            r#"["python", "train.py"]"#,
            "python train.py",
            vec![
                "python", "python train.py x", "python3 train.py", "/tmp/python train.py",
            ],
        ),
        (
            r#"["python", "train.py", "*"]"#,
            "python train.py --epochs=/1",
            vec!["python train.py", "python train.py a b"],
        ),
        (
            r#"["python*", "train.py", "**"]"#,
            "python3.12 train.py a b c",
            vec!["python/x train.py", "python3 -c train.py"],
        ),
        (
            r#"["python*", "train.py", "**"]"#,
            "python train.py",
            vec!["python"],
        ),
        (
            r#"["./run", "data/*"]"#,
            "./run data/x",
            vec!["./run data/../../etc", "run data/x"],
        ),
        (r#"["*", "**"]"#, "anything at all", vec![]),
        (r#"["a", "{x,y}"]"#, "a y", vec!["a z", "a {x,y}"]),
        (r#"["a", "[*]"]"#, "a *", vec!["a b"]),
    ] {
        let policy = Policy::parse(&format!("[[allow]]\ncommand = {pattern}\n")).unwrap();
        let allowed = |line: &str| {
            let argv: Vec<&str> = line.split(' ').collect();
            policy.check(&command(&argv), &Asker::default()).is_ok()
        };
        assert!(allowed(matching), "{pattern}: {matching}");
        for other in others {
            assert!(!allowed(other), "{pattern}: {other}");
        }
    }
}

/// What is refused is told as the rule that would allow just that.
#[test]
fn a_refusal_quotes_the_rule_that_is_missing() {
    let policy = Policy::parse("[[allow]]\nrecipe = \"sleap\"\n").unwrap();
    for argv in [
        &[
            "python", "train.py", "--name=a b", "say \"x\"", "*", "[a]", "{b}", "back\\slash",
        ][..],
        &["x"],
    ] {
        let plan = plan(PlanKind::Command, argv, &["A", "B_C"]);
        let told = refusal(&policy, &plan, &Asker::default());
        let (_, wanted) = told.split_once("ask its owner to add: [[allow]] ").unwrap();
        let (rule, env) = wanted.split_once(", set_env").unwrap();
        let text = format!("[[allow]]\n{rule}\nset_env{env}\n");
        let policy = Policy::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(policy.check(&plan, &Asker::default()).is_ok(), "{text}");
    }
    let recipe = plan(PlanKind::Training, &["sleap-nn"], &[]);
    let told = refusal(&Policy::parse("").unwrap(), &recipe, &Asker::default());
    assert!(
        told.ends_with("ask its owner to add: [[allow]] recipe = \"sleap\""),
        "{told}"
    );
}

/// Rules are for rooms and users; where both are given, for those users in those rooms.
#[test]
fn by_room_and_user() {
    let policy = Policy::parse(
        "[[allow]]\ncommand = [\"a\"]\nrooms = [\"r1\", \"r2\"]\nusers = [\"ann\"]\n\
         [[allow]]\ncommand = [\"b\"]\nusers = []\n[[allow]]\nrecipe = \"sleap\"\nusers = [\"bob\"]\n",
    )
    .unwrap();
    for (room, user, allowed) in [
        ("r1", "ann", true),
        ("r2", "ann", true),
        ("r3", "ann", false),
        ("r1", "bob", false),
    ] {
        assert_eq!(
            policy.check(&command(&["a"]), &who(room, user)).is_ok(),
            allowed,
            "{room} {user}"
        );
    }
    assert!(
        policy.check(&command(&["b"]), &who("r1", "ann")).is_err(),
        "nobody"
    );
    let recipe = plan(PlanKind::Training, &["sleap-nn"], &[]);
    assert!(policy.check(&recipe, &who("r", "bob")).is_ok());
    assert!(policy.check(&recipe, &who("r", "ann")).is_err());
}

/// A job sets only variables that its rule names: others could choose another program than the rule means.
#[test]
fn variables_are_allowed_by_name() {
    let policy = Policy::parse(
        "env = [\"HF_HOME\"]\n[[allow]]\ncommand = [\"a\"]\n[[allow]]\ncommand = [\"a\"]\nset_env = [\"EPOCHS\", \"LR_*\"]\ntime_limit = \"1m\"\n",
    )
    .unwrap();
    let check =
        |env: &[&str]| policy.check(&plan(PlanKind::Command, &["a"], env), &Asker::default());
    assert_eq!(
        check(&[]).unwrap().time_limit,
        None,
        "the first rule counts"
    );
    let grant = check(&["EPOCHS", "LR_MAX"]).unwrap();
    assert_eq!(grant.time_limit, Some(Duration::from_secs(60)));
    assert_eq!(grant.pass_env, ["HF_HOME"]);
    let told = check(&["EPOCHS", "LD_PRELOAD"]).unwrap_err().to_string();
    assert!(
        told.contains("set_env = [\"EPOCHS\", \"LD_PRELOAD\"]"),
        "{told}"
    );
}

/// Tunnels are denied unless a rule is for the room and the user, and what is denied quotes the rule that would allow it.
#[tokio::test]
async fn tunnels_by_room_and_user() {
    let policy = Policy::parse(
        "[[tunnel]]\nto = [\"localhost:8888\"]\nrooms = [\"r1\"]\n\
         [[tunnel]]\nto = [\"127.0.0.1:22\", \"10.0.0.5:*\"]\nusers = [\"ann\"]\n",
    )
    .unwrap();
    for (room, user, host, port, allowed) in [
        ("r1", "bob", "localhost", 8888, true),
        ("r2", "ann", "localhost", 8888, false),
        ("r1", "ann", "localhost", 22, true),
        ("r2", "ann", "10.0.0.5", 1, true),
        ("r1", "bob", "localhost", 22, false),
    ] {
        let list = policy.tunnels(&who(room, user));
        let found = list.addresses(host, port).await;
        assert_eq!(found.is_ok(), allowed, "{room} {user} {host}:{port}");
    }
    let list = policy.tunnels(&who("r2", "bob"));
    let told = list
        .addresses("localhost", 8888)
        .await
        .unwrap_err()
        .to_string();
    let (said, rule) = told.split_once("[[tunnel]] ").unwrap();
    assert!(
        said.contains(
            "this worker's policy does not allow you tunnels to localhost:8888; ask its owner"
        ),
        "{told}"
    );
    let policy = Policy::parse(&format!("[[tunnel]]\n{rule}\n")).unwrap();
    let list = policy.tunnels(&Asker::default());
    assert!(list.addresses("localhost", 8888).await.is_ok());
    for policy in [Policy::recipes_only(), Policy::all_commands()] {
        let list = policy.tunnels(&Asker::default());
        let told = list
            .addresses("127.0.0.1", 8888)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("this worker allows no tunnels") && told.contains("--policy"),
            "{told}"
        );
    }
}

/// Of what is asked and what is allowed, the least is granted; of GPU memory, none above the rule's.
#[test]
fn limits() {
    let policy = Policy::parse(
        "[[allow]]\ncommand = [\"a\"]\ntime_limit = \"1h\"\ngpu_memory = \"8 GB\"\ndisk = \"1 GB\"\n",
    )
    .unwrap();
    let mut plan = command(&["a"]);
    let grant = policy.check(&plan, &Asker::default()).unwrap();
    assert_eq!(
        (grant.time_limit, grant.disk),
        (Some(Duration::from_secs(3600)), Some(1_000_000_000))
    );
    plan.terms.resources = Resources {
        gpu_memory: Some(8_000_000_000),
        time_limit: Some(Duration::from_secs(60)),
        disk: Some(2_000_000_000),
    };
    let grant = policy.check(&plan, &Asker::default()).unwrap();
    assert_eq!(
        (grant.time_limit, grant.disk),
        (Some(Duration::from_secs(60)), Some(1_000_000_000))
    );
    plan.terms.resources.gpu_memory = Some(9_000_000_000);
    let told = refusal(&policy, &plan, &Asker::default());
    assert!(
        told.contains("asks for 9000 MB") && told.contains("at most 8000 MB"),
        "{told}"
    );
}

/// Mistakes are told with line and column.
#[test]
fn mistakes_are_told_with_their_place() {
    for (text, line, column, part) in [
        ("[[alow]]\n", 1, 3, "did you mean `allow`?"),
        (
            "[[allow]]\nrooms = [\"a\"]\n", 1, 1, "a rule needs a recipe or a command",
        ),
        (
            "\n[[allow]]\nrecipe = \"sleep\"\n", 3, 10, "there is no recipe \"sleep\"",
        ),
        (
            "[[allow]]\nrecipe = \"sleap\"\n[[allow]]\nrecipe = \"sleap\"\ncommand = [\"a\"]\n",
            3,
            1,
            "make two rules",
        ),
        ("[[allow]]\ncommand = \"a\"\n", 2, 11, "expected a sequence"),
        ("[[allow]]\ncommand = []\n", 2, 11, "needs a program"),
        ("[[allow]]\ncommand = [\"**\"]\n", 2, 11, "needs a program"),
        (
            "[[allow]]\ncommand = [\"a\", \"**\", \"b\"]\n",
            2,
            11,
            "only at its end",
        ),
        (
            "[[allow]]\ncommand = [\"a\", \"[\"]\n", 2, 11, "is no pattern",
        ),
        (
            "[[allow]]\ncommand = [\"a\"]\nuser = [\"ann\"]\n",
            3,
            1,
            "did you mean `users`?",
        ),
        (
            "[[allow]]\ncommand = [\"a\"]\ntime_limit = \"x\"\n",
            3,
            14,
            "is no time",
        ),
        (
            "[[allow]]\nrecipe = \"sleap\"\nset_env = [\"A\"]\n",
            1,
            1,
            "leave set_env out",
        ),
        ("env = [\"A=B\"]\n", 1, 7, "no name of a variable"),
        (
            "[[tunnel]]\nrooms = [\"a\"]\n", 1, 1, "a tunnel needs places",
        ),
        ("\n[[tunnel]]\nto = []\n", 2, 1, "a tunnel needs places"),
        (
            "[[tunnel]]\nto = [\"localhost:8888\",\n  \"localhost\"]\n",
            3,
            3,
            "has no host and port",
        ),
        (
            "[[tunnel]]\nto = [\"a:1\"]\nuser = [\"ann\"]\n",
            3,
            1,
            "did you mean `users`?",
        ),
    ] {
        let error = Policy::parse(text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}: {error}"
        );
    }
}
