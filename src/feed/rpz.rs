//! Response policy zones in master-file format (draft-vixie-dnsop-dns-rpz-00).
//!
//! ```text
//! $TTL 300
//! @               SOA   localhost. root.localhost. (1 43200 3600 259200 300)
//!                 NS    localhost.
//! evil.example    CNAME .                 NXDOMAIN, for evil.example alone
//! *.evil.example  CNAME *.                NODATA, for everything below it
//! good.example    CNAME rpz-passthru.     so with rpz-drop. and rpz-tcp-only.
//! good.example    CNAME good.example.     the old way to write rpz-passthru.
//! a.example       CNAME walled.example.   an alias
//! a.example       CNAME *.walled.example. an alias to a.example.walled.example
//! a.example       A     192.0.2.1         local data, of any type, also several records
//! 24.0.2.0.192.rpz-ip               CNAME .   answers with an address in 192.0.2.0/24
//! 48.zz.8.db8.2001.rpz-ip           CNAME .   … in 2001:db8:8::/48
//! 24.0.2.0.192.rpz-client-ip        CNAME .   whatever a client in 192.0.2.0/24 asks
//! *.evil.example.rpz-nsdname        CNAME .   names that such servers serve
//! 24.0.2.0.192.rpz-nsip             CNAME .   names whose servers have such addresses
//! ```
//!
//! An owner is a trigger as seen from the zone's apex. The apex is the owner of the SOA record, else
//! the first `$ORIGIN`; published zones mostly write neither as an absolute name, and then owners
//! are triggers as they stand. A fault costs one entry: reading goes on in the next line, also behind
//! a parenthesis that nobody closed. Each record of local data is an indicator of its own; the compiler puts
//! those of one owner together. Records of the zone itself (at the apex, and DNSSEC's) are left out without a
//! word.

mod data;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::name::{Name, NameError, labels};
use crate::policy::action::Action;
use crate::policy::data::LocalData;
use crate::policy::trigger::{Scope, Trigger};

use super::master::{Entry, is_absolute};
use super::output::{Output, excerpt};
use super::{Fault, Grammar, Value, token};

/// The most lines and octets that an entry in parentheses is waited for. A DNSKEY takes some 20.
const MAX_ENTRY_LINES: usize = 64;
const MAX_ENTRY_OCTETS: usize = 64 * 1024;
/// The TTL of local data where the zone tells none.
const DEFAULT_TTL: u32 = 60;

/// Reads a zone line by line.
#[derive(Default)]
pub(super) struct Reader {
    entry: Entry,
    /// The lines of the open entry, to be read again if it is never closed.
    open: Vec<(u64, String)>,
    zone: Zone,
}

impl Grammar for Reader {
    fn line(&mut self, line: &str, out: &mut Output<'_>) {
        if self.open.is_empty() {
            self.entry.clear();
        }
        let lexed = self.entry.push_line(line);
        match (lexed, self.open.first()) {
            (Ok(()), _) if self.entry.is_open() => {
                self.open.push((out.line, line.to_owned()));
                let octets: usize = self.open.iter().map(|(_, line)| line.len()).sum();
                if self.open.len() > MAX_ENTRY_LINES || octets > MAX_ENTRY_OCTETS {
                    self.give_up(out);
                }
            }
            (Ok(()), None) => self.zone.read(&self.entry, line, out),
            (Ok(()), Some((start, first))) => {
                let line = std::mem::replace(&mut out.line, *start);
                self.zone.read(&self.entry, first, out);
                out.line = line;
                self.open.clear();
            }
            (Err(fault), None) => {
                self.zone.owner = None;
                out.fault(fault, line);
            }
            (Err(_), Some(_)) => {
                self.open.push((out.line, line.to_owned()));
                self.give_up(out);
            }
        }
    }

    /// Ends the zone: an entry that is still open has no end.
    fn end(&mut self, out: &mut Output<'_>) {
        // Each turn takes at least one line away.
        while !self.open.is_empty() {
            self.give_up(out);
        }
    }
}

