//! Triggers: which queries a rule applies to.

/// Which names a QNAME trigger covers, seen from the name that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The name itself and nothing below it: an RPZ owner.
    Exact,
    /// The name and everything below it: what lists of malicious names mean.
    Subtree,
    /// Everything below the name, yet not the name itself: an RPZ owner that starts with `*.`.
    Below,
}

impl Scope {
    /// Whether a listed name with this scope covers a qname that `is_listed_name` (or lies below it).
    pub fn covers(self, is_listed_name: bool) -> bool {
        match self {
            Self::Exact => is_listed_name,
            Self::Below => !is_listed_name,
            Self::Subtree => true,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Subtree => "subtree",
            Self::Below => "below",
        })
    }
}
