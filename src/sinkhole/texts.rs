//! The landing page's sentences: the built-in ones, and what an administrator puts in their place.
//!
//! `texts.toml` beside this file holds every sentence and is the one place where they stand; a file of the same form
//! replaces single ones. Form only: where a text stands on the page is the business of `page`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

/// The two languages of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Tiếng Việt.
    Vietnamese,
    /// English.
    English,
}

impl Language {
    /// Its BCP 47 tag, which is also the name of its table and of its part of the page.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Vietnamese => "vi",
            Self::English => "en",
        }
    }

    /// What it calls itself.
    pub(super) fn own_name(self) -> &'static str {
        match self {
            Self::Vietnamese => "Tiếng Việt",
            Self::English => "English",
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Vietnamese => Self::English,
            Self::English => Self::Vietnamese,
        }
    }

    /// The `strftime` form of a time.
    pub(super) fn time_form(self) -> &'static str {
        match self {
            Self::Vietnamese => "%H:%M:%S ngày %d/%m/%Y (UTC%:z)",
            Self::English => "%H:%M:%S, %-d %B %Y (UTC%:z)",
        }
    }
}

macro_rules! wording {
    (texts $($text:ident)+; lists $($list:ident)+;) => {
        /// The page in one language.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(super) struct Wording {
            $(pub(super) $text: String,)+
            $(pub(super) $list: Vec<String>,)+
        }

        impl Wording {
            const KEYS: &[&str] = &[$(stringify!($text),)+ $(stringify!($list),)+];

            fn slot(&mut self, key: &str) -> Option<Slot<'_>> {
                match key {
                    $(stringify!($text) => Some(Slot::Text(&mut self.$text)),)+
                    $(stringify!($list) => Some(Slot::List(&mut self.$list)),)+
                    _ => None,
                }
            }
        }
    };
}

wording! {
    texts
        sender helpline
        c2_title c2_lead c2_sure c2_repeated
        phishing_title phishing_lead phishing_sure
        address_title address_lead address_sure
        listed_title listed_lead listed_sure
        unlisted_title unlisted_lead unlisted_action
        sure_heading facts_heading steps_heading said_heading said_lead
        ticket ticket_help host time family no_family feed machine client agency no_agency contact
        helpline_label since sightings
        clean_label clean_button wrong_label wrong_button said_clean said_wrong
        mistake promise promise_links
        thanks_clean_title thanks_clean_lead thanks_wrong_title thanks_wrong_lead
        next_heading back stale often_title often_lead failed_title failed_lead
        sheet_person sheet_officer;
    lists
        c2_steps phishing_steps address_steps listed_steps thanks_clean_next thanks_wrong_next;
}

/// Where a key's value goes.
enum Slot<'a> {
    Text(&'a mut String),
    List(&'a mut Vec<String>),
}

/// What a machine is to be cleaned with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) name: String,
    /// `http` or `https`; as it was written.
    pub(super) link: Option<String>,
    /// In Vietnamese and in English.
    remarks: [Option<String>; 2],
}

impl Tool {
    pub(super) fn remark(&self, language: Language) -> Option<&str> {
        self.remarks[language as usize].as_deref()
    }
}

/// All texts of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// In Vietnamese and in English.
    wordings: [Wording; 2],
    pub(super) tools: Vec<Tool>,
}

/// What is wrong with a file of texts, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TextFault {
    /// The line, from 1.
    pub line: usize,
    /// `table.key`, as far as it is known.
    pub key: String,
    /// What is wrong, and the mend.
    pub problem: TextProblem,
}