impl Reader {
    /// Faults the line that opened the entry and reads those behind it as entries of their own.
    fn give_up(&mut self, out: &mut Output<'_>) {
        let current = out.line;
        for (index, (number, line)) in std::mem::take(&mut self.open).into_iter().enumerate() {
            out.line = number;
            if index == 0 {
                self.zone.owner = None;
                out.fault(Fault::Parenthesis, &line);
            } else {
                // One line fewer than before, so this never gives up for want of room again.
                self.line(&line, out);
            }
        }
        out.line = current;
    }
}

/// A name, and whether it is seen from the root or from the apex, wherever that is.
#[derive(Clone, PartialEq, Eq)]
enum Place {
    Absolute(Name),
    FromApex(Name),
}

#[derive(Default)]
struct Zone {
    /// What relative names are relative to; `None`: the apex.
    origin: Option<Place>,
    first_origin: Option<Name>,
    soa_owner: Option<Name>,
    /// Of the last record, for those that start blank; `None` after a fault.
    owner: Option<Place>,
    /// What `$TTL` says.
    ttl: Option<u32>,
    /// The last TTL that a record told (RFC 1035, section 5.1).
    last_ttl: Option<u32>,
}

/// A rule of the zone.
type Rule = (Value, Trigger, Action);

impl Zone {
    fn read(&mut self, entry: &Entry, line: &str, out: &mut Output<'_>) {
        match self.read_entry(entry) {
            Ok(None) => {}
            Ok(Some((value, trigger, action))) => out.rule(value, trigger, action),
            Err(fault) => out.fault(fault, line),
        }
    }

    fn read_entry(&mut self, entry: &Entry) -> Result<Option<Rule>, Fault> {
        let mut words = entry.words();
        let mut taken = 0;
        if words.clone().any(|word| word.contains(char::REPLACEMENT_CHARACTER)) {
            self.owner = None;
            return Err(Fault::NotUtf8);
        }
        if words.clone().next().is_none() {
            return Ok(None);
        }
        if !entry.is_blank_first() {
            let owner = words.next().unwrap_or_default();
            if let Some(directive) = owner.strip_prefix('$') {
                return self.read_directive(directive, words.next()).map(|()| None);
            }
            self.owner = None;
            self.owner = Some(self.place(owner)?);
        }
        let owner = self.owner.clone().ok_or(Fault::NoOwner)?;
        taken += usize::from(!entry.is_blank_first());
        let mut ttl = None;
        let rtype = words.find(|word| {
            taken += 1;
            ttl = ttl.or(seconds(word));
            !is_class(word) && seconds(word).is_none()
        });
        let rtype = rtype.ok_or(Fault::Record)?;
        self.last_ttl = ttl.or(self.last_ttl);
        let data = words.next();
        if rtype.eq_ignore_ascii_case("SOA") {
            if let Place::Absolute(name) = owner {
                self.soa_owner = Some(name);
            }
            return Ok(None);
        }
        if is_dnssec(rtype) {
            return Ok(None);
        }
        let is_cname = rtype.eq_ignore_ascii_case("CNAME");
        let trigger = self.trigger(owner)?;
        if trigger.is_root() && !is_cname {
            return Ok(None);
        }
        let target = data.ok_or(Fault::Record)?;
        if !is_cname {
            let (value, on) = value(&trigger)?;
            let ttl = ttl.or(self.ttl).or(self.last_ttl).unwrap_or(DEFAULT_TTL);
            let origin = match &self.origin {
                Some(Place::Absolute(origin) | Place::FromApex(origin)) => origin.clone(),
                None => root(),
            };
            let record = data::record(rtype, &entry.rest(taken), &origin, ttl)?;
            let data = LocalData::new(vec![record]);
            return Ok(Some((value, on, Action::LocalData(Arc::new(data)))));
        }
        if words.next().is_some() {
            return Err(Fault::Record);
        }
        let (value, on) = value(&trigger)?;
        Ok(Some((value, on, self.action(&trigger, target)?)))
    }

