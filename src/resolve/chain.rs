//! What of an answer belongs to its question: records of the name, and of the names that its aliases lead to.
//!
//! What else an upstream puts into the answer section is nobody's answer, and is not handed on: some
//! clients would keep it. Aliases without end are none either. Reads, and changes nothing.

use crate::name;
use crate::wire::{self, Record, Response, Section, rtype};

/// Most aliases that an answer may lead through; BIND and Unbound follow 11.
const MOST_ALIASES: usize = 16;

/// How the records of an answer section hang together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Where records begin that belong to no name of the chain, in order.
    strays: Vec<usize>,
    /// Where its aliases lead, in lower case.
    end: Option<Vec<u8>>,
    is_endless: bool,
}

impl Chain {
    /// Follows the aliases of an answer.
    pub fn of(response: &Response<'_>) -> Self {
        let packet = response.packet();
        // Nearly all owners are the qname, and point to it.
        let is_plain = |record: Record| {
            packet.get(record.start..record.start + 2) == Some(&[0xc0, 12]) && record.rtype != rtype::CNAME
        };
        if answers(response).all(is_plain) {
            return Self::default();
        }
        let mut names = vec![folded(response.question(), 0).unwrap_or_default()];
        let aliases: Vec<(Vec<u8>, Vec<u8>)> = answers(response)
            .filter(|record| record.rtype == rtype::CNAME)
            .take(MOST_ALIASES + 1)
            .filter_map(|record| Some((folded(packet, record.start)?, folded(packet, record.rdata.start)?)))
            .collect();
        let mut is_endless = aliases.len() > MOST_ALIASES;
        let mut at = 0;
        while let Some(owner) = names.get(at).cloned() {
            for (_, target) in aliases.iter().filter(|(alias, _)| *alias == owner) {
                match names.iter().position(|name| name == target) {
                    // It leads back.
                    Some(known) if known <= at => is_endless = true,
                    Some(_) => {}
                    None => names.push(target.clone()),
                }
            }
            at += 1;
        }
        let is_stray = |record: &Record| match folded(packet, record.start) {
            None => true,
            Some(owner) if names.contains(&owner) => false,
            // It stands above the names that it leads elsewhere (RFC 6672); so do its signatures.
            Some(owner) => {
                !matches!(record.rtype, rtype::DNAME | rtype::RRSIG)
                    || !names.iter().any(|name| name::is_within(name, &owner))
            }
        };
        let strays = answers(response).filter(is_stray).map(|record| record.start).collect();
        let end = names.pop().filter(|_| !names.is_empty());
        Self { strays, end, is_endless }
    }

    /// The name that its aliases lead to, where the answer says nothing of that: neither data of this type, nor
    /// that there is none.
    pub(super) fn open_end(self, response: &Response<'_>, qtype: u16) -> Option<Vec<u8>> {
        let end = self.end.filter(|_| !self.is_endless && !matches!(qtype, rtype::CNAME | rtype::ANY))?;
        let is_about_it = |record: Record| match (record.section, record.rtype) {
            (Section::Answer, kind) => {
                kind == qtype && folded(response.packet(), record.start).as_ref() == Some(&end)
            }
            (Section::Authority, rtype::SOA) => true,
            _ => false,
        };
        (!response.records().flatten().any(is_about_it)).then_some(end)
    }

    /// Whether a record that begins here belongs to no name of the chain.
    pub(super) fn is_stray(&self, start: usize) -> bool {
        self.strays.binary_search(&start).is_ok()
    }

    /// Whether there are records that belong to no name of the chain.
    pub(super) fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    /// Whether its aliases lead back to where they came from, or through too many names.
    pub fn is_endless(&self) -> bool {
        self.is_endless
    }
}

fn answers<'a>(response: &Response<'a>) -> impl Iterator<Item = Record> + use<'a> {
    response.records().flatten().take_while(|record| record.section == Section::Answer)
}