/// What can be wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// No such table or key.
    #[error("no such text; {}", .0.map_or_else(|| "docs/landing.md lists them all".to_owned(), |key| format!("did you mean `{key}`?")))]
    Unknown(Option<&'static str>),
    /// A list where one text belongs, or the reverse, or something else.
    #[error("must be {0}")]
    Type(&'static str),
    /// Empty, where the page needs something.
    #[error("there is nothing in it; write a text, or take the line out to have the built-in one")]
    Empty,
    /// Longer than the page has room for.
    #[error("has {0} characters, more than {1}; shorten it")]
    Long(usize, usize),
    /// Too many elements.
    #[error("has {0} elements, more than {1}; leave some out")]
    Many(usize, usize),
    /// A character that hides or reorders others, or a control character.
    #[error("holds the character {0:?}, which does not show; take it out")]
    Hidden(char),
    /// Not a link that a browser follows.
    #[error("{0:?} is no link; write one that begins with https:// or http://, or take the line out")]
    Link(String),
    /// A tool without a name.
    #[error("is missing; add it, for example `name = \"Bkav Endpoint\"`")]
    Nameless,
}

/// Most characters of a text, and of a tool's name, link or remark.
const LONGEST: usize = 700;
const LONGEST_OF_TOOL: usize = 120;
/// Most steps of a list, and most tools.
const MOST: usize = 10;

impl Default for Texts {
    /// The built-in ones.
    fn default() -> Self {
        let mut texts = Self { wordings: Default::default(), tools: Vec::new() };
        let faults = texts.take(include_str!("texts.toml"));
        debug_assert!(faults.is_empty(), "{faults:?}");
        texts
    }
}

impl Texts {
    /// The built-in texts, with those of `text`, a file's content, in place of their own.
    ///
    /// # Errors
    /// All that is wrong with it, by line.
    pub fn read(text: &str) -> Result<Self, Vec<TextFault>> {
        let mut texts = Self::default();
        let mut faults = texts.take(text);
        faults.sort_by_key(|fault| fault.line);
        if faults.is_empty() { Ok(texts) } else { Err(faults) }
    }

    pub(super) fn wording(&self, language: Language) -> &Wording {
        &self.wordings[language as usize]
    }

    fn take(&mut self, text: &str) -> Vec<TextFault> {
        let mut taking = Taking { text, faults: Vec::new() };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            taking.fault(at, "", TextProblem::Syntax(error.message().to_owned()));
        }
        // What a broken line meant is unknown, so the lines around it are not judged.
        if !taking.faults.is_empty() {
            return taking.faults;
        }
        for (key, value) in document.get_ref() {
            let at = key.span().start;
            match (&**key.get_ref(), value.get_ref()) {
                ("vi", DeValue::Table(table)) => taking.wording(Language::Vietnamese, table, self),
                ("en", DeValue::Table(table)) => taking.wording(Language::English, table, self),
                ("vi" | "en", _) => taking.fault(at, key.get_ref(), TextProblem::Type("a table: [vi]")),
                ("tool", DeValue::Array(array)) => self.tools = taking.tools(at, array),
                ("tool", _) => taking.fault(at, "tool", TextProblem::Type("a list of tables: [[tool]]")),
                (other, _) => {
                    let nearest = nearest(other, &["vi", "en", "tool"]);
                    taking.fault(at, other, TextProblem::Unknown(nearest));
                }
            }
        }
        taking.faults
    }
}

/// One read of one file.
struct Taking<'a> {
    text: &'a str,
    faults: Vec<TextFault>,
}

