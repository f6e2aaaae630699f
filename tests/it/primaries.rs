//! Response policy zones are taken from BIND and from Knot: whole, then by differences as soon as it says so, signed.

use crate::fetching::wait_until_sinkholed;
use crate::harness::PATIENCE;
use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::primary::Primary;
use crate::harness::server::Server;
use crate::harness::wire::{self, Query};

const ZONE: &str = "rpz.example";
const KEY: [&str; 2] = ["transfer.example", "c2FjaC1kbnMgZXhhbXBsZSBrZXk="];
const WRONG: &str = "bm90LXRoZS1yaWdodC1zZWNyZXQ=";

/// A server that takes the zone from the primary at `primary`, with this secret, once a day unless it is told.
fn serve(primary: std::net::SocketAddr, secret: &str) -> Server {
    let tables = format!(
        "[[tsig_key]]\nname = \"{}\"\nsecret = \"{secret}\"\n\
         [[feed]]\nname = \"zone\"\nsource = \"rpz://{primary}/{ZONE}\"\nrefresh = \"24h\"\ntsig = \"{}\"\ngate = false\n",
        KEY[0], KEY[0]
    );
    Setup::new(nsd::address()).more(&tables).serve()
}

#[track_caller]
fn wait_for_line(server: &Server, primary: &Primary, words: &[&str]) {
    let line = server.stderr().wait(PATIENCE, |line| words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "{words:?}:\n{}\n{}", server.stderr().text(), primary.lines().text());
}

#[test]
fn a_zone_is_taken_whole_and_then_followed() {
    let address = nsd::free_address();
    // It is not there yet: the start does not wait for it, and what it says when it comes is heeded.
    let server = serve(address, KEY[1]);
    let records: String = (0..2000).map(|number| format!("bad{number}.example CNAME .\n")).collect();
    let primary = Primary::bind(address, ZONE, &(records + "first.example CNAME .\n"), KEY, server.dns);
    wait_until_sinkholed(&server, "first.example", true);
    wait_until_sinkholed(&server, "bad1999.example", true);
    wait_for_line(&server, &primary, &["fetched a new version", "by=\"AXFR\""]);

    primary.update(
        "update add second.example.rpz.example. 300 CNAME .\nupdate delete first.example.rpz.example. CNAME\n\
         update add 32.1.2.0.192.rpz-ip.rpz.example. 300 CNAME .",
    );
    wait_until_sinkholed(&server, "second.example", true);
    wait_for_line(&server, &primary, &["fetched a new version", "by=\"IXFR\""]);
    wait_until_sinkholed(&server, "first.example", false);
    wait_until_sinkholed(&server, "bad7.example", true);

    // After a restart, differences from what was there before.
    let stopped = server.stop(rustix::process::Signal::KILL);
    primary.update("update add third.example.rpz.example. 300 CNAME .");
    let server = stopped.house.serve();
    wait_until_sinkholed(&server, "second.example", true);
    let fetched = server.house().run("feed fetch", &["zone"]).well();
    assert!(fetched.stdout.contains("(IXFR)"), "{fetched:?}");
    wait_until_sinkholed(&server, "third.example", true);

    // Set back, as from a copy, with a lower serial.
    drop(primary);
    let primary = Primary::bind(address, ZONE, "fourth.example CNAME .\n", KEY, server.dns);
    wait_for_line(&server, &primary, &["no differences can be had", "the primary has an older version"]);
    wait_until_sinkholed(&server, "fourth.example", true);
    wait_until_sinkholed(&server, "third.example", false);
}

#[test]
fn knot_is_heeded_as_bind_is() {
    let address = nsd::free_address();
    let server = serve(address, KEY[1]);
    let records: String = (0..2000).map(|number| format!("bad{number}.example CNAME .\n")).collect();
    let knot = Primary::knot(address, ZONE, &(records + "first.example CNAME .\n"), KEY, server.dns);
    let told = |word: &str| {
        let line = server
            .stderr()
            .wait(PATIENCE, |line| line.contains("fetched a new version") && line.contains(word));
        assert!(line.is_some(), "{word}:\n{}\n{}", server.stderr().text(), knot.lines().text());
    };
    wait_until_sinkholed(&server, "first.example", true);
    told("by=\"AXFR\"");
    // Its NOTIFY is signed; the zone's own refresh is a day away.
    knot.update(
        "update add second.example.rpz.example. 300 CNAME .\nupdate delete first.example.rpz.example. CNAME",
    );
    wait_until_sinkholed(&server, "second.example", true);
    told("by=\"IXFR\"");
    wait_until_sinkholed(&server, "first.example", false);
    wait_until_sinkholed(&server, "bad1999.example", true);
    // Without the right key it says nothing.
    let stranger = serve(address, WRONG);
    // Its own first try, beside which nobody else would fetch.
    wait_for_line(&stranger, &knot, &["could not be fetched", "BADSIG"]);
    let fetched = stranger.house().run("feed fetch", &["zone"]);
    assert!(fetched.code() == 1 && fetched.stderr.contains("BADSIG"), "{fetched:?}\n{}", knot.lines().text());
    wait_until_sinkholed(&stranger, "second.example", false);
}

#[test]
fn the_wrong_key_gets_nothing_and_moves_nothing() {
    let address = nsd::free_address();
    let server = serve(address, WRONG);
    let primary = Primary::bind(address, ZONE, "first.example CNAME .\n", KEY, server.dns);
    // Its notice is not believed, so nobody asks it before the next try.
    let fetched = server.house().run("feed fetch", &["zone"]);
    assert!(
        fetched.code() == 1 && fetched.stderr.contains("BADSIG"),
        "{fetched:?}\n{}",
        primary.lines().text()
    );
    wait_until_sinkholed(&server, "first.example", false);
    let record = |record: &crate::harness::record::Record| record.text("rcode") == "NOTAUTH";
    let until = std::time::Instant::now() + PATIENCE;
    while !server.log(&["--name", ZONE]).iter().any(record) {
        assert!(std::time::Instant::now() < until, "{:?}", server.log(&[]));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn nobody_else_is_heard() {
    let server = serve(nsd::free_address(), KEY[1]);
    let notify = |zone: &str| {
        let mut message = Query::new(zone, wire::SOA).bytes();
        message[2] = 0x24;
        let answer = wire::udp(server.dns, &message).unwrap();
        assert_eq!(answer[2] & 0xf8, 0xa0, "a response to NOTIFY: {answer:?}");
        answer[3] & 0x0f
    };
    // From the primary's address, but without its key; of a zone that nobody takes.
    assert_eq!((notify(ZONE), notify("other.example")), (5, 9));
    let notices = server.log(&["--name", ZONE]);
    assert!(
        notices.iter().all(|record| record.text("rcode") == "REFUSED") && notices.len() == 1,
        "{notices:?}"
    );
}
