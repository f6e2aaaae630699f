//! Autodetection: which format the first lines of a feed are written in.
//!
//! Only guesses; reads nothing. Each significant line is given to the one format whose mark it
//! bears:
//!
//! | format  | mark of a line                                                                   |
//! |---------|----------------------------------------------------------------------------------|
//! | unbound | `local-zone:`, `local-data:`                                                    |
//! | bind    | `zone` and a name in quotes                                                      |
//! | rpz     | `$TTL`, `$ORIGIN` and the like; `CNAME`, `SOA` or `NS` behind at most three words |
//! | dnsmasq | `address=/`, `local=/`, `server=/`                                                |
//! | adblock | starts with `||`, `@@` or `!`, holds `##`, `#@#` or `#?#`, or is an `[Adblock …]` header |
//! | text    | several words                                                                    |
//! | csv     | as many fields as others have, two or more, divided by `,`, `;`, TAB or `\|`; twice with a header |
//! | hosts   | starts with an address no server on the internet has, then a blank, then a word   |
//! | ip      | a range of addresses, or an address, blanks and a count                          |
//! | plain   | one word, or two columns divided by a TAB                                         |
//!
//! The format that could read the most lines wins. An Adblock list may hold bare hosts, and those
//! may fill the whole head (URLhaus puts 25,768 of them before its first `||`); so with one mark of
//! its own, if only a `!` comment, it is given the one-word lines too. A draw goes to the format
//! that stands higher in the table. Free text is only what holds something defanged; its one-word lines count for it too.
//! JSON is told by its first octets, and its kind by the first key that only one of them has.
//! Maltrail's copyright line in front makes a trail. Without any mark the feed is read as plain: its lines then come
//! back as diagnostics, and nothing is lost without a word.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::read::line_end;
use super::table::Table;
use super::{Columns, Format, defang, hosts, ip, plain, token};
use crate::tabular::delimited;

/// How many lines bear each format's mark.
#[derive(Default)]
struct Tally<'a> {
    is_maltrail: bool,
    unbound: usize,
    bind: usize,
    rpz: usize,
    dnsmasq: usize,
    adblock: usize,
    hosts: usize,
    ip: usize,
    word: usize,
    columns: usize,
    prose: usize,
    is_defanged: bool,
    /// Lines that may be rows.
    rows: Vec<&'a str>,
}

/// The format that the start of a feed is most likely written in; never `Auto`.
pub(super) fn format(head: &[u8]) -> Format {
    if is_json(head) {
        return json(head);
    }
    let mut tally = Tally::default();
    let end = char::from(line_end(head));
    let head = String::from_utf8_lossy(head);
    for line in head.split(end) {
        tally.count(line.trim());
    }
    if tally.is_maltrail {
        return Format::Maltrail;
    }
    // What lists with words in one column are told by, comes first.
    let text = if tally.is_defanged && tally.prose > 0 { tally.prose + tally.word } else { 0 };
    let ip = if tally.ip > 0 { tally.ip + tally.word } else { 0 };
    let adblock = if tally.adblock > 0 { tally.adblock + tally.word } else { 0 };
    let mut best = (0, Format::Plain);
    for (lines, format) in [
        (tally.unbound, Format::Unbound),
        (tally.bind, Format::Bind),
        (tally.rpz, Format::Rpz),
        (tally.dnsmasq, Format::Dnsmasq),
        (adblock, Format::Adblock),
        (text, Format::Text),
        (csv(&tally.rows), Format::Csv),
        (tally.hosts, Format::Hosts),
        (ip, Format::Ip),
        (tally.word + tally.columns, Format::Plain),
    ] {
        if lines > best.0 {
            best = (lines, format);
        }
    }
    best.1
}

/// Whether a text begins as a JSON object or array does. `[Adblock Plus 2.0]` does not.
pub(super) fn is_json(head: &[u8]) -> bool {
    match head.trim_ascii_start() {
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start(), [] | [b'"' | b'}', ..]),
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [] | [b'{' | b'"' | b'[' | b']', ..]),
        _ => false,
    }
}

