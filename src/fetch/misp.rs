//! MISP feeds: a folder with `manifest.json`, which says when each event changed, and a file for each event.
//!
//! Only what changed is fetched again; all events are kept as one file in the shape that MISP's own API has. An event that
//! cannot be had is left as it was and asked for the next time. What events say is not looked at.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::Url;

use super::array::{self, Place, Spool, Writer, for_each_element, one_line};
use super::draft::{Bounded, Draft, Finished, TooLarge};
use super::http::{Ask, Client, HttpError, Reply};

/// The most octets of a manifest.
const MAX_MANIFEST: u64 = 64 << 20;
/// Events are fetched for so long; the others are asked for the next time.
const LONGEST: Duration = Duration::from_secs(3600);
/// After so many failures in a row nobody is asked any more.
const MOST_FAILURES: usize = 5;
const HEAD: &str = "{\"response\":[";
const END: &str = "]}";

/// What came.
#[derive(Debug)]
pub struct Gathered {
    /// The events; `None` where none changed.
    pub content: Option<Finished>,
    /// What the server says of the manifest, to ask conditionally the next time. Left out while events are missing.
    pub etag: Option<String>,
    /// … likewise.
    pub last_modified: Option<String>,
    /// How many events could not be had, and why the last one could not.
    pub missing: Option<(usize, EventError)>,
}

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
pub enum MispError {
    /// The manifest cannot be had.
    #[error("manifest.json: {0}")]
    Manifest(#[from] HttpError),
    /// It is no manifest.
    #[error("manifest.json is no manifest of a MISP feed ({0}); the source must be the folder's URL")]
    NoManifest(serde_json::Error),
    /// The events cannot be written.
    #[error("it cannot be written: {0}")]
    Write(io::Error),
}

/// Why an event is missing.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It cannot be had.
    #[error("{uuid}.json: {source}")]
    Http {
        /// Which one.
        uuid: String,
        /// Why.
        source: HttpError,
    },
    /// It is no event.
    #[error("{uuid}.json: it is no event: {source}")]
    NoEvent {
        /// Which one.
        uuid: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It is another event.
    #[error("{uuid}.json: it has another event's uuid")]
    Another {
        /// Which one.
        uuid: String,
    },
    /// Time is up.
    #[error("an hour was over")]
    Late,
}

impl MispError {
    fn of_write(error: io::Error) -> Self {
        match TooLarge::of(&error) {
            Some(too_large) => HttpError::TooLarge(too_large).into(),
            None => Self::Write(error),
        }
    }
}

/// A time in seconds, as a text or as a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "TimeText")]
struct Time(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum TimeText {
    Number(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl From<TimeText> for Time {
    fn from(text: TimeText) -> Self {
        Self(match text {
            TimeText::Number(number) => number,
            TimeText::Text(text) => text.trim().parse().unwrap_or_default(),
            TimeText::Other(_) => 0,
        })
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    timestamp: Time,
}

/// An event's file.
#[derive(Deserialize)]
struct EventFile<'a> {
    #[serde(borrow, rename = "Event")]
    event: &'a RawValue,
}

/// What tells versions of an event apart.
#[derive(Deserialize)]
struct Event {
    uuid: String,
    #[serde(default)]
    timestamp: Time,
}

/// A line of the file that is kept.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "Event")]
    event: Event,
}

/// What a conditional request takes, of the last time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// The manifest's entity tag.
    pub etag: Option<&'a str>,
    /// … and the time of its last change.
    pub last_modified: Option<&'a str>,
}

/// Asks for the manifest and for what changed; takes the other events from `held`, which this function gave.
///
/// # Errors
/// [`MispError`].
pub async fn gather(
    client: &mut Client<'_>,
    feed: &Url,
    validators: Validators<'_>,
    held: Option<File>,
    max_size: u64,
    folder: &Path,
) -> Result<Gathered, MispError> {
    let mut base = feed.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", feed.path()));
    }
    let mut manifest = Bounded::new(MAX_MANIFEST.min(max_size));
    let url = within(&base, "manifest.json");
    let Validators { etag, last_modified } = if held.is_some() { validators } else { Validators::default() };
    let ask = Ask { url: &url, accept: "application/json", etag, last_modified };
    let head = match client.get(ask, &mut manifest).await? {
        Reply::Content(head) => head,
        Reply::Unchanged => {
            let (etag, last_modified) = (etag.map(str::to_owned), last_modified.map(str::to_owned));
            return Ok(Gathered { content: None, etag, last_modified, missing: None });
        }
    };
    let manifest: BTreeMap<String, Entry> =
        serde_json::from_slice(&manifest.octets).map_err(MispError::NoManifest)?;
    let mut held = Held::new(held, max_size).map_err(MispError::Write)?;
    let mut spool = Spool::new(folder).map_err(MispError::Write)?;
    let mut fetched = HashMap::new();
    let (mut missing, mut failures) = (None, 0);
    let until = Instant::now() + LONGEST;
    for (uuid, entry) in &manifest {
        // Whatever else stands there must not lead out of the folder.
        if !is_uuid(uuid) || held.events.get(uuid).is_some_and(|(time, _)| *time >= entry.timestamp) {
            continue;
        }
        let event = if failures >= MOST_FAILURES || Instant::now() >= until {
            Err(EventError::Late)
        } else {
            fetch_event(client, &base, uuid, max_size).await
        };
        match event {
            Ok(event) => {
                failures = 0;
                let place = spool.push(&event).map_err(MispError::Write)?;
                if spool.size() > max_size {
                    return Err(HttpError::TooLarge(TooLarge::Octets(max_size)).into());
                }
                fetched.insert(uuid.as_str(), place);
            }
            Err(error) => {
                let is_late = matches!(error, EventError::Late);
                failures +=
                    usize::from(matches!(&error, EventError::Http { source, .. } if !is_of_one(source)));
                let count = missing.as_ref().map_or(0, |(count, _)| *count) + 1;
                // Why it began to fail says more than that it was given up.
                let reason = match missing.take() {
                    Some((_, reason)) if is_late => reason,
                    _ => error,
                };
                missing = Some((count, reason));
            }
        }
    }
    let is_same = fetched.is_empty() && held.events.keys().all(|uuid| manifest.contains_key(uuid));
    let content = if is_same && held.file.is_some() {
        None
    } else {
        let uuids = manifest.keys().map(String::as_str);
        let content = write(uuids, &fetched, spool, &mut held, max_size, folder);
        Some(content.map_err(MispError::of_write)?)
    };
    let is_whole = missing.is_none();
    let kept = |text: Option<String>| text.filter(|_| is_whole);
    Ok(Gathered { content, etag: kept(head.etag()), last_modified: kept(head.last_modified()), missing })
}

/// Whether a failure is this event's alone, and says nothing of the others.
fn is_of_one(error: &HttpError) -> bool {
    matches!(error, HttpError::Status { status: 400..=428 | 430..=499, .. } | HttpError::TooLarge(_))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|octet| octet.is_ascii_hexdigit() || octet == b'-')
}

