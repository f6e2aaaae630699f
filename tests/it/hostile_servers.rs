//! Name servers that mean harm, met while recursing: whatever they say, a question ends soon, costs little,
//! harms nobody else's names, and has its record.
//!
//! Each test has a network of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::PATIENCE;
use crate::harness::dig::Reply;
use crate::harness::namespace::inside;
use crate::harness::scripted::{Seen, Step};
use crate::harness::server::Server;
use crate::harness::signer::{Signer, key_tag};
use crate::harness::wilds::{ATTACKER, Wilds, a, cut, honest, ns, refer, rr, say, soa};
use crate::harness::wire::{self, name};

/// The deadline of a query, and some time for a busy machine.
const SOON: Duration = Duration::from_secs(8);
/// More than any question may cost, all that it hangs on included.
const MOST_QUERIES: usize = 100;

struct Scene {
    server: Server,
    wilds: Wilds,
}

impl Scene {
    /// `attack` is what the attacker says to a query.
    fn new(attack: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with_anchor("", attack)
    }

    /// `anchor` is a DS record that is trusted.
    fn with_anchor(anchor: &str, attack: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let wilds = Wilds::start(attack);
        Self { server: wilds.house(anchor).serve(), wilds }
    }

    /// A client's question: the reply, and how many queries it cost. It ends soon, its record tells its end, and the same
    /// question costs nothing while the end is remembered.
    #[track_caller]
    fn ask(&self, qname: &str) -> (Reply, usize) {
        let asked = || self.wilds.attacker.seen().len() + self.wilds.victim.seen().len();
        let before = asked();
        let start = Instant::now();
        let reply = self.server.dig().ask(qname, "A");
        assert!(start.elapsed() < SOON, "{:?}: {}", start.elapsed(), reply.raw);
        let cost = asked() - before;
        assert!(cost <= MOST_QUERIES, "{cost} queries for {qname}");
        let told = Instant::now();
        let again = self.server.dig().ask(qname, "A");
        assert_eq!((&again.status, again.rdata("A")), (&reply.status, reply.rdata("A")), "{}", again.raw);
        let records = self.server.log(&["--name", qname]);
        assert_eq!(records.len(), 2, "{records:#?}");
        records[1].assert(&[("rcode", &reply.status), ("action", "forward")]);
        // Failures are kept for two seconds.
        if told.elapsed() < Duration::from_secs(1) {
            assert_eq!(asked(), before + cost, "{}", again.raw);
            assert!(records[0].flag("cached"), "{records:#?}");
        }
        (reply, cost)
    }

    /// A question that ends in SERVFAIL with this extended error; how many queries it cost.
    #[track_caller]
    fn check_failed(&self, qname: &str, ede: u16) -> usize {
        let (reply, cost) = self.ask(qname);
        assert_eq!((&*reply.status, reply.ede_code()), ("SERVFAIL", Some(ede)), "{}", reply.raw);
        assert!(reply.answer.is_empty(), "{}", reply.raw);
        cost
    }

