//! What is known of a feed's versions, and its text on disk (`state.json`): one JSON object, which only
//! this file reads and writes.
//!
//! Knows no files and no clock; which version the gate lets pass is `gate`'s to say.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use super::BUFFER;

/// The layout of `state.json`. One of another layout is not read.
pub(super) const LAYOUT: u32 = 1;
/// Refused versions that are kept for review; the oldest go first.
const MOST_REFUSED: usize = 3;
/// … and their octets together, except that the newest always stays.
const MOST_REFUSED_OCTETS: u64 = 1 << 30;
/// Versions that somebody rejected and that are not asked about again.
const MOST_REJECTED: usize = 200;
/// Events that are kept.
const MOST_EVENTS: usize = 200;

/// The SHA-256 of a version's octets as they came: its name on disk and in commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 of 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// That of all octets that `content` gives.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(mut content: impl Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(len) => hasher.update(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Its first digits, which tell the versions of a feed apart for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut digest = [0; 32];
        if text.len() != 64
            || !text.bytes().all(|digit| digit.is_ascii_digit() || matches!(digit, b'a'..=b'f'))
        {
            return Err(DigestError);
        }
        for (octet, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
            *octet = value(digits[0]) << 4 | value(digits[1]);
        }
        Ok(Self(digest))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Everything that is known of one feed. Times are microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub(super) layout: u32,
    /// The version that policies are built from.
    pub accepted: Option<Accepted>,
    /// The one before, for comparison.
    pub previous: Option<Accepted>,
    /// The last that the origin gave, whatever became of it.
    pub latest: Option<Version>,
    /// A version that a build is reading.
    pub(super) pinned: Option<Version>,
    /// Refused ones, the newest last.
    pub refused: Vec<Refused>,
    /// A refused version that somebody wants taken all the same.
    pub approval: Option<Word>,
    /// Versions that somebody does not want to hear of again.
    pub rejected: Vec<Word>,
    /// The latest version when somebody approved another one: that one stays, until there is a newer one or this is approved.
    pub passed_over: Option<Digest>,
    /// What the origin's file looked like when it was last copied.
    pub seen: Option<Seen>,
    /// What whoever fetches the feed wants to remember: validators, serial numbers, failures. Its own affair.
    pub fetcher: Option<serde_json::Value>,
    /// What happened, the newest last.
    pub history: Vec<Event>,
}

/// Content that came once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Which content.
    pub digest: Digest,
    /// Its octets, as they came.
    pub size: u64,
    /// When it came.
    pub arrived_at: i64,
    /// From where: a path or a URL.
    pub origin: String,
}

/// How much a version lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Names.
    pub names: u64,
    /// Addresses and networks that an RPZ's triggers name.
    pub networks: u64,
    /// Addresses and networks of other lists.
    pub addresses: u64,
    /// URLs.
    pub urls: u64,
    /// Lines that gave nothing.
    pub faults: u64,
}

impl Counts {
    /// Indicators of all kinds.
    pub fn indicators(&self) -> u64 {
        self.names + self.networks + self.addresses + self.urls
    }
}

/// A version that is, or was, in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Which one.
    pub version: Version,
    /// How much it lists.
    pub counts: Counts,
    /// How many of that are left out, because they would take protected names.
    #[serde(default)]
    pub set_aside: u64,
    /// When the first of its indicators ends: policies are built anew then, without it.
    #[serde(default)]
    pub next_expiry: Option<i64>,
    /// Since when.
    pub accepted_at: i64,
    /// Who approved it, where the gate had refused it.
    pub approval: Option<Word>,
}

/// A version that the gate did not let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which one.
    pub version: Version,
    /// How much it lists.
    pub counts: Counts,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// When.
    pub refused_at: i64,
    /// By which rules, and compared with which accepted version: others may judge otherwise.
    pub judge: Judge,
    /// What would change, where that could be told.
    pub changes: Option<Changes>,
}

/// What a judgement depends on besides the version itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judge {
    /// A digest of the gate's and the feed's settings.
    pub rules: Digest,
    /// The version in force then.
    pub base: Option<Digest>,
}

/// How many indicators come and go from one version to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Only the new one has them.
    pub added: u64,
    /// Only the old one has them.
    pub removed: u64,
}

/// What somebody decided about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Which one.
    pub digest: Digest,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: i64,
}

