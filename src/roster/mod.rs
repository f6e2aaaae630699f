//! The roster: agencies, their networks and their officers, as the department keeps them in a spreadsheet.
//!
//! ```text
//! XLSX, CSV ─► sheet ─► entries ─► Proposal (what would change, every fault with its place) ─► data_dir/agencies.json
//!                                                                                                  │
//! [[agency]] of the configuration ───────────────────────────────────► config ◄────────────────────┘
//! ```
//!
//! The configuration reads `agencies.json` beside its own `[[agency]]`; here it is read, proposed and written. A proposal with any
//! fault is never taken, and what is taken is written whole: beside, synced, renamed.

mod file;
mod proposal;
mod sheet;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

pub use self::file::{Kept, RosterError, digest, parse, path, read, write};
pub use self::proposal::{Change, Difference, Field, Known, Manner, Proposal, propose};
pub use self::sheet::{Found, Line, read as read_sheet};
use crate::tabular::table::{TableError, Unread};

/// Characters of an id.
pub const LONGEST_ID: usize = 64;
/// Octets of a name, a contact, an officer.
pub const LONGEST_TEXT: usize = 200;
/// Most agencies.
pub const MOST: usize = 10_000;
/// Most networks of one.
pub const MOST_NETWORKS: usize = 1000;

/// An agency, and who looks after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its short, stable id.
    pub id: String,
    /// Its name, as people read it.
    pub name: String,
    /// Its networks.
    pub networks: Vec<IpNet>,
    /// Whom people call.
    pub contact: Option<String>,
    /// Who gets its cases.
    pub officer: Option<String>,
    /// Where that one reads mail.
    pub email: Option<String>,
    /// Its own DNS servers.
    pub forwarders: Vec<IpNet>,
}

/// What is wrong with a row, or with a whole sheet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No name.
    #[error("the agency has no name: fill in the column for names")]
    NoName,
    /// No network.
    #[error("{0} has no network: fill in the column for networks, such as 10.1.0.0/16")]
    NoNetwork(String),
    /// An id that logs and commands cannot carry.
    #[error("{0:?} is no id: write up to {LONGEST_ID} letters, digits, `-`, `_` and `.`, such as so-tttt")]
    Id(String),
    /// A text of no use.
    #[error("{what} is longer than {LONGEST_TEXT} octets: shorten it")]
    Long {
        /// Which.
        what: &'static str,
    },
    /// No network.
    #[error("{0:?} is no network: write 10.1.0.0/16, 10.1.0.0/255.255.0.0 or 10.1.0.0 - 10.1.255.255")]
    Network(String),
    /// Not the first address of a network.
    #[error("{text:?} has host bits: the network is {network}")]
    HostBits {
        /// As it stands there.
        text: String,
        /// What was meant.
        network: IpNet,
    },
    /// So many networks that nobody meant it.
    #[error("{0} has more than {MOST_NETWORKS} networks: write larger ones")]
    ManyNetworks(String),
    /// No address of mail.
    #[error("{0:?} is no address of mail: write it as cntt@agency.example.vn")]
    Email(String),
    /// Two rows of one id say different things.
    #[error("{id} stands in row {other} too, with another {what}: keep one of the two")]
    Twice {
        /// Whose.
        id: String,
        /// Where else.
        other: String,
        /// What differs.
        what: &'static str,
    },
    /// A network of two agencies.
    #[error("{network} is {other}'s already ({place}): an address has one agency")]
    Overlap {
        /// Which.
        network: IpNet,
        /// Whose.
        other: String,
        /// Where that is said.
        place: String,
    },
    /// The configuration has it.
    #[error("{id} stands in the configuration ({place}): change it there, or take it out there first")]
    Configured {
        /// Which.
        id: String,
        /// Where.
        place: String,
    },
    /// No row is a header.
    #[error(
        "no row names the columns for names and networks; known are: Mã, Tên đơn vị, Dải địa chỉ, Liên hệ, Cán bộ, Email, Máy chủ DNS, ID, Name, Networks, Contact, Officer, DNS"
    )]
    NoHeader,
    /// There is nothing below the headers.
    #[error("no row has an agency")]
    Nothing,
    /// More agencies than a province has.
    #[error("more than {MOST} agencies: is this the right file?")]
    TooMany,
    /// A sheet, or a line.
    #[error(transparent)]
    Unread(#[from] Unread),
}