    /// The victim's name leads where it should.
    #[track_caller]
    fn check_victim(&self) {
        let reply = self.server.dig().ask("www.victim", "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
    }

    /// Others are served as before, and the server ends well.
    #[track_caller]
    fn end(mut self) {
        self.check_victim();
        self.server.assert_well();
        assert!(self.server.stop(Signal::TERM).status.success());
    }
}

#[test]
fn nobody_speaks_for_zones_of_others() {
    inside(|| {
        let forged = || a("www.victim", ATTACKER);
        let glue = move || [a("ns.victim", ATTACKER), a("ns.root", ATTACKER), forged()];
        let scene = Scene::new(move |query| {
            let extra = [ns("victim", "ns.victim"), ns("", "ns.root"), soa("victim")];
            match &*query.qname() {
                // Beside an answer, beside a denial, behind an alias, in glue.
                "www.attack." => {
                    let answer = [a("www.attack", [192, 0, 2, 66]), forged()];
                    vec![Step::Send(query.message(wire::AA, [&answer, &extra, &glue()]))]
                }
                "nothing.attack." => {
                    let authority = [&extra[..], &[soa("attack")]].concat();
                    vec![Step::Send(query.message(wire::AA | 3, [&[], &authority, &glue()]))]
                }
                "alias.attack." => {
                    say(query, &[rr("alias.attack", wire::CNAME, &name("www.victim")), forged()])
                }
                "www.below.attack." | "below.attack." => {
                    refer(query, &[ns("below.attack", "ns.victim")], &glue())
                }
                // Referrals to where the query must not go: aside, up, to itself.
                "aside.attack." => refer(query, &[ns("victim", "ns.victim")], &glue()),
                "up.attack." => refer(query, &[ns("", "ns.root")], &glue()),
                "self.attack." => refer(query, &[ns("attack", "ns.attack")], &[a("ns.attack", ATTACKER)]),
                _ => honest(query),
            }
        });
        let (reply, _) = scene.ask("www.attack");
        assert_eq!((reply.rdata("A"), reply.authority.len()), (vec!["192.0.2.66"], 0), "{}", reply.raw);
        scene.check_victim();
        let (reply, _) = scene.ask("nothing.attack");
        assert_eq!((&*reply.status, reply.authority.len()), ("NXDOMAIN", 1), "{}", reply.raw);
        assert_eq!(reply.authority[0].name, "attack.", "{}", reply.raw);
        scene.check_victim();
        let (reply, _) = scene.ask("alias.attack");
        assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
        // Where the name server's address is taken from its own zone, that one is not in charge of `below.attack`.
        scene.check_failed("www.below.attack", 22);
        for qname in ["aside.attack", "up.attack", "self.attack"] {
            assert!(scene.check_failed(qname, 22) < 10);
            scene.check_victim();
        }
        scene.end();
    });
}

#[test]
fn endless_referrals_end() {
    inside(|| {
        // Each label is a zone of its own at the same server, whatever is asked for one label deeper than the last time.
        let depth = AtomicUsize::new(1);
        let scene = Scene::new(move |query| {
            let qname = query.qname();
            let qname = qname.trim_end_matches('.');
            let mut dots = qname.rmatch_indices('.').map(|(at, _)| at + 1);
            let zone = &qname[dots.nth(depth.fetch_add(1, Ordering::SeqCst)).unwrap_or(0)..];
            refer(query, &[ns(zone, &format!("ns.{zone}"))], &[a(&format!("ns.{zone}"), ATTACKER)])
        });
        let deep = format!("{}attack", "a.".repeat(115));
        let cost = scene.check_failed(&deep, 0);
        assert!(cost > 50, "{cost} queries: the attack does not do what it says");
        scene.end();
    });
}

#[test]
fn aliases_without_end_are_cut() {
    inside(|| {
        let scene = Scene::new(|query| {
            let qname = query.qname();
            let name_of = |number: usize| format!("n{number}.chain.attack");
            match qname.trim_end_matches('.') {
                "circle.attack" => say(query, &[rr("circle.attack", wire::CNAME, &name("circle.attack"))]),
                "there.attack" => say(query, &[rr("there.attack", wire::CNAME, &name("back.other"))]),
                "back.other" => say(query, &[rr("back.other", wire::CNAME, &name("there.attack"))]),
                // A thousand of them in one message.
                "bomb.attack" => {
                    let first = rr("bomb.attack", wire::CNAME, &name(&name_of(0)));
                    let chain = (0..1000).map(|n| rr(&name_of(n), wire::CNAME, &name(&name_of(n + 1))));
                    let chain: Vec<_> = [first].into_iter().chain(chain).collect();
                    if query.is_tcp { say(query, &chain) } else { cut(query) }
                }
                // One at a time, each into the other zone.
                hop => {
                    let [label, zone] = hop.split_once('.').map_or([hop, ""], <[&str; 2]>::from);
                    let Some(Ok(number)) = label.strip_prefix('h').map(str::parse::<u32>) else {
                        return honest(query);
                    };
                    let other = if zone == "attack" { "other" } else { "attack" };
                    say(query, &[rr(hop, wire::CNAME, &name(&format!("h{}.{other}", number + 1)))])
                }
            }
        });
        for qname in ["circle.attack", "there.attack", "bomb.attack", "h0.attack"] {
            let cost = scene.check_failed(qname, 0);
            assert!(cost < 40, "{cost} queries for {qname}");
        }
        scene.end();
    });
}

#[test]
fn what_drips_is_not_waited_for() {
    inside(|| {
        let scene = Scene::new(|query| match (&*query.qname(), query.is_tcp) {
            ("attack.", _) => honest(query),
            // A long message to come, octet by octet; or nothing at all, or its half.
            ("drip.attack.", true) => vec![Step::Write(vec![0xff, 0xff]), Step::Drip],
            ("length.attack.", true) => vec![Step::Write(vec![0xff])],
            ("half.attack.", true) => vec![Step::Write(vec![0, 40, 0, 0, 0]), Step::Close],
            ("closed.attack.", true) => vec![Step::Close],
            // TC once more.
            _ => cut(query),
        });
        for (qname, ede) in [
            ("drip.attack", 22),
            ("length.attack", 22),
            ("half.attack", 23),
            ("closed.attack", 23),
            ("cut.attack", 22),
        ] {
            let cost = scene.check_failed(qname, ede);
            assert!(cost < 20, "{cost} queries for {qname}");
        }
        scene.end();
    });
}

#[test]
fn answers_to_other_questions_are_not_taken() {
    inside(|| {
        let scene = Scene::new(|query| {
            let good = query.answer_a([192, 0, 2, 66]);
            let changed = |change: fn(&mut Vec<u8>)| {
                let mut bytes = query.answer_a([192, 0, 2, 67]);
                bytes[2] |= 4;
                change(&mut bytes);
                Step::Send(bytes)
            };
            let good = [good].map(|mut bytes| {
                bytes[2] |= 4;
                Step::Send(bytes)
            });
            let forged = match &*query.qname() {
                // Then comes the right one.
                "id.attack." | "onlyid.attack." => changed(|bytes| bytes[1] ^= 1),
                "question.attack." | "onlyquestion.attack." => changed(|bytes| bytes[14] ^= 1),
                "type.attack." | "onlytype.attack." => changed(|bytes| {
                    let end = bytes[12..].iter().position(|&octet| octet == 0).unwrap() + 14;
                    bytes[end] = 28;
                }),
                "port.attack." | "onlyport.attack." => {
                    let Step::Send(bytes) = changed(|_| {}) else { unreachable!() };
                    Step::SendFromElsewhere(bytes)
                }
                "query.attack." | "onlyquery.attack." => changed(|bytes| bytes[2] &= 0x7f),
                "noise.attack." => changed(|bytes| bytes.truncate(11)),
                "empty.attack." => changed(Vec::clear),
                "behind.attack." => changed(|bytes| bytes.push(0)),
                "counts.attack." => changed(|bytes| bytes[6..12].fill(0xff)),
                "pointer.attack." => changed(|bytes| {
                    let len = bytes.len();
                    // The record's owner points at itself.
                    bytes[len - 15] = u8::try_from(len - 16).unwrap();
                }),
                _ => return honest(query),
            };
            if query.qname().starts_with("only") || is_garbled(query) {
                return vec![forged];
            }
            [forged].into_iter().chain(good).collect()
        });
        for label in ["id", "question", "type", "port", "query"] {
            let (reply, _) = scene.ask(&format!("{label}.attack"));
            assert_eq!(reply.rdata("A"), ["192.0.2.66"], "{}", reply.raw);
        }
        for label in ["onlyid", "onlyquestion", "noise", "empty", "behind", "counts", "pointer"] {
            let cost = scene.check_failed(&format!("{label}.attack"), 22);
            assert!(cost < 20, "{cost} queries for {label}");
        }
        scene.end();
    });
}

fn is_garbled(query: &Seen) -> bool {
    ["noise", "empty", "behind", "counts", "pointer"].iter().any(|label| query.qname().starts_with(label))
}

/// NXNSAttack (CVE-2020-8616): a delegation to many names of somebody else's, so that we ask him.
#[test]
fn delegations_to_many_names_ask_few_of_them() {
    inside(|| {
        let scene = Scene::new(|query| {
            let qname = query.qname();
            if !qname.ends_with(".many.attack.") && qname != "many.attack." {
                return honest(query);
            }
            let names: Vec<_> = (0..60).map(|n| ns("many.attack", &format!("n{n}.victim"))).collect();
            if query.is_tcp { refer(query, &names, &[]) } else { cut(query) }
        });
        scene.check_failed("www.many.attack", 22);
        let asked = scene.wilds.victim.seen().len();
        assert!((1..=25).contains(&asked), "{asked} queries to the victim");
        scene.end();
    });
}

/// KeyTrap (CVE-2023-50387): many keys with one tag, and many signatures by it, all of them wrong.
#[test]
fn many_keys_with_one_tag_cost_little() {
    const KEYS: u16 = 30;
    /// About as many as a message holds.
    const SIGNATURES: u16 = 100;
    inside(|| {
        // The zone's one honest key, by which the others get in.
        let signer = Signer::new("attack");
        let entry = signer.dnskey();
        let keys: Vec<Vec<u8>> = (0..KEYS).map(key).chain([entry]).collect();
        let tag = key_tag(&keys[0]);
        assert!(keys[..keys.len() - 1].iter().all(|key| key_tag(key) == tag));

        let scene = Scene::with_anchor(&signer.anchor(), move |query| {
            if !query.is_tcp {
                return cut(query);
            }
            let qname = query.qname();
            let mut records = Vec::new();
            match query.qtype() {
                // The entry's flags are the greatest.
                wire::DNSKEY => records.extend(signer.sign("attack", wire::DNSKEY, &keys)),
                wire::A => {
                    records.push(a(&qname, [192, 0, 2, 66]));
                    for number in 0..SIGNATURES {
                        let mut wrong = signer.unsigned(8, tag, &qname, wire::A);
                        wrong.extend([number as u8; 512]);
                        records.push(rr(&qname, wire::RRSIG, &wrong));
                    }
                }
                _ => return honest(query),
            }
            say(query, &records)
        });
        let cost = scene.check_failed("www.attack", 6);
        assert!(cost < 30, "{cost} queries");
        let worked = scene.server.cpu_time();
        // Without bounds it is about half a second, in this test alone.
        assert!(worked < Duration::from_millis(200), "{worked:?}");
        scene.end();
    });
}

/// The data of a DNSKEY record of 4096 bits that is as good as any, and has the same tag as the others.
fn key(number: u16) -> Vec<u8> {
    // Zone key, protocol 3, RSA/SHA-256, exponent 65537.
    let mut data = vec![1, 0, 3, 8, 3, 1, 0, 1];
    let mut modulus = [0xc5; 512];
    // The tag is a sum of 16 bits at a time (RFC 4034, appendix B).
    modulus[2..4].copy_from_slice(&number.to_be_bytes());
    modulus[4..6].copy_from_slice(&(1000 - number).to_be_bytes());
    data.extend(modulus);
    data
}

/// A failure is not for long: who mends his zone is found again.
#[test]
fn failures_are_forgotten_soon() {
    inside(|| {
        let scene = Scene::new(|query| match &*query.qname() {
            "attack." => honest(query),
            _ => vec![Step::Send(query.message(2, [&[], &[], &[]]))],
        });
        scene.check_failed("www.attack", 22);
        let asked = scene.wilds.attacker.seen().len();
        let start = Instant::now();
        while scene.wilds.attacker.seen().len() == asked {
            assert!(start.elapsed() < PATIENCE, "the failure is kept for good");
            scene.server.dig().ask("www.attack", "A");
        }
        scene.end();
    });
}
