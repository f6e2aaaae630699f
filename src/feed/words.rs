//! Words of tables and of events: headings, kinds, severities and times, in English and Vietnamese.
//!
//! Only what a word means; where it stands is for the formats to know.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Role;
use crate::policy::rule::Severity;
pub(super) use crate::tabular::heading::bare;

/// What a column with this heading holds.
pub(super) fn heading(text: &str) -> Option<Heading> {
    // A heading is a few words; a paragraph above a table is none.
    if text.len() > 100 {
        return None;
    }
    let bare = bare(text);
    let find = |(words, _): &&(&[&str], Heading)| words.contains(&bare.as_str());
    if let Some((_, heading)) = HEADINGS.iter().find(find) {
        return Some(*heading);
    }
    // Spreadsheets say more: "Tên miền máy chủ điều khiển (C&C)".
    let begun = PHRASES.iter().find(|(phrase, _)| bare.starts_with(phrase)).map(|(_, heading)| *heading);
    match begun.or_else(|| is_of_listed(&bare).then_some(VALUE)) {
        Some(VALUE) if is_of_others(&bare) => Some(Heading::Other),
        heading => heading,
    }
}

/// Whether a column with this heading is none of what is listed, though its cells may be names or addresses.
pub(super) fn lists_nothing(text: &str) -> bool {
    heading(text).is_some_and(|heading| heading != VALUE) || is_of_others(&bare(text))
}

/// Whether a heading is made of words for what is listed and of no others: `IOC (Domain/IP)`, `Máy chủ C&C`.
fn is_of_listed(bare: &str) -> bool {
    // `url_host` is only part of what is listed, and may be anybody's.
    if bare.starts_with("url ") {
        return false;
    }
    let mut rest = bare;
    let mut is_listed = false;
    while !rest.is_empty() {
        let after = |terms: &[&str]| {
            let behind =
                |term: &&str| rest.strip_prefix(*term).filter(|it| it.is_empty() || it.starts_with(' '));
            terms.iter().find_map(behind)
        };
        match (after(&LISTED), after(&BESIDE)) {
            (Some(next), _) => (rest, is_listed) = (next.trim_start(), true),
            (None, Some(next)) => rest = next.trim_start(),
            (None, None) => return false,
        }
    }
    is_listed
}

/// Whether a heading speaks of victims, of those who reported something, or of anything else that is not malicious.
fn is_of_others(bare: &str) -> bool {
    let has = |term: &&str| {
        let is_apart = |end: Option<u8>| end.is_none_or(|octet| octet == b' ');
        let octet = |at: usize| bare.as_bytes().get(at).copied();
        bare.match_indices(*term)
            .any(|(at, _)| is_apart(at.checked_sub(1).and_then(octet)) && is_apart(octet(at + term.len())))
    };
    let is_source = ["nguon", "source", "src"].contains(&bare.split(' ').next().unwrap_or_default());
    // What victims connect to is no victim.
    let is_of_attackers = bare.ends_with("ket noi den") || ATTACKERS.iter().any(&has);
    (is_source || OTHERS.iter().any(has)) && !is_of_attackers
}

/// Whether this is a heading and nothing else: `Tên miền`, not the title `Tên miền độc hại tháng 8`.
pub(super) fn is_whole_heading(text: &str) -> bool {
    let bare = bare(text);
    HEADINGS.iter().any(|(words, _)| words.contains(&bare.as_str()))
        || PHRASES.iter().any(|(phrase, _)| bare == *phrase)
}

/// Whether this may be the title of a table as well as a heading in it.
pub(super) fn is_title(text: &str) -> bool {
    bare(text).starts_with("danh sach")
}

/// What a column holds, by its heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heading {
    /// What the configuration can name too.
    Role(Role),
    /// A family that another column has in better words.
    LesserFamily,
    /// A path, which belongs to the host in another column.
    Path,
    /// Whether the row was taken back by its author.
    Revoked,
    /// Whether the row was deleted.
    Deleted,
    /// Names and addresses that are never listed: those of victims.
    Other,
}

const VALUE: Heading = Heading::Role(Role::Value);
const FAMILY: Heading = Heading::Role(Role::Family);
const SEVERITY: Heading = Heading::Role(Role::Severity);
const EXPIRES: Heading = Heading::Role(Role::Expires);

