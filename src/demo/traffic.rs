//! The queries of an hour, and their records: what everybody asks, what infected machines ask, and who comes to the sinkhole.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::calendar::{Calendar, Hour, MINUTE, SECOND, is_office_hour};
use super::dice::Dice;
use super::infections::Infection;
use super::names::{Names, addresses};
use super::province::{Agency, Link, Province};
use super::threats::{FAMILIES, FEEDS, Indicator, Kind, TRIAL, Threats};
use crate::evidence::contacts::{Contact, Via};
use crate::evidence::journal::Journal;
use crate::evidence::record::{Outcome, Record, Severity, Transport, Trigger};
use crate::wire::CLASS_IN;

/// Records that are written together, as a worker's batch.
const BATCH: usize = 256;
const A: u16 = 1;
const AAAA: u16 = 28;
const HTTPS: u16 = 65;
const TXT: u16 = 16;
const NOERROR: u16 = 0;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
/// Where sinkholed names lead.
const SINKHOLE: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(10, 10, 10, 10))];
const SINKHOLE_V6: [IpAddr; 1] = [IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10))];

/// An infected machine asked for a listed name.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) time: i64,
    /// The infection's number.
    pub(super) infection: usize,
    /// The address that asked.
    pub(super) client: IpAddr,
    pub(super) name: String,
    /// Who then came to the sinkhole, if anybody did.
    pub(super) contact: Option<Contact>,
}

/// What somebody asks.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Usual,
    /// A listed name of an infection.
    Listed {
        infection: u32,
        name: u32,
    },
    Trial(u32),
    Odd,
}

