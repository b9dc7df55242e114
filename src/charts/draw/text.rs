//! Text in pictures and in XML: how wide it is, where it breaks, and what is escaped.

/// About how wide a text is, in pixels. Measured for a wide face, so that a narrower one fits as well.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let ems: f64 = text.chars().map(em).sum();
    ems * size
}

fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' | '|' => 0.3,
        ' ' | '.' | ',' | ':' | ';' | '!' => 0.36,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.43,
        'm' | 'w' | 'M' | 'W' | '→' | '…' => 0.98,
        'A'..='Z' => 0.7,
        _ => 0.63,
    }
}

/// Breaks a text between words into lines of at most `most` characters; a longer word has a line of its own.
pub(super) fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Escapes what has a meaning in XML, in text and in attributes within double quotes.
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to say these.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_xml_is_escaped() {
        assert_eq!(
            xml("a<b> & \"c\" 'd'\u{0}"),
            "a&lt;b&gt; &amp; &quot;c&quot; 'd' "
        );
    }

    #[test]
    fn lines_break_between_words_only() {
        assert_eq!(
            wrap("job requested [it fits]", 13),
            ["job requested", "[it fits]"]
        );
        assert_eq!(wrap("incomprehensible", 5), ["incomprehensible"]);
        assert_eq!(wrap("", 5), Vec::<String>::new());
    }
}
