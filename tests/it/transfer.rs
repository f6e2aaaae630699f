//! Zones are transferred to whom they are meant for, whole and signed, and to nobody else.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use hickory_proto::op::ResponseCode;

use crate::harness::house::Setup;
use crate::harness::secondary::Secondary;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query, Tcp};
use crate::harness::{nsd, run};
use crate::zones::ZONE;

const NAME: &str = "transfer.example";
const SECRET: &str = "c2FjaC1kbnMgZXhhbXBsZSBrZXk=";
const WRONG: &str = "bm90LXRoZS1yaWdodC1zZWNyZXQ=";
const AXFR: u16 = 252;

/// The zone of `zones`, with names enough for many messages.
fn text() -> String {
    let mut text = ZONE.to_owned();
    for number in 0..3000 {
        writeln!(text, "Host-{number} A 10.1.{}.{}\n TXT \"{}\"", number / 250, number % 250, "x".repeat(50))
            .unwrap();
    }
    text
}

fn serve(algorithm: &str, zone: &str) -> Server {
    let tables = format!(
        "[[tsig_key]]\nname = \"{NAME}\"\nalgorithm = \"{algorithm}\"\nsecret = \"{SECRET}\"\n\
         [[zone]]\nname = \"internal.example\"\nfile = \"internal.zone\"\n{zone}\n"
    );
    let house = Setup::new(nsd::address()).more(&tables).lay();
    house.write("internal.zone", &text());
    house.serve()
}

/// The text of a transfer, and whether dig is content with it.
fn axfr(server: SocketAddr, options: &[&str]) -> (bool, String) {
    let mut dig = Command::new("dig");
    dig.arg("-r").arg(format!("@{}", server.ip())).arg("-p").arg(server.port().to_string());
    dig.args(["+onesoa", "+nocookie", "+time=10", "+tries=1"])
        .args(options)
        .args(["internal.example", "AXFR"]);
    let text = run(&mut dig).stdout;
    (text.contains("XFR size") && !text.contains("Transfer failed"), text)
}

/// A zone's text in the form that BIND writes, letters folded: NSD keeps no case.
fn canonical(server: &Server, text: &str) -> String {
    // The signatures of the messages are dig's to show and in no zone.
    let records = text.lines().filter(|line| !line.contains("\tANY\tTSIG\t"));
    server.house().write("checked.zone", &records.fold(String::new(), |all, line| all + line + "\n"));
    let mut check = Command::new("named-checkzone");
    check.current_dir(server.house().path()).args([
        "-q",
        "-i",
        "none",
        "-D",
        "-o",
        "-",
        "internal.example",
        "checked.zone",
    ]);
    run(&mut check).well().stdout.to_ascii_lowercase()
}

#[test]
fn who_holds_the_key_gets_all_of_it() {
    for algorithm in ["hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1"] {
        let server = serve(algorithm, &format!("tsig = \"{NAME}\""));
        let key = |secret: &str| format!("{algorithm}:{NAME}:{secret}");
        let (is_whole, transferred) = axfr(server.dns, &["-y", &key(SECRET)]);
        assert!(is_whole && !transferred.contains("Couldn't verify"), "{transferred}");
        let messages = transferred.split("messages ").nth(1).unwrap().split(',').next().unwrap();
        assert!(messages.parse::<u32>().unwrap() > 5, "{messages}");
        assert_eq!(canonical(&server, &transferred), canonical(&server, &text()));
        for options in [&["-y", &key(WRONG)][..], &["-y", &format!("{algorithm}:other:{SECRET}")], &[]] {
            let (is_whole, text) = axfr(server.dns, options);
            assert!(!is_whole, "{options:?}: {text}");
        }
        server
            .log(&["--name", "internal.example"])
            .iter()
            .find(|record| record.text("action") == "local" && record.text("qtype") == "AXFR")
            .unwrap()
            .assert(&[("transport", "tcp"), ("rcode", "NOERROR")]);
    }
}

#[test]
fn an_address_may_be_enough_and_may_be_needed_too() {
    let from = |server: &Server, client: &str, options: &[&str]| {
        axfr(server.dns, &[&["-b", client], options].concat()).0
    };
    let key = format!("hmac-sha256:{NAME}:{SECRET}");
    let by_address = serve("hmac-sha256", "transfer_to = [\"127.0.0.9\"]");
    assert!(from(&by_address, "127.0.0.9", &[]));
    assert!(from(&by_address, "127.0.0.9", &["-y", &key]));
    assert!(!from(&by_address, "127.0.0.8", &[]));
    assert!(!from(&by_address, "127.0.0.8", &["-y", &key]));
    let by_both = serve("hmac-sha256", &format!("transfer_to = [\"127.0.0.9\"]\ntsig = \"{NAME}\""));
    assert!(from(&by_both, "127.0.0.9", &["-y", &key]));
    assert!(!from(&by_both, "127.0.0.9", &[]));
    assert!(!from(&by_both, "127.0.0.8", &["-y", &key]));
    let nobody = serve("hmac-sha256", "");
    assert!(!from(&nobody, "127.0.0.1", &[]));
    assert!(!from(&nobody, "127.0.0.1", &["-y", &key]));
}

