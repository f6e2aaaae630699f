//! The index: all listed names and networks as one automaton, walked once from the root for any qname, and
//! once from where their kind begins for anything else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fst::raw::{CompiledAddr, Fst, Output};

use super::rule::{FeedIndex, Mode, Provenance, Rule};
use super::trigger::{Family, Nibbles, Trigger, end, names_of, networks_of};
use crate::name::{Key, SEPARATOR};

/// All rules of one policy image, ready to be asked.
///
/// `D` holds the automaton's bytes: the mapped file in the daemon, a `Vec<u8>` in tests.
pub struct Index<D> {
    names: Fst<D>,
    rule_sets: Vec<Vec<Rule>>,
    provenance: Provenance,
    /// Where the keys of name servers' names begin.
    servers: Option<Place>,
    /// Where the keys of networks begin: of clients, answers and name servers, IPv4 before IPv6.
    networks: [[Option<Place>; 2]; 3],
    /// The feeds, in order, that have enforced rules on answers which may outrank a name's.
    on_response: Vec<FeedIndex>,
    /// The feeds, in order, that have rules, enforced or not, on name servers.
    on_servers: Vec<FeedIndex>,
    /// Whether some rule gives way to guarded names.
    has_guarded: bool,
}

/// A place in the automaton.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) addr: CompiledAddr,
    pub(super) output: Output,
}

/// Why the parts of an image do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The automaton's own header or footer is wrong.
    #[error("the automaton of names cannot be read: {0}")]
    Automaton(#[from] fst::Error),
    /// A rule names a feed or a family that is not there.
    #[error("rule set {rule_set} points outside the tables of feeds and families")]
    Provenance {
        /// Which rule set.
        rule_set: usize,
    },
}

/// A listed name that is the one asked for or one of its ancestors.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'p> {
    /// How many labels the listed name has.
    pub labels: usize,
    /// Whether it is the whole name.
    pub is_qname: bool,
    /// Its rules, in order of precedence.
    pub rules: &'p [Rule],
}

/// One of several walks.
struct Lane<'k> {
    /// What is left of its key; `None` when it has ended.
    rest: Option<&'k [u8]>,
    addr: CompiledAddr,
    output: Output,
    labels: usize,
    /// Whether the octet before was the end of a label.
    is_label_end: bool,
}

impl<D: AsRef<[u8]>> Index<D> {
    /// Joins an automaton, whose values are numbers of rule sets, with its tables.
    ///
    /// The automaton's bytes must have been verified (`crate::image` checks their digest): a corrupt
    /// one gives wrong answers or panics.
    ///
    /// # Errors
    /// [`IndexError`], when the parts do not fit.
    pub fn new(names: D, rule_sets: Vec<Vec<Rule>>, provenance: Provenance) -> Result<Self, IndexError> {
        for (number, rules) in rule_sets.iter().enumerate() {
            let is_sound = |rule: &Rule| {
                usize::from(rule.feed) < provenance.feeds.len()
                    && rule.family.is_none_or(|family| (family as usize) < provenance.families.len())
            };
            if !rules.iter().all(is_sound) {
                return Err(IndexError::Provenance { rule_set: number });
            }
        }
        let names = Fst::new(names)?;
        let place = |start: &[u8]| {
            let root = Place { addr: names.root().addr(), output: Output::zero() };
            start.iter().try_fold(root, |place, &octet| step(&names, place, octet))
        };
        let servers = place(names_of(Trigger::Nsdname));
        let networks = [Trigger::ClientIp, Trigger::Ip, Trigger::Nsip]
            .map(|trigger| [Family::V4, Family::V6].map(|family| place(&networks_of(trigger, family))));
        let feeds_with = |is_wanted: &dyn Fn(&Rule) -> bool| {
            let wanted = rule_sets.iter().flatten().filter(|rule| is_wanted(rule)).map(|rule| rule.feed);
            wanted.collect::<BTreeSet<_>>().into_iter().collect()
        };
        let on_response = feeds_with(&|rule| rule.trigger.is_on_response() && rule.mode == Mode::Enforced);
        let on_servers = feeds_with(&|rule| matches!(rule.trigger, Trigger::Nsdname | Trigger::Nsip));
        let has_guarded = rule_sets.iter().flatten().any(|rule| rule.mode == Mode::Guarded);
        Ok(Self { servers, networks, on_response, on_servers, has_guarded, names, rule_sets, provenance })
    }

    /// Whether there are rules of this kind.
    pub fn has(&self, trigger: Trigger) -> bool {
        match trigger {
            Trigger::Qname => !self.names.is_empty(),
            Trigger::Nsdname => self.servers.is_some(),
            _ => self.networks_of(trigger).iter().any(Option::is_some),
        }
    }

    /// The feeds, in order, that have enforced rules on answers; those of bare addresses are none of them.
    pub fn on_response(&self) -> &[FeedIndex] {
        &self.on_response
    }

    /// The feeds, in order, that have rules on name servers, enforced or not.
    pub fn on_servers(&self) -> &[FeedIndex] {
        &self.on_servers
    }

    /// Whether some rule gives way to guarded names.
    pub fn has_guarded(&self) -> bool {
        self.has_guarded
    }

