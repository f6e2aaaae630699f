//! `[[zone]]` and `[[tsig_key]]`: local zones, who may have them, and the keys that show who somebody is.
//!
//! Zones' files are not read here, and no fault quotes a secret.

use std::net::{IpAddr, SocketAddr};

use super::faults::Problem;
use super::file::{file_path, network, some_text};
use super::reader::{Reader, Table, Value, list, parsed, text};
use crate::name::Name;
use crate::resolve::zone::{Source, Transfer};
use crate::tsig::{Algorithm, Key, SecretError};

pub(super) fn keys<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for mut table in reader.tables(top, "tsig_key") {
        let line = table.line();
        let name = reader.required(&mut table, "name", "name = \"transfer.example.vn\"", key_name);
        let algorithm = reader.take(
            &mut table,
            "algorithm",
            Algorithm::Sha256,
            parsed(
                "\"hmac-sha256\", \"hmac-sha384\", \"hmac-sha512\" or, for old servers, \"hmac-sha1\"",
                str::parse,
            ),
        );
        let (line_of_secret, line_of_file) = (table.line_of("secret"), table.line_of("secret_file"));
        let secret = reader.optional(&mut table, "secret", |value| text(value).map(str::to_owned));
        let file = reader.optional(&mut table, "secret_file", file_path);
        reader.finish(table, &[]);
        let (line_of_secret, setting, secret) = match (secret, file) {
            (Some(secret), None) => (line_of_secret, "tsig_key.secret", secret),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(secret) => (line_of_file, "tsig_key.secret_file", secret),
                Err(error) => {
                    let problem = Problem::File { path, why: error.to_string() };
                    reader.fault(line_of_file, "tsig_key.secret_file", problem);
                    continue;
                }
            },
            (None, None) => {
                // A secret that is there and no text is a fault already.
                if line_of_secret == line && line_of_file == line {
                    let example = "secret = \"…\", as `tsig-keygen` prints it, or secret_file = \"FILE\"";
                    reader.fault(line, "tsig_key.secret", Problem::Missing(example));
                }
                continue;
            }
            (Some(_), Some(_)) => {
                let problem = Problem::Twice("the secret, also as secret_file,".to_owned());
                reader.fault(line_of_secret, "tsig_key.secret", problem);
                continue;
            }
        };
        let Some(name) = name else { continue };
        if keys.iter().any(|key| *key.name() == name) {
            reader.fault(line, "tsig_key.name", Problem::Twice(name.to_string()));
            continue;
        }
        match Key::new(name, algorithm, &secret) {
            Ok(key) => keys.push(key),
            Err(why) => reader.fault(line_of_secret, setting, wrong_secret(why)),
        }
    }
    keys
}

fn wrong_secret(why: SecretError) -> Problem {
    Problem::Value {
        got: "…".to_owned(),
        why: why.to_string(),
        expected: "at least 16 random octets in base64, such as `tsig-keygen` prints",
    }
}

pub(super) fn zones<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>, keys: &[Key]) -> Vec<Source> {
    let mut zones: Vec<Source> = Vec::new();
    for mut table in reader.tables(top, "zone") {
        let line = table.line();
        let name = reader.required(&mut table, "name", "name = \"internal.example.vn\"", zone_name);
        let file = reader.required(&mut table, "file", "file = \"zones/internal.zone\"", file_path);
        let networks = reader.take(&mut table, "transfer_to", Vec::new(), list(network));
        let line_of_key = table.line_of("tsig");
        let key = reader.optional(&mut table, "tsig", key_name);
        let notify = reader.take(&mut table, "notify", Vec::new(), list(secondary));
        reader.finish(table, &[]);
        known_key(reader, key.as_ref(), keys, line_of_key, "zone.tsig");
        let (Some(name), Some(file)) = (name, file) else { continue };
        if zones.iter().any(|zone| zone.name == name) {
            reader.fault(line, "zone.name", Problem::Twice(name.to_string()));
            continue;
        }
        zones.push(Source { name, file, transfer: Transfer { networks, key }, notify });
    }
    zones
}

/// A fault where a key that is named is none of `keys`.
pub(super) fn known_key(
    reader: &mut Reader<'_>,
    key: Option<&Name>,
    keys: &[Key],
    line: usize,
    setting: &'static str,
) {
    if let Some(key) = key.filter(|wanted| keys.iter().all(|known| known.name() != *wanted)) {
        let problem = Problem::Value {
            got: key.to_string(),
            why: "no [[tsig_key]] has this name, or it has a fault".to_owned(),
            expected: "the name of one that is there",
        };
        reader.fault(line, setting, problem);
    }
}

pub(super) fn zone_name(value: Value<'_>) -> Result<Name, Problem> {
    parsed("a name such as \"internal.example.vn\" or \"1.10.in-addr.arpa\"", |text: &str| {
        // Zones of classless delegation have a slash (RFC 2317).
        if text.is_ascii() { Name::from_presentation(text) } else { Name::from_host(text) }
    })(value)
}

pub(super) fn key_name(value: Value<'_>) -> Result<Name, Problem> {
    let text = some_text(value)?;
    Name::from_host(&text).map_err(|why| Problem::Value {
        got: text,
        why: why.to_string(),
        expected: "a name such as \"transfer.example.vn\"",
    })
}

/// A secondary's address; the port may be left out.
pub(super) fn secondary(value: Value<'_>) -> Result<SocketAddr, Problem> {
    parsed("an address such as \"192.0.2.53\" or \"192.0.2.53:53\"", |text: &str| {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok((address, 53).into());
        }
        text.parse().map_err(|_| "not an address")
    })(value)
}
