//! What sources say: claims, and what came with them.
//!
//! Only the form that all formats are read into; the readers fill it, `take` enters it in the book.

use std::net::IpAddr;

use crate::mac::Mac;

/// Most claims that a file may hold: more is no list of a province's machines.
pub const MAX_CLAIMS: usize = 2_000_000;
/// Most faults of a file that are kept; the others are counted.
const MAX_FAULTS: usize = 1000;
/// Octets of a text that are kept.
const MAX_TEXT: usize = 200;

/// What a source says of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The line or row it stands on.
    pub line: u64,
    /// The address that the machine had; an inventory may know none.
    pub address: Option<IpAddr>,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Hardware addresses that it has beside that one.
    pub also: Vec<Mac>,
    /// What it calls itself towards DHCP servers.
    pub client: Option<ClientId>,
    /// Its name.
    pub host: Option<String>,
    /// From when on; `None`: the source does not say.
    pub start: Option<i64>,
    /// Until when, exclusive; `None`: it does not end by itself.
    pub until: Option<i64>,
    /// How it is meant.
    pub manner: Manner,
    /// What else an inventory says.
    pub about: About,
}

/// How a claim is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manner {
    /// The machine has the address.
    #[default]
    Holds,
    /// It gave up the address at `until`, before the lease that began at `start` was over.
    Released,
    /// Nobody who is known has the address: a machine without a lease uses it.
    Nobody,
}

/// What a machine calls itself towards DHCP servers, beside its MAC.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClientId {
    /// A DUID (RFC 8415, section 11), which is unique everywhere.
    Duid(Vec<u8>),
    /// A client identifier (RFC 2132, section 9.14), unique within a network at best.
    Other(Vec<u8>),
}

impl ClientId {
    /// Reads the octets of a DHCPv4 client identifier: a MAC, a DUID (RFC 4361) or anything else.
    pub fn read(octets: &[u8]) -> (Option<Mac>, Option<Self>) {
        match octets {
            [] => (None, None),
            [1, mac @ ..] if mac.len() == 6 => (Mac::from_octets(mac), None),
            [0xff, _, _, _, _, duid @ ..] if duid.len() >= 3 => (None, Some(Self::Duid(duid.to_vec()))),
            other => (None, Some(Self::Other(other.to_vec()))),
        }
    }

    /// Its octets behind one that says which it is.
    pub(super) fn key(&self) -> Vec<u8> {
        let (tag, octets) = match self {
            Self::Other(octets) => (0, octets),
            Self::Duid(octets) => (1, octets),
        };
        std::iter::once(tag).chain(octets.iter().copied().take(MAX_TEXT)).collect()
    }
}

/// What an inventory says of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Who works at it.
    pub owner: Option<String>,
    /// The id of its agency.
    pub agency: Option<String>,
    /// The agency, or the part of it, in the inventory's words.
    pub unit: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// Its endpoint protection.
    pub protection: Option<String>,
    /// Anything else.
    pub notes: Option<String>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// How much it says.
    pub scope: Scope,
    /// What it says, in its order.
    pub claims: Vec<Claim>,
    /// What could not be read.
    pub faults: Vec<(u64, Fault)>,
    /// How many more there are.
    pub more_faults: u64,
}

/// What it means that something is not in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: the file tells what happened.
    Log,
    /// It is over: the file lists the leases of the moment.
    Leases,
    /// It is over: the file lists the machines there are.
    Inventory,
}

/// Why a line or a file gives no claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field that should be an address.
    #[error("{0:?} is no address")]
    Address(String),
    /// … a MAC.
    #[error("{0:?} is no MAC address")]
    Mac(String),
    /// … a time.
    #[error("{0:?} is no time; say how dates are written with --dates dmy, mdy or ymd")]
    Time(String),
    /// … a number.
    #[error("{0:?} is no number of seconds")]
    Number(String),
    /// There are fewer fields than the format has.
    #[error("{0} fields, where the format has {1}")]
    Fields(usize, usize),
    /// Something where the format has something else.
    #[error("{0:?} does not belong here")]
    Syntax(String),
    /// A statement without its end: the file is cut off, or is being written.
    #[error("the lease that begins here has no end")]
    Open,
    /// There is no header with known headings.
    #[error(
        "no row names a column for addresses, MACs or host names; known are: Địa chỉ IP, Địa chỉ MAC, Tên máy, Người sử dụng, Đơn vị, IPAddress, MAC, Hostname, Owner"
    )]
    NoHeader,
    /// A row with neither address nor MAC nor name.
    #[error("neither address nor MAC nor host name: the row is passed over")]
    Nothing,
    /// It was over before the file was written.
    #[error(
        "the lease was over before the file was written; is this an old copy? --as-of says of when it is"
    )]
    Over,
    /// Several machines have this name, and nothing says which of them is meant.
    #[error("several machines are called {0:?}, and neither address nor MAC says which is meant")]
    Ambiguous(String),
    /// More than a file may hold.
    #[error("more than {MAX_CLAIMS} leases or machines: what follows is not read")]
    TooMany,
    /// More machines than the book holds.
    #[error(
        "the book is full: it has a million machines; identity_keep says how long those are kept that nobody spoke of"
    )]
    Full,
    /// A sheet that is hidden.
    #[error("the sheet {0:?} is hidden, and left out")]
    HiddenSheet(String),
    /// A heading that is none of ours.
    #[error("the column {0:?} is not read: no heading is called so")]
    Heading(String),
}

impl Batch {
    /// Nothing yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, claims: Vec::new(), faults: Vec::new(), more_faults: 0 }
    }

    /// Adds a claim, its texts cut to what is kept.
    pub fn claim(&mut self, mut claim: Claim) {
        let About { owner, agency: _, unit, model, protection, notes } = &mut claim.about;
        for text in [&mut claim.host, owner, unit, model, protection, notes] {
            *text = text.take().and_then(|text| tidy(&text));
        }
        if self.claims.len() < MAX_CLAIMS {
            self.claims.push(claim);
        } else if self.claims.len() == MAX_CLAIMS {
            self.fault(claim.line, Fault::TooMany);
        }
    }

    /// Adds a fault.
    pub fn fault(&mut self, line: u64, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((line, fault));
        } else {
            self.more_faults += 1;
        }
    }

    /// Whether it stopped at the bound.
    pub fn is_full(&self) -> bool {
        self.claims.len() >= MAX_CLAIMS
    }

    /// Lets `agency_of` say the agencies' ids where rows name them in words.
    pub fn name_agencies(&mut self, agency_of: impl Fn(&str) -> Option<String>) {
        for claim in &mut self.claims {
            claim.about.agency = claim.about.unit.as_deref().and_then(&agency_of);
        }
    }
}

/// One line without control characters and blanks around it; `None` where nothing is left.
pub(super) fn tidy(text: &str) -> Option<String> {
    crate::tabular::table::tidy(text, MAX_TEXT)
}

/// The start of a text that is no good, for a fault.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}
