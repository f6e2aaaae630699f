//! A setting that cannot work is named, with its file, its line and the mend, before anything starts.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use rustix::process::Signal;

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::{Finished, PATIENCE, nsd, wait_for_end};

/// A configuration in which nothing is wrong; tests replace one line of it.
const GOOD: &str = r#"data_dir = "data"

[server]
listen = ["127.0.0.1:0"]
allow = ["127.0.0.0/8"]

[resolver]
mode = "forward"
upstreams = ["127.0.0.1:9"]

[sinkhole]
ipv4 = "10.10.10.10"
ipv6 = "fd00::10"
ttl = 30
http_listen = ["127.0.0.1:0"]

[[feed]]
name = "authority"
source = "authority.txt"
format = "plain"
action = "sinkhole"

[[agency]]
id = "so-tttt"
name = "Sở Thông tin và Truyền thông"
networks = ["10.1.0.0/16"]
contact = "it@stttt.test"

[log]
queries = "all"
"#;

fn house(config: &str) -> House {
    let house = House::with_config(config);
    house.write("authority.txt", "evil.example\n");
    house
}

/// Runs `sachdns serve`, which must end by itself.
#[track_caller]
fn serve_fails(house: &House) -> Finished {
    let (mut child, lines) = house.spawn_serve();
    let status = wait_for_end(&mut child, PATIENCE);
    let Some(status) = status else {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("`sachdns serve` goes on:\n{}", lines.text());
    };
    lines.wait_closed();
    assert!(!lines.text().contains("panicked"), "{}", lines.text());
    assert!(!lines.text().lines().any(|line| line == "ready"), "{}", lines.text());
    Finished { status, stdout: String::new(), stderr: lines.text() }
}

/// With `line` replaced by `bad`, both `check` and `serve` fail, and one line of their report names
/// the place and holds all of `words`.
#[track_caller]
fn check(line: &str, bad: &str, words: &[&str]) {
    assert_eq!(GOOD.lines().filter(|had| *had == line).count(), 1, "{line}");
    let config = GOOD.replacen(line, bad, 1);
    let at = 1 + GOOD.lines().position(|had| had == line).unwrap() + bad.matches('\n').count();
    let place = format!("{CONFIG}:{at}: ");
    let house = house(&config);
    for finished in [house.run("check", &[]), serve_fails(&house)] {
        assert_eq!(finished.code(), 1, "{bad}: {finished:#?}");
        let report = format!("{}{}", finished.stdout, finished.stderr);
        let fault = report.lines().find(|line| line.contains(&place));
        let fault = fault.unwrap_or_else(|| panic!("{bad}: no line with {place:?}: {report}"));
        for word in words {
            assert!(fault.contains(word), "{bad}: no {word:?} in {fault:?}");
        }
    }
}

#[test]
fn nothing_wrong() {
    let house = house(GOOD);
    let finished = house.run("check", &[]).well();
    assert!(finished.stdout.lines().last().is_some_and(|line| line.contains(CONFIG)), "{finished:#?}");
    assert_eq!(house.serve().stop(Signal::TERM).status.code(), Some(0));
}

#[test]
fn unknown_keys_and_their_nearest() {
    check("ttl = 30", "tll = 30", &["sinkhole.tll", "`ttl`"]);
    check("mode = \"forward\"", "mod = \"forward\"", &["resolver.mod", "`mode`"]);
    check("source = \"authority.txt\"", "sorce = \"authority.txt\"", &["sorce", "`source`"]);
    check("queries = \"all\"", "querys = \"all\"", &["log.querys", "`queries`"]);
    check("[log]", "[lock]", &["lock", "`log`"]);
}

#[test]
fn values_that_are_none() {
    check("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.1\"]", &["server.listen", "127.0.0.1", ":"]);
    check("listen = [\"127.0.0.1:0\"]", "listen = []", &["server.listen"]);
    check("listen = [\"127.0.0.1:0\"]", "listen = 53", &["server.listen"]);
    check("allow = [\"127.0.0.0/8\"]", "allow = [\"127.0.0.0/33\"]", &["server.allow", "127.0.0.0/33"]);
    check("mode = \"forward\"", "mode = \"foward\"", &["resolver.mode", "foward", "forward"]);
    check("upstreams = [\"127.0.0.1:9\"]", "upstreams = []", &["resolver.upstreams"]);
    check("upstreams = [\"127.0.0.1:9\"]", "upstreams = [\"dns\"]", &["resolver.upstreams", "dns"]);
    check("ipv4 = \"10.10.10.10\"", "ipv4 = \"10.10.10\"", &["sinkhole.ipv4", "10.10.10"]);
    check("ipv6 = \"fd00::10\"", "ipv6 = \"10.10.10.10\"", &["sinkhole.ipv6", "10.10.10.10"]);
    check("ttl = 30", "ttl = -1", &["sinkhole.ttl", "-1"]);
    check("ttl = 30", "ttl = \"soon\"", &["sinkhole.ttl", "number"]);
    check("format = \"plain\"", "format = \"hostz\"", &["format", "hostz", "hosts"]);
    check("action = \"sinkhole\"", "action = \"block\"", &["action", "block", "nxdomain"]);
    check("action = \"sinkhole\"", "action = \"cname:a..b\"", &["action", "a..b"]);
    check("networks = [\"10.1.0.0/16\"]", "networks = [\"10.1.0.0/99\"]", &["networks", "10.1.0.0/99"]);
    check("queries = \"all\"", "queries = \"some\"", &["log.queries", "some", "hits"]);
}

