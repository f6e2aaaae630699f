//! `[[outlet]]`: where the query log is sent on to, and in which form.
//!
//! Reads the files of authorities that they name, so that a missing one is told at once.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::faults::Problem;
use super::file::identifier;
use super::identity_files::{Files, Settings};
use super::reader::{Reader, Table, Value, boolean, parsed, size, text};
use crate::evidence::export::Format;
use crate::outlet::{Options, Scope, To};

const EXPECTED: &str = "\"file:/var/log/sachdns.jsonl\", \"unix:/run/dnstap.sock\", \"tcp://192.0.2.7:601\", \
                        \"udp://192.0.2.7:514\" or \"tls://192.0.2.7:6514#siem.example.vn\"";
/// Where TLS is set up.
const TLS: Settings = Settings {
    ca: "outlet.ca",
    certificate: "outlet.certificate",
    key: "outlet.key",
    to: "outlet.to",
    expected: EXPECTED,
    examples: ["certificate = \"/etc/sachdns/outlet.pem\"", "key = \"/etc/sachdns/outlet.key\""],
};
/// What may wait for a receiver where nothing is set.
const BACKLOG: u64 = 1 << 30;
/// The least: what is on its way at once.
const LEAST_BACKLOG: u64 = 1 << 20;
/// Each has a thread.
const MOST: usize = 16;

/// A receiver as it is written; for TLS, the name in its certificate.
enum Written {
    Ready(To),
    Tls(SocketAddr, String),
}

pub(super) fn outlets<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Vec<Options> {
    let mut outlets: Vec<Options> = Vec::new();
    for mut table in reader.tables(top, "outlet") {
        let line = table.line();
        let name = reader.required(&mut table, "name", "name = \"siem\"", name);
        let line_of_to = table.line_of("to");
        let to =
            reader.required(&mut table, "to", "to = \"tls://192.0.2.7:6514#siem.example.vn\"", |value| {
                parsed(EXPECTED, written)(value)
            });
        let line_of_format = table.line_of("format");
        let format =
            reader.take(&mut table, "format", Format::Jsonl, parsed("a format such as \"ocsf\"", str::parse));
        let scope = reader.take(
            &mut table,
            "queries",
            Scope::Hits,
            parsed("\"hits\" or \"all\"", |text| match text {
                "hits" => Ok(Scope::Hits),
                "all" => Ok(Scope::All),
                _ => Err("neither of the two"),
            }),
        );
        let line_of_syslog = table.line_of("syslog");
        let is_syslog = reader.take(&mut table, "syslog", false, boolean);
        let backlog = reader.take(&mut table, "backlog", BACKLOG, backlog);
        let files = Files::take(&TLS, reader, &mut table);
        reader.finish(table, &[]);
        let (Some(name), Some(to)) = (name, to) else { continue };
        if outlets.iter().any(|outlet| outlet.name == name) {
            reader.fault(line, "outlet.name", Problem::Twice(name));
            continue;
        }
        if outlets.len() == MOST {
            let (got, why) = (name, format!("there are {MOST} before it"));
            let expected = "fewer outlets, and let one receiver hand on to others";
            reader.fault(line, "outlet.name", Problem::Value { got, why, expected });
            continue;
        }
        let to = match to {
            Written::Ready(to) => to,
            Written::Tls(address, name) => match files.identity(&name) {
                Ok(identity) => To::Tls(address, identity),
                Err((setting, problem)) => {
                    reader.fault(files.line_of(setting).unwrap_or(line_of_to), setting, problem);
                    continue;
                }
            },
        };
        if format == Format::Dnstap && is_syslog {
            let (got, why) = ("true".to_owned(), "dnstap is no text".to_owned());
            let expected = "false, or another format";
            reader.fault(line_of_syslog, "outlet.syslog", Problem::Value { got, why, expected });
            continue;
        }
        if format == Format::Dnstap && matches!(to, To::Udp(_)) {
            let (got, why) = ("dnstap".to_owned(), "it needs a stream, and udp:// has datagrams".to_owned());
            let expected = "another format, or to = \"tcp://…\"";
            reader.fault(line_of_format, "outlet.format", Problem::Value { got, why, expected });
            continue;
        }
        outlets.push(Options { name, to, format, scope, is_syslog, backlog });
    }
    outlets
}

/// A name that is a folder's too.
fn name(value: Value<'_>) -> Result<String, Problem> {
    let name = identifier(value)?;
    if name.starts_with('.') {
        let (got, why) = (name, "it begins with a dot".to_owned());
        return Err(Problem::Value { got, why, expected: "a word such as \"siem\"" });
    }
    Ok(name)
}

fn written(text: &str) -> Result<Written, String> {
    if let Some(path) = text.strip_prefix("file:") {
        return path_of(path).map(To::File).map(Written::Ready);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return path_of(path).map(To::Unix).map(Written::Ready);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("it does not begin with file:, unix:, tcp://, udp:// or tls://".to_owned());
    };
    let (address, name) = rest.split_once('#').map_or((rest, None), |(address, name)| (address, Some(name)));
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("{address:?} is not an address and a port (names are not looked up)"))?;
    if address.port() == 0 {
        return Err("port 0 is nobody's".to_owned());
    }
    match (scheme, name) {
        ("tcp", None) => Ok(Written::Ready(To::Tcp(address))),
        ("udp", None) => Ok(Written::Ready(To::Udp(address))),
        ("tls", name) => {
            Ok(Written::Tls(address, name.map_or_else(|| address.ip().to_string(), str::to_owned)))
        }
        ("tcp" | "udp", Some(_)) => Err("only tls:// has a name behind #".to_owned()),
        _ => Err(format!("there is no {scheme}://")),
    }
}

fn path_of(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() { Err("there is no path".to_owned()) } else { Ok(PathBuf::from(path)) }
}

fn backlog(value: Value<'_>) -> Result<u64, Problem> {
    let octets = size(value)?;
    if octets >= LEAST_BACKLOG {
        return Ok(octets);
    }
    Err(Problem::Value {
        got: text(value)?.to_owned(),
        why: "as much may be on its way at once".to_owned(),
        expected: "at least \"1MiB\"",
    })
}
