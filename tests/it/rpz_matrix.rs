//! Every trigger with every action of a response policy zone, and every override: what is answered, what is
//! recorded, and that BIND 9, given the same zone and the same questions, answers the same. Where it does
//! not, the test says why, and so does `docs/rpz.md`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::harness::dig::{Dig, Reply};
use crate::harness::house::Setup;
use crate::harness::named::{Named, Policy};
use crate::harness::nsd::{self, Nsd};
use crate::harness::record::Record;

/// A kind of trigger, and what the questions are that meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Client,
    Qname,
    Below,
    Chain,
    Ip,
    Nsdname,
    Nsip,
}

const TRIGGERS: [On; 7] = [On::Client, On::Qname, On::Below, On::Chain, On::Ip, On::Nsdname, On::Nsip];

/// Each action as the zone writes it, and the word for it in the log.
const ACTIONS: [(&str, &[&str]); 8] = [
    ("nxdomain", &["CNAME ."]),
    ("nodata", &["CNAME *."]),
    ("passthru", &["CNAME rpz-passthru."]),
    ("drop", &["CNAME rpz-drop."]),
    ("tcp-only", &["CNAME rpz-tcp-only."]),
    ("local-data", &["A 10.66.0.1", "A 10.66.0.2", "TXT \"of the zone\"", "MX 10 mx.rpz.test."]),
    ("cname", &["CNAME walled.rpz.test."]),
    ("cname", &["CNAME *.garden.rpz.test."]),
];

impl On {
    /// The owner of the rule with this action.
    fn owner(self, action: usize) -> String {
        match self {
            Self::Client => format!("32.{}.0.0.127.rpz-client-ip", 100 + action),
            Self::Qname => format!("q{action}.rpz.test"),
            Self::Below => format!("*.w{action}.rpz.test"),
            Self::Chain => format!("end{action}.rpz.test"),
            Self::Ip => format!("32.{}.100.51.198.rpz-ip", 10 + action),
            Self::Nsdname => format!("ns.n{action}.test.rpz-nsdname"),
            Self::Nsip => format!("32.{}.113.0.203.rpz-nsip", 10 + action),
        }
    }

    fn qname(self, action: usize) -> String {
        match self {
            Self::Client => "any.rpz.test".to_owned(),
            Self::Qname => format!("q{action}.rpz.test"),
            Self::Below => format!("a.w{action}.rpz.test"),
            Self::Chain => format!("start{action}.rpz.test"),
            Self::Ip => format!("i{action}.rpz.test"),
            Self::Nsdname => format!("www.n{action}.test"),
            Self::Nsip => format!("www.s{action}.test"),
        }
    }

    fn client(self, action: usize) -> String {
        match self {
            Self::Client => format!("127.0.0.{}", 100 + action),
            _ => "127.0.0.1".to_owned(),
        }
    }

    /// What the log calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Client => "client-ip",
            Self::Qname | Self::Below | Self::Chain => "qname",
            Self::Ip => "ip",
            Self::Nsdname => "nsdname",
            Self::Nsip => "nsip",
        }
    }

    /// What the log says met the rule.
    fn matched(self, action: usize) -> String {
        match self {
            Self::Client | Self::Qname | Self::Below => String::new(),
            Self::Chain => format!("end{action}.rpz.test"),
            Self::Ip => format!("198.51.100.{}", 10 + action),
            Self::Nsdname => format!("ns.n{action}.test"),
            Self::Nsip => format!("203.0.113.{}", 10 + action),
        }
    }
}