/// Makes queries and their records.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    pub(super) province: &'a Province,
    pub(super) infections: &'a [Infection],
    pub(super) threats: &'a Threats,
    pub(super) names: Names,
    pub(super) seed: u64,
    /// Queries for each unit of weight of an hour.
    pub(super) density: f64,
    /// Machines that are on today: all, and those that are by night.
    on: Vec<u32>,
    late: Vec<u32>,
    /// Infections whose machines are on.
    awake: Vec<usize>,
    asks: Vec<(i64, u32, Ask)>,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(
        province: &'a Province,
        infections: &'a [Infection],
        threats: &'a Threats,
        calendar: Calendar,
        rows: u64,
        seed: u64,
    ) -> Self {
        let tail = (rows / 40).clamp(2000, 400_000);
        Self {
            province,
            infections,
            threats,
            names: Names::new(tail as usize),
            seed,
            density: rows as f64 / calendar.weight().max(1.0),
            on: Vec::new(),
            late: Vec::new(),
            awake: Vec::new(),
            asks: Vec::new(),
        }
    }

    /// Begins a day.
    pub(super) fn begin(&mut self, day: i64) {
        let machines = 0..self.province.machines.len() as u32;
        self.on = machines.filter(|machine| self.province.is_on(*machine, day)).collect();
        let is_late = |machine: &&u32| self.province.is_server(**machine) || **machine % 23 == 5;
        self.late = self.on.iter().filter(is_late).copied().collect();
        let is_awake = |at: &usize| self.province.is_on(self.infections[*at].machine, day);
        self.awake = (0..self.infections.len()).filter(is_awake).collect();
    }

    /// Infections whose machines are on today.
    pub(super) fn awake(&self) -> &[usize] {
        &self.awake
    }

    /// Writes an hour's records, and tells which were hits of infected machines.
    pub(super) fn write(&mut self, hour: Hour, journal: &mut Journal) -> Vec<Hit> {
        let mut dice = Dice::of(self.seed, 51, hour.start.unsigned_abs());
        self.gather(hour, &mut dice);
        let mut hits = Vec::new();
        let mut scratch = Vec::new();
        let asks = std::mem::take(&mut self.asks);
        for batch in asks.chunks(BATCH) {
            let mut now = hour.end;
            for (time, machine, ask) in batch {
                now = *time;
                let agency = self.province.agency_of(*machine);
                let client = self.province.machines[*machine as usize].client(agency, *time, &mut dice);
                let record = self.blank(*time, *machine, agency, client, &mut dice);
                match *ask {
                    Ask::Usual => journal.add(&self.usual(record, &mut dice, &mut scratch)),
                    Ask::Odd => journal.add(&odd(record, &mut dice)),
                    Ask::Trial(name) => {
                        let name = &self.threats.trial[name as usize];
                        journal.add(&Record {
                            outcome: Outcome::Shadow,
                            feed: Some(FEEDS[TRIAL].name.into()),
                            family: Some("Quảng cáo".into()),
                            severity: Some(Severity::Low),
                            trigger: Some(Trigger::Qname),
                            ..answered(record, name.as_wire(), A)
                        });
                    }
                    Ask::Listed { infection, name } => {
                        let number = infection as usize;
                        let infection = &self.infections[number];
                        let indicator = &infection.names[name as usize];
                        let qtype = if dice.percent(70) { A } else { AAAA };
                        if indicator.since > *time {
                            journal.add(&answered(record, indicator.name.as_wire(), qtype));
                            continue;
                        }
                        journal.add(&listed(record, indicator, qtype));
                        let contact = self.contact(*time, *machine, agency, client, indicator, &mut dice);
                        let name = indicator.name.to_string();
                        hits.push(Hit { time: *time, infection: number, client, name, contact });
                    }
                }
            }
            journal.commit(now);
        }
        self.asks = asks;
        hits
    }

    /// Who asks when, in the order of times.
    fn gather(&mut self, hour: Hour, dice: &mut Dice) {
        let is_open = is_office_hour(hour.start);
        let awake = if is_open || self.late.is_empty() { &self.on } else { &self.late };
        let asks = &mut self.asks;
        asks.clear();
        if !awake.is_empty() {
            for _ in 0..dice.about(hour.weight * self.density) {
                let ask = match dice.below(20_000) {
                    0..8 => Ask::Trial(dice.index(self.threats.trial.len()) as u32),
                    8..40 => Ask::Odd,
                    _ => Ask::Usual,
                };
                asks.push((dice.within(hour.start, hour.end), dice.pick(awake), ask));
            }
        }
        for number in &self.awake {
            let infection = &self.infections[*number];
            let by_night = self.province.is_server(infection.machine) || infection.machine % 23 == 5;
            if !is_open && !by_night {
                continue;
            }
            // Eight hours of an office's day, or all of it.
            let mean = infection.rate / if by_night { 24.0 } else { 8.0 };
            let part = (hour.end - hour.start) as f64 / (60 * MINUTE) as f64;
            let first = u64::from(infection.begins(hour.start, hour.end));
            for _ in 0..dice.about(mean * part) + first {
                let time = dice.within(hour.start, hour.end);
                if infection.is_active(time) {
                    let name = dice.index(infection.names.len()) as u32;
                    let ask = Ask::Listed { infection: *number as u32, name };
                    asks.push((time, infection.machine, ask));
                }
            }
        }
        asks.sort_unstable_by_key(|(time, machine, _)| (*time, *machine));
    }

    fn blank(
        &self,
        time: i64,
        machine: u32,
        agency: &'a Agency,
        client: IpAddr,
        dice: &mut Dice,
    ) -> Record<'a> {
        let machine = &self.province.machines[machine as usize];
        let is_told = agency.link == Link::Telling;
        let transport = match dice.below(100) {
            _ if is_told => Transport::Udp,
            0..93 => Transport::Udp,
            93 => Transport::Tcp,
            94..97 => Transport::Tls,
            97..99 => Transport::Https,
            _ => Transport::Quic,
        };
        let is_cached = dice.percent(72);
        let latency = if is_cached { dice.within(30, 240) } else { dice.within(2500, 60_000) };
        Record {
            time,
            client,
            transport,
            agency: Some(agency.id.as_str().into()),
            mac: is_told.then_some(machine.mac),
            subnet: is_told.then(|| IpNet::from(IpAddr::from(machine.address_at(time)))),
            qname: Cow::Borrowed(&[0]),
            qtype: A,
            qclass: CLASS_IN,
            rcode: Some(NOERROR),
            outcome: Outcome::Forward,
            is_hit: false,
            is_cached,
            feed: None,
            family: None,
            severity: None,
            trigger: None,
            matched: None,
            answers: Cow::Borrowed(&[]),
            latency: latency as u32,
        }
    }

    fn usual<'r>(&'r self, record: Record<'r>, dice: &mut Dice, scratch: &'r mut Vec<u8>) -> Record<'r> {
        let (name, is_own) = self.names.draw(dice, scratch);
        let qtype = match dice.below(100) {
            0..62 => A,
            62..86 => AAAA,
            86..98 => HTTPS,
            _ => TXT,
        };
        let record = answered(record, name, qtype);
        match dice.below(1000) {
            0..28 => Record { rcode: Some(NXDOMAIN), answers: Cow::Borrowed(&[]), ..record },
            28..31 => {
                Record { rcode: Some(SERVFAIL), answers: Cow::Borrowed(&[]), is_cached: false, ..record }
            }
            _ if is_own => Record { outcome: Outcome::Local, latency: 40, ..record },
            _ => record,
        }
    }

    /// Who comes to the sinkhole once a listed name has led there.
    fn contact(
        &self,
        time: i64,
        machine: u32,
        agency: &Agency,
        client: IpAddr,
        indicator: &Indicator,
        dice: &mut Dice,
    ) -> Option<Contact> {
        let family = &FAMILIES[indicator.family];
        let is_seen = match (agency.link, family.kind) {
            (Link::Blind, _) | (_, Kind::Address) => false,
            (_, Kind::Click) => dice.percent(95),
            (Link::Forwarder, _) => dice.percent(85),
            _ => dice.percent(40),
        };
        if !is_seen {
            return None;
        }
        let client = match agency.link {
            Link::Forwarder | Link::Telling => {
                self.province.machines[machine as usize].address_at(time).into()
            }
            _ => client,
        };
        let name = indicator.name.to_string();
        let via = match family.port {
            80 => Via::Http,
            443 => Via::Tls,
            _ => Via::Tcp,
        };
        let (path, agent) = match (via, family.kind) {
            (Via::Http, Kind::Click) => {
                (Some("/dang-nhap"), Some("Mozilla/5.0 (Windows NT 10.0; Win64; x64)"))
            }
            (Via::Http, _) => (Some("/gate.php?id=7"), Some("Mozilla/4.0 (compatible; MSIE 6.0)")),
            _ => (None, None),
        };
        let first = match via {
            Via::Http => format!("GET {} HTTP/1.1\r\nHost: {name}\r\n", path.unwrap_or("/")).into_bytes(),
            Via::Tls => vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
            Via::Tcp | Via::Udp => b"ll|'|'|SGFja2VkX0U=|'|'|".to_vec(),
        };
        let sinkhole = if client.is_ipv6() { SINKHOLE_V6[0] } else { SINKHOLE[0] };
        Some(Contact {
            id: 0,
            time: time + dice.within(SECOND / 20, SECOND),
            client,
            source_port: 49_152 + dice.below(16_000) as u16,
            local: SocketAddr::new(sinkhole, family.port),
            via,
            name: (via != Via::Tcp).then_some(name),
            path: path.map(str::to_owned),
            agent: agent.map(str::to_owned),
            ja4: (via == Via::Tls).then(|| "t12d190800_d83cc789557e_7af1ed941c26".to_owned()),
            first,
            count: 1 + dice.popular(4) as u32,
        })
    }
}