#[test]
fn ordinary_answers_to_signed_queries_are_signed() {
    let server = serve("hmac-sha256", "");
    let key = format!("hmac-sha256:{NAME}:{SECRET}");
    for (name, transport) in
        [("www.internal.example", "+notcp"), ("www.example.test", "+notcp"), ("www.example.test", "+tcp")]
    {
        let reply = server.dig().with(transport).with("-y").with(&key).ask(name, "A");
        assert_eq!(reply.rdata("A").len(), 1, "{}", reply.raw);
        assert!(
            reply.raw.contains("TSIG PSEUDOSECTION") && !reply.raw.contains("Couldn't verify"),
            "{}",
            reply.raw
        );
    }
    let wrong =
        server.dig().with("-y").with(&format!("hmac-sha256:{NAME}:{WRONG}")).ask("www.example.test", "A");
    assert!(wrong.status == "NOTAUTH" && wrong.raw.contains("BADSIG"), "{}", wrong.raw);
    // One that is cut for UDP is signed too.
    let reply = server.dig().with("+notcp").with("-y").with(&key).ask("large.example.test", "TXT");
    assert!(reply.has_flag("tc") && !reply.raw.contains("Couldn't verify"), "{}", reply.raw);
    assert!(reply.size <= 1232, "{}", reply.raw);
}

#[test]
fn an_ixfr_tells_what_is_new() {
    let server = serve("hmac-sha256", "transfer_to = [\"127.0.0.1\"]");
    // How many SOA records, and how many records.
    let ixfr = |serial: u32, transport: &str| {
        let asked = format!("IXFR={serial}");
        let (_, text) = axfr(server.dns, &[transport, "-t", &asked, "-q"]);
        let types = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.nth(2) == Some("IN")).then(|| words.next()).flatten()
        });
        let types: Vec<_> = types.collect();
        (types.iter().filter(|rtype| **rtype == "SOA").count(), types.len())
    };
    // All of it to who has an older version (RFC 1995, section 4), the SOA record alone to who has this one, and
    // over UDP.
    let (soas, records) = ixfr(2_026_112_500, "+tcp");
    assert!(soas == 2 && records > 6000, "{soas} {records}");
    for (serial, transport) in [(2_026_112_501, "+tcp"), (2_026_112_502, "+tcp"), (2_026_112_500, "+notcp")] {
        assert_eq!(ixfr(serial, transport), (1, 1), "{serial} {transport}");
    }
}

#[test]
fn other_queries_of_the_connection_go_on() {
    let server = serve("hmac-sha256", "transfer_to = [\"127.0.0.1\"]");
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&Query::new("internal.example", AXFR).id(1).bytes());
    tcp.send(&Query::new("www.internal.example", wire::A).id(2).bytes());
    let (mut records, mut is_answered) = (0, false);
    while records < 6000 || !is_answered {
        let message = wire::decode(&tcp.receive().unwrap());
        assert_eq!(wire::rcode(&message), ResponseCode::NoError);
        match message.metadata.id {
            1 => records += message.answers.len(),
            _ => is_answered = true,
        }
    }
    // Who leaves in the middle leaves nothing behind.
    let mut tcp = Tcp::to(server.dns);
    tcp.send(&Query::new("internal.example", AXFR).bytes());
    tcp.receive().unwrap();
    drop(tcp);
    assert_eq!(server.dig().ask("www.internal.example", "A").rdata("A"), ["10.1.0.80"]);
}

#[test]
fn a_secondary_takes_the_zone_and_heeds_notify() {
    let address = Secondary::address();
    let server = serve("hmac-sha256", &format!("tsig = \"{NAME}\"\nnotify = [\"{address}\"]"));
    let secondary = Secondary::start(address, server.dns, "internal.example", [NAME, "hmac-sha256", SECRET]);
    secondary.wait_for("internal.example", "2026112501");
    let (is_whole, transferred) = axfr(address, &[]);
    assert!(is_whole, "{transferred}");
    assert_eq!(canonical(&server, &transferred), canonical(&server, &text()));
    let changed = text().replace("2026112501", "2026112502") + "new A 10.1.0.77\n";
    server.house().write("internal.zone", &changed);
    server.reload().well();
    secondary.wait_for("internal.example", "2026112502");
    let (_, transferred) = axfr(address, &[]);
    assert_eq!(canonical(&server, &transferred), canonical(&server, &changed));
    drop(secondary);

    let address = Secondary::address();
    let stranger = Secondary::start(address, server.dns, "internal.example", [NAME, "hmac-sha256", WRONG]);
    let is_refused = |line: &str| line.contains("internal.example") && line.contains("Bad Signature");
    let told = stranger.lines().wait(crate::harness::PATIENCE, is_refused);
    assert!(told.is_some(), "{}", stranger.lines().text());
}
