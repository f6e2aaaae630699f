//! What all formats promise together: the reading of bytes, detection, golden extracts of published
//! lists (`tests/feeds`), and properties over random input.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::IpAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

mod across;
mod golden;

/// One line for each thing a feed gives: `1 name evil.example subtree` or `1! SingleLabel`.
#[derive(Default)]
struct Transcript(Vec<String>);

impl Sink for Transcript {
    fn indicator(&mut self, indicator: Indicator) {
        let mut line = format!("{} ", indicator.line);
        let _ = match &indicator.value {
            Value::Name(name, scope) => write!(line, "name {name} {scope}"),
            Value::Ip(address) => write!(line, "ip {address}"),
            Value::Net(network) => write!(line, "net {network}"),
            Value::Url(url) => write!(line, "url {url}"),
        };
        if let Some(family) = &indicator.family {
            let _ = write!(line, " family={family}");
        }
        if let Some(severity) = indicator.severity {
            let _ = write!(line, " severity={severity}");
        }
        if let Some(expires) = indicator.expires {
            let _ = write!(line, " expires={}", expires / 1_000_000);
        }
        if let Some(trigger) = indicator.trigger.filter(|trigger| *trigger != Trigger::Qname) {
            let _ = write!(line, " trigger={trigger}");
        }
        if let Some(action) = &indicator.action {
            let _ = write!(line, " action={action}");
        }
        self.0.push(line);
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        assert!(diagnostic.text.chars().count() <= 80);
        assert!(!diagnostic.to_string().contains(char::is_control));
        self.0.push(format!("{}! {:?}", diagnostic.line, diagnostic.fault));
    }
}

/// This format, and nothing else said.
pub(super) fn as_is(format: Format) -> Reading {
    Reading { format, ..Reading::default() }
}

/// Reads `text` as `format` and compares all that it gives, in order.
pub(super) fn check(format: Format, text: &str, expected: &[&str]) {
    check_bytes(format, text.as_bytes(), expected);
}

fn check_bytes(format: Format, bytes: &[u8], expected: &[&str]) {
    check_read(&as_is(format), bytes, expected);
}

/// Reads `bytes` as told and compares all that they give, in order.
pub(super) fn check_read(reading: &Reading, bytes: &[u8], expected: &[&str]) {
    let format = reading.format;
    let mut transcript = Transcript::default();
    assert_eq!(parse(bytes, reading, &mut transcript).unwrap(), format);
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    assert_eq!(transcript.0, expected, "{format}: {shown:?}");
}

