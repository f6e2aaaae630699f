//! Thousands of bots that come again and again cost the sinkhole neither descriptors nor memory, and DNS nothing.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::cases::wait_for_cases;
use crate::harness::house::Setup;
use crate::harness::nsd;
use crate::harness::server::Server;
use crate::sinkhole::{contacts, listening};

/// Connections that the sinkhole may have at once: to its page, and to its other ports.
const PAGE: usize = 64;
const OTHERS: usize = 128;
/// Bots that connect and say nothing.
const SILENT: u32 = 3000;
/// How long bots loop.
const LOOPING: Duration = Duration::from_secs(4);
/// How much memory all of this may take: the rows of a minute, queues, the database's pages.
const MOST_MEMORY: u64 = 96 << 20;

/// A bot's address: 127.64.0.0 and up.
fn bot(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x7f40_0000 + number), 0))
}

/// A connection from a bot; `None` where there is none to be had just now.
fn connect(number: u32, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&bot(number).into()).unwrap();
    socket.connect_timeout(&to.into(), Duration::from_secs(5)).ok()?;
    Some(socket.into())
}

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid().as_raw_nonzero())).unwrap().count()
}

fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn thousands_of_bots_take_neither_descriptors_nor_memory_nor_dns() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();

    let mut server = Setup::new(nsd::address())
        .sinkhole(
            "ipv4 = \"127.0.0.1\"\nipv6 = \"\"\nhttp_listen = [\"127.0.0.1:0\"]\nhttps_listen = [\"127.0.0.1:0\"]\n\
             tcp_listen = [\"127.0.0.1:0\"]\nudp_listen = [\"127.0.0.1:0\"]\n",
        )
        .feed("authority", "evil.example.test\n")
        .more(&format!(
            "[limits]\nhttp_connections = {PAGE}\nhttp_per_client = 4\nsinkhole_connections = {OTHERS}\n\
             sinkhole_per_client = 4\n"
        ))
        .serve();
    let (page, https) = (server.http.unwrap(), listening(&server, "sinkhole-https")[0]);
    let (tcp, udp) = (listening(&server, "sinkhole-tcp")[0], listening(&server, "sinkhole-udp")[0]);
    server.dig().ask("evil.example.test", "A");
    let mut stream = connect(9999, page).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: evil.example.test\r\n\r\n").unwrap();
    // All that records, joins and follows has its files open by then.
    let has_contact = |cases: &[Value]| cases.iter().any(|case| case["contacts"] == 1);
    wait_for_cases(server.house(), "there is a case", has_contact);
    drop(stream);
    let (files_before, memory_before) = (descriptors(&server), memory(&server));

    let is_over = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    let (mut most_files, mut most_memory, mut slowest) = (0, 0, Duration::ZERO);
    std::thread::scope(|scope| {
        let (is_over, made) = (&is_over, &made);
        // They keep their connections and say nothing.
        let silent = scope.spawn(move || {
            let ports = [page, https, tcp];
            let streams: Vec<_> =
                (0..SILENT).filter_map(|n| connect(n, ports[n as usize % ports.len()])).collect();
            made.fetch_add(streams.len() as u64, Ordering::Relaxed);
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // They come, say something and come again, each time with another path.
        for (from, to) in [(10_000, page), (20_000, tcp), (30_000, https)] {
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    let Some(mut stream) = connect(from + number % 5000, to) else { continue };
                    let request = format!("GET /{number} HTTP/1.1\r\nHost: evil.example.test\r\n\r\n");
                    let _ = stream.write_all(request.as_bytes());
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(move || {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                let socket = UdpSocket::bind(bot(40_000 + number % 20_000)).unwrap();
                let _ = socket.send_to(&number.to_be_bytes(), udp);
                number += 1;
            }
        });
        let until = Instant::now() + LOOPING;
        while Instant::now() < until
            || !(silent.is_finished() || made.load(Ordering::Relaxed) >= SILENT.into())
        {
            let begun = Instant::now();
            let reply = server.dig().ask("evil.example.test", "A");
            slowest = slowest.max(begun.elapsed());
            assert_eq!(reply.rdata("A"), ["127.0.0.1"]);
            most_files = most_files.max(descriptors(&server));
            most_memory = most_memory.max(memory(&server));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let grown = most_memory.saturating_sub(memory_before);
    let told = format!(
        "{} connections, {most_files} descriptors ({files_before} before), {} MB more, slowest dig {slowest:?}",
        made.load(Ordering::Relaxed),
        grown >> 20
    );
    eprintln!("{told}");
    // A few for what is accepted and closed at once, and for queries of ours.
    assert!(most_files <= files_before + PAGE + OTHERS + 16, "{told}");
    assert!(grown <= MOST_MEMORY, "{told}");
    assert!(slowest < Duration::from_secs(5), "{told}");
    assert!(made.load(Ordering::Relaxed) >= u64::from(SILENT), "{told}");
    // Nothing is lost without a word: what came is in the rows or in the gaps.
    let text = server.house().run("contacts gaps", &["--format", "jsonl"]).well().stdout;
    let missed: u64 = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["count"].as_u64().unwrap())
        .sum();
    let kept: u64 = contacts(&server, &[]).iter().map(|it| it.count).sum();
    assert!(kept + missed >= made.load(Ordering::Relaxed) * 9 / 10, "{kept} kept, {missed} missed; {told}");
    server.assert_well();
}