#[test]
fn what_is_twice_or_missing() {
    let feed = "\n[[feed]]\nname = \"authority\"\nsource = \"authority.txt\"\n";
    let finished = house(&format!("{GOOD}{feed}")).run("check", &[]);
    assert_eq!(finished.code(), 1, "two feeds of one name: {finished:#?}");
    assert!(finished.stderr.contains("authority"), "{finished:#?}");

    let agency =
        "\n[[agency]]\nid = \"two\"\nname = \"Two\"\nnetworks = [\"10.1.0.0/16\"]\ncontact = \"x\"\n";
    let finished = house(&format!("{GOOD}{agency}")).run("check", &[]);
    assert_eq!(finished.code(), 1, "two agencies of one network: {finished:#?}");
    assert!(finished.stderr.contains("10.1.0.0/16"), "{finished:#?}");

    let finished = house(&GOOD.replace("source = \"authority.txt\"\n", "")).run("check", &[]);
    assert_eq!(finished.code(), 1, "a feed without a source: {finished:#?}");
    assert!(finished.stderr.contains("source"), "{finished:#?}");
}

#[test]
fn syntax() {
    check("ttl = 30", "ttl = ", &[]);
    check("[log]", "[log", &[]);
}

#[test]
fn every_fault_at_once() {
    let config = GOOD
        .replace("ttl = 30", "ttl = -1")
        .replace("allow = [\"127.0.0.0/8\"]", "allow = [\"all\"]")
        .replace("format = \"plain\"", "format = \"hostz\"")
        .replace("[log]", "[log]\nquerys = 1");
    let finished = house(&config).run("check", &[]);
    assert_eq!(finished.code(), 1);
    let faults: Vec<_> =
        finished.stderr.lines().filter(|line| line.contains(&format!("{CONFIG}:"))).collect();
    assert_eq!(faults.len(), 4, "{finished:#?}");
    for (number, word) in ["server.allow", "ttl", "hostz", "querys"].iter().enumerate() {
        assert!(faults.iter().any(|fault| fault.contains(word)), "{number} {word}: {finished:#?}");
    }
}

#[test]
fn a_configuration_that_is_not_there() {
    let house = house(GOOD);
    fs::remove_file(house.path().join(CONFIG)).unwrap();
    for finished in [house.run("check", &[]), serve_fails(&house)] {
        assert_eq!(finished.code(), 1, "{finished:#?}");
        assert!(finished.stderr.contains(CONFIG), "{finished:#?}");
    }
}

#[test]
fn a_feed_that_is_not_there() {
    let house = house(GOOD);
    fs::remove_file(house.path().join("authority.txt")).unwrap();
    let finished = serve_fails(&house);
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(finished.stderr.contains("authority.txt"), "{finished:#?}");
    assert!(finished.stderr.contains("source"), "it names the setting: {finished:#?}");
}

#[test]
fn a_data_folder_that_cannot_be() {
    // A file stands where the folder should.
    let house = house(GOOD);
    house.write("data", "");
    let finished = serve_fails(&house);
    assert_eq!(finished.code(), 1, "{finished:#?}");
    assert!(finished.stderr.contains("data_dir"), "{finished:#?}");
}

#[test]
fn a_port_that_is_taken() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    for (setting, old, taken) in [
        ("server.listen", "\nlisten = [\"127.0.0.1:0\"]", udp.local_addr().unwrap()),
        ("server.listen", "\nlisten = [\"127.0.0.1:0\"]", tcp.local_addr().unwrap()),
        ("sinkhole.http_listen", "\nhttp_listen = [\"127.0.0.1:0\"]", tcp.local_addr().unwrap()),
    ] {
        let config = GOOD.replace(old, &old.replace("127.0.0.1:0", &taken.to_string()));
        let finished = serve_fails(&house(&config));
        assert_eq!(finished.code(), 1, "{finished:#?}");
        for word in [setting, &taken.to_string()] {
            assert!(finished.stderr.contains(word), "no {word}: {finished:#?}");
        }
    }
}

#[test]
fn a_second_server_in_the_same_folder() {
    let server = Setup::new(nsd::address()).feed("authority", "evil.example\n").serve();
    let finished = serve_fails(server.house());
    assert_eq!(finished.code(), 1, "two writers of one log: {finished:#?}");
    assert!(finished.stderr.contains("data"), "{finished:#?}");
    assert_eq!(server.dig().ask("evil.example", "A").rdata("A"), ["10.10.10.10"]);
}
