//! From a file's rows to summaries of parts of them, each small enough for memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::write::Writer;
use super::{Asker, Client, Facts, SummaryError, minute, settle};
use crate::evidence::store::names;
use crate::evidence::store::parquet::{FileError, Sieve, Stored};
use crate::evidence::store::rows::Text;
use crate::name::Name;

/// How hard parts are packed: they are read once.
const LEVEL: i32 = 1;
/// The number of what is no name and of what is no address.
const NOTHING: u32 = u32::MAX;

/// Makes the parts of one file.
pub(in crate::evidence) struct Slices<'a> {
    facts: &'a Facts,
    /// Where the next part goes.
    place: &'a mut dyn FnMut() -> PathBuf,
    clients: Vec<Client>,
    known_clients: HashMap<(u32, u32), u32>,
    addresses: Vec<IpAddr>,
    agencies: Vec<Option<Box<str>>>,
    keys: Vec<Box<[u8]>>,
    known_keys: HashMap<Box<[u8]>, u32>,
    /// The keys of addresses that were answered together.
    answers: Vec<Box<[u32]>>,
    pairs: Vec<(u32, Asker)>,
}

/// The columns that are read, in the order of a row's numbers.
const COLUMNS: [Text; 4] = [Text::Client, Text::Agency, Text::Qname, Text::Answers];

impl<'a> Slices<'a> {
    /// Makes summaries of parts of a file, at the places that `place` gives, and calls `meet` with each client.
    pub(in crate::evidence) fn make(
        stored: &Stored,
        facts: &'a Facts,
        place: &'a mut dyn FnMut() -> PathBuf,
        meet: &mut dyn FnMut(&Client),
    ) -> Result<(), SummaryError> {
        let mut slices = Self {
            facts,
            place,
            clients: Vec::new(),
            known_clients: HashMap::new(),
            addresses: Vec::new(),
            agencies: Vec::new(),
            keys: Vec::new(),
            known_keys: HashMap::new(),
            answers: Vec::new(),
            pairs: Vec::new(),
        };
        stored.sift(COLUMNS, &mut Cutting { slices: &mut slices, meet })
    }

    fn key(&mut self, key: Box<[u8]>) -> u32 {
        if let Some(number) = self.known_keys.get(&key) {
            return *number;
        }
        // Rows, and the addresses of each, are far fewer than 2^32.
        let number = self.keys.len() as u32;
        self.keys.push(key.clone());
        self.known_keys.insert(key, number);
        number
    }

    fn write(&mut self) -> Result<(), SummaryError> {
        let mut clients: Vec<u32> = (0..self.clients.len() as u32).collect();
        clients.sort_unstable_by_key(|number| &self.clients[*number as usize]);
        let mut ranks = vec![0; clients.len()];
        for (rank, number) in clients.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        let mut keys: Vec<u32> = (0..self.keys.len() as u32).collect();
        keys.sort_unstable_by_key(|number| &self.keys[*number as usize]);
        let mut places = vec![0; keys.len()];
        for (place, number) in keys.iter().enumerate() {
            places[*number as usize] = place as u32;
        }
        let mut pairs = std::mem::take(&mut self.pairs);
        for (key, asker) in &mut pairs {
            *key = places[*key as usize];
            asker.client = ranks[asker.client as usize];
        }
        pairs.sort_unstable_by_key(|(key, asker)| (*key, asker.client));
        let path = (self.place)();
        let mut writer = Writer::create(&path, self.facts.earliest, LEVEL)?;
        let mut askers = Vec::new();
        for same in pairs.chunk_by(|(one, _), (other, _)| one == other) {
            askers.clear();
            askers.extend(same.iter().map(|(_, asker)| *asker));
            settle(&mut askers);
            let Some((place, _)) = same.first() else { continue };
            writer.add(&self.keys[keys[*place as usize] as usize], &askers)?;
        }
        let table: Vec<Client> =
            clients.iter().map(|number| self.clients[*number as usize].clone()).collect();
        writer.finish(&table, self.facts)?;
        Ok(())
    }
}

/// Takes a file's rows, and writes what came where the file is cut.
struct Cutting<'s, 'a> {
    slices: &'s mut Slices<'a>,
    meet: &'s mut dyn FnMut(&Client),
}

impl Sieve<4> for Cutting<'_, '_> {
    type Error = SummaryError;