    fn read_directive(&mut self, directive: &str, argument: Option<&str>) -> Result<(), Fault> {
        let unread = || Fault::Directive(excerpt(&format!("${directive}")));
        match directive.to_ascii_uppercase().as_str() {
            "TTL" => {
                self.ttl = Some(argument.and_then(seconds).ok_or_else(unread)?);
                Ok(())
            }
            "INCLUDE" => Err(Fault::Include),
            "ORIGIN" => {
                let origin = self.place(argument.ok_or_else(unread)?)?;
                if let Place::Absolute(name) = &origin {
                    self.first_origin.get_or_insert_with(|| name.clone());
                }
                self.origin = Some(origin);
                Ok(())
            }
            _ => Err(unread()),
        }
    }

    /// Where a name of the zone is.
    fn place(&self, text: &str) -> Result<Place, Fault> {
        if text == "@" {
            return Ok(self.origin.clone().unwrap_or_else(|| Place::FromApex(root())));
        }
        let name = read_name(text)?;
        if is_absolute(text) {
            return Ok(Place::Absolute(name));
        }
        match &self.origin {
            None => Ok(Place::FromApex(name)),
            Some(Place::FromApex(origin)) => joined(&name, origin).map(Place::FromApex),
            Some(Place::Absolute(origin)) => joined(&name, origin).map(Place::Absolute),
        }
    }

    /// The owner as seen from the apex: the trigger, or the root for the apex itself.
    fn trigger(&self, owner: Place) -> Result<Name, Fault> {
        match (owner, self.soa_owner.as_ref().or(self.first_origin.as_ref())) {
            (Place::FromApex(name), _) | (Place::Absolute(name), None) => Ok(name),
            (Place::Absolute(name), Some(apex)) => {
                name.relative_to(apex).ok_or_else(|| Fault::OutOfZone(apex.clone()))
            }
        }
    }

    fn action(&self, trigger: &Name, target: &str) -> Result<Action, Fault> {
        match target {
            "." => return Ok(Action::Nxdomain),
            "*." => return Ok(Action::Nodata),
            _ => {}
        }
        // Without its dot a special target would be relative and mean nothing; that slip must not
        // turn an exception into an alias.
        let word = target.strip_suffix('.').unwrap_or(target);
        for (special, action) in [
            ("rpz-passthru", Action::Passthru),
            ("rpz-drop", Action::Drop),
            ("rpz-tcp-only", Action::TcpOnly),
        ] {
            if word.eq_ignore_ascii_case(special) {
                return Ok(action);
            }
        }
        let (Place::Absolute(target) | Place::FromApex(target)) = self.place(target)?;
        if target == *trigger {
            return Ok(Action::Passthru);
        }
        Ok(Action::Cname(target))
    }
}

/// What an owner lists, and what is compared with it.
fn value(owner: &Name) -> Result<(Value, Trigger), Fault> {
    let (trigger, word) = match labels(owner.as_wire()).last() {
        Some(b"rpz-ip") => (Trigger::Ip, "rpz-ip"),
        Some(b"rpz-client-ip") => (Trigger::ClientIp, "rpz-client-ip"),
        Some(b"rpz-nsip") => (Trigger::Nsip, "rpz-nsip"),
        Some(b"rpz-nsdname") => {
            let kind = Name::from_presentation("rpz-nsdname")?;
            let name = owner.relative_to(&kind).unwrap_or_else(root);
            return Ok((name_value(name)?, Trigger::Nsdname));
        }
        _ => return Ok((name_value(owner.clone())?, Trigger::Qname)),
    };
    Ok((address_value(owner, word)?, trigger))
}

fn name_value(name: Name) -> Result<Value, Fault> {
    let is_below = labels(name.as_wire()).next() == Some(b"*");
    let parent = if is_below { name.parent() } else { None };
    let (name, scope) = match parent {
        Some(parent) => (parent, Scope::Below),
        None => (name, Scope::Exact),
    };
    match name.label_count() {
        0 => Err(Fault::Everything),
        // `*.zip` is no slip of the pen here, and still more than one feed should decide.
        1 => Err(Fault::SingleLabel),
        _ => Ok(Value::Name(name, scope)),
    }
}

