//! A sheet of agencies: a row an agency, or a row a network of one.
//!
//! ```text
//!                        DANH SÁCH CƠ QUAN, ĐƠN VỊ                                                  titles, skipped
//! STT │ Mã      │ Tên đơn vị │ Dải địa chỉ                 │ Đầu mối liên hệ │ Cán bộ phụ trách │ Email │ Máy chủ DNS
//!  1  │ so-y-te │ Sở Y tế    │ 10.2.0.0/16; 10.3.0.0/24    │ 0299 000 000    │ Trần Thị B       │ b@…   │ 10.2.0.53
//! ```
//!
//! Where there is no column for ids, an agency keeps the id of the known one with its name; a new one's is made of its name.

use std::collections::HashMap;

use ipnet::IpNet;

use super::{Entry, Fault, LONGEST_ID, LONGEST_TEXT, MOST, MOST_NETWORKS, networks};
use crate::tabular::heading::{self, bare};
use crate::tabular::table::{self, Place, TableError, below_header, tidy};

/// Most faults that are kept.
const MAX_FAULTS: usize = 500;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Id,
    Name,
    Networks,
    Contact,
    Officer,
    Email,
    Forwarders,
}

/// Headings as [`bare`] makes them. A longer one that begins so counts too.
const HEADINGS: [(Role, &[&str]); 7] = [
    (
        Role::Id,
        &[
            "ma",
            "ma don vi",
            "ma co quan",
            "ma dinh danh",
            "id",
            "code",
            "ky hieu",
            "ten viet tat",
            "agency id",
        ],
    ),
    (
        Role::Networks,
        &[
            "dai dia chi",
            "dai dia chi ip",
            "dai ip",
            "mang",
            "dai mang",
            "dia chi mang",
            "lop mang",
            "vung dia chi",
            "networks",
            "network",
            "subnet",
            "subnets",
            "ip range",
            "ip ranges",
            "cidr",
            "dia chi ip",
        ],
    ),
    (
        Role::Forwarders,
        &[
            "may chu dns",
            "may chu dns noi bo",
            "dns noi bo",
            "dns",
            "dns server",
            "dns servers",
            "forwarders",
            "forwarder",
        ],
    ),
    (
        Role::Officer,
        &[
            "can bo",
            "can bo phu trach",
            "can bo dau moi",
            "nguoi phu trach",
            "can bo chuyen trach",
            "officer",
            "chuyen trach",
            "phu trach",
            "can bo attt",
        ],
    ),
    (Role::Email, &["email", "e mail", "thu dien tu", "hop thu", "dia chi email", "mail"]),
    (
        Role::Contact,
        &[
            "lien he",
            "dau moi lien he",
            "dau moi",
            "dien thoai",
            "so dien thoai",
            "thong tin lien he",
            "contact",
            "phone",
            "telephone",
        ],
    ),
    (
        Role::Name,
        &[
            "ten don vi",
            "ten co quan",
            "co quan",
            "don vi",
            "ten co quan don vi",
            "co quan don vi",
            "ten",
            "name",
            "agency",
            "agency name",
        ],
    ),
];

fn role(heading: &str) -> Option<Role> {
    heading::role(&HEADINGS, heading)
}

fn is_header(cells: &[String]) -> bool {
    let has = |wanted| cells.iter().any(|cell| role(cell) == Some(wanted));
    has(Role::Networks) && (has(Role::Name) || has(Role::Id))
}

/// An agency, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where its first row is.
    pub place: Place,
    /// What it says.
    pub entry: Entry,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Agencies in their order.
    pub lines: Vec<Line>,
    /// What is wrong.
    pub faults: Vec<(Place, Fault)>,
    /// What is left out on purpose: hidden sheets.
    pub notes: Vec<(Place, Fault)>,
}

