//! Master files into records, each with its line (RFC 1035, section 5).
//!
//! The scanner is the `domain` crate's, which opens no file. In front of it, times with units (`1h30m`, as
//! BIND writes them) become seconds, and every record's line is taken down, which the scanner does not tell.
//! What the records mean together is [`super::load`]'s.

use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::base::iana::Class;
use domain::base::name::{Name as Absolute, ToName as _};
use domain::base::rdata::ComposeRecordData as _;
use domain::zonefile::inplace::{Entry, Zonefile};

use super::fault::{Problem, ZoneFault};
use crate::name::Name;

/// One record as the file has it.
pub(super) struct MasterRecord {
    /// In wire format, in the file's letter case.
    pub(super) owner: Vec<u8>,
    pub(super) class: u16,
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    /// Names in it written out.
    pub(super) rdata: Vec<u8>,
    pub(super) line: usize,
}

/// Reads all records of a master file whose first origin is `origin`, and hands each to `take`.
///
/// # Errors
/// The first place that is no record. The scanner cannot go on behind one.
pub(super) fn read(text: &[u8], origin: &Name, mut take: impl FnMut(MasterRecord)) -> Result<(), ZoneFault> {
    let (text, lines) = prepare(text);
    let mut lines = lines.into_iter();
    let mut scanner = Zonefile::from(&*text);
    // Its octets are a name's.
    if let Ok(origin) = Absolute::from_slice(origin.as_wire()) {
        scanner.set_origin(origin.to_bytes());
    }
    scanner.set_default_class(Class::IN);
    // Whatever the class: a wrong one is told with its line.
    let mut scanner = scanner.allow_invalid();
    loop {
        // It panics at some misplaced parentheses.
        let entry = catch_unwind(AssertUnwindSafe(|| scanner.next_entry()));
        let line = |lines: &mut std::vec::IntoIter<usize>| lines.next().unwrap_or(0);
        let entry = match entry {
            Ok(Ok(entry)) => entry,
            Ok(Err(error)) => {
                let fault = ZoneFault::syntax(&error.to_string());
                // The scanner tells where it stopped, which may be the line behind.
                let line = lines.next().map_or(fault.line, |begun| begun.min(fault.line));
                return Err(ZoneFault { line, ..fault });
            }
            Err(_) => {
                let problem = Problem::Syntax("parentheses or quotes are not where they belong".to_owned());
                return Err(ZoneFault { line: line(&mut lines), problem });
            }
        };
        let (record, line) = match entry {
            None => return Ok(()),
            Some(Entry::Record(record)) => (record, line(&mut lines)),
            Some(Entry::Include { path, .. }) => {
                let problem = Problem::Include(path.to_string());
                return Err(ZoneFault { line: line(&mut lines), problem });
            }
        };
        let mut rdata = Vec::new();
        let data = record.data();
        // Appending to a vector cannot fail.
        let Ok(()) = data.compose_rdata(&mut rdata);
        let owner = record.owner().to_vec();
        take(MasterRecord {
            owner: owner.as_slice().to_vec(),
            class: record.class().to_int(),
            rtype: record.rtype().to_int(),
            ttl: record.ttl().as_secs(),
            rdata,
            line,
        });
    }
}

/// Times with units turned into seconds, and the line of every record and `$INCLUDE`, in order.
fn prepare(text: &[u8]) -> (Cow<'_, [u8]>, Vec<usize>) {
    let mut lines = Vec::new();
    let mut changes: Vec<(Range<usize>, u32)> = Vec::new();
    for entry in Entries::new(text) {
        let words = &entry.words;
        let word = |n: usize| words.get(n).map_or(&[][..], |word| &text[word.clone()]);
        let mut change = |n: usize| {
            if let (Some(seconds), Some(range)) = (seconds(word(n)), words.get(n)) {
                changes.push((range.clone(), seconds));
            }
        };
        if word(0).eq_ignore_ascii_case(b"$TTL") {
            change(1);
            continue;
        }
        if word(0).first() == Some(&b'$') && !word(0).eq_ignore_ascii_case(b"$INCLUDE") {
            continue;
        }
        lines.push(entry.line);
        // TTL and class come in either order, then the type.
        let mut at = usize::from(!entry.is_blank_first);
        for _ in 0..2 {
            let is_ttl = word(at).first().is_some_and(u8::is_ascii_digit);
            if is_ttl {
                change(at);
            } else if !word(at).eq_ignore_ascii_case(b"IN") {
                break;
            }
            at += 1;
        }
        if word(at).eq_ignore_ascii_case(b"SOA") {
            // Behind MNAME and RNAME: SERIAL, REFRESH, RETRY, EXPIRE and MINIMUM.
            (at + 3..at + 8).for_each(&mut change);
        }
    }
    if changes.is_empty() {
        return (Cow::Borrowed(text), lines);
    }
    let mut changed = Vec::with_capacity(text.len());
    let mut done = 0;
    for (range, seconds) in changes {
        changed.extend(&text[done..range.start]);
        changed.extend(seconds.to_string().as_bytes());
        done = range.end;
    }
    changed.extend(&text[done..]);
    (Cow::Owned(changed), lines)
}

