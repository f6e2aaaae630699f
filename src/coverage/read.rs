//! Inventories of endpoint protection: a row a computer, as management servers export them and as people keep them.
//!
//! ```text
//!              DANH SÁCH MÁY TRẠM CÀI ĐẶT BKAV ENDPOINT                         titles; they may name the product
//! STT │ Tên máy │ Địa chỉ IP │ Địa chỉ MAC │ Phiên bản │ Kết nối lần cuối │ Trạng thái
//!  1  │ PC-01   │ 10.1.2.3   │             │ 8.2.1     │ 25/11/2026 08:10 │ Đang bật
//! ```
//!
//! One of host name, address and MAC must be there; everything else may be missing. A row that cannot be read is a fault and
//! never ends a file.

use std::collections::HashSet;
use std::net::IpAddr;

use jiff::tz::TimeZone;

use super::{Install, State};
use crate::identity::read::times::Order;
use crate::mac::Mac;
use crate::tabular::heading::{self, bare};
use crate::tabular::table::{self, Place, Row, Table, TableError, Unread, below_header, tidy};

/// Octets of a file that is read.
pub const MAX_FILE: u64 = 64 << 20;
/// Most rows of one export.
const MAX_INSTALLS: usize = 1_000_000;
/// Most faults that are kept; the others are counted.
const MAX_FAULTS: usize = 1000;
/// Addresses and MACs of one row.
const MAX_OF_ROW: usize = 8;
/// Octets of a text that are kept.
const MAX_TEXT: usize = 200;
/// Different words for states that are told.
const MAX_WORDS: usize = 50;

/// How to read a file.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The product, where rows do not say it.
    pub product: Option<String>,
    /// In which zone its times are.
    pub zone: TimeZone,
    /// In which order its dates are.
    pub dates: Order,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Its rows.
    pub installs: Vec<Install>,
    /// What could not be read, or not wholly.
    pub faults: Vec<(Place, Fault)>,
    /// How many more there are.
    pub more_faults: u64,
    /// The product that all of it is about.
    pub product: Option<String>,
}

/// Why a row, or a cell of it, says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A cell that should have an address.
    #[error("{0:?} is no address: write it as 10.1.2.3; the rest of the row counts")]
    Address(String),
    /// … a MAC.
    #[error("{0:?} is no MAC address: write it as 00:1a:2b:3c:4d:5e; the rest of the row counts")]
    Mac(String),
    /// … a time.
    #[error("{0:?} is no time: write it as 26/11/2026 08:00, or say the order with --dates dmy, mdy or ymd")]
    Time(String),
    /// A word for a state that is not known.
    #[error(
        "the state {0:?} is not known here: such rows count as installed, as far as they were heard of lately"
    )]
    State(String),
    /// A row with neither name nor address nor MAC.
    #[error("neither host name nor address nor MAC: the row is passed over")]
    Nothing,
    /// No row is a header.
    #[error(
        "no row names a column for host names, addresses or MACs; known are: Tên máy, Địa chỉ IP, Địa chỉ MAC, Computer Name, IP Address, MAC Address"
    )]
    NoHeader,
    /// More than an export may have.
    #[error("more than {MAX_INSTALLS} rows: what follows is not read; split the file by agencies")]
    TooMany,
    /// A sheet, or a line.
    #[error(transparent)]
    Unread(#[from] Unread),
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Host,
    Address,
    Mac,
    Unit,
    Product,
    Version,
    Seen,
    State,
}