/// Formats of lines that list names.
const READABLE: [Format; 9] = [
    Format::Plain,
    Format::Hosts,
    Format::Adblock,
    Format::Dnsmasq,
    Format::Unbound,
    Format::Bind,
    Format::Rpz,
    Format::Maltrail,
    Format::Text,
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_that_are_no_lists_give_one_diagnostic() {
    fn check(bytes: &[u8], fault: &str) {
        for format in READABLE {
            check_bytes(format, bytes, &[&format!("1! {fault}")]);
        }
        if !bytes.starts_with(b"PK") {
            check_bytes(Format::Auto, bytes, &[&format!("1! {fault}")]);
        }
    }
    check(b"<!DOCTYPE html><html>\nevil.example\n", "Markup");
    check(b"\xef\xbb\xbf \r\n<html>\nevil.example\n", "Markup");
    check(b"<?xml version=\"1.0\"?>\n", "Markup");
    check(&gzip(b"<head>\nevil.example\n"), "Markup");
    check(b"\xff\xfee\0v\0i\0l\0.\0e\0x\0\n\0", "Utf16");
    check(b"\xfe\xff\0e\0v\0i\0l", "Utf16");
    check(b"PK\x03\x04\0\0evil.example\nevil.example\n", "Binary");
    check(&gzip(&gzip(b"evil.example\n")), "Binary");
}

#[test]
fn a_zero_octet_far_down_spoils_its_line_only() {
    for format in READABLE {
        let (list, bad) = match format {
            Format::Plain | Format::Maltrail => ("a.example", "b\0.example"),
            Format::Hosts => ("0.0.0.0 a.example", "0.0.0.0 b\0.example"),
            Format::Adblock => ("||a.example^", "||b\0.example^"),
            Format::Dnsmasq => ("local=/a.example/", "local=/b\0.example/"),
            Format::Rpz => ("a.example CNAME .", "b\0.example CNAME ."),
            Format::Unbound => ("local-zone: a.example deny", "local-zone: b\0.example deny"),
            Format::Bind => ("zone a.example {type master;};", "zone b\0.example {type master;};"),
            Format::Text => ("a[.]example", "b\0[.]example"),
            other => unreachable!("{other}"),
        };
        let text = format!("{}{bad}\n{list}\n", format!("{list}\n").repeat(10_000));
        let mut parsed = Parsed::default();
        parse(text.as_bytes(), &as_is(format), &mut parsed).unwrap();
        assert_eq!(parsed.indicators.len(), 10_001, "{format}");
        let expected = Fault::Name(crate::name::NameError::Character('\0'));
        let faults: Vec<_> = parsed.diagnostics.iter().map(|it| (it.line, &it.fault)).collect();
        assert_eq!(faults, [(10_001, &expected)], "{format}");
    }
}

#[test]
fn bytes_become_lines() {
    let one = ["1 name a.example subtree"];
    let two = ["1 name a.example subtree", "2 name b.example subtree"];
    check_bytes(Format::Plain, b"", &[]);
    check_bytes(Format::Plain, b"\xef\xbb\xbf", &[]);
    check_bytes(Format::Plain, b"a.example", &one);
    check_bytes(Format::Plain, b"\xef\xbb\xbfa.example\r\nb.example", &two);
    check_bytes(Format::Plain, b"a.example\rb.example", &two);
    check_bytes(Format::Plain, &gzip(b"\xef\xbb\xbfa.example\rb.example\r"), &two);
    check_bytes(Format::Plain, &gzip(b"a.example\nb.example\n"), &two);
    let members = [gzip(b"a.example\nb.exa"), gzip(b"mple")].concat();
    check_bytes(Format::Plain, &members, &two);
    check_bytes(
        Format::Plain,
        b"# caf\xe9\na.example # \xff\n<b.example\n",
        &["2 name a.example subtree", "3! Name(Character('<'))"],
    );
}

#[test]
fn octets_that_are_not_utf8_spoil_their_entry_only() {
    for (format, text) in [
        (Format::Plain, &b"a\xe9.example\nhttp://a.example/\xe9\n# \xe9\n"[..]),
        (Format::Hosts, b"0.0.0.0 a\xe9.example\n0.0.0.0 \xe9.example # x\n# \xe9\n"),
        (Format::Adblock, b"||a\xe9.example^\n||a.example/\xe9^\n! \xe9\n"),
        (Format::Dnsmasq, b"address=/a\xe9.example/\nlocal=/\xe9.example/\n# \xe9\n"),
        (Format::Rpz, b"a\xe9.example CNAME .\nb.example CNAME \xe9.\n; \xe9\n"),
    ] {
        check_bytes(format, text, &["1! NotUtf8", "2! NotUtf8"]);
    }
}

/// Gives `start`, then `octets` of `a`, then `end`, and never has more than its start in memory.
fn long_line(start: &'static str, octets: u64, end: &'static str) -> impl Read {
    start.as_bytes().chain(io::repeat(b'a').take(octets)).chain(end.as_bytes())
}

#[test]
fn lines_that_are_too_long_are_left_out() {
    fn check(octets: u64, expected: &[&str]) {
        let mut transcript = Transcript::default();
        let feed = long_line("a.example\n", octets, "\nb.example\n");
        assert_eq!(parse(feed, &as_is(Format::Auto), &mut transcript).unwrap(), Format::Plain);
        assert_eq!(transcript.0[0], "1 name a.example subtree");
        assert_eq!(&transcript.0[1..], expected, "{octets}");
    }
    let max = MAX_LINE as u64;
    let label = format!("2! Name(LabelTooLong({max}))");
    check(max, &[&label, "3 name b.example subtree"]);
    check(max + 1, &["2! LineTooLong", "3 name b.example subtree"]);
    check(max + 2, &["2! LineTooLong", "3 name b.example subtree"]);
    check(10_000_000, &["2! LineTooLong", "3 name b.example subtree"]);
}

#[test]
fn a_feed_that_ends_too_soon_is_an_error() {
    let mut text = String::new();
    for number in 0..20_000 {
        // Some entropy, or 200 KB would fit in one deflate block.
        writeln!(text, "{:x}.example", number * 7_919 % 104_729).unwrap();
    }
    let whole = gzip(text.as_bytes());
    for end in [2, 5, 10, 11, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let error = parse(&whole[..end], &as_is(Format::Plain), &mut Parsed::default()).unwrap_err();
        assert!(matches!(error, ReadError::Gzip { .. }), "{end}: {error}");
    }
    let mut parsed = Parsed::default();
    let error = parse(&whole[..whole.len() / 2], &as_is(Format::Auto), &mut parsed).unwrap_err();
    let ReadError::Gzip { after_line, .. } = error else { panic!("{error}") };
    assert!(after_line > 1_000);
    assert_eq!(parsed.indicators.len() as u64, after_line);

    let mut flipped = whole.clone();
    let checksum = flipped.len() - 8;
    flipped[checksum] ^= 1;
    let error = parse(&flipped[..], &as_is(Format::Plain), &mut Parsed::default()).unwrap_err();
    assert!(matches!(error, ReadError::Gzip { after_line: 20_000, .. }), "{error}");
}

#[test]
fn a_reader_that_fails_is_an_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let mut parsed = Parsed::default();
    let feed = b"a.example\nb.example\nc.exa".chain(Broken);
    let error = parse(feed, &as_is(Format::Auto), &mut parsed).unwrap_err();
    assert!(matches!(error, ReadError::Io { after_line: 2, .. }), "{error}");
    assert_eq!(parsed.indicators.len(), 2);
    assert!(parse(Broken, &as_is(Format::Auto), &mut parsed).is_err());
}

