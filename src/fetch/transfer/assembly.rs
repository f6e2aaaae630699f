//! What the messages of a transfer say, record by record: a whole zone (RFC 5936), or what has changed in one
//! (RFC 1995). Octets in, [`Change`]s out; no sockets, no files.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::{Name, Presentation};
use crate::wire::{self, CLASS_IN, Part, Record, WireName, expand_record, is_name_at, rtype};

/// Types that speak of signed zones: no rule is made of them (CDS and CDNSKEY: RFC 7344; ZONEMD: RFC 8976).
const DNSSEC: [u16; 9] =
    [rtype::DS, rtype::RRSIG, rtype::NSEC, rtype::DNSKEY, rtype::NSEC3, rtype::NSEC3PARAM, 59, 60, 63];

/// The numbers of a zone's SOA record (RFC 1035, section 3.3.13); times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa {
    /// Which version of the zone this is.
    pub serial: u32,
    /// After which a secondary asks for a newer one.
    pub refresh: u32,
    /// … and asks again where it was not answered.
    pub retry: u32,
    /// … and must not use what it has any more.
    pub expire: u32,
}

/// A record as text: what it is, apart from its TTL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The owner, relative to the zone.
    pub owner: String,
    /// The TTL.
    pub ttl: u32,
    /// Type and data.
    pub data: String,
}

/// What a record of a transfer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All of the zone follows, with this SOA record, and nothing of what was there counts.
    Whole(Line),
    /// What follows are differences from the version that was asked from.
    Differences,
    /// A record that is there.
    Add(Line),
    /// A record that is not there any more.
    Delete(Line),
}

/// Whether more messages are awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// They are.
    More,
    /// The version that was asked from is the newest.
    Unchanged(Soa),
    /// That was all; the zone's SOA record.
    Done(Soa, Line),
}

/// What is wrong with a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyFault {
    /// It does not begin with the zone's SOA record.
    #[error("it does not begin with the zone's SOA record")]
    Begin,
    /// Records of the zone that do not parse.
    #[error("a record in it does not parse")]
    Record,
    /// Another version in the middle.
    #[error("the zone changed while it was transferred")]
    Changed,
    /// Differences that do not follow each other.
    #[error("its differences do not fit together: one from {0} where it should be from {1}")]
    Chain(u32, u32),
    /// The version here is the newer one: the primary has been set back.
    #[error("the primary has an older version, {0}, than the one here, {1}")]
    Older(u32, u32),
    /// More after the end.
    #[error("there is more behind its end")]
    Trailing,
}

/// A transfer as far as it has come.
#[derive(Debug)]
pub struct Assembly {
    apex: Name,
    /// The version that differences were asked from.
    held: Option<u32>,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// Nothing has come.
    Begin,
    /// The newest SOA record has come, and what follows tells which kind of transfer it is.
    Second(Soa, Line),
    /// Records of a whole zone.
    Whole(Soa, Line),
    /// Records that a version had and the next one has not.
    Delete {
        newest: Soa,
        line: Line,
    },
    /// Records that version `to` has and the one before had not.
    Add {
        newest: Soa,
        line: Line,
        to: u32,
    },
    Done,
}

impl Assembly {
    /// A transfer of this zone: of all of it, or with `held` of the differences from that version.
    pub fn new(apex: Name, held: Option<u32>) -> Self {
        Self { apex, held, stage: Stage::Begin }
    }

    /// Takes the next message; `change` is told what its records do, in order, and may refuse.
    ///
    /// # Errors
    /// [`AssemblyFault`], or what `change` says; nothing that it was told may count then.
    pub fn take<E: From<AssemblyFault>>(
        &mut self,
        part: &Part<'_>,
        mut change: impl FnMut(Change) -> Result<(), E>,
    ) -> Result<Progress, E> {
        let mut done = None;
        for record in part.answers() {
            if done.is_some() {
                return Err(AssemblyFault::Trailing.into());
            }
            let packet = part.packet();
            let is_soa = record.rtype == rtype::SOA && is_name_at(packet, record.start, self.apex.as_wire());
            if is_soa {
                let soa = soa(packet, &record).ok_or(AssemblyFault::Record)?;
                done = self.take_soa(soa, packet, &record, &mut change)?;
            } else {
                self.take_record(packet, &record, &mut change)?;
            }
        }
        match (done, &self.stage, self.held) {
            (Some((soa, line)), ..) => Ok(Progress::Done(soa, line)),
            // RFC 1995, section 4: the SOA record alone, where there is nothing newer.
            (None, Stage::Second(soa, _), Some(held)) if soa.serial == held => {
                let soa = *soa;
                self.stage = Stage::Done;
                Ok(Progress::Unchanged(soa))
            }
            (None, Stage::Second(soa, _), Some(held))
                if wire::compare_serials(soa.serial, held) != Some(Ordering::Greater) =>
            {
                Err(AssemblyFault::Older(soa.serial, held).into())
            }
            _ => Ok(Progress::More),
        }
    }

