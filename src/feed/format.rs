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
    /// `local-zone: "name" always_nxdomain`, as in `unbound.conf`.
    Unbound,
    /// `zone "name" { type master; … };`, as in `named.conf`.
    Bind,
    /// A response policy zone in master-file format.
    Rpz,
    /// A table: comma-separated values, or others.
    Csv,
    /// A spreadsheet of Excel 2007 or later.
    Xlsx,
    /// A MISP event.
    Misp,
    /// A STIX 2.1 bundle.
    Stix,
    /// JSON of other kinds: records, rule sets, arrays.
    Json,
    /// Addresses, networks and ranges.
    Ip,
    /// Maltrail's trails.
    Maltrail,
    /// Free text with defanged names.
    Text,
}

/// The text names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no format is called {0:?}; there are auto, plain, hosts, adblock, dnsmasq, unbound, bind, rpz, csv, xlsx, misp, stix, json, ip, maltrail and text"
)]
pub struct FormatError(pub String);

impl Format {
    /// Every format, `auto` first.
    pub const ALL: [Self; 16] = [
        Self::Auto,
        Self::Plain,
        Self::Hosts,
        Self::Adblock,
        Self::Dnsmasq,
        Self::Unbound,
        Self::Bind,
        Self::Rpz,
        Self::Csv,
        Self::Xlsx,
        Self::Misp,
        Self::Stix,
        Self::Json,
        Self::Ip,
        Self::Maltrail,
        Self::Text,
    ];

    /// The format's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Hosts => "hosts",
            Self::Adblock => "adblock",
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
            Self::Bind => "bind",
            Self::Rpz => "rpz",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Misp => "misp",
            Self::Stix => "stix",
            Self::Json => "json",
            Self::Ip => "ip",
            Self::Maltrail => "maltrail",
            Self::Text => "text",
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let format = Self::ALL.into_iter().find(|format| format.as_str() == text);
        format.ok_or_else(|| FormatError(text.to_owned()))
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
            // The message lists the formats by hand: none may be forgotten.
            assert!(FormatError(String::new()).to_string().contains(format.as_str()));
        }
        assert_eq!("host".parse::<Format>(), Err(FormatError("host".to_owned())));
    }
}
