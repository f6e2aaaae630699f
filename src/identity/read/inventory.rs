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
use crate::tabular::heading::{self, bare};
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
            "ten may tram",
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
            "ten can bo",
            "nhan vien",
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

/// Headings that are these words and no more: `Địa chỉ cơ quan` and `Máy tính xách tay` are something else.
const ALONE: [(Role, &[&str]); 2] = [(Role::Address, &["dia chi"]), (Role::Host, &["may tinh", "may tram"])];

/// Headings of columns that number the rows.
const NUMBERING: [&str; 5] = ["stt", "tt", "so tt", "so thu tu", "no"];

fn role(heading: &str) -> Option<Role> {
    let exact = bare(heading);
    let alone = ALONE.iter().find(|(_, words)| words.contains(&exact.as_str()));
    alone.map(|(role, _)| *role).or_else(|| heading::role(&HEADINGS, heading))
}

/// Whether a row is the header of an inventory.
pub(super) fn is_header(cells: &[String]) -> bool {
    let mut roles: Vec<Role> = Vec::new();
    for role in cells.iter().filter_map(|cell| role(cell)) {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    // Words that begin as headings do stand in rows too, such as who has a machine.
    let is_row = cells.iter().any(|cell| {
        let cell = cell.trim();
        cell.parse::<IpAddr>().is_ok() || cell.parse::<Mac>().is_ok()
    });
    !is_row
        && roles.len() >= 2
        && roles.iter().any(|role| matches!(role, Role::Address | Role::Mac | Role::Host))
}

/// Whether a heading is none of ours, and of more than numbers of rows: what stands below is not read.
fn is_foreign(heading: &str) -> bool {
    role(heading).is_none() && tidy(heading).is_some() && !NUMBERING.contains(&bare(heading).as_str())
}

pub(super) fn read(tables: &[Table], reading: &Reading, batch: &mut Batch) {
    let mut has_header = false;
    for table in tables {
        let Some((columns, rows)) = table::below_header(&table.rows, role, is_header) else { continue };
        has_header = true;
        if let Some((line, header)) = table.rows.len().checked_sub(rows.len() + 1).map(|at| &table.rows[at]) {
            for heading in header.iter().filter(|heading| is_foreign(heading)) {
                batch.fault(*line, Fault::Heading(excerpt(heading.trim())));
            }
        }
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
                let time = match wanted {
                    // Until a day: it is in.
                    Role::Until => order.read_end(&text, &reading.zone),
                    _ => order.read(&text, &reading.zone),
                };
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