/// Whole headings, as [`bare`] makes them.
const HEADINGS: [(&[&str], Heading); 9] = [
    (
        &[
            "value",
            "indicator",
            "indicator value",
            "indicators",
            "ioc",
            "ioc value",
            "iocs",
            "host",
            "hosts",
            "hostname",
            "host name",
            "domain",
            "domains",
            "domain name",
            "fqdn",
            "ip",
            "ips",
            "ip address",
            "ip addresses",
            "ip port",
            "address",
            "ipv4",
            "ipv6",
            "dst ip",
            "destination ip",
            "cidr",
            "network",
            "url",
            "urls",
            "uri",
            "domain ip",
            "ip domain",
            "domain ip url",
            "c2",
            "c&c",
            "dia chi",
            "duong dan",
            "lien ket",
            "may chu",
            "may chu dieu khien",
            "ket noi den",
            "dau hieu",
            "chi so",
        ],
        VALUE,
    ),
    (
        &["type", "ioc type", "indicator type", "kind", "value type", "loai", "kieu", "loai chi so"],
        Heading::Role(Role::Type),
    ),
    (
        &[
            "family",
            "malware family",
            "malware printable",
            "malware name",
            "threat name",
            "ho ma doc",
            "dong ma doc",
        ],
        FAMILY,
    ),
    (&["malware", "app", "threat actor", "loai ma doc"], Heading::LesserFamily),
    (&["severity", "risk", "risk level", "threat level", "muc do", "muc do rui ro"], SEVERITY),
    (
        &[
            "expires",
            "expires at",
            "expiry",
            "expiration",
            "expiration date",
            "valid until",
            "het han",
            "hieu luc den",
        ],
        EXPIRES,
    ),
    (&["path"], Heading::Path),
    (&["revoked", "is revoked", "thu hoi", "da thu hoi"], Heading::Revoked),
    (&["deleted", "is deleted", "da xoa"], Heading::Deleted),
];

/// What headings begin with.
const PHRASES: [(&str, Heading); 13] = [
    ("ten mien", VALUE),
    ("dia chi ip", VALUE),
    ("dia chi url", VALUE),
    ("duong dan url", VALUE),
    ("ip doc hai", VALUE),
    ("ma doc", FAMILY),
    ("ten ma doc", FAMILY),
    ("nhom ma doc", FAMILY),
    ("muc do nguy hiem", SEVERITY),
    ("muc do nghiem trong", SEVERITY),
    ("ngay het han", EXPIRES),
    ("thoi han", EXPIRES),
    ("thoi gian het han", EXPIRES),
];

/// Words for what is listed.
const LISTED: [&str; 22] = [
    "domains",
    "domain",
    "fqdn",
    "hostname",
    "hosts",
    "host",
    "ips",
    "ip",
    "ipv4",
    "ipv6",
    "c2",
    "c&c",
    "c & c",
    "cnc",
    "iocs",
    "ioc",
    "indicators",
    "indicator",
    "ten mien",
    "dia chi",
    "may chu",
    "duong dan",
];
/// Words that may stand beside them.
const BESIDE: [&str; 26] = [
    "names",
    "name",
    "addresses",
    "address",
    "servers",
    "server",
    "values",
    "value",
    "url",
    "malicious",
    "phishing",
    "malware",
    "botnet",
    "remote",
    "danh sach",
    "doc hai",
    "nguy hiem",
    "dieu khien",
    "ma doc",
    "lua dao",
    "gia mao",
    "ket noi den",
    "ket noi",
    "dich",
    "va",
    "hoac",
];
/// Words of headings under which stands what is not malicious itself.
const OTHERS: [&str; 37] = [
    "bi nhiem",
    "may nhiem",
    "ip nhiem",
    "chi nhiem",
    "chu nhiem",
    "may tram",
    "may tinh",
    "may khach",
    "nan nhan",
    "bi hai",
    "bi tan cong",
    "noi bo",
    "ip nguon",
    "chi nguon",
    "may nguon",
    "mien nguon",
    "don vi",
    "co quan",
    "nguoi dung",
    "client",
    "clients",
    "victim",
    "victims",
    "infected",
    "affected",
    "ip source",
    "internal",
    "workstation",
    "user",
    "agency",
    "reporter",
    "link",
    "reference",
    "tham khao",
    "name server",
    "name servers",
    "registrar",
];
/// Those that make attackers of them: where attacks and malware come from.
const ATTACKERS: [&str; 4] = ["nguon tan cong", "nguon phat tan", "nguon lay nhiem", "nguon doc hai"];

/// What kind of thing a value is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, an address or a network.
    Host,
    /// A URL.
    Url,
    /// Nothing that DNS shows.
    Unseen,
}

/// Reads a word for a kind; `None` for one that says something else (`phishing`).
pub(super) fn kind(text: &str) -> Option<Kind> {
    let bare = bare(text);
    let is_in = |words: &[&str]| words.contains(&bare.as_str());
    if is_in(&HOSTS) {
        return Some(Kind::Host);
    }
    if is_in(&["url", "uri", "link", "full url", "duong dan", "lien ket", "dia chi url"]) {
        return Some(Kind::Url);
    }
    let is_unseen =
        is_in(&UNSEEN) || ["md5", "sha", "hash", "file", "email"].iter().any(|start| bare.starts_with(start));
    is_unseen.then_some(Kind::Unseen)
}

