//! Trust anchors: what is known without asking, and the files that it stands in.
//!
//! A file holds DS or DNSKEY records in master-file form (RFC 1035, section 5), as `dig`, `dnssec-dsfromkey`,
//! `ldns-key2ds` and unbound-anchor's root.key have them; every name counts as absolute. Read at a start
//! and at a reload; what a file says is never followed anywhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::key::{Dnskey, Ds, is_known_algorithm};
use crate::name::{Name, NameError};

/// The root's keys of 2017 and 2024, as IANA publishes them (<https://data.iana.org/root-anchors/>).
const ROOT: &str = "\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";
/// The largest file that is read; some hundred anchors.
const MAX_FILE: u64 = 1 << 20;

/// The keys that are trusted for a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) ds: Vec<Ds>,
    pub(super) keys: Vec<Dnskey>,
}

/// All trust anchors, by the names they stand at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchors(BTreeMap<Name, Anchor>);

impl Anchors {
    /// The root's.
    pub fn root() -> Self {
        let mut anchors = Self(BTreeMap::new());
        let mut faults = Vec::new();
        anchors.read(Path::new(""), ROOT, &mut faults);
        debug_assert!(faults.is_empty(), "{faults:?}");
        anchors
    }

    /// Those of the files together; the root's when there is no file.
    ///
    /// # Errors
    /// All that is wrong with the files.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Vec<AnchorFault>> {
        if paths.is_empty() {
            return Ok(Self::root());
        }
        let mut anchors = Self(BTreeMap::new());
        let mut faults = Vec::new();
        for path in paths {
            let before = faults.len();
            match read_file(path) {
                Ok(text) if anchors.read(path, &text, &mut faults) == 0 && faults.len() == before => {
                    faults.push(AnchorFault {
                        path: path.clone(),
                        line: None,
                        problem: AnchorProblem::Empty,
                    });
                }
                Ok(_) => {}
                Err(problem) => faults.push(AnchorFault { path: path.clone(), line: None, problem }),
            }
        }
        if faults.is_empty() { Ok(anchors) } else { Err(faults) }
    }

    /// Those of a text; `path` is what faults name.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<AnchorFault>> {
        let mut anchors = Self(BTreeMap::new());
        let mut faults = Vec::new();
        anchors.read(path, text, &mut faults);
        if faults.is_empty() { Ok(anchors) } else { Err(faults) }
    }

    /// Takes a text's anchors; says how many.
    fn read(&mut self, path: &Path, text: &str, faults: &mut Vec<AnchorFault>) -> usize {
        let mut count = 0;
        let mut last_owner = None;
        for (line, entry) in entries(text) {
            let taken = match entry {
                Ok(entry) if is_ttl_directive(&entry) => continue,
                Ok(entry) => self.take(&entry, &mut last_owner),
                Err(problem) => Err(problem),
            };
            match taken {
                Ok(()) => count += 1,
                Err(problem) => {
                    faults.push(AnchorFault { path: path.to_owned(), line: Some(line), problem });
                }
            }
        }
        count
    }

    fn take(&mut self, entry: &Entry<'_>, last_owner: &mut Option<Name>) -> Result<(), AnchorProblem> {
        let mut fields = entry.fields.iter().copied().peekable();
        if !entry.is_continued {
            let text = fields.next().unwrap_or_default();
            if text.starts_with('$') {
                return Err(AnchorProblem::Directive(text.to_owned()));
            }
            let owner = Name::from_presentation(text)
                .map_err(|why| AnchorProblem::Owner { text: text.to_owned(), why })?;
            *last_owner = Some(owner);
        }
        let owner = last_owner.clone().ok_or(AnchorProblem::NoOwner)?;
        // TTL and class in either order, both optional (RFC 1035, section 5.1).
        let is_skipped =
            |field: &&str| field.eq_ignore_ascii_case("IN") || field.bytes().all(|b| b.is_ascii_digit());
        for _ in 0..2 {
            fields.next_if(is_skipped);
        }
        let kind = fields.next().unwrap_or_default();
        let rest: Vec<&str> = fields.collect();
        let number = |at: usize, what: &'static str| -> Result<u16, AnchorProblem> {
            let text = rest.get(at).copied().unwrap_or_default();
            text.parse().map_err(|_| AnchorProblem::Field { what, got: text.to_owned() })
        };
        let octet = |at: usize, what: &'static str| {
            u8::try_from(number(at, what)?)
                .map_err(|_| AnchorProblem::Field { what, got: rest[at].to_owned() })
        };
        let data: String = rest.iter().skip(3).copied().collect();
        if kind.eq_ignore_ascii_case("DS") {
            let tag = number(0, "a key tag from 0 to 65535")?;
            let algorithm = octet(1, "the number of an algorithm, such as 8 or 13")?;
            let digest_type = octet(2, "the number of a digest type, such as 2")?;
            check_algorithm(algorithm)?;
            let digest = hex(&data).ok_or(AnchorProblem::Hex)?;
            let rdata = [&tag.to_be_bytes(), &[algorithm, digest_type], &*digest].concat();
            let ds = Ds::read(&rdata)
                .filter(Ds::has_whole_digest)
                .ok_or(AnchorProblem::Digest { digest_type, octets: digest.len() })?;
            self.0.entry(owner).or_default().ds.push(ds);
        } else if kind.eq_ignore_ascii_case("DNSKEY") {
            let flags = number(0, "flags, 257 for a key-signing key")?;
            let protocol = octet(1, "the protocol 3")?;
            let algorithm = octet(2, "the number of an algorithm, such as 8 or 13")?;
            check_algorithm(algorithm)?;
            let key = BASE64_STANDARD.decode(&data).ok().filter(|key| !key.is_empty());
            let key = key.ok_or(AnchorProblem::Base64)?;
            let rdata = [&flags.to_be_bytes(), &[protocol, algorithm], &*key].concat();
            let key = Dnskey::read(&rdata).filter(Dnskey::is_usable).ok_or(AnchorProblem::Key)?;
            if !key.is_zone_key() {
                return Err(AnchorProblem::Flags(flags));
            }
            self.0.entry(owner).or_default().keys.push(key);
        } else {
            return Err(AnchorProblem::Kind(kind.to_owned()));
        }
        Ok(())
    }

    /// The anchor nearest to `name`, at it or above, and where it stands.
    pub(super) fn nearest(&self, name: &Name) -> Option<(&Name, &Anchor)> {
        (0..=name.label_count()).rev().find_map(|count| self.0.get_key_value(&name.suffix(count)))
    }
}

