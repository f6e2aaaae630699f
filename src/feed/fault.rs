//! Faults: why a line gave no indicator, or less of one than it says.
//!
//! Every reason of every format, and its words. The reading itself is in the formats' own files.

use ipnet::IpNet;

use crate::name::{Name, NameError};

use super::read::MAX_LINE;

/// Why a line gave no indicator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A name was expected.
    #[error("not a domain name ({0})")]
    Name(#[from] NameError),
    /// One label alone, in any format: to take it would take a whole top-level domain.
    #[error("a single label; listing it would take a whole top-level domain")]
    SingleLabel,
    /// Every name or every address there is: `*` in an RPZ, `/#/` in dnsmasq, `0.0.0.0/0`.
    #[error("this stands for everything")]
    Everything,
    /// A `*` other than a whole first label.
    #[error("a * inside the name; only whole labels in front can be left open")]
    Wildcard,
    /// Digits and dots that are no IPv4 address, or a name whose last label is a number.
    #[error("looks like an IPv4 address, and is none")]
    Address,
    /// An address in a place where the format has names.
    #[error("an address where a name belongs")]
    AddressAsName,
    /// A network in whose text bits beyond the prefix are set. Whether the address or the network
    /// is meant cannot be known, and the network may hold thousands of strangers.
    #[error("host bits are set; the network would be {0}")]
    HostBits(IpNet),
    /// A network of so few bits that it can only be a mistake.
    #[error(
        "a network larger than a /{0} can only be a mistake (policy.shortest_ipv4 and shortest_ipv6 say so)"
    )]
    Wide(u8),
    /// A private, loopback or other address that no malicious host of the internet has.
    #[error("a local or special address, or a network that holds such")]
    SpecialAddress,
    /// An address that this server's own answers lead to.
    #[error("an address of the sinkhole itself, or a network that holds it")]
    OwnAddress,
    /// Clients of this server, a large part of a network that it answers.
    #[error(
        "a rule on clients that takes a large part of {0}, which this server answers; set gate = false where that is meant"
    )]
    Clients(IpNet),
    /// A number after an address and a slash that is no length of a prefix.
    #[error("not the length of a prefix")]
    PrefixLength,
    /// A URL without a host, or with blanks or control characters in it.
    #[error("not a URL")]
    Url,
    /// More on the line than the format has columns for.
    #[error("more columns than a name and a family; is this another format?")]
    Columns,
    /// A family of more than 200 octets, or with control characters.
    #[error("the second column is not the name of a malware family")]
    Family,
    /// Octets that are not UTF-8, outside a comment.
    #[error("not UTF-8")]
    NotUtf8,
    /// An indicator whose time is over.
    #[error("it has expired")]
    Expired,
    /// A line that was not kept.
    #[error("longer than {MAX_LINE} octets, left out")]
    LineTooLong,
    /// A file with zero octets near its start: an archive, a spreadsheet, a program.
    #[error("this file is binary, not a list; nothing was read")]
    Binary,
    /// A file with the byte order mark of UTF-16.
    #[error("this file is UTF-16; save it as UTF-8. Nothing was read")]
    Utf16,
    /// A file that starts as HTML or XML does, most often an error or log-in page.
    #[error("this file is a web page or XML, not a list; nothing was read")]
    Markup,

    /// XLSX: another kind of file.
    #[error("this file is no XLSX workbook; nothing was read")]
    NotWorkbook,
    /// XLSX: a workbook of Excel 97, or one with a password.
    #[error(
        "a workbook of the old kind, or one with a password; save it as XLSX without one. Nothing was read"
    )]
    OldWorkbook,
    /// XLSX: a sheet that nobody sees.
    #[error("a hidden sheet, left out")]
    HiddenSheet,
    /// JSON: another text than an object or an array.
    #[error("this file is no JSON; nothing was read")]
    NotJson,
    /// MISP: an attribute for people to read.
    #[error("not meant for detection (to_ids is false)")]
    NotForDetection,
    /// MISP, tables: an attribute, an object or a row that was deleted.
    #[error("deleted by its author")]
    Deleted,
    /// STIX, tables: an indicator that its author took back.
    #[error("revoked by its author")]
    Revoked,
    /// STIX: an indicator of what is harmless.
    #[error("said to be benign")]
    Benign,
    /// STIX: an indicator whose time has not come.
    #[error("valid only from a later time on")]
    NotYet,
    /// STIX: a pattern of another language.
    #[error("a pattern of type {0:?}, not of STIX's own")]
    PatternType(String),
    /// STIX: a pattern that breaks its grammar.
    #[error("not a pattern as STIX 2.1 has them")]
    PatternSyntax,
    /// STIX: a name or an address that is malicious only together with something that DNS does not show.
    #[error("malicious only together with what no query shows")]
    Narrowed,
    /// STIX: what is meant is everything else.
    #[error("a test for everything else than this")]
    Negated,
    /// STIX: a comparison that picks no single thing.
    #[error("the comparison {0:?} picks no name or address")]
    Operator(String),

    /// Tables: no heading and no cells show which column lists something.
    #[error("no column of names or addresses can be told; set the feed's columns")]
    NoValueColumn,
    /// Tables: a column that the configuration names.
    #[error("no column has the heading {0:?}; see the feed's columns")]
    NoColumn(String),
    /// Tables: a cell that should say when what the row lists ends; it is listed all the same.
    #[error("listed without an end, since {0:?} is no time that can be read")]
    Expiry(String),
    /// Tables: a row without anything to list.
    #[error("no name or address in this row")]
    NoValue,
    /// Tables, events: something that DNS does not show.
    #[error("a {0:?}, which no query shows")]
    Kind(String),

    /// ip: a name or a URL.
    #[error("no address; a list that mixes names and addresses is of format plain")]
    NotAddress,
    /// ip: a range whose end comes before its start.
    #[error("a range whose end is not behind its start")]
    Range,

    /// text: a line that is all a name, an address or a URL, as people can click it.
    #[error("not defanged; in free text only what is defanged is listed")]
    NotDefanged,
    /// text: an e-mail address.
    #[error("an e-mail address; its domain may serve many others")]
    Mail,
    /// text: the name of a file.
    #[error("the name of a file")]
    File,

    /// hosts: the line does not start with an address.
    #[error("no address in front")]
    NoAddress,
    /// hosts: an address alone.
    #[error("an address without a name")]
    NoName,

    /// Adblock: a rule that hides elements of a page.
    #[error("a cosmetic rule, which speaks of pages and not of hosts")]
    Cosmetic,
    /// Adblock, maltrail: a regular expression.
    #[error("a regular expression")]
    Regex,
    /// Adblock, maltrail: a piece of a URL that is tied to no host.
    #[error("a pattern for parts of URLs, tied to no host")]
    Pattern,
    /// Adblock: a modifier by which the rule no longer speaks of the whole host.
    #[error("the modifier {0:?} narrows the rule to less than the host")]
    Modifier(String),

    /// unbound, bind: a type of zone that refuses no names.
    #[error("a zone of type {0:?} keeps no names from being resolved")]
    ZoneType(String),
    /// dnsmasq, unbound, bind: an option that lists no names.
    #[error("the option {0:?} lists no names")]
    Setting(String),
    /// dnsmasq: names that are asked of a server of their own.
    #[error("these names are sent to the server {0:?}, not refused")]
    Forwarded(String),
    /// dnsmasq, unbound, bind: something other than the format's own form.
    #[error("not of the format's form")]
    Syntax,

    /// RPZ: `$INCLUDE`, which a feed may not have: it would open files of this machine.
    #[error("$INCLUDE is not followed")]
    Include,
    /// RPZ: `$GENERATE` or a directive nobody knows, or one without its argument.
    #[error("the directive {0:?} cannot be read")]
    Directive(String),
    /// RPZ: a parenthesis without its other half within the lines that a record may take.
    #[error("an unbalanced parenthesis")]
    Parenthesis,
    /// RPZ, bind, CSV: a quote that is still open at the end of the line.
    #[error("an open quote")]
    Quote,
    /// RPZ: a line that starts blank where no usable owner stands before.
    #[error("no owner, and none before to take over")]
    NoOwner,
    /// RPZ: no type, or not the data that the type needs.
    #[error("not a whole record")]
    Record,
    /// RPZ: an owner outside the zone.
    #[error("the owner is not within the zone {0}")]
    OutOfZone(Name),
    /// RPZ: a record whose data is not what its type needs.
    #[error("the data of this {0} record cannot be read")]
    LocalData(String),
    /// RPZ: a record whose type is unknown here, or that means nothing outside its zone.
    #[error("a record of type {0} cannot be an answer's local data")]
    DataType(String),
    /// RPZ: an owner of addresses that holds no prefix and reversed address.
    #[error("not a prefix length and a reversed address in front of {0}")]
    AddressTrigger(&'static str),
}
