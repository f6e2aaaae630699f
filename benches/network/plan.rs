//! What a run measures, and in which size, from the environment. Nothing is started here.

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
}

const PARTS: [(&str, Part); 6] = [
    ("a", Part::Hits),
    ("b", Part::Cached),
    ("c", Part::Mixed),
    ("d", Part::Misses),
    ("log", Part::Log),
    ("large", Part::Large),
];

pub(crate) struct Plan {
    /// Listed names for everybody, and for sachdns alone.
    pub(crate) listed: usize,
    pub(crate) listed_large: usize,
    pub(crate) popular: usize,
    /// Queries on their way at once.
    pub(crate) in_flight: usize,
    pub(crate) window: Duration,
    pub(crate) repetitions: usize,
    parts: Vec<Part>,
}

impl Plan {
    /// Reads `SACHDNS_BENCH` and `SACHDNS_BENCH_LOADS`.
    pub(crate) fn from_env() -> Self {
        let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
        let (listed, listed_large, popular) =
            if is_short { (1000, 2000, 500) } else { (1_000_000, 5_000_000, 50_000) };
        let window = Duration::from_millis(if is_short { 200 } else { 2000 });
        let parts = words("SACHDNS_BENCH_LOADS").map_or_else(
            || PARTS.map(|(_, part)| part).to_vec(),
            |chosen| chosen.iter().map(|word| part(word)).collect(),
        );
        Self {
            listed,
            listed_large,
            popular,
            in_flight: 128,
            window,
            repetitions: if is_short { 1 } else { 5 },
            parts,
        }
    }

    pub(crate) fn measures(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

fn words(variable: &str) -> Option<Vec<String>> {
    let value = std::env::var(variable).ok()?;
    Some(value.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect())
}

fn part(word: &str) -> Part {
    let found = PARTS.iter().find(|(name, _)| *name == word);
    found
        .unwrap_or_else(|| {
            let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
            eprintln!("SACHDNS_BENCH_LOADS: {word:?} is none of {}", known.join(", "));
            std::process::exit(2);
        })
        .1
}