    fn number(&mut self, column: usize, text: Option<&str>) -> Result<u32, SummaryError> {
        let slices = &mut *self.slices;
        let wrong = || SummaryError::File(FileError::Value(COLUMNS[column]));
        Ok(match (COLUMNS[column], text) {
            (Text::Client, text) => {
                let address = text.and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
                slices.addresses.push(address);
                slices.addresses.len() as u32 - 1
            }
            (Text::Agency, text) => {
                slices.agencies.push(text.map(Into::into));
                slices.agencies.len() as u32 - 1
            }
            (Text::Qname, Some(text)) => {
                let name = Name::from_presentation(text).map_err(|_| wrong())?;
                match names::key_of_name(name.as_wire()) {
                    Some(key) => slices.key(key),
                    None => NOTHING,
                }
            }
            (Text::Answers, Some(text)) => {
                let mut numbers = Vec::new();
                for text in text.split(' ') {
                    let address: IpAddr = text.parse().map_err(|_| wrong())?;
                    numbers.push(slices.key(names::key_of_address(address)));
                }
                // An answer that says the same twice is one.
                numbers.sort_unstable();
                numbers.dedup();
                slices.answers.push(numbers.into());
                slices.answers.len() as u32 - 1
            }
            _ => NOTHING,
        })
    }

    fn row(&mut self, time: i64, is_hit: bool, numbers: [u32; 4]) {
        let slices = &mut *self.slices;
        let [address, agency, qname, answers] = numbers;
        let client = *slices.known_clients.entry((address, agency)).or_insert_with(|| {
            slices.clients.push(Client {
                address: slices.addresses[address as usize],
                agency: slices.agencies[agency as usize].clone(),
            });
            slices.clients.len() as u32 - 1
        });
        let minute = minute(time);
        let asker = Asker { client, first: minute, last: minute, count: 1, was_hit: is_hit };
        if qname != NOTHING {
            slices.pairs.push((qname, asker));
        }
        if let Some(answers) = slices.answers.get(answers as usize) {
            slices.pairs.extend(answers.iter().map(|answer| (*answer, asker)));
        }
    }

