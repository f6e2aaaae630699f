//! The root hints: names and addresses of the root's servers, in master-file form as IANA publishes them.
//!
//! Reads text that an operator gave; follows nothing in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::digest::{Delegation, NameServer, is_usable};
use crate::name::Name;

/// What is wrong with a hints file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HintsError {
    /// A line says nothing usable.
    #[error(
        "line {line}: {why}; a line is such as `. 3600000 NS a.root-servers.net.` or `a.root-servers.net. 3600000 A 198.41.0.4`"
    )]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No server of the root with an address.
    #[error(
        "no NS record of the root has an address here; take the file from https://www.internic.net/domain/named.root"
    )]
    Empty,
}

/// The root's servers by this text. All addresses are used as they are.
///
/// # Errors
/// [`HintsError`]: the first line that is wrong.
pub fn parse(text: &str) -> Result<Delegation, HintsError> {
    let mut servers: Vec<NameServer> = Vec::new();
    let mut addresses: Vec<(Name, IpAddr)> = Vec::new();
    let mut owner = None;
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |why| HintsError::Line { line, why };
        let text = text.split(';').next().unwrap_or_default();
        let mut words = text.split_whitespace().peekable();
        if words.peek().is_none() {
            continue;
        }
        if !text.starts_with([' ', '\t']) {
            let word = words.next().unwrap_or_default();
            if word.starts_with('$') {
                return Err(wrong("directives are not followed here"));
            }
            owner = Some(Name::from_presentation(word).map_err(|_| wrong("it does not begin with a name"))?);
        }
        let owner = owner.clone().ok_or(wrong("it does not begin with a name"))?;
        // TTL and class may stand there or not, in either order (RFC 1035, section 5.1).
        let is_skipped =
            |word: &&str| word.eq_ignore_ascii_case("IN") || word.bytes().all(|byte| byte.is_ascii_digit());
        for _ in 0..2 {
            words.next_if(is_skipped);
        }
        let (Some(kind), Some(data), None) = (words.next(), words.next(), words.next()) else {
            return Err(wrong("it has no type and one value"));
        };
        let address = match kind {
            kind if kind.eq_ignore_ascii_case("NS") => {
                if !owner.is_root() {
                    return Err(wrong("only the root has NS records here"));
                }
                let name = Name::from_presentation(data).map_err(|_| wrong("its value is no name"))?;
                if !servers.iter().any(|server| server.name == name) {
                    servers.push(NameServer { name, addresses: Vec::new() });
                }
                continue;
            }
            kind if kind.eq_ignore_ascii_case("A") => data.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            kind if kind.eq_ignore_ascii_case("AAAA") => data.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => return Err(wrong("only NS, A and AAAA records belong here")),
        };
        let address = address.filter(|&address| is_usable(address));
        addresses.push((owner, address.ok_or(wrong("its value is no address of a server"))?));
    }
    for (name, address) in addresses {
        for server in servers.iter_mut().filter(|server| server.name == name) {
            server.addresses.push(address);
        }
    }
    servers.retain(|server| !server.addresses.is_empty());
    if servers.is_empty() {
        return Err(HintsError::Empty);
    }
    let zone = Name::from_presentation(".").map_err(|_| HintsError::Empty)?;
    Ok(Delegation { zone, servers, life: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_names_all_thirteen() {
        let hints = parse(include_str!("../../../zones/root.hints")).unwrap();
        assert_eq!(hints.servers.len(), 13);
        assert!(hints.servers.iter().all(|server| server.addresses.len() == 2));
    }

    #[test]
    fn faults_name_their_line() {
        fn check(text: &str, expected: Result<usize, &str>) {
            let got = parse(text).map(|hints| hints.servers.len()).map_err(|error| error.to_string());
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
                (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{text}: {got}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
        check(". NS a.\na. A 192.0.2.1\n", Ok(1));
        check(
            "; none\n.\t3600 IN NS A. ; first\n  IN 3600 NS b.\na. 60 A 192.0.2.1\nB. AAAA 2001:db8::1",
            Ok(2),
        );
        check(". NS a.\n. NS b.\na. A 192.0.2.1\n", Ok(1));
        check("", Err("no NS record"));
        check(". NS a.\n", Err("no NS record"));
        check(". NS a.\na. A 192.0.2\n", Err("line 2: its value is no address"));
        check("a. A 0.0.0.0\n", Err("line 1: its value is no address"));
        check("\n  NS a.\n", Err("line 2: it does not begin with a name"));
        check("example. NS a.\n", Err("line 1: only the root"));
        check("$INCLUDE other\n", Err("line 1: directives"));
        check(". 60 IN MX a.\n", Err("line 1: only NS, A and AAAA"));
        check(". 60 IN NS\n", Err("line 1: it has no type"));
    }
}
