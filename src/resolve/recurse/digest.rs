//! What a name server's response says to a question, and nothing that it has no right to say.
//!
//! A server is believed about names at and below the zone that it was asked as a server of; all else is
//! scrubbed, whatever section it stands in. Addresses of name servers (glue) lead to servers and
//! are never answers (RFC 2181, section 5.4.1). Reads octets, knows no network and no cache.

use std::net::IpAddr;
use std::time::Instant;

use super::piece::{Draft, Outcome, Piece, address};
use crate::name::Name;
use crate::wire::{self, CLASS_IN, Response, Section, expand_name, rcode, rtype, u16_at};

/// Most aliases that are followed for one question, as many as others follow.
pub const MOST_ALIASES: usize = 12;
/// Most name servers of a zone that are taken down. The root has 13; a zone with more gains nothing by them.
const MOST_SERVERS: usize = 20;
/// Most addresses of one name server.
const MOST_ADDRESSES: usize = 8;
/// The longest that anything is kept, in seconds: a TTL may be up to 68 years.
const LONGEST: u32 = 86_400;
/// The longest that a denial is (RFC 2308, section 5).
const LONGEST_NEGATIVE: u32 = 3600;

/// A response, digested.
#[derive(Debug)]
pub enum Digest {
    /// It answers: a piece about the qname, and where that is an alias within the zone, pieces about what it
    /// leads to. At least one.
    Answer(Vec<Piece>),
    /// Others are in charge, further down.
    Referral(Referral),
    /// It helps in nothing.
    Useless(Useless),
}

/// Where a zone's servers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The zone.
    pub zone: Name,
    /// Its servers.
    pub servers: Vec<NameServer>,
    /// For how many seconds this may be kept.
    pub life: u32,
}

/// A name server, and what its parent says of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: Name,
    /// Its addresses; none: its name has to be resolved.
    pub addresses: Vec<IpAddr>,
}

/// A referral, and what the parent says about the child's keys.
#[derive(Debug)]
pub struct Referral {
    /// Who is in charge.
    pub delegation: Delegation,
    /// The child's DS records where they came with it, or what may prove that it has none (RFC 4035, section 3.1.4). That comes
    /// without an SOA record: it is good for validation, and no answer to a client.
    pub ds: Option<Box<Piece>>,
}

/// Why a response helps in nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Useless {
    /// An error.
    Rcode(u16),
    /// The server is not in charge of the zone: no authority, or a referral that does not lead down.
    Lame,
    /// It does not parse.
    Garbled,
}

/// What was asked, of whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The zone as whose server it was asked.
    pub zone: &'a Name,
    /// The name.
    pub qname: &'a Name,
    /// The type.
    pub qtype: u16,
    /// When the response came.
    pub now: Instant,
    /// From where.
    pub from: IpAddr,
}

/// A record that the server may speak of.
struct Rr {
    section: Section,
    owner: Name,
    /// For RRSIG the type that it covers.
    covers: u16,
    draft: Draft,
    rdata_at: usize,
}

impl Rr {
    fn rdata(&self) -> &[u8] {
        &self.draft.octets[self.rdata_at..]
    }

    fn is(&self, section: Section, rtype: u16) -> bool {
        self.section == section && self.draft.rtype == rtype
    }

    /// The name that its data begins with.
    fn target(&self) -> Option<Name> {
        let rdata = self.rdata();
        Name::from_wire(rdata.get(..crate::name::wire_len(rdata)?)?)
    }
}

