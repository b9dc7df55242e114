//! Log text that no peer can take for a control message.

use std::borrow::Cow;

use super::TOKENS;

/// An invisible character without width at which no line is broken.
const WORD_JOINER: char = '\u{2060}';

/// The keep-alive is binary, but a peer that looks for its letters in text should not find them either.
const KEEP_ALIVE_TEXT: &str = "KEEP_ALIVE";

/// Makes forwarded log text harmless to peers that look for control tokens anywhere in a text (protocol page,
/// section 4.1): each token that occurs in it gets a U+2060 WORD JOINER after its first character. The text looks the
/// same, and is the same again once the joiners are taken out. Text without tokens is returned as it is.
pub fn log_text(line: &str) -> Cow<'_, str> {
    let mut broken = String::new();
    let mut copied = 0;
    for (start, byte) in line.bytes().enumerate() {
        // Tokens are made of capitals; this spares most positions the comparisons, and is a character boundary.
        if byte.is_ascii_uppercase() && begins_with_token(&line[start..]) {
            broken.push_str(&line[copied..=start]);
            broken.push(WORD_JOINER);
            copied = start + 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(line);
    }
    broken.push_str(&line[copied..]);
    Cow::Owned(broken)
}

fn begins_with_token(text: &str) -> bool {
    TOKENS.iter().any(|token| text.starts_with(token)) || text.starts_with(KEEP_ALIVE_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ChannelText;
    use proptest::prelude::*;

    fn all_tokens() -> impl Iterator<Item = &'static str> {
        TOKENS.iter().copied().chain([KEEP_ALIVE_TEXT])
    }

    #[test]
    fn ordinary_text_is_not_touched() {
        for line in [
            "", "epoch 3: loss 0.25\n", "\rÉpoque ☃ 10%", "END OF FILE", "FILE META", "end_of_file",
        ] {
            assert!(
                matches!(log_text(line), Cow::Borrowed(same) if same == line),
                "{line}"
            );
        }
    }

    #[test]
    fn tokens_are_broken_wherever_they_stand() {
        assert_eq!(log_text("END_OF_FILE"), "E\u{2060}ND_OF_FILE");
        assert_eq!(
            log_text("é FILE_META::a:1:x\n"),
            "é F\u{2060}ILE_META::a:1:x\n"
        );
        assert_eq!(log_text("xKEEP_ALIVEx"), "xK\u{2060}EEP_ALIVEx");
        assert_eq!(
            log_text("TRAINING_JOBS_DONETRAINING_COMPLETE"),
            "T\u{2060}RAINING_JOBS_DONET\u{2060}RAINING_COMPLETE"
        );
        // One token inside of another's end.
        assert_eq!(
            log_text("SHARED_STORAGE_JOB_ID"),
            "S\u{2060}HARED_STORAGE_J\u{2060}OB_ID"
        );
    }

    #[test]
    fn a_broken_token_is_log_text_to_us() {
        for token in all_tokens() {
            let text = log_text(token).into_owned();
            assert_eq!(ChannelText::parse(&text), Ok(ChannelText::Log(text)));
        }
    }

    /// Text with whole tokens, parts of tokens, and anything in between.
    fn text_of_tokens() -> impl Strategy<Value = String> {
        let token = proptest::sample::select(all_tokens().collect::<Vec<_>>());
        let piece = prop_oneof![
            3 => token.clone().prop_map(str::to_owned),
            1 => (token, any::<proptest::sample::Index>()).prop_map(|(token, at)| token[..at.index(token.len())].to_owned()),
            1 => "[:A-Z_]{0,3}",
            1 => any::<String>(),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_token_is_left_and_nothing_else_changes(text in prop_oneof![text_of_tokens(), any::<String>()]) {
            let text = text.replace(WORD_JOINER, "");
            let harmless = log_text(&text).into_owned();
            for token in all_tokens() {
                prop_assert!(!harmless.contains(token), "{token} in {harmless:?}");
            }
            prop_assert_eq!(log_text(&harmless), harmless.as_str());
            prop_assert_eq!(harmless.replace(WORD_JOINER, ""), text);
        }
    }
}
