//! URLs as people, logs and files may have them: without what may be a secret. The one place that decides so.
//!
//! Publishers hand out keys in queries (`?auth=…`) and in user information (`https://KEY@…`). Both are needed to ask, and
//! for nothing else. A key that is a part of the path cannot be told from a path; `token_file` is the place for it.

use std::fmt;

use url::{Position, Url};

/// A URL without its user information, query and fragment; that there is a query is shown.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        f.write_str(&url[..Position::BeforeUsername])?;
        f.write_str(&url[Position::BeforeHost..Position::AfterPath])?;
        f.write_str(if url.query().is_some() { "?…" } else { "" })
    }
}

/// The same of a text that should be a URL, and may be none.
pub fn shown(text: &str) -> String {
    // What cannot be taken apart may have a secret anywhere before an `@`.
    let Some(url) = text.parse::<Url>().ok().filter(|url| !url.cannot_be_a_base()) else {
        let (text, rest) = text.split_once(['?', '#']).unwrap_or((text, ""));
        let text = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, text)| format!("…@{text}"));
        return text + if rest.is_empty() { "" } else { "?…" };
    };
    Shown(&url).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for (text, expected) in [
            ("https://feeds.example/list.txt", "https://feeds.example/list.txt"),
            ("https://feeds.example:8443/a/?auth=s3cret&x=1#s3cret", "https://feeds.example:8443/a/?…"),
            ("https://s3cret@feeds.example/", "https://feeds.example/"),
            ("https://me:s3cret@[2001:db8::1]:99/a", "https://[2001:db8::1]:99/a"),
            ("taxii2+https://s3cret@feeds.example/c/?match=s3cret", "taxii2+https://feeds.example/c/?…"),
            ("rpz://192.0.2.1/rpz.example", "rpz://192.0.2.1/rpz.example"),
            ("me:s3cret@feeds.example/?s3cret", "…@feeds.example/?…"),
            ("/list?key=s3cret", "/list?…"),
            ("https://me:s3cret@ /?s3cret", "…@ /?…"),
            ("https://feeds.example:port/#s3cret", "https://feeds.example:port/?…"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            assert!(!shown(text).contains("s3cret"), "{text}");
        }
    }
}