#[test]
fn size_is_counted_unpacked() {
    fn check(bytes: &[u8], limit: u64, is_read: bool) {
        let result = parse_within(bytes, &as_is(Format::Auto), limit, &mut Parsed::default());
        match result {
            Ok(_) => assert!(is_read),
            Err(error) => {
                assert!(!is_read);
                assert!(matches!(error, ReadError::TooLarge { limit: told, .. } if told == limit));
            }
        }
    }
    let text = b"a.example\n".repeat(100_000);
    check(&text, 1_000_000, true);
    check(&text, 999_999, false);
    check(&gzip(&text), 1_000_000, true);
    check(&gzip(&text), 999_999, false);
    check(&gzip(&text), 20, false);
    check(b"\xef\xbb\xbfa.example", 12, true);
    check(b"\xef\xbb\xbfa.example", 11, false);
}

/// What an extract must give: its format, kinds and faults with their numbers.
fn check_golden(file: &str, format: Format, expected: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/feeds").join(file);
    let bytes = std::fs::read(path).unwrap();
    let mut parsed = Parsed::default();
    assert_eq!(parse(&bytes[..], &as_is(Format::Auto), &mut parsed).unwrap(), format, "{file}");
    assert_eq!(tally(&parsed), expected, "{file}: {:#?}", parsed.diagnostics);
    let mut packed = Parsed::default();
    parse(&gzip(&bytes)[..], &as_is(format), &mut packed).unwrap();
    assert_eq!(parsed, packed, "{file}");
}

fn tally(parsed: &Parsed) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for indicator in &parsed.indicators {
        let mut kind = match &indicator.value {
            Value::Name(_, Scope::Subtree) => "name".to_owned(),
            Value::Name(_, scope) => format!("name:{scope}"),
            Value::Ip(_) => "ip".to_owned(),
            Value::Net(_) => "net".to_owned(),
            Value::Url(_) => "url".to_owned(),
        };
        if let Some(action) = &indicator.action {
            let _ = write!(kind, "={action}");
        }
        *counts.entry(kind).or_default() += 1;
    }
    for diagnostic in &parsed.diagnostics {
        *counts.entry(format!("{:?}", diagnostic.fault)).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn published_lists_give_what_is_counted_by_hand() {
    check_golden("hostsVN-threat-domain.txt", Format::Plain, "name 46");
    check_golden(
        "tweetfeed-domains.txt",
        Format::Plain,
        "Name(TooLong(1342)) 1, Name(TooLong(268)) 1, name 25",
    );
    check_golden("tweetfeed-urls.txt", Format::Plain, "Name(TooLong(272)) 1, url 45");
    check_golden("urlhaus-filter-domains-online.txt", Format::Plain, "ip 32, name 2");
    check_golden("urlhaus-filter-wildcard-online.txt", Format::Plain, "ip 32, name 2");
    check_golden("hostsVN-dnscrypt.txt", Format::Plain, "Wildcard 31, name 13");
    check_golden("maltrail-domains-by-family.tsv", Format::Plain, "name 42");
    check_golden("hostsVN-threat-hosts.txt", Format::Hosts, "name 29");
    check_golden("hostsVN-hosts.txt", Format::Hosts, "name 16");
    check_golden("hostsVN-adservers-all.txt", Format::Adblock, "Wildcard 31, name 13, name=passthru 1");
    check_golden("urlhaus-filter.txt", Format::Adblock, "ip 4, name 9, url 23");
    check_golden("urlhaus-filter-agh-online.txt", Format::Adblock, "ip 22, name 2");
    check_golden("vn-badsite-filter-ag.txt", Format::Adblock, "ip 1, name 23");
    check_golden("tweetfeed-adguard.txt", Format::Adblock, "name 21");
    check_golden("hostsVN-dnsmasq.conf", Format::Dnsmasq, "name 30");
    check_golden(
        "tweetfeed-dnsmasq.conf",
        Format::Dnsmasq,
        "Name(TooLong(1342)) 1, Name(TooLong(268)) 1, name 20",
    );
    check_golden("urlhaus-filter-rpz.zone", Format::Rpz, "name:exact=nxdomain 19");
    check_golden(
        "tweetfeed-rpz.zone",
        Format::Rpz,
        "Name(TooLong(1342)) 1, Name(TooLong(1344)) 1, Name(TooLong(268)) 1, Name(TooLong(270)) 1, name:below=nxdomain 7, name:exact=nxdomain 8",
    );
}

#[test]
fn families_of_a_published_list_are_kept() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/feeds/maltrail-domains-by-family.tsv");
    let mut parsed = Parsed::default();
    parse(std::fs::File::open(path).unwrap(), &as_is(Format::Auto), &mut parsed).unwrap();
    assert!(parsed.indicators.iter().all(|indicator| indicator.family.is_some()));
    assert_eq!(parsed.indicators[0].family.as_deref(), Some("0debug"));
}

