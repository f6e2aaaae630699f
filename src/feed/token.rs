//! Tokens: one name, address, network or URL, as every list but an RPZ writes them.
//!
//! Decides what a token is, never what its line means: columns, comments and markers are the
//! formats' own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::name::{Name, labels};
use crate::policy::trigger::Scope;

use super::{Fault, Value, defang};

/// Reads a token of any kind; a name means its whole subtree.
///
/// * `*.name` and `.name` are the name: publishers of wildcard lists mean the name and all below,
///   and their plain and wildcard lists hold the same names. `*.1.2.3.4`, which their scripts write
///   too, is the address.
/// * `1.2.3.4:4444` is the address: what is listed is a machine of the attacker, and DNS shows no
///   ports. `name:4444` is a URL, because a name may have other uses than the one that is listed.
/// * `http://name` is a URL though it has no path, and so is `name/path`.
/// * `1.2.3.4/32` is the address; a network with host bits is a fault.
/// * What is defanged is read as what it was (`evil[.]vn`, `hxxp://…`).
pub(super) fn read(text: &str) -> Result<Value, Fault> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Fault::NotUtf8);
    }
    if defang::may_be_defanged(text)
        && let Some(whole) = defang::refang(text)
    {
        return read_whole(&whole);
    }
    read_whole(text)
}

fn read_whole(text: &str) -> Result<Value, Fault> {
    // A path may hold another URL (`archive.example/2024/http://…`): only a scheme in front counts.
    if let Some((_, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        return url(text, rest);
    }
    let text = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    if let Some((host, rest)) = text.split_once('/') {
        return match (address(host), rest.bytes().all(|byte| byte.is_ascii_digit())) {
            (Some(address), true) if !rest.is_empty() => network(address, rest),
            _ => url(text, text),
        };
    }
    if let Some(address) = address(text) {
        return Ok(Value::Ip(address));
    }
    if text.contains(':') {
        return match text.parse::<SocketAddr>() {
            Ok(socket) => Ok(Value::Ip(socket.ip())),
            Err(_) => url(text, text),
        };
    }
    name(text).map(|name| Value::Name(name, Scope::Subtree))
}

/// Reads a name of two labels or more.
pub(super) fn name(text: &str) -> Result<Name, Fault> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Fault::NotUtf8);
    }
    if text.contains('*') {
        return Err(Fault::Wildcard);
    }
    let name = Name::from_host(text)?;
    // No top-level domain is a number (RFC 3696, section 2), and `1.2.3.256` should not become one.
    let is_numeric = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    let mut count = 0;
    let mut last: &[u8] = &[];
    for label in labels(name.as_wire()) {
        count += 1;
        last = label;
    }
    match count {
        1 => Err(Fault::SingleLabel),
        _ if is_numeric(last) => Err(Fault::Address),
        _ => Ok(name),
    }
}

/// Reads an address, IPv6 with or without brackets; `::ffff:1.2.3.4` is the IPv4 address in it.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    // Most tokens are names; a glance at both ends spares them two parsers.
    let (&first, &last) = (text.as_bytes().first()?, text.as_bytes().last()?);
    if first.is_ascii_digit()
        && last.is_ascii_digit()
        && let Ok(address) = text.parse::<Ipv4Addr>()
    {
        return Some(IpAddr::V4(address));
    }
    if !text.contains(':') {
        return None;
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical())
}

/// The network of `prefix` bits around `address`; the address itself when those are all its bits.
pub(super) fn network(address: IpAddr, prefix: &str) -> Result<Value, Fault> {
    let prefix = prefix.parse().map_err(|_| Fault::PrefixLength)?;
    if prefix == 0 {
        return Err(Fault::Everything);
    }
    let network = IpNet::new(address, prefix).map_err(|_| Fault::PrefixLength)?;
    if network.prefix_len() == network.max_prefix_len() {
        return Ok(Value::Ip(address));
    }
    if network.network() != address {
        return Err(Fault::HostBits(network.trunc()));
    }
    Ok(Value::Net(network))
}

