//! ClientHellos of known fingerprints, and what is none.

use super::*;

/// A ClientHello in one record.
fn hello(version: u16, suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let counted = |octets: &[u8]| {
        let mut out = (octets.len() as u16).to_be_bytes().to_vec();
        out.extend_from_slice(octets);
        out
    };
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(counted(&suites.iter().flat_map(|it| it.to_be_bytes()).collect::<Vec<_>>()));
    body.extend([1, 0]);
    if !extensions.is_empty() {
        let extensions = extensions.iter().flat_map(|(kind, content)| {
            let mut out = kind.to_be_bytes().to_vec();
            out.extend(counted(content));
            out
        });
        body.extend(counted(&extensions.collect::<Vec<_>>()));
    }
    let mut message = vec![CLIENT_HELLO, 0];
    message.extend(counted(&body));
    records(&message, 16_384)
}

/// A message in records of so many octets.
fn records(message: &[u8], each: usize) -> Vec<u8> {
    message
        .chunks(each)
        .flat_map(|part| {
            let mut out = vec![HANDSHAKE, 3, 1];
            out.extend((part.len() as u16).to_be_bytes());
            out.extend_from_slice(part);
            out
        })
        .collect()
}

fn sni(name: &str) -> (u16, Vec<u8>) {
    let len = name.len() as u8;
    let mut content = vec![0, len + 3, 0, 0, len];
    content.extend(name.as_bytes());
    (SERVER_NAME, content)
}

fn alpn(values: &[&[u8]]) -> (u16, Vec<u8>) {
    let list: Vec<u8> = values.iter().flat_map(|value| [&[value.len() as u8], *value].concat()).collect();
    (ALPN, [&(list.len() as u16).to_be_bytes(), &*list].concat())
}

/// The example in FoxIO's description of JA4: Chrome's lists, in another order, with GREASE.
fn chrome() -> Vec<u8> {
    let suites = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let algorithms =
        [0x0403u16, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601].map(u16::to_be_bytes).concat();
    let algorithms = [&[0, 16], &*algorithms].concat();
    let mut extensions = vec![
        (0x9a9a, Vec::new()),
        (0x001b, vec![2, 0, 2]),
        sni("www.evil.example"),
        (0x0033, vec![0, 0]),
        alpn(&[b"h2", b"http/1.1"]),
        (SUPPORTED_VERSIONS, vec![6, 0x3a, 0x3a, 3, 4, 3, 3]),
        (SIGNATURE_ALGORITHMS, algorithms),
    ];
    let others = [0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x000b, 0x000a, 0xff01];
    extensions.extend(others.into_iter().filter(|&kind| kind != 0x000d).map(|kind| (kind, Vec::new())));
    extensions.push((0xcaca, vec![0]));
    extensions.push((0x0015, vec![0; 200]));
    hello(0x0303, &suites, &extensions)
}