/// The zones that the rules are about.
fn world() -> Vec<(String, String)> {
    let head = |zone: &str, server: &str| {
        format!("$ORIGIN {zone}.\n$TTL 300\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A {server}\n")
    };
    let mut main = head("rpz.test", "192.0.2.53");
    main.push_str("any A 192.0.2.1\nany TXT \"of the world\"\nwalled A 10.66.0.7\n");
    main.push_str("walled TXT \"of the walled garden\"\n*.garden A 10.66.0.8\nmx A 192.0.2.25\n");
    let mut zones = Vec::new();
    for action in 0..ACTIONS.len() {
        for name in ["q", "a.w"] {
            writeln!(main, "{name}{action} A 192.0.2.2\n{name}{action} TXT \"of the world\"").unwrap();
        }
        writeln!(main, "start{action} CNAME middle{action}\nmiddle{action} CNAME end{action}").unwrap();
        writeln!(main, "end{action} A 192.0.2.3\nend{action} TXT \"of the world\"").unwrap();
        writeln!(main, "i{action} A 192.0.2.4\ni{action} A 198.51.100.{}", 10 + action).unwrap();
        for (zone, server) in [("n", "192.0.2.54".to_owned()), ("s", format!("203.0.113.{}", 10 + action))] {
            let zone = format!("{zone}{action}.test");
            let text = head(&zone, &server) + "www A 192.0.2.5\nwww TXT \"of the world\"\n";
            zones.push((zone, text));
        }
    }
    zones.insert(0, ("rpz.test".to_owned(), main));
    zones
}

fn upstream() -> SocketAddr {
    static NSD: OnceLock<Nsd> = OnceLock::new();
    NSD.get_or_init(|| nsd::serving(&world())).address
}

fn zone() -> String {
    let mut zone = String::new();
    for on in TRIGGERS {
        for (number, (_, records)) in ACTIONS.iter().enumerate() {
            for record in *records {
                writeln!(zone, "{} {record}", on.owner(number)).unwrap();
            }
        }
    }
    zone
}

/// All that counts of a reply in one line: no TTLs, no order of records.
fn show(reply: &Reply) -> String {
    let mut records: Vec<String> =
        reply.answer.iter().map(|rr| format!("{} {} {}", rr.name, rr.rtype, rr.rdata)).collect();
    records.sort();
    let cut = if reply.has_flag("tc") { " tc" } else { "" };
    format!("{}{cut} {}", reply.status, records.join(" | "))
}

#[derive(Debug, Clone, Copy)]
struct Case {
    on: On,
    action: usize,
    qtype: &'static str,
    transport: &'static str,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for on in TRIGGERS {
            for action in 0..ACTIONS.len() {
                for (qtype, transport) in
                    [("A", "+notcp"), ("TXT", "+notcp"), ("AAAA", "+notcp"), ("A", "+tcp")]
                {
                    cases.push(Self { on, action, qtype, transport });
                }
            }
        }
        cases
    }

    /// Every trigger and action once.
    fn of_addresses() -> Vec<Self> {
        let is_plain = |case: &Self| (case.qtype, case.transport) == ("A", "+notcp");
        Self::all().into_iter().filter(is_plain).collect()
    }

    fn ask(self, server: SocketAddr, is_dropped: bool) -> String {
        let Self { on, action, qtype, transport } = self;
        let qname = on.qname(action);
        let dig = Dig::at(server).with(transport).from(&on.client(action));
        if is_dropped {
            return if dig.is_ignored(&qname, qtype) { "dropped" } else { "answered" }.to_owned();
        }
        show(&dig.ask(&qname, qtype))
    }

    /// Whether the rule is met: only A queries have an address in their answer.
    fn is_met(self) -> bool {
        self.on != On::Ip || self.qtype == "A"
    }

    /// Whether a query would be dropped by the action.
    fn is_dropped(self, action: &str) -> bool {
        action == "drop" && self.is_met()
    }
}

