//! Any octets as a segment or a record: whole records come out, and each can be shown.
//!
//! What decodes encodes to octets that decode to the same. No export panics, each record is one line
//! of its export, and no control character reaches a terminal through the table.

#![no_main]

use jiff::tz::{TimeZone, offset};
use libfuzzer_sys::fuzz_target;
use sachdns::evidence::export::{Format, Origin, csv, jsonl, table};
use sachdns::evidence::record::{self, Record};
use sachdns::evidence::segment::{Block, Records};
use sachdns::evidence::store::Filter;
use sachdns::name::Name;

const MAGIC: &[u8] = b"SACHSEG\x03";

fuzz_target!(|data: &[u8]| {
    check_segment(data);
    check_segment(&[MAGIC, data].concat());
    // Chance never meets a block's checksum, so records are also tried without their blocks.
    let Some(record) = Record::decode(data, 0) else { return };
    let mut octets = Vec::new();
    record.encode(0, &mut octets);
    assert!(octets.len() <= record::MAX_LEN);
    assert_eq!(Record::decode(&octets, 0).as_ref(), Some(&record));
    let mut block = Block::default();
    block.add(&record);
    block.add(&record);
    let framed = [MAGIC, block.seal(), data].concat();
    let mut records = Records::new(&framed);
    assert_eq!(records.next().as_ref(), Some(&record));
    assert_eq!(records.next().as_ref(), Some(&record));
    assert_eq!(records.damaged_len(), data.len());
    check_segment(&framed);
});

fn check_segment(octets: &[u8]) {
    let mut records = Records::new(octets);
    let mut left = records.damaged_len();
    while let Some(record) = records.next() {
        check_exports(&record);
        assert!(records.damaged_len() < left, "every record takes octets");
        left = records.damaged_len();
    }
    assert!(left <= octets.len());
}

fn check_exports(record: &Record<'_>) {
    let line = line_of(|out| table::write(out, record, &TimeZone::fixed(offset(7))));
    assert!(!line.contains(char::is_control), "{line:?}");
    line_of(|out| jsonl::write(out, record));
    let origin = Origin { node: "fuzz".to_owned() };
    for format in [Format::Ocsf, Format::OcsfFinding, Format::Ecs, Format::Zeek, Format::Cef] {
        line_of(|out| format.write(out, record, &origin));
    }
    Format::Dnstap.write(&mut Vec::new(), record, &origin).expect("a Vec takes all");
    let mut out = Vec::new();
    csv::write(&mut out, record).expect("a Vec takes all");
    let text = String::from_utf8(out).expect("an export is UTF-8");
    // Line ends stand in a field only inside its quotes.
    let bare: String = text.split('"').step_by(2).collect();
    assert_eq!(bare.find(['\r', '\n']), Some(bare.len() - 2), "{text:?}");

    let name = Some(Name::from_host("evil.example").expect("a host name"));
    Filter { name, since: Some(0), ..Filter::default() }.takes(record);
}

/// What `write` writes, which must be one line; without its end.
fn line_of(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("a Vec takes all");
    let mut line = String::from_utf8(out).expect("an export is UTF-8");
    assert_eq!(line.pop(), Some('\n'));
    assert!(!line.contains('\n'), "{line:?}");
    line
}
