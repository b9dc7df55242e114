//! Where a request carries its token, and how a request is written down without it.

use std::borrow::Cow;

use url::form_urlencoded;

/// What a subprotocol entry with a token begins with.
const ENTRY: &str = "bearer.";

/// Query parameters whose values are nobody's business.
const SECRET_PARAMETERS: [&str; 12] = [
    "token", "id_token", "access_token", "refresh_token", "jwt", "api_key", "key", "secret",
    "password", "code", "resume", "session",
];

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// The token of a request, from the first of these that has one: the parameter `token` of its query (percent-decoded),
/// `Authorization: Bearer ..`, an entry `bearer.<jwt>` of the subprotocols that it offers (already split at the
/// commas). An empty one counts as none.
pub fn token_of<'a>(
    query: Option<&str>,
    authorization: Option<&str>,
    mut subprotocols: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let in_query = || {
        form_urlencoded::parse(query?.as_bytes())
            .find(|(name, value)| name == "token" && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    };
    let in_header = || {
        let (scheme, token) = authorization?.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
    };
    let in_subprotocols = || {
        subprotocols
            .find_map(|entry| entry.trim().strip_prefix(ENTRY).filter(|t| !t.is_empty()))
            .map(str::to_owned)
    };
    in_query().or_else(in_header).or_else(in_subprotocols)
}

/// A path and query for the log: the values of `token`, `id_token` and their like are replaced, however their names
/// are percent-encoded, and so is whatever looks like a JWT, in the path too.
pub fn without_secrets(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut text = joined(path, '/', hide_jwt);
    if let Some(query) = query {
        text.push('?');
        text.push_str(&joined(query, '&', parameter));
    }
    text
}

fn joined<'a>(text: &'a str, separator: char, each: impl Fn(&'a str) -> Cow<'a, str>) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split(separator).enumerate() {
        if index > 0 {
            out.push(separator);
        }
        out.push_str(&each(part));
    }
    out
}

fn hide_jwt(part: &str) -> Cow<'_, str> {
    // Every JSON object begins with {" and so every JWT with these letters.
    match part.find("eyJ") {
        Some(start) => Cow::Owned(format!("{}{HIDDEN}", &part[..start])),
        None => Cow::Borrowed(part),
    }
}

fn parameter(part: &str) -> Cow<'_, str> {
    let Some((name, _)) = part.split_once('=') else {
        return hide_jwt(part);
    };
    let secret = form_urlencoded::parse(part.as_bytes()).any(|(decoded, value)| {
        SECRET_PARAMETERS
            .iter()
            .any(|secret| decoded.trim().eq_ignore_ascii_case(secret))
            || value.contains("eyJ")
    });
    if secret {
        Cow::Owned(format!("{}={HIDDEN}", hide_jwt(name)))
    } else {
        hide_jwt(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::iter::empty;

    fn entries(text: &str) -> impl Iterator<Item = &str> {
        text.split(',')
    }

    #[test]
    fn a_token_is_found_in_each_of_its_places() {
        let of =
            |query, authorization, protocols| token_of(query, authorization, entries(protocols));
        assert_eq!(of(Some("token=a.b.c"), None, "").as_deref(), Some("a.b.c"));
        assert_eq!(
            of(Some("x=1&%74oken=a%2Eb.c&y"), None, "").as_deref(),
            Some("a.b.c")
        );
        for header in ["Bearer a.b.c", "bearer  a.b.c ", " BEARER a.b.c"] {
            assert_eq!(of(None, Some(header), "").as_deref(), Some("a.b.c"));
        }
        assert_eq!(
            of(None, None, "loaner.v1.json, bearer.a.b.c").as_deref(),
            Some("a.b.c")
        );
    }

    #[test]
    fn the_query_comes_before_the_header_and_the_header_before_the_subprotocol() {
        let header = Some("Bearer h");
        assert_eq!(
            token_of(Some("token=q"), header, entries("bearer.s")).as_deref(),
            Some("q")
        );
        assert_eq!(
            token_of(Some("token="), header, entries("bearer.s")).as_deref(),
            Some("h")
        );
        assert_eq!(
            token_of(Some("other=q"), Some("Bearer "), entries("bearer.s")).as_deref(),
            Some("s")
        );
    }

    #[test]
    fn what_is_no_token_is_none() {
        assert_eq!(token_of(None, None, empty()), None);
        for query in ["", "token", "token=", "Token=a", "atoken=a", "&&=", "%"] {
            assert_eq!(token_of(Some(query), None, empty()), None, "{query}");
        }
        for header in ["", "Bearer", "Bearer ", "Basic YTpi", "été x", "a.b.c"] {
            assert_eq!(token_of(None, Some(header), empty()), None, "{header}");
        }
        for entry in ["bearer.", "bearer", "xbearer.a", "loaner.v1.json"] {
            assert_eq!(token_of(None, None, entries(entry)), None, "{entry}");
        }
    }

    #[test]
    fn the_log_sees_no_token() {
        let hidden = without_secrets;
        assert_eq!(hidden("/ws/"), "/ws/");
        assert_eq!(hidden("/ws/?a=1&b"), "/ws/?a=1&b");
        assert_eq!(hidden("/ws/?token=x&a=1"), "/ws/?token=***&a=1");
        assert_eq!(hidden("/?a=1&ID_TOKEN=x"), "/?a=1&ID_TOKEN=***");
        assert_eq!(hidden("/?%74oken=x"), "/?%74oken=***");
        assert_eq!(hidden("/?x=eyJhbGci.b.c&a=1"), "/?x=***&a=1");
        assert_eq!(hidden("/?x=%65yJhbGci.b.c"), "/?x=***");
        assert_eq!(hidden("/?eyJhbGci.b.c"), "/?***");
        assert_eq!(hidden("/ws/eyJhbGci.b.c/x"), "/ws/***/x");
        assert_eq!(hidden("/?token=a?token=b"), "/?token=***");
    }

    proptest! {
        #[test]
        fn no_request_panics_and_no_secret_is_written(text in ".{0,200}", secret in "[A-Z]{20}") {
            without_secrets(&text);
            token_of(Some(&text), Some(&text), entries(&text));
            let request = format!("/{}?token={secret}", text.replace('?', ""));
            prop_assert!(!without_secrets(&request).contains(&secret));
        }
    }
}
