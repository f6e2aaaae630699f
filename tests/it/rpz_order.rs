//! Which of several rules that a query meets decides: the earlier name of a chain, the earlier feed, the
//! trigger, the closest match. BIND 9 decides the same.

use std::fmt::Write as _;

use crate::harness::dig::{Dig, Reply};
use crate::harness::house::Setup;
use crate::harness::named::{Named, Policy};
use crate::harness::nsd;

/// Triggers in the draft's order of precedence.
const TRIGGERS: [&str; 5] = ["client", "qname", "ip", "nsdname", "nsip"];

/// The owner of a rule with this trigger for the names below `x{number}.test`.
fn owner(trigger: &str, number: usize) -> String {
    match trigger {
        "client" => format!("32.{number}.1.0.127.rpz-client-ip"),
        "qname" => format!("www.x{number}.test"),
        "ip" => format!("32.{number}.100.51.198.rpz-ip"),
        "nsdname" => format!("ns.x{number}.test.rpz-nsdname"),
        _ => format!("32.{number}.113.0.203.rpz-nsip"),
    }
}

fn head(zone: &str, server: &str) -> String {
    format!("$ORIGIN {zone}.\n$TTL 300\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A {server}\n")
}

/// A question, who asks it, and what must come: the rcode and the last record's data.
struct Question {
    qname: String,
    client: String,
    expected: String,
}

/// Two feeds, what they speak of, and questions.
#[derive(Default)]
struct Scene {
    first: String,
    second: String,
    zones: Vec<(String, String)>,
    questions: Vec<Question>,
}

impl Scene {
    /// A query that meets rules with both triggers: `winner` must decide, `loser` not.
    fn pair(&mut self, winner: &str, loser: &str, is_one_feed: bool) {
        let number = self.zones.len() + 1;
        let zone = format!("x{number}.test");
        let text = head(&zone, &format!("203.0.113.{number}")) + &format!("www A 198.51.100.{number}\n");
        self.zones.push((zone, text));
        writeln!(self.first, "{} CNAME .", owner(winner, number)).unwrap();
        let other = if is_one_feed { &mut self.first } else { &mut self.second };
        writeln!(other, "{} CNAME *.", owner(loser, number)).unwrap();
        let qname = format!("www.x{number}.test");
        self.ask(&qname, &format!("127.0.1.{number}"), "NXDOMAIN");
    }

    fn ask(&mut self, qname: &str, client: &str, expected: &str) {
        let [qname, client, expected] = [qname, client, expected].map(str::to_owned);
        self.questions.push(Question { qname, client, expected });
    }

    fn check(&self) {
        let nsd = nsd::serving(&self.zones);
        let server = Setup::new(nsd.address)
            .rpz("first", "given", "", &self.first)
            .rpz("second", "given", "", &self.second)
            .serve();
        let policies = [("first", &self.first), ("second", &self.second)].map(|(name, records)| Policy {
            name,
            options: "",
            records,
        });
        let options = "qname-wait-recurse no break-dnssec yes";
        let bind = Named::start(nsd.address, &self.zones, &policies, options);
        let mut failures = Vec::new();
        for Question { qname, client, expected } in &self.questions {
            let ask = |dig: Dig| show(&dig.from(client).ask(qname, "A"));
            // The second time it comes from a cache, the third time from what was answered.
            let ours = [(); 3].map(|()| ask(server.dig()));
            let theirs = ask(Dig::at(bind.address));
            if ours.iter().any(|ours| ours != expected) || theirs != *expected {
                failures
                    .push(format!("{qname} for {client}: {ours:?}, BIND {theirs:?}, expected {expected:?}"));
            }
        }
        assert!(
            failures.is_empty(),
            "{}\nfirst:\n{}second:\n{}",
            failures.join("\n"),
            self.first,
            self.second
        );
    }
}

fn show(reply: &Reply) -> String {
    let last = reply.answer.iter().map(|rr| rr.rdata.as_str()).next_back();
    format!("{} {}", reply.status, last.unwrap_or_default()).trim_end().to_owned()
}

#[test]
fn the_earlier_feed_wins_whatever_the_triggers() {
    let mut scene = Scene::default();
    for first in TRIGGERS {
        for second in TRIGGERS {
            scene.pair(first, second, false);
        }
    }
    scene.check();
}

