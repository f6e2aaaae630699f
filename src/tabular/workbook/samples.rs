//! Workbooks for tests, as Excel, LibreOffice and nobody honest would write them.

use std::io::{Cursor, Write as _};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) use super::{RELATIONS, TEXTS, WORKBOOK};

/// A workbook with these sheets: name, state, the XML within the worksheet.
pub(crate) fn workbook(texts: &str, sheets: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut parts = vec![("xl/sharedStrings.xml".to_owned(), format!("<sst>{texts}</sst>"))];
    let (mut list, mut relations) = (String::new(), String::new());
    for (number, (name, state, sheet)) in sheets.iter().enumerate() {
        list += &format!(r#"<sheet name="{name}" sheetId="{number}" state="{state}" r:id="rId{number}"/>"#);
        relations += &format!(r#"<Relationship Id="rId{number}" Target="worksheets/s{number}.xml"/>"#);
        parts.push((format!("xl/worksheets/s{number}.xml"), format!("<worksheet>{sheet}</worksheet>")));
    }
    parts.push((
        WORKBOOK.to_owned(),
        format!("<?xml version=\"1.0\"?><workbook><sheets>{list}</sheets></workbook>"),
    ));
    parts.push((RELATIONS.to_owned(), format!("<Relationships>{relations}</Relationships>")));
    archive(&parts)
}

/// An archive of these parts.
pub(crate) fn archive(parts: &[(String, String)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Rows of cells with their texts in them, from row 1.
pub(crate) fn inline(rows: &[&[&str]]) -> String {
    let cell = |text: &&str| format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#);
    let row = |row: &&[&str]| format!("<row>{}</row>", row.iter().map(cell).collect::<String>());
    format!("<sheetData>{}</sheetData>", rows.iter().map(row).collect::<String>())
}
