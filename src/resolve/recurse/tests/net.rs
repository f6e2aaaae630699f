//! A network in memory: servers by address, each with zones and a hook that spoils what it says.
//!
//! Serves as RFC 1034, section 4.3.2, says, so far as these tests need it. Judges nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::name::{self, Name};
use crate::resolve::exchange::Ask;
use crate::resolve::recurse::judge::Boxed;
use crate::resolve::recurse::transport::{NoReply, Reply, Transport, WithEdns};
use crate::wire::{self, Section, rcode, rtype, type_number, u16_at};

/// A question as it reached a server.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) server: IpAddr,
    /// Folded.
    pub(super) qname: Name,
    pub(super) qtype: u16,
    /// As it was sent.
    pub(super) question: Vec<u8>,
}

/// A record: section, owner, type, TTL, data.
pub(super) type Rr = (Section, Name, u16, u32, Vec<u8>);

/// What a server says.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) flags: u8,
    pub(super) recursion: u8,
    pub(super) rcode: u16,
    pub(super) records: Vec<Rr>,
}

/// What becomes of a question.
pub(super) enum Fate {
    Says(Message),
    /// In lower case, whatever case it was asked in.
    SaysFolded(Message),
    SaysAfter(Duration, Message),
    Silence,
    Unreachable,
    NoRoute,
}

type Hook = Box<dyn Fn(&Seen, Message) -> Fate + Send + Sync>;

#[derive(Default)]
struct Host {
    zones: Vec<(Name, Vec<Rr>)>,
    hook: Option<Hook>,
}

/// The network.
#[derive(Default)]
pub(super) struct Net {
    hosts: HashMap<IpAddr, Host>,
    seen: Mutex<Vec<Seen>>,
}

pub(super) fn host(text: &str) -> Name {
    Name::from_presentation(text).unwrap()
}

/// Reads `owner TYPE data`, all names absolute, TTL 300.
pub(super) fn rr(section: Section, text: &str) -> Rr {
    let words: Vec<&str> = text.split_whitespace().collect();
    let qtype = type_number(words[1]).unwrap();
    let data = match qtype {
        rtype::A => words[2].parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
        rtype::AAAA => words[2].parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        rtype::NS | rtype::CNAME | rtype::DNAME => host(words[2]).as_wire().to_vec(),
        rtype::SOA => [&[0, 0][..], &[0; 16], &60u32.to_be_bytes()].concat(),
        _ => words[2].as_bytes().to_vec(),
    };
    (section, host(words[0]), qtype, 300, data)
}

impl Message {
    /// An authoritative answer without records.
    pub(super) fn empty() -> Self {
        Self { flags: wire::AA, recursion: 0, rcode: rcode::NOERROR, records: Vec::new() }
    }

    pub(super) fn with(mut self, section: Section, text: &str) -> Self {
        self.records.push(rr(section, text));
        self
    }

    pub(super) fn code(mut self, code: u16) -> Self {
        self.rcode = code;
        self
    }

    fn octets(&self, question: &[u8]) -> Vec<u8> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let mut packet = vec![0, 0, wire::QR | self.flags, self.recursion | self.rcode as u8, 0, 1];
        for section in sections {
            let count = self.records.iter().filter(|rr| rr.0 == section).count() as u16;
            packet.extend(count.to_be_bytes());
        }
        packet.extend(question);
        for section in sections {
            for (_, owner, rtype, ttl, data) in self.records.iter().filter(|rr| rr.0 == section) {
                packet.extend(owner.as_wire());
                packet.extend(rtype.to_be_bytes());
                packet.extend([0, 1]);
                packet.extend(ttl.to_be_bytes());
                packet.extend((data.len() as u16).to_be_bytes());
                packet.extend(data);
            }
        }
        packet
    }
}

impl Net {
    /// Adds a zone at a server.
    pub(super) fn zone(mut self, server: &str, origin: &str, records: &[&str]) -> Self {
        let records = records.iter().map(|text| rr(Section::Answer, text)).collect();
        self.hosts.entry(server.parse().unwrap()).or_default().zones.push((host(origin), records));
        self
    }

    /// What a server says goes through this.
    pub(super) fn hook(
        mut self,
        server: &str,
        hook: impl Fn(&Seen, Message) -> Fate + Send + Sync + 'static,
    ) -> Self {
        self.hosts.entry(server.parse().unwrap()).or_default().hook = Some(Box::new(hook));
        self
    }

