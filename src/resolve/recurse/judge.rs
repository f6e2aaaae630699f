//! The seam to validation: what recursion offers to whoever validates, and what it wants to hear.
//!
//! No signature is looked at here.

use std::pin::Pin;

use crate::name::Name;

/// A future in a box: what these traits hand out.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What validation finds about a piece (RFC 4035, section 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A chain of signatures leads to it from a trust anchor.
    Secure {
        /// For how many seconds it may be kept at most (RFC 4035, section 5.3.3).
        ttl: u32,
    },
    /// It is proven that there is no such chain; the cause where that is hardly its owner's will.
    Insecure(Option<Cause>),
    /// There should be a chain, and is none.
    Bogus(Cause),
    /// It cannot be known: no trust anchor is above it.
    Indeterminate,
}

/// What clients are told of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The extended error (RFC 8914).
    pub code: u16,
    /// Why, for people who debug.
    pub text: String,
}

/// Judges pieces.
pub trait Judge: Send + Sync {
    /// Judges a message: one question, and what one zone says to it, its names not compressed, with the
    /// DNSSEC records. An alias is answered by its CNAME record alone, with the DNAME record that makes it if one does,
    /// and its question's type is CNAME; a wildcard's proof is in the authority section.
    fn judge<'a>(&'a self, message: &'a [u8], fetch: &'a dyn Fetch) -> Boxed<'a, Verdict>;
}

/// Fetches what validation needs besides: DNSKEY and DS records. Spends the time and queries of the
/// client's question.
pub trait Fetch: Send + Sync {
    /// What the zone in charge says: a message as [`Judge::judge`] gets it, not validated. Of DS that is the parent.
    fn fetch<'a>(
        &'a self,
        qname: &'a Name,
        qtype: u16,
        freshness: Freshness,
    ) -> Boxed<'a, Result<Vec<u8>, Unfetched>>;
}

/// What is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What is known.
    Known,
    /// What a server says now, another one than the last time where there is another: what is known does not validate.
    Now,
}

/// Why something could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfetched {
    /// No server gave a usable answer.
    #[error("no server answers")]
    NoAnswer,
    /// The client's question has used up its queries or its time.
    #[error("the question has used up its queries")]
    Spent,
}
