//! `[console.oidc]`: the organisation's own sign-in for the console, and what its groups make of people.
//!
//! Opens only the files of the secret and the authorities, to say at once where one cannot be read.

use std::time::Duration;

use url::Url;

use super::console::{file, role};
use super::faults::Problem;
use super::fetch::{Common, proxy_url};
use super::file::some_text;
use super::reader::{Reader, Table, Value, boolean, duration, parsed, some, text};
use crate::console::access::Role;
use crate::console::account::{Grant, Passwords};
use crate::console::outside::Options;
use crate::fetch::http::{self, Proxy, read_secret};
use crate::oidc::{self, discovery};

const LABEL: &str = "Đăng nhập một lần (SSO)";
const LABEL_EN: &str = "Single sign-on (SSO)";
const SCOPES: [&str; 2] = ["openid", "profile"];
/// How long a person waits for the provider, and how long may be set.
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(30);
/// Where the provider sends people back to.
const CALLBACK: &str = "/sign-in/oidc/callback";

/// Takes the table; without an issuer there is no such sign-in. `url` is the console's.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    console: &mut Table<'a>,
    url: Option<&str>,
    fetching: &Common,
) -> (Option<Options>, Passwords) {
    let mut table = reader.sub_table(console, "oidc");
    let line = table.line();
    let issuer = reader.take(&mut table, "issuer", None, issuer);
    let client = reader.take(&mut table, "client_id", String::new(), words);
    let line_of_secret = table.line_of("client_secret_file");
    let secret = reader.take(&mut table, "client_secret_file", None, file);
    let line_of_ca = table.line_of("ca");
    let ca = reader.take(&mut table, "ca", None, file);
    let proxy = reader.take(&mut table, "proxy", Some(None), |value| match text(value)? {
        "common" => Ok(None),
        _ => proxy_url(value).map(Some),
    });
    let timeout = reader.take(&mut table, "timeout", TIMEOUT, |value| {
        let wait = duration(value)?;
        if wait <= LONGEST {
            return Ok(wait);
        }
        let (got, why) = (text(value)?.to_owned(), "nobody waits for a page as long".to_owned());
        Err(Problem::Value { got, why, expected: "at most \"30s\"" })
    });
    let scopes = reader.take(&mut table, "scopes", SCOPES.map(str::to_owned).to_vec(), scopes);
    let name_claim = reader.take(&mut table, "name_claim", "preferred_username".to_owned(), some_text);
    let groups_claim = reader.take(&mut table, "groups_claim", "groups".to_owned(), some_text);
    let label = reader.take(&mut table, "label", LABEL.to_owned(), some_text);
    let label_en = reader.take(&mut table, "label_en", LABEL_EN.to_owned(), some_text);
    let contact = reader.take(&mut table, "contact", String::new(), words);
    let line_of_passwords = table.line_of("passwords");
    let has_passwords = reader.take(&mut table, "passwords", true, boolean);
    let groups = groups(reader, &mut table);
    reader.finish(table, &[]);
    for (setting, line, path) in
        [("console.oidc.client_secret_file", line_of_secret, &secret), ("console.oidc.ca", line_of_ca, &ca)]
    {
        let Some(path) = path else { continue };
        let read = match setting {
            "console.oidc.ca" => std::fs::File::open(path).map(drop),
            _ => read_secret(path).map(drop),
        };
        if let Err(error) = read {
            reader.fault(line, setting, Problem::File { path: path.clone(), why: error.to_string() });
        }
    }
    let Some(issuer) = issuer else {
        if !has_passwords {
            // Nobody but admins could sign in at all.
            reader.fault(line_of_passwords, "console.oidc.issuer", Problem::Missing(EXAMPLE));
        }
        return (None, Passwords::Everybody);
    };
    if client.is_empty() {
        reader.fault(line, "console.oidc.client_id", Problem::Missing("client_id = \"sachdns\""));
    }
    let Some(url) = url else {
        reader.fault(
            line,
            "console.url",
            Problem::Missing("url = \"https://sachdns.example.vn\" in [console]"),
        );
        return (None, Passwords::Everybody);
    };
    let proxy = match proxy {
        None => fetching.proxy.clone(),
        Some(url) => url.map(|url| Proxy { url, credentials: None }),
    };
    let http = http::Options { proxy, ca, credentials: None, max_size: 0, timeout };
    let redirect = format!("{url}{CALLBACK}");
    let provider = oidc::Options { issuer, client, secret, scopes, redirect, http };
    let passwords = if has_passwords { Passwords::Everybody } else { Passwords::Admins };
    let label = [label, label_en];
    let options = Options { provider, label, contact, name_claim, groups_claim, groups, passwords };
    (Some(options), passwords)
}

