//! `dnsmasq.leases`: the leases of the moment, rewritten each time that one changes.
//!
//! ```text
//! 1795654923 00:1a:2b:3c:4d:5e 10.1.2.3 pc-01 01:00:1a:2b:3c:4d:5e     expiry (0: never), MAC, address, name or *, client id or *
//! duid 00:01:00:01:…                                                  the server's own; what follows is DHCPv6
//! 1795654923 66445566 2001:db8::3 pc-01 00:01:00:01:…                  expiry, number of the association, address, name, DUID
//! ```
//!
//! When a lease began it does not say: its claim begins when the file was written.

use super::super::claim::{Batch, Claim, ClientId, Fault, excerpt};
use super::{Reading, numbered, octets, of_seconds};
use crate::mac::Mac;

/// Expiries before 2001 are durations, which some builds for machines without a clock write.
const FIRST_EXPIRY: i64 = 1_000_000_000;

/// Whether a line is a lease.
pub(super) fn is_lease(line: &str) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    matches!(fields.as_slice(), [expiry, _, address, _, _]
        if expiry.parse::<u64>().is_ok() && address.parse::<std::net::IpAddr>().is_ok())
}

pub(super) fn read(text: &str, reading: &Reading, batch: &mut Batch) {
    for (line, record) in numbered(text) {
        if batch.is_full() {
            return batch.fault(line, Fault::TooMany);
        }
        let fields: Vec<&str> = record.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [] | ["duid", _] => {}
            [expiry, hardware, address, host, client] => {
                match lease(line, [expiry, hardware, address, host, client], reading) {
                    Ok(claim) => batch.claim(claim),
                    Err(fault) => batch.fault(line, fault),
                }
            }
            other => batch.fault(line, Fault::Fields(other.len(), 5)),
        }
    }
}

fn lease(
    line: u64,
    [expiry, hardware, address, host, client]: [&str; 5],
    reading: &Reading,
) -> Result<Claim, Fault> {
    let until = match expiry.parse::<i64>() {
        Ok(0) => None,
        Ok(seconds @ FIRST_EXPIRY..) => {
            Some(of_seconds(seconds).ok_or_else(|| Fault::Number(excerpt(expiry)))?)
        }
        _ => return Err(Fault::Number(excerpt(expiry))),
    };
    let address: std::net::IpAddr = address.parse().map_err(|_| Fault::Address(excerpt(address)))?;
    let (mac, client) = if address.is_ipv6() {
        let duid = octets(client).filter(|duid| duid.len() >= 3);
        (None, duid.map(ClientId::Duid))
    } else {
        // `06-00:1a:…` is other hardware than Ethernet.
        let mac: Mac = hardware.parse().map_err(|_| Fault::Mac(excerpt(hardware)))?;
        let (_, client) = octets(client).as_deref().map_or((None, None), ClientId::read);
        (Some(mac).filter(|mac| mac.is_usable()), client)
    };
    Ok(Claim {
        line,
        address: Some(address),
        mac,
        client,
        host: Some(host.to_owned()).filter(|host| host != "*"),
        start: Some(reading.as_of),
        until,
        ..Claim::default()
    })
}
