//! Any parts as a spreadsheet: what the parts hold is the fuzzer's, the archive around them is whole.
//!
//! Random octets are no archive that a checksum lets pass, so the target makes one. Parts are divided by a zero octet.
//!
//! ```text
//! n  the shared texts   0   n  the first sheet   0   n  the second sheet
//! ```

#![no_main]

use std::io::{Cursor, Write as _};

use libfuzzer_sys::fuzz_target;
use sachdns::feed::{self, Diagnostic, Format, Indicator, Reading, Sink, Value};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const BOOK: &str = r#"<workbook><sheets><sheet name="a" r:id="1"/><sheet name="b" r:id="2"/></sheets></workbook>"#;
const RELATIONS: &str = r#"<Relationships><Relationship Id="1" Target="worksheets/1.xml"/>
    <Relationship Id="2" Target="/xl/worksheets/2.xml"/></Relationships>"#;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |&octet| octet == 0);
    let mut part = || parts.next().unwrap_or_default();
    let files = [
        ("xl/workbook.xml", BOOK.as_bytes()),
        ("xl/_rels/workbook.xml.rels", RELATIONS.as_bytes()),
        ("xl/sharedStrings.xml", part()),
        ("xl/worksheets/1.xml", part()),
        ("xl/worksheets/2.xml", part()),
    ];
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, octets) in files {
        archive.start_file(name, SimpleFileOptions::default()).expect("a new name");
        archive.write_all(octets).expect("a Vec takes all");
    }
    let file = archive.finish().expect("a Vec takes all").into_inner();
    let reading = Reading { format: Format::Xlsx, ..Reading::default() };
    let _ = feed::parse(&file[..], &reading, &mut Checker);
    // As it is, it is no archive, or by chance a damaged one.
    let _ = feed::parse(data, &reading, &mut Checker);
});

/// Looks at everything and keeps nothing.
struct Checker;

impl Sink for Checker {
    fn indicator(&mut self, indicator: Indicator) {
        assert!((1..=1 << 20).contains(&indicator.line));
        if let Value::Url(url) = &indicator.value {
            assert!(!url.contains(char::is_control), "{url:?}");
        }
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        assert!((1..=1 << 20).contains(&diagnostic.line));
        assert!(diagnostic.text.chars().count() <= 80);
        assert!(!diagnostic.to_string().contains(char::is_control), "{diagnostic:?}");
    }
}
