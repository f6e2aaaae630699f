//! Lists for others say what the policy blocks, in a form that the programs they are for take.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::harness::house::{House, Setup};
use crate::harness::{nsd, run};

const RPZ: &str = "\
@ SOA localhost. root.localhost. 1 3600 600 86400 60
@ NS localhost.
evil.example CNAME .
*.evil.example CNAME .
good.evil.example CNAME rpz-passthru.
24.0.113.0.203.rpz-ip CNAME .
32.7.113.0.203.rpz-ip CNAME rpz-passthru.
64.zz.1.db8.2001.rpz-ip CNAME .
32.1.0.0.10.rpz-ip CNAME .
32.9.9.9.9.rpz-client-ip CNAME rpz-drop.
*.ns.example.rpz-nsdname CNAME *.
text.example TXT \"a b\"
";

fn house() -> House {
    let setup = Setup::new(nsd::address()).feed("own", "malware.example\nsub.evil.example\n");
    let house = setup.rpz("authority", "given", "", RPZ).lay();
    house.run("policy build", &[]).well();
    house
}

/// What an export writes, without comments.
fn lines(house: &House, arguments: &[&str]) -> Vec<String> {
    let text = house.run("policy export", arguments).well().stdout;
    text.lines().filter(|line| !line.starts_with(['#', ';'])).map(str::to_owned).collect()
}

#[test]
fn nftables_takes_a_list_in_place_of_the_one_before() {
    let house = house();
    house.run("policy export", &["--format", "nftables", "--output", "first.nft"]).well();
    let bare = "[[feed]]\nname = \"own\"\nsource = \"own.txt\"\nformat = \"rpz\"\naction = \"given\"\n";
    house.write("own.txt", "32.1.2.0.192.rpz-ip CNAME .\n");
    house.write("other.toml", &format!("data_dir = \"other\"\n{bare}"));
    run(&mut house.command(&["policy", "build", "--config", "other.toml"])).well();
    run(&mut house.command(&[
        "policy",
        "export",
        "--config",
        "other.toml",
        "--format",
        "nftables",
        "--output",
        "second.nft",
    ]))
    .well();
    // In a network namespace of its own, so that no rule of this machine is touched.
    let script = "nft -c -f first.nft && nft -f first.nft && nft -j list table inet sachdns && nft -f second.nft && \
                  nft list set inet sachdns addresses4 && nft list set inet sachdns addresses6";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", script]).current_dir(house.path());
    let text = run(&mut command).well().stdout;
    let (first, second) = text.split_once("\ntable ").unwrap();
    for part in ["203.0.113.0", "203.0.113.8", "2001:db8:1::"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(!first.contains("10.0.0.1"), "a private address: {first}");
    assert!(
        second.contains("192.0.2.1") && !second.contains("203.0.113") && !second.contains("2001:"),
        "{second}"
    );
}

#[test]
fn bind_takes_the_zone_and_it_says_the_same() {
    let house = house();
    house.run("policy export", &["--format", "rpz", "--output", "policy.zone"]).well();
    let mut check = Command::new("named-checkzone");
    check.current_dir(house.path()).args(["-i", "none", "-D", "-o", "-", "rpz.example", "policy.zone"]);
    let text = run(&mut check).well().stdout;
    for owner in [
        "malware.example",
        "*.evil.example",
        "32.9.9.9.9.rpz-client-ip",
        "*.ns.example.rpz-nsdname",
        "text.example",
    ] {
        assert!(text.contains(&format!("\n{owner}.rpz.example.")), "{owner}: {text}");
    }
    // Read again as a feed, it is the same zone.
    house.write("again.toml", "data_dir = \"again\"\n[policy]\ncanaries = []\n[[feed]]\nname = \"a\"\nsource = \"policy.zone\"\nformat = \"rpz\"\naction = \"given\"\n");
    run(&mut house.command(&["policy", "build", "--config", "again.toml"])).well();
    let again =
        run(&mut house.command(&["policy", "export", "--config", "again.toml", "--format", "rpz"])).well();
    let records = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with(';') && !line.contains(" SOA "))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(records(&again.stdout), records(&house.read("policy.zone")));
    // The same image gives the same octets.
    let second = house.run("policy export", &["--format", "rpz"]).well();
    assert_eq!(second.stdout, house.read("policy.zone"));
}

