//! The synchronous half of the query path allocates nothing, once it has run in.
#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sachdns::client::cookie::{Cookies, Secret};
use sachdns::client::limits::{Limits, Rates};
use sachdns::client::prefix::PrefixMap;
use sachdns::client::{Agencies, Agency};
use sachdns::evidence::journal::{Journal, Options};
use sachdns::evidence::ledger::Ledger;
use sachdns::evidence::record::Transport;
use sachdns::feed::source::{FeedAction, Source};
use sachdns::feed::store::Store;
use sachdns::feed::{Format, gate};
use sachdns::resolve::{Resolver, cache, forward};
use sachdns::serve::apply::Sinkhole;
use sachdns::serve::identity::Identity;
use sachdns::serve::pipeline::{Arrival, LogScope, Pipeline, State, Step, Turn, Waiting};
use sachdns::serve::proxy::Proxies;
use sachdns::serve::ready::Ready;
use sachdns::serve::rulebook::Rulebook;
use sachdns::serve::special::Special;
use sachdns::update::{self, Plan};
use sachdns::wire;

/// Whoever is not exempt reaches all of them.
const RATES: Rates = Rates { client: 1, prefix: 1, responses: 1 };

/// An upstream that answers each query with one address.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let query = wire::Query::parse(&buffer[..len]).unwrap();
            let mut answer = buffer[..wire::HEADER + query.question().len()].to_vec();
            answer[2] |= wire::QR;
            answer[7] = 1;
            answer[11] = 0;
            answer.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01");
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

fn query(qname: &str, qtype: u16) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
    for label in qname.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(qtype.to_be_bytes());
    packet.extend(b"\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00");
    packet
}

/// A query with a COOKIE option.
fn with_cookie(mut query: Vec<u8>, cookie: &[u8]) -> Vec<u8> {
    query.truncate(query.len() - 2);
    query.extend(((4 + cookie.len()) as u16).to_be_bytes());
    query.extend(b"\x00\x0a");
    query.extend((cookie.len() as u16).to_be_bytes());
    query.extend(cookie);
    query
}

