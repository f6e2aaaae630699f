//! JSON text within bounds, for a reader that takes whole strings and any depth.
//!
//! Counts lines, cuts strings that no feed needs so long, and refuses what is nested too deep. Knows the
//! marks of JSON and nothing of what they mean; what is no JSON is the parser's to say.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Read};

/// Octets of a string that are handed on, at least. Reports and pictures inside events are longer.
const MAX_STRING: usize = 64 * 1024;
/// A string without a place where it can be cut.
const MAX_UNCUT: usize = 1024 * 1024;
/// A cut must not divide an escape, a pair of them or a character: this many plain octets end them all.
const PLAIN: usize = 12;
/// How deep objects and arrays may lie in each other. Events have some ten levels.
const MAX_DEPTH: usize = 100;

/// A reader of JSON text.
pub(super) struct Bounded<'a, R> {
    input: BufReader<R>,
    /// The line of the last octet that was handed on, from 1.
    line: &'a Cell<u64>,
    depth: usize,
    string: Option<Text>,
}

/// A string that is being read.
#[derive(Default)]
struct Text {
    octets: usize,
    /// Plain octets since anything that a cut could divide.
    plain: usize,
    is_escaped: bool,
    is_cut: bool,
}

impl<'a, R: Read> Bounded<'a, R> {
    pub(super) fn new(input: R, line: &'a Cell<u64>) -> Self {
        line.set(1);
        Self { input: BufReader::with_capacity(64 * 1024, input), line, depth: 0, string: None }
    }

    /// Whether this octet is handed on.
    fn take(&mut self, octet: u8) -> io::Result<bool> {
        if octet == b'\n' {
            self.line.set(self.line.get() + 1);
        }
        let Some(text) = &mut self.string else {
            match octet {
                b'"' => self.string = Some(Text::default()),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > MAX_DEPTH {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "nested more than 100 levels deep"));
            }
            return Ok(true);
        };
        if octet == b'"' && !text.is_escaped {
            self.string = None;
            return Ok(true);
        }
        text.is_escaped = octet == b'\\' && !text.is_escaped;
        text.plain = if octet.is_ascii() && octet != b'\\' { text.plain + 1 } else { 0 };
        text.octets += 1;
        text.is_cut |= text.octets > MAX_STRING && text.plain > PLAIN;
        if !text.is_cut && text.octets > MAX_UNCUT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a string of more than a megabyte of escapes",
            ));
        }
        Ok(!text.is_cut)
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The parser asks for an octet at a time, so that the line is that of what it has.
        let Some(place) = buffer.first_mut() else { return Ok(0) };
        loop {
            let octet = match self.input.fill_buf()? {
                [] => return Ok(0),
                [octet, ..] => *octet,
            };
            self.input.consume(1);
            if self.take(octet)? {
                *place = octet;
                return Ok(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<String> {
        let line = Cell::new(0);
        let mut out = String::new();
        Bounded::new(text.as_bytes(), &line).read_to_string(&mut out)?;
        assert_eq!(line.get(), 1 + text.matches('\n').count() as u64);
        Ok(out)
    }

    #[test]
    fn short_text_is_left_alone() {
        for text in ["", "{}", "{\"a\\\\\": \"b\\\"{[\",\n\"c\": [1, null]}\n", "\"open", "]]]"] {
            assert_eq!(read(text).unwrap(), text);
        }
    }

    #[test]
    fn long_strings_are_cut_where_nothing_is_divided() {
        for unit in [
            "a",
            "\\u00e9 plain enough to cut",
            "\\ud83d\\ude00 plain enough to cut",
            "ạ plain enough to cut",
        ] {
            let text = format!("[\"{}\",\n\"next\"]", unit.repeat(10_000_000 / unit.len()));
            let cut = read(&text).unwrap();
            assert!(cut.len() < MAX_STRING + 200, "{unit}: {}", cut.len());
            let strings: Vec<String> = serde_json::from_str(&cut).unwrap();
            assert_eq!(strings[1], "next");
        }
        assert!(read(&format!("\"{}\"", "\\n".repeat(MAX_UNCUT))).is_err());
    }

    #[test]
    fn depth_has_an_end() {
        assert!(read(&"[".repeat(MAX_DEPTH)).is_ok());
        assert!(read(&"[".repeat(MAX_DEPTH + 1)).is_err());
        assert!(read(&"[]".repeat(1000)).is_ok());
    }
}
