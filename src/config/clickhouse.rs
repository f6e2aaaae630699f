//! `[log.clickhouse]`: where the query log is shipped to, and asked for.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::faults::Problem;
use super::log::age;
use super::reader::{Reader, Table, Value, duration, parsed, text};
use crate::evidence::store::clickhouse::{Identifier, Options};

/// Takes the table; `None` where ClickHouse is not used.
pub(super) fn read<'a>(reader: &mut Reader<'a>, log: &mut Table<'a>) -> Option<Options> {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut table = reader.sub_table(log, "clickhouse");
    let url = reader.take(&mut table, "url", None, url);
    let user = reader.take(&mut table, "user", "default".to_owned(), |value| Ok(text(value)?.to_owned()));
    let password_file = reader.take(&mut table, "password_file", None, file);
    let ca = reader.take(&mut table, "ca", None, file);
    let database = reader.take(&mut table, "database", None, identifier);
    let cluster = reader.take(&mut table, "cluster", None, |value| match text(value)? {
        "" => Ok(None),
        _ => identifier(value),
    });
    let timeout = reader.take(&mut table, "timeout", Duration::from_secs(60), duration);
    let keep_queries = reader.take(&mut table, "keep_queries", 90 * DAY, age);
    let keep_hits = reader.take(&mut table, "keep_hits", 1095 * DAY, age);
    reader.finish(table, &[]);
    let database = database.or_else(|| "sachdns".parse().ok())?;
    Some(Options { url: url?, user, password_file, ca, database, cluster, timeout, keep_queries, keep_hits })
}

fn url(value: Value<'_>) -> Result<Option<Url>, Problem> {
    const EXPECTED: &str =
        "the address of ClickHouse's HTTP interface, \"http://HOST:8123\" or \"https://HOST:8443\"";
    if text(value)?.is_empty() {
        return Ok(None);
    }
    parsed(EXPECTED, |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        match url.scheme() {
            "http" | "https" if url.has_host() => {}
            "http" | "https" => return Err("there is no host in it".to_owned()),
            other => {
                return Err(format!("{other}:// is not HTTP; the native protocol (port 9000) is not spoken"));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "the user goes into user, the password into a file that password_file names".to_owned()
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("there is something behind the path".to_owned());
        }
        Ok(Some(url))
    })(value)
}

fn identifier(value: Value<'_>) -> Result<Option<Identifier>, Problem> {
    parsed("a word of letters, digits and _", str::parse)(value).map(Some)
}

fn file(value: Value<'_>) -> Result<Option<PathBuf>, Problem> {
    Ok(Some(PathBuf::from(text(value)?)).filter(|path| !path.as_os_str().is_empty()))
}