/// Digests a response to `asked`. Letter case was checked before, where it counts.
pub fn digest(response: &Response<'_>, asked: Asked<'_>) -> Digest {
    let code = response.rcode();
    if !matches!(code, rcode::NOERROR | rcode::NXDOMAIN | rcode::YXDOMAIN) {
        return Digest::Useless(Useless::Rcode(code));
    }
    let Some(records) = scrub(response, asked.zone) else { return Digest::Useless(Useless::Garbled) };
    let flags = &response.packet()[2..4];
    // A server that says of itself that it recurses gave what others told it.
    let is_authority = flags[0] & wire::AA != 0 || flags[1] & wire::RA == 0;
    let chain = Chain { records: &records, asked, code };
    match chain.follow() {
        Ok(pieces) if !pieces.is_empty() => {
            return if is_authority { Digest::Answer(pieces) } else { Digest::Useless(Useless::Lame) };
        }
        Ok(_) => {}
        Err(useless) => return Digest::Useless(useless),
    }
    if code == rcode::NOERROR
        && let Some(referral) = referral(&records, asked)
    {
        return Digest::Referral(referral);
    }
    // A denial without SOA record: RFC 2308, section 2.2, type 3. It is believed, and not kept.
    if flags[0] & wire::AA != 0 && code != rcode::YXDOMAIN {
        let piece = chain.denial(asked.qname.clone(), None);
        return piece.map_or(Digest::Useless(Useless::Garbled), |piece| Digest::Answer(vec![piece]));
    }
    Digest::Useless(Useless::Lame)
}

/// A zone's servers by its own answer to `NS`: what priming gets.
pub fn servers_in_answer(response: &Response<'_>, zone: &Name) -> Option<Delegation> {
    delegation(&scrub(response, zone)?, zone, Section::Answer)
}

/// The records at and below the zone. `None` where one has a name that does not parse.
fn scrub(response: &Response<'_>, zone: &Name) -> Option<Vec<Rr>> {
    let packet = response.packet();
    let mut records = Vec::new();
    let mut wire_name = Vec::new();
    for record in response.records() {
        let record = record.ok()?;
        if record.class != CLASS_IN || record.rtype == rtype::OPT {
            continue;
        }
        wire_name.clear();
        expand_name(packet, record.start, &mut wire_name)?;
        if !crate::name::is_within(&wire_name, zone.as_wire()) {
            continue;
        }
        let owner = Name::from_wire(&wire_name)?;
        let mut octets = Vec::new();
        wire::expand_record(packet, &record, &mut octets)?;
        let rdata_at = wire_name.len() + 10;
        let covers = match record.rtype {
            rtype::RRSIG => u16_at(&octets, rdata_at)?,
            other => other,
        };
        let draft = Draft { rtype: record.rtype, ttl: record.ttl, octets };
        records.push(Rr { section: record.section, owner, covers, draft, rdata_at });
    }
    Some(records)
}

/// The way through an answer section, from the qname along its aliases.
struct Chain<'a> {
    records: &'a [Rr],
    asked: Asked<'a>,
    code: u16,
}

