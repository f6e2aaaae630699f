//! What one version of a feed lists that another one does not.
//!
//! Both are sorted in a scratch file, so that memory stays bounded however long they are. Indicators are
//! compared by what they list; a family or severity that changes is no difference.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::UpdateError;
use crate::feed::gate::{Gate, Reason};
use crate::feed::source::Source;
use crate::feed::store::Changes;
use crate::feed::{self, Diagnostic, Indicator, Sink, Value};
use crate::name::{self, Key};
use crate::policy::action::Action;
use crate::policy::compile::CompileError;
use crate::policy::runs::Runs;
use crate::policy::trigger::{Scope, Trigger};

/// Octets that are sorted in memory.
const BUDGET: usize = 32 << 20;
/// Families that are counted one by one; more are counted together.
const MOST_FAMILIES: usize = 10_000;
/// Octets of a URL that are compared as they are; of a longer one the rest is digested.
const MOST_URL: usize = 4096;
/// Which side an indicator is on: the highest bit of its number; the others are its family.
const NEW: u32 = 1 << 31;

/// Whether a version has more or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Only the new version has it.
    Added,
    /// Only the old version has it.
    Removed,
}

/// An indicator that only one of two versions has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Which one.
    pub sign: Sign,
    /// What is listed; of very long URLs only the start.
    pub value: Value,
    /// What of a query an RPZ wants it compared with.
    pub trigger: Option<Trigger>,
    /// Its malware family.
    pub family: Option<&'a str>,
    /// Why it would be left out, where it would be.
    pub left_out: Option<String>,
}

/// How two versions differ in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Indicators that both have.
    pub kept: u64,
    /// By kind: `name`, `network` (an RPZ's), `address` (a bare one, or a network) and `url`.
    pub kinds: BTreeMap<&'static str, Changes>,
    /// By family; those without one are under no name.
    pub families: BTreeMap<String, Changes>,
}

impl Totals {
    /// Of all kinds.
    pub fn changes(&self) -> Changes {
        self.kinds.values().fold(Changes::default(), |sum, it| Changes {
            added: sum.added + it.added,
            removed: sum.removed + it.removed,
        })
    }
}

/// Compares what `old` and `new` list, both read as `source` says; calls `visit` for each difference, names before
/// networks, addresses and URLs, until it breaks, and counts all of them. `scratch` is an empty file.
///
/// # Errors
/// [`UpdateError`], when one of the two cannot be read to its end, or the scratch file cannot be written.
pub fn compare(
    source: &Source,
    gate: &Gate,
    versions: [Option<File>; 2],
    now: i64,
    scratch: File,
    visit: &mut dyn FnMut(&Difference<'_>) -> ControlFlow<()>,
) -> Result<Totals, UpdateError> {
    let mut intake = Intake {
        source,
        runs: Runs::spilling(scratch, BUDGET),
        families: Vec::new(),
        numbers: BTreeMap::new(),
        side: 0,
        failure: None,
    };
    for (file, side) in versions.into_iter().zip([0, NEW]) {
        intake.side = side;
        let Some(file) = file else { continue };
        feed::parse(file, &source.reading(now), &mut intake).map_err(|error| UpdateError::Unreadable {
            feed: source.name.to_string(),
            why: Reason::Damaged(error.to_string()),
        })?;
        if let Some(failure) = intake.failure.take() {
            return Err(failure.into());
        }
    }
    let Intake { runs, families, .. } = intake;
    let runs = runs.finish().map_err(CompileError::from)?;
    let mut totals = Totals::default();
    let mut is_wanted = true;
    let merged = runs.merge::<io::Error>(|key, numbers| {
        let is_in = |side: u32| numbers.iter().find(|number| *number & NEW == side);
        let (sign, number) = match (is_in(0), is_in(NEW)) {
            (None, Some(number)) => (Sign::Added, number),
            (Some(number), None) => (Sign::Removed, number),
            _ => {
                totals.kept += 1;
                return Ok(());
            }
        };
        // Zero is no family.
        let family = (number & !NEW).checked_sub(1).and_then(|number| families.get(number as usize));
        let Some((value, trigger)) = decode(key) else { return Ok(()) };
        let add = |changes: &mut Changes| match sign {
            Sign::Added => changes.added += 1,
            Sign::Removed => changes.removed += 1,
        };
        add(totals.kinds.entry(kind(&value, trigger)).or_default());
        let word = family.map_or("", |family| family);
        let is_room = totals.families.len() < MOST_FAMILIES || totals.families.contains_key(word);
        add(totals.families.entry(if is_room { word } else { "other families" }.to_owned()).or_default());
        if is_wanted {
            let left_out = match &value {
                Value::Name(name, scope) if sign == Sign::Added => gate.objection(name, *scope),
                _ => None,
            };
            let difference = Difference { sign, value, trigger, family: family.map(|it| &**it), left_out };
            is_wanted = visit(&difference).is_continue();
        }
        Ok(())
    });
    merged.map_err(CompileError::from)?;
    Ok(totals)
}

/// The kind of an indicator, in words.
pub fn kind(value: &Value, trigger: Option<Trigger>) -> &'static str {
    match (value, trigger) {
        (Value::Name(..), _) => "name",
        (Value::Ip(_) | Value::Net(_), Some(_)) => "network",
        (Value::Ip(_) | Value::Net(_), None) => "address",
        (Value::Url(_), _) => "url",
    }
}

