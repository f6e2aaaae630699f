//! Inventories: a row a machine, as agencies keep them in spreadsheets.
//!
//! ```text
//!                 DANH SÁCH MÁY TÍNH                                       titles, skipped
//! STT │ Tên máy │ Địa chỉ IP │ Địa chỉ MAC       │ Người sử dụng │ Đơn vị   the header tells what the columns hold
//!  1  │ pc-01   │ 10.1.2.3   │ 00-1A-2B-3C-4D-5E │ Trần Văn A    │ Sở TTTT  several addresses of a cell are all the machine's
//! ```

use std::net::IpAddr;

use super::super::claim::{About, Batch, Claim, Fault, excerpt, tidy};
use super::Reading;
use crate::mac::Mac;
use crate::tabular::heading::bare;
use crate::tabular::table::{self, Table};

/// Addresses and MACs of one row that are taken.
const MAX_OF_ROW: usize = 16;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Address,
    Mac,
    Host,
    Owner,
    Unit,
    Model,
    Protection,
    Notes,
    From,
    Until,
}

/// Headings as [`bare`] makes them.
const HEADINGS: [(Role, &[&str]); 10] = [
    (
        Role::Address,
        &[
            "dia chi ip",
            "ip",
            "ip address",
            "ipaddress",
            "address",
            "dia chi",
            "ipv4",
            "ipv6",
            "ip may",
            "ip may tinh",
            "dia chi mang",
        ],
    ),
    (
        Role::Mac,
        &[
            "dia chi mac",
            "mac",
            "mac address",
            "macaddress",
            "dia chi vat ly",
            "physical address",
            "hardware address",
        ],
    ),
    (
        Role::Host,
        &[
            "ten may",
            "ten may tinh",
            "host",
            "hostname",
            "host name",
            "computer name",
            "computer",
            "machine",
            "name",
            "ten thiet bi",
            "ma may",
        ],
    ),
    (
        Role::Owner,
        &[
            "nguoi su dung",
            "nguoi dung",
            "can bo su dung",
            "can bo",
            "ho va ten",
            "ho ten",
            "ten nguoi su dung",
            "nguoi quan ly",
            "owner",
            "user",
            "chu so huu",
            "username",
        ],
    ),
    (
        Role::Unit,
        &[
            "don vi",
            "co quan",
            "phong ban",
            "phong",
            "don vi su dung",
            "agency",
            "unit",
            "department",
            "ten don vi",
            "bo phan",
            "ten co quan",
        ],
    ),
    (
        Role::Model,
        &[
            "loai may",
            "model",
            "kieu may",
            "cau hinh",
            "he dieu hanh",
            "os",
            "operating system",
            "loai thiet bi",
            "hang may",
        ],
    ),
    (
        Role::Protection,
        &[
            "phan mem diet virus",
            "diet virus",
            "antivirus",
            "endpoint",
            "endpoint protection",
            "phan mem phong chong ma doc",
            "phan mem bao ve",
            "phong chong ma doc",
            "av",
        ],
    ),
    (Role::Notes, &["ghi chu", "note", "notes", "mo ta", "description", "comment", "vi tri", "location"]),
    (Role::From, &["tu ngay", "from", "ngay cap", "ngay bat dau", "since"]),
    (Role::Until, &["den ngay", "until", "to", "ngay thu hoi", "ngay ket thuc"]),
];

fn role(heading: &str) -> Option<Role> {
    // A heading is a few words; a paragraph above a table is none.
    if heading.len() > 100 {
        return None;
    }
    let heading = bare(heading);
    let is_it = |(_, words): &&(Role, &[&str])| words.contains(&heading.as_str());
    if let Some((role, _)) = HEADINGS.iter().find(is_it) {
        return Some(*role);
    }
    // "Địa chỉ MAC (card mạng LAN)", "Tên máy tính (hostname)".
    let long = ["dia chi ip", "dia chi mac", "ten may", "nguoi su dung", "don vi", "phan mem diet virus"];
    let start = long
        .into_iter()
        .find(|start| heading.strip_prefix(start).is_some_and(|rest| rest.starts_with(' ')))?;
    HEADINGS.iter().find(|(_, words)| words.contains(&start)).map(|(role, _)| *role)
}