/// A time with units in seconds; `None` for anything else, a bare number too.
fn seconds(word: &[u8]) -> Option<u32> {
    let mut total = 0u32;
    let mut number: Option<u32> = None;
    for &octet in word {
        if octet.is_ascii_digit() {
            let digit = u32::from(octet - b'0');
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match octet {
            b's' | b'S' => 1,
            b'm' | b'M' => 60,
            b'h' | b'H' => 3600,
            b'd' | b'D' => 86_400,
            b'w' | b'W' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    // A number without a unit behind others is an accident; alone it is the scanner's.
    number.is_none().then_some(total).filter(|_| !word.is_empty())
}

/// The entries of a master file as words, quoted ones without their quotes.
struct Entries<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

struct Words {
    words: Vec<Range<usize>>,
    /// Where it begins, from 1.
    line: usize,
    is_blank_first: bool,
}

impl<'a> Entries<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The end of the word at `at`; an escaped octet ends none.
    fn word_end(&self, mut at: usize, ends: impl Fn(u8) -> bool) -> usize {
        while let Some(&octet) = self.text.get(at) {
            match octet {
                b'\\' => at += 2,
                _ if ends(octet) => return at,
                _ => at += 1,
            }
        }
        self.text.len()
    }
}

impl Iterator for Entries<'_> {
    type Item = Words;

    fn next(&mut self) -> Option<Words> {
        let mut entry = Words { words: Vec::new(), line: self.line, is_blank_first: false };
        let mut depth = 0u32;
        while let Some(&octet) = self.text.get(self.at) {
            let start = self.at;
            match octet {
                b'\n' => {
                    self.line += 1;
                    if depth == 0 && !entry.words.is_empty() {
                        self.at += 1;
                        return Some(entry);
                    }
                    if depth == 0 {
                        entry.is_blank_first = false;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    let is_first = start == 0 || self.text[start - 1] == b'\n';
                    entry.is_blank_first |= is_first && depth == 0 && entry.words.is_empty();
                }
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b';' => {
                    let len = self.text[start..].iter().position(|&octet| octet == b'\n');
                    self.at = len.map_or(self.text.len(), |len| start + len);
                    continue;
                }
                quote_or_word => {
                    if entry.words.is_empty() {
                        entry.line = self.line;
                    }
                    let range = if quote_or_word == b'"' {
                        let end = self.word_end(start + 1, |octet| octet == b'"');
                        self.at = (end + 1).min(self.text.len());
                        start + 1..end.max(start + 1).min(self.text.len())
                    } else {
                        self.at = self.word_end(start, |octet| b" \t\r\n();\"".contains(&octet));
                        start..self.at
                    };
                    self.line += self.text[range.clone()].iter().filter(|&&octet| octet == b'\n').count();
                    entry.words.push(range);
                    continue;
                }
            }
            self.at += 1;
        }
        (!entry.words.is_empty()).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_units_become_seconds_and_lines_are_known() {
        fn check(text: &str, expected: &str, lines: &[usize]) {
            let (prepared, got) = prepare(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&prepared), expected);
            assert_eq!(got, lines, "{text}");
        }
        check("$TTL 1d\n@ 1h30m IN A 192.0.2.1\n", "$TTL 86400\n@ 5400 IN A 192.0.2.1\n", &[2]);
        check("\n; 1h\n 1w A 192.0.2.1", "\n; 1h\n 604800 A 192.0.2.1", &[3]);
        check("a IN 2H TXT 1h\n", "a IN 7200 TXT 1h\n", &[1]);
        // An owner that looks like a time is none.
        check(
            "1h IN TXT \"1h ; 2\n\" 3m\nb A 192.0.2.1\n",
            "1h IN TXT \"1h ; 2\n\" 3m\nb A 192.0.2.1\n",
            &[1, 3],
        );
        check(
            "@ SOA a b ( 7 ; serial\n 1h 2m\n 3d 4s )\n\n@ NS a\n",
            "@ SOA a b ( 7 ; serial\n 3600 120\n 259200 4 )\n\n@ NS a\n",
            &[1, 5],
        );
        check("a TXT \"un\\\"closed", "a TXT \"un\\\"closed", &[1]);
        check("a TXT \\", "a TXT \\", &[1]);
        check(
            "$ORIGIN 1h\n$INCLUDE x\na 99999999999w A 1.2.3.4",
            "$ORIGIN 1h\n$INCLUDE x\na 99999999999w A 1.2.3.4",
            &[2, 3],
        );
    }
}