fn within(base: &Url, file: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{file}", base.path()));
    url
}

/// The event as one line: `{"Event": …}`.
async fn fetch_event(
    client: &mut Client<'_>,
    base: &Url,
    uuid: &str,
    max_size: u64,
) -> Result<Vec<u8>, EventError> {
    let uuid = uuid.to_owned();
    let url = within(base, &format!("{uuid}.json"));
    let ask = Ask { url: &url, accept: "application/json", etag: None, last_modified: None };
    let mut octets = Bounded::new(max_size);
    match client.get(ask, &mut octets).await {
        Ok(Reply::Content(_)) => {}
        // Nobody asked under a condition.
        Ok(Reply::Unchanged) => return Err(EventError::Another { uuid }),
        Err(source) => return Err(EventError::Http { uuid, source }),
    }
    let read = || {
        let file: EventFile<'_> = serde_json::from_slice(&octets.octets)?;
        let event: Event = serde_json::from_str(file.event.get())?;
        Ok((event, file.event))
    };
    match read() {
        Err(source) => Err(EventError::NoEvent { uuid, source }),
        Ok((event, _)) if event.uuid != uuid => Err(EventError::Another { uuid }),
        Ok((_, text)) => Ok([b"{\"Event\":", &*one_line(text.get()), b"}"].concat()),
    }
}

/// The events that are there.
struct Held {
    file: Option<File>,
    events: HashMap<String, (Time, Place)>,
}

impl Held {
    fn new(file: Option<File>, max_size: u64) -> io::Result<Self> {
        let mut held = Self { file, events: HashMap::new() };
        if let Some(file) = &mut held.file {
            let events = &mut held.events;
            for_each_element(file, max_size, |place, text| {
                if let Ok(Line { event }) = serde_json::from_str(text) {
                    events.insert(event.uuid, (event.timestamp, place));
                }
                Ok(())
            })?;
        }
        Ok(held)
    }
}

