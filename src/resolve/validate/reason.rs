//! Why data is not secure, with the extended error that tells operators so (RFC 8914).
//!
//! Facts and wording only; who is at fault is found out where signatures and proofs are checked.

use std::fmt;

use crate::name::Name;
use crate::wire::type_text;

/// Why data is bogus, insecure or indeterminate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No trust anchor is at or above the name.
    #[error("no trust anchor is above {0}")]
    NoAnchor(Name),
    /// A negative trust anchor is at or above the name (RFC 7646).
    #[error("a negative trust anchor stands at {0}")]
    NegativeAnchor(Name),
    /// The zone's parent proves that it is not signed.
    #[error("{0} is delegated without DS record")]
    Delegation(Name),
    /// All DS records of the zone have signing algorithms that are not known, deprecated, or keys of a
    /// size that is not.
    #[error("{zone} is signed with algorithm {algorithm}, which is not supported")]
    Algorithm {
        /// The zone.
        zone: Name,
        /// One of the algorithms.
        algorithm: u8,
    },
    /// All DS records of the zone have digests of unknown types.
    #[error("the DS records of {zone} have digest type {digest}, which is not supported")]
    Digest {
        /// The zone.
        zone: Name,
        /// One of the types.
        digest: u8,
    },
    /// NSEC3 records with more iterations than are computed (RFC 9276, section 3.2).
    #[error("{zone} has NSEC3 records with {iterations} iterations")]
    Iterations {
        /// The zone.
        zone: Name,
        /// How many.
        iterations: u16,
    },
    /// The proof holds, but names like this may be delegated without being listed (RFC 5155, section 6).
    #[error("{0} lies in an opt-out span")]
    OptOut(Name),
    /// No key can be told from signatures alone.
    #[error("{0} was asked for signatures only")]
    Signatures(Name),
    /// A signature's time is over.
    #[error("signature of {set} expired {ago} s ago")]
    Expired {
        /// What is signed.
        set: SetName,
        /// Seconds.
        ago: u32,
    },
    /// A signature's time has not begun.
    #[error("signature of {set} is valid in {wait} s")]
    NotYetValid {
        /// What is signed.
        set: SetName,
        /// Seconds.
        wait: u32,
    },
    /// A signature ends before it begins.
    #[error("signature of {0} expires before it is valid")]
    Backwards(SetName),
    /// A signed zone's data without signature.
    #[error("no signature of {0}")]
    Unsigned(SetName),
    /// A signature by a zone that the name does not belong to.
    #[error("signature of {set} is by {signer}")]
    Signer {
        /// What is signed.
        set: SetName,
        /// Who signed.
        signer: Name,
    },
    /// A signature that has more labels than the name, or is otherwise none for it.
    #[error("signature of {0} does not fit it")]
    Misfit(SetName),
    /// A signature by a key that the zone does not have.
    #[error("signature of {set} is by key {tag}, which {zone} does not have")]
    UnknownKey {
        /// What is signed.
        set: SetName,
        /// The zone.
        zone: Name,
        /// The key's tag.
        tag: u16,
    },
    /// A signature that is wrong.
    #[error("signature of {set} by key {tag} is wrong")]
    BadSignature {
        /// What is signed.
        set: SetName,
        /// The key's tag.
        tag: u16,
    },
    /// The zone has no DNSKEY record that a DS record or the trust anchor knows.
    #[error("no DNSKEY of {0} is the one of its DS records or trust anchor")]
    NoKey(Name),
    /// The zone's DNSKEY records were not to be had.
    #[error("DNSKEY of {zone}: {why}")]
    KeysUnreachable {
        /// The zone.
        zone: Name,
        /// What the network said.
        why: FetchError,
    },
    /// The zone's DS records, or the proof that there are none, were not to be had.
    #[error("DS of {zone}: {why}")]
    DelegationUnreachable {
        /// The zone.
        zone: Name,
        /// What the network said.
        why: FetchError,
    },
    /// The only keys that would fit are no zone keys (RFC 4034, section 2.1.1), or are revoked.
    #[error("the keys of {0} are no zone keys")]
    NoZoneKey(Name),
    /// A name or type is said not to exist, with no proof at all.
    #[error("no proof that {0} does not exist")]
    NoDenial(SetName),
    /// … or with one that proves something else.
    #[error("the proof that {0} does not exist has gaps")]
    DenialGap(SetName),
    /// An alias that its DNAME record does not make.
    #[error("{0} is not the alias that its DNAME record makes")]
    Alias(Name),
    /// More aliases than are followed.
    #[error("more aliases than are followed")]
    Aliases,
    /// More signatures or hashes than one answer is worth.
    #[error("validating takes more work than one answer is worth")]
    Work,
    /// The message does not parse.
    #[error("the message does not parse")]
    Malformed,
    /// A response code of which nothing can be proven.
    #[error("response code {0} cannot be validated")]
    Rcode(u16),
}

/// Why [`super::Fetch`] has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No server gave a usable answer.
    #[error("no server answers")]
    NoAnswer,
    /// The client's question has used up its share of queries or its time.
    #[error("the question has used up its queries")]
    Spent,
    /// The answer is an error.
    #[error("servers answer {}", crate::wire::rcode_text(*.0))]
    Rcode(u16),
    /// The answer does not parse.
    #[error("the answer does not parse")]
    Malformed,
}

/// An RRset's name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetName {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub rtype: u16,
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.owner, type_text(self.rtype))
    }
}

impl Reason {
    /// The extended error's code (RFC 8914, section 4).
    pub fn ede(&self) -> u16 {
        match self {
            Self::Algorithm { .. } => 1,
            Self::Digest { .. } => 2,
            Self::NoAnchor(_) | Self::Signatures(_) | Self::Rcode(_) => 5,
            Self::Signer { .. }
            | Self::Misfit(_)
            | Self::BadSignature { .. }
            | Self::DenialGap(_)
            | Self::Alias(_)
            | Self::Aliases
            | Self::Work
            | Self::Malformed => 6,
            Self::Expired { .. } => 7,
            Self::NotYetValid { .. } => 8,
            Self::NoKey(_) | Self::KeysUnreachable { .. } | Self::UnknownKey { .. } => 9,
            Self::Unsigned(_) => 10,
            Self::NoZoneKey(_) => 11,
            Self::NoDenial(_) => 12,
            Self::DelegationUnreachable { .. } => 22,
            Self::Backwards(_) => 25,
            Self::Iterations { .. } => 27,
            Self::NegativeAnchor(_) | Self::Delegation(_) | Self::OptOut(_) => 0,
        }
    }

    /// Whether clients are worth telling: of what is insecure only what is not so by its owner's will.
    pub fn is_telling(&self) -> bool {
        self.ede() != 0
    }

    /// Whether it is of this moment or this question, and says nothing of the zone.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Work | Self::KeysUnreachable { .. } | Self::DelegationUnreachable { .. })
    }
}