    fn networks_of(&self, trigger: Trigger) -> &[Option<Place>; 2] {
        match trigger {
            Trigger::ClientIp => &self.networks[0],
            Trigger::Nsip => &self.networks[2],
            Trigger::Qname | Trigger::Ip | Trigger::Nsdname | Trigger::Address => &self.networks[1],
        }
    }

    /// The words behind the rules' numbers.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// How many names and networks are listed.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// How many different rule sets the names share.
    pub fn rule_set_count(&self) -> usize {
        self.rule_sets.len()
    }

    /// Octets of the automaton.
    pub fn automaton_len(&self) -> usize {
        self.names.size()
    }

    /// Calls `visit` for every listed name on the way from the root to `key`, shortest first.
    pub fn walk<'p>(&'p self, key: &Key, visit: impl FnMut(Listed<'p>)) {
        self.walk_from(Place { addr: self.names.root().addr(), output: Output::zero() }, key, visit);
    }

    /// As [`Self::walk`], for names of name servers.
    pub fn walk_servers<'p>(&'p self, key: &Key, visit: impl FnMut(Listed<'p>)) {
        if let Some(place) = self.servers {
            self.walk_from(place, key, visit);
        }
    }

    fn walk_from<'p>(&'p self, mut place: Place, key: &Key, mut visit: impl FnMut(Listed<'p>)) {
        let bytes = key.as_bytes();
        let mut labels = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let Some(next) = step(&self.names, place, byte) else { return };
            place = next;
            if byte != SEPARATOR {
                continue;
            }
            labels += 1;
            if let Some(rules) = self.rules_at(place) {
                visit(Listed { labels, is_qname: at + 1 == bytes.len(), rules });
            }
        }
    }

    /// Calls `visit` with the length of every listed network that holds `address`, shortest first, and its
    /// rules; an IPv4-mapped address counts as the IPv4 address it is.
    pub fn walk_networks<'p>(
        &'p self,
        trigger: Trigger,
        address: IpAddr,
        mut visit: impl FnMut(u8, &'p [Rule]),
    ) {
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let Some(mut place) = self.networks_of(trigger)[usize::from(width == 128)] else { return };
        let nibbles = Nibbles::new(address);
        for depth in 0..=width / 4 {
            let nibble = nibbles.at(usize::from(depth));
            for bits in 0..4 {
                let ended = step(&self.names, place, end(nibble, bits));
                if let Some(rules) = ended.and_then(|ended| self.rules_at(ended)) {
                    visit(4 * depth + bits, rules);
                }
            }
            let Some(next) = step(&self.names, place, nibble) else { return };
            place = next;
        }
    }

    fn rules_at(&self, place: Place) -> Option<&[Rule]> {
        let node = self.names.node(place.addr);
        if !node.is_final() {
            return None;
        }
        self.rules(place.output.cat(node.final_output()).value())
    }

    /// As [`Self::walk`], for several keys side by side; `visit` is told whose turn it is. The automaton is
    /// far larger than a processor's caches: so the waits for its memory overlap.
    pub fn walk_many<'p, const N: usize>(
        &'p self,
        keys: &[Option<Key>; N],
        mut visit: impl FnMut(usize, Listed<'p>),
    ) {
        let octets = self.names.as_bytes();
        let root = self.names.root().addr();
        let mut lanes = keys.each_ref().map(|key| Lane {
            rest: key.as_ref().map(Key::as_bytes),
            addr: root,
            output: Output::zero(),
            labels: 0,
            is_label_end: false,
        });
        loop {
            let mut is_done = true;
            for lane in lanes.iter().filter(|lane| lane.rest.is_some()) {
                is_done = false;
                // The loads do not wait for each other, as the steps below would.
                std::hint::black_box(octets.get(lane.addr));
            }
            if is_done {
                return;
            }
            for (number, lane) in lanes.iter_mut().enumerate() {
                let Some(rest) = lane.rest.take() else { continue };
                let node = self.names.node(lane.addr);
                if lane.is_label_end && node.is_final() {
                    let output = lane.output.cat(node.final_output()).value();
                    if let Some(rules) = self.rules(output) {
                        visit(number, Listed { labels: lane.labels, is_qname: rest.is_empty(), rules });
                    }
                }
                let Some((&byte, rest)) = rest.split_first() else { continue };
                let Some(found) = node.find_input(byte) else { continue };
                let transition = node.transition(found);
                lane.output = lane.output.cat(transition.out);
                lane.addr = transition.addr;
                lane.is_label_end = byte == SEPARATOR;
                lane.labels += usize::from(lane.is_label_end);
                lane.rest = Some(rest);
            }
        }
    }

    fn rules(&self, number: u64) -> Option<&[Rule]> {
        usize::try_from(number).ok().and_then(|number| self.rule_sets.get(number)).map(Vec::as_slice)
    }

    /// Every listed name's or network's key with its rules, in the order of keys.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[Rule])) {
        use fst::Streamer as _;
        let mut stream = self.names.stream();
        while let Some((key, number)) = stream.next() {
            visit(key, self.rules(number.value()).unwrap_or_default());
        }
    }
}

pub(super) fn step<D: AsRef<[u8]>>(names: &Fst<D>, place: Place, octet: u8) -> Option<Place> {
    let node = names.node(place.addr);
    let transition = node.transition(node.find_input(octet)?);
    Some(Place { addr: transition.addr, output: place.output.cat(transition.out) })
}