impl Chain<'_> {
    fn follow(&self) -> Result<Vec<Piece>, Useless> {
        let mut pieces = Vec::new();
        let mut name = self.asked.qname.clone();
        while pieces.len() < MOST_ALIASES {
            if let Some(piece) = self.data(&name)? {
                pieces.push(piece);
                break;
            }
            let Some((piece, target)) = self.alias(&name)? else {
                pieces.extend(self.negative(&name)?);
                break;
            };
            pieces.push(piece);
            match target {
                // What another zone has there is for that one to say.
                Some(target) if target.is_within(self.asked.zone) => name = target,
                _ => break,
            }
        }
        Ok(pieces)
    }

    fn answers<'a>(&'a self, owner: &'a Name) -> impl Iterator<Item = &'a Rr> {
        self.records.iter().filter(move |rr| rr.section == Section::Answer && rr.owner == *owner)
    }

    fn data(&self, name: &Name) -> Result<Option<Piece>, Useless> {
        let qtype = self.asked.qtype;
        let is_asked = |rr: &&Rr| qtype == rtype::ANY || rr.covers == qtype || rr.draft.rtype == qtype;
        let set: Vec<&Draft> = self.answers(name).filter(is_asked).map(|rr| &rr.draft).collect();
        let is_data = |draft: &&&Draft| draft.rtype == qtype || qtype == rtype::ANY;
        if !set.iter().any(|draft| is_data(&draft)) {
            return Ok(None);
        }
        self.piece((name.clone(), qtype), Outcome::Data, &set).map(Some)
    }

    /// The alias at a name, and where it leads: nowhere when that name would be too long.
    fn alias(&self, name: &Name) -> Result<Option<(Piece, Option<Name>)>, Useless> {
        let dname = self.records.iter().find(|rr| {
            rr.is(Section::Answer, rtype::DNAME) && rr.owner != *name && name.is_within(&rr.owner)
        });
        if let Some(dname) = dname {
            let target = dname.target().ok_or(Useless::Garbled)?;
            let of_dname = |rr: &&Rr| rr.covers == rtype::DNAME;
            let mut set: Vec<&Draft> =
                self.answers(&dname.owner).filter(of_dname).map(|rr| &rr.draft).collect();
            let target = name.relative_to(&dname.owner).and_then(|relative| relative.under(&target));
            let Some(target) = target else {
                return Ok(Some((self.piece((name.clone(), rtype::CNAME), Outcome::TooLong, &set)?, None)));
            };
            // Whatever CNAME record came beside it: the DNAME record says what it must be (RFC 6672, section 3.1).
            let alias = cname(name, &target, dname.draft.ttl);
            set.push(&alias);
            let piece = self.piece((name.clone(), rtype::CNAME), Outcome::Alias(target.clone()), &set)?;
            return Ok(Some((piece, Some(target))));
        }
        let Some(alias) = self.answers(name).find(|rr| rr.draft.rtype == rtype::CNAME) else {
            return Ok(None);
        };
        let target = alias.target().ok_or(Useless::Garbled)?;
        // A name has one CNAME record (RFC 2181, section 10.1): the first counts, with the signatures.
        let mut set = vec![&alias.draft];
        let is_signature = |rr: &&Rr| rr.draft.rtype == rtype::RRSIG && rr.covers == rtype::CNAME;
        set.extend(self.answers(name).filter(is_signature).map(|rr| &rr.draft));
        let piece = self.piece((name.clone(), rtype::CNAME), Outcome::Alias(target.clone()), &set)?;
        Ok(Some((piece, Some(target))))
    }

    /// The denial of a name, by an SOA record of a zone it lies in.
    fn negative(&self, name: &Name) -> Result<Option<Piece>, Useless> {
        let is_its = |rr: &&Rr| rr.is(Section::Authority, rtype::SOA) && name.is_within(&rr.owner);
        let Some(soa) = self.records.iter().find(is_its) else { return Ok(None) };
        // The child says that it has no DS records, which only its parent knows (RFC 4035, section 3.1.4.1).
        if self.asked.qtype == rtype::DS && soa.owner == *name && !name.is_root() {
            return Err(Useless::Lame);
        }
        self.denial(name.clone(), Some(soa)).map(Some).ok_or(Useless::Garbled)
    }

    fn denial(&self, name: Name, soa: Option<&Rr>) -> Option<Piece> {
        let outcome = if self.code == rcode::NXDOMAIN { Outcome::Nxdomain } else { Outcome::Nodata };
        let life = soa.map_or(0, |soa| {
            let minimum = soa.rdata().last_chunk::<4>().map_or(0, |octets| u32::from_be_bytes(*octets));
            minimum.min(soa.draft.ttl).min(LONGEST_NEGATIVE)
        });
        let of_soa = |rr: &&Rr| {
            rr.section == Section::Authority
                && rr.covers == rtype::SOA
                && soa.is_some_and(|soa| soa.owner == rr.owner)
        };
        let mut authority: Vec<&Draft> = self.records.iter().filter(of_soa).map(|rr| &rr.draft).collect();
        authority.extend(self.proofs());
        let Asked { qtype, now, from, .. } = self.asked;
        Piece::new((name, qtype), outcome, (&[], &authority), life, (now, from))
    }

    /// NSEC and NSEC3 records with their signatures.
    fn proofs(&self) -> impl Iterator<Item = &Draft> {
        let is_proof =
            |rr: &&Rr| rr.section == Section::Authority && matches!(rr.covers, rtype::NSEC | rtype::NSEC3);
        self.records.iter().filter(is_proof).map(|rr| &rr.draft)
    }

    fn piece(&self, question: (Name, u16), outcome: Outcome, answer: &[&Draft]) -> Result<Piece, Useless> {
        let Asked { now, from, .. } = self.asked;
        let life = answer.iter().map(|draft| draft.ttl).min().unwrap_or(0).min(LONGEST);
        let proofs: Vec<&Draft> = self.proofs().collect();
        Piece::new(question, outcome, (answer, &proofs), life, (now, from)).ok_or(Useless::Garbled)
    }
}

