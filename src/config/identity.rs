//! `[[identity]]`: files that say which machine had which address.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::faults::Problem;
use super::file::{file_path, identifier};
use super::log::age;
use super::reader::{Reader, Table, Value, parsed};
use crate::client::Agency;
use crate::identity::follow::{Options, Watched};
use crate::identity::read::Format;
use crate::identity::read::times::Order;

/// How long is kept which addresses machines had, where nothing is set: longer than hits.
const KEEP: Duration = Duration::from_secs(800 * 86400);
/// Each is looked at every two seconds.
const MOST: usize = 256;

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>, agencies: &[Agency]) -> Options {
    let keep = reader.take(top, "identity_keep", KEEP, age);
    let mut files: Vec<Watched> = Vec::new();
    for mut table in reader.tables(top, "identity") {
        let line = table.line();
        let example = "path = \"/var/lib/kea/kea-leases4.csv\"";
        let path = reader.required(&mut table, "path", example, file_path);
        let format = reader.take(
            &mut table,
            "format",
            Format::Auto,
            parsed("\"auto\", \"kea\", \"isc\", \"dnsmasq\", \"windows\" or \"inventory\"", str::parse),
        );
        let line_of_agency = table.line_of("agency");
        let agency = reader.take(&mut table, "agency", None, |value| optional(value, identifier));
        let dates = reader.take(
            &mut table,
            "dates",
            Order::Auto,
            parsed("\"auto\", \"dmy\", \"mdy\" or \"ymd\"", str::parse),
        );
        let zone = reader.take(
            &mut table,
            "zone",
            TimeZone::system(),
            parsed("a time zone such as \"Asia/Ho_Chi_Minh\", or \"system\"", |name| match name {
                "system" => Ok(TimeZone::system()),
                name => TimeZone::get(name),
            }),
        );
        reader.finish(table, &[]);
        let Some(path) = path else { continue };
        if files.iter().any(|file| file.path == path) {
            reader.fault(line, "identity.path", Problem::Twice(path.display().to_string()));
            continue;
        }
        if let Some(id) = &agency
            && !agencies.iter().any(|agency| *agency.id == **id)
        {
            let (got, why) = (id.clone(), "no [[agency]] has this id".to_owned());
            let expected = "the id of an agency, or \"\"";
            reader.fault(line_of_agency, "identity.agency", Problem::Value { got, why, expected });
            continue;
        }
        if files.len() == MOST {
            let (got, why) = (path.display().to_string(), format!("there are {MOST} before it"));
            let expected = "fewer files";
            reader.fault(line, "identity.path", Problem::Value { got, why, expected });
            continue;
        }
        files.push(Watched { path, format, agency, zone, dates });
    }
    let agencies = agencies.iter().map(|it| (it.id.to_string(), it.name.to_string())).collect();
    Options { files, agencies, keep }
}

/// An empty text is none.
fn optional<'a, T>(
    value: Value<'a>,
    read: impl FnOnce(Value<'a>) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    if super::reader::text(value).is_ok_and(str::is_empty) { Ok(None) } else { read(value).map(Some) }
}
