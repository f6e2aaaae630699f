//! Samples of every format, and what they say. Addresses, names and people are made up.

use jiff::tz::TimeZone;

use super::super::claim::Manner;
use super::*;
use crate::tabular::workbook::samples::{inline, workbook as book};

/// 2026-11-26 01:00:00 UTC.
const NOW: i64 = 1_795_654_800_000_000;

fn reading() -> Reading {
    let zone = TimeZone::fixed(jiff::tz::offset(7));
    Reading { format: Format::Auto, as_of: NOW, zone, dates: Order::Auto }
}

/// Claims as `address mac client host start..until manner`, times in seconds from `NOW`; faults as `line! fault`.
fn shown(batch: &Batch) -> Vec<String> {
    let time = |time: Option<i64>| time.map_or("-".to_owned(), |time| ((time - NOW) / 1_000_000).to_string());
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let claims = batch.claims.iter().map(|it| {
        let manner = match it.manner {
            Manner::Holds => "",
            Manner::Released => " released",
            Manner::Nobody => " nobody",
        };
        format!(
            "{} {} {} {} {} {}..{}{manner}",
            it.line,
            text(it.address.map(|it| it.to_string())),
            text(it.mac.map(|it| it.to_string())),
            text(it.client.as_ref().map(|it| it.key().iter().map(|octet| format!("{octet:02x}")).collect())),
            text(it.host.clone()),
            time(it.start),
            time(it.until),
        )
    });
    let faults = batch.faults.iter().map(|(line, fault)| format!("{line}! {fault}"));
    claims.chain(faults).collect()
}

#[track_caller]
fn check(octets: &[u8], format: Format, expected: &[&str]) {
    let (found, batch) = read(octets, &reading()).unwrap();
    assert_eq!((found, shown(&batch)), (format, expected.iter().map(|it| (*it).to_owned()).collect()));
}

#[test]
fn kea_of_dhcpv4() {
    check(
        b"address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n\
          10.1.2.3,00:1a:2b:3c:4d:5e,01:00:1a:2b:3c:4d:5e,3600,1795658400,1,0,0,pc-01.so-tttt.local.,0,,0\n\
          10.1.2.4,,01:00:1a:2b:3c:4d:5f,4294967295,6090622095,1,0,0,,0,,0\n\
          10.1.2.3,00:1a:2b:3c:4d:5e,01:00:1a:2b:3c:4d:5e,0,1795654800,1,0,0,pc-01,0,,0\n\
          10.1.2.5,,,86400,1795741200,1,0,0,,1,,0\n\
          10.1.2.6,00:1a:2b:3c:4d:60,ff:01:02:03:04:00:01:00:01:aa,3600,1795660200,1,1,1,a&#x2cb,2,{ \"x\": 1&#x2c 2 },0\n\
          x,,,1,2,3,4,5\n10.1.2.7,,,one,2,3,4,5\n10.1.2.8\n",
        Format::Kea,
        &[
            "2 10.1.2.3 00:1a:2b:3c:4d:5e - pc-01.so-tttt.local 0..3600",
            "3 10.1.2.4 00:1a:2b:3c:4d:5f - - 0..-",
            // Somebody else was heard half an hour later: it was over by then.
            "4 10.1.2.3 00:1a:2b:3c:4d:5e - pc-01 0..1800 released",
            "5 10.1.2.5 - - - 0..86400 nobody",
            "6 10.1.2.6 00:1a:2b:3c:4d:60 0100010001aa a,b 1800..5400",
            "7! \"x\" is no address",
            "8! \"one\" is no number of seconds",
            "9! 1 fields, where the format has 12",
        ],
    );
}

