//! Hosts files: an address, then names.
//!
//! ```text
//! 0.0.0.0 evil.example www.evil.example # comment
//! ::1     localhost
//! ```
//!
//! The address only says where the list's author wanted the names to lead, so any will do. The
//! names that every hosts file has for the machine itself are left out without a word.

use std::net::IpAddr;

use crate::policy::trigger::Scope;

use super::output::Output;
use super::{Fault, Value, token};

/// Names of the machine itself and of IPv6's groups, as systems and published lists have them.
const LOCAL: [&str; 15] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];

pub(super) fn read_line(line: &str, out: &mut Output<'_>) {
    let text = line.split('#').next().unwrap_or(line);
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else { return };
    if sink_address(first).is_none() {
        return out.fault(Fault::NoAddress, line);
    }
    let mut has_name = false;
    for word in words {
        has_name = true;
        // `0.0.0.0 0.0.0.0` stands in the most widely used list of all.
        if is_local(word) || word == first {
            continue;
        }
        let name = match token::address(word) {
            Some(_) => Err(Fault::AddressAsName),
            None => token::name(word).map(|name| Value::Name(name, Scope::Subtree)),
        };
        out.result(name, None, line);
    }
    if !has_name {
        out.fault(Fault::NoName, line);
    }
}

/// The address in front of a hosts line. macOS writes a zone behind it (`fe80::1%lo0`).
pub(super) fn sink_address(word: &str) -> Option<IpAddr> {
    token::address(word.split('%').next().unwrap_or(word))
}

fn is_local(word: &str) -> bool {
    LOCAL.iter().any(|local| word.eq_ignore_ascii_case(local))
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn lines() {
        let check = |text: &str, expected: &[&str]| check(Format::Hosts, text, expected);
        check("# 0.0.0.0 a.example\n\n  \n", &[]);
        check("0.0.0.0 Evil.example", &["1 name evil.example subtree"]);
        check("127.0.0.1\tevil.example # why", &["1 name evil.example subtree"]);
        check("0.0.0.0 evil.example#why", &["1 name evil.example subtree"]);
        check(":: evil.example ", &["1 name evil.example subtree"]);
        check("10.10.10.10 evil.example\r\n", &["1 name evil.example subtree"]);
        check("0.0.0.0 a.example b.example", &["1 name a.example subtree", "1 name b.example subtree"]);
        check("0.0.0.0 sạch.vn", &["1 name xn--sch-sgz.vn subtree"]);
    }

    #[test]
    fn the_machines_own_names_are_no_news() {
        let check = |text: &str, expected: &[&str]| check(Format::Hosts, text, expected);
        check("127.0.0.1 localhost localhost.localdomain local\n::1 ip6-localhost ip6-loopback", &[]);
        check("255.255.255.255 broadcasthost\nfe80::1%lo0 localhost\nff02::1 ip6-allnodes", &[]);
        check("ff02::3 ip6-allhosts\n0.0.0.0 0.0.0.0", &[]);
    }

    #[test]
    fn faults() {
        let check = |text: &str, expected: &[&str]| check(Format::Hosts, text, expected);
        check("evil.example", &["1! NoAddress"]);
        check("0.0.0.0", &["1! NoName"]);
        check("0.0.0.0 # evil.example", &["1! NoName"]);
        check("0.0.0.0 1.2.3.4", &["1! AddressAsName"]);
        check("127.0.0.1 my-pc", &["1! SingleLabel"]);
        check("0.0.0.0 *.evil.example", &["1! Wildcard"]);
        check("0.0.0.0 com b.example", &["1! SingleLabel", "1 name b.example subtree"]);
        check("0.0.0.0 evil.example/x", &["1! Name(Character('/'))"]);
    }
}
