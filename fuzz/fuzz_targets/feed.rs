//! Any file as a feed: indicators and diagnostics come out, and both are safe to hand on.
//!
//! A name survives its presentation; a network has no host bits; a family and a URL hold no control
//! characters; a diagnostic fits a line of a terminal. Memory stays bounded: the run's limits see to
//! that, for the sink here keeps nothing.
//!
//! ```text
//! 1  the format, by its place in `Format::ALL`; from 128 on the file is packed with gzip
//! n  the file
//! ```

#![no_main]

use std::io::Read as _;

use flate2::Compression;
use flate2::read::GzEncoder;
use libfuzzer_sys::fuzz_target;
use sachdns::feed::{self, Diagnostic, Format, Indicator, Reading, Sink, Value, json};
use sachdns::name::Name;

const GZIP: u8 = 0x80;

fuzz_target!(|data: &[u8]| {
    // The scanner's panics are caught where it is called, but the fuzzer ends at each.
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let fatal = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().contains("/domain-")) {
                fatal(panic);
            }
        }));
    });
    let Some((&choice, file)) = data.split_first() else { return };
    let format = Format::ALL[usize::from(choice & !GZIP) % Format::ALL.len()];
    let mut checker = Checker { lines: file.split(|&byte| matches!(byte, b'\n' | b'\r')).count() as u64 };
    let reading = Reading { format, ..Reading::default() };
    let used = if choice & GZIP == 0 {
        // What is gzip or a workbook by itself has other lines than can be counted here.
        if file.starts_with(b"\x1f\x8b") || file.starts_with(b"PK") {
            checker.lines = u64::MAX;
        }
        feed::parse(file, &reading, &mut checker)
    } else {
        // Cut short where the file says so: an end too soon is an error, never a panic.
        let kept = file.last().filter(|&&last| last < 32).map_or(u64::MAX, |&last| u64::from(last));
        feed::parse(GzEncoder::new(file, Compression::fast()).take(kept), &reading, &mut checker)
    };
    if let Ok(used) = used {
        assert!(format == Format::Auto || used == format);
    }
});

/// Looks at everything and keeps nothing.
struct Checker {
    lines: u64,
}

impl Checker {
    fn check_line(&self, line: u64) {
        assert!((1..=self.lines).contains(&line), "line {line} of {}", self.lines);
    }
}

impl Sink for Checker {
    fn indicator(&mut self, indicator: Indicator) {
        self.check_line(indicator.line);
        match &indicator.value {
            Value::Name(name, _) => {
                assert!(name.label_count() > 1, "{name}");
                assert_eq!(Name::from_presentation(&name.to_string()).as_ref(), Ok(name));
            }
            Value::Ip(address) => assert_eq!(*address, address.to_canonical()),
            Value::Net(network) => assert_eq!(*network, network.trunc()),
            Value::Url(url) => assert!(!url.contains(char::is_control), "{url:?}"),
        }
        if let Some(family) = &indicator.family {
            assert!(!family.is_empty() && family.len() <= 200 && !family.contains(char::is_control));
        }
        let mut line = Vec::new();
        json::write_line(&mut line, &indicator).expect("a Vec takes all");
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        self.check_line(diagnostic.line);
        assert!(diagnostic.text.chars().count() <= 80);
        assert!(!diagnostic.to_string().contains(char::is_control), "{diagnostic:?}");
    }
}
