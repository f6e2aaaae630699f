//! Recursion on a network in memory: delegations, broken servers and attacks.

mod net;

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use self::net::{Fate, Message, Net, Shared, host};
use super::task::MOST_QUERIES;
use super::*;
use crate::wire::{Section, rcode, type_number, type_text};

const ROOT: &str = "192.0.2.1";
const TLD: &str = "192.0.2.2";
const LEAF: &str = "192.0.2.3";
const OTHER: &str = "192.0.2.4";
const EVIL: &str = "192.0.2.66";

/// A root, `example` and `a.example` below it, whose servers have addresses of their own.
fn tree(root: &[&str], tld: &[&str], leaf: &[&str]) -> Net {
    let root =
        [&[". NS ns.root", "ns.root A 192.0.2.1", "example NS ns.example", "ns.example A 192.0.2.2"], root];
    let tld = [&["a.example NS ns.a.example", "ns.a.example A 192.0.2.3"], tld];
    Net::default().zone(ROOT, ".", &root.concat()).zone(TLD, "example", &tld.concat()).zone(
        LEAF,
        "a.example",
        &[&["ns.a.example A 192.0.2.3"], leaf].concat(),
    )
}

struct Scene {
    net: Arc<Net>,
    recursor: Recursor,
}

impl Scene {
    fn new(net: Net) -> Self {
        Self::judged(net, None)
    }

    fn judged(net: Net, judge: Option<Arc<dyn Judge>>) -> Self {
        let net = Arc::new(net);
        let hints = hints::parse(&format!(". NS ns.root\nns.root A {ROOT}\n")).unwrap();
        let options = Options {
            hints: Arc::new(hints),
            deadline: Duration::from_secs(4),
            max_size: 4 << 20,
            validation: None,
        };
        let recursor = Recursor::over(Arc::new(Shared(Arc::clone(&net))), options, judge);
        Self { net, recursor }
    }

    async fn resolve(&self, qname: &str, qtype: &str) -> Result<Resolved, Trouble> {
        let qtype = type_number(qtype).unwrap().to_be_bytes();
        let question = [host(qname).as_wire(), &qtype, &[0, 1]].concat();
        let [recursion, dnssec_ok] = [Flag::Set, Flag::Clear];
        self.recursor.resolve(&Ask { question, recursion, checking_disabled: Flag::Clear, dnssec_ok }).await
    }

    /// The answer section as `TYPE data …`, behind the rcode where that is one.
    async fn answer(&self, qname: &str, qtype: &str) -> String {
        let resolved = match self.resolve(qname, qtype).await {
            Ok(resolved) => resolved,
            Err(trouble) => return trouble.to_string(),
        };
        let response = Response::parse(&resolved.message).unwrap();
        let mut text = match response.rcode() {
            rcode::NOERROR => String::new(),
            other => crate::wire::rcode_text(other).into_owned(),
        };
        for record in response.records().flatten().filter(|record| record.section == Section::Answer) {
            let rdata = &resolved.message[record.rdata.clone()];
            let mut name = Vec::new();
            let data = match piece::address(record.rtype, rdata) {
                Some(address) => address.to_string(),
                None if matches!(record.rtype, rtype::CNAME | rtype::NS | rtype::DNAME) => {
                    crate::wire::expand_name(&resolved.message, record.rdata.start, &mut name).unwrap();
                    Name::from_wire(&name).unwrap().to_string()
                }
                None => String::from_utf8_lossy(rdata).into_owned(),
            };
            text = format!("{text} {} {data}", type_text(record.rtype));
        }
        text.trim_start().to_owned()
    }

    /// How many questions the network has had.
    fn count(&self) -> usize {
        self.net.seen().len()
    }
}

