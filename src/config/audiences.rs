//! To whom feeds apply: groups of agencies, and what a feed says of agencies and groups.

use std::collections::HashMap;
use std::sync::Arc;

use super::faults::Problem;
use super::file::identifier;
use super::reader::{Reader, Table, list};
use crate::client::Agency;
use crate::serve::rulebook::Reach;

/// What a feed says of agencies, before it is known which there are.
pub(super) struct Wish {
    pub(super) feed: Arc<str>,
    line_of_only: usize,
    only: Vec<String>,
    line_of_except: usize,
    except: Vec<String>,
}

/// Takes what a feed's table says of agencies.
pub(super) fn wish<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Wish {
    let (line_of_only, line_of_except) = (table.line_of("agencies"), table.line_of("except_agencies"));
    let only = reader.take(table, "agencies", Vec::new(), list(identifier));
    let except = reader.take(table, "except_agencies", Vec::new(), list(identifier));
    Wish { feed: Arc::from(""), line_of_only, only, line_of_except, except }
}

/// Reads `[[group]]`, and tells which feeds do not apply to everybody.
pub(super) fn reaches<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    agencies: &[Agency],
    wishes: Vec<Wish>,
) -> Vec<Reach> {
    let mut known: HashMap<String, Vec<Arc<str>>> =
        agencies.iter().map(|agency| (agency.id.to_string(), vec![Arc::clone(&agency.id)])).collect();
    let mut groups = Vec::new();
    for mut table in reader.tables(top, "group") {
        let (line, line_of_members) = (table.line(), table.line_of("agencies"));
        let id = reader.required(&mut table, "id", "id = \"schools\"", identifier);
        let members = reader.required(&mut table, "agencies", "agencies = [\"so-tttt\"]", list(identifier));
        reader.finish(table, &[]);
        let (Some(id), Some(members)) = (id, members) else { continue };
        // Feeds name both: one word must not mean two things.
        if known.contains_key(&id) || groups.iter().any(|(other, _)| *other == id) {
            reader.fault(line, "group.id", Problem::Twice(id));
            continue;
        }
        groups.push((id, find(reader, &known, &members, line_of_members, "group.agencies")));
    }
    known.extend(groups);
    let mut reaches = Vec::new();
    for Wish { feed, line_of_only, only, line_of_except, except } in wishes {
        if only.is_empty() && except.is_empty() {
            continue;
        }
        let only = find(reader, &known, &only, line_of_only, "feed.agencies");
        let except = find(reader, &known, &except, line_of_except, "feed.except_agencies");
        reaches.push(Reach { feed, only, except });
    }
    reaches
}

/// The ids of the agencies that these words stand for.
fn find(
    reader: &mut Reader<'_>,
    known: &HashMap<String, Vec<Arc<str>>>,
    words: &[String],
    line: usize,
    setting: &str,
) -> Vec<Arc<str>> {
    let mut ids = Vec::new();
    for word in words {
        match known.get(word) {
            Some(members) => ids.extend(members.iter().cloned()),
            None => {
                let nearest = known
                    .keys()
                    .max_by(|one, other| strsim::jaro(one, word).total_cmp(&strsim::jaro(other, word)));
                let why = match nearest {
                    Some(nearest) => format!("there is none of this id; is {nearest:?} meant?"),
                    None => "there is no [[agency]]".to_owned(),
                };
                let expected = "ids of [[agency]] or [[group]]";
                reader.fault(line, setting, Problem::Value { got: word.clone(), why, expected });
            }
        }
    }
    ids
}
