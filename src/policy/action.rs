//! Actions: what a rule does to a query that triggers it.
//!
//! Only their meaning and their spelling. The bytes of the answers are made in `serve::answer`.

use std::sync::Arc;

use super::data::{DataError, LocalData};
use crate::name::{Name, NameError};

/// What a rule does to a query (draft-vixie-dnsop-dns-rpz-00, section 3, and one of our own).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// A and AAAA lead to the sinkhole's addresses; every other type is NODATA.
    Sinkhole,
    /// The name does not exist.
    Nxdomain,
    /// The name exists, without any data.
    Nodata,
    /// The query is answered as if there were no policy; no later zone is asked.
    Passthru,
    /// No answer at all.
    Drop,
    /// Over UDP an empty answer with TC set; over any other transport as [`Action::Passthru`].
    TcpOnly,
    /// An alias to this name, which is then resolved. Where its first label is `*`, the name that the rule met
    /// stands in its place.
    Cname(Name),
    /// These records; of types that it has none of, NODATA.
    LocalData(Arc<LocalData>),
}

/// Why a text is not an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The word is unknown.
    #[error(
        "no action is called {0:?}; there are sinkhole, nxdomain, nodata, passthru, drop, tcp-only and cname:NAME, and for a whole feed given and shadow"
    )]
    Unknown(String),
    /// `cname:` with something that is no name.
    #[error("the name after cname: is not valid: {0}")]
    Cname(#[from] NameError),
    /// `local-data:` with something that is none.
    #[error("what follows local-data: is not valid: {0}")]
    Data(#[from] DataError),
}

impl std::str::FromStr for Action {
    type Err = ActionError;

    /// Reads the spelling of the configuration and of RPZ exports.
    fn from_str(text: &str) -> Result<Self, ActionError> {
        Ok(match text {
            "sinkhole" => Self::Sinkhole,
            "nxdomain" => Self::Nxdomain,
            "nodata" => Self::Nodata,
            "passthru" => Self::Passthru,
            "drop" => Self::Drop,
            "tcp-only" => Self::TcpOnly,
            other => match other.split_once(':') {
                Some(("cname", target)) => Self::Cname(Name::from_presentation(target)?),
                Some(("local-data", records)) => Self::LocalData(Arc::new(records.parse()?)),
                _ => return Err(ActionError::Unknown(other.to_owned())),
            },
        })
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sinkhole => "sinkhole",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Passthru => "passthru",
            Self::Drop => "drop",
            Self::TcpOnly => "tcp-only",
            Self::Cname(target) => return write!(f, "cname:{target}."),
            Self::LocalData(data) => return write!(f, "local-data:{data}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_round_trips() {
        for text in [
            "sinkhole",
            "nxdomain",
            "nodata",
            "passthru",
            "drop",
            "tcp-only",
            "cname:walled.example.",
            "cname:*.walled.example.",
            "local-data:60 A 192.0.2.1",
        ] {
            assert_eq!(text.parse::<Action>().unwrap().to_string(), text);
        }
        assert!(matches!("block".parse::<Action>(), Err(ActionError::Unknown(word)) if word == "block"));
        assert_eq!("local-data:".parse::<Action>(), Err(ActionError::Data(DataError::Empty)));
        assert_eq!("cname:a..b".parse::<Action>(), Err(ActionError::Cname(NameError::EmptyLabel)));
    }
}