    fn take_soa<E: From<AssemblyFault>>(
        &mut self,
        soa: Soa,
        packet: &[u8],
        record: &Record,
        change: &mut impl FnMut(Change) -> Result<(), E>,
    ) -> Result<Option<(Soa, Line)>, E> {
        let (stage, done) = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Begin => {
                let line = self.line(packet, record)?.ok_or(AssemblyFault::Begin)?;
                (Stage::Second(soa, line), None)
            }
            // A zone of nothing but its SOA record.
            Stage::Second(newest, line) if self.held.is_none() && soa.serial == newest.serial => {
                change(Change::Whole(line.clone()))?;
                (Stage::Done, Some((newest, line)))
            }
            Stage::Second(newest, line) => match self.held {
                Some(held) if held == soa.serial => {
                    change(Change::Differences)?;
                    (Stage::Delete { newest, line }, None)
                }
                Some(held) => return Err(AssemblyFault::Chain(soa.serial, held).into()),
                None => return Err(AssemblyFault::Changed.into()),
            },
            Stage::Whole(newest, line) if soa.serial == newest.serial => (Stage::Done, Some((newest, line))),
            Stage::Whole(..) => return Err(AssemblyFault::Changed.into()),
            Stage::Delete { newest, line, .. } => (Stage::Add { newest, line, to: soa.serial }, None),
            Stage::Add { newest, line, to } if to == newest.serial && soa.serial == to => {
                (Stage::Done, Some((newest, line)))
            }
            Stage::Add { newest, line, to } if soa.serial == to => (Stage::Delete { newest, line }, None),
            Stage::Add { to, .. } => return Err(AssemblyFault::Chain(soa.serial, to).into()),
            Stage::Done => return Err(AssemblyFault::Trailing.into()),
        };
        self.stage = stage;
        Ok(done)
    }

    fn take_record<E: From<AssemblyFault>>(
        &mut self,
        packet: &[u8],
        record: &Record,
        change: &mut impl FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Stage::Second(soa, line) = &self.stage {
            let (soa, line) = (*soa, line.clone());
            change(Change::Whole(line.clone()))?;
            self.stage = Stage::Whole(soa, line);
        }
        let wrap = match &self.stage {
            Stage::Whole(..) | Stage::Add { .. } => Change::Add,
            Stage::Delete { .. } => Change::Delete,
            Stage::Begin | Stage::Second(..) => return Err(AssemblyFault::Begin.into()),
            Stage::Done => return Err(AssemblyFault::Trailing.into()),
        };
        match self.line(packet, record)? {
            Some(line) => change(wrap(line)),
            None => Ok(()),
        }
    }

    /// The record's text; `None` where the zone has no such: of another zone or class, or DNSSEC's.
    fn line(&self, packet: &[u8], record: &Record) -> Result<Option<Line>, AssemblyFault> {
        if record.class != CLASS_IN || DNSSEC.contains(&record.rtype) {
            return Ok(None);
        }
        let owner = WireName::read(packet, record.start).ok_or(AssemblyFault::Record)?;
        let owner = Name::from_wire(owner.as_wire()).ok_or(AssemblyFault::Record)?;
        let Some(owner) = owner.relative_to(&self.apex) else { return Ok(None) };
        // A SOA record says whose zone the file is: only the zone's own may.
        if record.rtype == rtype::SOA && !owner.is_root() {
            return Ok(None);
        }
        let owner = if owner.is_root() { "@".to_owned() } else { owner.to_string() };
        let mut expanded = Vec::new();
        expand_record(packet, record, &mut expanded).ok_or(AssemblyFault::Record)?;
        let fixed = crate::name::wire_len(&expanded).ok_or(AssemblyFault::Record)? + 10;
        let rdata = expanded.get(fixed..).ok_or(AssemblyFault::Record)?;
        let data = data(record.rtype, rdata).ok_or(AssemblyFault::Record)?;
        Ok(Some(Line { owner, ttl: record.ttl, data }))
    }
}

