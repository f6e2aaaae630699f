//! Master files (RFC 1035, section 5.1): lines into the words of one entry.
//!
//! Quotes, escapes, comments and parentheses are dealt with here; what the words mean is not, nor
//! are names decoded. Nothing is ever opened.

use std::ops::Range;

use super::Fault;

/// The words of one entry: a record or a directive. Reused from entry to entry.
#[derive(Default)]
pub(super) struct Entry {
    text: String,
    words: Vec<Word>,
    depth: usize,
    is_blank_first: bool,
}

struct Word {
    place: Range<usize>,
    is_quoted: bool,
}

impl Entry {
    /// Forgets everything, for the next entry.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.words.clear();
        self.depth = 0;
        self.is_blank_first = false;
    }

    /// Adds a line. The entry is whole once [`Self::is_open`] says no.
    pub(super) fn push_line(&mut self, line: &str) -> Result<(), Fault> {
        if self.depth == 0 {
            self.is_blank_first = line.starts_with([' ', '\t']);
        }
        let mut rest = line;
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r']);
            let Some(first) = rest.bytes().next() else { return Ok(()) };
            match first {
                b';' => return Ok(()),
                b'(' => {
                    self.depth += 1;
                    rest = &rest[1..];
                }
                b')' => {
                    self.depth = self.depth.checked_sub(1).ok_or(Fault::Parenthesis)?;
                    rest = &rest[1..];
                }
                b'"' => {
                    let len = quoted_len(&rest[1..]).ok_or(Fault::Quote)?;
                    self.push_word(&rest[1..1 + len], true);
                    rest = &rest[len + 2..];
                }
                _ => {
                    let len = word_len(rest);
                    self.push_word(&rest[..len], false);
                    rest = &rest[len..];
                }
            }
        }
    }

    /// Whether a parenthesis is open, so that the entry goes on in the next line.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// Whether the entry starts with a blank: its owner is the one before.
    pub(super) fn is_blank_first(&self) -> bool {
        self.is_blank_first
    }

    /// The words, escapes as written.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> + Clone {
        self.words.iter().map(|word| &self.text[word.place.clone()])
    }

    /// The words behind the first `count`, in one line as they would be written, quotes and all.
    pub(super) fn rest(&self, count: usize) -> String {
        let mut line = String::new();
        for word in self.words.iter().skip(count) {
            let quote = if word.is_quoted { "\"" } else { "" };
            line.extend([" ", quote, &self.text[word.place.clone()], quote]);
        }
        line
    }

    fn push_word(&mut self, word: &str, is_quoted: bool) {
        let start = self.text.len();
        self.text.push_str(word);
        self.words.push(Word { place: start..self.text.len(), is_quoted });
    }
}

/// Whether a name in presentation format ends with a dot of its own, not an escaped one.
pub(super) fn is_absolute(name: &str) -> bool {
    name.strip_suffix('.').is_some_and(|rest| {
        let backslashes = rest.bytes().rev().take_while(|&byte| byte == b'\\').count();
        backslashes % 2 == 0
    })
}

/// The octets of a word up to what ends it. All marks are ASCII, so the cut is at a character.
fn word_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b';' | b'(' | b')' | b'"' => break,
            b'\\' => at += escape_len(&text[at + 1..]),
            _ => {}
        }
        at += 1;
    }
    at.min(bytes.len())
}

/// The octets in front of the closing quote; `None` without one.
fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += escape_len(&text[at + 1..]),
            _ => {}
        }
        at += 1;
    }
}

/// The octets of the one character that a backslash takes along. The digits of `\DDD` need no care.
fn escape_len(rest: &str) -> usize {
    rest.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_words() {
        fn check(lines: &[&str], expected: &[&str]) {
            let mut entry = Entry::default();
            for line in lines {
                entry.push_line(line).unwrap();
            }
            assert!(!entry.is_open());
            assert_eq!(entry.words().collect::<Vec<_>>(), expected, "{lines:?}");
        }
        check(&[""], &[]);
        check(&[" ; only a comment"], &[]);
        check(&["a CNAME ."], &["a", "CNAME", "."]);
        check(&["a\tCNAME . ; why"], &["a", "CNAME", "."]);
        check(&["a CNAME .;why"], &["a", "CNAME", "."]);
        check(&["@ SOA a. b. (1 2 ; serial (", "3)", ""], &["@", "SOA", "a.", "b.", "1", "2", "3"]);
        check(&[r#"a TXT "b ; (c" d"#], &["a", "TXT", "b ; (c", "d"]);
        check(&[r#"a TXT "b\"c" "" "#], &["a", "TXT", r#"b\"c"#, ""]);
        check(&[r"a\;b\ c\(\)\\ CNAME ."], &[r"a\;b\ c\(\)\\", "CNAME", "."]);
        check(&[r"a\"], &[r"a\"]);
        check(&["a\\ạb c"], &["a\\ạb", "c"]);
    }

    #[test]
    fn the_rest_is_as_it_was_written() {
        let mut entry = Entry::default();
        entry.push_line(r#"a TXT (  "b ; \"c" d ; why"#).unwrap();
        entry.push_line(r#" "" )"#).unwrap();
        assert_eq!(entry.rest(2), r#" "b ; \"c" d """#);
    }

    #[test]
    fn marks_without_their_other_half() {
        assert_eq!(Entry::default().push_line("a ) CNAME ."), Err(Fault::Parenthesis));
        assert_eq!(Entry::default().push_line("a TXT \"b"), Err(Fault::Quote));
        assert_eq!(Entry::default().push_line(r#"a TXT "b\"#), Err(Fault::Quote));
        let mut entry = Entry::default();
        entry.push_line(" a (").unwrap();
        assert!(entry.is_open() && entry.is_blank_first());
    }

    #[test]
    fn an_escaped_dot_ends_no_name() {
        assert!(is_absolute("a."));
        assert!(is_absolute(r"a\\."));
        assert!(!is_absolute(r"a\."));
        assert!(!is_absolute("a"));
        assert!(is_absolute("."));
    }
}
