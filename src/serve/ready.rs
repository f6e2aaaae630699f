//! Answers that a worker gave before, ready to be given again.
//!
//! Final answers, octet by octet, those of rules too, so that what is asked often is neither looked up in
//! the policy nor put together twice. One worker owns one table, so nothing is locked; its size is fixed,
//! and nothing is allocated after its start. What is in it was decided under one [`State`]: under
//! the next one it counts as not there. What an answer says, and how long it is good, is told by who puts it
//! in.
//!
//! ```text
//! slot   256 octets, four to a set; numbers are in the machine's order
//!    4   the generation of the state that it was made under
//!    4   when it was put in, seconds of the resolver's clock
//!    4   until when it is good, likewise; 2³² - 1: for as long as the state
//!    2   qtype
//!    1   flags of the query that tell answers apart (see `Question`)
//!    1   facts of it: 1 = it is recorded, 2 = it counts against its client's rate, 4 = it is authentic
//!    1   length of the qname
//!    1   number of TTLs
//!    1   length of the record's tail
//!    1   length of the message's body
//!   10   the header, without the id
//!   12   where in the body each TTL is, two octets each, up to six
//!    2   the client's audience: to others other rules apply
//!        qname in lower case, body (all behind the question), tail (see `evidence::record`)
//! ```

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::{Arc, Weak};

use memmap2::{Advice, MmapMut};

use super::answer;
use super::pipeline::State;
use crate::name;
use crate::wire::{self, CLASS_IN, Query};

const SLOT: usize = 256;
/// Octets of a slot before its texts.
const FIXED: usize = 46;
/// Where the audience is.
const AUDIENCE: usize = 44;
const WAYS: usize = 4;
const MOST_TTLS: usize = 6;
/// How many names are remembered of those that were seen once.
const SEEN: usize = 1 << 16;
/// After so many seconds an answer is taken from the resolver's cache again, which so learns that
/// it is still asked for.
const LONGEST: u32 = 60;
/// The least time that is worth a slot.
const SHORTEST: u32 = 2;

/// The answers of one worker.
pub struct Ready {
    slots: MmapMut,
    /// One for each slot: the upper bits of the question's hash, and whether it was asked for of late.
    /// 0: empty.
    tags: Box<[u32]>,
    /// The hashes of questions that came once: only the second time is worth a slot.
    seen: Box<[u16]>,
    hasher: RandomState,
    sets: usize,
    /// Which state the newest entries were made under, and how often upstreams had changed.
    state: Weak<State>,
    changes: u32,
    generation: u32,
    tail: Vec<u8>,
}

/// What is asked, as the table knows it.
pub(super) struct Question<'q> {
    /// In the client's letter case.
    qname: &'q [u8],
    qtype: u16,
    flags: u8,
    audience: u16,
    /// The same in every letter case.
    hash: u64,
}

/// How long an answer is good, and where its TTLs are.
#[derive(Clone)]
pub(super) enum Life<T> {
    /// As long as the state, with the same TTLs.
    State,
    /// So many seconds, while which the TTLs at these places of the message are counted down.
    Seconds(u32, T),
}

/// What the pipeline wants to know of an answer beside its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether a query that gets it leaves a record.
    pub(super) is_recorded: bool,
    /// Whether a query that gets it counts against its client's rate.
    pub(super) is_counted: bool,
    /// Whether clients that want to know are told that it is authentic, whoever it was made for.
    pub(super) is_authentic: bool,
}

/// An answer that was found.
pub(super) struct Found<'a> {
    slot: &'a [u8; SLOT],
    age: u32,
}

impl Ready {
    /// A table of at most `size` octets; `None` where that is too little for anything, or the system has not
    /// so much.
    pub fn new(size: u64) -> Option<Self> {
        let sets = usize::try_from(size).ok()? / (WAYS * (SLOT + size_of::<u32>()));
        let sets = if sets.is_power_of_two() { sets } else { (sets / 2).next_power_of_two() };
        if sets < 16 {
            return None;
        }
        // Memory comes with the first use of each part.
        let slots = MmapMut::map_anon(sets * WAYS * SLOT).ok()?;
        // Without large pages it is only slower.
        let _ = slots.advise(Advice::HugePage);
        Some(Self {
            slots,
            tags: vec![0; sets * WAYS].into(),
            seen: vec![0; SEEN].into(),
            hasher: RandomState::new(),
            sets,
            state: Weak::new(),
            changes: 0,
            generation: 0,
            tail: Vec::new(),
        })
    }

