//! What trusted forwarders tell of their clients: believed, recorded, and handed to nobody.

use std::process::{Child, Command, Stdio};

use crate::harness::dig::Dig;
use crate::harness::house::Setup;
use crate::harness::namespace::inside;
use crate::harness::record::Record;
use crate::harness::scripted::{Scripted, Seen};
use crate::harness::server::Server;
use crate::harness::wire;
use crate::harness::{run, spawn, wait_until, within};

const MAC: u16 = 65001;
const MAC_TEXT: u16 = 65073;
const SUBNET: u16 = 8;

fn upstream() -> Scripted {
    Scripted::answering(|query| query.answer_a([192, 0, 2, 1]))
}

/// What no query of ours may hold.
fn is_clean(seen: &Seen) -> bool {
    let message = wire::decode(&seen.bytes);
    [MAC, MAC_TEXT, SUBNET].into_iter().all(|code| wire::option(&message, code).is_none())
}

/// MACs and subnets of the records of a name, newest first.
fn told(server: &Server, qname: &str) -> Vec<(String, String)> {
    let pair = |it: &Record| (it.text("client_mac").to_owned(), it.text("client_subnet").to_owned());
    server.log(&["--name", qname]).iter().map(pair).collect()
}

#[test]
fn only_trusted_forwarders_are_believed() {
    let upstream = upstream();
    let server = Setup::new(upstream.address)
        .server("trusted_forwarders = [\"127.0.0.9/32\"]\n")
        .feed("authority", "evil.example.test\n")
        .file("leases", "0 00:1a:2b:3c:4d:5e 10.1.2.3 pc-01 *\n")
        .serve();
    let ask = |from: &str, qname: &str, options: &[&str]| {
        let dig = options.iter().fold(server.dig().from(from), |dig, option| dig.with(option));
        dig.ask(qname, "A");
    };
    let mac = "+ednsopt=65001:001a2b3c4d5e";
    let text = "+ednsopt=65073:30303a31613a32623a33633a34643a3565";
    let subnet = "+subnet=10.1.2.3/32";
    let expected = ("00:1a:2b:3c:4d:5e".to_owned(), "10.1.2.3/32".to_owned());
    let nothing = (String::new(), String::new());
    for (qname, from, options, expected) in [
        ("a.example.test", "127.0.0.9", &[mac, subnet][..], &expected),
        // From the cache, and ready made.
        ("a.example.test", "127.0.0.9", &[mac, subnet], &expected),
        ("a.example.test", "127.0.0.9", &[mac, subnet], &expected),
        ("b.example.test", "127.0.0.9", &[text, "+subnet=10.1.2.3/32", "+tcp"], &expected),
        ("evil.example.test", "127.0.0.9", &[mac, subnet], &expected),
        ("c.example.test", "127.0.0.8", &[mac, subnet], &nothing),
        ("d.example.test", "127.0.0.9", &["+ednsopt=65001:0000", "+subnet=0.0.0.0/0"], &nothing),
    ] {
        ask(from, qname, options);
        let found = told(&server, qname);
        assert_eq!(found.first(), Some(expected), "{qname} {options:?}: {found:?}");
    }
    assert!(upstream.seen().iter().all(is_clean));
    // The machine is found by its MAC, whoever asked for it.
    let house = server.house();
    house.run("identity import", &["leases", "--as-of", "2026-11-26T01:00:00Z"]).well();
    assert_eq!(server.log(&["--machine", "pc-01"]).len(), 5);
    assert_eq!(server.log(&["--machine", "m-1", "--hits"]).len(), 1);
    // So is the address that was told whole, alone and with what else is asked for; and the forwarder's own.
    assert_eq!(server.log(&["--client", "10.1.2.3"]).len(), 5);
    assert_eq!(server.log(&["--client", "10.1.2.3", "--hits"]).len(), 1);
    assert_eq!(server.log(&["--client", "127.0.0.9"]).len(), 6);
    // An address of which no source speaks is that address.
    assert_eq!(server.log(&["--machine", "127.0.0.8"]).len(), 1);
    let traces = house.read("data/audit.jsonl");
    assert!(
        traces.contains("\"machine\":\"pc-01\"") && traces.contains("\"client\":\"10.1.2.3\""),
        "{traces}"
    );
    let unknown = house.run("log", &["--machine", "pc-99"]);
    assert!(unknown.stderr.contains("no source speaks of \"pc-99\""), "{}", unknown.stderr);
}

