//! A chart as a Mermaid `stateDiagram-v2`.

use super::model::{Arrow, Child, Model};

/// Draws the chart in Mermaid's language.
pub(super) fn mermaid(model: &Model) -> String {
    let mut text = "stateDiagram-v2\n    direction TB\n".to_owned();
    children(model, None, 1, &mut text);
    for start in &model.seen.starts {
        text.push_str(&format!("    [*] --> {start}\n"));
    }
    for arrow in model.arrows() {
        // Mermaid cannot lay out an arrow from a composite state to a state in it: each of the others gets its own.
        let inside: Vec<&str> = model.members(arrow.source).collect();
        if inside.contains(&arrow.target) {
            for member in inside.into_iter().filter(|member| *member != arrow.target) {
                transition(member, &arrow, &mut text);
            }
        } else {
            transition(arrow.source, &arrow, &mut text);
        }
    }
    for state in &model.seen.states {
        if model.is_final(state.spec.name) {
            text.push_str(&format!("    {} --> [*]\n", state.spec.name));
        }
    }
    text
}

fn children(model: &Model, parent: Option<usize>, depth: usize, text: &mut String) {
    let indent = "    ".repeat(depth);
    for child in model.children(parent) {
        match child {
            Child::State(number) => {
                text.push_str(&format!(
                    "{indent}{}\n",
                    model.seen.states[number].spec.name
                ));
            }
            Child::Group(group) => {
                text.push_str(&format!("{indent}state {} {{\n", model.groups[group].name));
                children(model, Some(group), depth + 1, text);
                text.push_str(&format!("{indent}}}\n"));
            }
        }
    }
}

fn transition(source: &str, arrow: &Arrow, text: &mut String) {
    let causes: Vec<String> = (arrow.causes.iter())
        .map(|cause| {
            if cause.guard.is_empty() {
                escape(cause.event)
            } else {
                format!("{} [{}]", escape(cause.event), escape(cause.guard))
            }
        })
        .collect();
    text.push_str(&format!(
        "    {source} --> {}: {}\n",
        arrow.target,
        causes.join("<br/>")
    ));
}

/// Escapes what has a meaning in Mermaid's labels, as its character entities.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' | ';' | ':' | '<' | '>' | '"' | '&' | '{' | '}' => {
                escaped.push_str(&format!("#{};", u32::from(c)));
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_has_a_meaning_in_mermaid_is_escaped() {
        assert_eq!(escape("a: b; <c> #d"), "a#58; b#59; #60;c#62; #35;d");
    }
}
