//! What a run measures, and in which size, from the environment. Nothing is started here.

use std::path::PathBuf;
use std::time::Duration;

/// A part of the run that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Hits,
    Cached,
    Mixed,
    Misses,
    Log,
    Large,
    Steady,
    Start,
    Reload,
    Dnsperf,
}

const PARTS: [(&str, Part); 10] = [
    ("a", Part::Hits),
    ("b", Part::Cached),
    ("c", Part::Mixed),
    ("d", Part::Misses),
    ("log", Part::Log),
    ("large", Part::Large),
    ("steady", Part::Steady),
    ("start", Part::Start),
    ("reload", Part::Reload),
    ("dnsperf", Part::Dnsperf),
];

pub(crate) struct Plan {
    /// Listed names for everybody, and for sachdns alone.
    pub(crate) listed: usize,
    pub(crate) listed_large: usize,
    pub(crate) popular: usize,
    /// Queries on their way at once, in a closed loop.
    pub(crate) in_flight: usize,
    /// Queries a second, in an open loop, and while a list is replaced.
    pub(crate) steady_rate: u32,
    pub(crate) reload_rate: u32,
    pub(crate) window: Duration,
    pub(crate) repetitions: usize,
    /// How long a peer may take to read its list, at the start and anew.
    pub(crate) patience: Duration,
    /// Where the Markdown and the chart go; to standard output otherwise.
    pub(crate) write: Option<PathBuf>,
    only: Option<Vec<String>>,
    parts: Vec<Part>,
}

impl Plan {
    /// Reads `SACHDNS_BENCH`, `SACHDNS_BENCH_ONLY`, `SACHDNS_BENCH_LOADS` and `SACHDNS_BENCH_WRITE`.
    /// A word that means nothing ends the bench.
    pub(crate) fn from_env(servers: &[&str]) -> Self {
        let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
        let (listed, listed_large, popular) =
            if is_short { (1000, 2000, 500) } else { (1_000_000, 5_000_000, 50_000) };
        let window = Duration::from_millis(if is_short { 100 } else { 2000 });
        let names = PARTS.map(|(name, _)| name);
        let parts = words("SACHDNS_BENCH_LOADS", &names);
        let is_chosen = |name: &str| parts.as_ref().is_none_or(|parts| parts.iter().any(|part| part == name));
        let parts = PARTS.iter().filter(|(name, _)| is_chosen(name)).map(|(_, part)| *part).collect();
        Self {
            listed,
            listed_large,
            popular,
            in_flight: 128,
            steady_rate: 20_000,
            reload_rate: 5_000,
            window,
            repetitions: if is_short { 1 } else { 5 },
            patience: Duration::from_secs(if is_short { 2 } else { 180 }),
            write: std::env::var_os("SACHDNS_BENCH_WRITE").map(PathBuf::from),
            only: words("SACHDNS_BENCH_ONLY", servers),
            parts,
        }
    }

    pub(crate) fn measures(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether a server is wanted; all are, unless some are named.
    pub(crate) fn includes(&self, server: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == server))
    }
}

/// The words of a variable, each of which is one of `known`.
fn words(variable: &str, known: &[&str]) -> Option<Vec<String>> {
    let value = std::env::var(variable).ok()?;
    let words: Vec<String> =
        value.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    if let Some(word) = words.iter().find(|word| !known.contains(&word.as_str())) {
        eprintln!("{variable}: {word:?} is none of {}", known.join(", "));
        std::process::exit(2);
    }
    Some(words)
}
