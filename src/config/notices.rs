//! `[mail]`, `[[webhook]]` and `cases.syslog`: who is told of cases.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::cases::{Office, address};
use super::faults::Problem;
use super::file::{empty_or_text, identifier};
use super::identity_files::{Files, Settings};
use super::reader::{Reader, Table, Value, boolean, duration, list, parsed};
use crate::cases::notify::{Agency, Mail, Options, Receiver, Relay, Security, Webhook};
use crate::client;
use crate::fetch::http;
use crate::fetch::http::read_secret;

/// How long a receiver of a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Each has messages that wait.
const MOST: usize = 16;
const SERVER: &str = "\"smtp://HOST:25\", \"starttls://HOST:587\", \"smtps://HOST:465\", or \"\" for no mail";

/// Where TLS to the receiver of syslog is set up.
const TLS: Settings = Settings {
    ca: "cases.syslog_ca",
    certificate: "cases.syslog_certificate",
    key: "cases.syslog_key",
    to: "cases.syslog",
    expected: "\"udp://192.0.2.77:514\", \"tcp://192.0.2.77:601\", \"tls://192.0.2.77:6514#siem.example.vn\", or \"\" for none",
    examples: [
        "syslog_certificate = \"/etc/sachdns/syslog.pem\"",
        "syslog_key = \"/etc/sachdns/syslog.key\"",
    ],
};

/// Takes `[mail]` and `[[webhook]]`.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    top: &mut Table<'a>,
    agencies: &[client::Agency],
    offices: &[Office],
) -> Options {
    let mail = mail(reader, top);
    let webhooks = webhooks(reader, top);
    let office = |agency: &client::Agency| offices.iter().find(|office| office.agency == agency.id);
    let agencies: HashMap<String, Agency> = agencies
        .iter()
        .map(|agency| {
            let office = office(agency);
            let said = Agency {
                name: agency.name.to_string(),
                officer: office.and_then(|office| office.officer.clone()),
                email: office.and_then(|office| office.email.clone()),
            };
            (agency.id.to_string(), said)
        })
        .collect();
    Options { mail, webhooks, syslog: None, node: String::new(), agencies }
}

fn mail<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Option<Mail> {
    let mut table = reader.sub_table(top, "mail");
    let default = Mail::default();
    let server = reader.take(&mut table, "server", None, parsed(SERVER, relay));
    let ca = reader.take(&mut table, "ca", None, file);
    let line = table.line_of("user");
    let user = reader.take(&mut table, "user", None, empty_or_text);
    let password = reader.take(&mut table, "password_file", None, file);
    let from = reader.take(&mut table, "from", default.from, sender);
    let to = reader.take(&mut table, "to", default.to, list(recipient));
    let class = parsed("c2, phishing, address, scan or unknown", str::parse);
    let at_once = reader.take(&mut table, "at_once", default.at_once, list(class));
    let digest = parsed("a time of the day such as \"08:00\", or \"\" for none", minute);
    let digest = reader.take(&mut table, "digest", default.digest, digest);
    let pause = reader.take(&mut table, "pause", default.pause, duration);
    reader.finish(table, &[]);
    let user = match (user, password) {
        (None, None) => None,
        (Some(user), Some(file)) => {
            if let Err(error) = read_secret(&file) {
                let problem = Problem::File { path: file.clone(), why: error.to_string() };
                reader.fault(line, "mail.password_file", problem);
            }
            Some((user, file))
        }
        _ => {
            let example = "user = \"NAME\" and password_file = \"FILE\"";
            reader.fault(line, "mail.user", Problem::Missing(example));
            None
        }
    };
    let relay = Relay { ca, user, ..server? };
    Some(Mail { relay, from, to, at_once, digest, pause })
}