/// Decodes `24.0.2.0.192.rpz-ip`, or `48.zz.8.db8.2001.rpz-ip` where `zz` stands for `::`.
fn address_value(owner: &Name, word: &'static str) -> Result<Value, Fault> {
    let fault = || Fault::AddressTrigger(word);
    let texts: Result<Vec<&str>, _> = labels(owner.as_wire()).map(std::str::from_utf8).collect();
    let texts = texts.map_err(|_| fault())?;
    let Some((prefix, [address @ .., _])) = texts.split_first() else { return Err(fault()) };
    let address: Vec<&str> = address.iter().rev().copied().collect();
    let address = match address.as_slice() {
        [_, _, _, _] if !address.contains(&"zz") => {
            address.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
        groups => ipv6(groups).map(IpAddr::V6),
    };
    match (address, *prefix) {
        (None, _) | (_, "") => Err(fault()),
        // Another program would take it for another owner.
        (_, prefix) if prefix.starts_with('0') && prefix.len() > 1 => Err(fault()),
        (Some(IpAddr::V6(address)), prefix) if address.to_ipv4_mapped().is_some() => {
            // A network of IPv4 addresses, counted from 96 bits.
            let len = prefix.parse::<u8>().ok().and_then(|len| len.checked_sub(96));
            let len = len.ok_or(Fault::PrefixLength)?;
            token::network(IpAddr::V6(address).to_canonical(), &len.to_string())
        }
        (Some(address), prefix) => token::network(address, prefix),
    }
}

fn ipv6(groups: &[&str]) -> Option<Ipv6Addr> {
    let text: Vec<&str> = groups.iter().map(|&group| if group == "zz" { "" } else { group }).collect();
    let mut text = text.join(":");
    // `::` at an end has no group on its outer side to give it the second colon.
    if groups.first() == Some(&"zz") {
        text.insert(0, ':');
    }
    if groups.last() == Some(&"zz") {
        text.push(':');
    }
    text.parse().ok()
}

/// Presentation format, or a name with other than ASCII letters, which must become A-labels to be
/// met by any query. Control characters count only when they are escaped.
fn read_name(text: &str) -> Result<Name, Fault> {
    if let Some(control) = text.chars().find(|char| char.is_control()) {
        return Err(Fault::Name(NameError::Character(control)));
    }
    if text.is_ascii() {
        return Ok(Name::from_presentation(text)?);
    }
    match text.strip_prefix("*.") {
        Some(rest) => Ok(Name::from_presentation(&format!("*.{}", Name::from_host(rest)?))?),
        None => Ok(Name::from_host(text)?),
    }
}

fn joined(name: &Name, origin: &Name) -> Result<Name, Fault> {
    let octets = name.as_wire().len() + origin.as_wire().len() - 1;
    name.under(origin).ok_or(Fault::Name(NameError::TooLong(octets)))
}

fn root() -> Name {
    Name::from_wire(&[0]).expect("one zero octet is the root")
}

fn is_class(word: &str) -> bool {
    ["IN", "CH", "HS", "CS"].iter().any(|class| word.eq_ignore_ascii_case(class))
}

/// A time to live with or without units: `300`, `1h30m`. Past 31 bits it counts as 0 (RFC 2181, section 8).
fn seconds(word: &str) -> Option<u32> {
    if !word.starts_with(|char: char| char.is_ascii_digit()) {
        return None;
    }
    let (mut sum, mut number) = (0u64, Some(0u64));
    for byte in word.bytes() {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let before = number.unwrap_or_default();
                number = Some(before.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        sum = sum.saturating_add(number.take()?.saturating_mul(unit));
    }
    sum = sum.saturating_add(number.unwrap_or_default());
    Some(u32::try_from(sum).ok().filter(|seconds| *seconds <= i32::MAX as u32).unwrap_or(0))
}

/// Types that a signed zone has at every name, and that are never an action.
fn is_dnssec(rtype: &str) -> bool {
    ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "DS", "CDS", "CDNSKEY", "ZONEMD"]
        .iter()
        .any(|name| rtype.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
