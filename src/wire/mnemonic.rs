//! The words for numbers of types and response codes, as people write them.
//!
//! Numbers that the code itself goes by are named in [`super`].

use std::borrow::Cow;

/// The mnemonic of a record type, or `TYPE` and its number (RFC 3597, section 5).
pub fn type_text(rtype: u16) -> Cow<'static, str> {
    TYPES
        .iter()
        .find(|(number, _)| *number == rtype)
        .map_or_else(|| format!("TYPE{rtype}").into(), |(_, text)| (*text).into())
}

/// Reads a record type's mnemonic (any case) or its `TYPE` form.
pub fn type_number(text: &str) -> Option<u16> {
    TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(text)).map(|(number, _)| *number).or_else(
        || {
            let digits = text.get(..4).filter(|word| word.eq_ignore_ascii_case("TYPE")).and(text.get(4..))?;
            digits.parse().ok()
        },
    )
}

/// The mnemonic of a response code, or `RCODE` and its number.
pub fn rcode_text(rcode: u16) -> Cow<'static, str> {
    RCODES
        .iter()
        .find(|(number, _)| *number == rcode)
        .map_or_else(|| format!("RCODE{rcode}").into(), |(_, text)| (*text).into())
}

/// Reads a response code's mnemonic (any case) or its `RCODE` form.
pub fn rcode_number(text: &str) -> Option<u16> {
    RCODES.iter().find(|(_, known)| known.eq_ignore_ascii_case(text)).map(|(number, _)| *number).or_else(
        || {
            let digits =
                text.get(..5).filter(|word| word.eq_ignore_ascii_case("RCODE")).and(text.get(5..))?;
            digits.parse().ok()
        },
    )
}

/// Response codes in use, from IANA's registry of DNS parameters.
const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (16, "BADVERS"),
    (23, "BADCOOKIE"),
];

/// Types in use, from IANA's registry of DNS parameters.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (32768, "TA"),
    (32769, "DLV"),
];
