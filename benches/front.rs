//! What the synchronous half of the query path costs: nanoseconds a query, its record written, in batches
//! of 64 as a UDP worker does it; the socket calls are not in it.
//!
//! `cargo bench --bench front` asks a list of a million random names and a cache of 50 thousand;
//! `SACHDNS_BENCH=once` runs a small size once, so that the bench cannot rot.

mod random;

use std::hint::black_box;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use random::Random;
use sachdns::client::limits::{Limits, Rates};
use sachdns::client::prefix::PrefixMap;
use sachdns::evidence::journal::{Journal, Options};
use sachdns::evidence::keeper::Keeper;
use sachdns::evidence::ledger::Ledger;
use sachdns::evidence::record::Transport;
use sachdns::feed::source::Source;
use sachdns::feed::store::Store;
use sachdns::feed::{Format, gate};
use sachdns::resolve::{Resolver, cache, forward};
use sachdns::serve::apply::Sinkhole;
use sachdns::serve::identity::Identity;
use sachdns::serve::pipeline::{Arrival, LogScope, Pipeline, State, Step, Turn, Waiting};
use sachdns::serve::ready::Ready;
use sachdns::serve::rulebook::Rulebook;
use sachdns::serve::special::Special;
use sachdns::update::{self, Plan};
use sachdns::wire;

const BATCH: usize = 64;
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

fn main() {
    let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
    let (listed, cached, queries, repetitions) =
        if is_short { (1000, 100, 10_000, 1) } else { (1_000_000, 50_000, 500_000, 5) };
    let folder = std::env::temp_dir().join(format!("sachdns-front-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");

    let mut random = Random(1);
    let evil: Vec<String> = (0..listed).map(|_| random.name()).collect();
    let good: Vec<Vec<u8>> = (0..cached).map(|_| query(&format!("{}.example", random.name()))).collect();
    for scope in [LogScope::All, LogScope::Hits] {
        let bench = Bench::new(&folder, &evil, scope);
        for packet in &good {
            bench.resolve(packet);
        }
        let hits: Vec<Vec<u8>> = (0..queries).map(|_| query(&evil[random.below(evil.len())])).collect();
        // A few names are asked for most of the time, most names hardly ever.
        let popular: Vec<&Vec<u8>> = (0..queries)
            .map(|_| {
                &good
                    [(good.len() as f64).powf(random.below(1 << 20) as f64 / f64::from(1 << 20)) as usize - 1]
            })
            .collect();
        if scope == LogScope::All {
            println!("| load | log | ns a query |");
            println!("|---|---|--:|");
        }
        let log = if scope == LogScope::All { "all" } else { "hits" };
        println!(
            "| listed names, all over the list | {log} | {} |",
            bench.measure(&hits.iter(), repetitions)
        );
        println!(
            "| cached names, popular ones first | {log} | {} |",
            bench.measure(&popular.iter().copied(), repetitions)
        );
    }
    std::fs::remove_dir_all(&folder).expect("the temporary folder is ours");
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    pipeline: Pipeline,
    ledger: Arc<Ledger>,
    _keeper: Keeper,
}

impl Bench {
    fn new(folder: &Path, names: &[String], log: LogScope) -> Self {
        let list = folder.join("list.txt");
        let mut file =
            std::io::BufWriter::new(std::fs::File::create(&list).expect("the folder can be written"));
        for name in names {
            writeln!(file, "{name}").expect("the folder can be written");
        }
        file.into_inner().expect("the folder can be written");
        let feeds = [Source { format: Format::Plain, ..Source::new("bench", list) }];
        let (gate, versions) = (gate::Options::default(), Store::new(&folder.join("feeds")));
        let plan = Plan { canaries: &[], feeds: &feeds, gate: &gate, versions: &versions };
        let (image, _) = update::build(plan, &folder.join("policy.img"), 0).expect("the list is sound");
        let state = State {
            allow: PrefixMap::new([("10.0.0.0/8".parse().expect("a network"), ())])
                .expect("one network")
                .into(),
            forwarders: Arc::default(),
            limits: Limits::new(Rates::default(), PrefixMap::default(), Instant::now()).into(),
            cookies: None,
            agencies: Arc::default(),
            rules: Rulebook::new(image),
            sinkhole: Sinkhole { addresses: vec![[10, 10, 10, 10].into()], ttl: 30 },
            log,
            idle: Duration::from_secs(10),
            proxies: None,
            designation: None,
            special: Special::new([]).into(),
            identity: Identity::default(),
            keys: Arc::default(),
            primaries: Arc::default(),
        };
        let options =
            Options { folder: folder.join("log"), sync: Duration::from_secs(1), max_size: 256 << 20 };
        let ledger = Ledger::open(&options).expect("the folder can be written");
        let keeper = Keeper::start(&ledger).expect("a thread");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let upstreams =
            forward::Options { upstreams: vec![upstream().into()], ..forward::Options::default() };
        let resolver =
            Resolver::new(upstreams.into(), &cache::Options::default(), 100, runtime.handle().clone());
        let waiting = Waiting { pending: 100, per_client: 100 };
        let pipeline = Pipeline::new(state, Arc::new(resolver), Journal::open(0, &ledger), waiting);
        Self { runtime, pipeline, ledger, _keeper: keeper }
    }

    fn resolve(&self, packet: &[u8]) {
        let state = self.pipeline.state();
        let arrival = Arrival::now(CLIENT, Transport::Udp);
        let step = self.pipeline.with_journal(|journal| {
            self.pipeline.front_one(&state, packet, arrival, journal, &mut Vec::new())
        });
        if let Step::Wait(job) = step {
            drop(self.runtime.block_on(self.pipeline.finish(*job, &mut Vec::new())));
        }
    }

    /// The median of all repetitions.
    fn measure<'a>(&self, packets: &(impl Iterator<Item = &'a Vec<u8>> + Clone), repetitions: usize) -> u128 {
        let mut journal = Journal::open(1, &self.ledger);
        let mut ready = Ready::new(32 << 20);
        let mut outs: Vec<Vec<u8>> = (0..BATCH).map(|_| Vec::with_capacity(2048)).collect();
        let mut times: Vec<u128> = (0..repetitions)
            .map(|_| {
                let begun = Instant::now();
                let mut count = 0;
                let mut packets = packets.clone().peekable();
                while packets.peek().is_some() {
                    let state = self.pipeline.state();
                    let arrival = Arrival::now(CLIENT, Transport::Udp);
                    let mut turns = [const { None }; BATCH];
                    for (turn, (packet, out)) in turns.iter_mut().zip(packets.by_ref().zip(&mut outs)) {
                        *turn = Some(Turn { packet: black_box(packet), arrival, out, step: Step::Silent });
                    }
                    self.pipeline.front(&state, &mut turns, arrival.instant, &mut journal, ready.as_mut());
                    for turn in turns.iter().flatten() {
                        assert!(matches!(turn.step, Step::Answered), "every answer is there already");
                        count += 1;
                    }
                    black_box(&outs);
                    journal.commit(arrival.time);
                }
                begun.elapsed().as_nanos() / count
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    }
}

/// An upstream that answers each query with one address for an hour.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let Ok(query) = wire::Query::parse(&buffer[..len]) else { continue };
            let mut answer = buffer[..wire::HEADER + query.question().len()].to_vec();
            answer[2] |= wire::QR;
            answer[7] = 1;
            answer[11] = 0;
            answer.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02\x01");
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

fn query(qname: &str) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
    for label in qname.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.extend(b"\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    packet
}
