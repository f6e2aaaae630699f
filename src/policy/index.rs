//! The index: all listed names and networks as one automaton, walked once from the root for any qname, and
//! once from where their kind begins for anything else.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

use fst::raw::{CompiledAddr, Fst, Output};
use ipnet::IpNet;

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

/// The first bits of addresses.
#[derive(Clone, Copy)]
struct Prefix {
    bits: u128,
    len: u8,
    width: u8,
}

impl Prefix {
    fn with(self, bits: u8, len: u8) -> Self {
        Self { bits: self.bits << len | u128::from(bits), len: self.len + len, ..self }
    }

    /// As a network; an automaton that leads further than addresses do has none.
    fn net(self) -> Option<IpNet> {
        let bits = self.bits.checked_shl(u32::from(self.width.checked_sub(self.len)?)).unwrap_or(0);
        let address = match self.width {
            32 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        IpNet::new(address, self.len).ok()
    }
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

/// Keys in their order, for who goes through two indexes at once.
pub struct Keys<'p> {
    stream: fst::raw::Stream<'p>,
    key: Vec<u8>,
    /// Of the key's rule set; `None` behind the last one.
    number: Option<usize>,
}

impl Keys<'_> {
    /// The key it is at, and the number of its rule set.
    pub fn front(&self) -> Option<(&[u8], usize)> {
        self.number.map(|number| (&*self.key, number))
    }

    /// Goes on to the next one.
    pub fn advance(&mut self) {
        use fst::Streamer as _;
        let next = self.stream.next();
        self.number = next.map(|(key, number)| {
            self.key.clear();
            self.key.extend_from_slice(key);
            usize::try_from(number.value()).unwrap_or(usize::MAX)
        });
    }
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
        let on_response = feeds_with(&|rule| rule.trigger.is_on_response() && rule.mode != Mode::Shadow);
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
        self.walk_network_sets(trigger, address, |len, number| {
            visit(len, self.rule_sets.get(number).map(Vec::as_slice).unwrap_or_default());
        });
    }

    /// As [`Self::walk_networks`], with the number of the rule set.
    pub fn walk_network_sets(&self, trigger: Trigger, address: IpAddr, mut visit: impl FnMut(u8, usize)) {
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let Some(mut place) = self.networks_of(trigger)[usize::from(width == 128)] else { return };
        let nibbles = Nibbles::new(address);
        for depth in 0..=width / 4 {
            let nibble = nibbles.at(usize::from(depth));
            for bits in 0..4 {
                let ended = step(&self.names, place, end(nibble, bits));
                if let Some(number) = ended.and_then(|ended| self.number_at(ended)) {
                    visit(4 * depth + bits, number);
                }
            }
            let Some(next) = step(&self.names, place, nibble) else { return };
            place = next;
        }
    }

    fn rules_at(&self, place: Place) -> Option<&[Rule]> {
        self.number_at(place).and_then(|number| self.rule_sets.get(number)).map(Vec::as_slice)
    }

    fn number_at(&self, place: Place) -> Option<usize> {
        let node = self.names.node(place.addr);
        if !node.is_final() {
            return None;
        }
        usize::try_from(place.output.cat(node.final_output()).value()).ok()
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

    /// The rule sets that names share, by their numbers.
    pub fn rule_sets(&self) -> &[Vec<Rule>] {
        &self.rule_sets
    }

    /// Calls `visit` with every key behind `after` and the number of its rule set, in the order of keys, until
    /// it breaks off. So who has much to say can say it bit by bit.
    pub fn scan(
        &self,
        after: &[u8],
        mut visit: impl FnMut(&[u8], usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        use fst::{IntoStreamer as _, Streamer as _};
        let mut stream = self.names.range().gt(after).into_stream();
        while let Some((key, number)) = stream.next() {
            // `rules` finds no more than there are.
            visit(key, usize::try_from(number.value()).unwrap_or(usize::MAX))?;
        }
        ControlFlow::Continue(())
    }

    /// Every key behind `after`, one after the other.
    pub fn keys(&self, after: &[u8]) -> Keys<'_> {
        use fst::IntoStreamer as _;
        let stream = self.names.range().gt(after).into_stream();
        let mut keys = Keys { stream, key: Vec::new(), number: None };
        keys.advance();
        keys
    }

    /// Calls `visit` with every network of this trigger and family in the order of addresses, each before the
    /// networks in it, and the number of its rule set, until it breaks off.
    pub fn scan_networks(
        &self,
        trigger: Trigger,
        is_v6: bool,
        mut visit: impl FnMut(IpNet, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(place) = self.networks_of(trigger)[usize::from(is_v6)] else {
            return ControlFlow::Continue(());
        };
        let width = if is_v6 { 128 } else { 32 };
        self.scan_below(place, Prefix { bits: 0, len: 0, width }, &mut visit)
    }

    /// The networks that begin with whole nibbles, which lead to `place`.
    fn scan_below(
        &self,
        place: Place,
        prefix: Prefix,
        visit: &mut impl FnMut(IpNet, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for nibble in 0..16 {
            // Before a nibble come the networks that begin with it and end within it, the shortest first.
            for bits in (0..4u8).filter(|bits| nibble % (16 >> bits) == 0) {
                let ended = step(&self.names, place, end(nibble, bits));
                let number = ended.and_then(|ended| self.number_at(ended));
                if let (Some(number), Some(net)) = (number, prefix.with(nibble >> (4 - bits), bits).net()) {
                    visit(net, number)?;
                }
            }
            if prefix.len < prefix.width
                && let Some(next) = step(&self.names, place, nibble)
            {
                self.scan_below(next, prefix.with(nibble, 4), visit)?;
            }
        }
        ControlFlow::Continue(())
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
