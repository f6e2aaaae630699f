//! The one function that decides which rule a query meets.
//!
//! Precedence (draft-vixie-dnsop-dns-rpz-00, section 5): the first feed in configured order; inside
//! it the exact name before a wildcard, and the longest wildcard first. Feeds in shadow take part in a
//! second reckoning only, by the same precedence: what would have won, were they enforced. `explain`
//! runs this same function with an observer.

use super::action::Action;
use super::index::{Index, Listed};
use super::rule::{Feed, FeedKind, Mode, Provenance, Rule};
use crate::name::Key;

/// What the policy says about a qname.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decision<'p> {
    /// The rule that acts, if any.
    pub ruling: Option<Ruling<'p>>,
    /// The rule of a feed in shadow that would have acted instead.
    pub shadow: Option<Ruling<'p>>,
}

/// A rule that a qname met.
#[derive(Debug, Clone, Copy)]
pub struct Ruling<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// The feed it comes from.
    pub feed: &'p Feed,
    /// Its malware family.
    pub family: Option<&'p str>,
    /// How many labels of the qname, from the root, the listed name has.
    pub labels: usize,
}

impl Ruling<'_> {
    /// Whether a query that meets this rule tells of an infected client or a click.
    pub fn is_hit(&self) -> bool {
        self.feed.kind == FeedKind::Threat
            && self.rule.mode == Mode::Enforced
            // Neither tells of anything malicious.
            && !matches!(self.rule.action, Action::Passthru | Action::TcpOnly)
    }

    fn outranks(&self, other: &Self) -> bool {
        // More labels are both "exact before wildcard" and "longest wildcard first".
        (self.rule.feed, other.labels) < (other.rule.feed, self.labels)
    }
}

/// Sees every rule that a decision considers.
pub trait Observer<'p> {
    /// A listed name on the way to the qname has this rule; `covers` tells whether its scope
    /// includes the qname.
    fn considers(&mut self, ruling: Ruling<'p>, covers: bool);
}

/// Watches nothing: the query path.
pub struct Unobserved;

impl<'p> Observer<'p> for Unobserved {
    fn considers(&mut self, _: Ruling<'p>, _: bool) {}
}

/// Decides what happens to a query for the name behind `key`.
pub fn decide<'p, D: AsRef<[u8]>>(
    index: &'p Index<D>,
    key: &Key,
    observer: &mut impl Observer<'p>,
) -> Decision<'p> {
    let mut weighing = Weighing::default();
    index.walk(key, |listed| weighing.meet(listed, index.provenance(), observer));
    weighing.decision()
}

/// As [`decide`], unobserved, for several names at once; where there is no key, nothing is decided.
pub fn decide_many<'p, D: AsRef<[u8]>, const N: usize>(
    index: &'p Index<D>,
    keys: &[Option<Key>; N],
) -> [Decision<'p>; N] {
    let mut weighings = [Weighing::default(); N];
    index.walk_many(keys, |number, listed| {
        weighings[number].meet(listed, index.provenance(), &mut Unobserved);
    });
    weighings.map(Weighing::decision)
}

/// The rules that a qname has met so far.
#[derive(Debug, Clone, Copy, Default)]
struct Weighing<'p> {
    enforced: Option<Ruling<'p>>,
    /// What would have won, were the feeds in shadow enforced.
    on_trial: Option<Ruling<'p>>,
}

impl<'p> Weighing<'p> {
    fn meet(&mut self, listed: Listed<'p>, provenance: &'p Provenance, observer: &mut impl Observer<'p>) {
        for rule in listed.rules {
            // `Index::new` checked both numbers.
            let Some(feed) = provenance.feeds.get(usize::from(rule.feed)) else { continue };
            let family = rule.family.and_then(|family| provenance.families.get(family as usize));
            let ruling = Ruling { rule, feed, family: family.map(|text| &**text), labels: listed.labels };
            let covers = rule.scope.covers(listed.is_qname);
            observer.considers(ruling, covers);
            if !covers {
                continue;
            }
            if rule.mode == Mode::Enforced && self.enforced.is_none_or(|best| ruling.outranks(&best)) {
                self.enforced = Some(ruling);
            }
            if self.on_trial.is_none_or(|best| ruling.outranks(&best)) {
                self.on_trial = Some(ruling);
            }
        }
    }

