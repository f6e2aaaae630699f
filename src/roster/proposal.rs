//! What a sheet would change, and why it may not.

use std::collections::HashMap;

use ipnet::IpNet;

use super::sheet::Found;
use super::{Entry, Fault};
use crate::tabular::table::Place;

/// An agency that the configuration has by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Its networks.
    pub networks: Vec<IpNet>,
    /// Where it stands.
    pub place: String,
}

/// What becomes of agencies of the roster that a sheet does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They stay.
    Add,
    /// They go.
    Replace,
}

/// What becomes of an agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// These fields change: which, from what, to what.
    Changed(Vec<(Field, String, String)>),
    /// It goes.
    Removed,
    /// Nothing.
    Same,
    /// It is not in the sheet, and stays.
    Kept,
}

/// What of an agency changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Its name.
    Name,
    /// Its networks.
    Networks,
    /// Whom people call.
    Contact,
    /// Who gets its cases.
    Officer,
    /// Where that one reads mail.
    Email,
    /// Its DNS servers.
    Forwarders,
}

impl Field {
    /// Its word in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Networks => "networks",
            Self::Contact => "contact",
            Self::Officer => "officer",
            Self::Email => "email",
            Self::Forwarders => "forwarders",
        }
    }
}

/// What becomes of one agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub id: String,
    /// Its name, as it will be.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
}

/// What a sheet would make of the roster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposal {
    /// The roster as it would be.
    pub entries: Vec<Entry>,
    /// Agency by agency.
    pub differences: Vec<Difference>,
    /// Why it may not be so.
    pub faults: Vec<(Place, Fault)>,
    /// What is left out on purpose.
    pub notes: Vec<(Place, Fault)>,
}

impl Proposal {
    /// Whether anything would change.
    pub fn changes_anything(&self) -> bool {
        self.differences.iter().any(|it| !matches!(it.change, Change::Same | Change::Kept))
    }
}

/// Reckons what `found` makes of `roster`, beside what the configuration has.
pub fn propose(found: Found, roster: &[Entry], configured: &[Known], manner: Manner) -> Proposal {
    let Found { lines, mut faults, notes } = found;
    let mut differences = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut owners: HashMap<IpNet, (String, String)> = HashMap::new();
    for known in configured {
        for network in &known.networks {
            owners.insert(*network, (known.id.clone(), known.place.clone()));
        }
    }
    let is_listed = |id: &str| lines.iter().any(|line| line.entry.id == id);
    for entry in roster.iter().filter(|entry| !is_listed(&entry.id)) {
        let change = match manner {
            Manner::Add => Change::Kept,
            Manner::Replace => Change::Removed,
        };
        if change == Change::Kept {
            for network in &entry.networks {
                owners.insert(*network, (entry.id.clone(), "as it is known already".to_owned()));
            }
            entries.push(entry.clone());
        }
        differences.push(Difference { id: entry.id.clone(), name: entry.name.clone(), change });
    }
    for line in lines {
        let (place, entry) = (line.place, line.entry);
        faults.extend(entry.fault().map(|fault| (place.clone(), fault)));
        if let Some(known) = configured.iter().find(|known| known.id == entry.id) {
            faults.push((
                place.clone(),
                Fault::Configured { id: entry.id.clone(), place: known.place.clone() },
            ));
        }
        for network in &entry.networks {
            match owners.get(network) {
                Some((other, at)) if *other != entry.id => {
                    let (other, at) = (other.clone(), at.clone());
                    faults.push((place.clone(), Fault::Overlap { network: *network, other, place: at }));
                }
                _ => {
                    owners.insert(*network, (entry.id.clone(), format!("row {place}")));
                }
            }
        }
        let change = match roster.iter().find(|known| known.id == entry.id) {
            None => Change::Added,
            Some(known) => {
                let fields = fields(known, &entry);
                if fields.is_empty() { Change::Same } else { Change::Changed(fields) }
            }
        };
        differences.push(Difference { id: entry.id.clone(), name: entry.name.clone(), change });
        entries.push(entry);
    }
    // In the order in which they were known; new ones behind.
    let rank = |id: &str| roster.iter().position(|known| known.id == id).unwrap_or(usize::MAX);
    entries.sort_by_key(|entry| rank(&entry.id));
    Proposal { entries, differences, faults, notes }
}

/// The fields that differ.
fn fields(old: &Entry, new: &Entry) -> Vec<(Field, String, String)> {
    let nets = |nets: &[IpNet]| {
        let mut sorted = nets.to_vec();
        sorted.sort();
        sorted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let all = [
        (Field::Name, old.name.clone(), new.name.clone()),
        (Field::Networks, nets(&old.networks), nets(&new.networks)),
        (Field::Contact, text(&old.contact), text(&new.contact)),
        (Field::Officer, text(&old.officer), text(&new.officer)),
        (Field::Email, text(&old.email), text(&new.email)),
        (Field::Forwarders, nets(&old.forwarders), nets(&new.forwarders)),
    ];
    all.into_iter().filter(|(_, old, new)| old != new).collect()
}