fn check_algorithm(algorithm: u8) -> Result<(), AnchorProblem> {
    if is_known_algorithm(algorithm) { Ok(()) } else { Err(AnchorProblem::Algorithm(algorithm)) }
}

fn read_file(path: &Path) -> Result<String, AnchorProblem> {
    let unreadable = |error: std::io::Error| AnchorProblem::Unreadable(error.to_string());
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(AnchorProblem::Unreadable("not a file".to_owned()));
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE { Err(AnchorProblem::TooLong) } else { Ok(text) }
}

/// One record's fields.
struct Entry<'a> {
    fields: Vec<&'a str>,
    /// It begins with blanks: its owner is the one before.
    is_continued: bool,
}

fn is_ttl_directive(entry: &Entry<'_>) -> bool {
    entry.fields.first().is_some_and(|field| field.eq_ignore_ascii_case("$TTL"))
}

/// The entries of a text with their lines; parentheses join lines, `;` starts a comment.
fn entries(text: &str) -> Vec<(usize, Result<Entry<'_>, AnchorProblem>)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Entry<'_>)> = None;
    let mut depth = 0usize;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or_default();
        let (start, mut entry) = open.take().unwrap_or_else(|| {
            (number, Entry { fields: Vec::new(), is_continued: line.starts_with([' ', '\t']) })
        });
        for piece in line.split_inclusive(['(', ')']) {
            let field = piece.strip_suffix(['(', ')']);
            entry.fields.extend(field.unwrap_or(piece).split_ascii_whitespace());
            match field.map(|_| piece.as_bytes()[piece.len() - 1]) {
                Some(b'(') => depth += 1,
                Some(_) => depth = depth.saturating_sub(1),
                None => {}
            }
        }
        if depth > 0 {
            open = Some((start, entry));
        } else if !entry.fields.is_empty() {
            found.push((start, Ok(entry)));
        }
    }
    if let Some((start, _)) = open {
        found.push((start, Err(AnchorProblem::Open)));
    }
    found
}

/// Octets of hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() || digits.is_empty() {
        return None;
    }
    Some(pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// One thing that is wrong with a file of trust anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorFault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and the mend.
    pub problem: AnchorProblem,
}

/// What is wrong with a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorProblem {
    /// The system does not give the file.
    #[error("cannot be read: {0}; check resolver.trust_anchors and the file's permissions")]
    Unreadable(String),
    /// No record in it.
    #[error(
        "holds no trust anchor; put DS or DNSKEY records in it, or take it out of resolver.trust_anchors"
    )]
    Empty,
    /// No file of trust anchors is that long.
    #[error("is longer than 1 MiB; a file of trust anchors holds a few DS or DNSKEY records")]
    TooLong,
    /// The record's owner is no name.
    #[error("{text:?} is no name: {why}; begin the line with the zone's name, `.` for the root")]
    Owner {
        /// What stands there.
        text: String,
        /// Why it is none.
        why: NameError,
    },
    /// Blanks in front of the first record.
    #[error("begins with blanks, and no record is before it; begin the line with the zone's name")]
    NoOwner,
    /// A directive.
    #[error("{0} is not followed here; write whole records with absolute names")]
    Directive(String),
    /// Another type of record.
    #[error("a record of type {0:?} is no trust anchor; write `ZONE IN DS …` or `ZONE IN DNSKEY …`")]
    Kind(String),
    /// A number that is none.
    #[error("{got:?} should be {what}")]
    Field {
        /// What it should be.
        what: &'static str,
        /// What stands there.
        got: String,
    },
    /// An algorithm that cannot be computed.
    #[error("algorithm {0} is not supported; the zone needs a key of algorithm 8, 10, 13, 14 or 15")]
    Algorithm(u8),
    /// A digest type that cannot be computed, or a digest of another length.
    #[error(
        "digest type {digest_type} with {octets} octets is not usable; write type 2 and its 64 hexadecimal digits"
    )]
    Digest {
        /// Its type.
        digest_type: u8,
        /// Its octets.
        octets: usize,
    },
    /// Not hexadecimal.
    #[error("the digest is not an even number of hexadecimal digits; copy it whole")]
    Hex,
    /// Not base 64.
    #[error("the key is not base 64; copy it whole")]
    Base64,
    /// Not a key of its algorithm.
    #[error("the key is none of its algorithm; copy it whole (RSA keys have 1024 to 4096 bits)")]
    Key,
    /// A key that signs no zone, or a revoked one.
    #[error("flags {0} are not those of a zone key in use; a key-signing key has 257")]
    Flags(u16),
    /// A parenthesis that nothing closes.
    #[error("the parenthesis is never closed; add `)`")]
    Open,
}