#[test]
fn in_one_feed_the_trigger_decides() {
    let mut scene = Scene::default();
    for (rank, winner) in TRIGGERS.iter().enumerate() {
        for loser in &TRIGGERS[rank + 1..] {
            scene.pair(winner, loser, true);
        }
    }
    scene.check();
}

#[test]
fn of_one_trigger_the_closest_match_decides() {
    let mut scene = Scene::default();
    let zone = head("near.test", "203.0.113.200") + "www A 198.51.100.200\na.b.www A 198.51.100.1\n";
    scene.zones.push(("near.test".to_owned(), zone));
    scene.first = "www.near.test CNAME .\n*.near.test CNAME *.\n\
                   *.www.near.test CNAME *.\n*.b.www.near.test CNAME .\n\
                   16.0.0.2.127.rpz-client-ip CNAME *.\n32.7.0.2.127.rpz-client-ip CNAME .\n"
        .to_owned();
    scene.ask("www.near.test", "127.0.0.1", "NXDOMAIN");
    scene.ask("a.b.www.near.test", "127.0.0.1", "NXDOMAIN");
    scene.ask("other.near.test", "127.0.0.1", "NOERROR");
    scene.ask("any.near.test", "127.2.0.7", "NXDOMAIN");
    scene.ask("www.near.test", "127.2.0.8", "NOERROR");
    scene.check();
}

#[test]
fn of_several_addresses_the_longest_network_and_then_the_lowest_address_decides() {
    let mut scene = Scene::default();
    let zone = head("many.test", "203.0.113.200")
        + "low A 198.51.100.102\nlow A 198.51.100.101\nlong A 198.51.100.1\nlong A 192.0.2.77\n";
    scene.zones.push(("many.test".to_owned(), zone));
    scene.first = "32.101.100.51.198.rpz-ip CNAME .\n32.102.100.51.198.rpz-ip CNAME *.\n\
                   24.0.100.51.198.rpz-ip CNAME *.\n32.77.2.0.192.rpz-ip A 10.66.0.1\n"
        .to_owned();
    scene.ask("low.many.test", "127.0.0.1", "NXDOMAIN");
    scene.ask("long.many.test", "127.0.0.1", "NOERROR 10.66.0.1");
    scene.check();
}

#[test]
fn the_earlier_name_of_a_chain_wins_over_the_earlier_feed() {
    let mut scene = Scene::default();
    let zone = head("chain.test", "203.0.113.200")
        + "a CNAME b\nb CNAME c\nc A 198.51.100.1\nd CNAME e\ne A 198.51.100.2\nf CNAME e\n\
           g CNAME h\nh A 198.51.100.3\n";
    scene.zones.push(("chain.test".to_owned(), zone));
    // The last name of a, the address of d, and the one in the middle.
    scene.first = "c.chain.test CNAME *.\n32.2.100.51.198.rpz-ip CNAME *.\nh.chain.test CNAME .\n".to_owned();
    scene.second =
        "b.chain.test CNAME .\nd.chain.test CNAME .\ng.chain.test CNAME rpz-passthru.\n".to_owned();
    scene.ask("a.chain.test", "127.0.0.1", "NXDOMAIN b.chain.test.");
    scene.ask("d.chain.test", "127.0.0.1", "NXDOMAIN");
    scene.ask("f.chain.test", "127.0.0.1", "NOERROR e.chain.test.");
    scene.ask("g.chain.test", "127.0.0.1", "NOERROR 198.51.100.3");
    scene.check();
}

#[test]
fn an_exception_ends_the_search() {
    let mut scene = Scene::default();
    for trigger in TRIGGERS {
        let number = scene.zones.len() + 1;
        let zone = format!("x{number}.test");
        let text = head(&zone, &format!("203.0.113.{number}")) + &format!("www A 198.51.100.{number}\n");
        scene.zones.push((zone, text));
        writeln!(scene.first, "{} CNAME rpz-passthru.", owner(trigger, number)).unwrap();
        for other in TRIGGERS {
            writeln!(scene.second, "{} CNAME .", owner(other, number)).unwrap();
        }
        let expected = format!("NOERROR 198.51.100.{number}");
        scene.ask(&format!("www.x{number}.test"), &format!("127.0.1.{number}"), &expected);
    }
    scene.check();
}