    fn cut(&mut self) -> Result<(), SummaryError> {
        let slices = &mut *self.slices;
        if !slices.pairs.is_empty() {
            slices.clients.iter().for_each(&mut *self.meet);
            slices.write()?;
        }
        slices.clients.clear();
        slices.known_clients.clear();
        slices.addresses.clear();
        slices.agencies.clear();
        slices.keys.clear();
        slices.known_keys.clear();
        slices.answers.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;

    use super::*;
    use crate::evidence::store::names::{Gathering, Label, Reach};
    use crate::evidence::store::parquet::FileName;
    use crate::evidence::store::rows::MINUTE;
    use crate::evidence::store::summary::{Met, Summary, merge, rewrite};
    use crate::name;

    type Row<'a> = (&'a str, &'a str, u32, u32, u32, bool);

    /// Writes a summary by hand: key, client, first, last, count, hit; sorted by key and client.
    fn written(path: &Path, rows: &[Row<'_>]) {
        let mut clients: Vec<Client> = rows
            .iter()
            .map(|row| Client { address: row.1.parse().unwrap(), agency: Some("so".into()) })
            .collect();
        clients.sort();
        clients.dedup();
        let facts = Facts { files: Vec::new(), earliest: 100 * MINUTE, latest: 200 * MINUTE, rows: 9 };
        let mut writer = Writer::create(path, facts.earliest, LEVEL).unwrap();
        for same in rows.chunk_by(|one, other| one.0 == other.0) {
            let asker = |row: &Row<'_>| {
                let address: IpAddr = row.1.parse().unwrap();
                let client = clients.iter().position(|it| it.address == address).unwrap() as u32;
                Asker { client, first: row.2, last: row.3, count: row.4, was_hit: row.5 }
            };
            writer.add(&key(same[0].0), &same.iter().map(asker).collect::<Vec<_>>()).unwrap();
        }
        writer.finish(&clients, &facts).unwrap();
    }

    fn key(text: &str) -> Box<[u8]> {
        match text.parse::<IpAddr>() {
            Ok(address) => names::key_of_address(address),
            Err(_) => name::Key::from(&Name::from_host(text).unwrap()).as_bytes().into(),
        }
    }

    fn found(path: &Path, names: &[&str]) -> Vec<String> {
        let mut gathering = Gathering::default();
        for text in names {
            match text.parse() {
                Ok(net) => gathering.add_net(net, &Label::default()),
                Err(_) => gathering.add_name(&key(text), Reach::Subtree, &Label::default()),
            }
        }
        let needles = gathering.finish();
        let summary = Summary::open(path).unwrap();
        let clients = summary.clients().unwrap();
        let mut found = Vec::new();
        summary
            .find(&needles, &mut |find| {
                for asker in find.askers {
                    let client = clients[asker.client as usize].address;
                    let Asker { first, last, count, was_hit, .. } = asker;
                    let hit = if *was_hit { "!" } else { "" };
                    let what = match find.what().unwrap() {
                        names::What::Name(name) => name.to_string(),
                        names::What::Address(address) => address.to_string(),
                    };
                    found.push(format!("{what} {client} {first}-{last} {count}{hit}"));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        let met = summary.met(&needles).unwrap();
        assert_eq!(met.is_some(), !found.is_empty());
        // What is met is all there is to find.
        if let Some(needles) = met.as_ref().and_then(Met::needles) {
            let mut again = 0;
            summary
                .find(needles, &mut |find| {
                    again += find.askers.len();
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(again, found.len());
        }
        found
    }

    #[test]
    fn what_is_looked_for_is_found_with_its_clients() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other, both, unknown] =
            ["one", "other", "both", "unknown"].map(|it| folder.path().join(it));
        written(
            &one,
            &[
                ("192.0.2.1", "10.0.0.2", 100, 110, 3, false),
                ("evil.example", "10.0.0.1", 101, 101, 1, true),
                ("evil.example", "10.0.0.2", 100, 120, 5, false),
                ("a.evil.example", "2001:db8::1", 150, 150, 1, false),
            ],
        );
        written(
            &other,
            &[
                ("2001:db8::9", "10.0.0.2", 100, 100, 1, false),
                ("evil.example", "10.0.0.2", 130, 140, 5, false),
                ("evil.example", "10.0.0.3", 130, 131, 2, false),
                ("good.example", "10.0.0.2", 180, 180, 1, false),
            ],
        );
        let facts = Facts { rows: 18, ..Summary::open(&one).unwrap().facts().clone() };
        merge(&[one, other], &facts, &both).unwrap();
        assert_eq!(Summary::open(&both).unwrap().facts(), &facts);
        let evil = [
            "evil.example 10.0.0.1 101-101 1!",
            "evil.example 10.0.0.2 100-140 10",
            "evil.example 10.0.0.3 130-131 2",
            "a.evil.example 2001:db8::1 150-150 1",
        ];
        assert_eq!(found(&both, &["evil.example", "no.such.example"]), evil);
        assert_eq!(found(&both, &["a.evil.example"]), &evil[3..]);
        assert_eq!(found(&both, &["192.0.2.0/24"]), ["192.0.2.1 10.0.0.2 100-110 3"]);
        assert_eq!(found(&both, &["2001:db8::/32", "good.example"]).len(), 2);
        assert!(found(&both, &["198.51.100.0/24", "zz.example", "b.a.evil.example"]).is_empty());

        let summary = Summary::open(&both).unwrap();
        rewrite(&summary, |address| if address.is_ipv4() { [10, 0, 0, 0].into() } else { address }, &unknown)
            .unwrap();
        assert_eq!(
            found(&unknown, &["evil.example"]),
            ["evil.example 10.0.0.0 100-140 12", "evil.example 10.0.0.1 101-101 1!", evil[3]]
        );
        let left = Summary::open(&unknown).unwrap().clients().unwrap();
        let left: Vec<String> = left.iter().map(|client| client.address.to_string()).collect();
        assert_eq!(left, ["10.0.0.0", "10.0.0.1", "2001:db8::1"]);
    }

    #[test]
    fn many_blocks_are_searched_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many");
        let names: Vec<String> = (0..30_000).map(|n| format!("n{n:05}.example")).collect();
        let rows: Vec<Row<'_>> =
            names.iter().map(|it| (it.as_str(), "10.0.0.1", 100, 100, 1, false)).collect();
        written(&path, &rows);
        assert!(Summary::open(&path).unwrap().facts().rows == 9);
        assert_eq!(found(&path, &["example"]).len(), rows.len());
        for at in (0..names.len()).step_by(997) {
            assert_eq!(found(&path, &[&names[at], "zz.test", "aa.test"]).len(), 1, "{at}");
        }
    }

    #[test]
    fn files_of_other_minutes_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let rows = [
            ("evil.example", "10.0.0.1", 101, 103, 2, false),
            ("evil.example", "10.0.0.2", 102, 110, 2, false),
            ("evil.example", "10.0.0.3", 160, 160, 1, false),
            ("good.example", "10.0.0.1", 150, 150, 1, false),
        ];
        written(&path, &rows);
        let mut gathering = Gathering::default();
        gathering.add_name(&key("evil.example"), Reach::Subtree, &Label::default());
        let met = Summary::open(&path).unwrap().met(&gathering.finish()).unwrap().unwrap();
        for (earliest, latest, expected) in [
            (0, 100, false),
            (0, 101, true),
            (104, 105, true),
            (110, 200, true),
            (111, 159, false),
            (150, 150, false),
            (160, 160, true),
            (161, 999, false),
        ] {
            let [earliest, latest] = [earliest, latest].map(|minute| minute * 60_000_000 + 1);
            let file = FileName { number: 1, earliest, latest };
            assert_eq!(met.may_be_in(&file), expected, "{file}");
        }
    }

    #[test]
    fn damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        written(&path, &[("evil.example", "10.0.0.1", 101, 101, 1, true)]);
        let whole = std::fs::read(&path).unwrap();
        let read = || -> Result<(), SummaryError> {
            let summary = Summary::open(&path)?;
            summary.clients()?;
            let mut walk = summary.walk()?;
            while walk.advance()? {
                walk.askers()?;
            }
            Ok(())
        };
        read().unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            for octets in [&whole[..at], &changed] {
                std::fs::write(&path, octets).unwrap();
                assert!(read().is_err(), "octet {at}");
            }
        }
    }
}
