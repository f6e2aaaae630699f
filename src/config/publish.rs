//! `[[publish]]`: the policy as response policy zones for other resolvers.

use std::sync::Arc;

use super::faults::Problem;
use super::file::{ANALYSTS, identifier, network};
use super::reader::{Reader, Table, list, parsed};
use super::zones::{key_name, known_key, secondary, zone_name};
use crate::client::Agency;
use crate::publish::rpz::{Sinkholed, SinkholedError};
use crate::publish::zone::Options;
use crate::resolve::zone::Transfer;
use crate::serve::apply::Sinkhole;
use crate::serve::published::Entry;
use crate::tsig::Key;

/// A zone that is published.
#[derive(Clone)]
pub struct Publication {
    /// What is in it.
    pub options: Options,
    /// Who may have it, and who is told of changes; without a version.
    pub entry: Entry,
}

/// Without a version, which no configuration has.
impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Entry { terms, notify, .. } = &self.entry;
        f.debug_tuple("Publication").field(&self.options).field(terms).field(notify).finish()
    }
}

/// `feeds`: the names of all feeds; `analysts` stands for analysts' rules.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    keys: &[Key],
    sinkhole: &Sinkhole,
    feeds: &[&str],
    agencies: &[Agency],
) -> Vec<Publication> {
    let mut publications: Vec<Publication> = Vec::new();
    for mut table in reader.tables(top, "publish") {
        let line = table.line();
        let apex = reader.required(&mut table, "zone", "zone = \"rpz.example.vn\"", zone_name);
        let line_of_feeds = table.line_of("feeds");
        let chosen = reader.take(&mut table, "feeds", Vec::new(), list(identifier));
        let line_of_agency = table.line_of("agency");
        let agency = reader.optional(&mut table, "agency", identifier);
        let sinkholed = reader.take(
            &mut table,
            "sinkhole",
            None,
            parsed("\"addresses\", \"nxdomain\", \"nodata\" or \"cname:landing.example.vn.\"", |text| {
                match text {
                    "addresses" => Ok::<_, SinkholedError>(None),
                    other => other.parse().map(Some),
                }
            }),
        );
        let networks = reader.take(&mut table, "transfer_to", Vec::new(), list(network));
        let line_of_key = table.line_of("tsig");
        let key = reader.optional(&mut table, "tsig", key_name);
        let notify = reader.take(&mut table, "notify", Vec::new(), list(secondary));
        reader.finish(table, &[]);
        known_key(reader, key.as_ref(), keys, line_of_key, "publish.tsig");
        for unknown in chosen.iter().filter(|name| *name != ANALYSTS && !feeds.contains(&name.as_str())) {
            let problem = Problem::Value {
                got: unknown.clone(),
                why: "no [[feed]] has this name".to_owned(),
                expected: "names of feeds and \"analysts\", or [] for all",
            };
            reader.fault(line_of_feeds, "publish.feeds", problem);
        }
        let agency = agency.and_then(|id| {
            let known = agencies.iter().find(|agency| *agency.id == *id);
            if known.is_none() {
                let why = "no [[agency]] has this id".to_owned();
                let problem = Problem::Value { got: id, why, expected: "the id of one" };
                reader.fault(line_of_agency, "publish.agency", problem);
            }
            known.map(|agency| Arc::clone(&agency.id))
        });
        let Some(apex) = apex else { continue };
        if publications
            .iter()
            .any(|other| apex.is_within(&other.entry.apex) || other.entry.apex.is_within(&apex))
        {
            reader.fault(line, "publish.zone", Problem::Twice(apex.to_string()));
            continue;
        }
        let sinkholed = sinkholed.unwrap_or_else(|| Sinkholed::Addresses(sinkhole.addresses.clone()));
        let options = Options { apex: apex.clone(), feeds: chosen, sinkholed, ttl: sinkhole.ttl, agency };
        let entry = Entry { apex, version: None, terms: Transfer { networks, key }, notify };
        publications.push(Publication { options, entry });
    }
    publications
}
