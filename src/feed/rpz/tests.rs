//! What an RPZ promises, entry by entry.

use crate::feed::Format;
use crate::feed::tests::check as check_format;

fn check(text: &str, expected: &[&str]) {
    check_format(Format::Rpz, text, expected);
}

#[test]
fn owners_are_triggers() {
    check("Evil.example CNAME .", &["1 name evil.example exact action=nxdomain"]);
    check("*.evil.example CNAME .", &["1 name evil.example below action=nxdomain"]);
    check("evil.example. CNAME .", &["1 name evil.example exact action=nxdomain"]);
    check("sạch.vn CNAME .", &["1 name xn--sch-sgz.vn exact action=nxdomain"]);
    check("*.sạch.vn CNAME .", &["1 name xn--sch-sgz.vn below action=nxdomain"]);
    check(r"a\032b.evil.example CNAME .", &[r"1 name a\032b.evil.example exact action=nxdomain"]);
    check("a\u{7}b.example CNAME .", &["1! Name(Character('\\u{7}'))"]);
    check("com CNAME .", &["1! SingleLabel"]);
    check("*.com CNAME .", &["1! SingleLabel"]);
    check("* CNAME .", &["1! Everything"]);
    check("@ CNAME .", &["1! Everything"]);
    check("a..example CNAME .", &["1! Name(EmptyLabel)"]);
    check(&format!("{} CNAME .", ["a"; 128].join(".")), &["1! Name(TooLong(257))"]);
}

#[test]
fn targets_are_actions() {
    check("a.example CNAME *.", &["1 name a.example exact action=nodata"]);
    check("a.example CNAME RPZ-passthru.", &["1 name a.example exact action=passthru"]);
    check("a.example CNAME rpz-passthru", &["1 name a.example exact action=passthru"]);
    check("a.example CNAME rpz-drop.", &["1 name a.example exact action=drop"]);
    check("a.example CNAME rpz-tcp-only.", &["1 name a.example exact action=tcp-only"]);
    check("a.example CNAME A.example.", &["1 name a.example exact action=passthru"]);
    check("*.a.example CNAME *.a.example.", &["1 name a.example below action=passthru"]);
    check("a.example CNAME w.example.", &["1 name a.example exact action=cname:w.example."]);
    check("a.example CNAME", &["1! Record"]);
    check("a.example CNAME . .", &["1! Record"]);
    check("a.example", &["1! Record"]);
    check("a.example 300 IN", &["1! Record"]);
}

#[test]
fn ttl_and_class_stand_in_any_order() {
    for front in ["", "300", "IN", "300 IN", "in 1h30m"] {
        check(&format!("a.example {front} cname ."), &["1 name a.example exact action=nxdomain"]);
    }
    check("in.example CNAME .", &["1 name in.example exact action=nxdomain"]);
}

#[test]
fn addresses_stand_reversed() {
    check("24.0.2.0.192.rpz-ip CNAME .", &["1 net 192.0.2.0/24 trigger=ip action=nxdomain"]);
    check("32.1.2.0.192.rpz-ip CNAME rpz-passthru.", &["1 ip 192.0.2.1 trigger=ip action=passthru"]);
    check("48.zz.8.db8.2001.rpz-ip CNAME .", &["1 net 2001:db8:8::/48 trigger=ip action=nxdomain"]);
    check("128.1.zz.db8.2001.rpz-ip CNAME *.", &["1 ip 2001:db8::1 trigger=ip action=nodata"]);
    check("128.1.zz.rpz-ip CNAME .", &["1 ip ::1 trigger=ip action=nxdomain"]);
    check(
        "128.8.7.6.5.4.3.db8.2001.rpz-ip CNAME .",
        &["1 ip 2001:db8:3:4:5:6:7:8 trigger=ip action=nxdomain"],
    );
    check("24.1.2.0.192.rpz-ip CNAME .", &["1! HostBits(192.0.2.0/24)"]);
    check("33.1.2.0.192.rpz-ip CNAME .", &["1! PrefixLength"]);
    check("0.0.0.0.0.rpz-ip CNAME .", &["1! Everything"]);
    check("24.2.0.192.rpz-ip CNAME .", &["1! AddressTrigger(\"rpz-ip\")"]);
    check("rpz-ip CNAME .", &["1! AddressTrigger(\"rpz-ip\")"]);
    check("*.24.0.2.0.192.rpz-ip CNAME .", &["1! AddressTrigger(\"rpz-ip\")"]);
    check("32.1.zz.2.0.192.zz.1.rpz-ip CNAME .", &["1! AddressTrigger(\"rpz-ip\")"]);
    check("128.201.c000.ffff.zz.rpz-ip CNAME .", &["1 ip 192.0.2.1 trigger=ip action=nxdomain"]);
    check("120.200.c000.ffff.zz.rpz-ip CNAME .", &["1 net 192.0.2.0/24 trigger=ip action=nxdomain"]);
    check("96.0.0.ffff.zz.rpz-ip CNAME .", &["1! Everything"]);
    check("95.0.0.ffff.zz.rpz-ip CNAME .", &["1! PrefixLength"]);
    check("129.1.zz.db8.2001.rpz-ip CNAME .", &["1! PrefixLength"]);
    check("032.1.2.0.192.rpz-nsip CNAME .", &["1! AddressTrigger(\"rpz-nsip\")"]);
    check("x.1.2.0.192.rpz-nsip CNAME .", &["1! PrefixLength"]);
    check(
        "24.0.2.0.192.rpz-ip A 10.0.0.1",
        &["1 net 192.0.2.0/24 trigger=ip action=local-data:60 A 10.0.0.1"],
    );
}

