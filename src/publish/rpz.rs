//! Records of a response policy zone (draft-vixie-dnsop-dns-rpz-00) for what the image holds.
//!
//! One zone has no order of feeds: the exact name wins over the wildcard, the longer one over the shorter. `super::walk`
//! has seen to it that this comes to what our own precedence says, but for triggers of different kinds: a later feed's
//! rule on a qname beats an earlier feed's on an address there.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use super::select::{Deed, Pick, Selection};
use super::walk::{NameNode, Node};
use crate::name::{self, MAX_WIRE, Name, NameError, Presentation};
use crate::policy::action::Action;
use crate::policy::trigger::Trigger;

const A: u16 = 1;
pub(super) const NS: u16 = 2;
const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
const AAAA: u16 = 28;

/// What stands in place of the sinkhole, which others do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sinkholed {
    /// Addresses, as our own answers have them; other types have no data.
    Addresses(Vec<IpAddr>),
    /// An alias to the landing page's name.
    Cname(Name),
    /// The name does not exist.
    Nxdomain,
    /// It has no data.
    Nodata,
}

/// Why a text does not say what stands in place of the sinkhole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkholedError {
    /// Another word.
    #[error("there are nxdomain, nodata and cname:NAME")]
    Unknown,
    /// What follows `cname:` is no name.
    #[error("the name after cname: is not valid: {0}")]
    Cname(#[from] NameError),
}

impl FromStr for Sinkholed {
    type Err = SinkholedError;

    /// Reads all but addresses, which are the sinkhole's.
    fn from_str(text: &str) -> Result<Self, SinkholedError> {
        match text {
            "nxdomain" => Ok(Self::Nxdomain),
            "nodata" => Ok(Self::Nodata),
            other => {
                let target = other.strip_prefix("cname:").ok_or(SinkholedError::Unknown)?;
                Ok(Self::Cname(Name::from_presentation(target)?))
            }
        }
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record<'a> {
    /// In wire format, as seen from the zone's apex: without the apex's labels and the root's.
    pub owner: &'a [u8],
    /// Its type.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// In wire format, names written out.
    pub rdata: &'a [u8],
}

/// Octets of a packed record before its owner.
const PACKED_HEAD: usize = 9;

impl<'a> Record<'a> {
    /// Appends the record as it waits in memory and on disk: the owner's length (u8), type (u16), TTL (u32), the
    /// data's length (u16), owner, data; numbers little-endian.
    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        let Self { owner, rtype, ttl, rdata } = self;
        // An owner is a part of a name, and data of at most 64 KiB is what a feed or an image gives.
        out.push(owner.len() as u8);
        out.extend(rtype.to_le_bytes());
        out.extend(ttl.to_le_bytes());
        out.extend((rdata.len() as u16).to_le_bytes());
        out.extend(*owner);
        out.extend(*rdata);
    }

    /// The first of packed records, and its octets; `None` where it is not there whole.
    pub(super) fn unpack(packed: &'a [u8]) -> Option<(Self, usize)> {
        let &[owner_len, t0, t1, l0, l1, l2, l3, d0, d1] = packed.first_chunk::<PACKED_HEAD>()?;
        let (owner_len, rdata_len) = (usize::from(owner_len), usize::from(u16::from_le_bytes([d0, d1])));
        let owner = packed.get(PACKED_HEAD..PACKED_HEAD + owner_len)?;
        let end = PACKED_HEAD + owner_len + rdata_len;
        let rdata = packed.get(PACKED_HEAD + owner_len..end)?;
        let (rtype, ttl) = (u16::from_le_bytes([t0, t1]), u32::from_le_bytes([l0, l1, l2, l3]));
        Some((Self { owner, rtype, ttl, rdata }, end))
    }
}

/// Makes records of nodes.
pub(super) struct Writer {
    /// The records of each action.
    data: Vec<Vec<Data>>,
    /// Octets that an owner may have before the apex.
    room: usize,
    owner: Vec<u8>,
    /// Names whose owner does not fit.
    pub(super) too_long: u64,
}

