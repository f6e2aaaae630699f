//! Collections of a TAXII 2.1 server: pages of objects, merged into one STIX bundle that is kept.
//!
//! Only what was added since the last time is asked for. Of an object the newest version counts; a revoked one
//! goes. What objects mean is not looked at.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::array::{self, Place, Spool, Writer, for_each_element, one_line};
use super::draft::{Bounded, Draft, Finished, TooLarge};
use super::http::{Ask, Client, HttpError, Reply};

const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";
/// The most octets of a page.
const MAX_PAGE: u64 = 64 << 20;
/// More pages than any collection has that pays.
const MOST_PAGES: usize = 10_000;
const HEAD: &str =
    "{\"type\":\"bundle\",\"id\":\"bundle--5ac7d25e-0000-4000-8000-000000000000\",\"objects\":[";
const END: &str = "]}";

/// What came.
#[derive(Debug)]
pub struct Collected {
    /// The bundle; `None` where nothing was added.
    pub content: Option<Finished>,
    /// From when on to ask the next time: where the server says so.
    pub added_after: Option<String>,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum TaxiiError {
    /// A page cannot be had.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A page is no TAXII envelope.
    #[error(
        "what the server sends is no page of TAXII 2.1 objects ({0}); the source must be a collection's URL"
    )]
    Page(serde_json::Error),
    /// The server leads in a circle.
    #[error("the server's pages have no end")]
    Endless,
    /// The bundle cannot be written.
    #[error("it cannot be written: {0}")]
    Write(io::Error),
}

impl TaxiiError {
    fn of_write(error: io::Error) -> Self {
        match TooLarge::of(&error) {
            Some(too_large) => HttpError::TooLarge(too_large).into(),
            None => Self::Write(error),
        }
    }
}

/// A page (TAXII 2.1, section 3.7).
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    more: bool,
    next: Option<String>,
    #[serde(default, borrow)]
    objects: Vec<&'a RawValue>,
}

/// What tells versions of an object apart (STIX 2.1, section 3.6).
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    modified: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    revoked: bool,
}

/// Objects by a digest of their ids: whoever knows two ids of one digest has better to do.
type Id = [u8; 16];

/// A version of an object.
#[derive(Debug, Clone, Copy)]
struct Version {
    /// Objects without a time of their own never change.
    modified: Option<Timestamp>,
    /// `None`: it is revoked.
    place: Option<Place>,
}

fn identify(text: &str) -> Option<(Id, Option<Timestamp>, bool)> {
    let object: Object<'_> = serde_json::from_str(text).ok()?;
    let digest = Sha256::digest(object.id.as_bytes());
    let modified = object.modified.and_then(|time| time.parse().ok());
    Some((*digest.first_chunk()?, modified, object.revoked))
}

/// The URL of a collection's objects.
fn objects_of(collection: &Url) -> Url {
    let mut url = collection.clone();
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/objects").unwrap_or(path);
    url.set_path(&format!("{path}/objects/"));
    url
}

