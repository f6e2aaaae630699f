//! Giving analysts' rules and taking them back: what may be given, and how it is put down.
//!
//! For the commands and the console alike. Who may do that is theirs to know; putting rules in force is `rules`' beside.

use std::sync::Arc;

use crate::clock;
use crate::config::Config;
use crate::feed::address::Addresses;
use crate::feed::gate::{self, Gate};
use crate::policy::trigger::Scope;
use crate::rules::history::{History, HistoryError, Reading};
use crate::rules::{Change, Deed, Entry, Event, MOST, Rule, Subject};

/// Networks of so many bits or fewer pass only by force.
const WIDEST_IPV4: u8 = 8;
const WIDEST_IPV6: u8 = 16;

/// Why a rule is not given or taken back.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The history cannot be read or written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// It would take what is protected or popular.
    #[error("{subject} {why}; with --force it is blocked all the same")]
    Objection {
        /// What.
        subject: Subject,
        /// What it is.
        why: String,
    },
    /// It would take everything below a top-level domain.
    #[error("{0} is a whole top-level domain; with --force it is blocked all the same")]
    TopLevel(Subject),
    /// An exception would let pass everything below a top-level domain or public suffix.
    #[error(
        "{0} is a top-level domain or a public suffix: no feed would act on anything below it; with --force it passes all the same"
    )]
    Suffix(Subject),
    /// … or whatever leads to a large part of all addresses.
    #[error(
        "{0} is a very large network: no feed would act on whatever leads there; with --force it passes all the same"
    )]
    Large(Subject),
    /// Nobody may block that address or network.
    #[error("{subject}: {why}")]
    Address {
        /// Which.
        subject: Subject,
        /// Why not.
        why: crate::feed::Fault,
    },
    /// Only names have something below them.
    #[error("--exact is for names, and {0} is none")]
    Exact(Subject),
    /// There is no such agency.
    #[error("the configuration has no agency {0:?}; [[agency]] says which there are")]
    Agency(String),
    /// Feeds alone give what is given.
    #[error("`given` is for feeds; write sinkhole, nxdomain, nodata, drop, tcp-only, cname:NAME or shadow")]
    Given,
    /// A block does not let pass.
    #[error("an exception is given with `sachdns policy allow`")]
    Passthru,
    /// There are as many as there may be.
    #[error("{MOST} rules are in force already; put such a long list into a file and add it as a [[feed]]")]
    TooMany,
    /// There is nothing to take back.
    #[error("no rule of that number, name or address is in force: {0}; `sachdns policy rules` shows all")]
    Nothing(String),
    /// There is more than one.
    #[error("{subject} has more than one rule: {numbers}; say the number, or --agency")]
    Several {
        /// On what.
        subject: String,
        /// Which.
        numbers: String,
    },
}

/// Who answers for a change, and why it is made.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// Who.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl Word<'_> {
    fn deed(&self, id: u64, time: i64) -> Deed {
        Deed { id, time, by: self.by.trim().into(), reason: self.reason.trim().into() }
    }
}

/// Whether a block of this would take what nobody may lose.
///
/// # Errors
/// [`RuleError`].
pub fn check(config: &Config, gate: &Gate, subject: &Subject, is_forced: bool) -> Result<(), RuleError> {
    let (name, scope) = match subject {
        Subject::Name(name, scope) => (name, *scope),
        Subject::Network(net) => {
            let addresses = config.feeds.first().map(|feed| feed.addresses.clone()).unwrap_or_default();
            let own = config.sinkhole.addresses.iter().chain(&addresses.own).copied().collect();
            // Not even by force: nobody could be answered.
            return Addresses { own, ..addresses }
                .check(*net)
                .map_err(|why| RuleError::Address { subject: subject.clone(), why });
        }
    };
    if is_forced {
        return Ok(());
    }
    if let Some(why) = gate.objection(name, scope) {
        return Err(RuleError::Objection { subject: subject.clone(), why });
    }
    if name.label_count() < 2 { Err(RuleError::TopLevel(subject.clone())) } else { Ok(()) }
}

/// Whether an exception for this would undo far more than anybody means.
///
/// # Errors
/// [`RuleError`].
pub fn check_exception(subject: &Subject, is_forced: bool) -> Result<(), RuleError> {
    if is_forced {
        return Ok(());
    }
    match subject {
        Subject::Name(_, Scope::Exact) => Ok(()),
        Subject::Name(name, _) if gate::is_public_suffix(name) || name.label_count() < 2 => {
            Err(RuleError::Suffix(subject.clone()))
        }
        Subject::Name(..) => Ok(()),
        Subject::Network(net) => {
            let widest = if net.addr().is_ipv4() { WIDEST_IPV4 } else { WIDEST_IPV6 };
            if net.prefix_len() <= widest { Err(RuleError::Large(subject.clone())) } else { Ok(()) }
        }
    }
}

