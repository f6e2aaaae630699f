//! Leases of Windows DHCP servers: the leases of the moment.
//!
//! ```text
//! "IPAddress","ScopeId","AddressState","ClientId","HostName","LeaseExpiryTime",…     Get-DhcpServerv4Lease | Export-Csv
//! <Lease><IPAddress>…</IPAddress><ClientId>…</ClientId>…</Lease>                      Export-DhcpServer -Leases
//! Client IP Address⇥Name⇥Lease Expiration⇥Type⇥Unique ID⇥Description                   the console's Export List…
//! ```
//!
//! Dates are written as the server's country does, in its zone; reservations have none. When a lease began it does
//! not say: its claim begins when the file was written.

use quick_xml::Reader as XmlReader;
use quick_xml::events::Event;

use super::super::claim::{Batch, Claim, ClientId, Fault, Manner, excerpt, tidy};
use super::times::Order;
use super::{Reading, octets, table};
use crate::mac::Mac;
use crate::tabular::heading::bare;
use crate::tabular::table::below_header;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Address,
    State,
    Client,
    Host,
    Expiry,
    Description,
}

fn role(heading: &str) -> Option<Role> {
    Some(match bare(heading).as_str() {
        "ipaddress" | "client ip address" => Role::Address,
        "addressstate" => Role::State,
        "clientid" | "unique id" | "clientduid" => Role::Client,
        "hostname" | "name" => Role::Host,
        "leaseexpirytime" | "lease expiration" => Role::Expiry,
        "description" => Role::Description,
        _ => return None,
    })
}

/// Whether a row is the header of such a file: an inventory speaks of addresses and names too.
pub(super) fn is_header(cells: &[String]) -> bool {
    let has = |wanted| cells.iter().any(|cell| role(cell) == Some(wanted));
    has(Role::Address) && has(Role::Client) && (has(Role::State) || has(Role::Expiry))
}

type Fields = Vec<(Role, String)>;

pub(super) fn read(text: &str, reading: &Reading, batch: &mut Batch) {
    let leases = if text.contains("<DHCPServer") { of_xml(text, batch) } else { of_csv(text, batch) };
    let expiries = leases.iter().filter_map(|(_, fields)| value(fields, Role::Expiry));
    let order = reading.dates.of(expiries);
    for (line, fields) in &leases {
        match lease(*line, fields, order, reading) {
            Ok(Some(claim)) => batch.claim(claim),
            Ok(None) => {}
            Err(fault) => batch.fault(*line, fault),
        }
    }
}

fn value(fields: &Fields, role: Role) -> Option<&str> {
    let found = fields.iter().find(|(has, text)| *has == role && !text.trim().is_empty());
    found.map(|(_, text)| text.trim())
}

fn of_csv(text: &str, batch: &mut Batch) -> Vec<(u64, Fields)> {
    let mut leases = Vec::new();
    for table in table::of_text(text, batch).tables {
        let Some((columns, rows)) = below_header(&table.rows, role, is_header) else {
            batch.fault(1, Fault::NoHeader);
            continue;
        };
        for (line, cells) in rows {
            // Several exports, one behind the other.
            if is_header(cells) || cells.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let fields = columns.iter().filter_map(|(role, at)| Some((*role, cells.get(*at)?.clone())));
            leases.push((*line, fields.collect()));
        }
    }
    leases
}

fn of_xml(text: &str, batch: &mut Batch) -> Vec<(u64, Fields)> {
    let mut leases: Vec<(u64, Fields)> = Vec::new();
    let mut reader = XmlReader::from_str(text);
    reader.config_mut().check_end_names = false;
    let mut open: Option<Fields> = None;
    let mut of: Option<Role> = None;
    // Offsets are only looked up in lines where they are needed: elements come in the file's order.
    let (mut line, mut counted) = (1u64, 0usize);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element)) => match element.local_name().as_ref() {
                "Lease" => open = Some(Fields::new()),
                name => of = role(name),
            },
            Ok(Event::Text(text)) => {
                if let (Some(fields), Some(role)) = (&mut open, of)
                    && fields.len() < 32
                {
                    fields.push((role, text.xml10_content().into_owned()));
                }
            }
            Ok(Event::End(element)) => {
                of = None;
                if element.local_name().as_ref() == "Lease"
                    && let Some(fields) = open.take()
                {
                    let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(text.len());
                    line += text.as_bytes()[counted..at].iter().filter(|byte| **byte == b'\n').count() as u64;
                    counted = at;
                    leases.push((line, fields));
                }
            }
            Ok(Event::Eof) => return leases,
            Ok(_) => {}
            Err(error) => {
                batch.fault(line, Fault::Syntax(excerpt(&error.to_string())));
                return leases;
            }
        }
        if leases.len() > super::super::claim::MAX_CLAIMS {
            return leases;
        }
    }
}

fn lease(line: u64, fields: &Fields, order: Order, reading: &Reading) -> Result<Option<Claim>, Fault> {
    let manner = match value(fields, Role::State) {
        None | Some("Active" | "ActiveReservation") => Manner::Holds,
        Some("Declined") => Manner::Nobody,
        // A reservation that is not in use, a lease that is over or only offered.
        Some(_) => return Ok(None),
    };
    let address = value(fields, Role::Address).unwrap_or_default();
    let address = address.parse().map_err(|_| Fault::Address(excerpt(address)))?;
    let (mut mac, mut client) = (None, None);
    if let Some(text) = value(fields, Role::Client) {
        let octets = octets(text).ok_or_else(|| Fault::Mac(excerpt(text)))?;
        mac = Mac::from_octets(&octets);
        if octets.len() != 6 {
            (mac, client) = ClientId::read(&octets);
        }
    }
    // The console's export of its list says it in the place of a time.
    let until = match value(fields, Role::Expiry) {
        None => None,
        Some(text) if bare(text) == "reservation active" => None,
        Some(text) if bare(text) == "reservation inactive" => return Ok(None),
        Some(text) => Some(order.read(text, &reading.zone).ok_or_else(|| Fault::Time(excerpt(text)))?),
    };
    Ok(Some(Claim {
        line,
        address: Some(address),
        mac,
        client,
        host: value(fields, Role::Host).and_then(tidy),
        start: Some(reading.as_of),
        until,
        manner,
        ..Claim::default()
    }))
}
