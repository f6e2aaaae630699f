//! One table, a row an agency and one for all together: CSV (RFC 4180) with a mark by which Excel knows that it is UTF-8.

use super::Scope;
use super::figures::{Figures, Row};
use super::words::{self, COLUMNS, PROTECTION, Value};
use crate::evidence::export::csv::quoted;

/// What Excel wants in front.
const MARK: &str = "\u{feff}";

pub(super) fn render(figures: &Figures) -> Vec<u8> {
    let has_protection = figures.province.counts.coverage.is_some();
    let mut headings = vec![words::AGENCY_ID, words::AGENCY];
    headings.extend(COLUMNS.iter().map(|column| column.heading));
    if has_protection {
        headings.extend(PROTECTION.iter().take(2).map(|(heading, _)| *heading));
    }
    let mut text = MARK.to_owned();
    let mut add = |fields: &[String]| {
        let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    };
    add(&headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>());
    for row in &figures.agencies {
        add(&fields(row, &words::row_name(row), has_protection));
    }
    if figures.scope == Scope::All {
        add(&fields(&figures.province, words::PROVINCE_ROW, has_protection));
    }
    text.into_bytes()
}

fn fields(row: &Row, name: &str, has_protection: bool) -> Vec<String> {
    let mut fields = vec![row.id.clone().unwrap_or_default(), name.to_owned()];
    fields.extend(COLUMNS.iter().map(|column| match (column.value)(&row.counts) {
        Value::Count(count) => count.to_string(),
        Value::Time(seconds) => seconds.map_or_else(String::new, plain_hours),
    }));
    if has_protection {
        let coverage = row.counts.coverage;
        let text = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        fields.push(text(coverage.map(|it| it.machines)));
        fields.push(text(coverage.map(|it| it.protected)));
    }
    fields
}

/// Hours with two places behind a point.
fn plain_hours(seconds: u64) -> String {
    let hundredths = seconds.saturating_mul(100).saturating_add(1800) / 3600;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