/// A CNAME record.
fn cname(owner: &Name, target: &Name, ttl: u32) -> Draft {
    let mut octets = owner.as_wire().to_vec();
    octets.extend(rtype::CNAME.to_be_bytes());
    octets.extend(CLASS_IN.to_be_bytes());
    octets.extend(ttl.to_be_bytes());
    octets.extend((target.as_wire().len() as u16).to_be_bytes());
    octets.extend(target.as_wire());
    Draft { rtype: rtype::CNAME, ttl, octets }
}

/// A referral that leads down, towards the qname.
fn referral(records: &[Rr], asked: Asked<'_>) -> Option<Referral> {
    let Asked { zone, qname, qtype, now, from } = asked;
    let leads_down = |rr: &&Rr| {
        // DS stands in the parent: whoever refers to the child for it is not the parent.
        let is_above = qname.is_within(&rr.owner) && (qtype != rtype::DS || rr.owner != *qname);
        rr.is(Section::Authority, rtype::NS) && rr.owner != *zone && is_above
    };
    // Should there be several, the nearest to the zone: what lies below it is for others to say.
    let child =
        records.iter().filter(leads_down).map(|rr| &rr.owner).min_by_key(|owner| owner.label_count())?;
    let delegation = delegation(records, child, Section::Authority)?;
    let is_ds = |rr: &&Rr| rr.section == Section::Authority && rr.covers == rtype::DS && rr.owner == *child;
    let set: Vec<&Draft> = records.iter().filter(is_ds).map(|rr| &rr.draft).collect();
    let question = (child.clone(), rtype::DS);
    let life = |set: &[&Draft]| set.iter().map(|draft| draft.ttl).min().unwrap_or(0);
    let ds = if set.iter().any(|draft| draft.rtype == rtype::DS) {
        Piece::new(question, Outcome::Data, (&set, &[]), life(&set).min(LONGEST), (now, from))
    } else {
        let is_proof =
            |rr: &&Rr| rr.section == Section::Authority && matches!(rr.covers, rtype::NSEC | rtype::NSEC3);
        let proofs: Vec<&Draft> = records.iter().filter(is_proof).map(|rr| &rr.draft).collect();
        let life = life(&proofs).min(LONGEST_NEGATIVE);
        Piece::new(question, Outcome::Nodata, (&[], &proofs), life, (now, from))
            .filter(|_| !proofs.is_empty())
    };
    Some(Referral { delegation, ds: ds.map(Box::new) })
}

/// The NS records of a zone, and the addresses of its servers that came with them.
fn delegation(records: &[Rr], zone: &Name, section: Section) -> Option<Delegation> {
    let mut servers: Vec<NameServer> = Vec::new();
    let mut life = LONGEST;
    for rr in records.iter().filter(|rr| rr.is(section, rtype::NS) && rr.owner == *zone) {
        let name = rr.target()?;
        life = life.min(rr.draft.ttl);
        if servers.len() < MOST_SERVERS && !servers.iter().any(|server| server.name == name) {
            servers.push(NameServer { name, addresses: Vec::new() });
        }
    }
    for rr in records.iter().filter(|rr| rr.section == Section::Additional) {
        let Some(address) = address(rr.draft.rtype, rr.rdata()) else { continue };
        let Some(server) = servers.iter_mut().find(|server| server.name == rr.owner) else { continue };
        if server.addresses.len() < MOST_ADDRESSES
            && is_usable(address)
            && !server.addresses.contains(&address)
        {
            server.addresses.push(address);
        }
    }
    (!servers.is_empty()).then(|| Delegation { zone: zone.clone(), servers, life })
}

/// Whether an address can be a server's at all.
pub(in crate::resolve) fn is_usable(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && !matches!(address, IpAddr::V4(address) if address.is_broadcast())
}