#[test]
fn kea_of_dhcpv6() {
    check(
        b"address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id\n\
          2001:db8::3,00:01:00:01:2a:aa,4000,1795658800,1,3000,0,7,128,0,0,pc-01,00:1a:2b:3c:4d:5e,0,,1,0,0\n\
          2001:db8:1::,00:01:00:01:2a:aa,4000,1795658800,1,3000,2,7,56,0,0,,,0,,,,0\n",
        Format::Kea,
        &["2 2001:db8::3 00:1a:2b:3c:4d:5e 01000100012aaa pc-01 0..4000"],
    );
}

#[test]
fn isc_leases() {
    check(
        br#"# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
server-duid "\000\001\000\001";

lease 10.1.2.3 {
  starts 4 2026/11/26 01:00:00;
  ends 4 2026/11/26 02:00:00;
  cltt 4 2026/11/26 01:00:00;
  binding state active;
  next binding state free;
  hardware ethernet 00:1a:2b:3c:4d:5e;
  uid "\001\000\032+<M^";
  set vendor-class-identifier = "MSFT 5.0";
  client-hostname "pc\"01";
  on commit { set x = "}"; }
}
lease 10.1.2.4 { starts epoch 1795654800; # Thu Nov 26
  ends never; hardware ethernet 00:1a:2b:3c:4d:5f; }
lease 10.1.2.3 { starts 4 2026/11/26 01:00:00; ends 4 2026/11/26 01:30:00; binding state free;
  hardware ethernet 00:1a:2b:3c:4d:5e; }
lease 10.1.2.5 { starts 4 2026/11/26 01:00:00; ends 5 2026/11/27 01:00:00; binding state abandoned; client-hostname "?"; }
lease 10.1.2.6 { binding state backup; }
lease 10.1.2.7 { starts 4 2026/13/26 01:00:00; hardware ethernet 00:1a:2b:3c:4d:60; }
ia-na "\001\000\000\000\000\001\000\001\052\252" {
  cltt 4 2026/11/26 01:00:00;
  iaaddr 2001:db8::3 { binding state active; preferred-life 375; max-life 600; ends 4 2026/11/26 01:10:00; }
}
failover peer "x" state { my state normal at 4 2026/11/26 01:00:00; }
lease 10.1.2.9 { starts 4 2026/11/26 01:00:00;
"#,
        Format::Isc,
        &[
            "5 10.1.2.3 00:1a:2b:3c:4d:5e - pc\"01 0..3600",
            "17 10.1.2.4 00:1a:2b:3c:4d:5f - - 0..-",
            "19 10.1.2.3 00:1a:2b:3c:4d:5e - - 0..1800 released",
            "21 10.1.2.5 - - - 0..86400 nobody",
            "26 2001:db8::3 - 01000100012aaa - 0..600",
            "23! \"4 2026/13/26 01:00:00\" is no time; say how dates are written with --dates dmy, mdy or ymd",
            "29! the lease that begins here has no end",
        ],
    );
}

#[test]
fn dnsmasq_leases() {
    check(
        b"1795658400 00:1a:2b:3c:4d:5e 10.1.2.3 pc-01 01:00:1a:2b:3c:4d:5e\n\
          0 00:1a:2b:3c:4d:5f 10.1.2.4 * *\n3600 00:1a:2b:3c:4d:60 10.1.2.5 * *\n\
          duid 00:01:00:01:aa\n1795658400 66445566 2001:db8::3 pc-01 00:01:00:01:2a:aa\nx\n",
        Format::Dnsmasq,
        &[
            "1 10.1.2.3 00:1a:2b:3c:4d:5e - pc-01 0..3600",
            "2 10.1.2.4 00:1a:2b:3c:4d:5f - - 0..-",
            "5 2001:db8::3 - 01000100012aaa pc-01 0..3600",
            "3! \"3600\" is no number of seconds",
            "6! 1 fields, where the format has 5",
        ],
    );
}

#[test]
fn windows_leases() {
    let csv = "#TYPE Microsoft.Management.Infrastructure.CimInstance#root/Microsoft/Windows/DHCP/DhcpServerv4Lease\r\n\
        \"IPAddress\",\"ScopeId\",\"AddressState\",\"ClientId\",\"HostName\",\"LeaseExpiryTime\",\"Description\"\r\n\
        \"10.1.2.3\",\"10.1.2.0\",\"Active\",\"00-1a-2b-3c-4d-5e\",\"pc-01.so.local\",\"26/11/2026 9:00:00 SA\",\"\"\r\n\
        \"10.1.2.4\",\"10.1.2.0\",\"ActiveReservation\",\"00-1a-2b-3c-4d-5f\",\"in-01\",\"\",\"Máy in\"\r\n\
        \"10.1.2.5\",\"10.1.2.0\",\"InactiveReservation\",\"00-1a-2b-3c-4d-60\",\"x\",\"\",\"\"\r\n\
        \"10.1.2.6\",\"10.1.2.0\",\"Active\",\"00-1a-2b-3c-4d-61\",\"y\",\"mai\",\"\"\r\n";
    let expected = [
        "3 10.1.2.3 00:1a:2b:3c:4d:5e - pc-01.so.local 0..3600",
        "4 10.1.2.4 00:1a:2b:3c:4d:5f - in-01 0..-",
        "6! \"mai\" is no time; say how dates are written with --dates dmy, mdy or ymd",
    ];
    check(csv.as_bytes(), Format::Windows, &expected);
    check(csv.replace("\",\"", "\";\"").as_bytes(), Format::Windows, &expected);
    let wide: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(csv.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    check(&wide, Format::Windows, &expected);
    check(
        b"<?xml version=\"1.0\"?>\n<DHCPServer><IPv4><Scopes><Scope><Name>LAN</Name><Leases>\n<Lease><IPAddress>10.1.2.3</IPAddress>\
          <ClientId>00-1a-2b-3c-4d-5e</ClientId><HostName>pc-01</HostName><AddressState>Active</AddressState>\
          <LeaseExpiryTime>2026-11-26T02:00:00Z</LeaseExpiryTime></Lease>\n</Leases></Scope></Scopes></IPv4></DHCPServer>",
        Format::Windows,
        &["3 10.1.2.3 00:1a:2b:3c:4d:5e - pc-01 0..3600"],
    );
}

#[test]
fn inventories() {
    let rows: &[&[&str]] = &[
        &["SỞ THÔNG TIN VÀ TRUYỀN THÔNG"],
        &["DANH SÁCH MÁY TÍNH", "", "Ngày 26/11/2026"],
        &[
            "STT",
            "Tên máy",
            "Địa chỉ IP",
            "Địa chỉ MAC (LAN)",
            "Người sử dụng",
            "Đơn vị",
            "Phần mềm diệt virus",
            "Từ ngày",
        ],
        &[
            "1",
            "PC-01",
            "10.1.2.3/24",
            "00-1A-2B-3C-4D-5E",
            "Trần Văn A",
            "Văn phòng",
            "Bkav Endpoint",
            "26/11/2026",
        ],
        &["2", "PC-02", "10.1.2.4; 10.1.2.5", "001a.2b3c.4d5f", "-", "", "", ""],
        &["3", "", "", "", "Lê Thị B", "Thanh tra", "", ""],
        &["4", "PC-03", "DHCP", "", "", "", "", ""],
        &["5", "PC-04", "10.1.2.300", "00-1A", "", "", "", ""],
        &["Tổng cộng: 5 máy"],
    ];
    let expected = [
        "4 10.1.2.3 00:1a:2b:3c:4d:5e - PC-01 -28800..-",
        "5 10.1.2.4 00:1a:2b:3c:4d:5f - PC-02 -..-",
        "5 10.1.2.5 00:1a:2b:3c:4d:5f - PC-02 -..-",
        "7 - - - PC-03 -..-",
        "8 - - - PC-04 -..-",
        "6! neither address nor MAC nor host name: the row is passed over",
        "8! \"10.1.2.300\" is no address",
        "8! \"00-1A\" is no MAC address",
    ];
    check(&book("", &[("a", "visible", &inline(rows))]), Format::Inventory, &expected);
    let csv: String = rows.iter().map(|row| row.join("\t") + "\r\n").collect();
    check(format!("\u{feff}{csv}").as_bytes(), Format::Inventory, &expected);
    let (_, batch) = read(csv.as_bytes(), &reading()).unwrap();
    let about = &batch.claims[0].about;
    assert_eq!(about.owner.as_deref(), Some("Trần Văn A"));
    assert_eq!(
        (about.unit.as_deref(), about.protection.as_deref()),
        (Some("Văn phòng"), Some("Bkav Endpoint"))
    );
    assert_eq!(batch.claims[1].about.owner, None);
}

#[test]
fn what_is_none_of_them_says_so() {
    fn check(octets: &[u8], expected: &str) {
        assert_eq!(read(octets, &reading()).unwrap_err().to_string(), expected);
    }
    let unknown = "what kind of file is this? Say --format kea, isc, dnsmasq, windows or inventory";
    check(b"", unknown);
    check(b"hello\nworld\n", unknown);
    check(b"a\0b", "it is neither text nor a workbook");
    let old = "line 1 is not UTF-8, and names in it would be ruined; save it in Excel as \"CSV UTF-8 (Comma delimited)\" or as .xlsx";
    check(b"T\xean m\xe1y;IP\nPC;10.1.2.3\n", old);
    check(b"Hostname;IP;MAC;\xd0\nPC;10.1.2.3;;\n", old);
    check(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a workbook of Excel 97, or one with a password; save it as .xlsx without a password, or as CSV",
    );
}

#[test]
fn a_file_of_another_format_says_so() {
    fn check(format: Format, octets: &[u8], is_taken: bool) {
        let read = read(octets, &Reading { format, ..reading() });
        assert_eq!(read.is_ok(), is_taken, "{format}: {:?}", String::from_utf8_lossy(octets));
    }
    check(Format::Kea, b"", false);
    check(Format::Kea, b"ip;mac\n10.1.2.3;00-1a-2b-3c-4d-5e\n", false);
    check(Format::Kea, b"address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev\n", true);
    check(Format::Isc, b"ip;mac\n10.1.2.3;00-1a-2b-3c-4d-5e\n", false);
    check(Format::Isc, b"lease 10.1.2.3 { ends never; }", true);
    // What a fresh server has.
    check(Format::Isc, b"", true);
    check(Format::Isc, b"# The format of this file is documented in dhcpd.leases(5).\n\n", true);
    check(Format::Dnsmasq, b"", true);
    // An octet of an old encoding costs one host name, not all leases.
    check(Format::Dnsmasq, b"1795658400 00:1a:2b:3c:4d:5e 10.1.2.3 m\xe1y *\n", true);
}

#[test]
fn headings_of_inventories() {
    fn check(headings: &str, row: &str, expected: [Option<&str>; 2], unread: &[&str]) {
        let text = format!("{headings}\n{row}\n");
        let batch = read(text.as_bytes(), &Reading { format: Format::Inventory, ..reading() }).unwrap().1;
        assert_eq!(batch.claims.len(), 1, "{headings}: {:?}", batch.faults);
        let claim = &batch.claims[0];
        assert_eq!([claim.host.as_deref(), claim.about.owner.as_deref()], expected, "{headings}");
        let faults: Vec<_> = batch.faults.iter().map(|(line, fault)| (*line, fault.clone())).collect();
        let unread: Vec<_> = unread
            .iter()
            .map(|heading| (1, super::super::claim::Fault::Heading((*heading).to_owned())))
            .collect();
        assert_eq!(faults, unread, "{headings}");
    }
    let both = [Some("PC-01"), Some("Trần Văn A")];
    let row = "1;PC-01;10.1.2.3;Trần Văn A";
    for host in ["Máy tính", "Máy trạm", "Tên máy trạm (hostname)", "Tên máy", "Hostname"] {
        check(&format!("STT;{host};IP;Họ và tên cán bộ"), row, both, &[]);
    }
    for owner in ["Họ và tên người sử dụng", "Người sử dụng chính", "Họ tên", "Cán bộ"]
    {
        check(&format!("TT;Tên máy;Địa chỉ;{owner}"), row, both, &[]);
    }
    check("STT;Tên máy;IP;Số điện thoại", row, [Some("PC-01"), None], &["Số điện thoại"]);
    check("STT;Tên máy;IP;Địa chỉ cơ quan", row, [Some("PC-01"), None], &["Địa chỉ cơ quan"]);
    // What begins as headings do in a row of a machine is no header.
    let row = "1;Máy tính;10.1.2.3;Cán bộ văn phòng";
    check("STT;Tên máy;IP;Người dùng", row, [Some("Máy tính"), Some("Cán bộ văn phòng")], &[]);
}

#[test]
fn the_last_day_of_an_inventory_is_in() {
    let text = "Tên máy;IP;Từ ngày;Đến ngày\nPC-01;10.1.2.3;26/11/2026;26/11/2026\nPC-02;10.1.2.4;;26/11/2026 08:00\n";
    check(
        text.as_bytes(),
        Format::Inventory,
        &["2 10.1.2.3 - - PC-01 -28800..57600", "3 10.1.2.4 - - PC-02 -..0"],
    );
}

#[test]
fn reservations_of_the_dhcp_console() {
    let text = "Client IP Address\tName\tLease Expiration\tType\tUnique ID\tDescription\r\n\
        10.1.2.3\tpc-01\t26/11/2026 9:00:00 SA\tDHCP\t001a2b3c4d5e\t\r\n\
        10.1.2.4\tin-01\tReservation (active)\tDHCP\t001a2b3c4d5f\tMáy in\r\n\
        10.1.2.5\tx\tReservation (inactive)\tDHCP\t001a2b3c4d60\t\r\n";
    check(
        text.as_bytes(),
        Format::Windows,
        &["2 10.1.2.3 00:1a:2b:3c:4d:5e - pc-01 0..3600", "3 10.1.2.4 00:1a:2b:3c:4d:5f - in-01 0..-"],
    );
}

proptest::proptest! {
    /// Whatever stands in a file, it is read to its end: pieces of the formats in any order, cut anywhere.
    #[test]
    fn no_file_is_too_odd(
        pieces in proptest::collection::vec(0usize..24, 0..40),
        cut in 0usize..400,
        format in 0usize..6,
    ) {
        const PIECES: [&str; 24] = [
            "lease 10.1.2.3 {", "}", ";", " starts 4 2026/11/26 01:00:00;", "ends never", "\"", "\\", "\\001", "uid ", "é",
            "ia-na \"abcd\\000\\001\\002\" {", "iaaddr 2001:db8::3 {", "hardware ethernet 00:1a:2b:3c:4d:5e;", "\n", ",", ";",
            "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n",
            "10.1.2.3,00:1a:2b:3c:4d:5e,,0,9223372036854775807,1,0,0,x,0,\n", "1795658400 00:1a:2b:3c:4d:5e 10.1.2.3 * *\n",
            "IPAddress,ClientId,LeaseExpiryTime\n", "10.1.2.3,01-00-1a,27/11/2026 3:00 CH\n", "<DHCPServer><Lease><IPAddress>", "</Lease>",
            "Tên máy;Địa chỉ IP;Từ ngày\npc-01;10.1.2.3/24;46353\n",
        ];
        let text: String = pieces.into_iter().map(|at| PIECES[at]).collect();
        let octets = &text.as_bytes()[..cut.min(text.len())];
        let reading = Reading { format: FORMATS[format].1, ..reading() };
        if let Ok((_, batch)) = read(octets, &reading) {
            proptest::prop_assert!(batch.claims.iter().all(|it| it.mac.is_none_or(crate::mac::Mac::is_usable)));
        }
    }
}