#[test]
fn clients_and_name_servers_are_triggers_too() {
    check("8.0.0.0.10.rpz-client-ip CNAME rpz-drop.", &["1 net 10.0.0.0/8 trigger=client-ip action=drop"]);
    check("128.1.zz.fd00.rpz-client-ip CNAME .", &["1 ip fd00::1 trigger=client-ip action=nxdomain"]);
    check("32.1.2.0.192.rpz-nsip CNAME .", &["1 ip 192.0.2.1 trigger=nsip action=nxdomain"]);
    check(
        "Ns.evil.example.rpz-nsdname CNAME .",
        &["1 name ns.evil.example exact trigger=nsdname action=nxdomain"],
    );
    check(
        "*.evil.example.rpz-nsdname CNAME *.",
        &["1 name evil.example below trigger=nsdname action=nodata"],
    );
    check("rpz-nsdname CNAME .", &["1! Everything"]);
    check("*.rpz-nsdname CNAME .", &["1! Everything"]);
    check("example.rpz-nsdname CNAME .", &["1! SingleLabel"]);
    check("24.1.0.0.10.rpz-client-ip CNAME .", &["1! HostBits(10.0.0.0/24)"]);
    check("24.x.0.0.10.rpz-client-ip CNAME .", &["1! AddressTrigger(\"rpz-client-ip\")"]);
    check("0.0.0.0.0.rpz-nsip CNAME .", &["1! Everything"]);
}

#[test]
fn local_data_is_any_type() {
    fn data(text: &str, expected: &str) {
        check(text, &[&format!("1 name a.example exact action=local-data:{expected}")]);
    }
    data("a.example 5 A 10.0.0.1", "5 A 10.0.0.1");
    data("a.example IN 1h AAAA 2001:DB8::1", "3600 AAAA 2001:db8::1");
    data("a.example 1 TXT \"a b\" c", r"1 TYPE16 \# 6 036120620163");
    data("a.example 1 MX 10 m.x.", r"1 TYPE15 \# 7 000a016d017800");
    data("a.example 1 PTR p.", r"1 TYPE12 \# 3 017000");
    data("a.example 1 SRV 1 2 3 s.", r"1 TYPE33 \# 9 000100020003017300");
    data("a.example 1 HTTPS 1 . alpn=h2", r"1 TYPE65 \# 10 00010000010003026832");
    data("a.example 1 CAA 0 issue \"x\"", r"1 TYPE257 \# 8 0005697373756578");
    data(r"a.example 1 TYPE65534 \# 2 0102", r"1 TYPE65534 \# 2 0102");
}

#[test]
fn what_is_no_local_data() {
    check("a.example A 10.0.0.256", &["1! LocalData(\"A\")"]);
    check("a.example A", &["1! Record"]);
    check("a.example A 10.0.0.1 10.0.0.2", &["1! LocalData(\"A\")"]);
    check("a.example MX mail.example.", &["1! LocalData(\"MX\")"]);
    check("a.example NS ns.example.", &["1! DataType(\"NS\")"]);
    check("a.example DNAME b.example.", &["1! DataType(\"DNAME\")"]);
    check("a.example BOGUS b.example.", &["1! DataType(\"BOGUS\")"]);
    check(r"a.example TYPE252 \# 1 00", &["1! DataType(\"TYPE252\")"]);
    check("com A 10.0.0.1", &["1! SingleLabel"]);
}

#[test]
fn ttls_are_told_or_taken_over() {
    let data =
        |line: u32, ttl: u32| format!("{line} name a.example exact action=local-data:{ttl} A 10.0.0.1");
    check("$TTL 1h30m\na.example A 10.0.0.1", &[&data(2, 5400)]);
    check("$TTL 300\na.example 7 A 10.0.0.1\na.example A 10.0.0.1", &[&data(2, 7), &data(3, 300)]);
    check("a.example 7 A 10.0.0.1\na.example A 10.0.0.1", &[&data(1, 7), &data(2, 7)]);
    check("a.example A 10.0.0.1", &[&data(1, 60)]);
    check("a.example 99999999999 A 10.0.0.1", &[&data(1, 0)]);
    check("$TTL x\na.example A 10.0.0.1", &["1! Directive(\"$TTL\")", &data(2, 60)]);
}