fn soa(packet: &[u8], record: &Record) -> Option<Soa> {
    let numbers = packet.get(record.rdata.clone())?.last_chunk::<20>()?;
    let number = |at: usize| numbers[at..].first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets));
    Some(Soa { serial: number(0), refresh: number(4), retry: number(8), expire: number(12) })
}

/// Type and data in a master file's form; types that are not of RPZ's usual ones as RFC 3597 writes unknown types.
fn data(kind: u16, rdata: &[u8]) -> Option<String> {
    let text = match kind {
        rtype::A => format!("A {}", Ipv4Addr::from(*rdata.as_array::<4>()?)),
        rtype::AAAA => format!("AAAA {}", Ipv6Addr::from(*rdata.as_array::<16>()?)),
        rtype::CNAME => format!("CNAME {}", absolute(rdata)?),
        rtype::NS => format!("NS {}", absolute(rdata)?),
        rtype::SOA => {
            let len = crate::name::wire_len(rdata)?;
            let (primary, rest) = rdata.split_at(len);
            let len = crate::name::wire_len(rest)?;
            let (mailbox, rest) = rest.split_at(len);
            let mut text = format!("SOA {} {}", absolute(primary)?, absolute(mailbox)?);
            for number in rest.as_array::<20>()?.chunks(4) {
                write!(text, " {}", u32::from_be_bytes(*number.as_array()?)).ok()?;
            }
            text
        }
        _ => {
            // Names in it were expanded; nothing else about it is looked at.
            let mut text = format!("TYPE{kind} \\# {}", rdata.len());
            for (at, octet) in rdata.iter().enumerate() {
                let space = if at == 0 { " " } else { "" };
                write!(text, "{space}{octet:02x}").ok()?;
            }
            text
        }
    };
    Some(text)
}

