//! What is looked for, as conditions in SQL.
//!
//! Each is exact: what the server counts is what [`Filter::takes`] takes. Names are compared by their last labels, which
//! dots part for certain (`rows`), networks by the digits of their addresses.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::rows::{stored_name, time_of};
use super::schema::{Column, Dialect};
use super::sql::{List, Text, hex, octets};
use crate::evidence::store::names::{Needles, Reach, Top};
use crate::evidence::store::rows;
use crate::evidence::store::whereabouts::Whereabouts;
use crate::evidence::store::{Filter, Kind};
use crate::{name, wire};

/// Conditions that all hold, so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(Vec<String>);

impl Conditions {
    pub(super) fn add(&mut self, condition: String) {
        self.0.push(condition);
    }

    /// With another one.
    pub(super) fn and(&self, condition: String) -> Self {
        let mut all = self.clone();
        all.add(condition);
        all
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("1")?;
        self.0.iter().try_for_each(|condition| write!(f, " AND ({condition})"))
    }
}

/// From this time on and before that one; the hours first, by which partitions and marks are found.
pub(super) fn within(since: i64, until: i64, dialect: Dialect) -> String {
    let (first, last) = (super::rows::hour_of(since), super::rows::hour_of(until.saturating_sub(1)));
    let mut condition = format!("hour >= toDateTime({first}, 'UTC') AND hour <= toDateTime({last}, 'UTC')");
    // Writing to a text does not fail.
    if since != i64::MIN {
        let _ = write!(condition, " AND time >= {}", instant(since, dialect));
    }
    if until != i64::MAX {
        let _ = write!(condition, " AND time < {}", instant(until, dialect));
    }
    condition
}

/// A time, to be compared with a row's.
fn instant(time: i64, dialect: Dialect) -> String {
    match dialect {
        Dialect::Current => format!("fromUnixTimestamp64Micro({time}, 'UTC')"),
        Dialect::Old => time.to_string(),
    }
}

fn is_client(client: IpAddr, dialect: Dialect) -> String {
    match dialect {
        Dialect::Current => format!("client = toIPv6({})", Text(client.to_string().as_bytes())),
        Dialect::Old => format!("client = toFixedString(unhex('{}'), 16)", hex(&octets(client))),
    }
}

/// How many microseconds a row's time is behind another, in steps.
pub(super) fn step_of(since: i64, step: i64, dialect: Dialect) -> String {
    format!("intDiv({} - {since}, {step})", time_of(dialect))
}

/// What a filter asks for, but for times and what it seeks.
pub(super) fn conditions(filter: &Filter, columns: &[Column], dialect: Dialect) -> Conditions {
    let Filter { client, agency, name, qtype, rcode, outcome, feed, family, kind, machine, .. } = filter;
    let mut all = Conditions::default();
    all.add(match kind {
        Kind::All => "late = 0".to_owned(),
        Kind::Hits => "hit = 1".to_owned(),
    });
    if let Some(client) = client.map(|client| client.to_canonical()) {
        let asked = is_client(client, dialect);
        // A table that nobody may change lacks what a later release added.
        let subnet = rows::Text::Subnet;
        all.add(if columns.contains(&Column::Text(subnet)) {
            let net = IpNet::from(client).to_string();
            format!("{asked} OR {} = {}", subnet.name(), Text(net.as_bytes()))
        } else {
            asked
        });
    }
    let mut is = |column: &str, word: Option<&[u8]>| {
        if let Some(word) = word {
            all.add(format!("{column} = {}", Text(word)));
        }
    };
    is("agency", agency.as_deref().map(str::as_bytes));
    is("feed", feed.as_deref().map(str::as_bytes));
    is("family", family.as_deref().map(str::as_bytes));
    is("action", outcome.map(|outcome| outcome.as_str().as_bytes()));
    is("qtype", qtype.map(wire::type_text).as_deref().map(str::as_bytes));
    is("rcode", rcode.map(wire::rcode_text).as_deref().map(str::as_bytes));
    if let Some(name) = name {
        let name = stored(name);
        all.add(match &*name {
            "." => "qname != ''".to_owned(),
            name => {
                let below = format!(".{name}");
                format!("qname = {} OR endsWith(qname, {})", Text(name.as_bytes()), Text(below.as_bytes()))
            }
        });
    }
    if let Some(machine) = machine {
        all.add(of_machine(machine, filter, columns, dialect));
    }
    all
}

/// [`Whereabouts::has`], of a row.
fn of_machine(machine: &Whereabouts, filter: &Filter, columns: &[Column], dialect: Dialect) -> String {
    // A table that nobody may change lacks what a later release added.
    let column = |text: rows::Text| if columns.contains(&Column::Text(text)) { text.name() } else { "''" };
    let (mac, subnet) = (column(rows::Text::Mac), column(rows::Text::Subnet));
    // What software made up tells nothing.
    let is_told = format!("{mac} != '' AND substring({mac}, 2, 1) NOT IN ('2','3','6','7','a','b','e','f')");
    let macs: Vec<String> = machine.macs.iter().map(ToString::to_string).collect();
    let mut found =
        if macs.is_empty() { "0".to_owned() } else { format!("({is_told}) AND {mac} IN {}", List(&macs)) };
    let is_whole =
        format!("endsWith({subnet}, '/128') OR endsWith({subnet}, '/32') AND position({subnet}, ':') = 0");
    let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
    let mut times: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for &(address, from, to) in &machine.spans {
        if from < until && to > since && from < to {
            // What the question bounds need not be said again.
            let from = (from > since).then(|| format!("time >= {}", instant(from, dialect)));
            let to = (to < until).then(|| format!("time < {}", instant(to, dialect)));
            let bounds: Vec<String> = from.into_iter().chain(to).collect();
            let bounds = if bounds.is_empty() { "1".to_owned() } else { bounds.join(" AND ") };
            times.entry(address.to_canonical()).or_default().push(bounds);
        }
    }
    let parts: Vec<String> = times
        .into_iter()
        .map(|(address, times)| {
            let net = IpNet::from(address).to_string();
            format!(
                "({subnet} = {} OR NOT ({is_whole}) AND {}) AND ({})",
                Text(net.as_bytes()),
                is_client(address, dialect),
                times.join(" OR ")
            )
        })
        .collect();
    if !parts.is_empty() {
        // Writing to a text does not fail.
        let _ = write!(found, " OR NOT ({is_told}) AND ({})", parts.join(" OR "));
    }
    found
}

