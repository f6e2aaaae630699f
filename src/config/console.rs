//! `[console]`: where staff sign in, over what, and for how long.

use std::path::PathBuf;

use url::Url;

use super::faults::Problem;
use super::fetch::Common;
use super::file::{network, networks_of};
use super::reader::{Reader, Table, Value, address, duration, list, parsed, text};
use crate::console::Options;
use crate::console::access::Role;
use crate::console::account::Rules;
use crate::credentials;

/// Who may read figures without a token.
const METRICS_ALLOW: &[&str] = &["127.0.0.0/8", "::1/128"];

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>, fetching: &Common) -> Options {
    let mut table = reader.sub_table(top, "console");
    let line = table.line();
    // One address may stand without brackets.
    let listen = |value| address(value).map(|one| vec![one]).or_else(|_| list(address)(value));
    let listen = reader.take(&mut table, "listen", Vec::new(), listen);
    let url = reader.take(&mut table, "url", None, url);
    let certificate = reader.take(&mut table, "certificate", None, file);
    let key = reader.take(&mut table, "key", None, file);
    let trusted_proxies = reader.take(&mut table, "trusted_proxies", Vec::new(), list(network));
    let metrics_allow = reader.take(&mut table, "metrics_allow", networks_of(METRICS_ALLOW), list(network));
    let rules = Rules::default();
    let idle = reader.take(&mut table, "session_idle", rules.idle, duration);
    let life = reader.take(&mut table, "session_life", rules.life, duration);
    let totp = reader.take(&mut table, "totp", rules.totp, list(role));
    let (outside, passwords) = super::console_oidc::read(reader, &mut table, url.as_deref(), fetching);
    reader.finish(table, &[]);
    let missing = match (&certificate, &key) {
        (Some(_), None) => Some(("console.key", "key = \"/etc/sachdns/console-key.pem\"")),
        (None, Some(_)) => Some(("console.certificate", "certificate = \"/etc/sachdns/console.pem\"")),
        _ => None,
    };
    if let Some((setting, example)) = missing {
        reader.fault(line, setting, Problem::Missing(example));
    }
    let credentials = certificate.zip(key);
    let credentials =
        credentials.map(|(certificate, key)| credentials::Options { certificate, key, name: None });
    let rules = Rules { idle, life, totp, passwords };
    Options { listen, metrics_allow, url, credentials, trusted_proxies, rules, outside }
}

pub(super) fn role(value: Value<'_>) -> Result<Role, Problem> {
    parsed("roles: \"admin\", \"analyst\", \"officer\", \"reader\"", str::parse)(value)
}

/// Where browsers find the console: scheme, host and port only.
fn url(value: Value<'_>) -> Result<Option<String>, Problem> {
    if text(value)?.is_empty() {
        return Ok(None);
    }
    parsed("how browsers reach the console, such as \"https://sachdns.example.vn\"", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err("it has more or less than http or https, a host and a port".to_owned());
        }
        Ok(Some(url.origin().ascii_serialization()))
    })(value)
}

pub(super) fn file(value: Value<'_>) -> Result<Option<PathBuf>, Problem> {
    Ok(Some(PathBuf::from(text(value)?)).filter(|path| !path.as_os_str().is_empty()))
}