#[tokio::test(start_paused = true)]
async fn each_zone_is_told_no_more_than_it_must_know() {
    let scene = Scene::new(tree(&[], &[], &["x.y.www.a.example TXT deep", "www.a.example A 192.0.2.80"]));
    assert_eq!(scene.answer("x.y.www.a.example", "TXT").await, "TXT deep");
    assert_eq!(
        scene.net.told(),
        [
            "192.0.2.1 example A",
            "192.0.2.2 a.example A",
            "192.0.2.3 www.a.example A",
            "192.0.2.3 y.www.a.example A",
            "192.0.2.3 x.y.www.a.example TXT"
        ]
    );
    // What was learnt on the way is known.
    assert_eq!(scene.answer("www.a.example", "A").await, "A 192.0.2.80");
    assert_eq!(scene.net.told(), [""; 0]);
    assert_eq!(scene.answer("other.a.example", "A").await, "NXDOMAIN");
    assert_eq!(scene.net.told(), ["192.0.2.3 other.a.example A"]);
    assert_eq!(scene.answer("other.a.example", "TXT").await, "NXDOMAIN");
    assert_eq!(scene.answer("a.example", "DS").await, "");
    assert_eq!(scene.net.told(), ["192.0.2.2 a.example DS"]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_asked_for_anew() {
    let scene = Scene::new(tree(&[], &[], &["www.a.example A 192.0.2.80"]));
    scene.answer("www.a.example", "A").await;
    scene.net.told();
    tokio::time::advance(Duration::from_secs(299)).await;
    scene.answer("www.a.example", "A").await;
    assert_eq!(scene.net.told(), [""; 0]);
    tokio::time::advance(Duration::from_secs(2)).await;
    // The delegations have ended too, and the root's servers are known by priming no more.
    scene.answer("www.a.example", "A").await;
    assert_eq!(scene.net.told().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn servers_that_mind_part_of_a_name_are_told_all_of_it() {
    for code in [rcode::NXDOMAIN, rcode::REFUSED, rcode::SERVFAIL, rcode::FORMERR, rcode::NOTIMP] {
        let net = tree(&[], &[], &["w.w.w.a.example A 192.0.2.80"]).hook(LEAF, move |seen, message| {
            Fate::Says(match seen.qname == host("w.w.w.a.example") {
                true => message,
                false if code == rcode::NXDOMAIN => {
                    Message::empty().code(code).with(Section::Authority, "a.example SOA")
                }
                false => Message::empty().code(code),
            })
        });
        assert_eq!(Scene::new(net).answer("w.w.w.a.example", "A").await, "A 192.0.2.80", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn aliases_are_followed_and_end() {
    let leaf = [
        "in.a.example CNAME www.a.example",
        "www.a.example A 192.0.2.80",
        "out.a.example CNAME www.b.example",
        "round.a.example CNAME circle.a.example",
        "circle.a.example CNAME round.a.example",
        "tree.a.example DNAME b.example",
        "gone.a.example CNAME nothing.a.example",
    ];
    let tld = ["b.example NS ns.b.example", "ns.b.example A 192.0.2.4"];
    let net = tree(&[], &tld, &leaf).zone(OTHER, "b.example", &["www.b.example A 192.0.2.90"]);
    let scene = Scene::new(net);
    async fn check(scene: &Scene, qname: &str, expected: &str) {
        assert_eq!(scene.answer(qname, "A").await, expected, "{qname}");
    }
    check(&scene, "in.a.example", "CNAME www.a.example A 192.0.2.80").await;
    assert_eq!(scene.net.told().len(), 3, "the rest of the chain came with its first link");
    check(&scene, "out.a.example", "CNAME www.b.example A 192.0.2.90").await;
    check(&scene, "round.a.example", "too many aliases").await;
    check(&scene, "www.tree.a.example", "DNAME b.example CNAME www.b.example A 192.0.2.90").await;
    check(&scene, "gone.a.example", "NXDOMAIN CNAME nothing.a.example").await;
    assert_eq!(scene.answer("out.a.example", "CNAME").await, "CNAME www.b.example");
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_aliases_without_end_is_cut() {
    let net = tree(&[], &[], &[]).hook(LEAF, |seen, _| {
        let next =
            seen.qname.to_string().bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
        let alias = format!("{} CNAME n{next}.a.example", seen.qname);
        Fate::Says(Message::empty().with(Section::Answer, &alias))
    });
    let scene = Scene::new(net);
    assert_eq!(scene.answer("start.a.example", "A").await, "too many aliases");
    assert!(scene.count() < 20, "{}", scene.count());
}

/// A DNAME record that says something else than the CNAME record beside it.
#[tokio::test(start_paused = true)]
async fn a_dname_record_says_what_its_alias_is() {
    let net = tree(&[], &[], &["www.good.a.example A 192.0.2.80"]).hook(LEAF, |seen, message| {
        let under = seen.qname == host("www.tree.a.example");
        let forged = || {
            Message::empty()
                .with(Section::Answer, "tree.a.example DNAME good.a.example")
                .with(Section::Answer, "www.tree.a.example CNAME www.evil.a.example")
                .with(Section::Answer, "www.evil.a.example A 192.0.2.66")
        };
        Fate::Says(if under { forged() } else { message })
    });
    let got = Scene::new(net).answer("www.tree.a.example", "A").await;
    assert_eq!(got, "DNAME good.a.example CNAME www.good.a.example A 192.0.2.80");
}

#[tokio::test(start_paused = true)]
async fn nobody_speaks_for_others() {
    let tld = [
        "b.example NS ns.b.example",
        "ns.b.example A 192.0.2.4",
        "evil.example NS ns.evil.example",
        "ns.evil.example A 192.0.2.66",
    ];
    let forged = |section| {
        move |seen: &net::Seen, _| {
            let answer = format!("{} A 192.0.2.99", seen.qname);
            let message = Message::empty().with(Section::Answer, &answer);
            let message = message.with(section, "www.b.example A 192.0.2.66");
            let message =
                message.with(section, "b.example NS ns.evil.example").with(section, "b.example SOA");
            Fate::Says(message.with(section, "ns.b.example A 192.0.2.66"))
        }
    };
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        let net = tree(&[], &tld, &[])
            .zone(OTHER, "b.example", &["www.b.example A 192.0.2.90"])
            .hook(EVIL, forged(section));
        let scene = Scene::new(net);
        assert_eq!(scene.answer("www.evil.example", "A").await, "A 192.0.2.99");
        assert_eq!(scene.answer("www.b.example", "A").await, "A 192.0.2.90", "{section:?}");
    }
    // An alias to another zone, and what that one has as this one says.
    let net = tree(&[], &tld, &[]).zone(OTHER, "b.example", &["www.b.example A 192.0.2.90"]).hook(
        EVIL,
        |seen, _| {
            let alias = format!("{} CNAME www.b.example", seen.qname);
            let message = Message::empty().with(Section::Answer, &alias);
            Fate::Says(message.with(Section::Answer, "www.b.example A 192.0.2.66"))
        },
    );
    assert_eq!(Scene::new(net).answer("www.evil.example", "A").await, "CNAME www.b.example A 192.0.2.90");
}

#[tokio::test(start_paused = true)]
async fn glue_of_other_zones_leads_nowhere() {
    let tld = [
        "b.example NS ns.b.example",
        "ns.b.example A 192.0.2.4",
        "evil.example NS ns.evil.example",
        "ns.evil.example A 192.0.2.66",
    ];
    // The zone delegates below itself to somebody else's server, at an address of its own.
    let net = tree(&[], &tld, &[])
        .zone(OTHER, "b.example", &["ns.b.example A 192.0.2.4", "www.b.example A 192.0.2.90"])
        .zone(OTHER, "sub.evil.example", &["www.sub.evil.example A 192.0.2.91"])
        .zone("192.0.2.67", "sub.evil.example", &["www.sub.evil.example A 192.0.2.92"])
        .hook(EVIL, |_, _| {
            let message = Message { flags: 0, ..Message::empty() };
            let message = message.with(Section::Authority, "sub.evil.example NS ns.b.example");
            Fate::Says(message.with(Section::Additional, "ns.b.example A 192.0.2.67"))
        });
    let scene = Scene::new(net);
    assert_eq!(scene.answer("www.sub.evil.example", "A").await, "A 192.0.2.91");
    assert_eq!(scene.answer("ns.b.example", "A").await, "A 192.0.2.4");
}

#[tokio::test(start_paused = true)]
async fn glue_is_no_answer() {
    let tld = ["b.example NS ns.b.example", "ns.b.example A 192.0.2.4"];
    let scene = Scene::new(tree(&[], &tld, &[]).zone(OTHER, "b.example", &["ns.b.example A 192.0.2.5"]));
    assert_eq!(scene.answer("ns.b.example", "A").await, "A 192.0.2.5");
}

#[tokio::test(start_paused = true)]
async fn lame_servers_are_left_and_remembered() {
    let up = |_: &net::Seen, _| {
        let message = Message { flags: 0, ..Message::empty() };
        Fate::Says(message.with(Section::Authority, ". NS ns.root"))
    };
    let sideways = |_: &net::Seen, _| {
        let message = Message { flags: 0, ..Message::empty() };
        Fate::Says(message.with(Section::Authority, "b.example NS ns.b.example"))
    };
    let recursive = |seen: &net::Seen, _| {
        let message = Message { flags: 0, recursion: crate::wire::RA, ..Message::empty() };
        Fate::Says(message.with(Section::Answer, &format!("{} A 192.0.2.66", seen.qname)))
    };
    let refusing = |_: &net::Seen, _| Fate::Says(Message::empty().code(rcode::REFUSED));
    let failing = |_: &net::Seen, _| Fate::Says(Message::empty().code(rcode::SERVFAIL));
    let empty = |_: &net::Seen, _| Fate::Says(Message { flags: 0, ..Message::empty() });
    type Hook = fn(&net::Seen, Message) -> Fate;
    let hooks: [Hook; 6] = [up, sideways, recursive, refusing, failing, empty];
    for (number, hook) in hooks.into_iter().enumerate() {
        let tld = ["a.example NS ns2.a.example", "ns2.a.example A 192.0.2.4"];
        let net =
            tree(&[], &tld, &[]).hook(LEAF, hook).zone(OTHER, "a.example", &["www.a.example A 192.0.2.80"]);
        let scene = Scene::new(net);
        assert_eq!(scene.answer("www.a.example", "A").await, "A 192.0.2.80", "{number}");
        // All of them lame.
        let scene = Scene::new(tree(&[], &[], &[]).hook(LEAF, hook));
        let expected = "the servers of a.example refuse, fail or are lame";
        assert_eq!(scene.answer("www.a.example", "A").await, expected, "{number}");
        assert!(scene.count() < 10, "{:?}", scene.net.told());
    }
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_has_moved_is_found_again() {
    let is_moved = Arc::new(AtomicBool::new(false));
    let [at_parent, at_old] = [Arc::clone(&is_moved), is_moved.clone()];
    let net = tree(&[], &[], &["www.a.example A 192.0.2.80"])
        .zone(OTHER, "a.example", &["new.a.example A 192.0.2.81"])
        .hook(TLD, move |_, message| {
            let message = match at_parent.load(Ordering::Relaxed) {
                true => Message { flags: 0, ..Message::empty() }
                    .with(Section::Authority, "a.example NS ns.a.example")
                    .with(Section::Additional, "ns.a.example A 192.0.2.4"),
                false => message,
            };
            Fate::Says(message)
        })
        .hook(LEAF, move |_, message| {
            Fate::Says(match at_old.load(Ordering::Relaxed) {
                true => Message::empty().code(rcode::REFUSED),
                false => message,
            })
        });
    let scene = Scene::new(net);
    assert_eq!(scene.answer("www.a.example", "A").await, "A 192.0.2.80");
    is_moved.store(true, Ordering::Relaxed);
    assert_eq!(scene.answer("new.a.example", "A").await, "A 192.0.2.81");
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_for_once() {
    let tld = ["a.example NS ns2.a.example", "ns2.a.example A 192.0.2.4"];
    let net = tree(&[], &tld, &[]).hook(LEAF, |_, _| Fate::Silence).zone(
        OTHER,
        "a.example",
        &["www.a.example A 192.0.2.80", "w2.a.example A 192.0.2.81"],
    );
    let scene = Scene::new(net);
    let begun = Instant::now();
    assert_eq!(scene.answer("www.a.example", "A").await, "A 192.0.2.80");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(scene.answer("w2.a.example", "A").await, "A 192.0.2.81");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let scene = Scene::new(tree(&[], &[], &[]).hook(LEAF, |_, _| Fate::Silence));
    let begun = Instant::now();
    assert_eq!(scene.answer("www.a.example", "A").await, "no server of a.example answers");
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(scene.count() < 10);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_is_not_waited_for() {
    let scene = Scene::new(tree(&[], &[], &[]).hook(LEAF, |_, _| Fate::Unreachable));
    let begun = Instant::now();
    let trouble = scene.resolve("www.a.example", "A").await.unwrap_err();
    assert_eq!((trouble.code(), trouble), (23, Trouble::Network(host("a.example"))));
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_still_counts_while_others_are_asked() {
    let slow = |_: &net::Seen, message| Fate::SaysAfter(Duration::from_millis(1500), message);
    let net = tree(&[], &[], &["www.a.example A 192.0.2.80"]).hook(LEAF, slow);
    assert_eq!(Scene::new(net).answer("www.a.example", "A").await, "A 192.0.2.80");
}

#[tokio::test(start_paused = true)]
async fn a_family_without_route_is_left() {
    let tld = ["ns.a.example AAAA 2001:db8::1"];
    let net = tree(&[], &tld, &["www.a.example A 192.0.2.80"]).hook("2001:db8::1", |_, _| Fate::NoRoute);
    let scene = Scene::new(net);
    let is_ipv6 = |seen: &net::Seen| seen.server.is_ipv6();
    for _ in 0..50 {
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(scene.answer("www.a.example", "A").await, "A 192.0.2.80");
        scene.recursor.engine.store.forget_pieces();
    }
    assert!(scene.net.seen().iter().filter(|seen| is_ipv6(seen)).count() <= 1);
}

#[tokio::test(start_paused = true)]
async fn servers_without_address_are_looked_up_or_given_up() {
    let root = ["other NS ns.other", "ns.other A 192.0.2.4"];
    let tld = [
        "glueless.example NS ns.helper.other",
        "self.example NS ns.self.example",
        "loop.example NS ns.loop.other",
        "alias.example NS alias.other",
        "dead.example NS ns.dead.other",
    ];
    let net = tree(&root, &tld, &[])
        .zone(
            OTHER,
            "other",
            &[
                "ns.helper.other A 192.0.2.5",
                "loop.other NS ns.loop.example",
                "alias.other CNAME ns.helper.other",
            ],
        )
        .zone("192.0.2.5", "glueless.example", &["www.glueless.example A 192.0.2.80"]);
    let scene = Scene::new(net);
    assert_eq!(scene.answer("www.glueless.example", "A").await, "A 192.0.2.80");
    for zone in ["self", "loop", "alias", "dead"] {
        let expected = format!("no server of {zone}.example has an address");
        assert_eq!(scene.answer(&format!("www.{zone}.example"), "A").await, expected);
    }
    assert!(scene.count() < 40, "{:?}", scene.net.told());
}

/// Delegations to many names of a victim's (NXNSAttack).
#[tokio::test(start_paused = true)]
async fn many_servers_without_address_are_not_all_looked_up() {
    let root = ["victim NS ns.victim", "ns.victim A 192.0.2.4"];
    let net =
        tree(&root, &[], &[]).zone(OTHER, "victim", &["ns.victim A 192.0.2.4"]).hook(LEAF, |seen, _| {
            let zone = seen.qname.suffix(3);
            let mut message = Message { flags: 0, ..Message::empty() };
            for number in 0..100 {
                let ns = format!("{zone} NS n{number}.x{}.victim", zone.to_string().len());
                message = message.with(Section::Authority, &ns);
            }
            Fate::Says(message)
        });
    let scene = Scene::new(net);
    let got = scene.answer("www.sub.a.example", "A").await;
    assert_eq!(got, "no server of sub.a.example has an address");
    let victim: IpAddr = OTHER.parse().unwrap();
    let asked = scene.net.seen().iter().filter(|seen| seen.server == victim).count();
    assert!(asked <= 3 * task::MOST_LOOKUPS_A_ZONE, "{asked}");
}

/// Every zone on the way is served by names that need a delegation of their own.
#[tokio::test(start_paused = true)]
async fn no_tree_takes_more_than_a_question_may() {
    let net = tree(&[], &[], &[]).hook(LEAF, |seen, _| {
        let mut message = Message { flags: 0, ..Message::empty() };
        for number in 0..10 {
            let hash = seen.qname.to_string().len();
            let ns = format!("{} NS n{number}.h{hash}.{number}.a.example", seen.qname);
            message = message.with(Section::Authority, &ns);
        }
        Fate::Says(message)
    });
    let scene = Scene::new(net);
    scene.answer("w.w.w.w.w.w.a.example", "A").await;
    assert!(scene.count() <= MOST_QUERIES as usize, "{}", scene.count());
}

#[tokio::test(start_paused = true)]
async fn endless_referrals_end() {
    // Always one label further down, to the same server.
    let net = tree(&[], &[], &[]).hook(LEAF, |seen, _| {
        let message = Message { flags: 0, ..Message::empty() };
        let message = message.with(Section::Authority, &format!("{0} NS ns.{0}", seen.qname));
        Fate::Says(message.with(Section::Additional, &format!("ns.{} A 192.0.2.3", seen.qname)))
    });
    let scene = Scene::new(net);
    let qname = format!("{}a.example", "w.".repeat(100));
    let begun = Instant::now();
    let got = scene.answer(&qname, "A").await;
    assert!(got.starts_with("the servers of"), "{got}");
    assert!(scene.count() < 30 && begun.elapsed() < Duration::from_secs(5), "{}", scene.count());
}

#[tokio::test(start_paused = true)]
async fn letter_case_is_random_where_the_server_keeps_it() {
    let leaf = [
        "abcdefghijklmnopqrstuvwxyz.a.example A 192.0.2.80",
        "bcdefghijklmnopqrstuvwxyza.a.example A 192.0.2.81",
    ];
    let net = tree(&[], &[], &leaf).hook(LEAF, |_, message| Fate::SaysFolded(message));
    let scene = Scene::new(net);
    assert_eq!(scene.answer("abcdefghijklmnopqrstuvwxyz.a.example", "A").await, "A 192.0.2.80");
    let asked = |seen: &net::Seen| seen.question[1..27].iter().any(u8::is_ascii_uppercase);
    assert!(asked(scene.net.seen().last().unwrap()));
    assert_eq!(scene.answer("bcdefghijklmnopqrstuvwxyza.a.example", "A").await, "A 192.0.2.81");
    assert!(!asked(scene.net.seen().last().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn the_root_says_who_its_servers_are() {
    let net = tree(&[". NS ns2.root", "ns2.root A 192.0.2.9", "b NS ns.b", "ns.b A 192.0.2.4"], &[], &[])
        .zone("192.0.2.9", ".", &["c A 192.0.2.83", "d A 192.0.2.84", "b NS ns.b", "ns.b A 192.0.2.4"]);
    let scene = Scene::new(net);
    // The first question goes by the hints, and priming beside it.
    scene.answer("www.a.example", "A").await;
    let second: IpAddr = "192.0.2.9".parse().unwrap();
    let mut number = 0;
    while !scene.net.seen().iter().any(|seen| seen.server == second) {
        number += 1;
        assert!(number < 2000, "the second server is never asked");
        scene.answer(&format!("name{number}"), "A").await;
    }
}

/// Says of data from one address that it is bogus.
struct Distrust(IpAddr, Mutex<Vec<String>>);

impl Judge for Distrust {
    fn judge<'a>(&'a self, message: &'a [u8], fetch: &'a dyn Fetch) -> Boxed<'a, Verdict> {
        Box::pin(async move {
            let response = Response::parse(message).unwrap();
            let qname = Name::from_wire(&response.question()[..response.question().len() - 4]).unwrap();
            self.1.lock().unwrap().push(qname.to_string());
            fetch.fetch(&host("a.example"), rtype::DS, Freshness::Known).await.unwrap();
            let IpAddr::V4(address) = self.0 else { unreachable!() };
            match message.ends_with(&address.octets()) {
                true => Verdict::Bogus(Cause { code: 6, text: "forged".to_owned() }),
                false => Verdict::Secure { ttl: 100 },
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_believed_is_asked_last() {
    let tld = ["a.example NS ns2.a.example", "ns2.a.example A 192.0.2.4", "a.example DS ds"];
    let net = || {
        tree(&[], &tld, &["www.a.example A 192.0.2.66", "w2.a.example CNAME www.a.example"]).zone(
            OTHER,
            "a.example",
            &["www.a.example A 192.0.2.80"],
        )
    };
    for _ in 0..20 {
        let judge = Arc::new(Distrust(EVIL.parse().unwrap(), Mutex::default()));
        let scene = Scene::judged(net(), Some(judge));
        let resolved = scene.resolve("www.a.example", "A").await.unwrap();
        assert!(resolved.is_authentic);
        let end = b"\x00\x01\x00\x01\x00\x00\x00\x64\x00\x04\xc0\x00\x02\x50";
        assert!(resolved.message.ends_with(end), "no longer than its signature: {:02x?}", resolved.message);
    }
    // No other server has better.
    let net =
        tree(&[], &["a.example DS ds"], &["www.a.example A 192.0.2.66", "w2.a.example CNAME www.a.example"]);
    let judge = Arc::new(Distrust(EVIL.parse().unwrap(), Mutex::default()));
    let scene = Scene::judged(net, Some(Arc::clone(&judge) as Arc<dyn Judge>));
    let trouble = scene.resolve("w2.a.example", "A").await.unwrap_err();
    assert_eq!((trouble.code(), trouble.to_string().as_str()), (6, "forged"));
    assert_eq!(*judge.1.lock().unwrap(), ["w2.a.example", "www.a.example", "www.a.example"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let net = tree(&[], &[], &[]).hook(LEAF, |seen, _| {
        let text = format!("{} TXT {}", seen.qname, "x".repeat(2000));
        Fate::Says(Message::empty().with(Section::Answer, &text))
    });
    let scene = Scene::new(net);
    for number in 0..4000 {
        scene.answer(&format!("n{number}.a.example"), "TXT").await;
    }
    let weight = scene.recursor.engine.store.weight();
    assert!(weight <= 4 << 20 && weight > 1 << 20, "{weight}");
}
