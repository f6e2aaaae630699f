//! Each action does what its name says, the earlier feed wins, and the log names what was done.

use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::server::Server;

fn serve(action: &str) -> Server {
    Setup::new(nsd::address()).feed_as("list", action, "evil.example.test\n").serve()
}

fn assert_logged(server: &Server, qname: &str, action: &str) {
    server.record_of(qname).assert(&[("action", action), ("feed", "list")]);
}

#[test]
fn nxdomain() {
    let server = serve("nxdomain");
    for qtype in ["A", "TXT"] {
        let reply = server.dig().ask("evil.example.test", qtype);
        assert_eq!(reply.status, "NXDOMAIN", "{}", reply.raw);
        assert_eq!(reply.authority[0].rtype, "SOA", "{}", reply.raw);
        assert!(reply.ede_code().is_some_and(|code| [15, 17].contains(&code)), "{}", reply.raw);
    }
    server.dig().ask("www.evil.example.test", "A");
    assert_logged(&server, "www.evil.example.test", "nxdomain");
}

#[test]
fn nodata() {
    let server = serve("nodata");
    server.dig().ask("evil.example.test", "A").assert_nodata();
    assert_logged(&server, "evil.example.test", "nodata");
}

#[test]
fn passthru() {
    let server = serve("passthru");
    assert_eq!(server.dig().ask("evil.example.test", "A").rdata("A"), ["192.0.2.66"]);
    assert_logged(&server, "evil.example.test", "passthru");
}

#[test]
fn drop() {
    let server = serve("drop");
    assert!(server.dig().is_ignored("evil.example.test", "A"));
    assert_logged(&server, "evil.example.test", "drop");
}

#[test]
fn tcp_only() {
    let server = serve("tcp-only");
    let cut = server.dig().ask("evil.example.test", "A");
    assert!(cut.has_flag("tc") && cut.answer.is_empty(), "{}", cut.raw);
    assert_logged(&server, "evil.example.test", "tcp-only");
    assert_eq!(server.dig().with("+tcp").ask("evil.example.test", "A").rdata("A"), ["192.0.2.66"]);
}

#[test]
fn cname() {
    let server = serve("cname:www.example.test.");
    let reply = server.dig().ask("evil.example.test", "A");
    assert_eq!(reply.rdata("CNAME"), ["www.example.test."], "{}", reply.raw);
    assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
    assert_logged(&server, "evil.example.test", "cname");
}

#[test]
fn an_alias_is_its_own_answer_for_cname_and_any() {
    // The target does not exist: nobody needs to look it up.
    let server = serve("cname:nothing.example.test.");
    for qtype in ["CNAME", "ANY"] {
        let reply = server.dig().with("+notcp").ask("evil.example.test", qtype);
        assert_eq!(reply.status, "NOERROR", "{}", reply.raw);
        assert_eq!(reply.rdata("CNAME"), ["nothing.example.test."], "{}", reply.raw);
        assert_eq!(reply.answer.len(), 1, "{}", reply.raw);
    }
    let explained = server.house().run("explain", &["evil.example.test", "--type", "CNAME"]).well().stdout;
    assert!(explained.contains("NOERROR, CNAME nothing.example.test"), "{explained}");
}

#[test]
fn no_alias_leads_to_itself() {
    // The gate would not let a list take where it leads to.
    let feed = "[[feed]]\nname = \"list\"\nsource = \"list.txt\"\naction = \"cname:www.example.test.\"\ngate = false\n";
    let server = Setup::new(nsd::address()).file("list.txt", "example.test\n").more(feed).serve();
    let reply = server.dig().ask("WWW.example.test", "A");
    assert!(reply.rdata("CNAME").is_empty(), "{}", reply.raw);
    assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
    assert_eq!(server.dig().ask("mail.example.test", "A").rdata("CNAME"), ["www.example.test."]);
}

#[test]
fn shadow() {
    let server = serve("shadow");
    let reply = server.dig().ask("evil.example.test", "A");
    assert_eq!(reply.rdata("A"), ["192.0.2.66"], "{}", reply.raw);
    assert_eq!(reply.ede(), None, "{}", reply.raw);
    assert_logged(&server, "evil.example.test", "shadow");
}

#[test]
fn the_earlier_feed_wins() {
    let server = Setup::new(nsd::address())
        .feed_as("exceptions", "passthru", "good.evil.example.test\n")
        .feed("authority", "evil.example.test\n")
        .feed_as("late", "nxdomain", "evil.example.test\nkeep.example.test\n")
        .serve();
    assert_eq!(server.dig().ask("good.evil.example.test", "A").rdata("A"), ["192.0.2.67"]);
    assert_eq!(server.dig().ask("evil.example.test", "A").rdata("A"), ["10.10.10.10"]);
    assert_eq!(server.dig().ask("keep.example.test", "A").status, "NXDOMAIN");

    let explain = |qname: &str| server.house().run("explain", &[qname]).well().stdout;
    assert!(explain("good.evil.example.test").contains("exceptions"));
    assert!(explain("www.evil.example.test").contains("authority"));
    assert!(explain("keep.example.test").contains("late"));
}