/// Takes `text` for a URL; `rest` is what follows the scheme. Only the host is checked.
fn url(text: &str, rest: &str) -> Result<Value, Fault> {
    if text.contains(|char: char| char.is_control() || char.is_whitespace()) {
        return Err(Fault::Url);
    }
    let host = host_of(rest);
    if host.is_empty() {
        return Err(Fault::Url);
    }
    if address(host).is_none() {
        // `http://router/` is a URL all right, but `router/` may be anything.
        match name(host) {
            Ok(_) => {}
            Err(Fault::SingleLabel) if text.len() != rest.len() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Value::Url(text.to_owned()))
}

/// The host of a URL without its scheme, as written: no credentials, no port.
fn host_of(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if address(host).is_none() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

/// Reads a token that is said to be a URL, also where its scheme and path are left out.
pub(super) fn url_of(text: &str) -> Result<Value, Fault> {
    Ok(match read(text)? {
        url @ Value::Url(_) => url,
        Value::Name(..) | Value::Ip(_) | Value::Net(_) => {
            Value::Url(defang::refang(text).unwrap_or_else(|| text.to_owned()))
        }
    })
}

/// What a URL's host would be as a listing of its own: the name and nothing below it, or the address.
/// `None` where the host is one label.
pub(super) fn host(url: &str) -> Option<Value> {
    let rest = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map_or(url, |(_, rest)| rest);
    let host = host_of(rest);
    match address(host) {
        Some(address) => Some(Value::Ip(address)),
        None => name(host).ok().map(|name| Value::Name(name, Scope::Exact)),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameError;

    fn show(value: Result<Value, Fault>) -> String {
        match value {
            Ok(Value::Name(name, scope)) => format!("name {name} {scope}"),
            Ok(Value::Ip(address)) => format!("ip {address}"),
            Ok(Value::Net(network)) => format!("net {network}"),
            Ok(Value::Url(url)) => format!("url {url}"),
            Err(fault) => format!("{fault:?}"),
        }
    }

    #[test]
    fn tokens_are_told_apart() {
        fn check(text: &str, expected: &str) {
            assert_eq!(show(read(text)), expected, "{text:?}");
        }
        check("Evil.Example.", "name evil.example subtree");
        check("*.evil.example", "name evil.example subtree");
        check(".evil.example", "name evil.example subtree");
        check("sạch.vn", "name xn--sch-sgz.vn subtree");
        check("1.evil.example", "name 1.evil.example subtree");

        check("1.2.3.4", "ip 1.2.3.4");
        check("*.1.2.3.4", "ip 1.2.3.4");
        check("1.2.3.4:4444", "ip 1.2.3.4");
        check("1.2.3.4/32", "ip 1.2.3.4");
        check("2001:DB8::1", "ip 2001:db8::1");
        check("[2001:db8::1]", "ip 2001:db8::1");
        check("[2001:db8::1]:443", "ip 2001:db8::1");
        check("2001:db8::1/128", "ip 2001:db8::1");
        check("::ffff:1.2.3.4", "ip 1.2.3.4");
        check("192.0.2.0/24", "net 192.0.2.0/24");
        check("2001:db8::/32", "net 2001:db8::/32");

        check("evil[.]example", "name evil.example subtree");
        check("hxxp://evil[.]example/a", "url http://evil.example/a");
        check("1[.]2.3.4", "ip 1.2.3.4");

        check("http://evil.example", "url http://evil.example");
        check("http://evil.example/", "url http://evil.example/");
        check("https://a@evil.example:8443/x?y#z", "url https://a@evil.example:8443/x?y#z");
        check("http://1.2.3.4:81/a", "url http://1.2.3.4:81/a");
        check("http://[2001:db8::1]/a", "url http://[2001:db8::1]/a");
        check("http://router/a", "url http://router/a");
        check("evil.example/path", "url evil.example/path");
        check("evil.example/", "url evil.example/");
        check("a.example/1/https://b.example/x", "url a.example/1/https://b.example/x");
        check("evil.example:8080", "url evil.example:8080");
        check("1.2.3.4/path", "url 1.2.3.4/path");
        check("1.2.3.4/", "url 1.2.3.4/");
        check("1.2.3.4:81/bin.sh", "url 1.2.3.4:81/bin.sh");
    }

    #[test]
    fn a_urls_host_may_be_meant() {
        fn check(url: &str, expected: Option<&str>) {
            assert_eq!(host(url).map(|value| show(Ok(value))).as_deref(), expected, "{url:?}");
        }
        check("http://Evil.example/a", Some("name evil.example exact"));
        check("https://a:b@evil.example:8443/x@y", Some("name evil.example exact"));
        check("evil.example:81", Some("name evil.example exact"));
        check("evil.example/http://other.example/", Some("name evil.example exact"));
        check("http://1.2.3.4:81/a", Some("ip 1.2.3.4"));
        check("http://[2001:db8::1]:81/a", Some("ip 2001:db8::1"));
        check("http://router/a", None);
    }

    #[test]
    fn what_is_none_says_why() {
        fn check(text: &str, expected: Fault) {
            assert_eq!(read(text), Err(expected), "{text:?}");
        }
        check("", NameError::Empty.into());
        check(".", NameError::Empty.into());
        check("com", Fault::SingleLabel);
        check(".com", Fault::SingleLabel);
        check("*.com", Fault::SingleLabel);
        check("com.", Fault::SingleLabel);
        check("*", Fault::Wildcard);
        check("ads*.example.com", Fault::Wildcard);
        check("*.*.example.com", Fault::Wildcard);
        check("1.2.3", Fault::Address);
        check("1.2.3.256", Fault::Address);
        check("01.2.3.4", Fault::Address);
        check("C91.196.152.28", Fault::Address);
        check("192.0.2.1/24", Fault::HostBits("192.0.2.0/24".parse().unwrap()));
        check("0.0.0.0/0", Fault::Everything);
        check("::/0", Fault::Everything);
        check("192.0.2.0/33", Fault::PrefixLength);
        check("192.0.2.0/999", Fault::PrefixLength);
        check("evil..example", NameError::EmptyLabel.into());
        check("evil[x]example", NameError::Character('[').into());
        check("someone@evil.example", NameError::Character('@').into());
        check("evil\u{fffd}.example", Fault::NotUtf8);
        check("http://", Fault::Url);
        check("http:///path", Fault::Url);
        check("://evil.example", Fault::Url);
        check("/path", Fault::Url);
        check("path/file", Fault::SingleLabel);
        check("http://evil.example/a\u{7}", Fault::Url);
    }
}
