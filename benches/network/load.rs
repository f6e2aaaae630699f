//! What is asked: the listed names, the popular ones, and the queries of each load, the same at each run.
//! No sockets.

use crate::random::Random;

/// Where listed names lead.
pub(crate) const SINKHOLE: [u8; 4] = [10, 10, 10, 10];
/// What the upstream says of every name.
pub(crate) const UPSTREAM: [u8; 4] = [192, 0, 2, 1];
/// Octets of a message's header.
pub(crate) const HEADER: usize = 12;
/// Most octets of a query here: names have at most 25 letters.
pub(crate) const MAX_QUERY: usize = 64;

/// Queries of a load that repeats itself.
const LENGTH: usize = 1 << 20;
/// Of 100 queries in [`Kind::Mixed`], how many are for a listed name.
const HITS_OF_100: usize = 2;
/// Seeds: no two lists share a name.
const LISTED: u64 = 1;
const POPULAR: u64 = 2;
const FRESH: u64 = 3;
const CHOICE: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Listed names, uniformly over the whole list.
    Hits,
    /// Popular names, Zipf with exponent 1.
    Cached,
    /// [`Kind::Cached`] with 2 % of [`Kind::Hits`].
    Mixed,
    /// Names that nobody asked before.
    Misses,
}

/// The names of a run.
pub(crate) struct Names {
    pub(crate) listed: Vec<String>,
    pub(crate) popular: Vec<String>,
}

impl Names {
    pub(crate) fn new(listed: usize, popular: usize) -> Self {
        let mut random = Random(LISTED);
        let listed = (0..listed).map(|_| random.name()).collect();
        let mut random = Random(POPULAR);
        Self { listed, popular: (0..popular).map(|_| format!("w{}", random.name())).collect() }
    }
}

/// A query, and the address that its answer must hold.
pub(crate) struct Asked<'a> {
    pub(crate) packet: &'a [u8],
    pub(crate) want: [u8; 4],
}

/// Queries without end, each in its place.
pub(crate) struct Load {
    octets: Vec<u8>,
    /// Where each query ends, and what its answer must hold.
    queries: Vec<(u32, [u8; 4])>,
    at: usize,
    fresh: Option<Random>,
}

impl Load {
    pub(crate) fn new(kind: Kind, names: &Names) -> Self {
        let mut load = Self { octets: Vec::new(), queries: Vec::new(), at: 0, fresh: None };
        let mut random = Random(CHOICE);
        match kind {
            Kind::Hits => (0..LENGTH).for_each(|_| load.push_listed(names, &mut random)),
            Kind::Cached | Kind::Mixed => {
                let zipf = Zipf::new(names.popular.len());
                for _ in 0..LENGTH {
                    if kind == Kind::Mixed && random.below(100) < HITS_OF_100 {
                        load.push_listed(names, &mut random);
                    } else {
                        load.push(&names.popular[zipf.draw(&mut random)], UPSTREAM);
                    }
                }
            }
            Kind::Misses => load.fresh = Some(Random(FRESH)),
        }
        load
    }

    /// Each popular name once.
    pub(crate) fn each_popular(names: &Names) -> Self {
        let mut load = Self { octets: Vec::new(), queries: Vec::new(), at: 0, fresh: None };
        for name in &names.popular {
            load.push(name, UPSTREAM);
        }
        load
    }

    /// A single name, again and again.
    pub(crate) fn single(name: &str, want: [u8; 4]) -> Self {
        let mut load = Self { octets: Vec::new(), queries: Vec::new(), at: 0, fresh: None };
        load.push(name, want);
        load
    }

    /// How many queries there are before they repeat themselves.
    pub(crate) fn len(&self) -> usize {
        self.queries.len()
    }

    /// From the beginning, so that each server is asked the same; new names stay new.
    pub(crate) fn rewind(&mut self) {
        self.at = 0;
    }

    pub(crate) fn next(&mut self) -> Asked<'_> {
        if let Some(random) = &mut self.fresh {
            self.octets.clear();
            push_query(&mut self.octets, &format!("n{}", random.name()));
            return Asked { packet: &self.octets, want: UPSTREAM };
        }
        if self.at == self.queries.len() {
            self.at = 0;
        }
        let begin = if self.at == 0 { 0 } else { self.queries[self.at - 1].0 as usize };
        let (end, want) = self.queries[self.at];
        self.at += 1;
        Asked { packet: &self.octets[begin..end as usize], want }
    }

    fn push_listed(&mut self, names: &Names, random: &mut Random) {
        self.push(&names.listed[random.below(names.listed.len())], SINKHOLE);
    }

    fn push(&mut self, name: &str, want: [u8; 4]) {
        push_query(&mut self.octets, name);
        self.queries.push((self.octets.len() as u32, want));
    }
}

/// The rank of a name that is asked for with a probability of 1 / rank, from 0.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=count)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, random: &mut Random) -> usize {
        let total = self.0.last().expect("there are names");
        let drawn = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * total;
        self.0.partition_point(|sum| *sum <= drawn).min(self.0.len() - 1)
    }
}

/// A query of type A with EDNS, as stubs send it; its id is 0.
fn push_query(out: &mut Vec<u8>, qname: &str) {
    let begin = out.len();
    out.extend(b"\0\0\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01");
    for label in qname.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.extend(b"\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    assert!(out.len() - begin <= MAX_QUERY, "the name generator makes short names");
}

/// Where the question of a query ends; nothing for what is no query.
pub(crate) fn question_end(packet: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*packet.get(at)?) {
            0 => break,
            len @ 1..=63 => at += 1 + len,
            _ => return None,
        }
    }
    (at + 5 <= packet.len()).then_some(at + 5)
}

/// The qname of a query, as text.
pub(crate) fn qname(packet: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = &packet[HEADER..];
    while let [len, after @ ..] = rest
        && *len > 0
    {
        let (label, next) = after.split_at(usize::from(*len));
        text.push_str(&String::from_utf8_lossy(label));
        text.push('.');
        rest = next;
    }
    text
}
