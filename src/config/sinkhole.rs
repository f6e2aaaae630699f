//! What `[sinkhole]` and `[limits]` say of the sinkhole's listeners, its contacts and its authority.

use std::net::{IpAddr, SocketAddr};

use super::faults::Problem;
use super::reader::{Reader, Table, Value, address, count, list, parsed, size, text};
use crate::evidence::contacts;
use crate::name::Name;
use crate::sinkhole::ports;

/// Ports of one setting at the most: each has a socket.
const MOST_PORTS: usize = 256;

/// What the sinkhole does beside its landing page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its listeners, but for that of the landing page.
    pub ports: ports::Options,
    /// How contacts are kept.
    pub contacts: contacts::Options,
    /// Names at and below which alone a new authority may sign; none: everywhere.
    pub permitted: Vec<Name>,
    /// Names at and below which it may not.
    pub excluded: Vec<Name>,
}

/// Takes its settings out of the table `[sinkhole]`; `ports` has its limits already.
pub(super) fn read<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>, ports: ports::Options) -> Watch {
    let https = reader.take(table, "https_listen", ports.https, list(address));
    let mut sockets = |key, setting| {
        let line = table.line_of(key);
        let addresses: Vec<_> =
            reader.take(table, key, Vec::new(), list(addresses)).into_iter().flatten().collect();
        if addresses.len() > MOST_PORTS {
            let (got, why) = (format!("{} ports", addresses.len()), "they are too many".to_owned());
            reader.fault(line, setting, Problem::Value { got, why, expected: "at most 256 ports in all" });
        }
        addresses
    };
    let tcp = sockets("tcp_listen", "sinkhole.tcp_listen");
    let udp = sockets("udp_listen", "sinkhole.udp_listen");
    let default = contacts::Options::default();
    let size = reader.take(table, "contacts_max_size", default.size, contacts_size);
    let name = parsed("a name such as \"gov.vn\"", Name::from_host);
    let excluded = Name::from_host(EXCLUDED).into_iter().collect();
    let excluded = reader.take(table, "ca_excluded", excluded, list(&name));
    let permitted = reader.take(table, "ca_permitted", Vec::new(), list(&name));
    Watch {
        ports: ports::Options { tcp, udp, https, ..ports },
        contacts: contacts::Options { size, ..default },
        permitted,
        excluded,
    }
}

/// Takes the limits of its listeners out of the table `[limits]`.
pub(super) fn limits<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> ports::Options {
    let default = ports::Options::default();
    let number = || count("a number of connections, at least 1");
    let connections = reader.take(table, "sinkhole_connections", default.connections, number());
    let per_client = reader.take(table, "sinkhole_per_client", default.per_client, number());
    ports::Options { connections, per_client, ..default }
}

/// What no authority of a province needs to sign for.
const EXCLUDED: &str = "gov.vn";

/// An address with one or several ports and ranges of ports.
fn addresses(value: Value<'_>) -> Result<Vec<SocketAddr>, Problem> {
    const EXPECTED: &str = "an address with ports, such as \"10.10.10.10:25\", \"10.10.10.10:25,110,6660-6669\" or \"[fd00::10]:25\"";
    parsed(EXPECTED, |text| {
        let (address, ports) = text.rsplit_once(':').ok_or("there is no colon before its ports")?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().map(IpAddr::from),
            None => address.parse::<std::net::Ipv4Addr>().map(IpAddr::from),
        }
        .map_err(|_| "there is no address in front, or an IPv6 address without brackets")?;
        let mut addresses = Vec::new();
        for part in ports.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let port = |text: &str| text.parse::<u16>().map_err(|_| "a port is a number up to 65535");
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err("a range of ports ends before it begins");
            }
            if usize::from(last - first) >= MOST_PORTS {
                return Err("a range has more than 256 ports");
            }
            addresses.extend((first..=last).map(|port| SocketAddr::new(address, port)));
        }
        Ok(addresses)
    })(value)
}

fn contacts_size(value: Value<'_>) -> Result<u64, Problem> {
    const LEAST: u64 = 16 << 20;
    let octets = size(value)?;
    if octets >= LEAST {
        return Ok(octets);
    }
    Err(Problem::Value {
        got: text(value)?.to_owned(),
        why: "a day of a large outbreak alone may need as much".to_owned(),
        expected: "at least \"16MiB\"",
    })
}