struct Data {
    rtype: u16,
    ttl: u32,
    rdata: Box<[u8]>,
}

/// The names that rules on anything but qnames stand below.
const TRIGGERS: [(Trigger, &str); 4] = [
    (Trigger::ClientIp, "rpz-client-ip"),
    (Trigger::Ip, "rpz-ip"),
    (Trigger::Nsdname, "rpz-nsdname"),
    (Trigger::Nsip, "rpz-nsip"),
];

impl Writer {
    /// For a zone whose apex has this many octets in wire format.
    pub(super) fn new(selection: &Selection, sinkholed: &Sinkholed, ttl: u32, apex_len: usize) -> Self {
        let data = selection.deeds.iter().map(|deed| data_of(deed, sinkholed, ttl)).collect();
        Self { data, room: MAX_WIRE.saturating_sub(apex_len), owner: Vec::new(), too_long: 0 }
    }

    /// Calls `visit` with the records of a node.
    pub(super) fn write(&mut self, node: Node<'_>, mut visit: impl FnMut(Record<'_>)) {
        match node {
            Node::Network { trigger, net, pick } => {
                let text = owner_of(net);
                self.owner.clear();
                text.split('.').for_each(|label| push(label.as_bytes(), &mut self.owner));
                self.push_trigger(trigger);
                self.tell(0, pick, &mut visit);
            }
            Node::Name(NameNode { trigger, key, here, below, .. }) => {
                self.owner.clear();
                push(b"*", &mut self.owner);
                // A key of the image is one.
                if name::push_key(key, &mut self.owner).is_none() || self.is_misread(trigger) {
                    return;
                }
                self.push_trigger(trigger);
                if let Some(here) = here {
                    self.tell(2, here, &mut visit);
                }
                if let Some(below) = below {
                    self.tell(0, below, &mut visit);
                }
            }
        }
    }

    /// Tells the records of the owner, of which the first octets may not count.
    fn tell(&mut self, skipped: usize, pick: Pick, visit: &mut impl FnMut(Record<'_>)) {
        let owner = &self.owner[skipped..];
        if owner.len() > self.room {
            self.too_long += 1;
            return;
        }
        for Data { rtype, ttl, rdata } in &self.data[pick.action as usize] {
            visit(Record { owner, rtype: *rtype, ttl: *ttl, rdata });
        }
    }

    fn push_trigger(&mut self, trigger: Trigger) {
        if let Some((_, label)) = TRIGGERS.iter().find(|(known, _)| *known == trigger) {
            push(label.as_bytes(), &mut self.owner);
        }
    }

    /// Whether the owner would be taken for another kind of trigger: a name below no top-level domain that
    /// there is.
    fn is_misread(&self, trigger: Trigger) -> bool {
        trigger == Trigger::Qname
            && name::labels(&self.owner).last().is_some_and(|last| last.starts_with(b"rpz-"))
    }
}

fn push(label: &[u8], wire: &mut Vec<u8>) {
    // All labels that are made here are short.
    wire.push(label.len() as u8);
    wire.extend(label);
}

/// `24.0.2.0.192`, and `48.zz.8.db8.2001` with `zz` for the longest run of zeros, as RFC 5952 shortens (section 4.3 of the
/// draft).
fn owner_of(net: IpNet) -> String {
    let mut owner = net.prefix_len().to_string();
    match net.addr() {
        IpAddr::V4(address) => {
            for octet in address.octets().iter().rev() {
                // Writing to a String does not fail.
                let _ = write!(owner, ".{octet}");
            }
        }
        IpAddr::V6(address) => {
            let zeros = zeros(address);
            for (at, group) in address.segments().iter().enumerate().rev() {
                if zeros.contains(&at) {
                    owner.push_str(if at == zeros.start { ".zz" } else { "" });
                } else {
                    let _ = write!(owner, ".{group:x}");
                }
            }
        }
    }
    owner
}

