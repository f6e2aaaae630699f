//! Who was behind an address, as the case desk wants to know it.

use std::net::IpAddr;

use crate::cases::Subject;
use crate::identity::{Book, BookError, Hints, Who};

/// Whose case it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) subject: Subject,
    /// What people call the machine; of contradicting sources all that they say.
    pub(super) host: Option<String>,
    /// Its agency, where the inventory knows.
    pub(super) agency: Option<String>,
}

/// Asks the book of machines. Where sources contradict each other, it stays the address, and the machines are named.
///
/// # Errors
/// [`BookError`].
pub(super) fn who(book: &Book, address: IpAddr, at: i64, hints: &Hints<'_>) -> Result<Person, BookError> {
    Ok(match book.who(address, at, hints)? {
        Who::Machine(machine) => {
            Person { subject: Subject::Machine(machine.id), host: machine.host, agency: machine.agency }
        }
        Who::Conflict(machines) => {
            let name = |machine: &crate::identity::Machine| match &machine.host {
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