impl Taking<'_> {
    fn fault(&mut self, at: usize, key: &str, problem: TextProblem) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&octet| octet == b'\n').count();
        self.faults.push(TextFault { line, key: key.to_owned(), problem });
    }

    fn wording(&mut self, language: Language, table: &DeTable<'_>, texts: &mut Texts) {
        for (key, value) in table {
            let (at, name) = (key.span().start, format!("{}.{}", language.tag(), key.get_ref()));
            let Some(slot) = texts.wordings[language as usize].slot(key.get_ref()) else {
                let nearest = nearest(key.get_ref(), Wording::KEYS);
                self.fault(at, &name, TextProblem::Unknown(nearest));
                continue;
            };
            let read = match slot {
                Slot::Text(text) => {
                    self::text(value.get_ref(), LONGEST).and_then(|read| match read {
                        // The one text that a page may do without.
                        None if key.get_ref() != "helpline" => Err(TextProblem::Empty),
                        read => {
                            *text = read.unwrap_or_default();
                            Ok(())
                        }
                    })
                }
                Slot::List(list) => self::list(value.get_ref()).map(|read| *list = read),
            };
            if let Err(problem) = read {
                self.fault(at, &name, problem);
            }
        }
    }

    fn tools(&mut self, at: usize, array: &[Spanned<DeValue<'_>>]) -> Vec<Tool> {
        if array.len() > MOST {
            self.fault(at, "tool", TextProblem::Many(array.len(), MOST));
        }
        let tools = array.iter().filter_map(|element| match element.get_ref() {
            DeValue::Table(table) => self.tool(element.span().start, table),
            _ => {
                self.fault(element.span().start, "tool", TextProblem::Type("a table: [[tool]]"));
                None
            }
        });
        tools.collect()
    }

    fn tool(&mut self, start: usize, table: &DeTable<'_>) -> Option<Tool> {
        let mut tool = Tool { name: String::new(), link: None, remarks: [None, None] };
        for (key, value) in table {
            let (at, name) = (key.span().start, format!("tool.{}", key.get_ref()));
            let read = match text(value.get_ref(), LONGEST_OF_TOOL) {
                Ok(read) => read,
                Err(problem) => {
                    self.fault(at, &name, problem);
                    continue;
                }
            };
            match &**key.get_ref() {
                "name" => tool.name = read.unwrap_or_default(),
                "link" => match read {
                    Some(link) if !is_link(&link) => self.fault(at, &name, TextProblem::Link(link)),
                    link => tool.link = link,
                },
                "vi" => tool.remarks[Language::Vietnamese as usize] = read,
                "en" => tool.remarks[Language::English as usize] = read,
                other => {
                    let nearest = nearest(other, &["name", "link", "vi", "en"]);
                    self.fault(at, &name, TextProblem::Unknown(nearest));
                }
            }
        }
        if tool.name.is_empty() {
            self.fault(start, "tool.name", TextProblem::Nameless);
            return None;
        }
        Some(tool)
    }
}

/// A text without its outer blanks; `None` where nothing is left.
fn text(value: &DeValue<'_>, longest: usize) -> Result<Option<String>, TextProblem> {
    let text = value.as_str().ok_or(TextProblem::Type("a text in quotes"))?.trim();
    if let Some(hidden) = text.chars().find(|&c| is_hidden(c)) {
        return Err(TextProblem::Hidden(hidden));
    }
    let count = text.chars().count();
    if count > longest {
        return Err(TextProblem::Long(count, longest));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn list(value: &DeValue<'_>) -> Result<Vec<String>, TextProblem> {
    let array = value.as_array().ok_or(TextProblem::Type("a list of texts: [\"…\"]"))?;
    if array.len() > MOST {
        return Err(TextProblem::Many(array.len(), MOST));
    }
    let texts: Vec<String> = array
        .iter()
        .map(|element| text(element.get_ref(), LONGEST)?.ok_or(TextProblem::Empty))
        .collect::<Result<_, _>>()?;
    if texts.is_empty() { Err(TextProblem::Empty) } else { Ok(texts) }
}

fn is_link(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http") && url.has_host() && url.username().is_empty()
    })
}

fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let likeness = |known: &&'static str| strsim::normalized_damerau_levenshtein(known, key);
    // Of equals the first: `vn` is `vi` rather than `en`.
    let best = known.iter().rev().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= 0.5).then_some(best)
}

