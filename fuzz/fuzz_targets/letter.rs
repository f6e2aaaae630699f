//! Any text as the document of a letter's template: what comes out is XML where what went in was, and bounded.
//!
//! Random octets are no archive that a checksum lets pass, so the target makes one around them; as they are, they are tried too.

#![no_main]

use std::io::{Cursor, Read as _, Write as _};

use libfuzzer_sys::fuzz_target;
use sachdns::report::figures::{Lacks, Row};
use sachdns::report::{Figures, Letter, Period, Scope, fill_letter};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

const DOCUMENT: &str = "word/document.xml";

fuzz_target!(|data: &[u8]| {
    let row = |name: &str| Row { id: Some(name.to_owned()), name: name.to_owned(), ..Row::default() };
    let figures = Figures {
        period: Period::month("2026-11").expect("a month"),
        scope: Scope::All,
        made: 1_796_000_000_000_000,
        province: Row::default(),
        agencies: ["Sở Y tế", "<w:p>&"].map(row).to_vec(),
        days: Vec::new(),
        cases: Vec::new(),
        gaps: Vec::new(),
        lacks: Lacks { is_unfinished: true, ..Lacks::default() },
    };
    let letter = Letter { department: "]]>{{so_may_nhiem}}".to_owned(), ..Letter::default() };
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(DOCUMENT, SimpleFileOptions::default()).expect("a new name");
    archive.write_all(data).expect("a Vec takes all");
    let template = archive.finish().expect("a Vec takes all").into_inner();
    if let Ok(filled) = fill_letter(&figures, &letter, template) {
        let mut archive = ZipArchive::new(Cursor::new(filled)).expect("an archive of ours");
        let mut text = String::new();
        archive.by_name(DOCUMENT).expect("it was there").read_to_string(&mut text).expect("text stays text");
        // Every paragraph may come twice, and a row within a row four times.
        assert!(text.len() <= 64 << 20, "{} octets became {}", data.len(), text.len());
    }
    let _ = fill_letter(&figures, &letter, data.to_vec());
});