/// Reads a sheet; `known` are the ids and names that there are.
///
/// # Errors
/// [`TableError`], where it is no table.
pub fn read(octets: &[u8], known: &[(String, String)]) -> Result<Found, TableError> {
    let tables = table::read(octets)?;
    let mut found = Found::default();
    for (place, unread) in tables.unread {
        let is_note = matches!(unread, table::Unread::HiddenSheet(_));
        if is_note { &mut found.notes } else { &mut found.faults }.push((place, unread.into()));
    }
    let ids: HashMap<String, &str> = known.iter().map(|(id, name)| (bare(name), id.as_str())).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut has_header = false;
    for table in &tables.tables {
        let Some((columns, rows)) = below_header(&table.rows, role, is_header) else { continue };
        has_header = true;
        for (line, cells) in rows {
            if found.lines.len() >= MOST {
                found.fault(table.place(*line), Fault::TooMany);
                return Ok(found);
            }
            if is_header(cells) {
                continue;
            }
            let all = |wanted| {
                let of = columns.iter().filter(move |(role, _)| *role == wanted);
                of.filter_map(|(_, at)| cells.get(*at)).map(String::as_str)
            };
            // Longer ones are told, not cut.
            let cell = |wanted| all(wanted).find_map(|text| tidy(text, 4 * LONGEST_TEXT));
            let (id, name) = (cell(Role::Id), cell(Role::Name));
            let has_network = all(Role::Networks).any(|text| tidy(text, LONGEST_TEXT).is_some());
            // Sums and signatures below the table are no agencies.
            if id.is_none() && !has_network && (name.is_none() || cell(Role::Email).is_none()) {
                continue;
            }
            let place = table.place(*line);
            let (own, forwarders) =
                (found.networks(all(Role::Networks), &place), found.networks(all(Role::Forwarders), &place));
            let by_name = name.as_deref().and_then(|name| ids.get(&bare(name)).map(|id| (*id).to_owned()));
            let id = id.or(by_name).or_else(|| name.as_deref().map(made_of)).unwrap_or_default();
            let entry = Entry {
                id,
                name: name.unwrap_or_default(),
                networks: own,
                contact: cell(Role::Contact),
                officer: cell(Role::Officer),
                email: cell(Role::Email),
                forwarders,
            };
            match places.get(&entry.id) {
                Some(&at) => found.join(at, entry, &place),
                None => {
                    places.insert(entry.id.clone(), found.lines.len());
                    found.lines.push(Line { place, entry });
                }
            }
        }
    }
    if !has_header {
        found.fault(Place { sheet: None, line: 1 }, Fault::NoHeader);
    } else if found.lines.is_empty() && found.faults.is_empty() {
        found.fault(Place { sheet: None, line: 1 }, Fault::Nothing);
    }
    Ok(found)
}

impl Found {
    fn fault(&mut self, place: Place, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((place, fault));
        }
    }

    fn networks<'c>(&mut self, cells: impl Iterator<Item = &'c str>, place: &Place) -> Vec<IpNet> {
        let mut all: Vec<IpNet> = Vec::new();
        for text in cells {
            for part in parts(text) {
                match networks(part) {
                    Ok(some) => {
                        let news: Vec<IpNet> = some.into_iter().filter(|net| !all.contains(net)).collect();
                        // One too many is told; more are not held.
                        all.extend(news.into_iter().take(MOST_NETWORKS + 1));
                        all.truncate(MOST_NETWORKS + 1);
                    }
                    Err(fault) => self.fault(place.clone(), fault),
                }
            }
        }
        all
    }

    /// Another row of the same agency: more networks, and nothing else that is new.
    fn join(&mut self, at: usize, more: Entry, place: &Place) {
        let line = &mut self.lines[at];
        let (other, known) = (line.place.to_string(), &mut line.entry);
        let mut differs = None;
        let mut take = |what, known: &mut Option<String>, more: Option<String>| match (&*known, more) {
            (None, more) => *known = more,
            (Some(had), Some(more)) if *had != more => differs = Some(what),
            _ => {}
        };
        take("contact", &mut known.contact, more.contact);
        take("officer", &mut known.officer, more.officer);
        take("address of mail", &mut known.email, more.email);
        if !more.name.is_empty() && more.name != known.name {
            if known.name.is_empty() {
                known.name = more.name;
            } else {
                differs = Some("name");
            }
        }
        for (known, more) in [(&mut known.networks, more.networks), (&mut known.forwarders, more.forwarders)]
        {
            let news: Vec<IpNet> = more.into_iter().filter(|net| !known.contains(net)).collect();
            known.extend(news);
            known.truncate(MOST_NETWORKS + 1);
        }
        if let Some(what) = differs {
            let id = known.id.clone();
            self.fault(place.clone(), Fault::Twice { id, other, what });
        }
    }
}

/// The networks of a cell, one by one: blanks divide where nothing else does, but not a range's ends.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let divided = text.split([',', ';', '\n', '\r']).map(str::trim).filter(|part| !part.is_empty());
    divided.flat_map(|part| {
        let is_one = part.contains(['-', '–', '—']) || part.contains(" /") || part.contains("/ ");
        let words: Vec<&str> = if is_one { vec![part] } else { part.split_whitespace().collect() };
        words.into_iter().filter(|word| !matches!(*word, "-" | "–" | "—"))
    })
}

/// An id of a name: `Sở Y tế` is `so-y-te`.
fn made_of(name: &str) -> String {
    let id =
        bare(name).replace('&', "").split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    id[..id.floor_char_boundary(LONGEST_ID)].trim_end_matches('-').to_owned()
}
