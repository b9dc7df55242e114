//! Room ids, room tokens, and the comparison of secrets.

use subtle::ConstantTimeEq;

/// Characters of a room token of the original: 24 bits, which can be guessed online.
const CLASSIC: usize = 6;

/// A room id in the original's shape: 8 hexadecimal digits. It is a name, not a secret.
pub(super) fn room_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// A room token: 128 random bits in hexadecimal, or the original's 24 where a hub is told to make them.
pub(super) fn room_token(classic: bool) -> String {
    let token = format!("{:032x}", rand::random::<u128>());
    if classic {
        token[..CLASSIC].to_owned()
    } else {
        token
    }
}

/// Whether a room token has so few bits that it can be guessed.
pub(super) fn is_short(token: &str) -> bool {
    token.len() < 32
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(super) fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The token of an `Authorization` header: `Bearer X` (in any case) or, as the original accepts, a bare `X`.
pub(super) fn bearer(header: &str) -> &str {
    match header.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim(),
        _ => header.trim(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    #[test]
    fn rooms_have_the_classic_shape() {
        let hex = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let (id, token) = (room_id(), room_token(false));
        assert!(id.len() == 8 && hex(&id), "{id}");
        assert!(token.len() == 32 && hex(&token) && !is_short(&token));
        assert_ne!(token, room_token(false));
        let classic = room_token(true);
        assert!(classic.len() == 6 && hex(&classic) && is_short(&classic));
    }

    #[test]
    fn bearer_is_a_prefix_and_optional() {
        assert_eq!(bearer("Bearer abc"), "abc");
        assert_eq!(bearer("bearer abc"), "abc");
        assert_eq!(bearer("abc"), "abc");
        assert_eq!(bearer("Bearer "), "");
        assert_eq!(
            bearer("aBearer bc"),
            "aBearer bc",
            "not merely deleted wherever it stands"
        );
        assert_eq!(bearer("été très"), "été très");
    }
}