/// A machine behind dnsmasq: a network namespace and a cable to it.
struct Behind {
    leash: Child,
    mac: String,
}

impl Behind {
    fn start() -> Self {
        let leash = spawn(Command::new("unshare").args(["--net", "sleep", "infinity"]).stdin(Stdio::null()));
        let pid = leash.id().to_string();
        // The namespace is there once it differs from ours.
        wait_until("the machine's network is there", || {
            let link = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).ok();
            link(&pid).is_some() && link(&pid) != link("self")
        });
        let ours =
            ["link add lan type veth peer name eth0", "address add 10.9.0.1/24 dev lan", "link set lan up"];
        let theirs = ["address add 10.9.0.2/24 dev eth0", "link set eth0 up"];
        for words in ours {
            run(Command::new("ip").args(words.split(' '))).well();
        }
        run(Command::new("ip").args(["link", "set", "eth0", "netns", &pid])).well();
        let mut behind = Self { leash, mac: String::new() };
        for words in theirs {
            run(behind.command("ip").args(words.split(' '))).well();
        }
        // Not from /sys, which shows the network that it was mounted in.
        let shown = run(behind.command("ip").args(["-o", "link", "show", "eth0"])).well().stdout;
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        behind.mac = words.nth(1).expect("a cable has a MAC").to_owned();
        behind
    }

    fn words(&self) -> Vec<String> {
        ["nsenter", "--target", &self.leash.id().to_string(), "--net"].map(str::to_owned).to_vec()
    }

    fn command(&self, program: &str) -> Command {
        within(&self.words(), program)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        let _ = self.leash.kill();
        let _ = self.leash.wait();
    }
}

#[test]
fn dnsmasq_tells_the_machine_behind_it() {
    inside(|| {
        let upstream = upstream();
        let server = Setup::new(upstream.address)
            .server("trusted_forwarders = [\"127.0.0.1/32\"]\n")
            .feed("authority", "evil.example.test\n")
            .serve();
        let port = server.dns.port();
        let machine = Behind::start();
        for (number, way) in ["--add-mac", "--add-mac=base64", "--add-mac=text"].into_iter().enumerate() {
            let mut dnsmasq = spawn(
                Command::new("/usr/sbin/dnsmasq")
                    .args([
                        "--keep-in-foreground",
                        "--conf-file=/dev/null",
                        "--no-resolv",
                        "--no-hosts",
                        "--user=root",
                    ])
                    .args([
                        "--pid-file=",
                        "--bind-interfaces",
                        "--listen-address=10.9.0.1",
                        "--add-subnet=32,128",
                    ])
                    .args([way, &format!("--server=127.0.0.1#{port}")])
                    .stdin(Stdio::null())
                    .stderr(Stdio::null()),
            );
            let dig = Dig::at("10.9.0.1:53".parse().unwrap()).inside(machine.words());
            wait_until("dnsmasq answers", || !dig.is_ignored("up.example.test", "A"));
            let qname = format!("n{number}.evil.example.test");
            let reply = dig.ask(&qname, "A");
            assert_eq!(reply.rdata("A"), ["10.10.10.10"], "{way}: {reply:?}");
            let expected = (machine.mac.clone(), "10.9.0.2/32".to_owned());
            assert_eq!(told(&server, &qname).first(), Some(&expected), "{way}");
            dig.ask(&format!("n{number}.example.test"), "A");
            dnsmasq.kill().unwrap();
            dnsmasq.wait().unwrap();
        }
        assert!(upstream.seen().len() >= 3);
        assert!(upstream.seen().iter().all(is_clean));
    });
}