const HOSTS: [&str; 24] = [
    "domain",
    "domains",
    "domain name",
    "hostname",
    "host",
    "fqdn",
    "ip",
    "ips",
    "ip address",
    "ipv4",
    "ipv6",
    "ipv4 addr",
    "ipv6 addr",
    "ip dst",
    "ip src",
    "ip port",
    "ip dst port",
    "cidr",
    "network",
    "netblock",
    "subnet",
    "ten mien",
    "dia chi ip",
    "dia chi",
];
const UNSEEN: [&str; 14] = [
    "ssdeep",
    "imphash",
    "tlsh",
    "ja3",
    "jarm",
    "mutex",
    "registry",
    "regkey",
    "yara",
    "cve",
    "asn",
    "user agent",
    "btc",
    "certificate",
];

/// Words that stand for an empty cell.
pub(super) fn is_nothing(text: &str) -> bool {
    let text = text.trim();
    !text.contains(char::is_alphanumeric)
        || ["none", "null", "n/a", "na", "nil", "unknown", "không", "không có", "không rõ", "chưa rõ"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
}

/// Words that stand for a truth.
pub(super) fn is_yes(text: &str) -> bool {
    ["true", "1", "yes", "co"].contains(&bare(text).as_str())
}

/// Words that stand for no end, and the last year there is.
pub(super) fn is_endless(text: &str) -> bool {
    let bare = bare(text);
    bare.starts_with("9999")
        || bare.ends_with("9999")
        || [
            "never",
            "forever",
            "permanent",
            "unlimited",
            "indefinite",
            "false",
            "0",
            "vinh vien",
            "lau dai",
            "vo han",
            "vo thoi han",
            "khong thoi han",
            "khong co thoi han",
            "khong het han",
            "khong gioi han",
            "khong xac dinh",
        ]
        .contains(&bare.as_str())
}

/// Reads how bad something is.
pub(super) fn severity(text: &str) -> Option<Severity> {
    let bare = bare(text);
    Some(match bare.as_str() {
        "low" | "info" | "informational" | "minor" | "thap" => Severity::Low,
        "medium" | "moderate" | "trung binh" | "vua" => Severity::Medium,
        "high" | "major" | "cao" => Severity::High,
        "critical" | "severe" | "very high" | "nghiem trong" | "rat cao" | "dac biet nghiem trong" => {
            Severity::Critical
        }
        _ => return None,
    })
}

/// Reads a time, in microseconds since 1970; without a zone it is UTC, and a day ends with its end.
///
/// RFC 3339, `2026-12-01 10:00:00 UTC`, `2026-12-1`, `01/12/2026` or `1-12-2026 10:00` (the day in front of the month),
/// seconds or milliseconds since 1970, and a spreadsheet's count of days since 1900.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = text.strip_suffix("UTC").unwrap_or(text).trim_end();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_microsecond());
    }
    if let Ok(number) = text.parse::<f64>() {
        return number_time(number);
    }
    let time = match civil(text) {
        Some(time) => time,
        None => text.parse::<DateTime>().ok()?,
    };
    microseconds(time)
}

fn number_time(number: f64) -> Option<i64> {
    // Microseconds fit an f64 well beyond the year 2200.
    match number {
        1e9..1e10 => Some((number * 1e6) as i64),
        1e12..1e13 => Some((number * 1e3) as i64),
        // From 1954 to 2119. The count begins on 1899-12-30, as if 1900 had been a leap year.
        20_000.0..80_000.0 => {
            let start = DateTime::constant(1899, 12, 30, 0, 0, 0, 0);
            let days = if number.fract() == 0.0 { number + 1.0 } else { number };
            microseconds(start.checked_add(SignedDuration::try_from_secs_f64(days * 86_400.0).ok()?).ok()?)
        }
        _ => None,
    }
}

/// Reads a day, with or without a time in front of it or behind.
fn civil(text: &str) -> Option<DateTime> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    match second {
        None => end_of(day(first)?),
        Some(second) if first.contains(':') => Some(day(second)?.to_datetime(clock(first)?)),
        Some(second) => Some(day(first)?.to_datetime(clock(second)?)),
    }
}