fn stored(name: &name::Name) -> String {
    let mut wire = name.as_wire().to_vec();
    name::fold(&mut wire);
    stored_name(&wire)
}

/// What a search is for.
#[derive(Debug, Default)]
pub(super) struct Sought {
    exact: Vec<String>,
    /// By how many labels they have.
    subtrees: BTreeMap<usize, Vec<String>>,
    below: BTreeMap<usize, Vec<String>>,
    /// Beginnings of addresses, by how many digits they have.
    addresses: BTreeMap<usize, Vec<String>>,
}

impl Sought {
    pub(super) fn new(needles: &Needles) -> Self {
        let mut sought = Self::default();
        needles.each_top(&mut |top| match top {
            Top::Name(name, Reach::Exact) => sought.exact.push(stored(&name)),
            Top::Name(name, reach) => {
                let names = if reach == Reach::Subtree { &mut sought.subtrees } else { &mut sought.below };
                names.entry(name.label_count()).or_default().push(stored(&name));
            }
            Top::Net(net) => sought.add_net(net),
        });
        sought
    }

    fn add_net(&mut self, net: IpNet) {
        let shift = if matches!(net, IpNet::V4(_)) { 96 } else { 0 };
        let bits = shift + usize::from(net.prefix_len());
        let digits = bits.div_ceil(4);
        let first = u128::from_be_bytes(octets(net.network()));
        let prefixes = self.addresses.entry(digits).or_default();
        // One digit is four bits: a network that ends inside one is up to eight of them.
        for number in 0..1u128 << (4 * digits - bits) {
            let step = if digits == 0 { 0 } else { number << (128 - 4 * digits) };
            prefixes.push(hex(&(first | step).to_be_bytes())[..digits].to_owned());
        }
    }

    pub(super) fn has_names(&self) -> bool {
        !self.exact.is_empty() || !self.subtrees.is_empty() || !self.below.is_empty()
    }

    pub(super) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether the name in a column is looked for.
    pub(super) fn names(&self, column: &str) -> String {
        let last = |count: &usize| {
            format!("arrayStringConcat(arraySlice(splitByChar('.', {column}), -{count}), '.')")
        };
        let mut parts = Vec::new();
        if !self.exact.is_empty() {
            parts.push(format!("{column} IN {}", List(&self.exact)));
        }
        for (count, names) in &self.subtrees {
            parts.push(format!("{} IN {}", last(count), List(names)));
        }
        for (count, names) in &self.below {
            let list = List(names).to_string();
            parts.push(format!("{} IN {list} AND {column} NOT IN {list}", last(count)));
        }
        if parts.is_empty() { "0".to_owned() } else { parts.join(" OR ") }
    }

    /// Whether one of a row's answers is.
    pub(super) fn addresses(&self) -> String {
        format!("arrayExists(answer -> {}, answers)", self.address("answer"))
    }

    /// Whether the address in a column is.
    pub(super) fn address(&self, column: &str) -> String {
        let parts: Vec<String> = self
            .addresses
            .iter()
            .map(|(digits, prefixes)| match digits {
                0 => "1".to_owned(),
                _ => format!("substring(hex({column}), 1, {digits}) IN {}", List(prefixes)),
            })
            .collect();
        parts.join(" OR ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::store::names::{Gathering, Label};

    #[test]
    fn hostile_values_stay_values() {
        let filter = Filter {
            agency: Some("x' OR 1=1 --".into()),
            family: Some("\\'; DROP TABLE records".into()),
            name: Some(name::Name::from_wire(b"\x0c') OR ('1'='\x07example\x00").unwrap()),
            ..Filter::default()
        };
        let sql = conditions(&filter, &[], Dialect::Current).to_string();
        assert_eq!(sql.matches('\'').count(), 8, "{sql}");
        for part in ["1=1", "DROP TABLE", ";", "('1'"] {
            assert!(!sql.contains(part), "{sql}");
        }
    }

    #[test]
    fn networks_end_at_digits() {
        let of = |net: &str| {
            let mut gathering = Gathering::default();
            gathering.add_net(net.parse().unwrap(), &Label::default());
            Sought::new(&gathering.finish()).addresses.into_iter().next().unwrap()
        };
        let (digits, prefixes) = of("192.0.2.0/24");
        assert_eq!((digits, &*prefixes), (30, &["00000000000000000000FFFFC00002".to_owned()][..]));
        assert_eq!(of("192.0.2.66/32").1, ["00000000000000000000FFFFC0000242"]);
        let (digits, prefixes) = of("10.8.0.0/14");
        assert_eq!((digits, prefixes.len()), (28, 4));
        assert_eq!(prefixes[3], "00000000000000000000FFFF0A0B");
        assert_eq!(of("2001:db8::/32").1, ["20010DB8"]);
        assert_eq!(of("::/0").0, 0);
    }
}
