//! Domain names: validation, case folding, label order and presentation.
//!
//! The only place where a letter is folded or labels are put in order. Knows nothing of messages,
//! rules or feeds.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest name on the wire, in octets, with the root label (RFC 1035, section 2.3.4).
pub const MAX_WIRE: usize = 255;
/// The longest label, in octets.
pub const MAX_LABEL: usize = 63;
/// Most labels that fit a name: 127 of one octet each, and the root.
const MAX_LABELS: usize = 128;

/// Why a text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing but the root.
    #[error("no name here")]
    Empty,
    /// Two dots side by side, or a dot in front.
    #[error("an empty label (two dots side by side, or one in front)")]
    EmptyLabel,
    /// A label longer than 63 octets.
    #[error("a label of {0} octets; a label has at most {MAX_LABEL}")]
    LabelTooLong(usize),
    /// A name longer than 255 octets on the wire.
    #[error("{0} octets on the wire; a name has at most {MAX_WIRE}")]
    TooLong(usize),
    /// A character that no host name holds.
    #[error("{0:?} does not belong in a name")]
    Character(char),
    /// A backslash that starts no valid escape (RFC 1035, section 5.1).
    #[error("a backslash that is not followed by three digits up to 255, or by one character")]
    Escape,
    /// A name with other than ASCII letters that has no A-label form (UTS 46).
    #[error("not a valid internationalised name")]
    Idn,
}

/// A domain name: uncompressed wire format, folded to lower case, with the root label at its end.
///
/// The root itself is one zero octet.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Reads a host name as people and feeds write it: any case, U-labels or A-labels, with or
    /// without the final dot. Letters, digits, `-` and `_` only.
    ///
    /// # Errors
    /// Everything in [`NameError`] but `Escape`.
    pub fn from_host(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.is_ascii() {
            return Self::from_ascii_host(text);
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| NameError::Idn)?;
        Self::from_ascii_host(ascii.strip_suffix('.').unwrap_or(&ascii))
    }

    fn from_ascii_host(text: &str) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.as_bytes().split(|&b| b == b'.') {
            let odd = label.iter().find(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
            if let Some(&odd) = odd {
                return Err(NameError::Character(char::from(odd)));
            }
            push_label(&mut wire, label)?;
        }
        Self::finish(wire)
    }

    /// Reads presentation format (RFC 1035, section 5.1): any octets, with `\.` and `\DDD` escapes,
    /// always taken as absolute; `.` is the root.
    ///
    /// # Errors
    /// `Empty`, `EmptyLabel`, `LabelTooLong`, `TooLong` and `Escape`.
    pub fn from_presentation(text: &str) -> Result<Self, NameError> {
        match text {
            "" => return Err(NameError::Empty),
            "." => return Ok(Self(Box::new([0]))),
            _ => {}
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::with_capacity(MAX_LABEL);
        let mut bytes = text.bytes();
        let mut is_ended = false;
        while let Some(byte) = bytes.next() {
            is_ended = false;
            match byte {
                b'.' => {
                    push_label(&mut wire, &label)?;
                    label.clear();
                    is_ended = true;
                }
                b'\\' => label.push(escaped(&mut bytes).ok_or(NameError::Escape)?),
                other => label.push(other),
            }
        }
        if !is_ended {
            push_label(&mut wire, &label)?;
        }
        Self::finish(wire)
    }

    /// Copies an uncompressed wire-format name that ends with its root label, folding its case.
    ///
    /// Returns `None` when `wire` is not exactly one such name.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        if wire_len(wire)? != wire.len() {
            return None;
        }
        Some(Self(wire.to_ascii_lowercase().into_boxed_slice()))
    }

    fn finish(mut wire: Vec<u8>) -> Result<Self, NameError> {
        wire.push(0);
        if wire.len() > MAX_WIRE {
            return Err(NameError::TooLong(wire.len()));
        }
        Ok(Self(wire.into_boxed_slice()))
    }

    /// The name in wire format, lower case, root label included: 1 to 255 octets.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// How many labels the name has, the root not counted.
    pub fn label_count(&self) -> usize {
        labels(&self.0).count()
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        is_within(&self.0, &ancestor.0)
    }

    /// The name as it stands when `self` is relative to `origin`; `None` past 255 octets.
    pub fn under(&self, origin: &Self) -> Option<Self> {
        let relative = self.0.split_last()?.1;
        let len = relative.len() + origin.0.len();
        (len <= MAX_WIRE).then(|| Self([relative, &origin.0].concat().into_boxed_slice()))
    }

    /// The name as seen from `ancestor`, which itself becomes the root; `None` when it is not within.
    pub fn relative_to(&self, ancestor: &Self) -> Option<Self> {
        if !self.is_within(ancestor) {
            return None;
        }
        let relative = self.0.len() - ancestor.0.len();
        Some(Self([&self.0[..relative], &[0]].concat().into_boxed_slice()))
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let first = usize::from(*self.0.first()?);
        if first == 0 {
            return None;
        }
        self.0.get(first + 1..).map(|rest| Self(rest.into()))
    }

    /// The last `count` labels of the name; all of it where it has no more.
    pub fn suffix(&self, count: usize) -> Self {
        let skipped = self.label_count().saturating_sub(count);
        let at: usize = labels(&self.0).take(skipped).map(|label| 1 + label.len()).sum();
        Self(self.0[at..].into())
    }

    /// How many labels both names end with, the root not counted.
    pub fn shared_labels(&self, other: &Self) -> usize {
        let (one, other): (Vec<_>, Vec<_>) = (labels(&self.0).collect(), labels(&other.0).collect());
        one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
    }

    /// Whether the first label is `*` (RFC 4592, section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The wildcard right below the name; `None` past 255 octets.
    pub fn wildcard(&self) -> Option<Self> {
        (self.0.len() + 2 <= MAX_WIRE).then(|| Self([b"\x01*", &*self.0].concat().into_boxed_slice()))
    }
}

