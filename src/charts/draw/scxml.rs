//! A chart as State Chart XML (W3C Recommendation of 1 September 2015).
//!
//! An event carries what a guard sees in it as `_event.data.guard`. Effects go to the session that invoked the chart,
//! as events to `#_parent`; timers are delayed events. The effects of leaving and entering states stand on the
//! transitions themselves, in the order in which they are performed. An ignored event is a transition that goes nowhere
//! and logs the reason.

use super::model::{Child, Model, Rule};
use super::text::xml;
use crate::charts::explore::{Deed, time};
use crate::charts::machine::Bound;

/// Writes the chart as an SCXML document.
pub(super) fn scxml(model: &Model) -> String {
    let seen = model.seen;
    let initial = seen.starts.first().copied().unwrap_or_default();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- {} -->\n\
         <scxml xmlns=\"http://www.w3.org/2005/07/scxml\" version=\"1.0\" datamodel=\"ecmascript\" name=\"{}\" initial=\"{}\">\n",
        // Two hyphens would end the comment.
        xml(seen.about).replace("--", "- -"),
        xml(seen.name),
        xml(initial)
    );
    children(model, None, 1, &mut text);
    text.push_str("</scxml>\n");
    text
}

fn children(model: &Model, parent: Option<usize>, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for child in model.children(parent) {
        match child {
            Child::State(number) => {
                let spec = &model.seen.states[number].spec;
                if spec.bound == Bound::Final {
                    text.push_str(&format!("{indent}<final id=\"{}\"/>\n", xml(spec.name)));
                    continue;
                }
                text.push_str(&format!("{indent}<state id=\"{}\">\n", xml(spec.name)));
                transitions(model, spec.name, depth + 1, text);
            }
            Child::Group(group) => {
                let name = model.groups[group].name;
                text.push_str(&format!("{indent}<state id=\"{}\">\n", xml(name)));
                transitions(model, name, depth + 1, text);
                children(model, Some(group), depth + 1, text);
            }
        }
        text.push_str(&format!("{indent}</state>\n"));
    }
}

/// The transitions of one state or superstate. The first one whose condition holds is taken, so guarded ones come first.
fn transitions(model: &Model, source: &str, depth: usize, text: &mut String) {
    let ignored = model.ignored();
    for guarded in [true, false] {
        for rule in &model.rules {
            if rule.source == source && rule.guard.is_empty() != guarded {
                open(&rule.event, rule.guard, rule.target, depth, text);
                content(rule, depth + 1, text);
                close(depth, text);
            }
        }
        for one in &ignored {
            if one.source == source && one.guard.is_empty() != guarded {
                open(one.event, one.guard, None, depth, text);
                text.push_str(&format!(
                    "{}<log label=\"ignored\" expr=\"{}\"/>\n",
                    "  ".repeat(depth + 1),
                    xml(&quoted(one.reason))
                ));
                close(depth, text);
            }
        }
    }
}

fn open(event: &str, guard: &str, target: Option<&str>, depth: usize, text: &mut String) {
    let condition = if guard.is_empty() {
        String::new()
    } else {
        let condition = format!("_event.data.guard == {}", quoted(guard));
        format!(" cond=\"{}\"", xml(&condition))
    };
    let target = target.map_or(String::new(), |to| format!(" target=\"{}\"", xml(to)));
    text.push_str(&format!(
        "{}<transition event=\"{}\"{condition}{target}>\n",
        "  ".repeat(depth),
        token(event)
    ));
}

fn close(depth: usize, text: &mut String) {
    text.push_str(&format!("{}</transition>\n", "  ".repeat(depth)));
}

/// What a transition does. Cancelling a timer that does not run does nothing, so every state's timers can be cancelled.
fn content(rule: &Rule, depth: usize, text: &mut String) {
    for deed in &rule.effects {
        text.push_str(&executable(deed, depth));
    }
    if let Some(timers) = rule.stopped() {
        for timer in timers {
            let timer = timer.to_owned();
            text.push_str(&executable(&Deed::Stop { timer }, depth));
        }
        return;
    }
    let indent = "  ".repeat(depth);
    for (state, deeds) in &rule.besides {
        let condition = format!("In({})", quoted(state));
        text.push_str(&format!("{indent}<if cond=\"{}\">\n", xml(&condition)));
        for deed in deeds {
            text.push_str(&executable(deed, depth + 1));
        }
        text.push_str(&format!("{indent}</if>\n"));
    }
}

fn executable(deed: &Deed, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match deed {
        Deed::Start { timer, least, most } => {
            let id = token(timer);
            let range = if least == most {
                String::new()
            } else {
                format!("{indent}<!-- from {} -->\n", time(*least))
            };
            format!(
                "{indent}<cancel sendid=\"{id}\"/>\n{range}{indent}<send id=\"{id}\" event=\"{}\" delay=\"{}ms\"/>\n",
                token(&format!("{timer} fires")),
                most.as_millis()
            )
        }
        Deed::Stop { timer } => format!("{indent}<cancel sendid=\"{}\"/>\n", token(timer)),
        Deed::Act(act) => format!(
            "{indent}<send target=\"#_parent\" event=\"{}\"/>\n",
            token(act)
        ),
    }
}

/// Words as one token, as event names must be.
fn token(words: &str) -> String {
    let parts = words.split(|c: char| !c.is_alphanumeric());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("_")
}

/// A string of ECMAScript.
fn quoted(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                literal.push('\\');
                literal.push(c);
            }
            c if c.is_control() => literal.push(' '),
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_tokens_and_strings() {
        assert_eq!(token("reject job: incompatible"), "reject_job_incompatible");
        assert_eq!(quoted("it's \\ here"), "'it\\'s \\\\ here'");
    }
}
