#![allow(clippy::unwrap_used)]

use std::time::Duration;

use strum::IntoEnumIterator as _;

use super::*;
use crate::charts::explore::{Deed, Row, Seen, TimerUse};
use crate::charts::machine::{Bound, StateSpec};
use crate::wire::close::CloseCode;

const CHARTS: [&str; 10] = [
    "session", "availability", "peer", "ice_watchdog", "keep_alive", "job", "transfer",
    "submission", "hub_connection", "tunnel",
];
/// The index and the close codes.
const OTHER_PAGES: usize = 2;

fn seen_all() -> Vec<Exploration> {
    Explorer::run(None).seen
}

/// Two states in a superstate and a final one, with names that every format has to escape.
fn awkward() -> Exploration {
    let state = |name, bound, ancestors: &[&'static str]| Seen {
        spec: StateSpec {
            name,
            about: "Less < more & \"so\" | on.",
            bound,
        },
        ancestors: ancestors.to_vec(),
        timers: Vec::new(),
    };
    let row = |state, event: &str, decided_by, target, effects| Row {
        state,
        event: event.to_owned(),
        timed: false,
        guard: "a < b & 'c' -- \"d\"",
        decided_by,
        target,
        effects,
        ignored: None,
    };
    let stop = |timer: &str| Deed::Stop {
        timer: timer.to_owned(),
    };
    let act = |text: &str| Deed::Act(text.to_owned());
    let second = Duration::from_secs(1);
    let ignored = Row {
        ignored: Some("it's <nothing>"),
        guard: "otherwise",
        ..row("one", "go <now>", "one", None, Vec::new())
    };
    Exploration {
        name: "awkward",
        about: "A chart -- with <odd> names & \"quotes\".",
        starts: vec!["one"],
        states: vec![
            state("one", Bound::Timer("Wait"), &["both"]),
            state("two", Bound::Open("why | not"), &["both"]),
            state("end", Bound::Final, &[]),
        ],
        timers: vec![TimerUse {
            id: "Wait".to_owned(),
            name: "wait".to_owned(),
            bounds: Some((second, 2 * second)),
        }],
        rows: vec![
            row(
                "one",
                "go <now>",
                "one",
                Some("two"),
                vec![act("say <hi> & bye")],
            ),
            row(
                "one",
                "over",
                "both",
                Some("end"),
                vec![stop("wait"), act("bow")],
            ),
            row(
                "two",
                "over",
                "both",
                Some("end"),
                vec![act("bow"), act("weep")],
            ),
            ignored,
        ],
        findings: Vec::new(),
        configurations: 3,
        tried: 6,
    }
}

/// Reads XML as far as to know that it is well formed: tags match, attributes are quoted, nothing is unescaped.
/// Returns the names of the elements in the order of their beginnings.
fn well_formed(xml: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        entities(&rest[..at])?;
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            let end = comment.find("--").ok_or("a comment does not end")?;
            if !comment[end..].starts_with("-->") {
                return Err(format!("two hyphens in a comment: {comment}"));
            }
            rest = &comment[end + 3..];
            continue;
        }
        let end = rest.find('>').ok_or("a tag does not end")?;
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('?') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> ends nothing"));
            }
            continue;
        }
        let (tag, empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let parts: Vec<&str> = attributes.split('"').collect();
        let last = parts.last().is_none_or(|last| last.trim().is_empty());
        if parts.len().is_multiple_of(2) || !last || tag.contains('<') {
            return Err(format!("quotes in <{tag}>"));
        }
        for pair in parts.chunks_exact(2) {
            if !pair[0].ends_with('=') {
                return Err(format!("attributes of <{tag}>"));
            }
            entities(pair[1])?;
        }
        names.push(name.to_owned());
        if !empty {
            open.push(name.to_owned());
        }
    }
    match open.pop() {
        Some(name) => Err(format!("<{name}> does not end")),
        None if rest.trim().is_empty() => Ok(names),
        None => Err(format!("text after the end: {rest}")),
    }
}

fn entities(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        if !known.iter().any(|entity| text[at..].starts_with(entity)) {
            return Err(format!("a bare & in: {text}"));
        }
    }
    Ok(())
}

#[test]
fn the_check_for_well_formed_xml_finds_what_is_not() {
    for bad in [
        "<a><b></a></b>", "<a>", "<a x=\"1\" y=2/>", "<a x=\"1/>", "<a>&</a>", "<a/> text",
        "<!-- a -- b --><a/>",
    ] {
        assert!(well_formed(bad).is_err(), "{bad}");
    }
    assert_eq!(
        well_formed("<a x=\"&lt;\"><b/>&amp;</a>").unwrap(),
        ["a", "b"]
    );
}