/// Reads networks as people write them: in CIDR notation, with a mask, as a range, or as one address.
///
/// # Errors
/// [`Fault::Network`] and [`Fault::HostBits`].
pub fn networks(text: &str) -> Result<Vec<IpNet>, Fault> {
    let text = text.trim();
    let wrong = || Fault::Network(text.chars().take(60).collect());
    if let Some((first, last)) = text.split_once(['-', '–', '—']) {
        return match (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>()) {
            (Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last))) if first <= last => {
                Ok(ipnet::Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect())
            }
            (Ok(IpAddr::V6(first)), Ok(IpAddr::V6(last))) if first <= last => {
                Ok(ipnet::Ipv6Subnets::new(first, last, 0).map(IpNet::from).collect())
            }
            _ => Err(wrong()),
        };
    }
    let network = match (text.parse::<IpAddr>(), text.split_once('/')) {
        (Ok(address), _) => IpNet::from(address.to_canonical()),
        (Err(_), Some((address, mask))) if mask.contains('.') => {
            let address = address.trim().parse::<IpAddr>().map_err(|_| wrong())?;
            let mask = mask.trim().parse::<IpAddr>().map_err(|_| wrong())?;
            IpNet::with_netmask(address, mask).map_err(|_| wrong())?
        }
        _ => text.replace(' ', "").parse().map_err(|_| wrong())?,
    };
    let network = canonical(network);
    if network.trunc() != network {
        return Err(Fault::HostBits { text: text.to_owned(), network: network.trunc() });
    }
    Ok(vec![network])
}

/// An IPv4-mapped network as the IPv4 network it is: clients are known by their canonical addresses.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(len)) if net.addr().is_ipv6() => {
            Ipv4Net::new(address, len).map_or(net, IpNet::from)
        }
        _ => net,
    }
}

/// Whether it is a word that logs, file names and commands can carry.
pub fn is_id(text: &str) -> bool {
    let is_plain = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.');
    !text.is_empty() && text.len() <= LONGEST_ID && text.chars().all(is_plain)
}

/// Whether it looks like an address of mail; what reads it for good is the mail server.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_plain = |part: &str| {
        let is_plain = |octet: u8| octet.is_ascii_graphic() && !b"<>(),;:\\\"".contains(&octet);
        !part.is_empty() && part.bytes().all(is_plain)
    };
    text.len() <= 254 && is_plain(local) && is_plain(domain) && !local.contains('@')
}

/// Whether it is one line of no more than is kept.
fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST_TEXT && !text.contains(char::is_control)
}

impl Entry {
    /// What is wrong with it, by itself.
    pub fn fault(&self) -> Option<Fault> {
        let optional = |text: &Option<String>| text.as_deref().is_none_or(is_text);
        let long = |what| Some(Fault::Long { what });
        match self {
            it if !is_id(&it.id) => Some(Fault::Id(it.id.chars().take(80).collect())),
            it if it.name.trim().is_empty() => Some(Fault::NoName),
            it if !is_text(&it.name) => long("the name"),
            it if !optional(&it.contact) => long("the contact"),
            it if !optional(&it.officer) => long("the officer's name"),
            it if it.networks.is_empty() => Some(Fault::NoNetwork(it.name.clone())),
            it if it.networks.len() > MOST_NETWORKS || it.forwarders.len() > MOST_NETWORKS => {
                Some(Fault::ManyNetworks(it.name.clone()))
            }
            it => it.email.as_ref().filter(|email| !is_email(email)).map(|email| Fault::Email(email.clone())),
        }
    }
}

/// Why a sheet is none at all.
pub type SheetError = TableError;