/// What happened to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: i64,
    /// What.
    pub what: Happening,
    /// To which one.
    pub digest: Digest,
    /// By whom, where it was not the gate.
    pub by: Option<String>,
    /// Why.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// What can happen to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// It was put in force.
    Accepted,
    /// The gate refused it.
    Refused,
    /// Somebody wants it all the same.
    Approved,
    /// Somebody does not want it.
    Rejected,
}

impl Happening {
    /// Its word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// What a file's inode says, by which a change shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    /// Nanoseconds since 1970: of the content, and of the inode itself, which no tool can set back.
    mtime: i64,
    ctime: i64,
}

impl Stamp {
    /// That of an open file, or of a path.
    pub fn of(facts: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            dev: facts.dev(),
            ino: facts.ino(),
            size: facts.size(),
            mtime: nanoseconds(facts.mtime(), facts.mtime_nsec()),
            ctime: nanoseconds(facts.ctime(), facts.ctime_nsec()),
        }
    }

    /// Whether the last that happened to the file was not that somebody wrote to it: it was renamed, or its times
    /// were set, by whoever had written all of it.
    pub fn is_put(&self) -> bool {
        self.ctime > self.mtime
    }

    /// When the file last changed, in microseconds since 1970; what tools set its time to does not count.
    pub fn changed_at(&self) -> i64 {
        self.ctime / 1000
    }
}

/// A file as it was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// What its inode said before it was read.
    pub stamp: Stamp,
    /// When that was.
    pub at: i64,
}

/// How long after a change a further one may leave the same stamp, in microseconds.
const TICK: i64 = 100_000;

impl Seen {
    /// Whether a file with this stamp holds what was copied, unless it has changed within the tick of the clock in
    /// which it was read.
    pub fn is_alike(&self, path: &str, stamp: &Stamp) -> bool {
        self.path == path && self.stamp == *stamp
    }

    /// Whether a file with this stamp holds, for sure, what was copied.
    pub fn is_same(&self, path: &str, stamp: &Stamp) -> bool {
        let is_settled = self.at.saturating_sub(self.stamp.changed_at()) > TICK;
        is_settled && self.is_alike(path, stamp)
    }
}

/// A version that the next build should try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub version: Version,
    /// Who wants it whatever the gate says.
    pub approval: Option<Word>,
}

impl State {
    /// What the next build should try in place of the accepted version: one that somebody approved, or the latest
    /// unless these very rules refused it already, or somebody did.
    pub fn candidate(&self, rules: Digest) -> Option<Candidate> {
        let accepted = self.accepted_digest();
        if let Some(approval) = self.approval.as_ref().filter(|word| Some(word.digest) != accepted)
            && let Some(version) = self.version(approval.digest)
        {
            return Some(Candidate { version: version.clone(), approval: Some(approval.clone()) });
        }
        let latest = self.latest.as_ref().filter(|latest| Some(latest.digest) != accepted)?;
        let judge = Judge { rules, base: accepted };
        let is_judged = self.refused.iter().any(|it| it.version.digest == latest.digest && it.judge == judge);
        if is_judged || self.is_rejected(latest.digest) || self.passed_over == Some(latest.digest) {
            return None;
        }
        Some(Candidate { version: latest.clone(), approval: None })
    }

    /// The accepted version's digest.
    pub fn accepted_digest(&self) -> Option<Digest> {
        self.accepted.as_ref().map(|accepted| accepted.version.digest)
    }

    /// A version that is still known.
    pub fn version(&self, digest: Digest) -> Option<&Version> {
        let accepted = self.accepted.iter().chain(&self.previous).map(|accepted| &accepted.version);
        let refused = self.refused.iter().map(|refused| &refused.version);
        accepted.chain(refused).chain(&self.latest).chain(&self.pinned).find(|it| it.digest == digest)
    }

    /// Whether somebody does not want this version.
    pub fn is_rejected(&self, digest: Digest) -> bool {
        self.rejected.iter().any(|word| word.digest == digest)
    }

    /// The newest refused version that nobody has decided about, unless a newer one is in force.
    pub fn pending(&self) -> Option<&Refused> {
        let arrived = self.accepted.as_ref().map(|accepted| accepted.version.arrived_at);
        let is_old = |version: &Version| arrived.is_some_and(|arrived| version.arrived_at < arrived);
        let is_latest =
            |version: &Version| self.latest.as_ref().is_some_and(|latest| latest.digest == version.digest);
        self.refused
            .iter()
            .rev()
            .filter(|refused| is_latest(&refused.version) || !is_old(&refused.version))
            .find(|refused| !self.is_rejected(refused.version.digest))
    }

