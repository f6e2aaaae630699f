//! Defanged text: names, addresses and URLs that their authors made unclickable.
//!
//! Only undoes what was done to them; whether the result is a name is `token`'s to say.
//!
//! ```text
//! evil[.]vn   evil(.)vn   evil{.}vn   evil[dot]vn   evil(dot)vn      evil.vn
//! hxxp://…    hXXps://…   h**p://…    fxp://…                        http://…  https://…  ftp://…
//! http[:]//…  http[://]…  http[:/]/…  a[@]b   a[at]b                 http://…  a@b
//! ```

use std::borrow::Cow;

/// What stands in brackets, and what it stands for.
const MARKS: [(&str, &str); 8] =
    [(".", "."), ("dot", "."), (":", ":"), ("://", "://"), (":/", ":/"), ("/", "/"), ("@", "@"), ("at", "@")];
/// Schemes as they are maimed, and whole.
const SCHEMES: [(&str, &str); 9] = [
    ("hxxp", "http"),
    ("hxxps", "https"),
    ("hxtp", "http"),
    ("hxtps", "https"),
    ("htxp", "http"),
    ("htxps", "https"),
    ("h**p", "http"),
    ("h**ps", "https"),
    ("fxp", "ftp"),
];

/// The text as it was before it was defanged; `None` when it was not.
pub(super) fn refang(text: &str) -> Option<String> {
    let plain = unbracketed(text);
    let scheme = plain.split_once(':').and_then(|(scheme, rest)| {
        let whole = SCHEMES.iter().find(|(maimed, _)| scheme.eq_ignore_ascii_case(maimed))?;
        Some(format!("{}:{rest}", whole.1))
    });
    scheme.or(match plain {
        Cow::Owned(text) => Some(text),
        Cow::Borrowed(_) => None,
    })
}

/// Whether `text` may hold something that [`refang`] undoes: a glance that spares most tokens more.
pub(super) fn may_be_defanged(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'[' | b'(' | b'{'))
        || text.split_once("://").is_some_and(|(scheme, _)| scheme.contains(['x', 'X', '*']))
}

fn unbracketed(text: &str) -> Cow<'_, str> {
    let mut plain = String::new();
    let mut kept = 0;
    let mut from = 0;
    while let Some(at) = text[from..].find(['[', '(', '{']).map(|at| from + at) {
        from = at + 1;
        let rest = &text.as_bytes()[from..];
        let close = match text.as_bytes()[at] {
            b'[' => b']',
            b'(' => b')',
            _ => b'}',
        };
        // Only so far as a mark goes: a line may be nothing but brackets.
        let is_here = |mark: &str| {
            rest.get(mark.len()) == Some(&close) && rest[..mark.len()].eq_ignore_ascii_case(mark.as_bytes())
        };
        if let Some((mark, whole)) = MARKS.iter().find(|(mark, _)| is_here(mark)) {
            plain.push_str(&text[kept..at]);
            plain.push_str(whole);
            from += mark.len() + 1;
            kept = from;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    plain.push_str(&text[kept..]);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_defanged_is_whole_again() {
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(refang(text).as_deref(), expected, "{text:?}");
            assert!(expected.is_none() || may_be_defanged(text) || !text.contains("//"), "{text:?}");
        }
        check("evil[.]vn", Some("evil.vn"));
        check("www(.)evil{.}com[.]vn", Some("www.evil.com.vn"));
        check("evil[dot]vn", Some("evil.vn"));
        check("evil(DOT)vn", Some("evil.vn"));
        check("192.0.2[.]1", Some("192.0.2.1"));
        check("hxxp://evil.vn/a", Some("http://evil.vn/a"));
        check("hXXps://evil[.]vn", Some("https://evil.vn"));
        check("h**p://evil.vn", Some("http://evil.vn"));
        check("http[:]//evil.vn", Some("http://evil.vn"));
        check("hxxp[:]//evil[.]vn", Some("http://evil.vn"));
        check("https[://]evil.vn", Some("https://evil.vn"));
        check("2001:db8[:]:1", Some("2001:db8::1"));
        check("a[@]evil[.]vn", Some("a@evil.vn"));

        check("evil.vn", None);
        check("http://evil.vn/(a)", None);
        check("[2001:db8::1]:443", None);
        check("evil[.vn", None);
        check("[NUMBER]", None);
        check("", None);
        check("[", None);
    }
}