/// Gives a rule on each subject and for each agency; for everybody, where none is named. Returns what was read before, and what was
/// added.
///
/// # Errors
/// [`RuleError`]; nothing is given then.
pub fn give(
    config: &Config,
    subjects: &[Subject],
    agencies: &[String],
    word: Word<'_>,
    rule: impl Fn(Subject, Option<Arc<str>>) -> Rule,
) -> Result<(Reading, Vec<Event>), RuleError> {
    let unknown = |id: &&String| !config.agencies.iter().any(|agency| *agency.id == ***id);
    if let Some(id) = agencies.iter().find(unknown) {
        return Err(RuleError::Agency(id.clone()));
    }
    let mut agencies: Vec<Option<Arc<str>>> = agencies.iter().map(|id| Some(id.as_str().into())).collect();
    if agencies.is_empty() {
        agencies.push(None);
    }
    let mut rules = Vec::new();
    for subject in subjects {
        rules.extend(agencies.iter().map(|agency| rule(subject.clone(), agency.clone())));
    }
    let now = clock::now();
    History::new(&config.data_dir).change(now, |book| {
        if book.active(now).count() + rules.len() > MOST {
            return Err(RuleError::TooMany);
        }
        let deeds = (book.next_id()..).map(|id| word.deed(id, now));
        Ok(deeds.zip(rules).map(|(deed, rule)| Event { deed, change: Change::Add(rule) }).collect())
    })
}

/// Takes back the rules in force that `is_meant` and that these numbers, names, addresses or networks mean, of an agency or of any.
///
/// # Errors
/// [`RuleError`]; nothing is taken back then.
pub fn take_back(
    config: &Config,
    subjects: &[String],
    agency: Option<&str>,
    word: Word<'_>,
    is_meant: impl Fn(&Rule) -> bool,
) -> Result<(Reading, Vec<Event>), RuleError> {
    let now = clock::now();
    History::new(&config.data_dir).change(now, |book| {
        let mut events = Vec::new();
        for text in subjects {
            let found: Vec<&Entry> = book
                .active(now)
                .filter(|entry| is_meant(&entry.rule) && is_on(entry, text, agency))
                .collect();
            match &found[..] {
                [] => return Err(RuleError::Nothing(text.clone())),
                [entry] => {
                    let id = book.next_id() + events.len() as u64;
                    events.push(Event { deed: word.deed(id, now), change: Change::Remove(entry.deed.id) });
                }
                several => {
                    let numbers: Vec<String> = several.iter().map(|it| it.deed.id.to_string()).collect();
                    let (subject, numbers) = (text.clone(), numbers.join(", "));
                    return Err(RuleError::Several { subject, numbers });
                }
            }
        }
        Ok(events)
    })
}

/// Whether a rule has this number, or is on what the text says.
fn is_on(entry: &Entry, text: &str, agency: Option<&str>) -> bool {
    if text.parse() == Ok(entry.deed.id) {
        return true;
    }
    let Ok(wanted) = text.parse::<Subject>() else { return false };
    let is_same = match (&entry.rule.subject, &wanted) {
        // Whether it was given with --exact need not be known.
        (Subject::Name(name, Scope::Exact), Subject::Name(wanted, Scope::Subtree)) => name == wanted,
        (subject, wanted) => subject == wanted,
    };
    is_same && agency.is_none_or(|id| entry.rule.agency.as_deref() == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_for_very_much_need_force() {
        let check = |text: &str, expected: bool| {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(check_exception(&subject, false).is_ok(), expected, "{text}");
            assert!(check_exception(&subject, true).is_ok(), "{text}");
        };
        for text in
            ["com", "vn", "*.vn", "com.vn", "gov.vn", "*.co.uk", "zz", "10.0.0.0/8", "0.0.0.0/0", "2001::/16"]
        {
            check(text, false);
        }
        for text in
            ["example.com", "*.example.com", "so-yte.gov.vn", "10.0.0.0/9", "192.0.2.1", "2001:db8::/32"]
        {
            check(text, true);
        }
        let name = "com.vn".parse::<Subject>().unwrap();
        let Subject::Name(name, _) = name else { unreachable!("it is a name") };
        assert!(check_exception(&Subject::Name(name, Scope::Exact), false).is_ok(), "the name alone");
    }
}