#[test]
fn pictures_and_scxml_are_well_formed_and_name_every_state() {
    let mut all = seen_all();
    assert_eq!(all.len(), CHARTS.len());
    all.push(awkward());
    for seen in &all {
        for format in [Format::Svg, Format::Scxml] {
            let text = show(format, seen);
            let names = well_formed(&text).unwrap_or_else(|e| panic!("{}: {e}", seen.name));
            let root = if format == Format::Svg {
                "svg"
            } else {
                "scxml"
            };
            assert_eq!(names.first().map(String::as_str), Some(root));
        }
        let (svg, scxml) = (show(Format::Svg, seen), show(Format::Scxml, seen));
        let (mermaid, page) = (show(Format::Mermaid, seen), show(Format::Pages, seen));
        for state in &seen.states {
            let name = state.spec.name;
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
            assert!(scxml.contains(&format!(" id=\"{name}\"")), "{name}");
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
            let lines = || mermaid.lines().map(str::trim);
            assert!(lines().any(|line| line == name), "{name}");
            for outer in &state.ancestors {
                assert!(svg.contains(&format!(">{outer}</text>")), "{outer}");
                assert!(scxml.contains(&format!("<state id=\"{outer}\"")), "{outer}");
                assert!(lines().any(|line| line == format!("state {outer} {{")));
            }
        }
    }
}

#[test]
fn nothing_lies_on_anything_else_in_the_real_pictures_and_they_fit_a_page() {
    for seen in seen_all() {
        let model = Model::of(&seen);
        let picture = picture::Picture::of(&model);
        layout::tests::check(&picture.graph, &picture.layout)
            .unwrap_or_else(|broken| panic!("{}: {broken}", seen.name));
        assert!(
            layout::tests::titles_are_free(&picture.layout),
            "{}",
            seen.name
        );
        assert!(picture.layout.width <= 1100.0, "{} is too wide", seen.name);
    }
}

#[test]
fn special_characters_are_escaped() {
    let seen = awkward();
    let scxml = show(Format::Scxml, &seen);
    assert!(
        scxml.contains("cond=\"_event.data.guard == 'a &lt; b &amp; \\'c\\' -- &quot;d&quot;'\"")
    );
    assert!(scxml.contains("expr=\"'it\\'s &lt;nothing&gt;'\""));
    assert!(scxml.contains("A chart - - with"));
    assert!(show(Format::Svg, &seen).contains("go &lt;now&gt;"));
    assert!(show(Format::Mermaid, &seen).contains("one --> two: go #60;now#62; [a #60; b"));
    let page = show(Format::Pages, &seen);
    assert!(page.contains("why \\| not"));
    assert!(page.contains("say &lt;hi> &amp; bye"));
}

#[test]
fn what_a_superstate_decides_stands_once_with_what_differs_by_state() {
    let seen = awkward();
    let page = show(Format::Pages, &seen);
    assert_eq!(page.matches("| over").count(), 1);
    let row = "| any in *both*: `one`, `two` | over | → `end` | bow, from `one`: stop wait, from `two`: weep |";
    assert!(page.contains(row), "{page}");
    let scxml = show(Format::Scxml, &seen);
    assert_eq!(scxml.matches("event=\"over\"").count(), 1);
    assert!(scxml.contains("<if cond=\"In('one')\">"));
}

#[test]
fn what_a_reader_of_the_pages_looks_for_is_there() {
    let page = render(Format::Pages, Some("availability")).unwrap();
    for row in [
        "| `reserved` | `serving`, `held`, `leased` | Kept for its holder, for the length of the lease. | **60 s** (lease) |",
        "| lease | 60 s | `reserved`, `draining_reserved` |",
        "|  | lease fires | → `available` | release holder, publish available, stop lease |",
        "|  | lease fires | → `leaving` | release holder, publish busy (draining), drained, stop lease, start hang up 30 s |",
        "| any in *serving*: `available`, `reserved`, `busy`, `draining_reserved`, `draining_busy`, `leaving` | shutdown | → `shutting\\_down` | stop lease if it runs, stop hang up if it runs |",
        "| another job ended, not the current one | `working`: job ended |",
    ] {
        let row = row.replace("`shutting\\_down`", "`shutting_down`");
        assert!(page.contains(&row), "{row}\n{page}");
    }
    let mermaid = render(Format::Mermaid, Some("ice_watchdog")).unwrap();
    assert!(mermaid.contains("suspect --> reset: patience fires\n"));
    let scxml = render(Format::Scxml, Some("keep_alive")).unwrap();
    assert!(scxml.contains("<send id=\"beat\" event=\"beat_fires\" delay=\"15000ms\"/>"));
}