/// The possibly compressed name at `at`, written out in lower case.
fn folded(packet: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    wire::expand_name(packet, at, &mut name)?;
    name::fold(&mut name);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
        wire
    }

    /// An answer to `a A` with records of these owners, types and, for aliases, targets.
    fn packet(records: &[(&str, u16, &str)]) -> (Vec<u8>, Vec<usize>) {
        let mut packet = vec![0, 7, wire::QR, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        packet.extend(b"\x01a\x00\x00\x01\x00\x01");
        let mut starts = Vec::new();
        for (owner, rtype, target) in records {
            starts.push(packet.len());
            match *owner {
                "@" => packet.extend([0xc0, 12]),
                owner => packet.extend(wire(owner)),
            }
            packet.extend([0, *rtype as u8, 0, 1, 0, 0, 0, 9]);
            let data = if *rtype == rtype::CNAME { wire(target) } else { vec![192, 0, 2, 1] };
            packet.extend([0, data.len() as u8]);
            packet.extend(data);
        }
        (packet, starts)
    }

    fn chain(records: &[(&str, u16, &str)]) -> (Chain, Vec<usize>) {
        let (packet, starts) = packet(records);
        (Chain::of(&Response::parse(&packet).unwrap()), starts)
    }

    /// Which records are strays.
    #[track_caller]
    fn check(records: &[(&str, u16, &str)], expected: &[usize], is_endless: bool) {
        let (chain, starts) = chain(records);
        let strays: Vec<usize> = (0..records.len()).filter(|&n| chain.is_stray(starts[n])).collect();
        assert_eq!((&*strays, chain.is_endless()), (expected, is_endless), "{records:?}");
        assert_eq!(chain.has_strays(), !expected.is_empty());
    }

    #[test]
    fn names_of_the_chain_belong_to_the_answer() {
        check(&[], &[], false);
        check(&[("@", 1, ""), ("@", 46, "")], &[], false);
        check(&[("A", 1, "")], &[], false);
        check(&[("@", 5, "b"), ("b", 5, "c"), ("C", 1, "")], &[], false);
        // In whatever order.
        check(&[("c", 1, ""), ("b", 5, "c"), ("@", 5, "b")], &[], false);
        check(&[("@", 5, "b"), ("@", 5, "b"), ("b", 1, "")], &[], false);
    }

    #[test]
    fn other_names_are_strays() {
        check(&[("b", 1, "")], &[0], false);
        check(&[("@", 1, ""), ("bank", 1, "")], &[1], false);
        check(&[("@", 5, "b"), ("x", 5, "c"), ("c", 1, "")], &[1, 2], false);
        check(&[("x.a", 1, "")], &[0], false);
    }

    #[test]
    fn what_leads_a_subtree_elsewhere_stands_above() {
        check(&[("@", 5, "w.b"), ("", 39, ""), ("", 46, ""), ("w.b", 1, "")], &[], false);
        check(&[("@", 5, "w.b"), ("b", 39, ""), ("c", 39, ""), ("w.b", 1, "")], &[2], false);
    }

    #[test]
    fn an_end_is_open_where_nothing_is_said_of_it() {
        fn check(records: &[(&str, u16, &str)], qtype: u16, expected: Option<&str>) {
            let packet = packet(records).0;
            let response = Response::parse(&packet).unwrap();
            let end = Chain::of(&response).open_end(&response, qtype);
            assert_eq!(end, expected.map(wire), "{records:?} {qtype}");
        }
        check(&[("@", 1, "")], 1, None);
        check(&[("@", 5, "b"), ("b", 1, "")], 1, None);
        check(&[("@", 5, "b"), ("b", 1, "")], 28, Some("b"));
        check(&[("@", 5, "b"), ("b", 5, "X.c")], 1, Some("x.c"));
        check(&[("b", 5, "c"), ("@", 5, "b")], 1, Some("c"));
        check(&[("@", 5, "b")], rtype::CNAME, None);
        check(&[("@", 5, "b")], rtype::ANY, None);
        check(&[("@", 5, "a")], 1, None);
    }

    #[test]
    fn aliases_end() {
        check(&[("@", 5, "a")], &[], true);
        check(&[("@", 5, "b")], &[], false);
        check(&[("a", 5, "b"), ("b", 5, "a")], &[], true);
        check(&[("a", 5, "b"), ("b", 5, "c"), ("c", 5, "b")], &[], true);
        let names: Vec<String> = (0..18).map(|n| format!("n{n}")).collect();
        let mut bomb = vec![("a", 5, &*names[0])];
        bomb.extend(names.windows(2).map(|pair| (&*pair[0], 5, &*pair[1])));
        check(&bomb[..16], &[], false);
        assert!(chain(&bomb).0.is_endless());
    }
}