/// Runs all cases, a few at a time: those that are dropped take a second each.
fn run(cases: &[Case], each: impl Fn(Case) -> Option<String> + Sync) {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let shares: Vec<_> = cases
            .chunks(cases.len().div_ceil(8))
            .map(|share| scope.spawn(|| share.iter().filter_map(|case| each(*case)).collect::<Vec<_>>()))
            .collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Asks both the same; they must answer the same but for what `differs` names.
fn compare(action: &str, cases: &[Case], differs: impl Fn(Case) -> Option<&'static str> + Sync) {
    let zone = zone();
    // Who serves a name is looked up for as long: on a busy machine that must not end before its time.
    let setup = Setup::new(upstream()).resolver("patience = \"5s\"\ndeadline = \"20s\"\n");
    let server = setup.rpz("list", action, "", &zone).serve();
    let policy = if action == "given" { String::new() } else { format!("policy {action}") };
    let policy = Policy { name: "list", options: &policy.replace(':', " "), records: &zone };
    let bind = Named::start(upstream(), &world(), &[policy], "qname-wait-recurse no break-dnssec yes");
    run(cases, |case| {
        let own = ACTIONS[case.action].0;
        let ours = if action == "given" || own == "passthru" { own } else { action };
        let theirs = if action == "given" { own } else { action };
        let ours = case.ask(server.dns, case.is_dropped(ours));
        let theirs = case.ask(bind.address, case.is_dropped(theirs));
        match (ours == theirs, differs(case)) {
            (true, None) | (false, Some(_)) => None,
            (true, Some(why)) => Some(format!("{case:?}: BIND answers the same, though {why}: {ours}")),
            (false, None) => Some(format!("{case:?}:\n  ours {ours}\n  BIND {theirs}")),
        }
    });
}

#[test]
fn bind_answers_the_same() {
    compare("given", &Case::all(), |_| None);
}

#[test]
fn bind_overrides_the_same_but_for_exceptions() {
    for action in ["nxdomain", "nodata", "drop", "tcp-only", "cname:walled.rpz.test."] {
        compare(action, &Case::of_addresses(), |case| {
            let is_exception = ACTIONS[case.action].0 == "passthru";
            is_exception.then_some("an override never makes a block of an exception here")
        });
    }
    compare("passthru", &Case::of_addresses(), |_| None);
}

/// The first record of the log that this case left.
fn assert_recorded(records: &[Record], case: Case, action: &str, is_hit: bool) -> Option<String> {
    let Case { on, action: number, qtype, .. } = case;
    let (qname, client, matched) = (on.qname(number), on.client(number), on.matched(number));
    let found = records.iter().find(|record| {
        record.text("qname") == qname && record.text("qtype") == qtype && record.text("client") == client
    });
    let Some(record) = found else { return Some(format!("{case:?}: no record")) };
    let got = ["action", "feed", "trigger", "matched"].map(|key| record.text(key));
    let expected = [action, "list", on.word(), &*matched];
    let is_right = got == expected && record.flag("hit") == is_hit;
    (!is_right).then(|| format!("{case:?}: {got:?} should be {expected:?}, a hit: {is_hit}"))
}

#[test]
fn the_log_tells_what_met_which_rule() {
    let zone = zone();
    for action in ["given", "sinkhole", "shadow"] {
        let server = Setup::new(upstream()).rpz("list", action, "", &zone).serve();
        let cases = Case::of_addresses();
        let words = |case: Case| {
            let own = ACTIONS[case.action].0;
            match action {
                "sinkhole" if own != "passthru" => ("sinkhole", true),
                // An exception on trial would change nothing.
                "shadow" if own == "passthru" => ("forward", false),
                "shadow" => ("shadow", false),
                _ => (own, !matches!(own, "passthru" | "tcp-only")),
            }
        };
        run(&cases, |case| {
            let shown = case.ask(server.dns, case.is_dropped(words(case).0));
            let is_sunk = shown.contains(" A 10.10.10.10");
            (is_sunk != (words(case).0 == "sinkhole")).then(|| format!("{case:?}: {shown}"))
        });
        let records = server.log(&[]);
        let failures: Vec<String> = cases
            .iter()
            .filter(|case| words(**case).0 != "forward")
            .filter_map(|case| assert_recorded(&records, *case, words(*case).0, words(*case).1))
            .collect();
        assert!(failures.is_empty(), "{action}: {} failures:\n{}", failures.len(), failures.join("\n"));
    }
}