#[test]
fn names_in_data_are_seen_from_the_origin() {
    check(
        "$ORIGIN rpz.local.\na.example 1 PTR b\na.example 1 PTR b.",
        &[
            r"2 name a.example exact action=local-data:1 TYPE12 \# 13 01620372707a056c6f63616c00",
            r"3 name a.example exact action=local-data:1 TYPE12 \# 3 016200",
        ],
    );
}

#[test]
fn an_alias_may_hold_the_name() {
    check("a.example CNAME *.walled.example.", &["1 name a.example exact action=cname:*.walled.example."]);
    check("*.a.example CNAME *.walled.example.", &["1 name a.example below action=cname:*.walled.example."]);
}

#[test]
fn the_zones_own_records_are_no_news() {
    check("$TTL 30\n@ IN SOA localhost. root.localhost. 1 2 3 4 5\n NS localhost.\n", &[]);
    check("@ SOA a. b. (1 ; serial\n 2\n3 4\n 5 )\n@ TXT \"a\"\n A 10.0.0.1\n", &[]);
    check("a.example RRSIG CNAME 8 2 30 1 2 3 x. y\na.example NSEC b.example CNAME\n", &[]);
    check(" ; a.example CNAME .\n\n\t\n", &[]);
}

#[test]
fn names_are_seen_from_the_apex() {
    let one = |line: u64| format!("{line} name evil.example exact action=nxdomain");
    check("$ORIGIN rpz.local.\n@ SOA a. b. 1 2 3 4 5\nevil.example CNAME .", &[&one(3)]);
    check("$ORIGIN rpz.local.\nevil.example CNAME .", &[&one(2)]);
    check("rpz.local. SOA a. b. 1 2 3 4 5\nevil.example.RPZ.local. CNAME .", &[&one(2)]);
    check("rpz.local. SOA a. b. 1 2 3 4 5\nevil.example CNAME .", &[&one(2)]);
    check(
        "$ORIGIN .\nrpz.local SOA a. b. 1 2 3 4 5\n$ORIGIN rpz.local.\nevil.example CNAME .\n\
         $ORIGIN example.rpz.local.\nevil CNAME .\n*.evil CNAME .",
        &[&one(4), &one(6), "7 name evil.example below action=nxdomain"],
    );
    check("@ SOA a. b. 1 2 3 4 5\n$ORIGIN example\nevil CNAME .", &[&one(3)]);
    check(
        "$origin rpz.local.\nevil.example. CNAME .\n24.0.2.0.192.rpz-ip.rpz.local. CNAME .",
        &["2! OutOfZone(Name(rpz.local))", "3 net 192.0.2.0/24 trigger=ip action=nxdomain"],
    );
    check(
        "$ORIGIN rpz.local.\nevil.example CNAME walled\n",
        &["2 name evil.example exact action=cname:walled.rpz.local."],
    );
}

#[test]
fn blank_owners_take_the_last_one() {
    check("a.example NS x\n CNAME .", &["1! DataType(\"NS\")", "2 name a.example exact action=nxdomain"]);
    check(" CNAME .", &["1! NoOwner"]);
    check(
        "a.example CNAME .\nb..example CNAME .\n CNAME .",
        &["1 name a.example exact action=nxdomain", "2! Name(EmptyLabel)", "3! NoOwner"],
    );
}

#[test]
fn reading_goes_on_behind_a_fault() {
    let last = |line: u64| format!("{line} name z.example exact action=nxdomain");
    for fault in ["a.example TXT \"x", "a.example CNAME ) ."] {
        let kind = if fault.contains('"') { "Quote" } else { "Parenthesis" };
        check(&format!("{fault}\nz.example CNAME ."), &[&format!("1! {kind}"), &last(2)]);
    }
    check("$INCLUDE /etc/passwd\nz.example CNAME .", &["1! Include", &last(2)]);
    check("$GENERATE 1-9 a$ CNAME .\nz.example CNAME .", &["1! Directive(\"$GENERATE\")", &last(2)]);
    check("$TTL\nz.example CNAME .", &["1! Directive(\"$TTL\")", &last(2)]);
    check("a.example CNAME ( .\nz.example CNAME .", &["1! Parenthesis", &last(2)]);
    check("a.example (\nb.example (\nz.example CNAME .", &["1! Parenthesis", "2! Parenthesis", &last(3)]);
    check("a.example (\n b \"\nz.example CNAME .", &["1! Parenthesis", "2! Quote", &last(3)]);
    check(
        "a.example CNAME ( ; why\n\n.\n) ; why\nz.example CNAME .",
        &["1 name a.example exact action=nxdomain", &last(5)],
    );

    // However much follows an open parenthesis, it costs its own line only.
    let mut text = String::from("@ SOA a. b. (1 2 3 4 5\n");
    let mut expected = vec!["1! Parenthesis".to_owned()];
    for line in 2..=300 {
        text.push_str("z.example CNAME .\n");
        expected.push(last(line));
    }
    check(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}