    /// Forgets what was made under another state than this, or by upstreams that have changed since.
    pub(super) fn follow(&mut self, state: &Arc<State>, changes: u32) {
        // The allocation that a weak reference holds is not given to a new state.
        if std::ptr::eq(self.state.as_ptr(), Arc::as_ptr(state)) && self.changes == changes {
            return;
        }
        (self.state, self.changes) = (Arc::downgrade(state), changes);
        match self.generation.checked_add(1) {
            Some(generation) => self.generation = generation,
            None => {
                self.generation = 1;
                self.tags.fill(0);
            }
        }
    }

    /// What is asked, by a client of this audience; `None` where no answer to it is ever kept.
    pub(super) fn question<'q>(&self, query: &Query<'q>, audience: u16) -> Option<Question<'q>> {
        let edns = query.edns();
        if query.qclass() != CLASS_IN || edns.is_some_and(|edns| edns.version != 0) {
            return None;
        }
        let flags = u8::from(query.is_recursion_desired())
            | u8::from(query.is_checking_disabled()) << 1
            | u8::from(edns.is_some()) << 2
            | u8::from(edns.is_some_and(|edns| edns.dnssec_ok)) << 3;
        let (qname, qtype) = (query.qname(), query.qtype());
        let mut folded = [0; name::MAX_WIRE];
        let folded = &mut folded[..qname.len()];
        folded.copy_from_slice(qname);
        name::fold(folded);
        let hash = self.hasher.hash_one((&*folded, qtype, flags, audience));
        Some(Question { qname, qtype, flags, audience, hash })
    }

    /// The answer to a question, when it is there and good; `now` in seconds of the resolver's clock.
    pub(super) fn find(&mut self, question: &Question<'_>, now: u32) -> Option<Found<'_>> {
        let (range, tag) = self.place(question);
        for n in range {
            if self.tags[n] | 1 != tag {
                continue;
            }
            let slot = slot(&self.slots, n);
            let number = |at| u32_at(slot, at);
            let is_it = number(0) == self.generation
                && number(8) > now
                && u16::from_ne_bytes([slot[12], slot[13]]) == question.qtype
                && slot[14] == question.flags
                && u16::from_ne_bytes([slot[AUDIENCE], slot[AUDIENCE + 1]]) == question.audience
                && slot[FIXED..FIXED + usize::from(slot[16])].eq_ignore_ascii_case(question.qname);
            if is_it {
                self.tags[n] = tag;
                let age = now.saturating_sub(number(4));
                return Some(Found { slot, age });
            }
        }
        None
    }

    /// Whether a question comes for the second time of late.
    pub(super) fn is_seen(&mut self, question: &Question<'_>) -> bool {
        let seen = &mut self.seen[question.hash as usize % SEEN];
        let tag = (question.hash >> 48) as u16;
        std::mem::replace(seen, tag) == tag
    }

    /// Keeps an answer, if it fits; `tail` appends its record's.
    pub(super) fn insert(
        &mut self,
        question: &Question<'_>,
        message: &[u8],
        life: Life<impl Iterator<Item = usize>>,
        facts: Facts,
        now: u32,
        tail: impl FnOnce(&mut Vec<u8>),
    ) {
        let body_at = wire::HEADER + question.qname.len() + 4;
        let Some(body) = message.get(body_at..) else { return };
        let mut ttls = [0u16; MOST_TTLS];
        let mut count = 0;
        let until = match life {
            Life::State => u32::MAX,
            Life::Seconds(seconds, places) => {
                if seconds < SHORTEST {
                    return;
                }
                for at in places {
                    let at = at.checked_sub(body_at).and_then(|at| u16::try_from(at).ok());
                    let (Some(place), Some(at)) = (ttls.get_mut(count), at) else { return };
                    *place = at;
                    count += 1;
                }
                now.saturating_add(seconds.min(LONGEST))
            }
        };
        self.tail.clear();
        tail(&mut self.tail);
        let texts = question.qname.len() + body.len() + self.tail.len();
        if FIXED + texts > SLOT {
            return;
        }
        let (range, tag) = self.place(question);
        let n = self.victim(range, tag);
        self.tags[n] = tag;
        let slot = &mut self.slots[n * SLOT..(n + 1) * SLOT];
        slot[..4].copy_from_slice(&self.generation.to_ne_bytes());
        slot[4..8].copy_from_slice(&now.to_ne_bytes());
        slot[8..12].copy_from_slice(&until.to_ne_bytes());
        slot[12..14].copy_from_slice(&question.qtype.to_ne_bytes());
        slot[14] = question.flags;
        slot[15] =
            u8::from(facts.is_recorded) | u8::from(facts.is_counted) << 1 | u8::from(facts.is_authentic) << 2;
        // All four are below 256: together they fit a slot.
        slot[16..20].copy_from_slice(&[
            question.qname.len() as u8,
            count as u8,
            self.tail.len() as u8,
            body.len() as u8,
        ]);
        slot[20..30].copy_from_slice(&message[2..wire::HEADER]);
        for (place, at) in slot[30..30 + 2 * MOST_TTLS].chunks_exact_mut(2).zip(ttls) {
            place.copy_from_slice(&at.to_ne_bytes());
        }
        slot[AUDIENCE..FIXED].copy_from_slice(&question.audience.to_ne_bytes());
        let (name, rest) = slot[FIXED..].split_at_mut(question.qname.len());
        let (kept_body, rest) = rest.split_at_mut(body.len());
        name.copy_from_slice(question.qname);
        name::fold(name);
        kept_body.copy_from_slice(body);
        rest[..self.tail.len()].copy_from_slice(&self.tail);
    }

    /// The slots in which a question may be, and its tag with the mark of one that was asked for of late.
    fn place(&self, question: &Question<'_>) -> (Range<usize>, u32) {
        let set = question.hash as usize % self.sets;
        (set * WAYS..(set + 1) * WAYS, (question.hash >> 32) as u32 | 1)
    }

    /// The slot to overwrite: the question's own, an empty one, one that was not asked for of late.
    fn victim(&mut self, range: Range<usize>, tag: u32) -> usize {
        let tags = &mut self.tags[range.clone()];
        let is_own = |&own: &u32| own | 1 == tag;
        let found = tags
            .iter()
            .position(is_own)
            .or_else(|| tags.iter().position(|&tag| tag == 0))
            .or_else(|| tags.iter().position(|&tag| tag & 1 == 0));
        range.start
            + found.unwrap_or_else(|| {
                // All are in use: each must be asked for again to stay.
                tags.iter_mut().for_each(|tag| *tag &= !1);
                tag as usize >> 1 & (WAYS - 1)
            })
    }
}

