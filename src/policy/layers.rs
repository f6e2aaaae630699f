//! Layers: whose rules there are for a query, and which of them apply to the client that asks.
//!
//! Only who is asked before whom and who is meant; which rule wins is `decide`'s.

use std::net::IpAddr;
use std::sync::Arc;

use super::guard::Guard;
use super::index::Index;
use super::rule::FeedIndex;

/// All that a query is decided by.
pub struct Layers<'p, D> {
    /// The rules of all feeds.
    pub feeds: &'p Index<D>,
    /// Analysts' own rules, a small index in memory; most often there are none.
    pub own: Option<&'p Index<Vec<u8>>>,
    /// Names that no bare address takes.
    pub guard: &'p Guard,
}

impl<D> Clone for Layers<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Layers<'_, D> {}

impl<'p, D> Layers<'p, D> {
    /// The rules of feeds alone.
    pub fn of_feeds(feeds: &'p Index<D>) -> Self {
        Self { feeds, own: None, guard: &Guard::NONE }
    }
}

/// Analysts' own rules: those of agencies first, then those for everybody.
pub struct Own {
    /// The rules. Their feeds are groups: all rules for one agency, or for everybody.
    pub index: Index<Vec<u8>>,
    /// The id of each group's agency; `None`: everybody.
    pub agencies: Vec<Option<Arc<str>>>,
    /// What tells these rules from others.
    pub digest: [u8; 32],
    /// When they last changed, in microseconds since 1970.
    pub changed_at: i64,
}

/// Whose rules come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Analysts'.
    Own,
    /// Those of feeds, canaries among them.
    Feeds,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Its address, where one is known.
    pub client: Option<IpAddr>,
    /// What applies to it.
    pub audience: &'a Audience,
}

impl Asker<'_> {
    /// Nobody in particular: all rules apply but those on clients.
    pub const ANYBODY: Self = Asker { client: None, audience: &Audience::EVERYBODY };
}

/// Clients to which the same rules apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audience {
    /// Which feeds, by their numbers in the index of feeds.
    pub feeds: Members,
    /// Which of the analysts' groups of rules, by their numbers in that index.
    pub own: Members,
}

impl Audience {
    /// To whom all rules apply.
    pub const EVERYBODY: Self = Audience { feeds: Members::All, own: Members::All };

    /// Whether rules of this number in that layer apply.
    pub fn has(&self, layer: Layer, feed: FeedIndex) -> bool {
        match layer {
            Layer::Own => self.own.has(feed),
            Layer::Feeds => self.feeds.has(feed),
        }
    }
}

/// A set of feeds, which is asked for every rule that is met.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Members {
    /// All there are.
    All,
    /// Those whose bits are set.
    These(Box<[u64]>),
}

impl Members {
    /// Those of `count` feeds that `is_member` takes.
    pub fn new(count: usize, is_member: impl Fn(usize) -> bool) -> Self {
        let mut bits = vec![0u64; count.div_ceil(64)];
        let mut is_all = true;
        for number in 0..count {
            match is_member(number) {
                true => bits[number / 64] |= 1 << (number % 64),
                false => is_all = false,
            }
        }
        if is_all { Self::All } else { Self::These(bits.into()) }
    }

    /// Whether this feed is one.
    pub fn has(&self, feed: FeedIndex) -> bool {
        match self {
            Self::All => true,
            Self::These(bits) => {
                bits.get(usize::from(feed / 64)).is_some_and(|bits| bits >> (feed % 64) & 1 == 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_that_were_taken() {
        fn check(count: usize, is_member: impl Fn(usize) -> bool) {
            let members = Members::new(count, &is_member);
            for number in 0..count {
                assert_eq!(members.has(number as u16), is_member(number), "{number} of {count}");
            }
            assert_eq!(members.has(count as u16), members == Members::All);
        }
        check(3, |number| number == 1);
        check(130, |number| number % 3 == 0);
        check(130, |number| number == 129);
        check(64, |_| true);
        check(64, |_| false);
    }
}