/// Headings as [`bare`] makes them. A longer heading that begins so, and goes on with another word, counts too.
const HEADINGS: [(Role, &[&str]); 8] = [
    (
        Role::Address,
        &[
            "dia chi ip",
            "ip address",
            "ip addresses",
            "ipaddress",
            "ipv4",
            "ip may",
            "ip",
            "dia chi may",
            "local ip",
            "last ip",
        ],
    ),
    (Role::Mac, &["dia chi mac", "mac address", "macaddress", "mac", "dia chi vat ly", "physical address"]),
    (
        Role::Product,
        &[
            "ten san pham",
            "san pham",
            "product",
            "product name",
            "phan mem diet virus",
            "phan mem bao ve",
            "ten phan mem",
            "phan mem",
            "antivirus",
            "giai phap",
        ],
    ),
    (
        Role::Version,
        &[
            "phien ban",
            "version",
            "agent version",
            "product version",
            "client version",
            "sensor version",
            "ver",
            "ban cap nhat",
        ],
    ),
    (
        Role::Seen,
        &[
            "ket noi lan cuoi",
            "ket noi cuoi",
            "lan ket noi cuoi",
            "lan cuoi ket noi",
            "thoi gian ket noi cuoi",
            "lan cuoi truc tuyen",
            "lan cuoi online",
            "online lan cuoi",
            "cap nhat lan cuoi",
            "lan cap nhat cuoi",
            "ngay cap nhat",
            "last seen",
            "last connected",
            "last connection",
            "last online",
            "last communication",
            "last update",
            "last updated",
            "last contact",
            "last check in",
            "last active",
            "thoi gian cap nhat",
        ],
    ),
    (
        Role::State,
        &[
            "trang thai",
            "tinh trang",
            "status",
            "state",
            "agent status",
            "connection status",
            "protection status",
            "protection",
            "da cai dat",
            "installed",
            "cai dat",
        ],
    ),
    (
        Role::Host,
        &[
            "ten may",
            "ten may tinh",
            "ten may tram",
            "may tram",
            "computer name",
            "computer",
            "computername",
            "host name",
            "hostname",
            "host",
            "endpoint name",
            "endpoint",
            "device name",
            "device",
            "machine name",
            "machine",
            "client name",
            "agent name",
            "ten thiet bi",
            "thiet bi",
            "ten agent",
            "name",
        ],
    ),
    (
        Role::Unit,
        &[
            "ten don vi",
            "don vi",
            "co quan",
            "ten co quan",
            "nhom",
            "phong ban",
            "phong",
            "to chuc",
            "group",
            "group name",
            "department",
            "organization",
            "organisation",
            "unit",
            "agency",
            "ou",
        ],
    ),
];

fn role(heading: &str) -> Option<Role> {
    heading::role(&HEADINGS, heading)
}

fn is_header(cells: &[String]) -> bool {
    let roles: Vec<Role> = cells.iter().filter_map(|cell| role(cell)).collect();
    roles.iter().any(|role| matches!(role, Role::Host | Role::Address | Role::Mac))
        // A title may happen to be a heading; a table has more, unless it is a plain list.
        && (roles.len() >= 2 || cells.iter().filter(|cell| !cell.trim().is_empty()).count() <= 2)
}

/// Words for states as [`bare`] makes them; a cell that begins with one counts.
const ON: [&str; 27] = [
    "dang hoat dong",
    "hoat dong",
    "dang bat",
    "bat",
    "da bat",
    "da cai",
    "da cai dat",
    "co",
    "binh thuong",
    "truc tuyen",
    "duoc bao ve",
    "da kich hoat",
    "con han",
    "an toan",
    "online",
    "on",
    "active",
    "activated",
    "enabled",
    "installed",
    "running",
    "protected",
    "ok",
    "yes",
    "true",
    "healthy",
    "connected",
];
const OFF: [&str; 29] = [
    "chua cai",
    "chua cai dat",
    "chua co",
    "khong co",
    "khong cai",
    "khong hoat dong",
    "khong bao ve",
    "khong duoc bao ve",
    "khong",
    "ngung hoat dong",
    "da go",
    "go bo",
    "da go bo",
    "tat",
    "da tat",
    "vo hieu hoa",
    "bi vo hieu",
    "het han",
    "loi",
    "uninstalled",
    "not installed",
    "removed",
    "disabled",
    "expired",
    "unprotected",
    "off",
    "no",
    "false",
    "error",
];
/// A machine may be switched off.
const NEITHER: [&str; 9] = [
    "offline",
    "ngoai tuyen",
    "mat ket noi",
    "khong ket noi",
    "disconnected",
    "inactive",
    "idle",
    "khong truc tuyen",
    "not connected",
];