impl Found<'_> {
    /// What was kept with it.
    pub(super) fn facts(&self) -> Facts {
        let has = |bit| self.slot[15] & bit != 0;
        Facts { is_recorded: has(1), is_counted: has(2), is_authentic: has(4) }
    }

    /// Its record's tail.
    pub(super) fn tail(&self) -> &[u8] {
        let [name, tail, body] = self.lens();
        let at = FIXED + name + body;
        &self.slot[at..at + tail]
    }

    /// Puts the message for this query in place of what `out` holds: its id, its letter case, AD where it asks
    /// for that, the TTLs as they are now. `false` where this client does not take so much over UDP.
    pub(super) fn write(&self, query: &Query<'_>, out: &mut Vec<u8>) -> bool {
        let [name, _, body] = self.lens();
        let body = &self.slot[FIXED + name..FIXED + name + body];
        let question = query.question();
        let len = wire::HEADER + question.len() + body.len();
        if len > answer::udp_limit(query) {
            return false;
        }
        out.clear();
        out.reserve(len);
        out.extend(query.id().to_be_bytes());
        out.extend(&self.slot[20..30]);
        out[3] &= !wire::AD;
        if self.facts().is_authentic && query.is_authentic_data_wanted() {
            out[3] |= wire::AD;
        }
        out.extend(question);
        let start = out.len();
        out.extend(body);
        let places = self.slot[30..30 + 2 * MOST_TTLS].as_chunks::<2>().0;
        for at in &places[..usize::from(self.slot[17]).min(MOST_TTLS)] {
            let at = start + usize::from(u16::from_ne_bytes(*at));
            if let Some(ttl) = out.get_mut(at..).and_then(|ttl| ttl.first_chunk_mut::<4>()) {
                *ttl = u32::from_be_bytes(*ttl).saturating_sub(self.age).to_be_bytes();
            }
        }
        true
    }

    /// Octets of the name, the tail and the body.
    fn lens(&self) -> [usize; 3] {
        [self.slot[16], self.slot[18], self.slot[19]].map(usize::from)
    }
}