/// An answer like any other.
fn answered<'r>(record: Record<'r>, name: &'r [u8], qtype: u16) -> Record<'r> {
    let answers: Cow<'r, [IpAddr]> = match qtype {
        A | AAAA => {
            let (all, count) = addresses(name, qtype == AAAA);
            Cow::Owned(all[..count].to_vec())
        }
        _ => Cow::Borrowed(&[]),
    };
    Record { qname: Cow::Borrowed(name), qtype, answers, ..record }
}

/// One that leads to the sinkhole.
fn listed<'r>(record: Record<'r>, indicator: &'r Indicator, qtype: u16) -> Record<'r> {
    let family = &FAMILIES[indicator.family];
    let address = indicator.address.map(|address| Ipv4Addr::from(address).to_string());
    Record {
        qname: Cow::Borrowed(indicator.name.as_wire()),
        // An address is met in an answer that has some.
        qtype: if address.is_some() { A } else { qtype },
        outcome: Outcome::Sinkhole,
        is_hit: true,
        feed: Some(FEEDS[family.feed].name.into()),
        family: Some(family.name).filter(|name| !name.is_empty()).map(Into::into),
        severity: Some(family.severity),
        trigger: Some(if address.is_some() { Trigger::Ip } else { Trigger::Qname }),
        answers: Cow::Borrowed(if qtype == AAAA && address.is_none() { &SINKHOLE_V6 } else { &SINKHOLE }),
        matched: address.map(Into::into),
        latency: if indicator.address.is_some() { record.latency } else { record.latency % 200 },
        ..record
    }
}

/// What there is of everything in a large network.
fn odd<'r>(record: Record<'r>, dice: &mut Dice) -> Record<'r> {
    let canary: &[u8] = b"\x13use-application-dns\x03net\x00";
    match dice.below(10) {
        0..6 => Record {
            qname: Cow::Borrowed(canary),
            rcode: Some(NXDOMAIN),
            outcome: Outcome::Nxdomain,
            feed: Some("canaries".into()),
            trigger: Some(Trigger::Qname),
            ..record
        },
        6..8 => Record {
            qname: Cow::Borrowed(b"\x04bang\x04tinh\x07example\x00"),
            qtype: 252,
            rcode: Some(REFUSED),
            outcome: Outcome::Refused,
            ..record
        },
        8 => Record { qtype: 0, qclass: 0, rcode: Some(1), outcome: Outcome::Malformed, ..record },
        _ => Record {
            qname: Cow::Borrowed(b"\x07ke-toan\x04test\x00"),
            outcome: Outcome::Passthru,
            feed: Some(crate::rules::FEED.into()),
            trigger: Some(Trigger::Qname),
            severity: None,
            ..record
        },
    }
}