/// A name that is all of `wire`, with its final dot.
fn absolute(wire: &[u8]) -> Option<String> {
    let name = Name::from_wire(wire)?;
    let dot = if name.is_root() { "" } else { "." };
    Some(format!("{}{dot}", Presentation(name.as_wire())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME TYPE DATA` as octets: for SOA its serial, for A four numbers, for CNAME a name, `*` for a type of no
    /// consequence.
    fn record(text: &str) -> Vec<u8> {
        let words: Vec<&str> = text.split(' ').collect();
        let wire = |name: &str| Name::from_presentation(name).unwrap().as_wire().to_vec();
        let (kind, data): (u16, Vec<u8>) = match words[1] {
            "SOA" => {
                let numbers = [words[2].parse().unwrap(), 60_u32, 30, 600, 5];
                let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
                (rtype::SOA, [wire("ns"), wire("admin.x")].concat().into_iter().chain(numbers).collect())
            }
            "A" => (rtype::A, words[2].parse::<Ipv4Addr>().unwrap().octets().to_vec()),
            "CNAME" => (rtype::CNAME, wire(words[2])),
            "RRSIG" => (rtype::RRSIG, vec![1, 2, 3]),
            other => (other.parse().unwrap(), b"\x01a".to_vec()),
        };
        let mut out = wire(words[0]);
        out.extend(kind.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out.extend(300_u32.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
        out
    }

    fn message(records: &[&str]) -> Vec<u8> {
        let mut out = vec![0, 0, 0x80, 0, 0, 0, 0, records.len() as u8, 0, 0, 0, 0];
        out.extend(records.iter().flat_map(|text| record(text)));
        out
    }

    /// What comes of messages, each of records; the end is the last line.
    fn assemble(held: Option<u32>, messages: &[&[&str]]) -> Result<Vec<String>, AssemblyFault> {
        let mut assembly = Assembly::new(Name::from_host("rpz.x").unwrap(), held);
        let mut told = Vec::new();
        for records in messages {
            let packet = message(records);
            let progress = assembly.take(&Part::parse(&packet).unwrap(), |change| {
                told.push(match change {
                    Change::Whole(_) => "whole".to_owned(),
                    Change::Differences => "differences".to_owned(),
                    Change::Add(Line { owner, ttl, data }) => format!("+{owner} {ttl} {data}"),
                    Change::Delete(Line { owner, ttl, data }) => format!("-{owner} {ttl} {data}"),
                });
                Ok::<(), AssemblyFault>(())
            })?;
            match progress {
                Progress::More => {}
                Progress::Unchanged(soa) => told.push(format!("unchanged {}", soa.serial)),
                Progress::Done(soa, line) => {
                    assert!(line.data.starts_with("SOA ns. admin.x. ") && line.owner == "@", "{line:?}");
                    told.push(format!("done {}", soa.serial));
                }
            }
        }
        Ok(told)
    }

    #[test]
    fn whole_zones_are_put_together() {
        #[track_caller]
        fn check(messages: &[&[&str]], expected: &str) {
            assert_eq!(assemble(None, messages).unwrap().join(", "), expected);
        }
        let soa = "rpz.x SOA 7";
        check(
            &[&[soa, "a.b.rpz.x CNAME .", "*.A.b.RPZ.x CNAME *.", soa]],
            "whole, +a.b 300 CNAME ., +*.a.b 300 CNAME *., done 7",
        );
        check(&[&[soa], &["a.rpz.x A 192.0.2.1"], &[], &[soa]], "whole, +a 300 A 192.0.2.1, done 7");
        check(&[&[soa, soa]], "whole, done 7");
        // What is no part of it is left out; unknown types are kept as they are.
        check(
            &[&[soa, "a.x CNAME .", "b.rpz.x RRSIG x", "c.rpz.x 999 x", "d.rpz.x SOA 9", soa]],
            "whole, +c 300 TYPE999 \\# 2 0161, done 7",
        );
    }

    #[test]
    fn differences_are_put_together() {
        #[track_caller]
        fn check(messages: &[&[&str]], expected: &str) {
            assert_eq!(assemble(Some(7), messages).unwrap().join(", "), expected);
        }
        let [seven, eight, nine] = ["rpz.x SOA 7", "rpz.x SOA 8", "rpz.x SOA 9"];
        let (a, b) = ("a.rpz.x CNAME .", "b.rpz.x CNAME .");
        check(&[&[seven]], "unchanged 7");
        check(&[&[eight, seven, a, eight, b, eight]], "differences, -a 300 CNAME ., +b 300 CNAME ., done 8");
        check(&[&[eight, seven, eight, eight]], "differences, done 8");
        check(
            &[&[nine], &[seven, a], &[eight, b, eight], &[b, nine, a], &[nine]],
            "differences, -a 300 CNAME ., +b 300 CNAME ., -b 300 CNAME ., +a 300 CNAME ., done 9",
        );
        // All of it, though differences were asked for.
        check(&[&[nine, a, nine]], "whole, +a 300 CNAME ., done 9");
        check(&[&[nine], &[a], &[nine]], "whole, +a 300 CNAME ., done 9");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        #[track_caller]
        fn check(held: Option<u32>, messages: &[&[&str]], expected: AssemblyFault) {
            assert_eq!(assemble(held, messages), Err(expected));
        }
        let [seven, eight, nine] = ["rpz.x SOA 7", "rpz.x SOA 8", "rpz.x SOA 9"];
        let a = "a.rpz.x CNAME .";
        check(None, &[&[a, seven]], AssemblyFault::Begin);
        check(None, &[&["y SOA 7"]], AssemblyFault::Begin);
        check(None, &[&[seven, a, eight]], AssemblyFault::Changed);
        check(None, &[&[seven, a, seven, a]], AssemblyFault::Trailing);
        check(None, &[&[seven, a, seven], &[a]], AssemblyFault::Trailing);
        // Set back: nothing follows, and the whole zone may.
        check(Some(8), &[&[seven]], AssemblyFault::Older(7, 8));
        check(Some(7), &[&["rpz.x SOA 4294967295"]], AssemblyFault::Older(u32::MAX, 7));
        check(Some(6), &[&[nine, seven, a, nine, a, nine]], AssemblyFault::Chain(7, 6));
        check(Some(7), &[&[nine, seven, a, eight, a, seven]], AssemblyFault::Chain(7, 8));
        // Differences that end before the newest version.
        assert_eq!(
            assemble(Some(7), &[&[nine, seven, a, eight, a, eight]]).unwrap().last().unwrap(),
            "+a 300 CNAME ."
        );
    }
}
