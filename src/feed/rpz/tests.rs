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
    check("a.example CNAME *.w.example.", &["1! WildcardCname"]);
    check("a.example CNAME", &["1! Record"]);
    check("a.example CNAME . .", &["1! Record"]);
    check("a.example", &["1! Record"]);
    check("a.example 300 IN", &["1! Record"]);
    check("a.example A 10.0.0.1", &["1! LocalData(\"A\")"]);
    check("a.example 60 IN TXT \"a b\"", &["1! LocalData(\"TXT\")"]);
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
    check("24.0.2.0.192.rpz-ip CNAME .", &["1 net 192.0.2.0/24 action=nxdomain"]);
    check("32.1.2.0.192.rpz-ip CNAME rpz-passthru.", &["1 ip 192.0.2.1 action=passthru"]);
    check("48.zz.8.db8.2001.rpz-ip CNAME .", &["1 net 2001:db8:8::/48 action=nxdomain"]);
    check("128.1.zz.db8.2001.rpz-ip CNAME *.", &["1 ip 2001:db8::1 action=nodata"]);
    check("128.1.zz.rpz-ip CNAME .", &["1 ip ::1 action=nxdomain"]);
    check("128.8.7.6.5.4.3.db8.2001.rpz-ip CNAME .", &["1 ip 2001:db8:3:4:5:6:7:8 action=nxdomain"]);
    check("24.1.2.0.192.rpz-ip CNAME .", &["1! HostBits(192.0.2.0/24)"]);
    check("33.1.2.0.192.rpz-ip CNAME .", &["1! PrefixLength"]);
    check("0.0.0.0.0.rpz-ip CNAME .", &["1! Everything"]);
    check("24.2.0.192.rpz-ip CNAME .", &["1! AddressTrigger"]);
    check("rpz-ip CNAME .", &["1! AddressTrigger"]);
    check("*.24.0.2.0.192.rpz-ip CNAME .", &["1! AddressTrigger"]);
    check("24.0.0.0.10.rpz-client-ip CNAME .", &["1! Trigger(\"rpz-client-ip\")"]);
    check("ns.evil.example.rpz-nsdname CNAME .", &["1! Trigger(\"rpz-nsdname\")"]);
    check("32.1.2.0.192.rpz-nsip CNAME .", &["1! Trigger(\"rpz-nsip\")"]);
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
        &["2! OutOfZone(Name(rpz.local))", "3 net 192.0.2.0/24 action=nxdomain"],
    );
    check(
        "$ORIGIN rpz.local.\nevil.example CNAME walled\n",
        &["2 name evil.example exact action=cname:walled.rpz.local."],
    );
}

#[test]
fn blank_owners_take_the_last_one() {
    check("a.example TXT x\n CNAME .", &["1! LocalData(\"TXT\")", "2 name a.example exact action=nxdomain"]);
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