#[test]
fn every_close_code_stands_on_its_page_and_the_index_leads_there() {
    let files = files();
    let text = |name: &str| &files.iter().find(|(file, _)| file == name).unwrap().1;
    let page = text("close-codes.md");
    for code in CloseCode::iter() {
        let begin = format!("| {} | `{}` | ", code.code(), code.as_ref());
        let row = page.lines().find(|line| line.starts_with(&begin)).unwrap();
        assert!(row.ends_with(&format!(" | {} |", page::cell(code.about()))));
    }
    for row in [
        "| 1011 | `ping_timeout_classic` | keepalive ping timeout | **later** | 2 min |",
        "| 4402 | `token_expired` | token expired | **with new token** | 2 min |",
        "| 4409 | `replaced` | replaced | **never** | no |",
        "| **with new token** | Come back with a new token, not with the old one. |",
    ] {
        assert!(page.contains(row), "{row}\n{page}");
    }
    let numbers: Vec<&str> = (page.lines())
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|cell| cell.parse::<u16>().is_ok())
        .collect();
    assert!(numbers.is_sorted() && numbers.len() == CloseCode::iter().count());
    assert!(text("README.md").contains("](close-codes.md)"));
}

#[test]
fn one_chart_or_all_and_an_unknown_one_is_named() {
    let all = render(Format::Mermaid, None).unwrap();
    assert_eq!(all.matches("stateDiagram-v2").count(), CHARTS.len());
    let one = render(Format::Mermaid, Some("job")).unwrap();
    assert!(all.contains(&one));
    let unknown = render(Format::Svg, Some("jobs")).unwrap_err();
    assert_eq!(unknown.known, CHARTS);
    assert!(
        unknown
            .to_string()
            .starts_with("there is no chart \"jobs\"; there are session, ")
    );
}

#[test]
fn pages_are_the_same_each_time_and_are_left_alone_where_they_are_right() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = write_pages(one.path()).unwrap();
    assert_eq!(written.len(), 2 * CHARTS.len() + OTHER_PAGES);
    write_pages(&other.path().join("new")).unwrap();
    for path in &written {
        let twin = other.path().join("new").join(path.file_name().unwrap());
        assert_eq!(fs::read(path).unwrap(), fs::read(twin).unwrap());
    }
    assert_eq!(check_pages(one.path()), Ok(()));
    assert_eq!(write_pages(one.path()).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_changed_a_missing_and_a_superfluous_file_are_noticed_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    write_pages(dir.path()).unwrap();
    let at = |name: &str| dir.path().join(name);
    let page = fs::read_to_string(at("job.md")).unwrap();
    fs::write(at("job.md"), page.replace("stays", "goes")).unwrap();
    fs::remove_file(at("peer.svg")).unwrap();
    fs::copy(at("session.md"), at("gone.md")).unwrap();
    fs::write(at("notes.md"), "by hand").unwrap();
    let stale = check_pages(dir.path()).unwrap_err();
    let faults: Vec<(PathBuf, Fault)> = (stale.iter())
        .map(|stale| (stale.path.clone(), stale.fault))
        .collect();
    assert_eq!(
        faults,
        [
            (at("job.md"), Fault::Changed),
            (at("peer.svg"), Fault::Missing),
            (at("gone.md"), Fault::Superfluous),
        ]
    );
    assert_eq!(
        stale[1].to_string(),
        format!(
            "{} is missing: run `loaner charts`",
            at("peer.svg").display()
        )
    );
    assert_eq!(
        write_pages(dir.path()).unwrap(),
        [at("gone.md"), at("job.md"), at("peer.svg")]
    );
    assert_eq!(check_pages(dir.path()), Ok(()));
    assert_eq!(fs::read_to_string(at("notes.md")).unwrap(), "by hand");
}

#[test]
fn a_directory_that_is_not_there_lacks_everything() {
    let dir = tempfile::tempdir().unwrap();
    let stale = check_pages(&dir.path().join("nowhere")).unwrap_err();
    assert_eq!(stale.len(), 2 * CHARTS.len() + OTHER_PAGES);
    assert!(stale.iter().all(|stale| stale.fault == Fault::Missing));
}

#[test]
fn a_file_that_somebody_else_wrote_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("README.md"), "another project").unwrap();
    let error = write_pages(dir.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_pages_of_this_repository_are_what_the_code_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("statecharts");
    if let Err(stale) = check_pages(&dir) {
        let stale: Vec<String> = stale.iter().map(Stale::to_string).collect();
        panic!("{}", stale.join("\n"));
    }
}
