//! A root and a few zones whose servers are scripts: for what no honest server says. Within a namespace
//! ([`super::namespace`]): they answer at port 53.
//!
//! The root knows `attack.`, whose server says what the test wants, `other.`, at the same server, and `victim.`, which is honest.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::house::House;
use super::peer::Unbound;
use super::scripted::{Scripted, Seen, Step};
use super::wire::{self, name};

/// Where `attack.` and `other.` are served.
pub(crate) const ATTACKER: [u8; 4] = [127, 20, 0, 66];
const ROOT: [u8; 4] = [127, 20, 0, 1];
const VICTIM: [u8; 4] = [127, 20, 0, 80];

pub(crate) struct Wilds {
    _root: Scripted,
    pub(crate) attacker: Scripted,
    pub(crate) victim: Scripted,
}

impl Wilds {
    /// `attack` is what the attacker says to a query.
    pub(crate) fn start(attack: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let at = |address: [u8; 4]| SocketAddr::from((address, 53));
        let root = Scripted::at(at(ROOT), |query| {
            let qname = query.qname();
            let zone = qname.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
            let server = format!("ns.{zone}");
            match zone {
                "" if query.qtype() == wire::NS => {
                    vec![Step::Send(
                        query.message(wire::AA, [&[ns("", "ns.root")], &[], &[a("ns.root", ROOT)]]),
                    )]
                }
                "root" if query.qtype() == wire::A => say(query, &[a("ns.root", ROOT)]),
                "" | "root" => deny(query, 0, &[soa("")]),
                "attack" | "other" => refer(query, &[ns(zone, &server)], &[a(&server, ATTACKER)]),
                "victim" => refer(query, &[ns(zone, &server)], &[a(&server, VICTIM)]),
                _ => deny(query, 3, &[soa("")]),
            }
        });
        let attacker = Scripted::at(at(ATTACKER), attack);
        let victim = Scripted::at(at(VICTIM), |query| match &*query.qname() {
            "www.victim." if query.qtype() == wire::A => say(query, &[a("www.victim", [192, 0, 2, 80])]),
            "www.victim." | "victim." => deny(query, 0, &[soa("victim")]),
            _ => deny(query, 3, &[soa("victim")]),
        });
        Self { _root: root, attacker, victim }
    }

    /// A house that recurses here; `anchor` is a DS record that is trusted, or empty: then nothing is validated.
    pub(crate) fn house(&self, anchor: &str) -> House {
        let anchors = if anchor.is_empty() { "dnssec = false\n" } else { "trust_anchors = [\"anchors\"]\n" };
        let house = House::with_config(&format!(
            "data_dir = \"data\"\n[server]\nlisten = [\"127.0.0.1:0\"]\n[resolver]\nmode = \"recurse\"\n\
             root_hints = \"root.hints\"\ndeadline = \"2s\"\n{anchors}[sinkhole]\nhttp_listen = []\n"
        ));
        house.write("root.hints", HINTS);
        house.write("anchors", anchor);
        house
    }

    /// Unbound, which validates by this anchor, in a folder of this house.
    pub(crate) fn unbound(&self, house: &House, anchor: &str) -> Unbound {
        let file = |name: &str, text: &str| -> PathBuf {
            let path = house.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        Unbound::start(&[], &file("unbound.hints", HINTS), &file("unbound.anchors", anchor), "")
    }
}

const HINTS: &str = ". 3600 NS ns.root.\nns.root. 3600 A 127.20.0.1\n";

pub(crate) fn rr(owner: &str, rtype: u16, rdata: &[u8]) -> Vec<u8> {
    wire::record(&name(owner), rtype, wire::IN, 300, rdata)
}

pub(crate) fn a(owner: &str, address: [u8; 4]) -> Vec<u8> {
    rr(owner, wire::A, &address)
}

pub(crate) fn ns(zone: &str, server: &str) -> Vec<u8> {
    rr(zone, wire::NS, &name(server))
}

pub(crate) fn soa(zone: &str) -> Vec<u8> {
    rr(zone, wire::SOA, &[&name("ns")[..], &name("nobody"), &[0; 16], &300u32.to_be_bytes()].concat())
}

/// Says these records with authority.
pub(crate) fn say(query: &Seen, answer: &[Vec<u8>]) -> Vec<Step> {
    vec![Step::Send(query.message(wire::AA, [answer, &[], &[]]))]
}

/// Refers to a zone's server.
pub(crate) fn refer(query: &Seen, authority: &[Vec<u8>], additional: &[Vec<u8>]) -> Vec<Step> {
    vec![Step::Send(query.message(0, [&[], authority, additional]))]
}

/// `www.attack` has an address; all else below `attack` has no data.
pub(crate) fn honest(query: &Seen) -> Vec<Step> {
    match query.qtype() {
        wire::A if query.qname() == "www.attack." => say(query, &[a("www.attack", [192, 0, 2, 66])]),
        _ => vec![Step::Send(query.message(wire::AA, [&[], &[soa("attack")], &[]]))],
    }
}

/// TC: ask over TCP.
pub(crate) fn cut(query: &Seen) -> Vec<Step> {
    vec![Step::Send(query.message(wire::AA | wire::TC, [&[], &[], &[]]))]
}

/// Denies the name (3) or the type (0), with these records.
pub(crate) fn deny(query: &Seen, rcode: u16, authority: &[Vec<u8>]) -> Vec<Step> {
    vec![Step::Send(query.message(wire::AA | rcode, [&[], authority, &[]]))]
}
