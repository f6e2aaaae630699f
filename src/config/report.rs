//! `[report]`: who writes to whom, and what is made each month.

use std::path::PathBuf;

use super::faults::Problem;
use super::file::empty_or_text;
use super::notices::minute;
use super::reader::{Reader, Table, Value, boolean, list, parsed, text};
use crate::report::{Format, Letter, Options};

/// Octets of a name in a letter.
const LONGEST: usize = 300;

/// Reports, and which of them are made by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// How they are made.
    pub options: Options,
    /// Whether there is one of each month.
    pub is_monthly: bool,
    /// At which minute of the month's first day, by Vietnam's clocks.
    pub at: u16,
    /// In which forms.
    pub formats: Vec<Format>,
    /// Where they are put, if not in the data folder.
    pub folder: Option<PathBuf>,
}

/// Takes the table `[report]`.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Reports {
    let mut table = reader.sub_table(top, "report");
    let default = Letter::default();
    let letter = Letter {
        department: reader.take(&mut table, "department", default.department, line),
        parent: reader.take(&mut table, "parent", default.parent, line),
        place: reader.take(&mut table, "place", default.place, line),
        symbol: reader.take(&mut table, "symbol", default.symbol, line),
        addressees: reader.take(&mut table, "addressees", default.addressees, list(line)),
        signer_title: reader.take(&mut table, "signer_title", default.signer_title, line),
        signer: reader.take(&mut table, "signer", default.signer, line),
        recipients: reader.take(&mut table, "recipients", default.recipients, list(line)),
    };
    let place_of_template = table.line_of("template");
    let template = reader.take(&mut table, "template", None, path);
    if let Some(path) = &template
        && !path.is_file()
    {
        let why = "there is no such file; `sachdns report template --output FILE` writes one".to_owned();
        let problem = Problem::File { path: path.clone(), why };
        reader.fault(place_of_template, "report.template", problem);
    }
    let is_monthly = reader.take(&mut table, "monthly", true, boolean);
    let at = reader.take(&mut table, "at", 6 * 60, |value| {
        let expected = "a time of the day such as \"06:00\"";
        parsed(expected, |text: &str| minute(text)?.ok_or("it is no HH:MM"))(value)
    });
    let format = parsed("\"xlsx\", \"docx\", \"csv\", \"json\" or \"html\"", str::parse);
    let formats = reader.take(&mut table, "formats", vec![Format::Xlsx, Format::Docx], list(format));
    let folder = reader.take(&mut table, "folder", None, path);
    reader.finish(table, &[]);
    Reports { options: Options { letter, template }, is_monthly, at, formats, folder }
}

fn path(value: Value<'_>) -> Result<Option<PathBuf>, Problem> {
    Ok(empty_or_text(value)?.map(PathBuf::from))
}

/// A text that fits one line of a letter.
fn line(value: Value<'_>) -> Result<String, Problem> {
    let got = text(value)?;
    if got.len() > LONGEST || got.contains(char::is_control) {
        let why = "it is longer, or holds control characters".to_owned();
        let expected = "a line of at most 300 octets";
        return Err(Problem::Value { got: got.to_owned(), why, expected });
    }
    Ok(got.trim().to_owned())
}
