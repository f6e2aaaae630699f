//! What one client's question may cost, and why resolving it fails.
//!
//! Everything that is done for a question, be it the address of a name server or a key, spends from one
//! `Budget`: nobody who writes zones can make us work more than that (NXNSAttack, CVE-2020-8616, and its kin).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::judge::Cause;
use crate::name::Name;

/// Most queries that are sent for one question. A cold name behind a few unsigned referrals takes 3 to 10, with
/// validation twice that.
pub const MOST_QUERIES: u32 = 100;
/// Most names of name servers that are resolved for one question, and for one delegation.
pub const MOST_LOOKUPS: u32 = 16;
/// As [`MOST_LOOKUPS`], for one delegation: who delegates to more names without addresses wants others to be asked.
pub const MOST_LOOKUPS_A_ZONE: usize = 5;
/// How deep names of name servers may hang on names of other name servers.
pub const MOST_DEPTH: usize = 5;
/// Most sockets that one question holds.
pub const MOST_SOCKETS: usize = 4;

/// What is left to one question.
pub(super) struct Budget {
    pub(super) deadline: Instant,
    pub(super) sockets: Arc<Semaphore>,
    queries: AtomicU32,
    lookups: AtomicU32,
}

impl Budget {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            sockets: Arc::new(Semaphore::new(MOST_SOCKETS)),
            queries: AtomicU32::new(MOST_QUERIES),
            lookups: AtomicU32::new(MOST_LOOKUPS),
        }
    }

    /// Takes one query, if there is one left.
    pub(super) fn spend_query(&self) -> bool {
        spend(&self.queries)
    }

    /// Takes one name server's name, if there is one left.
    pub(super) fn spend_lookup(&self) -> bool {
        spend(&self.lookups)
    }
}

fn spend(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// One thing to find out for a question: the question itself, or what it hangs on.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) budget: Arc<Budget>,
    /// What this hangs on, and so must not hang on.
    trail: Option<Arc<Trail>>,
    /// Whose answer was not believed: this server is asked last, and what is kept is not taken.
    pub(super) distrusted: Option<IpAddr>,
}

struct Trail {
    qname: Name,
    qtype: u16,
    above: Option<Arc<Trail>>,
}

impl Task {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget: Arc::new(budget), trail: None, distrusted: None }
    }

    /// The task to find out this, on which `self` hangs. `None` where that would be a circle, or too deep.
    pub(super) fn below(&self, qname: &Name, qtype: u16) -> Option<Self> {
        let mut depth = 0;
        let mut above = self.trail.as_ref();
        while let Some(trail) = above {
            depth += 1;
            if depth >= MOST_DEPTH || trail.qtype == qtype && trail.qname == *qname {
                return None;
            }
            above = trail.above.as_ref();
        }
        let trail = Trail { qname: qname.clone(), qtype, above: self.trail.clone() };
        Some(Self { budget: Arc::clone(&self.budget), trail: Some(Arc::new(trail)), distrusted: None })
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No server of the zone answered in time.
    #[error("no server of {0} answers")]
    Silence(Name),
    /// The network refused, for all servers of the zone that did not fail otherwise.
    #[error("no server of {0} can be reached")]
    Network(Name),
    /// All servers of the zone that answered refuse, fail or are not in charge of it.
    #[error("the servers of {0} refuse, fail or are lame")]
    Refused(Name),
    /// No server of the zone has an address that could be found.
    #[error("no server of {0} has an address")]
    NoAddress(Name),
    /// The question would take more queries than it may.
    #[error("resolving takes too many queries")]
    Spent,
    /// The question's time is over.
    #[error("resolving takes too long")]
    Late,
    /// More aliases than are followed, or a circle of them.
    #[error("too many aliases")]
    Aliases,
    /// No message holds the answer.
    #[error("the answer is longer than a message")]
    TooLong,
    /// This machine has no sockets left.
    #[error("this server is out of sockets")]
    Local,
    /// Validation failed.
    #[error("{}", .0.text)]
    Bogus(Cause),
}

impl Trouble {
    /// The extended error that says so (RFC 8914): 22, No Reachable Authority; 23, Network Error; 0, Other.
    pub fn code(&self) -> u16 {
        match self {
            Self::Silence(_) | Self::Refused(_) | Self::NoAddress(_) | Self::Late => 22,
            Self::Network(_) => 23,
            Self::Spent | Self::Aliases | Self::TooLong | Self::Local => 0,
            Self::Bogus(cause) => cause.code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_depths_end() {
        let task = Task::new(Budget::new(Instant::now()));
        let name = |text: &str| Name::from_host(text).unwrap();
        let one = task.below(&name("ns.one"), 1).unwrap();
        let other = one.below(&name("ns.other"), 1).unwrap();
        assert!(other.below(&name("ns.one"), 1).is_none());
        assert!(other.below(&name("ns.one"), 28).is_some());
        let mut task = Some(task);
        let mut depth = 0;
        while let Some(deeper) = task.and_then(|task| task.below(&name(&format!("ns{depth}.example")), 1)) {
            task = Some(deeper);
            depth += 1;
        }
        assert_eq!(depth, MOST_DEPTH);
    }

    #[test]
    fn a_budget_ends() {
        let budget = Budget::new(Instant::now());
        assert_eq!((0..1000).filter(|_| budget.spend_query()).count(), MOST_QUERIES as usize);
        assert_eq!((0..1000).filter(|_| budget.spend_lookup()).count(), MOST_LOOKUPS as usize);
    }
}