const EXAMPLE: &str = "issuer = \"https://sso.example.vn/realms/tinh\"";

/// What groups make of people, in order.
fn groups<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Vec<(String, Grant)> {
    let mut groups: Vec<(String, Grant)> = Vec::new();
    for mut table in reader.tables(table, "group") {
        let line = table.line();
        let group = reader.required(&mut table, "group", "group = \"sachdns-analysts\"", some_text);
        let role = reader.required(&mut table, "role", "role = \"analyst\"", role);
        let line_of_agency = table.line_of("agency");
        let agency = reader.take(&mut table, "agency", String::new(), words);
        let agency = Some(agency).filter(|agency| !agency.is_empty());
        reader.finish(table, &[]);
        let (Some(group), Some(role)) = (group, role) else { continue };
        match (role, &agency) {
            (Role::Officer, None) => {
                reader.fault(line, "console.oidc.group.agency", Problem::Missing("agency = \"so-yte\""));
                continue;
            }
            (Role::Officer, Some(_)) | (_, None) => {}
            (_, Some(agency)) => {
                let (got, why) = (agency.clone(), "this role sees the province".to_owned());
                let expected = "role = \"officer\" for one agency, or take agency out";
                let problem = Problem::Value { got, why, expected };
                reader.fault(line_of_agency, "console.oidc.group.agency", problem);
                continue;
            }
        }
        if groups.iter().any(|(other, _)| *other == group) {
            // The second would never count.
            reader.fault(line, "console.oidc.group.group", Problem::Twice(group));
            continue;
        }
        groups.push((group, Grant { role, agency }));
    }
    groups
}

/// Exactly as the provider writes it itself: it is compared, not only asked.
fn issuer(value: Value<'_>) -> Result<Option<String>, Problem> {
    if text(value)?.is_empty() {
        return Ok(None);
    }
    parsed(
        "the provider's name as it writes it itself, such as \"https://sso.example.vn/realms/tinh\"",
        |text| {
            let url = Url::parse(text).map_err(|error| error.to_string())?;
            if url.query().is_some() || !discovery::is_safe(&url) {
                return Err(
                    "it is no https URL without user, query and fragment (http does on this machine only)"
                        .to_owned(),
                );
            }
            Ok(Some(text.to_owned()))
        },
    )(value)
}

fn scopes(value: Value<'_>) -> Result<Vec<String>, Problem> {
    let expected = "scopes with \"openid\" among them: [\"openid\", \"profile\"]";
    // RFC 6749, section 3.3.
    let scope = parsed("a scope without spaces", |text| {
        let is_one = !text.is_empty()
            && text.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\\'));
        if is_one { Ok(text.to_owned()) } else { Err("it has other characters than a scope may have") }
    });
    let scopes = some(expected, scope)(value)?;
    if scopes.iter().any(|scope| scope == "openid") {
        return Ok(scopes);
    }
    let why = "without openid nobody is told who signed in".to_owned();
    Err(Problem::Value { got: scopes.join(" "), why, expected })
}

fn words(value: Value<'_>) -> Result<String, Problem> {
    text(value).map(str::to_owned)
}