fn json(head: &[u8]) -> Format {
    const MARKS: [(&str, Format); 9] = [
        ("\"bundle\"", Format::Stix),
        ("\"spec_version\"", Format::Stix),
        ("\"pattern\"", Format::Stix),
        ("\"object_marking_refs\"", Format::Stix),
        ("\"Event\"", Format::Misp),
        ("\"Attribute\"", Format::Misp),
        ("\"Object\"", Format::Misp),
        ("\"Orgc\"", Format::Misp),
        ("\"to_ids\"", Format::Misp),
    ];
    let head = String::from_utf8_lossy(head);
    let places = MARKS.iter().filter_map(|(mark, format)| Some((head.find(mark)?, *format)));
    places.min_by_key(|(place, _)| *place).map_or(Format::Json, |(_, format)| format)
}

impl<'a> Tally<'a> {
    fn count(&mut self, line: &'a str) {
        if is_adblock(line) {
            self.adblock += 1;
        } else if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
            // Everyone's comment.
            self.is_maltrail |= line.contains("Maltrail developers");
        } else if ["local-zone:", "local-data:"].iter().any(|option| line.starts_with(option)) {
            self.unbound += 1;
        } else if line.starts_with("zone \"") {
            self.bind += 1;
        } else if is_rpz(line) {
            self.rpz += 1;
        } else if ["address=/", "local=/", "server=/"].iter().any(|option| line.starts_with(option)) {
            self.dnsmasq += 1;
        } else if is_hosts(line) {
            self.hosts += 1;
        } else if is_ip(line) {
            self.ip += 1;
        } else {
            match () {
                () if line.contains('\t') => self.columns += 1,
                () if is_word(line) => self.word += 1,
                () => self.prose += 1,
            }
            self.is_defanged |= is_defanged(line);
            self.rows.push(line);
        }
    }
}

fn is_adblock(line: &str) -> bool {
    let is_rule = line.starts_with("||") || line.starts_with("@@");
    let is_header = line.starts_with("[Adblock");
    // `## Section` is a comment of some plain lists.
    let is_cosmetic =
        ["##", "#@#", "#?#"].iter().any(|mark| line.find(mark).is_some_and(|at| at > 0)) && is_word(line);
    is_rule || is_header || line.starts_with('!') || (is_cosmetic && !line.starts_with('#'))
}

fn is_rpz(line: &str) -> bool {
    if let Some(directive) = line.strip_prefix('$') {
        return directive.starts_with(|char: char| char.is_ascii_alphabetic());
    }
    let words: Vec<&str> = line.split_ascii_whitespace().take(6).collect();
    let is_type = |word: &str| ["CNAME", "SOA", "NS"].iter().any(|name| word.eq_ignore_ascii_case(name));
    // The data that follows the type is what a family's name in a second column lacks.
    words.split_last().is_some_and(|(_, before)| before.iter().take(4).any(|word| is_type(word)))
}

fn is_hosts(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let is_sink = match words.next().and_then(hosts::sink_address) {
        Some(IpAddr::V4(address)) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_private()
                || address.is_broadcast()
        }
        Some(IpAddr::V6(address)) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.is_unique_local()
        }
        None => false,
    };
    // A number behind an address is a count.
    let is_name = |word: &str| !word.starts_with('#') && !word.bytes().all(|byte| byte.is_ascii_digit());
    is_sink && words.next().is_some_and(|word| is_name(word) && token::address(word).is_none())
}

/// How many lines are rows of one table.
fn csv(lines: &[&str]) -> usize {
    let rows = |divider: char| {
        let mut widths = BTreeMap::<usize, usize>::new();
        let mut has_header = false;
        for line in lines.iter().filter(|line| line.contains(divider)) {
            let Ok(fields) = delimited::fields(line, divider) else { continue };
            let width = fields.len();
            // Two columns that a TAB divides are a plain list's, and a URL may hold a comma.
            if width > 2 || (width == 2 && divider != '\t' && !line.contains("://")) {
                *widths.entry(width).or_default() += 1;
            }
            // Reports have tables with headings between `|`.
            has_header |= width > 1 && divider != '|' && Table::is_header(&Columns::default(), &fields);
        }
        // Prose has commas, but no headings.
        let rows = widths.into_values().max().unwrap_or(0);
        if has_header { 2 * rows } else { rows }
    };
    delimited::DIVIDERS.into_iter().map(rows).max().unwrap_or(0)
}