#[test]
fn lists_hold_what_was_asked_for() {
    let house = house();
    assert_eq!(
        lines(&house, &["--format", "plain", "--kind", "names"]),
        ["evil.example", "malware.example", "text.example"]
    );
    assert_eq!(
        lines(&house, &["--format", "edl", "--kind", "names", "--feed", "own"]),
        ["sub.evil.example", "*.sub.evil.example", "malware.example", "*.malware.example"]
    );
    let addresses = lines(&house, &["--format", "edl"]);
    assert!(addresses.contains(&"203.0.113.128/25".to_owned()) && addresses.len() == 9, "{addresses:?}");
    let limited = house.run("policy export", &["--format", "edl", "--limit", "3"]).well();
    assert_eq!(limited.stdout.lines().count(), 3);
    assert!(limited.stderr.contains("LEFT OUT: 6 entries"), "{}", limited.stderr);
    let rules = lines(&house, &["--format", "suricata"]);
    assert!(rules.len() == 12 && rules.iter().all(|rule| rule.ends_with("; rev:1;)")), "{rules:#?}");
}

#[test]
fn what_cannot_be_exported_is_told() {
    let house = house();
    let told = |arguments: &[&str]| {
        let done = house.run("policy export", arguments);
        assert!(!done.status.success() && done.stdout.is_empty(), "{done:?}");
        done.stderr
    };
    let kind = told(&["--format", "nftables", "--kind", "names"]);
    assert!(kind.contains("nftables cannot hold names"), "{kind}");
    let feed = told(&["--format", "plain", "--feed", "nobody"]);
    assert!(feed.contains("no feed \"nobody\"; it has canary, own, authority"), "{feed}");
    assert!(told(&["--format", "xml"]).contains("nftables"));
    let output = told(&["--format", "plain", "--output", "no/such/folder/list"]);
    assert!(output.contains("no/such/folder/list"), "{output}");
    assert!(fs::read_dir(house.path()).unwrap().all(|entry| !entry.unwrap().path().ends_with("list.part")));
}

