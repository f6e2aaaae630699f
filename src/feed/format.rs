//! The formats' names, as the configuration and the command line spell them.
//!
//! Only the words; what each format looks like stands in its own file.

use std::fmt;
use std::str::FromStr;

/// How a feed is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Found out from the first lines.
    #[default]
    Auto,
    /// One name, address, network or URL a line, and perhaps a family behind a TAB.
    Plain,
    /// `0.0.0.0 name`, as in `/etc/hosts`.
    Hosts,
    /// `||name^`, as ad blockers read.
    Adblock,
    /// `address=/name/0.0.0.0`, as in `dnsmasq.conf`.
    Dnsmasq,
    /// A response policy zone in master-file format.
    Rpz,
}

/// Why a text names no format that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A format that has its name already, and no reader.
    #[error("this release cannot read {0} feeds yet; it reads auto, plain, hosts, adblock, dnsmasq and rpz")]
    NotYet(&'static str),
    /// The word is unknown.
    #[error("no format is called {0:?}; there are auto, plain, hosts, adblock, dnsmasq and rpz")]
    Unknown(String),
}

/// Names that are taken for formats to come.
const TO_COME: [&str; 9] = ["unbound", "bind", "csv", "xlsx", "misp", "stix", "ip", "maltrail", "text"];

impl Format {
    /// Every format that can be read, `auto` first.
    pub const ALL: [Self; 6] =
        [Self::Auto, Self::Plain, Self::Hosts, Self::Adblock, Self::Dnsmasq, Self::Rpz];

    /// The format's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Hosts => "hosts",
            Self::Adblock => "adblock",
            Self::Dnsmasq => "dnsmasq",
            Self::Rpz => "rpz",
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        if let Some(format) = Self::ALL.into_iter().find(|format| format.as_str() == text) {
            return Ok(format);
        }
        Err(match TO_COME.into_iter().find(|&name| name == text) {
            Some(name) => FormatError::NotYet(name),
            None => FormatError::Unknown(text.to_owned()),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_say_why() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
            // The messages list the formats by hand: none may be forgotten.
            assert!(FormatError::NotYet("").to_string().contains(format.as_str()));
            assert!(FormatError::Unknown(String::new()).to_string().contains(format.as_str()));
        }
        for name in TO_COME {
            assert_eq!(name.parse::<Format>(), Err(FormatError::NotYet(name)));
        }
        assert_eq!("host".parse::<Format>(), Err(FormatError::Unknown("host".to_owned())));
    }
}