/// Asks for what was added since `added_after`, and merges it into `held`, which this function gave.
///
/// # Errors
/// [`TaxiiError`].
pub async fn collect(
    client: &mut Client<'_>,
    collection: &Url,
    added_after: Option<&str>,
    mut held: Option<File>,
    max_size: u64,
    folder: &Path,
) -> Result<Collected, TaxiiError> {
    let added_after = added_after.filter(|_| held.is_some());
    let mut spool = Spool::new(folder).map_err(TaxiiError::Write)?;
    let mut added: HashMap<Id, Version> = HashMap::new();
    let mut last_added: Option<String> = None;
    let (mut after, mut next) = (added_after.map(str::to_owned), None);
    let objects = objects_of(collection);
    for number in 0.. {
        if number == MOST_PAGES {
            return Err(TaxiiError::Endless);
        }
        let mut url = objects.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(after.iter().map(|time| ("added_after", time)));
            query.extend_pairs(next.iter().map(|next| ("next", next)));
        }
        // An empty query would leave its mark.
        if url.query() == Some("") {
            url.set_query(None);
        }
        let mut page = Bounded::new(MAX_PAGE.min(max_size));
        let ask = Ask { url: &url, accept: MEDIA_TYPE, etag: None, last_modified: None };
        let Reply::Content(head) = client.get(ask, &mut page).await? else { return Err(TaxiiError::Endless) };
        if let Some(time) = head.field("x-taxii-date-added-last") {
            last_added = Some(time);
        }
        let envelope: Envelope<'_> = serde_json::from_slice(&page.octets).map_err(TaxiiError::Page)?;
        for object in &envelope.objects {
            add(object.get(), &mut added, &mut spool, max_size).map_err(TaxiiError::of_write)?;
        }
        if !envelope.more {
            break;
        }
        match envelope.next {
            Some(_) if envelope.next == next => return Err(TaxiiError::Endless),
            Some(_) => next = envelope.next,
            // Some servers have pages without saying what the next one is called (TAXII 2.1, section 3.4).
            None if last_added.is_some() && last_added != after => (after, next) = (last_added.clone(), None),
            None => return Err(TaxiiError::Endless),
        }
    }
    let added_after = last_added.or(added_after.map(str::to_owned));
    if added.is_empty() && held.is_some() {
        return Ok(Collected { content: None, added_after });
    }
    let content = merge(held.as_mut(), added, spool, max_size, folder).map_err(TaxiiError::of_write)?;
    Ok(Collected { content: Some(content), added_after })
}

fn add(object: &str, added: &mut HashMap<Id, Version>, spool: &mut Spool, max_size: u64) -> io::Result<()> {
    // What has no id is no object.
    let Some((id, modified, is_revoked)) = identify(object) else { return Ok(()) };
    if added.get(&id).is_some_and(|known| known.modified > modified) {
        return Ok(());
    }
    let place = if is_revoked { None } else { Some(spool.push(&one_line(object))?) };
    if spool.size() > max_size {
        return Err(io::Error::other(TooLarge::Octets(max_size)));
    }
    added.insert(id, Version { modified, place });
    Ok(())
}

