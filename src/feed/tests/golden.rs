//! Published lists, whole (`tests/feeds/whole`): exact counts of what they list, and of what they do not by reason.
//!
//! Each count was checked once by other means than this code; how, stands beside it.

use super::*;

/// Reads a whole list as `auto`, by the file's own name, and compares format and counts.
fn check(file: &str, format: Format, expected: &str) {
    let path = format!("{}/tests/feeds/whole/{file}.gz", env!("CARGO_MANIFEST_DIR"));
    let name = file.strip_prefix("maltrail-").unwrap_or(file);
    let reading = Reading { file: Some(name.into()), now: NOW, ..Reading::default() };
    let mut parsed = Parsed::default();
    let used = parse(std::fs::File::open(path).unwrap(), &reading, &mut parsed).unwrap();
    assert_eq!(
        (used, counted(&parsed).as_str()),
        (format, expected),
        "{file}: {:#?}",
        parsed.diagnostics.first()
    );
}

/// 2026-08-23, when the lists were taken: nothing in them had expired.
const NOW: i64 = 1_787_443_200_000_000;

/// As [`tally`]; names are not told apart by what is wrong with them, and indicators with a family are counted.
fn counted(parsed: &Parsed) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for indicator in &parsed.indicators {
        let kind = match &indicator.value {
            Value::Name(_, Scope::Subtree) => "name".to_owned(),
            Value::Name(_, scope) => format!("name:{scope}"),
            Value::Ip(IpAddr::V4(_)) => "ipv4".to_owned(),
            Value::Ip(IpAddr::V6(_)) => "ipv6".to_owned(),
            Value::Net(_) => "net".to_owned(),
            Value::Url(_) => "url".to_owned(),
        };
        *counts.entry(kind).or_default() += 1;
        if indicator.family.is_some() {
            *counts.entry("~family".to_owned()).or_default() += 1;
        }
    }
    for diagnostic in &parsed.diagnostics {
        let reason = match &diagnostic.fault {
            Fault::Name(_) => "Name".to_owned(),
            Fault::Kind(kind) => format!("Kind {kind}"),
            other => format!("{other:?}"),
        };
        *counts.entry(reason).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn lists_of_lines() {
    // Lines by what they hold, comments left out: python's `ipaddress` for addresses, `://` or a `/` for URLs, names of
    // more than 253 characters apart.
    check("tweetfeed-domains.txt", Format::Plain, "Name 2, name 4873");
    check("hostsVN-threat-domain.txt", Format::Plain, "name 4966");
    check("urlhaus-filter-domains-online.txt", Format::Plain, "ipv4 2234, name 619");
    check("stalkerware-quad9_blocklist.txt", Format::Plain, "ipv4 1, name 966, url 2");
    check("amnesty-nso-domains.txt", Format::Plain, "name 1438");
    check("tweetfeed-ips.txt", Format::Plain, "ipv4 730");
    check("hostsVN-ip-ads.txt", Format::Plain, "ipv4 1756");
    // The same list with `*.` in front of each line, addresses too.
    check("urlhaus-filter-wildcard-online.txt", Format::Plain, "ipv4 2234, name 619");
    // `grep -c '^0.0.0.0 '`, `'^address='`, `'^local-zone'`, `'^zone '`.
    check("hostsVN-threat-hosts.txt", Format::Hosts, "name 4966");
    check("tweetfeed-dnsmasq.conf", Format::Dnsmasq, "Name 2, name 4873");
    check("urlhaus-filter-unbound.conf", Format::Unbound, "name 2689");
    check("urlhaus-filter-bind.conf", Format::Bind, "name 619");
    // `grep -c ' CNAME \.'`, half of it with `*.` in front; the two long names and their wildcards are too long.
    check("urlhaus-filter-rpz.zone", Format::Rpz, "name:exact 2689");
    check("tweetfeed-rpz.zone", Format::Rpz, "Name 4, name:below 4873, name:exact 4873");
}

#[test]
fn path_rules_are_no_blocks_of_their_hosts() {
    check("urlhaus-filter-agh-online.txt", Format::Adblock, "ipv4 2234, name 619");
    // 25,768 bare hosts, `grep -cE '^\|\|[^/]+/'` for the 6,051 URLs, and three names as `||name^$all`.
    check("urlhaus-filter.txt", Format::Adblock, "ipv4 23079, name 2692, url 6051");
    // Rows by whether their column `path` is filled, once with `/` alone: python's csv module.
    check("urlhaus-filter-splunk-online.csv", Format::Csv, "ipv4 2234, name 619, url 3510");
}

#[test]
fn tables() {
    // Rows by their column `type`: python's csv module. Two long names, and two URLs with such hosts.
    check(
        "tweetfeed-month.csv",
        Format::Csv,
        "Kind md5 240, Kind sha256 444, Name 4, ipv4 813, name 4983, url 5605",
    );
    check("stalkerware-network.csv", Format::Csv, "ipv4 66, name 966, url 2, ~family 1034");
}

#[test]
fn trails() {
    // Lines without comments: those that start with `/`; those with brackets; the rest by `ipaddress`.
    let check = |file, expected| check(file, Format::Maltrail, expected);
    check("maltrail-apt_oceanlotus.txt", "Pattern 6, ipv4 27, name 543, url 13, ~family 583");
    check("maltrail-apt_mustangpanda.txt", "Pattern 19, ipv4 143, name 314, url 49, ~family 506");
    check("maltrail-sinkhole_shadowserver.txt", "ipv4 29, name 5, ~family 34");
    // 49 whole top-level domains, written as `.tld`.
    check("maltrail-domain.txt", "Regex 1, SingleLabel 49, name 4610, ~family 4610");
    // Three addresses with a letter in front, such as C91.196.152.28.
    check("maltrail-mass_scanner.txt", "Address 3, Pattern 2, ipv4 17234, ipv6 1981, ~family 19215");
    check("maltrail-mass_scanner_cidr.txt", "ipv4 13, net 1093, ~family 1106");
}

#[test]
fn events() {
    // Attributes by type and `to_ids`, in `Attribute` and in `Object`: python's json module.
    let check = |file, expected| check(file, Format::Misp, expected);
    // 270 names and 40 addresses, and four pairs of both.
    check("glupteba.misp-event.json", "Kind filename|sha1 6, Kind regkey 1, ipv4 44, name 274");
    check("tweetfeed-event.json", "Kind md5 2, Kind sha256 7, ipv4 20, name 51, url 61");
    // No `Event` on top, and all in objects; three of them, with the family's name among their texts.
    check(
        "stalkerware-misp_event.json",
        "Kind link 1, Kind sha1 17, Kind sha256 11, Kind text 53, name 24, ~family 24",
    );
    // Events for people: to_ids is false throughout.
    check(
        "misp-dukes-operation-ghost-event.json",
        "Kind link 1, Kind sha1 18, Kind text 13, NotForDetection 69",
    );
    check("oceanlotus-macOS.misp.event.json", "Kind filename 3, Kind sha1 1, Kind text 1, NotForDetection 4");
    check(
        "oceanlotus-rtf_ocx_campaigns.misp.event.json",
        "Kind regkey 13, Kind sha1 20, Kind text 6, NotForDetection 22",
    );
    check("oceanlotus-wateringhole-2018.misp.event.json", "Kind comment 2, Kind sha1 2, NotForDetection 71");
    check(
        "oceanlotus.misp.event.json",
        "Kind filename 8, Kind filename|sha1 5, Kind regkey 1, Kind regkey|value 3, Kind text 7, NotForDetection 87",
    );
    check(
        "signsight-misp-event.json",
        "Kind filename|sha1 3, Kind link 1, Kind sha1 2, Kind text 3, NotForDetection 4",
    );
}

#[test]
fn bundles() {
    // Patterns with their texts taken out, counted: python's json and re.
    let check = |file, expected| check(file, Format::Stix, expected);
    check("amnesty-cytrox.stix2", "Kind configuration-profile:id 1, Kind file:path 6, name 336, ~family 336");
    check(
        "amnesty-pegasus.stix2",
        "Kind email-addr:value 29, Kind file:name 1, Kind process:name 81, name 1438, ~family 1438",
    );
    check(
        "tweetfeed-taxii-page-2026-08-17.0.json",
        "Kind file:hashes.'SHA-256' 20, Kind file:hashes.MD5 2, ipv4 19, name 201, url 212",
    );
    check(
        "tweetfeed-week.json",
        "Kind file:hashes.'SHA-256' 88, Kind file:hashes.MD5 28, ipv4 162, name 575, url 683",
    );
}

#[test]
fn rule_sets() {
    // The lengths of its arrays: python's json module.
    check("hostsVN-sing-box-rule.json", Format::Json, "name 4891");
}

#[test]
fn reports() {
    // `grep -oE '[^ |`+]*\[\.\][^ |`+]*' | wc -l`, by what the words are. The faults are links that stand alone in their
    // lines, and the one report that lists 111 names and addresses as they are.
    let check = |file, expected| check(file, Format::Text, expected);
    check("eset-asylum_ambuscade.adoc", "NotDefanged 1, ipv4 88, name 2");
    check("eset-ballisticbobcat.adoc", "NotDefanged 1, ipv4 4");
    check("eset-casbaneiro.adoc", "NotDefanged 1, name 2, url 3");
    check("eset-ceranakeeper.adoc", "NotDefanged 1, ipv4 4, name 5");
    check("eset-evasive_panda.adoc", "NotDefanged 2, ipv4 3, name 3");
    check("eset-mustang_panda.adoc", "NotDefanged 1, ipv4 13, name 4");
    check("eset-oceanlotus.adoc", "NotDefanged 112, name 71");
    check("eset-ousaban.adoc", "url 12");
}
