//! Who was behind an address or a query, as the case desk wants to know it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cases::Subject;
use crate::evidence::record::Record;
use crate::identity::{Book, BookError, Hints, Machine, Told, Who};
use crate::mac::Mac;

/// Whose case it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) subject: Subject,
    /// What people call the machine; of contradicting sources all that they say.
    pub(super) host: Option<String>,
    /// Its agency, where the inventory knows.
    pub(super) agency: Option<String>,
}

impl From<Machine> for Person {
    fn from(machine: Machine) -> Self {
        Self { subject: Subject::Machine(machine.id), host: machine.host, agency: machine.agency }
    }
}

/// Asks the book of machines. Where sources contradict each other, it stays the address, and the machines are named.
///
/// # Errors
/// [`BookError`].
pub(super) fn who(book: &Book, address: IpAddr, at: i64, hints: &Hints<'_>) -> Result<Person, BookError> {
    Ok(match book.who(address, at, hints)? {
        Who::Machine(machine) => machine.into(),
        Who::Conflict(machines) => {
            let name = |machine: &Machine| match &machine.host {
                Some(host) => format!("{host} ({})", machine.id),
                None => machine.id.to_string(),
            };
            let names: Vec<String> = machines.iter().take(4).map(name).collect();
            let host = Some(format!("{}?", names.join(" / ")));
            Person { subject: Subject::Address(address), host, agency: None }
        }
        Who::Unknown => Person { subject: Subject::Address(address), host: None, agency: None },
    })
}

/// Within this time, in microseconds, a source speaks of a machine that had its address before: a list of leases says since when each
/// was renewed last, or only that it was there when the list was made.
const SOON: i64 = 3_600_000_000;

/// Who had an address of which nobody knew at the time `hits`, from the first to the last: the one machine that sources speak of soon
/// after, where no other one had it shortly before or since. `None` where that cannot be told.
///
/// # Errors
/// [`BookError`].
pub(super) fn holder_soon_after(
    book: &Book,
    address: IpAddr,
    (first, last): (i64, i64),
) -> Result<Option<Person>, BookError> {
    let intervals = book.holders(address)?;
    let mut near = intervals.iter().filter(|it| it.to.is_none_or(|to| to > first - SOON));
    let Some(one) = near.next() else { return Ok(None) };
    let Some(machine) = book.machine(one.machine)? else { return Ok(None) };
    let mut from = one.from;
    for other in near {
        if book.machine(other.machine)?.is_none_or(|it| it.id != machine.id) {
            return Ok(None);
        }
        from = from.min(other.from);
    }
    // Had it gone meanwhile, the hits were of somebody else.
    let is_there_still = intervals.iter().any(|it| it.to.is_none_or(|to| to > last));
    let is_soon = (first..=first.saturating_add(SOON)).contains(&from);
    Ok((is_soon && is_there_still).then(|| machine.into()))
}

/// Who asked, as a record says it: the client, or whom a trusted forwarder asked for. `log --machine` takes the same for the same
/// ([`Whereabouts::has`](crate::evidence::store::whereabouts::Whereabouts::has)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Asker {
    /// Its address; the forwarder's, where that told only a MAC.
    pub(super) address: IpAddr,
    /// The MAC of its own that a forwarder told.
    mac: Option<Mac>,
    /// Whether the address is its own.
    has_address: bool,
    /// Who sent the query.
    pub(super) client: IpAddr,
}

impl Asker {
    pub(super) fn of(record: &Record<'_>) -> Self {
        let whole = record.subnet.filter(|net| net.prefix_len() == net.max_prefix_len());
        let mac = record.mac.filter(|mac| !mac.is_random());
        let has_address = mac.is_none() || whole.is_some();
        Self { address: record.source(), mac, has_address, client: record.client }
    }

    /// Whether a forwarder told who it is.
    pub(super) fn is_told(&self) -> bool {
        self.mac.is_some() || self.address != self.client
    }

    /// Whether it is a machine that the book is yet to hear of.
    pub(super) fn is_new(&self, book: &Book) -> Result<bool, BookError> {
        Ok(match self.mac {
            Some(mac) => book.by_mac(mac)?.is_none(),
            None => false,
        })
    }

    /// Who that is; `None` for a machine by MAC that the book does not know.
    pub(super) fn known(
        &self,
        book: &Book,
        at: i64,
        agency: Option<&str>,
    ) -> Result<Option<Person>, BookError> {
        if let Some(mac) = self.mac
            && let Some(machine) = book.by_mac(mac)?
        {
            return Ok(Some(machine.into()));
        }
        if !self.has_address {
            return Ok(None);
        }
        let person = who(book, self.address, at, &Hints { mac: self.mac, agency, ..Hints::default() })?;
        Ok(Some(person).filter(|it| self.mac.is_none() || matches!(it.subject, Subject::Machine(_))))
    }

    /// Who that is. The book learns of it what a forwarder told: contacts and visits come with the address alone.
    pub(super) fn met(&self, book: &Book, at: i64, agency: Option<&str>) -> Result<Person, BookError> {
        let hints = Hints { agency, ..Hints::default() };
        let Some(mac) = self.mac else { return who(book, self.address, at, &hints) };
        let known = book.by_mac(mac)?.map(Person::from);
        let is_news = match &known {
            None => true,
            Some(it) => self.has_address && who(book, self.address, at, &hints)?.subject != it.subject,
        };
        if is_news {
            let address = self.has_address.then_some(self.address);
            book.meet(&Told { mac, address, forwarder: self.client, agency, at })?;
        }
        // Only where the book is full there is none.
        let person = if known.is_some() { known } else { book.by_mac(mac)?.map(Person::from) };
        Ok(person.unwrap_or(Person { subject: Subject::Address(self.address), host: None, agency: None }))
    }
}