#[test]
fn the_fingerprint_is_that_of_the_description() {
    let hello = parse(&chrome()).unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("www.evil.example"));
    assert_eq!(hello.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

#[test]
fn what_is_missing_shows_in_the_fingerprint() {
    fn check(octets: &[u8], expected: &str) {
        let ja4 = parse(octets).unwrap().ja4;
        assert!(ja4.starts_with(expected), "{ja4}, not {expected}");
    }
    check(&hello(0x0301, &[], &[]), "t10i000000_000000000000_000000000000");
    check(&hello(0x0300, &[5], &[]), "ts3i010000_");
    check(&hello(0x0303, &[5, 4], &[sni("a")]), "t12d020100_");
    check(&hello(0x0303, &[5], &[(SERVER_NAME, Vec::new())]), "t12d010100_");
    check(&hello(0x0303, &[5], &[alpn(&[b"http/1.1"])]), "t12i0101h1_");
    check(&hello(0x0303, &[5], &[alpn(&[b"x"])]), "t12i0101xx_");
    check(&hello(0x0303, &[5], &[alpn(&[b"\xab\xcd"])]), "t12i0101ad_");
    check(&hello(0x0303, &[5], &[alpn(&[])]), "t12i010100_");
    check(&hello(0x7f01, &[5; 120], &[]), "t00i990000_");
    // Of the suites alone: `printf '0004,0005' | sha256sum`.
    check(&hello(0x0303, &[5, 4], &[sni("a")]), "t12d020100_6e254592683c_000000000000");
}

#[test]
fn any_cut_is_told_and_nothing_else_passes() {
    let whole = chrome();
    for len in 0..whole.len() {
        assert_eq!(parse(&whole[..len]), Err(HelloError::Cut), "{len}");
    }
    let longer = [&*whole, b"early data"].concat();
    assert_eq!(parse(&longer), parse(&whole));
    for octets in [
        &b"GET / HTTP/1.1\r\n"[..],
        &[HANDSHAKE, 2],
        &[HANDSHAKE, 3, 1, 0, 0],
        &[HANDSHAKE, 3, 1, 0, 9, 2],
        &[HANDSHAKE, 3, 1, 0, 9, 1, 1, 0, 0],
        &[21, 3, 1, 0, 2, 1, 0],
        &[HANDSHAKE, 3, 1, 0, 4, 1, 0, 0, 0],
    ] {
        assert_eq!(parse(octets), Err(HelloError::Other), "{octets:?}");
    }
    // A list that is longer than what is there.
    let mut odd = whole;
    odd[5 + 4 + 2 + 32 + 1] = 0xff;
    assert_eq!(parse(&odd), Err(HelloError::Other));
}

#[test]
fn it_may_come_in_several_records() {
    let whole = chrome();
    let message = message(&whole).unwrap();
    for each in [1, 3, 100, 511] {
        let parts = records(&message, each);
        // Of records of one octet each, five sixths are heads: that is more than is read.
        assert_eq!(parse(&parts), parse(&whole), "{each}");
        assert_eq!(parse(&parts[..parts.len() - 1]), Err(HelloError::Cut));
    }
    let endless = records(&[&[CLIENT_HELLO, 0, 0x3f, 0][..], &[0; 20_000]].concat(), 1);
    assert_eq!(parse(&endless), Err(HelloError::Other));
}

/// What real programs sent (the fuzzer's seeds), and the fingerprints that come of tshark's fields of these octets by the
/// description: curl 7.88 and OpenSSL 3.0, Python 3.11, Chromium.
#[test]
fn real_clients_have_their_known_fingerprints() {
    fn check(octets: &[u8], name: Option<&str>, expected: &str) {
        let hello = parse(octets).unwrap();
        assert_eq!((hello.server_name.as_deref(), &*hello.ja4), (name, expected));
    }
    let name = Some("www.evil.example");
    let curl = include_bytes!("../../../fuzz/corpus/hello/curl");
    check(curl, name, "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6");
    let openssl = include_bytes!("../../../fuzz/corpus/hello/openssl");
    check(openssl, name, "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4");
    let openssl = include_bytes!("../../../fuzz/corpus/hello/openssl12");
    check(openssl, None, "t12i280600_d943125447b4_e7e480e5a997");
    let python = include_bytes!("../../../fuzz/corpus/hello/python");
    check(python, name, "t13d181100_85036bcba153_d41ae481755e");
    let chromium = include_bytes!("../../../fuzz/corpus/hello/chromium");
    check(chromium, name, "t13d1517h2_8daaf6152771_cb7bf5808d99");
}

proptest::proptest! {
    #[test]
    fn odd_octets_do_no_harm(at in 0_usize..1988, octet: u8, cut in 0_usize..1989) {
        let mut octets = include_bytes!("../../../fuzz/corpus/hello/chromium").to_vec();
        octets[at] = octet;
        octets.truncate(cut);
        if let Ok(hello) = parse(&octets) {
            assert_eq!(hello.ja4.len(), 36);
        }
    }
}