/// Whether a row is the header of an inventory.
pub(super) fn is_header(cells: &[String]) -> bool {
    let mut roles: Vec<Role> = Vec::new();
    for role in cells.iter().filter_map(|cell| role(cell)) {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles.len() >= 2 && roles.iter().any(|role| matches!(role, Role::Address | Role::Mac | Role::Host))
}

pub(super) fn read(tables: &[Table], reading: &Reading, batch: &mut Batch) {
    let mut has_header = false;
    for table in tables {
        let Some((columns, rows)) = table::below_header(&table.rows, role, is_header) else { continue };
        has_header = true;
        let cell = |cells: &[String], wanted| {
            let mut found =
                columns.iter().filter(|(role, _)| *role == wanted).filter_map(|(_, at)| cells.get(*at));
            found.find_map(|text| tidy(text))
        };
        let dates =
            rows.iter().flat_map(|(_, cells)| [cell(cells, Role::From), cell(cells, Role::Until)]).flatten();
        let dates: Vec<String> = dates.collect();
        let order = reading.dates.of(dates.iter().map(String::as_str));
        for (line, cells) in rows {
            if batch.is_full() {
                return batch.fault(*line, Fault::TooMany);
            }
            // A header of two rows, or one again on each page.
            if is_header(cells) || cells.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let time = |wanted, batch: &mut Batch| {
                let text = cell(cells, wanted)?;
                let time = order.read(&text, &reading.zone);
                if time.is_none() {
                    batch.fault(*line, Fault::Time(excerpt(&text)));
                }
                time
            };
            let all = |wanted| {
                let of = columns.iter().filter(move |(role, _)| *role == wanted);
                of.filter_map(|(_, at)| cells.get(*at)).map(String::as_str).collect::<Vec<_>>().join(" ")
            };
            let addresses = addresses(&all(Role::Address), *line, batch);
            let macs = macs(&all(Role::Mac), *line, batch);
            let claim = Claim {
                line: *line,
                mac: macs.first().copied(),
                also: macs.iter().skip(1).copied().collect(),
                host: cell(cells, Role::Host),
                start: time(Role::From, batch),
                until: time(Role::Until, batch),
                about: About {
                    owner: cell(cells, Role::Owner),
                    agency: None,
                    unit: cell(cells, Role::Unit),
                    model: cell(cells, Role::Model),
                    protection: cell(cells, Role::Protection),
                    notes: cell(cells, Role::Notes),
                },
                ..Claim::default()
            };
            if addresses.is_empty() && claim.mac.is_none() && claim.host.is_none() {
                // Sums and signatures below the table are no machines.
                let filled = cells.iter().filter(|cell| !cell.trim().is_empty()).count();
                if filled > 2 {
                    batch.fault(*line, Fault::Nothing);
                }
                continue;
            }
            if addresses.is_empty() {
                batch.claim(claim.clone());
            }
            for address in addresses {
                batch.claim(Claim { address: Some(address), ..claim.clone() });
            }
        }
    }
    if !has_header {
        batch.fault(1, Fault::NoHeader);
    }
}

/// The addresses in a cell, whatever stands around them: `10.1.2.3/24`, `10.1.2.3; 10.1.2.4`, `10.1.2.3 (LAN)`.
fn addresses(text: &str, line: u64, batch: &mut Batch) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for part in text.split(|char: char| !(char.is_ascii_hexdigit() || matches!(char, '.' | ':'))) {
        let part = part.trim_matches('.');
        if let Ok(address) = part.parse()
            && !found.contains(&address)
            && found.len() < MAX_OF_ROW
        {
            found.push(address);
        }
    }
    // An address handed out by DHCP is often written in words.
    if found.is_empty() && text.contains(|char: char| char.is_ascii_digit()) {
        batch.fault(line, Fault::Address(excerpt(text.trim())));
    }
    found
}

fn macs(text: &str, line: u64, batch: &mut Batch) -> Vec<Mac> {
    let mut found: Vec<Mac> = Vec::new();
    if let Ok(mac) = text.parse() {
        found.push(mac);
    } else {
        for part in text.split([',', ';', ' ', '\n', '\t', '/', '(', ')']) {
            if let Ok(mac) = part.parse()
                && !found.contains(&mac)
                && found.len() < MAX_OF_ROW
            {
                found.push(mac);
            }
        }
    }
    found.retain(|mac| mac.is_usable());
    if found.is_empty() && tidy(text).is_some() {
        batch.fault(line, Fault::Mac(excerpt(text.trim())));
    }
    found
}