fn is_ip(line: &str) -> bool {
    let text = plain::without_comment(line);
    let has_count = text.split_once(' ').is_some_and(|(address, count)| {
        token::address(address).is_some() && count.trim_start().bytes().all(|byte| byte.is_ascii_digit())
    });
    has_count || ip::range(text).is_some()
}

fn is_defanged(line: &str) -> bool {
    line.split_ascii_whitespace().any(|word| defang::refang(word).is_some())
}

/// One word, a comment behind it not counted.
fn is_word(line: &str) -> bool {
    let text = line.split(" #").next().unwrap_or(line).trim_end();
    !text.is_empty() && !text.contains([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_tell() {
        fn check(head: &str, expected: Format) {
            assert_eq!(format(head.as_bytes()), expected, "{head:?}");
        }
        check("", Format::Plain);
        check("# only\n; comments\n", Format::Plain);
        check("evil.example\n1.2.3.4\n", Format::Plain);
        check("# 0.0.0.0 a.example\nevil.example # why\n", Format::Plain);
        check("evil.example\temotet\n", Format::Plain);
        check("1.2.3.4\t10\n", Format::Plain);
        check("http://evil.example/a\n", Format::Plain);
        check("*.evil.example\n*.ads-*.example\n", Format::Plain);
        check("## Section\nevil.example\n", Format::Plain);
        check("these are three words\nand so are these\n", Format::Plain);
        check("0.0.0.0 evil.example\r\n", Format::Hosts);
        check("127.0.0.1\tlocalhost\n10.10.10.10 evil.example\n", Format::Hosts);
        check("::1 localhost\n:: evil.example\n", Format::Hosts);
        check("127.0.0.1 localhost\na.example\nb.example\n", Format::Plain);
        check("||evil.example^\n", Format::Adblock);
        check("[Adblock Plus 2.0]\nevil.example\n", Format::Adblock);
        check("! Title: x\nevil.example\nother.example\n", Format::Adblock);
        check("! Title: x\n0.0.0.0 a.example\n0.0.0.0 b.example\n", Format::Hosts);
        check("@@||good.example^\nevil.example\n", Format::Adblock);
        check("a.example##.ad\n", Format::Adblock);
        check("address=/evil.example/0.0.0.0\n", Format::Dnsmasq);
        check("port=53\nlocal=/evil.example/\nserver=/a.example/\n", Format::Dnsmasq);
        check("; x\n$TTL 30\n@ SOA a. b. 1 2 3 4 5\nevil.example CNAME .\n", Format::Rpz);
        check("evil.example 300 IN CNAME .\n", Format::Rpz);
        check("evil.example\tNS\n", Format::Plain);
        check("server:\nlocal-zone: \"evil.example\" refuse\n", Format::Unbound);
        check("zone \"evil.example\" { type master; };\n", Format::Bind);
        check("1.2.3.4-1.2.3.9\n1.2.3.4\n1.2.3.5\n", Format::Ip);
        check("1.2.3.4 10\n", Format::Ip);
        check("# Copyright (c) 2014-2026 Maltrail developers\n\nevil.example\n", Format::Maltrail);
        check("domain,family\nevil.example,emotet\n", Format::Csv);
        check("\"a.example\",\"b c\"\n\"c.example\",\"d e\"\n", Format::Csv);
        check("STT;Tên miền;IP\n1;a.example;192.0.2.1\n", Format::Csv);
        check("http://a.example/x,y\nhttp://b.example/z\n", Format::Plain);
        check("{\"type\": \"bundle\", \"objects\": []}", Format::Stix);
        check("[{\"created\": \"x\", \"id\": \"indicator--1\", \"pattern\": \"x\"}]", Format::Stix);
        check(" {\n\"response\": [{\"Event\": {}}]}", Format::Misp);
        check("{\"uuid\": \"x\", \"Attribute\": []}", Format::Misp);
        check("{\"version\": 3, \"rules\": []}", Format::Json);
        check("[\"a.example\"]", Format::Json);
        check("date,domain\r2022-01-01,evil.example\r", Format::Csv);
        check("See evil[.]vn and\nothers\nbelow\n", Format::Text);
        check("evil[.]vn\nother[.]vn\n", Format::Plain);
    }
}