fn day(text: &str) -> Option<Date> {
    let mut parts = text.split(['/', '.', '-']);
    let (first, month, last) = (parts.next()?, parts.next()?, parts.next()?);
    let (day, year) = if first.len() == 4 { (last, first) } else { (first, last) };
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':').map(|part| part.parse().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

fn end_of(day: Date) -> Option<DateTime> {
    Some(day.tomorrow().ok()?.to_datetime(Time::midnight()))
}

fn microseconds(time: DateTime) -> Option<i64> {
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_known_in_any_spelling() {
        fn check(text: &str, expected: Option<Heading>) {
            assert_eq!(heading(text), expected, "{text:?} is {:?}", bare(text));
        }
        for text in
            ["Tên miền", "TÊN MIỀN", "Te\u{302}n mie\u{302}\u{300}n", "ten_mien", "Tên miền độc hại (C&C)"]
        {
            check(text, Some(VALUE));
        }
        for text in ["Địa chỉ IP", "ioc_value", "IP:Port", "Domain/IP", " host "] {
            check(text, Some(VALUE));
        }
        check("Mã độc", Some(FAMILY));
        check("Tên mã độc", Some(FAMILY));
        check("malware_printable", Some(FAMILY));
        check("malware", Some(Heading::LesserFamily));
        check("ioc_type", Some(Heading::Role(Role::Type)));
        check("Mức độ nguy hiểm", Some(SEVERITY));
        check("Ngày hết hạn", Some(EXPIRES));
        for text in [
            "Domain độc hại",
            "Domain C&C",
            "C&C Server",
            "C2",
            "IOC (Domain/IP)",
            "IP, Domain",
            "Danh sách tên miền",
            "Máy chủ C&C",
            "Địa chỉ máy chủ điều khiển",
            "Địa chỉ mã độc kết nối",
            "Kết nối đến",
            "IP máy chủ",
            "Địa chỉ IP nguồn tấn công",
            "Tên miền máy bị nhiễm kết nối đến",
            "Tên miền độc hại (nguồn: NCSC)",
        ] {
            check(text, Some(VALUE));
        }
        for text in [
            "Máy bị nhiễm",
            "Địa chỉ IP máy bị nhiễm",
            "Địa chỉ máy trạm",
            "Địa chỉ IP nguồn",
            "Nguồn",
            "Tên miền của đơn vị",
            "Source IP",
            "src_ip",
            "client",
            "domain_name_servers",
        ] {
            assert!(lists_nothing(text) && heading(text) != Some(VALUE), "{text}");
        }
        check("Mã độc trên máy bị nhiễm", Some(FAMILY));
        check("STT", None);
        check("c2_status", None);
        check("url_host", None);
        check("urlhaus_link", None);
        check("", None);
    }

    #[test]
    fn times_are_read() {
        fn check(text: &str, expected: Option<&str>) {
            let shown = time(text).map(|time| Timestamp::from_microsecond(time).unwrap().to_string());
            assert_eq!(shown.as_deref(), expected, "{text:?}");
        }
        check("2026-12-01T10:00:00Z", Some("2026-12-01T10:00:00Z"));
        check("2026-12-01T10:00:00.5+07:00", Some("2026-12-01T03:00:00.5Z"));
        check("2026-12-01 10:00:00", Some("2026-12-01T10:00:00Z"));
        check("2026-12-01 10:00:00 UTC", Some("2026-12-01T10:00:00Z"));
        check("2026-12-01", Some("2026-12-02T00:00:00Z"));
        check("01/12/2026", Some("2026-12-02T00:00:00Z"));
        check("1.12.2026", Some("2026-12-02T00:00:00Z"));
        check("01-12-2026", Some("2026-12-02T00:00:00Z"));
        check("2026-12-1", Some("2026-12-02T00:00:00Z"));
        check("2026/12/01", Some("2026-12-02T00:00:00Z"));
        check("01/12/2026 10:00", Some("2026-12-01T10:00:00Z"));
        check("10:00:30 1/12/2026", Some("2026-12-01T10:00:30Z"));
        check("2026-12-1 9:05", Some("2026-12-01T09:05:00Z"));
        check("1787422222", Some("2026-08-22T18:10:22Z"));
        check("1787422222000", Some("2026-08-22T18:10:22Z"));
        check("46357", Some("2026-12-02T00:00:00Z"));
        check("46357.5", Some("2026-12-01T12:00:00Z"));
        for text in [
            "",
            "soon",
            "12",
            "99/99/2026",
            "NaN",
            "1e400",
            "2026-13-01",
            "12/31/2026",
            "1/12/26",
            "01/12/2026 25:00",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn kinds_and_severities() {
        for text in ["Vĩnh viễn", "never", "9999-12-31", "31/12/9999", "Không xác định"] {
            assert!(is_endless(text) && time(text).is_none(), "{text}");
        }
        assert!(!is_endless("30 ngày"));
        assert_eq!(kind("ip:port"), Some(Kind::Host));
        assert_eq!(kind("Tên miền"), Some(Kind::Host));
        assert_eq!(kind("URL"), Some(Kind::Url));
        assert_eq!(kind("sha256_hash"), Some(Kind::Unseen));
        assert_eq!(kind("phishing"), None);
        assert_eq!(severity("Cao"), Some(Severity::High));
        assert_eq!(severity("Nghiêm trọng"), Some(Severity::Critical));
        assert_eq!(severity("7"), None);
    }
}