#[test]
fn no_query_that_is_answered_at_once_allocates() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    std::fs::write(&list, "evil.example\temotet\n").unwrap();
    let zone = folder.path().join("zone.txt");
    let rules = "24.0.9.0.203.rpz-ip CNAME .\n16.0.0.9.10.rpz-client-ip CNAME rpz-passthru.\n\
                 32.5.8.9.10.rpz-client-ip A 10.66.0.1\n";
    std::fs::write(&zone, rules).unwrap();
    let feed = |name: &str, path: &PathBuf, action| Source { action, ..Source::new(name, path.clone()) };
    // Rules on answers last, or the listed name would be resolved first.
    let feeds = [
        feed("authority", &list, FeedAction::default()),
        Source { format: Format::Rpz, ..feed("zone", &zone, FeedAction::Given) },
    ];
    let (gate, versions) = (gate::Options::default(), Store::new(&folder.path().join("feeds")));
    let plan = Plan { canaries: &[], feeds: &feeds, gate: &gate, versions: &versions };
    let (image, _) = update::build(plan, &folder.path().join("policy.img"), 0).unwrap();
    let agency = Agency {
        id: "so-tttt".into(),
        name: "Sở".into(),
        contact: None,
        networks: vec!["10.1.0.0/16".parse().unwrap()],
    };
    let exempt = ["10.1.0.0/16", "10.9.0.0/16"].map(|net| (net.parse().unwrap(), ()));
    let exempt = PrefixMap::new(exempt).unwrap();
    let state = State {
        allow: PrefixMap::new([("10.0.0.0/8".parse().unwrap(), ())]).unwrap().into(),
        forwarders: PrefixMap::new([("10.9.0.0/16".parse().unwrap(), ())]).unwrap().into(),
        limits: Limits::new(RATES, exempt, Instant::now()).into(),
        cookies: Some(Cookies::new(Secret::new([7; 16]), vec![Secret::new([8; 16])])),
        agencies: Agencies::new(vec![agency]).unwrap().into(),
        rules: Rulebook::new(image),
        sinkhole: Sinkhole { addresses: vec!["10.10.10.10".parse().unwrap()], ttl: 30 },
        log: LogScope::All,
        idle: Duration::from_secs(10),
        proxies: None,
        designation: None,
        special: Special::new([]).into(),
        identity: Identity::default(),
        keys: Arc::default(),
        primaries: Arc::default(),
    };
    let options = Options {
        folder: folder.path().join("log"),
        sync: Duration::from_secs(1),
        max_size: Options::LEAST_SIZE,
    };
    let ledger = Ledger::open(&options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let upstreams = forward::Options { upstreams: vec![upstream().into()], ..forward::Options::default() };
    let resolver = Resolver::new(upstreams.into(), &cache::Options::default(), 10, runtime.handle().clone());
    let pipeline = Pipeline::new(
        state,
        Arc::new(resolver),
        Journal::open(0, &ledger),
        Waiting { pending: 10, per_client: 10 },
    );
    let mut journal = Journal::open(1, &ledger);
    let mut ready = Ready::new(1 << 20).unwrap();
    let state = pipeline.state();
    let mut out = Vec::with_capacity(2048);
    let mut run = |packet: &[u8], client: &str| {
        let client: IpAddr = client.parse().unwrap();
        let arrival = Arrival::now(client, Transport::Udp);
        let mut turn = [Some(Turn { packet, arrival, out: &mut out, step: Step::Silent })];
        pipeline.front(&state, &mut turn, arrival.instant, &mut journal, Some(&mut ready));
        journal.commit(1);
        let [turn] = turn;
        turn.map_or(Step::Silent, |turn| turn.step)
    };

    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1, "allocations are counted");

    // What is resolved once is in the cache afterwards.
    let Step::Wait(job) = run(&query("good.example", 1), "10.1.2.3") else {
        panic!("nothing was cached yet")
    };
    drop(runtime.block_on(pipeline.finish(*job, &mut Vec::new())));

    for (what, packet, client) in [
        ("a sinkholed address", query("www.evil.example", 1), "10.1.2.3"),
        ("a sinkholed name's NODATA", query("evil.example", 65), "10.1.2.3"),
        ("a cached answer", query("GOOD.example", 1), "10.1.2.3"),
        ("a cached answer for a client with a rule", query("good.example", 1), "10.9.0.1"),
        ("local data for a client with a rule", query("good.example", 1), "10.9.8.5"),
        ("a first cookie", with_cookie(query("evil.example", 1), &[1; 8]), "10.1.2.3"),
        ("a cookie of another secret", with_cookie(query("good.example", 1), &[1; 24]), "10.1.2.3"),
        ("a malformed cookie", with_cookie(query("good.example", 1), &[1; 9]), "10.1.2.3"),
        ("a refused client", query("good.example", 1), "192.0.2.1"),
        ("a malformed packet", query("good.example", 1)[..20].to_vec(), "10.1.2.3"),
        ("a query too many", query("good.example", 1), "10.2.0.1"),
        ("a query too many, a cookie", with_cookie(query("good.example", 1), &[1; 8]), "10.2.0.1"),
        ("an answer too many", query("evil.example", 1), "10.2.0.1"),
        ("an answer too many, a cookie", with_cookie(query("evil.example", 1), &[1; 8]), "10.2.0.1"),
    ] {
        // Buffers grow to their size the first time; the second time the answer is kept ready.
        for _ in 0..3 {
            assert!(!matches!(run(&packet, client), Step::Wait(_)), "{what}");
        }
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                run(&packet, client);
            }
        });
        assert_eq!(counted.count_total, 0, "{what}");
    }
}

#[test]
fn no_datagram_of_a_balancer_allocates() {
    let proxies = Proxies::new(PrefixMap::new([("127.0.0.9/32".parse().unwrap(), ())]).unwrap());
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x30\x39\0\x35";
    let datagram = [&header[..], &query("good.example", 1)].concat();
    let counted = allocation_counter::measure(|| {
        for peer in ["127.0.0.9:53", "127.0.0.1:53"] {
            assert!(proxies.open(&datagram, peer.parse().unwrap()).is_some());
        }
    });
    assert_eq!(counted.count_total, 0);
}