/// Whether a character is a control character, or one that hides or reorders others: Unicode's zero-width and
/// bidirectional formatting characters, separators of lines, and tags.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_there_in_both_languages() {
        let mut texts = Texts { wordings: Default::default(), tools: Vec::new() };
        assert_eq!(texts.take(include_str!("texts.toml")), []);
        for language in [Language::Vietnamese, Language::English] {
            for key in Wording::KEYS {
                let is_there = match texts.wordings[language as usize].slot(key) {
                    Some(Slot::Text(text)) => !text.is_empty() || *key == "helpline",
                    Some(Slot::List(list)) => list.len() > 2,
                    None => false,
                };
                assert!(is_there, "{language:?} {key}");
            }
            assert!(texts.tools.iter().all(|tool| tool.remark(language).is_some()));
        }
        let wording = texts.wording(Language::English);
        for steps in
            [&wording.c2_steps, &wording.phishing_steps, &wording.address_steps, &wording.listed_steps]
        {
            assert_eq!(steps.iter().filter(|step| step.contains("{tools}")).count(), 1, "{steps:?}");
        }
    }

    #[test]
    fn single_texts_are_replaced() {
        let texts = Texts::read(
            "[vi]\nsender = \" Tỉnh Bắc \"\nhelpline = \"0299 000 000\"\nc2_steps = [\"*Ngắt* máy\"]\n\
             [[tool]]\nname = \"Bkav\"\nlink = \"https://tools.example.vn/bkav\"\nvi = \"miễn phí\"\n",
        )
        .unwrap();
        let (vietnamese, built_in) = (texts.wording(Language::Vietnamese), Texts::default());
        assert_eq!((&*vietnamese.sender, &*vietnamese.helpline), ("Tỉnh Bắc", "0299 000 000"));
        assert_eq!(vietnamese.c2_steps, ["*Ngắt* máy"]);
        assert_eq!(vietnamese.c2_title, built_in.wording(Language::Vietnamese).c2_title);
        assert_eq!(texts.wording(Language::English), built_in.wording(Language::English));
        let [tool] = &*texts.tools else { panic!("{:?}", texts.tools) };
        assert_eq!(tool.link.as_deref(), Some("https://tools.example.vn/bkav"));
        assert_eq!(
            (tool.remark(Language::Vietnamese), tool.remark(Language::English)),
            (Some("miễn phí"), None)
        );
        assert_eq!(Texts::read(""), Ok(built_in));
    }

    #[test]
    fn faults_name_the_line_and_the_mend() {
        fn check(text: &str, expected: &[&str]) {
            let faults = Texts::read(text).unwrap_err();
            let got: Vec<_> =
                faults.iter().map(|fault| format!("{}: {}: {fault}", fault.line, fault.key)).collect();
            assert_eq!(got.len(), expected.len(), "{got:#?}");
            for (got, expected) in got.iter().zip(expected) {
                assert!(got.starts_with(expected), "{got}\n  should be {expected}…");
            }
        }
        check("[vi]\nsender = \"a", &["2: : not valid TOML: "]);
        check("[vi]\nc2_titel = \"a\"\n", &["2: vi.c2_titel: no such text; did you mean `c2_title`?"]);
        check("[vn]\n", &["1: vn: no such text; did you mean `vi`?"]);
        check("zzzzzz = 1\n", &["1: zzzzzz: no such text; docs/landing.md lists them all"]);
        check("vi = 1\ntool = 2\n", &["1: vi: must be a table", "2: tool: must be a list of tables"]);
        check(
            "[en]\nsender = \"\"\nhost = 7\n",
            &["2: en.sender: there is nothing", "3: en.host: must be a text"],
        );
        check(
            "[en]\nc2_steps = \"a\"\nlisted_steps = []\n",
            &["2: en.c2_steps: must be a list", "3: en.listed_steps: there"],
        );
        check(
            &format!("[en]\nhost = \"{}\"\n", "ế".repeat(701)),
            &["2: en.host: has 701 characters, more than 700"],
        );
        check("[en]\nhost = \"a\\u202Eb\"\n", &["2: en.host: holds the character '\\u{202e}'"]);
        check(
            "[[tool]]\nvi = \"a\"\n[[tool]]\nname = \"b\"\nlink = \"javascript:alert(1)\"\nurl = \"\"\n",
            &[
                "1: tool.name: is missing",
                "5: tool.link: \"javascript:alert(1)\" is no link",
                "6: tool.url: no such text",
            ],
        );
        check("tool = [1]\n", &["1: tool: must be a table"]);
        check(&"[[tool]]\nname = \"a\"\n".repeat(11), &["1: tool: has 11 elements, more than 10"]);
    }
}