    /// Puts a version in force.
    pub fn accept(&mut self, accepted: Accepted) {
        let digest = accepted.version.digest;
        let event = Event {
            at: accepted.accepted_at,
            what: Happening::Accepted,
            digest,
            by: accepted.approval.as_ref().map(|word| word.by.clone()),
            reasons: Vec::new(),
        };
        self.refused.retain(|refused| refused.version.digest != digest);
        self.approval.take_if(|word| word.digest == digest);
        if accepted.approval.is_some() || self.passed_over == Some(digest) {
            let latest = self.latest.as_ref().map(|latest| latest.digest);
            self.passed_over = latest.filter(|latest| *latest != digest);
        }
        let old = self.accepted.replace(accepted);
        if let Some(old) = old.filter(|old| old.version.digest != digest) {
            self.previous = Some(old);
            self.note(event);
        } else if self.previous.is_none() {
            self.note(event);
        }
        self.pinned = None;
    }

    /// Counts the version in force anew: what is left out of it may change, and how it is read.
    pub fn recount(&mut self, counts: Counts, set_aside: u64, next_expiry: Option<i64>) {
        if let Some(accepted) = &mut self.accepted {
            (accepted.counts, accepted.set_aside, accepted.next_expiry) = (counts, set_aside, next_expiry);
        }
    }

    /// Whether an indicator of the version in force has ended since it was read.
    pub fn is_due(&self, now: i64) -> bool {
        self.accepted.as_ref().and_then(|accepted| accepted.next_expiry).is_some_and(|end| end <= now)
    }

    /// Notes how a refused version differs from the one in force.
    pub fn compare(&mut self, digest: Digest, changes: Changes) {
        if let Some(refused) = self.refused.iter_mut().find(|refused| refused.version.digest == digest) {
            refused.changes = Some(changes);
        }
    }

    /// Keeps a version that the gate refused, for review; `approval` is what was known of it when it was judged.
    pub fn refuse(&mut self, refused: Refused, approval: Option<&Word>) {
        let digest = refused.version.digest;
        let is_news =
            !self.refused.iter().any(|old| old.version.digest == digest && old.reasons == refused.reasons);
        if is_news {
            self.note(Event {
                at: refused.refused_at,
                what: Happening::Refused,
                digest,
                by: None,
                reasons: refused.reasons.clone(),
            });
        }
        // A version that cannot even be read is not approved for ever; one that was approved meanwhile is judged again.
        self.approval.take_if(|word| Some(&*word) == approval);
        self.refused.retain(|old| old.version.digest != digest);
        self.refused.push(refused);
        let octets = |refused: &[Refused]| refused.iter().map(|it| it.version.size).sum::<u64>();
        while self.refused.len() > MOST_REFUSED
            || self.refused.len() > 1 && octets(&self.refused) > MOST_REFUSED_OCTETS
        {
            self.refused.remove(0);
        }
        self.pinned = None;
    }

    /// Notes that somebody wants a version whatever the gate says.
    pub fn approve(&mut self, word: Word) {
        self.rejected.retain(|other| other.digest != word.digest);
        self.note(Event::of(Happening::Approved, &word));
        self.approval = Some(word);
    }

    /// Notes that somebody does not want a version.
    pub fn reject(&mut self, word: Word) {
        self.approval.take_if(|other| other.digest == word.digest);
        self.rejected.retain(|other| other.digest != word.digest);
        self.note(Event::of(Happening::Rejected, &word));
        self.rejected.push(word);
        trim(&mut self.rejected, MOST_REJECTED);
    }

    fn note(&mut self, event: Event) {
        self.history.push(event);
        trim(&mut self.history, MOST_EVENTS);
    }

    /// Whether the content of this version is still of use.
    pub(super) fn keeps(&self, digest: Digest) -> bool {
        self.version(digest).is_some()
    }
}

impl Event {
    fn of(what: Happening, word: &Word) -> Self {
        let Word { digest, by, reason, at } = word;
        Self {
            at: *at,
            what,
            digest: *digest,
            by: Some(by.clone()),
            reasons: reason.iter().cloned().collect(),
        }
    }
}

/// Drops the oldest.
fn trim<T>(list: &mut Vec<T>, most: usize) {
    let surplus = list.len().saturating_sub(most);
    list.drain(..surplus);
}