/// Takes the indicators of both versions.
struct Intake<'a> {
    source: &'a Source,
    runs: Runs,
    families: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, u32>,
    side: u32,
    failure: Option<CompileError>,
}

impl Intake<'_> {
    fn number(&mut self, family: Option<&Arc<str>>) -> u32 {
        let Some(family) = family else { return self.side };
        let families = &mut self.families;
        let number = *self.numbers.entry(Arc::clone(family)).or_insert_with(|| {
            families.push(Arc::clone(family));
            families.len() as u32
        });
        self.side | number
    }
}

impl Sink for Intake<'_> {
    fn indicator(&mut self, indicator: Indicator) {
        if self.failure.is_some() {
            return;
        }
        // What is no rule's in the feed's own words is none here.
        let is_exception = self.source.action.of(indicator.action.clone()).0 == Action::Passthru;
        let key = encode(&indicator.value, indicator.trigger, is_exception);
        let number = self.number(indicator.family.as_ref());
        if self.runs.push(&key, number).is_err() {
            self.failure = Some(CompileError::TooMany);
        } else if self.runs.is_time_to_spill() {
            self.failure = self.runs.spill().err().map(CompileError::from);
        }
    }

    fn diagnostic(&mut self, _: Diagnostic) {}
}

/// ```text
/// 00 trigger exception scope key      a name
/// 01 trigger exception net            an RPZ's network
/// 02 ff exception net                 a bare address or network
/// 03 ff exception octets              a URL; past 4096 octets, of the rest the SHA-256
///
/// net: 04 or 06, the address, the length of the prefix
/// ```
fn encode(value: &Value, trigger: Option<Trigger>, is_exception: bool) -> Vec<u8> {
    let place = trigger.and_then(|trigger| Trigger::ALL.iter().position(|other| *other == trigger));
    let start = |kind: u8| vec![kind, place.map_or(0xff, |place| place as u8), u8::from(is_exception)];
    let net = |net: IpNet| {
        let mut key = start(if trigger.is_some() { 1 } else { 2 });
        match net.addr() {
            IpAddr::V4(address) => {
                key.push(4);
                key.extend(address.octets());
            }
            IpAddr::V6(address) => {
                key.push(6);
                key.extend(address.octets());
            }
        }
        key.push(net.prefix_len());
        key
    };
    match value {
        Value::Name(name, scope) => {
            let mut key = start(0);
            key.push(*scope as u8);
            key.extend(Key::from(name).as_bytes());
            key
        }
        Value::Ip(address) => net((*address).into()),
        Value::Net(network) => net(*network),
        Value::Url(url) => {
            let mut key = start(3);
            let (first, rest) = url.as_bytes().split_at(url.len().min(MOST_URL));
            key.extend(first);
            if !rest.is_empty() {
                key.extend(Sha256::digest(rest));
            }
            key
        }
    }
}

fn decode(key: &[u8]) -> Option<(Value, Option<Trigger>)> {
    let (&[kind, place, _], rest) = key.split_first_chunk::<3>()?;
    let trigger = Trigger::ALL.get(usize::from(place)).copied();
    let value = match kind {
        0 => {
            let (&scope, key) = rest.split_first()?;
            let all = [Scope::Exact, Scope::Subtree, Scope::Below];
            let scope = all.into_iter().find(|it| *it as u8 == scope)?;
            Value::Name(name::from_key(key)?, scope)
        }
        1 | 2 => {
            let (&len, rest) = rest.split_last()?;
            let (&family, octets) = rest.split_first()?;
            let address: IpAddr = match family {
                4 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
                _ => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
            };
            let net = IpNet::new(address, len).ok()?;
            if len == net.max_prefix_len() { Value::Ip(address) } else { Value::Net(net) }
        }
        _ => Value::Url(String::from_utf8_lossy(rest.get(..MOST_URL).unwrap_or(rest)).into_owned()),
    };
    Some((value, trigger))
}