    fn decision(self) -> Decision<'p> {
        // An exception on trial would have changed nothing that is worth a note.
        let is_told =
            |ruling: &Ruling<'_>| ruling.rule.mode == Mode::Shadow && ruling.rule.action != Action::Passthru;
        Decision { ruling: self.enforced, shadow: self.on_trial.filter(is_told) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::Name;
    use crate::policy::compile::{Compiler, Listing};
    use crate::policy::trigger::Scope;

    /// One rule a line: `FEED SCOPE NAME ACTION`, feeds by number; `shadow:` before the action of a
    /// feed on trial.
    fn policy(text: &str) -> Index<Vec<u8>> {
        let mut compiler = Compiler::new(
            (0..4).map(|n| Feed { name: format!("feed{n}").into(), kind: FeedKind::Threat }).collect(),
        );
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let scope = match words[1] {
                "exact" => Scope::Exact,
                "below" => Scope::Below,
                _ => Scope::Subtree,
            };
            let name = Name::from_host(words[2]).unwrap();
            let (mode, action) = match words[3].strip_prefix("shadow:") {
                Some(action) => (Mode::Shadow, action),
                None => (Mode::Enforced, words[3]),
            };
            let (feed, action) = (words[0].parse().unwrap(), action.parse().unwrap());
            compiler.add(&name, Listing { feed, scope, action, mode, family: None }).unwrap();
        }
        compiler.finish().unwrap().into_index().unwrap()
    }