/// A request by curl: the status, the fields in lower case, and the body.
fn curl(address: SocketAddr, path: &str, options: &[&str]) -> (String, String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-i", "--max-time", "20"]).args(options).arg(format!("http://{address}{path}"));
    let text = run(&mut curl).well().stdout;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn etag(head: &str) -> String {
    head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned()
}

#[test]
fn devices_fetch_lists_and_fetch_them_again_only_when_they_changed() {
    let setup = Setup::new(nsd::address())
        .feed("own", "malware.example\n")
        .rpz("authority", "given", "", RPZ)
        .more("[export]\nlisten = [\"127.0.0.1:0\"]\n");
    let server = setup.serve();
    let address = server.export.unwrap();
    let (status, head, body) = curl(address, "/v1/addresses.txt", &[]);
    assert_eq!(status, "200", "{head}");
    let exported = server.house().run("policy export", &["--format", "plain", "--kind", "addresses"]).well();
    assert_eq!(body, exported.stdout);
    let tag = etag(&head);
    let same = format!("If-None-Match: {tag}");
    let (status, head, body) = curl(address, "/v1/addresses.txt", &["-H", &same]);
    assert_eq!((&*status, &*body), ("304", ""), "{head}");
    let (status, head, body) = curl(address, "/v1/addresses.txt", &["-I"]);
    assert_eq!((&*status, &*etag(&head), &*body), ("200", &*tag, ""));
    // Packed, another tag, the same list.
    let (status, head, body) = curl(address, "/v1/addresses.txt", &["--compressed"]);
    assert!(status == "200" && head.contains("content-encoding: gzip") && etag(&head) != tag, "{head}");
    assert_eq!(body, exported.stdout);
    for (path, expected) in [
        ("/v1/names.edl?feed=own", "malware.example\n*.malware.example\n"),
        ("/v1/names.edl?feed=own&limit=1", "malware.example\n"),
        ("/v1/addresses.nft?feed=own", "add table inet sachdns"),
        ("/v1/all.zone", "32.9.9.9.9.rpz-client-ip 30 CNAME rpz-drop."),
        ("/v1/all.rules", "alert dns $HOME_NET"),
        ("/v1/addresses.rsc", "add list=sachdns address="),
    ] {
        let (status, _, body) = curl(address, path, &[]);
        assert!(status == "200" && body.contains(expected), "{path}: {status} {body}");
    }
    for (path, options, expected) in [
        ("/v1/names.edl?feed=nobody", &[][..], "404"),
        ("/", &[], "404"),
        ("/v1/addresses.txt", &["-d", "x"], "405"),
        ("/v1/addresses.txt", &["--interface", "127.0.0.9"], "200"),
    ] {
        assert_eq!(curl(address, path, options).0, expected, "{path} {options:?}");
    }
    server.house().write("own.txt", "malware.example\nnew.example\n");
    server.reload().well();
    let (status, head, body) = curl(address, "/v1/names.txt", &["-H", &same]);
    assert!(status == "200" && body.contains("\nnew.example\n"), "{head}");
    let (status, head, _) = curl(address, "/v1/addresses.txt", &["-H", &same]);
    assert!(status == "200" && etag(&head) != tag, "{head}");
}

#[test]
fn who_asks_too_often_is_told_to_come_again() {
    let setup = Setup::new(nsd::address()).feed("own", "malware.example\n");
    let server = setup.more("[export]\nlisten = [\"127.0.0.1:0\"]\n").serve();
    let address = server.export.unwrap();
    let mut many = Command::new("curl");
    // Two connections, as many lists as one device may have made at once: as fast as they are answered.
    many.args(["-s", "-o", "/dev/null", "-w", "%{http_code} %header{retry-after}\n", "--max-time", "20"]);
    many.args(["-Z", "--parallel-max", "2"]);
    let text = run(many.arg(format!("http://{address}/v1/names.txt?limit=[1-300]"))).well().stdout;
    let refused = text.lines().filter(|line| *line == "429 30").count();
    let given = text.lines().filter(|line| *line == "200 ").count();
    // A list that is just ending is still one that is being made.
    let waiting = text.lines().filter(|line| *line == "503 30").count();
    assert!(given >= 30 && refused >= 1 && given + refused + waiting == 300, "{text}");
    // Another device has a share of its own.
    assert_eq!(curl(address, "/v1/names.txt", &["--interface", "127.0.0.9"]).0, "200");
}

#[test]
fn lists_are_for_those_who_may_have_them() {
    let export = "[export]\nlisten = [\"127.0.0.1:0\"]\nallow = [\"127.0.0.1/32\"]\ntoken_file = \"token\"\n";
    let setup =
        Setup::new(nsd::address()).feed("own", "malware.example\n").file("token", "0123456789abcdef\n");
    let server = setup.more(export).serve();
    let address = server.export.unwrap();
    for (options, expected) in [
        (&[][..], "401"),
        (&["-u", "device:0123456789abcdef"], "200"),
        (&["-H", "Authorization: Bearer 0123456789abcdef"], "200"),
        (&["-u", "device:other"], "401"),
        (&["--interface", "127.0.0.9", "-u", "device:0123456789abcdef"], "403"),
    ] {
        assert_eq!(curl(address, "/v1/names.txt", options).0, expected, "{options:?}");
    }
    // A reload changes who may have them; one that is wrong changes nothing.
    server.house().write("token", "fedcba9876543210\n");
    server.reload().well();
    assert_eq!(curl(address, "/v1/names.txt", &["-u", "device:0123456789abcdef"]).0, "401");
    assert_eq!(curl(address, "/v1/names.txt", &["-u", "device:fedcba9876543210"]).0, "200");
    server.house().write("token", "short\n");
    let refused = server.reload();
    assert!(
        refused.stderr.contains("export.token_file: token: fewer than 16 characters"),
        "{}",
        refused.stderr
    );
    assert_eq!(curl(address, "/v1/names.txt", &["-u", "device:fedcba9876543210"]).0, "200");
}