fn slot(slots: &MmapMut, n: usize) -> &[u8; SLOT] {
    slots[n * SLOT..].first_chunk().expect("there is a slot for each tag")
}

fn u32_at(slot: &[u8; SLOT], at: usize) -> u32 {
    u32::from_ne_bytes(*slot[at..].first_chunk().expect("fields lie inside the slot"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
        packet.push(name.len() as u8);
        packet.extend(name);
        packet.extend(b"\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        change(&mut packet);
        packet
    }

    /// An answer to `packet` with one address for 300 seconds, and where its TTL is.
    fn message(packet: &[u8]) -> (Vec<u8>, usize) {
        let query = Query::parse(packet).unwrap();
        let mut message = b"\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00".to_vec();
        message.extend(query.question());
        message.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01");
        let ttl = message.len() - 10;
        (message, ttl)
    }

    const FACTS: Facts = Facts { is_recorded: true, is_counted: true, is_authentic: false };

    fn insert(ready: &mut Ready, packet: &[u8], seconds: u32, now: u32) {
        let question = ready.question(&Query::parse(packet).unwrap(), 0).unwrap();
        let (message, ttl) = message(packet);
        let life = Life::Seconds(seconds, [ttl].into_iter());
        ready.insert(&question, &message, life, FACTS, now, |tail| tail.extend(b"tail"));
    }

    /// What is found for a query: its octets.
    fn find(ready: &mut Ready, packet: &[u8], now: u32) -> Option<Vec<u8>> {
        let query = Query::parse(packet).unwrap();
        let question = ready.question(&query, 0)?;
        let found = ready.find(&question, now)?;
        assert_eq!((found.facts(), found.tail()), (FACTS, &b"tail"[..]));
        let mut out = b"what was there".to_vec();
        found.write(&query, &mut out).then_some(out)
    }

    #[test]
    fn an_answer_comes_back_in_the_clients_own_form() {
        let mut ready = Ready::new(1 << 20).unwrap();
        let plain = query(b"example", |_| {});
        insert(&mut ready, &plain, 50, 1000);
        let other = query(b"eXAMPLE", |packet| packet[0] = 0x77);
        let (mut expected, ttl) = message(&other);
        expected[..2].copy_from_slice(&[0x77, 0x34]);
        expected[ttl + 3] -= 7;
        assert_eq!(find(&mut ready, &other, 1007), Some(expected));
        assert!(find(&mut ready, &plain, 1049).is_some());
        assert_eq!(find(&mut ready, &plain, 1050), None, "its time is over");
    }

    #[test]
    fn what_makes_an_answer_another_is_told_apart() {
        fn check(change: impl FnOnce(&mut Vec<u8>)) {
            let mut ready = Ready::new(1 << 20).unwrap();
            insert(&mut ready, &query(b"example", |_| {}), 50, 0);
            let other = query(b"example", change);
            assert_eq!(find(&mut ready, &other, 1), None, "{other:02x?}");
        }
        check(|packet| packet[13] = b'f');
        // RD, CD, DO, the type, the class, EDNS at all, its version.
        check(|packet| packet[2] = 0);
        check(|packet| packet[3] = 0x10);
        check(|packet| packet[32] = 0x80);
        check(|packet| packet[22] = 28);
        check(|packet| packet[24] = 3);
        check(|packet| {
            packet.truncate(25);
            packet[11] = 0;
        });
        check(|packet| packet[31] = 1);
    }

    #[test]
    fn audiences_do_not_share_answers() {
        let mut ready = Ready::new(1 << 20).unwrap();
        let packet = query(b"example", |_| {});
        insert(&mut ready, &packet, 50, 0);
        let query = Query::parse(&packet).unwrap();
        let other = ready.question(&query, 1).unwrap();
        assert!(ready.find(&other, 1).is_none());
        // Not even by the accident of equal hashes.
        let mut forged = ready.question(&query, 0).unwrap();
        forged.audience = 1;
        assert!(ready.find(&forged, 1).is_none());
        assert!(find(&mut ready, &packet, 1).is_some());
    }

    #[test]
    fn who_asks_is_told_that_an_answer_is_authentic_and_nobody_else() {
        fn check(made_for: &[u8], asked: &[u8], is_authentic: bool, expected: bool) {
            let mut ready = Ready::new(1 << 20).unwrap();
            let question = ready.question(&Query::parse(made_for).unwrap(), 0).unwrap();
            let (mut message, ttl) = message(made_for);
            if is_authentic && Query::parse(made_for).unwrap().is_authentic_data_wanted() {
                message[3] |= wire::AD;
            }
            let facts = Facts { is_authentic, ..FACTS };
            ready.insert(&question, &message, Life::Seconds(50, [ttl].into_iter()), facts, 0, |_| {});
            let query = Query::parse(asked).unwrap();
            let question = ready.question(&query, 0).unwrap();
            let mut out = Vec::new();
            assert!(ready.find(&question, 1).unwrap().write(&query, &mut out));
            assert_eq!(out[3] & wire::AD != 0, expected, "{asked:02x?}");
        }
        let plain = query(b"example", |_| {});
        let with_ad = query(b"example", |packet| packet[3] |= wire::AD);
        let with_do = query(b"example", |packet| packet[32] = 0x80);
        for made_for in [&plain, &with_ad] {
            check(made_for, &plain, true, false);
            check(made_for, &with_ad, true, true);
            check(made_for, &with_ad, false, false);
        }
        check(&with_do, &with_do, true, true);
        check(&with_do, &with_do, false, false);
    }

    #[test]
    fn what_does_not_fit_is_not_kept_and_not_sent() {
        let mut ready = Ready::new(1 << 20).unwrap();
        let packet = query(b"example", |_| {});
        let query = Query::parse(&packet).unwrap();
        let question = ready.question(&query, 0).unwrap();
        let (mut long, ttl) = message(&packet);
        long.extend([0; SLOT]);
        let life = || Life::Seconds(50, [ttl].into_iter());
        ready.insert(&question, &long, life(), FACTS, 0, |tail| tail.extend(b"tail"));
        assert_eq!(find(&mut ready, &packet, 0), None, "the message is too long");
        let (short, _) = message(&packet);
        ready.insert(&question, &short, life(), FACTS, 0, |tail| tail.extend([0; SLOT]));
        assert_eq!(find(&mut ready, &packet, 0), None, "the tail is too long");
        let many = Life::Seconds(50, std::iter::repeat_n(ttl, MOST_TTLS + 1));
        ready.insert(&question, &short, many, FACTS, 0, |tail| tail.extend(b"tail"));
        assert_eq!(find(&mut ready, &packet, 0), None, "there are too many TTLs");
        ready.insert(&question, &short, life(), FACTS, 0, |tail| tail.extend(b"tail"));
        assert!(find(&mut ready, &packet, 0).is_some());
    }

    #[test]
    fn the_table_keeps_its_size_and_what_is_asked_for() {
        let mut ready = Ready::new(64 << 10).unwrap();
        let places = ready.tags.len();
        let name = |number: u32| query(format!("name{number}").as_bytes(), |_| {});
        let popular = name(u32::MAX);
        insert(&mut ready, &popular, 60, 0);
        let mut kept = 0;
        for number in 0..10 * places as u32 {
            insert(&mut ready, &name(number), 60, 0);
            kept += u32::from(find(&mut ready, &popular, 1).is_some());
            if find(&mut ready, &popular, 1).is_none() {
                insert(&mut ready, &popular, 60, 0);
            }
        }
        assert!(kept as usize > 9 * places, "{kept} of {} times", 10 * places);
        let there = (0..10 * places as u32).filter(|n| find(&mut ready, &name(*n), 1).is_some()).count();
        assert!(there <= places && there > places / 2, "{there} of {places} places");
    }

    #[test]
    fn a_question_is_seen_the_second_time() {
        let mut ready = Ready::new(1 << 20).unwrap();
        let packet = query(b"example", |_| {});
        let question = ready.question(&Query::parse(&packet).unwrap(), 0).unwrap();
        assert!(!ready.is_seen(&question));
        assert!(ready.is_seen(&question));
    }

    #[test]
    fn too_little_memory_is_no_table() {
        assert!(Ready::new(0).is_none());
        assert!(Ready::new(1000).is_none());
        assert!(Ready::new(u64::MAX).is_none());
    }
}