    fn check(index: &Index<Vec<u8>>, qname: &str, expected: &str) {
        let key = Key::from(&Name::from_host(qname).unwrap());
        let decision = decide(index, &key, &mut Unobserved);
        let show = |ruling: Option<Ruling<'_>>| {
            ruling.map_or("-".to_owned(), |r| format!("{} {}", r.rule.feed, r.rule.action))
        };
        let got = match decision.shadow {
            None => show(decision.ruling),
            shadow => format!("{} shadow {}", show(decision.ruling), shadow.unwrap().rule.feed),
        };
        assert_eq!(got, expected, "{qname}");
    }

    #[test]
    fn scopes() {
        let index = policy(
            "0 exact exact.example nxdomain
             0 below below.example nodata
             0 subtree subtree.example sinkhole",
        );
        check(&index, "exact.example", "0 nxdomain");
        check(&index, "a.exact.example", "-");
        check(&index, "below.example", "-");
        check(&index, "a.below.example", "0 nodata");
        check(&index, "a.b.below.example", "0 nodata");
        check(&index, "subtree.example", "0 sinkhole");
        check(&index, "a.subtree.example", "0 sinkhole");
        check(&index, "notsubtree.example", "-");
        check(&index, "subtree.example.org", "-");
        check(&index, "example", "-");
    }

    #[test]
    fn earlier_feeds_win_and_then_the_longest_match() {
        let index = policy(
            "0 subtree good.evil.example passthru
             1 subtree evil.example sinkhole
             1 exact www.evil.example nodata
             1 below deep.evil.example nxdomain
             2 exact www.evil.example drop
             2 exact late.example drop",
        );
        check(&index, "good.evil.example", "0 passthru");
        check(&index, "www.good.evil.example", "0 passthru");
        check(&index, "evil.example", "1 sinkhole");
        check(&index, "www.evil.example", "1 nodata");
        check(&index, "a.www.evil.example", "1 sinkhole");
        check(&index, "deep.evil.example", "1 sinkhole");
        check(&index, "a.deep.evil.example", "1 nxdomain");
        check(&index, "late.example", "2 drop");
    }

    #[test]
    fn feeds_in_shadow_change_nothing_and_tell_what_they_would() {
        let index = policy(
            "0 subtree evil.example shadow:sinkhole
             1 subtree evil.example sinkhole
             0 subtree watched.example shadow:sinkhole
             0 subtree good.watched.example shadow:passthru
             2 subtree early.example sinkhole
             3 subtree early.example shadow:drop
             0 subtree freed.example shadow:passthru
             1 subtree freed.example sinkhole",
        );
        check(&index, "evil.example", "1 sinkhole shadow 0");
        check(&index, "www.watched.example", "- shadow 0");
        check(&index, "www.good.watched.example", "-");
        check(&index, "early.example", "2 sinkhole");
        check(&index, "freed.example", "1 sinkhole");
    }

    #[test]
    fn an_exception_beats_a_block_of_the_same_feed_and_name() {
        let index = policy(
            "0 subtree both.example sinkhole
             0 subtree both.example passthru",
        );
        check(&index, "www.both.example", "0 passthru");
    }

    /// What [`decide`] promises, written without an index.
    fn naive(rules: &[(u16, Scope, Name, Action)], qname: &Name) -> Option<(u16, usize, Action)> {
        let mut best: Option<(u16, usize, Action)> = None;
        for (feed, scope, name, action) in rules {
            let is_met = match scope {
                Scope::Exact => qname == name,
                Scope::Below => qname != name && qname.is_within(name),
                Scope::Subtree => qname.is_within(name),
            };
            if !is_met {
                continue;
            }
            let labels = name.label_count();
            let is_better = best.as_ref().is_none_or(|(best_feed, best_labels, best_action)| {
                feed < best_feed
                    || feed == best_feed
                        && (labels > *best_labels
                            || labels == *best_labels
                                && *action == Action::Passthru
                                && *best_action != Action::Passthru)
            });
            if is_better {
                best = Some((*feed, labels, action.clone()));
            }
        }
        best
    }

    fn small_name() -> impl Strategy<Value = Name> {
        // Few labels over few letters, so that random names meet.
        prop::collection::vec("[ab]{1,2}", 1..5)
            .prop_map(|labels| Name::from_host(&labels.join(".")).unwrap())
    }

    fn any_rule() -> impl Strategy<Value = (u16, Scope, Name, Action)> {
        let scope = prop::sample::select(vec![Scope::Exact, Scope::Below, Scope::Subtree]);
        let action = prop::sample::select(vec![Action::Passthru, Action::Sinkhole, Action::Nxdomain]);
        (0..3u16, scope, small_name(), action)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn the_walk_agrees_with_a_naive_matcher(
            rules in prop::collection::vec(any_rule(), 0..40),
            qnames in prop::collection::vec(small_name(), 1..20),
        ) {
            let mut compiler = Compiler::new(
                (0..3).map(|n| Feed { name: format!("feed{n}").into(), kind: FeedKind::Threat }).collect(),
            );
            for (feed, scope, name, action) in &rules {
                let (scope, action, mode) = (*scope, action.clone(), Mode::Enforced);
                compiler.add(name, Listing { feed: *feed, scope, action, mode, family: None }).unwrap();
            }
            let index = compiler.finish().unwrap().into_index().unwrap();
            for four in qnames.chunks(4) {
                let keys = std::array::from_fn::<_, 4, _>(|n| four.get(n).map(Key::from));
                for (qname, decision) in four.iter().zip(decide_many(&index, &keys)) {
                    let alone = decide(&index, &Key::from(qname), &mut Unobserved);
                    let show = |it: Option<Ruling<'_>>| it.map(|it| (it.rule.feed, it.labels, it.rule.action.clone()));
                    prop_assert_eq!(show(decision.ruling), show(alone.ruling), "{}", qname);
                    prop_assert_eq!(show(decision.shadow), show(alone.shadow), "{}", qname);
                }
            }
            for qname in &qnames {
                let decision = decide(&index, &Key::from(qname), &mut Unobserved);
                let got = decision.ruling.map(|r| (r.rule.feed, r.labels, r.rule.action.clone()));
                prop_assert_eq!(got, naive(&rules, qname), "{}", qname);
            }
        }
    }
}
