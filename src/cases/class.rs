//! What kind of trouble a hit is: malware that calls home, a person who opened a link, an address, a scanner.
//!
//! Families and feeds decide it, by patterns that can be set. C2 and phishing are never added up: a case has one class.

use std::fmt;
use std::str::FromStr;

use crate::tabular::heading::folded;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Malware on the machine calls its server.
    C2,
    /// Somebody opened a link that deceives.
    Phishing,
    /// A name led to a listed address; of the name itself nothing is known.
    Address,
    /// Somebody or something looks for open doors.
    Scan,
    /// No feed says what it is.
    Unknown,
}

const CLASSES: [(&str, Class); 5] = [
    ("c2", Class::C2),
    ("phishing", Class::Phishing),
    ("address", Class::Address),
    ("scan", Class::Scan),
    ("unknown", Class::Unknown),
];

impl Class {
    /// Those of which a machine counts as infected; a link that deceives and a scan are counted for themselves.
    pub const INFECTIONS: [Self; 3] = [Self::C2, Self::Address, Self::Unknown];

    /// Its word in commands and exports.
    pub fn as_str(self) -> &'static str {
        CLASSES[self as usize].0
    }

    /// Whether a machine with such a case counts as infected.
    pub fn is_infection(self) -> bool {
        Self::INFECTIONS.contains(&self)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = CLASSES.iter().find(|(word, _)| *word == text);
        found.map(|(_, class)| *class).ok_or("it is none of c2, phishing, address, scan and unknown")
    }
}

/// Which families and feeds are of which class.
///
/// A pattern is a text in which `*` stands for any; letters count the same in either case, with marks or without, composed or
/// not. A family is looked up first, in the order C2, phishing, scan; then the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// Malware that calls its server.
    pub c2: Vec<String>,
    /// Links that deceive.
    pub phishing: Vec<String>,
    /// Scanners.
    pub scan: Vec<String>,
}

impl Default for Classes {
    fn default() -> Self {
        let of = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Self {
            c2: of(&["*c2*", "*botnet*", "*command and control*"]),
            phishing: of(&["*phish*", "*lừa đảo*", "*giả mạo*", "*scam*", "*fraud*"]),
            scan: of(&["*scan*"]),
        }
    }
}

impl Classes {
    /// The class of a rule of this feed and family; `is_address`: an address met it, not a name.
    pub fn of(&self, family: Option<&str>, feed: Option<&str>, is_address: bool) -> Class {
        let family = family.filter(|family| !family.is_empty());
        let lists = [(Class::C2, &self.c2), (Class::Phishing, &self.phishing), (Class::Scan, &self.scan)];
        for text in [family, feed].into_iter().flatten() {
            let text = folded(text);
            let found = lists.iter().find(|(_, patterns)| patterns.iter().any(|it| fits(&folded(it), &text)));
            if let Some((class, _)) = found {
                return *class;
            }
        }
        match (family, is_address) {
            // Feeds name families of malware; what merely deceives has a name that says so.
            (Some(_), _) => Class::C2,
            (None, true) => Class::Address,
            (None, false) => Class::Unknown,
        }
    }
}

/// Whether a pattern takes a text, both folded; each `*` takes as little as it can, which is enough.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(octet) if *octet == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, from) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_decide_before_feeds_and_c2_before_phishing() {
        fn check(family: &str, feed: &str, is_address: bool, expected: Class) {
            let classes = Classes::default();
            assert_eq!(classes.of(Some(family), Some(feed), is_address), expected, "{family:?}, {feed:?}");
        }
        check("emotet", "authority", false, Class::C2);
        check("", "threatfox-c2", false, Class::C2);
        check("Phishing", "authority", false, Class::Phishing);
        check("", "openphish", false, Class::Phishing);
        check("emotet", "openphish", false, Class::Phishing);
        check("Botnet phishing kit", "", false, Class::C2);
        check("Trang lừa đảo ngân hàng", "", false, Class::Phishing);
        check("LỪA ĐẢO TRỰC TUYẾN", "", false, Class::Phishing);
        check("Lừa Đảo", "", false, Class::Phishing);
        check("Lua dao", "", false, Class::Phishing);
        check("Gia\u{309} ma\u{323}o ngân hàng", "", false, Class::Phishing);
        check("", "LU\u{31b}\u{300}A ĐA\u{309}O", false, Class::Phishing);
        check("masscanner", "", false, Class::Scan);
        check("", "bad-addresses", true, Class::Address);
        check("emotet", "bad-addresses", true, Class::C2);
        check("", "authority", false, Class::Unknown);
        assert_eq!(Classes::default().of(None, None, false), Class::Unknown);
    }

    #[test]
    fn a_star_takes_anything() {
        fn check(pattern: &str, text: &str, expected: bool) {
            assert_eq!(fits(&folded(pattern), &folded(text)), expected, "{pattern:?} {text:?}");
        }
        check("", "", true);
        check("*", "", true);
        check("", "a", false);
        check("emotet", "EMOTET", true);
        check("emotet", "emotet2", false);
        check("emotet*", "emotet2", true);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b*", "xxbxxaxx", false);
        check("*aab", "aaab", true);
        check("a*a", "a", false);
        let long = "a".repeat(10_000);
        check("*a*a*a*a*b", &long, false);
    }

    #[test]
    fn words_are_read_back() {
        for (word, class) in CLASSES {
            assert_eq!(word.parse(), Ok(class));
            assert_eq!(class.to_string(), word);
        }
        assert!("C2".parse::<Class>().is_err());
    }
}