/// What a word says; `None` where it is not known.
fn state(text: &str) -> Option<State> {
    let text = bare(text);
    let fits = |words: &[&str]| {
        let fits = words.iter().filter(|word| {
            text.strip_prefix(**word).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        fits.map(|word| word.len()).max().unwrap_or(0)
    };
    // The longest says it: "không kết nối" is not "không".
    let found = [(fits(&ON), State::On), (fits(&OFF), State::Off), (fits(&NEITHER), State::Unsaid)];
    found.into_iter().filter(|(len, _)| *len > 0).max_by_key(|(len, _)| *len).map(|(_, state)| state)
}

/// Products that titles name.
const PRODUCTS: [(&str, &str); 7] = [
    ("bkav", "Bkav Endpoint"),
    ("viettel endpoint", "Viettel Endpoint"),
    ("vcs ajiant", "Viettel Endpoint"),
    ("kaspersky", "Kaspersky"),
    ("trend micro", "Trend Micro"),
    ("symantec", "Symantec"),
    ("defender", "Microsoft Defender"),
];

/// The name of a product as people write it: `bkav` is Bkav Endpoint.
pub fn product(text: &str) -> String {
    let text = text.trim();
    let plain = bare(text);
    let short = [("bkav", "Bkav Endpoint"), ("viettel", "Viettel Endpoint")];
    short
        .iter()
        .find(|(word, _)| plain == *word)
        .map_or_else(|| text.to_owned(), |(_, name)| (*name).to_owned())
}

/// Reads an export.
///
/// # Errors
/// [`TableError`], where it is no table.
pub fn read(octets: &[u8], reading: &Reading) -> Result<Batch, TableError> {
    let tables = table::read(octets)?;
    let mut batch = Batch { product: reading.product.as_deref().map(product), ..Batch::default() };
    for (place, unread) in tables.unread {
        batch.fault(place, unread.into());
    }
    let (mut has_header, mut words) = (false, HashSet::new());
    for table in &tables.tables {
        if let Some((columns, rows)) = below_header(&table.rows, role, is_header) {
            has_header = true;
            let above = table.rows.len() - rows.len();
            let titled = batch.product.clone().or_else(|| titled(table, &table.rows[..above]));
            Sheet { table, columns, reading, titled }.read(rows, &mut words, &mut batch);
        }
    }
    if !has_header {
        batch.fault(Place { sheet: None, line: 1 }, Fault::NoHeader);
    }
    Ok(batch)
}

/// The product that a sheet's name or titles tell.
fn titled(table: &Table, above: &[Row]) -> Option<String> {
    let cells = above.iter().flat_map(|(_, cells)| cells).map(String::as_str);
    let texts: Vec<String> = table.sheet.as_deref().into_iter().chain(cells).map(bare).collect();
    let named = |word: &str| texts.iter().any(|text| text.contains(word));
    PRODUCTS.iter().find(|(word, _)| named(word)).map(|(_, name)| (*name).to_owned())
}

struct Sheet<'a> {
    table: &'a Table,
    columns: Vec<(Role, usize)>,
    reading: &'a Reading,
    titled: Option<String>,
}

impl Sheet<'_> {
    fn all<'c>(&self, cells: &'c [String], wanted: Role) -> impl Iterator<Item = &'c str> {
        let of = self.columns.iter().filter(move |(role, _)| *role == wanted);
        of.filter_map(|(_, at)| cells.get(*at)).map(String::as_str)
    }

    fn cell(&self, cells: &[String], wanted: Role) -> Option<String> {
        self.all(cells, wanted).find_map(|text| tidy(text, MAX_TEXT))
    }

    fn read(&self, rows: &[Row], words: &mut HashSet<String>, batch: &mut Batch) {
        let dates: Vec<String> = rows.iter().filter_map(|(_, cells)| self.cell(cells, Role::Seen)).collect();
        let order = self.reading.dates.of(dates.iter().map(String::as_str));
        for (line, cells) in rows {
            let place = self.table.place(*line);
            if batch.installs.len() >= MAX_INSTALLS {
                return batch.fault(place, Fault::TooMany);
            }
            // A header of two rows, or one again on each page.
            if is_header(cells) || cells.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let host = self.cell(cells, Role::Host);
            let addresses = addresses(self.all(cells, Role::Address), &place, batch);
            let macs = macs(self.all(cells, Role::Mac), &place, batch);
            let filled = cells.iter().filter(|cell| !cell.trim().is_empty()).count();
            let is_known = !addresses.is_empty() || !macs.is_empty();
            // Sums and signatures below the table are no machines: they have blanks, and stand alone.
            if !is_known && filled <= 2 && host.as_deref().is_some_and(|host| host.contains(' ')) {
                continue;
            }
            if host.is_none() && !is_known {
                if filled > 2 {
                    batch.fault(place, Fault::Nothing);
                }
                continue;
            }
            let seen = self.cell(cells, Role::Seen).and_then(|text| {
                let time = order.read(&text, &self.reading.zone);
                if time.is_none() {
                    batch.fault(place.clone(), Fault::Time(excerpt(&text)));
                }
                time
            });
            let said = self.cell(cells, Role::State).map_or(State::Unsaid, |text| {
                state(&text).unwrap_or_else(|| {
                    let word = excerpt(&text);
                    if words.len() < MAX_WORDS && words.insert(bare(&word)) {
                        batch.fault(place.clone(), Fault::State(word));
                    }
                    State::Unsaid
                })
            });
            // "Phần mềm diệt virus: không" says of the product that there is none.
            let named = self.cell(cells, Role::Product);
            let of_name = named.as_deref().and_then(state);
            let named = named.filter(|_| of_name.is_none()).map(|text| product(&text));
            batch.installs.push(Install {
                place,
                host,
                macs,
                addresses,
                unit: self.cell(cells, Role::Unit),
                product: named.or_else(|| self.titled.clone()),
                version: self.cell(cells, Role::Version),
                seen,
                state: if said == State::Unsaid { of_name.unwrap_or_default() } else { said },
            });
        }
    }
}