/// Without the final dot, except for the root: as it stands in configuration, logs and pages.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Presentation(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// Shows a wire-format name in presentation format, without the final dot, in the case it has.
///
/// Octets outside printable ASCII show as `\DDD`, so the text is safe in a log or a terminal.
pub struct Presentation<'a>(pub &'a [u8]);

impl fmt::Display for Presentation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for label in labels(self.0) {
            if !is_first {
                f.write_str(".")?;
            }
            is_first = false;
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(byte))?;
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        if is_first { f.write_str(".") } else { Ok(()) }
    }
}

/// The octets that an uncompressed name at the start of `wire` takes, root label included.
///
/// `None` when it is cut off, compressed or longer than 255 octets.
pub fn wire_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*wire.get(at)?);
        if len > MAX_LABEL {
            return None;
        }
        at += 1 + len;
        if at > MAX_WIRE {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

/// The labels of a wire-format name, first to last, the root left out; ends early where it is cut.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        if len == 0 {
            return None;
        }
        let (label, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some(label)
    })
}

/// Whether the wire-format name `wire` is `ancestor` or lies below it; case does not count.
pub fn is_within(wire: &[u8], ancestor: &[u8]) -> bool {
    let Some(skip) = wire.len().checked_sub(ancestor.len()) else { return false };
    // The tail must start at a label's edge: `notevil.example` is not within `evil.example`.
    let mut at = 0;
    while at < skip {
        at += 1 + usize::from(wire[at]);
    }
    at == skip && wire[skip..].eq_ignore_ascii_case(ancestor)
}

/// Whether two question sections (name, type, class) ask the same; case does not count.
pub fn is_same_question(one: &[u8], other: &[u8]) -> bool {
    match (one.split_last_chunk::<4>(), other.split_last_chunk::<4>()) {
        (Some((one, one_type)), Some((other, other_type))) => {
            one_type == other_type && one.eq_ignore_ascii_case(other)
        }
        _ => false,
    }
}

/// Folds the ASCII letters of a label or a wire-format name (RFC 4343); length octets are below
/// every letter, so a whole name may be folded at once.
pub fn fold(wire: &mut [u8]) {
    wire.make_ascii_lowercase();
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), NameError> {
    match label.len() {
        0 => return Err(NameError::EmptyLabel),
        1..=MAX_LABEL => {}
        long => return Err(NameError::LabelTooLong(long)),
    }
    wire.push(label.len() as u8);
    wire.extend(label.iter().map(u8::to_ascii_lowercase));
    Ok(())
}

fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let digits = [first, bytes.next()?, bytes.next()?];
    digits.iter().try_fold(0u8, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Ends a label in a key. Lower than every octet that stands for itself, so that keys sort as
/// names do in DNSSEC's canonical order (RFC 4034, section 6.1).
pub const SEPARATOR: u8 = 0x00;
/// Starts the two-octet form of an octet 0x00 (`01 01`) or 0x01 (`01 02`) inside a label.
const ESCAPE: u8 = 0x01;
/// Every octet of a name could need its escape.
const MAX_KEY: usize = 2 * MAX_WIRE;

/// A name as the policy index looks it up: labels from the last to the first, lower-cased, each
/// followed by [`SEPARATOR`]. The key of a name is a prefix of the keys of all names below it.
///
/// ```text
/// www.Evil.example  →  e x a m p l e 00  e v i l 00  w w w 00
/// ```
#[derive(Clone)]
pub struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
}