/// The first of the longest runs of two or more groups of zeros; empty where there is none.
fn zeros(address: Ipv6Addr) -> std::ops::Range<usize> {
    let groups = address.segments();
    let mut longest = 0..0;
    let mut start = 0;
    for end in 1..=groups.len() {
        if groups[end - 1] != 0 {
            start = end;
        } else if end - start > longest.len().max(1) {
            longest = start..end;
        }
    }
    longest
}

fn data_of(deed: &Deed, sinkholed: &Sinkholed, ttl: u32) -> Vec<Data> {
    let cname = |target: &[u8]| vec![Data { rtype: CNAME, ttl, rdata: target.into() }];
    match &deed.action {
        Action::Sinkhole => match sinkholed {
            Sinkholed::Addresses(common) => match deed.sinkhole.as_deref().unwrap_or(common) {
                // As our own answers: no data of any type.
                [] => cname(b"\x01*\0"),
                addresses => addresses.iter().map(|address| address_data(*address, ttl)).collect(),
            },
            Sinkholed::Cname(target) => cname(target.as_wire()),
            Sinkholed::Nxdomain => cname(b"\0"),
            Sinkholed::Nodata => cname(b"\x01*\0"),
        },
        Action::Nxdomain => cname(b"\0"),
        Action::Nodata => cname(b"\x01*\0"),
        Action::Passthru => cname(b"\x0crpz-passthru\0"),
        Action::Drop => cname(b"\x08rpz-drop\0"),
        Action::TcpOnly => cname(b"\x0crpz-tcp-only\0"),
        Action::Cname(target) => cname(target.as_wire()),
        Action::LocalData(data) => {
            let data = data.records(None);
            data.map(|it| Data { rtype: it.rtype, ttl: it.ttl, rdata: it.rdata.clone() }).collect()
        }
    }
}

fn address_data(address: IpAddr, ttl: u32) -> Data {
    match address {
        IpAddr::V4(address) => Data { rtype: A, ttl, rdata: address.octets().into() },
        IpAddr::V6(address) => Data { rtype: AAAA, ttl, rdata: address.octets().into() },
    }
}

/// A line of a master file.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, rtype, ttl, rdata } = *self;
        if owner.is_empty() {
            f.write_char('@')?;
        } else {
            Presentation(owner).fmt(f)?;
        }
        write!(f, " {ttl} ")?;
        let address = match rtype {
            A => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
            AAAA => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
            _ => None,
        };
        match (rtype, address) {
            (_, Some(address)) => write!(f, "{} {address}", if address.is_ipv4() { "A" } else { "AAAA" }),
            (CNAME | NS, _) => {
                f.write_str(if rtype == CNAME { "CNAME " } else { "NS " })?;
                // The root is a dot already.
                write!(f, "{}{}", Presentation(rdata), if rdata.len() > 1 { "." } else { "" })
            }
            _ => {
                write!(f, "TYPE{rtype} \\# {}", rdata.len())?;
                for (at, octet) in rdata.iter().enumerate() {
                    write!(f, "{}{octet:02x}", if at == 0 { " " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// The data of an SOA record: whoever asks finds no server behind these names, and needs none.
pub(super) fn soa(serial: u32, times: Times) -> Vec<u8> {
    let Times { refresh, retry, expire, negative } = times;
    let mut rdata = b"\x09localhost\0\x04root\x09localhost\0".to_vec();
    for number in [serial, refresh, retry, expire, negative] {
        rdata.extend(number.to_be_bytes());
    }
    rdata
}

/// The data of the NS record.
pub(super) const NS_DATA: &[u8] = b"\x09localhost\0";

/// The times of an SOA record, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// After which a secondary asks whether there is a new version.
    pub refresh: u32,
    /// … and asks again where it got no answer.
    pub retry: u32,
    /// After which it gives up the zone.
    pub expire: u32,
    /// For which a negative answer may be kept.
    pub negative: u32,
}

/// A lost NOTIFY costs minutes; a primary that is away for weeks does not take protection away.
pub const TIMES: Times = Times { refresh: 300, retry: 60, expire: 2_592_000, negative: 30 };