impl Batch {
    fn fault(&mut self, place: Place, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((place, fault));
        } else {
            self.more_faults += 1;
        }
    }
}

/// The addresses in cells, whatever stands around them; no machine is known by those that every machine has.
fn addresses<'c>(cells: impl Iterator<Item = &'c str>, place: &Place, batch: &mut Batch) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for text in cells {
        let mut has_any = false;
        for part in text.split(|char: char| !(char.is_ascii_hexdigit() || matches!(char, '.' | ':'))) {
            let Ok(address) = part.trim_matches('.').parse::<IpAddr>() else { continue };
            has_any = true;
            let address = address.to_canonical();
            let is_link_local = match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            let is_own = !address.is_unspecified() && !address.is_loopback() && !is_link_local;
            if is_own && !found.contains(&address) && found.len() < MAX_OF_ROW {
                found.push(address);
            }
        }
        if !has_any && text.contains(|char: char| char.is_ascii_digit()) {
            batch.fault(place.clone(), Fault::Address(excerpt(text.trim())));
        }
    }
    found
}

fn macs<'c>(cells: impl Iterator<Item = &'c str>, place: &Place, batch: &mut Batch) -> Vec<Mac> {
    let mut found: Vec<Mac> = Vec::new();
    for text in cells {
        let parts = std::iter::once(text).chain(text.split([',', ';', ' ', '\n', '\t', '/', '(', ')']));
        let before = found.len();
        for mac in parts.filter_map(|part| part.trim().parse::<Mac>().ok()) {
            if mac.is_usable() && !found.contains(&mac) && found.len() < MAX_OF_ROW {
                found.push(mac);
            }
        }
        if found.len() == before && tidy(text, MAX_TEXT).is_some() {
            batch.fault(place.clone(), Fault::Mac(excerpt(text.trim())));
        }
    }
    found
}

/// The start of a text that is no good, for a fault.
fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Whether what an inventory of machines says of protection says that there is some; `None` where it says nothing.
pub fn says_protected(text: &str) -> Option<bool> {
    match bare(text).as_str() {
        "" => None,
        _ => Some(state(text) != Some(State::Off)),
    }
}