fn relay(text: &str) -> Result<Option<Relay>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    let (security, port) = match scheme {
        "smtp" => (Security::None, 25),
        "starttls" => (Security::StartTls, 587),
        "smtps" => (Security::Tls, 465),
        other => return Err(format!("there is no {other}://")),
    };
    // The URL's rules for a host and a port, whose schemes they are not.
    let url: Url = format!("http://{rest}").parse().map_err(|error: url::ParseError| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("secrets stand in files: set mail.user and password_file".to_owned());
    }
    if url.path() != "/" || url.query().is_some() {
        return Err("there is something behind the port".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    // http's own port is left out by the parser.
    let port = match rest.rsplit_once(':') {
        Some((_, "80")) => 80,
        _ => url.port().unwrap_or(port),
    };
    Ok(Some(Relay { host, port, security, ..Relay::default() }))
}

fn file(value: Value<'_>) -> Result<Option<PathBuf>, Problem> {
    Ok(empty_or_text(value)?.map(PathBuf::from))
}

fn sender(value: Value<'_>) -> Result<String, Problem> {
    parsed("\"NAME <ADDRESS>\" or an address", |text: &str| {
        let bare = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
        if text.contains(char::is_control) {
            return Err("it has control characters");
        }
        address(bare.trim()).map(|()| text.to_owned())
    })(value)
}

fn recipient(value: Value<'_>) -> Result<String, Problem> {
    parsed("an address such as \"attt@example.vn\"", |text: &str| address(text).map(|()| text.to_owned()))(
        value,
    )
}

/// The minute of a day.
pub(super) fn minute(text: &str) -> Result<Option<u16>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts = text.split_once(':').ok_or("it is no HH:MM")?;
    let number = |part: &str| {
        let is_two = part.len() == 2 && part.bytes().all(|octet| octet.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| is_two)
    };
    match (number(parts.0), number(parts.1)) {
        (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(Some(hour * 60 + minute)),
        _ => Err("it is no HH:MM"),
    }
}

fn webhooks<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Vec<Webhook> {
    let mut webhooks: Vec<Webhook> = Vec::new();
    for mut table in reader.tables(top, "webhook") {
        let line = table.line();
        let name = reader.required(&mut table, "name", "name = \"soc\"", identifier);
        let url = reader.required(&mut table, "url", "url = \"https://soc.example.vn/sachdns\"", |value| {
            parsed("\"https://HOST/PATH\"", url)(value)
        });
        let ca = reader.take(&mut table, "ca", None, file);
        let line_of_secret = table.line_of("secret_file");
        let secret = reader.take(&mut table, "secret_file", None, file);
        let notifies = reader.take(&mut table, "notifies", false, boolean);
        reader.finish(table, &[]);
        if let Some(path) = &secret
            && let Err(error) = read_secret(path)
        {
            let problem = Problem::File { path: path.clone(), why: error.to_string() };
            reader.fault(line_of_secret, "webhook.secret_file", problem);
        }
        let (Some(name), Some(url)) = (name, url) else { continue };
        if webhooks.iter().any(|webhook| webhook.name == name) {
            reader.fault(line, "webhook.name", Problem::Twice(name));
            continue;
        }
        if webhooks.len() == MOST {
            let (got, why) = (name, format!("there are {MOST} before it"));
            let expected = "fewer, and let one receiver hand on to others";
            reader.fault(line, "webhook.name", Problem::Value { got, why, expected });
            continue;
        }
        let http = http::Options { proxy: None, ca, credentials: None, max_size: 0, timeout: TIMEOUT };
        webhooks.push(Webhook { name, url, http, secret, notifies });
    }
    webhooks
}

fn url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error: url::ParseError| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it is neither http:// nor https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("secrets stand in files: set secret_file".to_owned());
    }
    Ok(url)
}

/// Takes `cases.syslog` and the files that TLS to it is set up with.
pub(super) fn syslog<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Option<Receiver> {
    let line = table.line_of("syslog");
    let written = reader.take(table, "syslog", None, parsed(TLS.expected, receiver));
    let files = Files::take(&TLS, reader, table);
    match written? {
        Written::Ready(receiver) => Some(receiver),
        Written::Tls(address, name) => match files.identity(&name) {
            Ok(identity) => Some(Receiver::Tls(address, identity)),
            Err((setting, problem)) => {
                reader.fault(files.line_of(setting).unwrap_or(line), setting, problem);
                None
            }
        },
    }
}

/// A receiver as it is written; for TLS, the name in its certificate.
#[derive(Clone)]
enum Written {
    Ready(Receiver),
    Tls(SocketAddr, String),
}

fn receiver(text: &str) -> Result<Option<Written>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    let (address, name) = rest.split_once('#').map_or((rest, None), |(address, name)| (address, Some(name)));
    let address: SocketAddr = address.parse().map_err(|_| "there is no address and port behind it")?;
    match (scheme, name) {
        ("udp", None) => Ok(Some(Written::Ready(Receiver::Udp(address)))),
        ("tcp", None) => Ok(Some(Written::Ready(Receiver::Tcp(address)))),
        ("tls", name) => {
            let name = name.map_or_else(|| address.ip().to_string(), str::to_owned);
            Ok(Some(Written::Tls(address, name)))
        }
        ("udp" | "tcp", Some(_)) => Err("only tls:// has a name behind #"),
        _ => Err("there is no such way"),
    }
}
