//! DNSSEC validation (RFC 4033 to 4035, 5155, 6840): is this answer what its zone's owner signed?
//!
//! Takes octets and says [`Verdict`]; what it needs besides (DNSKEY and DS records) it asks of a [`Fetch`]. Knows no
//! sockets, no clock and no clients, and changes no message.
//!
//! ```text
//! anchor   what is trusted without asking
//! zone     from there down to a zone's keys, or to the proof that it has none   (asks; keeps what it found)
//! message  an answer's aliases, data and proofs, link by link
//! rrset    one RRset's signatures          denial   NSEC and NSEC3          key   the computing
//! ```
//!
//! Own code on the crate `ring`, and not the validator of the crate `domain` (0.12.3): that one counts Ed25519 and
//! P-384 as unsupported, so zones signed with them as insecure; it tells EDE 6 for nearly everything, reads the machine's
//! clock itself, and its parts cannot be had without its context, which has one upstream for all questions: a client's
//! question could not carry its own budget.

pub mod anchor;
mod denial;
mod key;
mod message;
pub mod reason;
mod rrset;
mod zone;

#[cfg(test)]
mod tests;

use std::future::Future;

use quick_cache::sync::Cache;

use self::anchor::Anchors;
pub use self::reason::{FetchError, Reason};
use self::zone::{Node, NodeWeight};
use crate::name::Name;

/// Octets of zones' keys and of the names between them that are kept.
const KEPT: u64 = 16 << 20;
/// Octets that an entry takes at the least, about.
const ENTRY: u64 = 256;
/// Signatures that one message may have checked; chains of aliases through signed zones need a few dozen.
const MAX_CHECKS: u32 = 128;
/// NSEC3 hashes that one message may have computed: a name of 34 labels, as in ip6.arpa, needs 36.
const MAX_HASHES: u32 = 256;
/// Questions that one message may have asked; those of the caller may be fewer.
const MAX_FETCHES: u32 = 64;

/// What is trusted, and what is not validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whom to trust.
    pub anchors: Anchors,
    /// Names at and below which nothing is validated, unless a trust anchor is nearer (RFC 7646).
    pub negative: Vec<Name>,
}

/// Validates answers, and keeps the keys that it met.
pub struct Validator {
    options: Options,
    nodes: Cache<Name, Node, NodeWeight>,
}

/// What an answer is worth (RFC 4033, section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is signed rightly, up to a trust anchor.
    Secure {
        /// How many seconds it may be kept at most (RFC 4035, section 5.3.3).
        ttl: u32,
    },
    /// It is proven that it cannot be validated, or it is not to be. It may be given out, without AD.
    Insecure(Reason),
    /// It should be signed, and is not, or wrongly: SERVFAIL, unless the client checks by itself.
    Bogus(Reason),
    /// No trust anchor is above it, or it is an error. It may be given out, without AD.
    Indeterminate(Reason),
}

/// How much a message answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of the question: behind its last alias there is data, or a proof that there is none.
    Whole,
    /// Maybe only aliases, as an authoritative server has them; the target is asked for, and validated, by itself.
    Part,
}

/// Which time one asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The first: an answer that was kept will do.
    First,
    /// What came does not validate: another server should be asked, and nothing kept be taken.
    Again,
}

/// Asks for what validation needs. Each question spends from the budget of the client's question it is for.
pub trait Fetch: Sync {
    /// The whole response to this question of class IN, asked with DO, validated by nobody. DS questions must be
    /// answered by the parent zone's servers (RFC 4035, section 3.1.4.1).
    fn fetch(
        &self,
        name: &Name,
        rtype: u16,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

impl Validator {
    /// Validates by these anchors.
    pub fn new(options: Options) -> Self {
        let nodes = Cache::with_weighter((KEPT / ENTRY) as usize, KEPT, NodeWeight);
        Self { options, nodes }
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Validates a response to a question of class IN. `now` is in seconds since 1970.
    ///
    /// Judged are the answer section, and of the authority section what proves that something does not exist;
    /// who sets AD leaves the rest of the authority section out (RFC 4035, section 3.2.3). Takes as long as `fetcher`
    /// does: the caller sets the deadline.
    pub async fn validate<F: Fetch>(&self, message: &[u8], extent: Extent, now: u64, fetcher: &F) -> Verdict {
        // RRSIG times are the low 32 bits (RFC 4034, section 3.1.5).
        let mut inquiry =
            Inquiry { validator: self, fetcher, now, work: Work::default(), denials: Vec::new() };
        match inquiry.judge(message, extent).await {
            Ok(message::Outcome::Secure { ttl }) => Verdict::Secure { ttl },
            Ok(message::Outcome::Insecure(reason @ (Reason::NoAnchor(_) | Reason::Rcode(_)))) => {
                Verdict::Indeterminate(reason)
            }
            Ok(message::Outcome::Insecure(reason)) => Verdict::Insecure(reason),
            Err(reason) => Verdict::Bogus(reason),
        }
    }
}

/// The validation of one message.
struct Inquiry<'a, F> {
    validator: &'a Validator,
    fetcher: &'a F,
    now: u64,
    work: Work,
    /// The message's proofs, zone by zone, their signatures checked.
    denials: Vec<(Name, denial::Denials)>,
}

impl<F> Inquiry<'_, F> {
    /// The time as signatures have it.
    fn serial(&self) -> u32 {
        self.now as u32
    }
}

/// What has been done for one message (CVE-2023-50387, CVE-2023-50868).
#[derive(Debug, Default)]
struct Work {
    checks: u32,
    hashes: u32,
    fetches: u32,
}

impl Work {
    /// Counts a signature or digest.
    fn check(&mut self) -> Result<(), Reason> {
        self.checks += 1;
        if self.checks > MAX_CHECKS { Err(Reason::Work) } else { Ok(()) }
    }

    /// Counts an NSEC3 hash.
    fn hash(&mut self) -> Result<(), Reason> {
        self.hashes += 1;
        if self.hashes > MAX_HASHES { Err(Reason::Work) } else { Ok(()) }
    }

    /// Counts a question.
    fn fetch(&mut self) -> Result<(), Reason> {
        self.fetches += 1;
        if self.fetches > MAX_FETCHES { Err(Reason::Work) } else { Ok(()) }
    }

    fn is_spent(&self) -> bool {
        self.checks > MAX_CHECKS || self.hashes > MAX_HASHES || self.fetches > MAX_FETCHES
    }
}