impl Key {
    /// Encodes the uncompressed wire-format name at the start of `wire` (any case).
    ///
    /// `None` when there is no valid name. Allocates nothing.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut starts = [0u8; MAX_LABELS];
        let mut count = 0;
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at)?);
            if len == 0 {
                break;
            }
            // 255 octets bound `at`, and with it `count`: no label is shorter than two octets.
            if len > MAX_LABEL || at + len + 2 > MAX_WIRE || at + len >= wire.len() {
                return None;
            }
            starts[count] = at as u8;
            count += 1;
            at += 1 + len;
        }
        let mut key = Self { bytes: [0; MAX_KEY], len: 0 };
        for &start in starts[..count].iter().rev() {
            let start = usize::from(start);
            let len = usize::from(wire[start]);
            for &byte in &wire[start + 1..=start + len] {
                key.push(byte.to_ascii_lowercase());
            }
            key.bytes[key.len] = SEPARATOR;
            key.len += 1;
        }
        Some(key)
    }

    fn push(&mut self, byte: u8) {
        if byte <= ESCAPE {
            self.bytes[self.len] = ESCAPE;
            self.len += 1;
            self.bytes[self.len] = byte + 1;
        } else {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    /// The key's octets; the root's key is empty.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl From<&Name> for Key {
    fn from(name: &Name) -> Self {
        Self::from_wire(&name.0).expect("a Name is a valid wire-format name")
    }
}

/// Turns a key back into its name; `None` when the octets are no key.
pub fn from_key(key: &[u8]) -> Option<Name> {
    let mut wire = Vec::with_capacity(key.len() + 1);
    push_key(key, &mut wire)?;
    Name::finish(wire).ok()
}

/// Appends a key's name in wire format, without the root label; `None` when the octets are no key, and then
/// `wire` has some of them.
pub fn push_key(key: &[u8], wire: &mut Vec<u8>) -> Option<()> {
    let mut rest = key;
    while let Some((&end, others)) = rest.split_last() {
        if end != SEPARATOR {
            return None;
        }
        let start = others.iter().rposition(|&octet| octet == SEPARATOR).map_or(0, |at| at + 1);
        let at = wire.len();
        wire.push(0);
        let mut octets = others[start..].iter();
        while let Some(&octet) = octets.next() {
            wire.push(match octet {
                ESCAPE => octets.next()?.checked_sub(1).filter(|&octet| octet <= ESCAPE)?,
                other => other,
            });
        }
        let len = wire.len() - at - 1;
        if !(1..=MAX_LABEL).contains(&len) {
            return None;
        }
        wire[at] = len as u8;
        rest = &key[..start];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_names_are_folded_and_checked() {
        fn check(text: &str, expected: Result<&str, NameError>) {
            let got = Name::from_host(text).map(|name| name.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{text:?}");
        }
        check("Evil.Example", Ok("evil.example"));
        check("evil.example.", Ok("evil.example"));
        check("_dmarc.evil.example", Ok("_dmarc.evil.example"));
        check("sạch.vn", Ok("xn--sch-sgz.vn"));
        check("SẠCH.vn", Ok("xn--sch-sgz.vn"));
        check("", Err(NameError::Empty));
        check(".", Err(NameError::Empty));
        check("evil..example", Err(NameError::EmptyLabel));
        check(".example", Err(NameError::EmptyLabel));
        check("evil example", Err(NameError::Character(' ')));
        check("evil/path", Err(NameError::Character('/')));
        check(&"a".repeat(64), Err(NameError::LabelTooLong(64)));
        check(&["a"; 127].join("."), Ok(&["a"; 127].join(".")));
        check(&["a"; 128].join("."), Err(NameError::TooLong(257)));
    }

    #[test]
    fn presentation_format_round_trips() {
        fn check(text: &str, wire: &[u8]) {
            let name = Name::from_presentation(text).unwrap();
            assert_eq!(name.as_wire(), wire, "{text:?}");
            assert_eq!(Name::from_presentation(&name.to_string()).unwrap(), name);
        }
        check(".", &[0]);
        check("a.B", b"\x01a\x01b\x00");
        check("a.b.", b"\x01a\x01b\x00");
        check(r"a\.b.c", b"\x03a.b\x01c\x00");
        check(r"a\000\255.c", b"\x03a\x00\xff\x01c\x00");
        assert_eq!(Name::from_presentation(r"a\256"), Err(NameError::Escape));
        assert_eq!(Name::from_presentation(r"a\"), Err(NameError::Escape));
        assert_eq!(Name::from_presentation("a..b"), Err(NameError::EmptyLabel));
    }

    #[test]
    fn within_respects_label_edges() {
        fn check(name: &str, ancestor: &str, expected: bool) {
            let (name, ancestor) = (Name::from_host(name).unwrap(), Name::from_host(ancestor).unwrap());
            assert_eq!(name.is_within(&ancestor), expected, "{name} in {ancestor}");
        }
        check("evil.example", "evil.example", true);
        check("www.evil.example", "evil.example", true);
        check("notevil.example", "evil.example", false);
        check("example", "evil.example", false);
    }

    #[test]
    fn relative_names_go_both_ways() {
        fn check(name: &str, origin: &str, expected: Option<&str>) {
            let name = Name::from_presentation(name).unwrap();
            let origin = Name::from_presentation(origin).unwrap();
            let relative = name.relative_to(&origin);
            assert_eq!(relative.as_ref().map(Name::to_string).as_deref(), expected, "{name} from {origin}");
            assert!(relative.is_none_or(|relative| relative.under(&origin) == Some(name)));
        }
        check("a.b.c", "c", Some("a.b"));
        check("a.b.c", ".", Some("a.b.c"));
        check("a.b.c", "A.B.C", Some("."));
        check("ab.c", "b.c", None);
        check("c", "b.c", None);
        let long = Name::from_host(&["a"; 64].join(".")).unwrap();
        assert_eq!(long.under(&long), None);
    }

    #[test]
    fn names_are_cut_from_the_root() {
        fn check(name: &str, count: usize, expected: &str) {
            let name = Name::from_presentation(name).unwrap();
            assert_eq!(name.suffix(count).to_string(), expected, "{name}, {count}");
        }
        check("a.b.c", 0, ".");
        check("a.b.c", 2, "b.c");
        check("a.b.c", 9, "a.b.c");
        check(".", 1, ".");
        fn shared(one: &str, other: &str, expected: usize) {
            let [one, other] = [one, other].map(|text| Name::from_presentation(text).unwrap());
            assert_eq!(one.shared_labels(&other), expected, "{one} and {other}");
        }
        shared("a.b.c", "x.b.c", 2);
        shared("a.b.c", "b.c", 2);
        shared("a.b", "a.c", 0);
        let name = Name::from_presentation("a").unwrap();
        assert_eq!(name.wildcard().unwrap().to_string(), "*.a");
        assert!(name.wildcard().unwrap().is_wildcard() && !name.is_wildcard());
    }

    #[test]
    fn keys_reverse_labels() {
        let key = Key::from_wire(b"\x03WwW\x04evil\x07example\x00").unwrap();
        assert_eq!(key.as_bytes(), b"example\0evil\0www\0");
        assert_eq!(Key::from_wire(&[0]).unwrap().as_bytes(), b"");
        assert!(Key::from_wire(b"\x03www").is_none());
        assert!(Key::from_wire(b"\xc0\x0c").is_none());
    }

    fn any_name() -> impl Strategy<Value = Name> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 0..=6).prop_filter_map(
            "too long",
            |labels| {
                let mut wire = Vec::new();
                for label in &labels {
                    push_label(&mut wire, label).ok()?;
                }
                Name::finish(wire).ok()
            },
        )
    }

    proptest! {
        #[test]
        fn keys_and_presentation_lose_nothing(name in any_name()) {
            prop_assert_eq!(from_key(Key::from(&name).as_bytes()).unwrap(), name.clone());
            prop_assert_eq!(Name::from_presentation(&name.to_string()).unwrap(), name);
        }

        #[test]
        fn an_ancestors_key_is_a_prefix(name in any_name(), other in any_name()) {
            let (key, other_key) = (Key::from(&name), Key::from(&other));
            prop_assert_eq!(key.as_bytes().starts_with(other_key.as_bytes()), name.is_within(&other));
        }

        #[test]
        fn no_octets_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let valid = wire_len(&bytes).is_some();
            prop_assert_eq!(Key::from_wire(&bytes).is_some(), valid);
            let _ = from_key(&bytes);
        }
    }
}
