//! What the page's form posts, read from a body that anybody may have written.
//!
//! Octets in, fields that are fit to be handed on out. Whether they are true is not asked here.

use std::borrow::Cow;

use super::desk::Said;
use super::texts::{Language, is_hidden};
use super::token::is_ticket;

/// The most octets of a body: a note of three-octet letters, percent-encoded, and the rest.
pub const MOST_OCTETS: usize = 8 * 1024;
/// The most characters of a note.
pub(super) const LONGEST_NOTE: usize = 300;
/// No token is longer.
const LONGEST_TOKEN: usize = 128;

/// A form that was sent off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Which button was pressed.
    pub said: Said,
    /// The case's.
    pub ticket: String,
    /// … and the form's.
    pub token: String,
    /// In which language's part of the page it stood.
    pub language: Language,
    /// One line without characters that do not show, if there was any.
    pub note: Option<String>,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded` (URL standard, section 5.1). Of a field that is there twice, the first
    /// counts; others than the page's are passed over. `None` for anything that the page would not send.
    pub fn read(body: &[u8]) -> Option<Self> {
        if body.len() > MOST_OCTETS {
            return None;
        }
        let fields = || url::form_urlencoded::parse(body);
        let field = |key: &str| fields().find(|(name, _)| name == key).map(|(_, value)| value);
        let said = match field("said")?.as_ref() {
            "clean" => Said::Clean,
            "wrong" => Said::Wrong,
            _ => return None,
        };
        let language = match field("language").as_deref() {
            Some("en") => Language::English,
            _ => Language::Vietnamese,
        };
        let ticket = field("ticket").filter(|ticket| is_ticket(ticket))?.into_owned();
        let token = field("token").filter(|token| token.len() <= LONGEST_TOKEN)?.into_owned();
        let note = field("note").and_then(|note| one_line(&note));
        Some(Self { said, ticket, token, language, note })
    }
}

/// A note as one line of at most [`LONGEST_NOTE`] characters, without those that do not show.
fn one_line(text: &str) -> Option<String> {
    let shown = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|&c| !is_hidden(c));
    let text: Cow<'_, str> = shown.collect();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST_NOTE) {
        line.truncate(end);
        line.truncate(line.trim_end().len());
    }
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let form = Form {
            said: Said::Clean,
            ticket: "K7-M2Q".to_owned(),
            token: "abc_-1".to_owned(),
            language: Language::Vietnamese,
            note: Some("Đã quét bằng Bkav & xóa 2 tệp".to_owned()),
        };
        let check = |body: &str, expected: Option<&Form>| {
            assert_eq!(Form::read(body.as_bytes()).as_ref(), expected, "{body}");
        };
        let start = "language=vi&ticket=K7-M2Q&token=abc_-1";
        let note = "note=%C4%90%C3%A3+qu%C3%A9t%0D%0Ab%E1%BA%B1ng+Bkav+%26+x%C3%B3a+2+t%E1%BB%87p";
        check(&format!("{start}&{note}&said=clean"), Some(&form));
        check(&format!("said=clean&said=wrong&{start}&{note}&more=1"), Some(&form));
        let wrong = Form { said: Said::Wrong, language: Language::English, note: None, ..form };
        check("said=wrong&ticket=K7-M2Q&token=abc_-1&language=en&note=+%0A%E2%80%AE", Some(&wrong));
        for body in [
            "",
            "said=clean",
            "said=done&ticket=K7-M2Q&token=a",
            "said=clean&ticket=&token=a",
            "said=clean&ticket=a%00b&token=a",
            "said=clean&ticket=K7+M2Q&token=a",
            &format!("said=clean&ticket={}&token=a", "A".repeat(33)),
            &format!("said=clean&ticket=A&token={}", "a".repeat(129)),
            &format!("{start}&said=clean&note={}", "a".repeat(MOST_OCTETS)),
        ] {
            check(body, None);
        }
        assert_eq!(
            Form::read(b"said=clean&ticket=A&token=\xff&note=%ff%fe").unwrap().note.as_deref(),
            Some("\u{fffd}\u{fffd}")
        );
    }

    #[test]
    fn notes_are_one_short_line() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(one_line(text).as_deref(), expected, "{text:?}");
        check("", None);
        check(" \r\n\t ", None);
        check("a\r\n\r\nb", Some("a b"));
        check("a\0\u{1b}[31mb\u{202e}c\u{2028}d", Some("a[31mbc d"));
        check(&"ế".repeat(400), Some(&"ế".repeat(300)));
        check(&format!("{} b", "a".repeat(299)), Some(&"a".repeat(299)));
    }
}