fn any_host() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z0-9_]([a-z0-9-]{0,8}[a-z0-9])?", 1..5)
        .prop_map(|labels| format!("{}.example", labels.join(".")))
}

/// Lines made of the formats' own pieces reach further than random octets do.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "evil.example",
        "com",
        "*.",
        ".",
        "||",
        "@@",
        "^",
        "$all",
        "$script",
        "/",
        "//",
        "#",
        "##",
        ";",
        "!",
        "0.0.0.0",
        "1.2.3.4",
        "::1",
        "[",
        "]",
        ":",
        "/24",
        "address=/",
        "local=/",
        "server=/",
        "=",
        "http://",
        "$ORIGIN",
        "$TTL",
        "$INCLUDE",
        "@",
        "SOA",
        "CNAME",
        "IN",
        "300",
        "TXT",
        "rpz-ip",
        "zz",
        "(",
        ")",
        "\"",
        "\\",
        "\\032",
        " ",
        "\t",
        "\n",
        "\n",
        "\r\n",
        "ạ",
        "\u{feff}",
        "\u{202e}",
        "\u{fffd}",
    ]);
    let piece = prop_oneof![
        9 => piece.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_octets_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in any_text()) {
        for input in [&bytes, &text] {
            let end = read::line_end(input);
            let lines = input.split(|&byte| byte == end).count() as u64;
            for format in Format::ALL {
                let mut transcript = Transcript::default();
                let _ = parse(&input[..], &as_is(format), &mut transcript);
                for line in &transcript.0 {
                    let number: u64 = line.split([' ', '!']).next().unwrap().parse().unwrap();
                    prop_assert!((1..=lines).contains(&number));
                }
            }
        }
    }

    #[test]
    fn names_come_back(hosts in prop::collection::vec(any_host(), 1..20)) {
        for format in READABLE {
            let mut text = String::new();
            for host in &hosts {
                let _ = match format {
                    Format::Plain => writeln!(text, "{host}"),
                    Format::Hosts => writeln!(text, "0.0.0.0 {host}"),
                    Format::Adblock => writeln!(text, "||{host}^"),
                    Format::Dnsmasq => writeln!(text, "address=/{host}/0.0.0.0"),
                    Format::Rpz => writeln!(text, "{host} CNAME ."),
                    Format::Unbound => writeln!(text, "local-zone: \"{host}\" always_nxdomain"),
                    Format::Bind => writeln!(text, "zone \"{host}\" {{ type master; }};"),
                    Format::Maltrail => writeln!(text, "# by Maltrail developers\n{host}"),
                    Format::Text => writeln!(text, "see {}", host.replace('.', "[.]")),
                    other => unreachable!("{other}"),
                };
            }
            let mut parsed = Parsed::default();
            prop_assert_eq!(parse(text.as_bytes(), &as_is(Format::Auto), &mut parsed).unwrap(), format);
            prop_assert_eq!(&parsed.diagnostics, &[]);
            let names: Vec<String> = parsed.indicators.iter().map(|indicator| match &indicator.value {
                Value::Name(name, _) => name.to_string(),
                other => format!("{other:?}"),
            }).collect();
            prop_assert_eq!(&names, &hosts, "{}", format);
        }
    }
}