    /// All questions so far, the root's priming left out.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| !(seen.qname.is_root() && seen.qtype == rtype::NS)).cloned().collect()
    }

    /// … as `server qname type`, and forgets them.
    pub(super) fn told(&self) -> Vec<String> {
        let told = self.seen();
        self.seen.lock().unwrap().clear();
        let line = |seen: &Seen| format!("{} {} {}", seen.server, seen.qname, wire::type_text(seen.qtype));
        told.iter().map(line).collect()
    }

    fn answer(&self, host: &Host, seen: &Seen) -> Message {
        let zone = host.zones.iter().filter(|(origin, _)| seen.qname.is_within(origin));
        // DS stands in the parent.
        let zone = zone.filter(|(origin, _)| seen.qtype != rtype::DS || seen.qname != *origin);
        let Some((origin, records)) = zone.max_by_key(|(origin, _)| origin.label_count()) else {
            return Message { flags: 0, ..Message::empty() }.code(rcode::REFUSED);
        };
        let mut message = Message::empty();
        let mut qname = seen.qname.clone();
        for _ in 0..20 {
            let is_cut = |rr: &&Rr| {
                let is_ds = seen.qtype == rtype::DS && rr.1 == qname;
                rr.2 == rtype::NS && rr.1 != *origin && qname.is_within(&rr.1) && !is_ds
            };
            if let Some((_, cut, ..)) = records.iter().find(is_cut) {
                if !message.records.is_empty() {
                    return message;
                }
                message.flags = 0;
                for rr in records.iter().filter(|rr| rr.1 == *cut && matches!(rr.2, rtype::NS | rtype::DS)) {
                    message.records.push((Section::Authority, rr.1.clone(), rr.2, rr.3, rr.4.clone()));
                    let target = Name::from_wire(&rr.4);
                    let glue = records.iter().filter(|rr| matches!(rr.2, rtype::A | rtype::AAAA));
                    for rr in glue.filter(|rr| Some(&rr.1) == target.as_ref()) {
                        message.records.push((Section::Additional, rr.1.clone(), rr.2, rr.3, rr.4.clone()));
                    }
                }
                return message;
            }
            let of = |kind: u16| records.iter().filter(move |rr| rr.2 == kind);
            if let Some(dname) = of(rtype::DNAME).find(|rr| rr.1 != qname && qname.is_within(&rr.1)) {
                message.records.push(dname.clone());
                let target = Name::from_wire(&dname.4).unwrap();
                qname = qname.relative_to(&dname.1).unwrap().under(&target).unwrap();
            } else if let Some(alias) =
                of(rtype::CNAME).find(|rr| rr.1 == qname && seen.qtype != rtype::CNAME)
            {
                message.records.push(alias.clone());
                qname = Name::from_wire(&alias.4).unwrap();
            } else {
                let data: Vec<Rr> = of(seen.qtype).filter(|rr| rr.1 == qname).cloned().collect();
                if data.is_empty() {
                    message.records.push(rr(Section::Authority, &format!("{origin} SOA")));
                    if !records.iter().any(|rr| rr.1.is_within(&qname)) && qname != *origin {
                        message.rcode = rcode::NXDOMAIN;
                    }
                }
                for ns in data.iter().filter(|rr| rr.2 == rtype::NS) {
                    let glue = of(rtype::A).filter(|rr| Name::from_wire(&ns.4).as_ref() == Some(&rr.1));
                    let glue = glue.cloned().map(|rr| (Section::Additional, rr.1, rr.2, rr.3, rr.4));
                    message.records.extend(glue);
                }
                message.records.extend(data);
                return message;
            }
            if !qname.is_within(origin) {
                return message;
            }
        }
        message
    }
}

/// What the engine gets: the network, shared with the test.
pub(super) struct Shared(pub(super) Arc<Net>);

impl Transport for Shared {
    fn ask<'a>(
        &'a self,
        server: SocketAddr,
        ask: &'a Ask,
        _edns: WithEdns,
    ) -> Boxed<'a, Result<Reply, NoReply>> {
        Box::pin(async move {
            assert_eq!(server.port(), 53);
            let at = ask.question.len() - 4;
            let seen = Seen {
                server: server.ip(),
                qname: Name::from_wire(&ask.question[..at]).unwrap(),
                qtype: u16_at(&ask.question, at).unwrap(),
                question: ask.question.clone(),
            };
            self.0.seen.lock().unwrap().push(seen.clone());
            let Some(host) = self.0.hosts.get(&seen.server) else {
                return std::future::pending().await;
            };
            let message = self.0.answer(host, &seen);
            let fate = host.hook.as_ref().map_or(Fate::Says(message.clone()), |hook| hook(&seen, message));
            let error = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let packet = match fate {
                Fate::Says(message) => message.octets(&seen.question),
                Fate::SaysFolded(message) => {
                    let mut packet = message.octets(&seen.question);
                    name::fold(&mut packet[wire::HEADER..wire::HEADER + at]);
                    packet
                }
                Fate::SaysAfter(delay, message) => {
                    tokio::time::sleep(delay).await;
                    message.octets(&seen.question)
                }
                Fate::Silence => std::future::pending().await,
                Fate::Unreachable => return Err(NoReply::Network(error())),
                Fate::NoRoute => return Err(NoReply::NoRoute(error())),
            };
            Ok(Reply { packet, is_plain: false })
        })
    }
}