/// Old objects in their order, each in its newest version, then new ones in the order in which they came.
fn merge(
    held: Option<&mut File>,
    mut added: HashMap<Id, Version>,
    spool: Spool,
    max_size: u64,
    folder: &Path,
) -> io::Result<Finished> {
    let mut spooled = spool.finish()?;
    let mut draft = Draft::create(folder, max_size)?;
    let mut writer = Writer::new(&mut draft, HEAD, END)?;
    let mut element = Vec::new();
    if let Some(held) = held {
        for_each_element(held, max_size, |_, text| {
            let Some((id, modified, _)) = identify(text) else { return Ok(()) };
            match added.remove(&id) {
                Some(new) if new.modified >= modified => match new.place {
                    Some(place) => {
                        array::read(&mut spooled, place, &mut element)?;
                        writer.push(&element)
                    }
                    None => Ok(()),
                },
                _ => writer.push(text.as_bytes()),
            }
        })?;
    }
    let mut places: Vec<Place> = added.into_values().filter_map(|version| version.place).collect();
    places.sort_unstable_by_key(Place::start);
    for place in places {
        array::read(&mut spooled, place, &mut element)?;
        writer.push(&element)?;
    }
    writer.finish()?;
    draft.flush()?;
    draft.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::fetch::http::tests::{options, serve_paths};

    const COLLECTION: &str = "/api1/collections/c/objects/";

    fn object(id: &str, modified: &str, more: &str) -> String {
        format!(
            "{{\"type\":\"indicator\",\"id\":\"{id}\",\n\"modified\":\"2026-11-{modified}T00:00:00Z\"{more}}}"
        )
    }

    fn page(objects: &[String], more: &str, last: &str) -> String {
        let body = format!("{{\"objects\":[{}]{more}}}", objects.join(","));
        let len = body.len();
        format!("HTTP/1.1 200 OK\r\nX-TAXII-Date-Added-Last: {last}\r\nContent-Length: {len}\r\n\r\n{body}")
    }

    /// The ids and times of what comes, whether anything was new, and from when on to ask next.
    async fn check(
        pages: &[(&str, String)],
        added_after: Option<&str>,
        held: &mut Option<File>,
        expected: Result<(Option<&str>, &str), &str>,
    ) {
        let base =
            serve_paths(pages.iter().map(|(path, page)| (format!("{COLLECTION}{path}"), page.clone()))).await;
        let collection = base.join("/api1/collections/c").unwrap();
        let (options, folder) = (options(), tempfile::tempdir().unwrap());
        let mut client = Client::new(&options).unwrap();
        let old = held.as_ref().map(|file| file.try_clone().unwrap());
        let got = collect(&mut client, &collection, added_after, old, options.max_size, folder.path()).await;
        match (got, expected) {
            (Ok(Collected { content, added_after }), Ok((objects, after))) => {
                assert_eq!(added_after.as_deref(), Some(after));
                assert_eq!(content.is_some(), objects.is_some());
                let (Some(mut content), Some(objects)) = (content, objects) else { return };
                let mut text = String::new();
                content.file.read_to_string(&mut text).unwrap();
                let bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(bundle["type"], "bundle");
                let got: Vec<String> = bundle["objects"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|it| {
                        format!("{}@{}", it["id"].as_str().unwrap(), &it["modified"].as_str().unwrap()[8..10])
                    })
                    .collect();
                assert_eq!(got.join(" "), objects);
                *held = Some(content.file);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }

    #[tokio::test]
    async fn pages_become_one_bundle_that_follows() {
        let mut held = None;
        let revoked = ",\"revoked\":true";
        let pages = [
            (
                "",
                page(
                    &[object("a", "01", ""), object("b", "02", "")],
                    ",\"more\":true,\"next\":\"p 2\"",
                    "t1",
                ),
            ),
            (
                "?next=p+2",
                page(&[object("c", "01", ""), object("b", "01", ""), object("r", "01", revoked)], "", "t2"),
            ),
        ];
        check(&pages, None, &mut held, Ok((Some("a@01 b@02 c@01"), "t2"))).await;
        // Only what is new is asked for: a changed object keeps its place, a revoked one goes, an older one does not count.
        let pages = [(
            "?added_after=t2",
            page(
                &[
                    object("d", "03", ""),
                    object("a", "03", ""),
                    object("c", "03", revoked),
                    object("b", "01", ""),
                ],
                "",
                "t3",
            ),
        )];
        check(&pages, Some("t2"), &mut held, Ok((Some("a@03 b@02 d@03"), "t3"))).await;
        let nothing = [("?added_after=t3", page(&[], "", "t3"))];
        check(&nothing, Some("t3"), &mut held, Ok((None, "t3"))).await;
        // Without what it would be added to, all is asked for.
        let pages = [("", page(&[object("a", "01", "")], "", "t3"))];
        check(&pages, Some("t3"), &mut None, Ok((Some("a@01"), "t3"))).await;
        // A server that names no next page.
        let pages = [
            ("", page(&[object("a", "01", "")], ",\"more\":true", "t1")),
            ("?added_after=t1", page(&[object("b", "01", "")], "", "t2")),
        ];
        check(&pages, None, &mut None, Ok((Some("a@01 b@01"), "t2"))).await;
    }

    #[tokio::test]
    async fn what_is_no_collection_is_refused() {
        let endless = page(&[], ",\"more\":true,\"next\":\"n\"", "t1");
        let pages = [("", endless.clone()), ("?next=n", endless)];
        check(&pages, None, &mut None, Err("have no end")).await;
        let html = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_owned();
        check(&[("", html)], None, &mut None, Err("no page of TAXII 2.1 objects")).await;
        check(&[], None, &mut None, Err("404")).await;
        let large = page(&[object(&"a".repeat(99_000), "01", "")], "", "t1");
        check(&[("", large)], None, &mut None, Ok((Some(&format!("{}@01", "a".repeat(99_000))), "t1"))).await;
        let larger = page(&[object(&"a".repeat(101_000), "01", "")], "", "t1");
        check(&[("", larger)], None, &mut None, Err("larger than max_size")).await;
    }
}