fn write<'a>(
    uuids: impl Iterator<Item = &'a str>,
    fetched: &HashMap<&str, Place>,
    spool: Spool,
    held: &mut Held,
    max_size: u64,
    folder: &Path,
) -> io::Result<Finished> {
    let mut spooled = spool.finish()?;
    let mut draft = Draft::create(folder, max_size)?;
    let mut writer = Writer::new(&mut draft, HEAD, END)?;
    let mut event = Vec::new();
    for uuid in uuids {
        match (fetched.get(uuid), held.events.get(uuid), &mut held.file) {
            (Some(place), ..) => array::read(&mut spooled, *place, &mut event)?,
            (None, Some((_, place)), Some(file)) => array::read(file, *place, &mut event)?,
            _ => continue,
        }
        writer.push(&event)?;
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

    /// An event's uuid, from one letter.
    fn uuid(letter: char) -> String {
        format!("{}-0000-4000-8000-000000000000", letter.to_string().repeat(8))
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Gathers from a manifest of `x` at 3 and so on, and events likewise (which may be others than it says).
    /// Gives the events that come, and how many are missing.
    async fn gather_from(manifest: &str, events: &str, held: &mut Option<File>) -> (Option<String>, usize) {
        let versions = |text: &str| -> Vec<(char, String)> {
            let version = |word: &str| (word.chars().next().unwrap(), word[1..].to_owned());
            text.split_whitespace().map(version).collect()
        };
        let entries = versions(manifest).into_iter().map(|(letter, time)| {
            format!("\"{}\":{{\"timestamp\":\"{time}\",\"info\":\"a\"}}", uuid(letter))
        });
        let manifest = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
        let files = versions(events).into_iter().map(|(letter, time)| {
            let event = format!("{{\n\"Event\":{{\"uuid\":\"{}\",\n \"timestamp\":{time}}}}}", uuid(letter));
            (format!("/feed/{}.json", uuid(letter)), ok(&event))
        });
        let files: Vec<_> = files.chain([("/feed/manifest.json".to_owned(), ok(&manifest))]).collect();
        let base = serve_paths(files.into_iter()).await;
        let (options, folder) = (options(), tempfile::tempdir().unwrap());
        let mut client = Client::new(&options).unwrap();
        let old = held.as_ref().map(|file| file.try_clone().unwrap());
        let feed = base.join("/feed").unwrap();
        let gathered =
            gather(&mut client, &feed, Validators::default(), old, options.max_size, folder.path())
                .await
                .unwrap();
        let missing = gathered.missing.map_or(0, |(count, _)| count);
        assert_eq!(gathered.etag.is_some(), missing == 0, "asked again in full while events are missing");
        let Some(mut content) = gathered.content else { return (None, missing) };
        let mut text = String::new();
        content.file.read_to_string(&mut text).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let events = value["response"].as_array().unwrap().iter().map(|it| {
            let event = &it["Event"];
            format!("{}{}", &event["uuid"].as_str().unwrap()[..1], event["timestamp"])
        });
        let events = events.collect::<Vec<_>>().join(" ");
        *held = Some(content.file);
        (Some(events), missing)
    }

    #[tokio::test]
    async fn only_what_changed_is_fetched() {
        #[track_caller]
        fn check(
            (events, missing): (Option<String>, usize),
            expected: Option<&str>,
            expected_missing: usize,
        ) {
            assert_eq!((events.as_deref(), missing), (expected, expected_missing));
        }
        let mut held = None;
        // One that is not there does not cost the others.
        check(gather_from("a1 b1 c1", "a1 c1", &mut held).await, Some("a1 c1"), 1);
        // What is there already is not on this server any more, and not asked for.
        check(gather_from("a1 b1 c2", "b1 c2", &mut held).await, Some("a1 b1 c2"), 0);
        check(gather_from("a1 b1 c2", "", &mut held).await, None, 0);
        // A changed one that cannot be had stays as it was.
        check(gather_from("a1 b2 c2", "", &mut held).await, None, 1);
        // What has left the manifest goes.
        check(gather_from("a1 b1", "", &mut held).await, Some("a1 b1"), 0);
        check(gather_from("", "", &mut held).await, Some(""), 0);
    }

    #[tokio::test]
    async fn what_is_no_feed_is_refused() {
        let (options, folder) = (options(), tempfile::tempdir().unwrap());
        for (body, expected) in [("<html>", "no manifest"), ("[1]", "no manifest")] {
            let base = serve_paths([("/manifest.json".to_owned(), ok(body))].into_iter()).await;
            let mut client = Client::new(&options).unwrap();
            let gathered = gather(&mut client, &base, Validators::default(), None, 1000, folder.path()).await;
            let error = gathered.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        // Names that would lead elsewhere are asked of nobody.
        let odd = format!("{{\"../../{}\":{{\"timestamp\":\"1\"}},\"b\":{{}}}}", "a".repeat(30));
        let base = serve_paths([("/manifest.json".to_owned(), ok(&odd))].into_iter()).await;
        let mut client = Client::new(&options).unwrap();
        let gathered =
            gather(&mut client, &base, Validators::default(), None, 1000, folder.path()).await.unwrap();
        assert!(gathered.missing.is_none());
        assert!(!is_uuid("../a") && is_uuid(&uuid('a')));
    }
}
