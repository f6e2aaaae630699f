//! Kea's lease files (memfile): a line is written each time that a lease changes, the last one counts.
//!
//! ```text
//! address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
//! address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,…
//! ```
//!
//! The client was last heard at `expire - valid_lifetime`. A line whose lifetime is 0 gives the lease up; when that was, it does
//! not say: not after the next line was written. Commas in fields stand as `&#x2c`.

use std::collections::HashMap;

use super::super::claim::{Batch, Claim, ClientId, Fault, Manner, excerpt};
use super::{Reading, numbered, octets, of_seconds};

/// States of leases: an address that somebody without a lease uses.
const DECLINED: &str = "1";
/// Leases that may wait for the time of a later line.
const MAX_GIVEN_UP: usize = 4096;
/// Lease types of DHCPv6: a network that a router was given.
const PREFIX: &str = "2";

/// Whether a line is the header of such a file.
pub(super) fn is_header(line: &str) -> bool {
    line.starts_with("address,hwaddr,client_id,") || line.starts_with("address,duid,valid_lifetime,")
}

pub(super) fn read(text: &str, reading: &Reading, batch: &mut Batch) {
    let mut columns: HashMap<&str, usize> = HashMap::new();
    // Leases that were given up, since when nobody knows before the next line.
    let mut given_up: Vec<usize> = Vec::new();
    for (line, record) in numbered(text) {
        if batch.is_full() {
            return batch.fault(line, Fault::TooMany);
        }
        if is_header(record) {
            columns = record.split(',').enumerate().map(|(at, name)| (name, at)).collect();
            continue;
        }
        if record.is_empty() {
            continue;
        }
        let fields: Vec<&str> = record.split(',').collect();
        // Columns at the end came with later releases.
        if fields.len() < 8 || columns.is_empty() {
            batch.fault(line, Fault::Fields(fields.len(), columns.len().max(8)));
            continue;
        }
        let field = |name: &str| columns.get(name).and_then(|at| fields.get(*at)).map_or("", |field| *field);
        if field("lease_type") == PREFIX {
            continue;
        }
        match lease(line, &field) {
            Ok((start, claim)) => {
                if claim.manner == Manner::Released {
                    // Those that nothing was heard after for so long are over since they began.
                    if given_up.len() >= MAX_GIVEN_UP {
                        given_up.clear();
                    }
                    given_up.push(batch.claims.len());
                } else {
                    given_up.retain(|at| {
                        let claim = &mut batch.claims[*at];
                        let is_later = claim.start < Some(start);
                        if is_later {
                            claim.until = Some(start);
                        }
                        !is_later
                    });
                }
                batch.claim(claim);
            }
            Err(fault) => batch.fault(line, fault),
        }
    }
    for at in given_up {
        batch.claims[at].until = batch.claims[at].start.map(|start| start.max(reading.as_of));
    }
}

/// A line's lease, and when it was written.
fn lease<'a>(line: u64, field: &dyn Fn(&str) -> &'a str) -> Result<(i64, Claim), Fault> {
    let number = |name: &str| {
        let text = field(name);
        text.parse::<i64>().map_err(|_| Fault::Number(excerpt(text)))
    };
    let text = field("address");
    let address = text.parse().map_err(|_| Fault::Address(excerpt(text)))?;
    let (lifetime, expire) = (number("valid_lifetime")?, number("expire")?);
    let time = |seconds: Option<i64>| {
        seconds.and_then(of_seconds).ok_or_else(|| Fault::Number(excerpt(field("expire"))))
    };
    let start = time(expire.checked_sub(lifetime))?;
    let until = time(Some(expire))?;
    let mut mac = match field("hwaddr") {
        "" => None,
        text => octets(text).and_then(|octets| crate::mac::Mac::from_octets(&octets)),
    };
    let client = match (octets(field("client_id")), octets(field("duid"))) {
        (Some(octets), _) => {
            let (of_client, client) = ClientId::read(&octets);
            mac = mac.or(of_client);
            client
        }
        // A declined lease has a DUID of one zero.
        (None, Some(octets)) if octets.len() >= 3 => Some(ClientId::Duid(octets)),
        _ => None,
    };
    let is_endless = lifetime == i64::from(u32::MAX);
    let manner = match (field("state"), lifetime) {
        (DECLINED, _) => Manner::Nobody,
        (_, 0) => Manner::Released,
        _ => Manner::Holds,
    };
    let host = field("hostname").replace("&#x2c", ",");
    let claim = Claim {
        line,
        address: Some(address),
        mac,
        client,
        host: Some(host.trim_end_matches('.').to_owned()),
        start: Some(start),
        until: (!is_endless).then_some(until),
        manner,
        ..Claim::default()
    };
    Ok((start, claim))
}
