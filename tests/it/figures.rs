//! What the server tells of itself: figures that Prometheus can read, and whether it is well.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::house::Setup;
use crate::harness::http::fetch;
use crate::harness::server::Server;
use crate::harness::staff::console;
use crate::harness::{nsd, wait_until};

/// Reads an exposition from standard input as Prometheus does, and prints each sample as one line.
const READ: &str = "import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type in ('counter', 'gauge'), family.name
    for it in family.samples:
        print(it.name + ''.join(f' {k}={v}' for k, v in sorted(it.labels.items())), it.value)
";

/// The samples by name and labels.
fn figures(server: &Server) -> HashMap<String, f64> {
    let response = fetch(console(server), "console.test", "/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sheets/bin/python");
    assert!(python.exists(), "{}: run tests/install-deps.sh", python.display());
    let mut reader =
        Command::new(python).args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut reader.stdin.take().unwrap(), response.body.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", response.body);
    let text = String::from_utf8(output.stdout).unwrap();
    let samples = text.lines().map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

fn health(server: &Server, path: &str) -> (u16, Value) {
    let response = fetch(console(server), "console.test", path);
    (response.status, serde_json::from_str(&response.body).unwrap())
}

#[test]
fn figures_count_what_happened() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .more("[console]\nlisten = \"127.0.0.1:0\"\n")
        .serve();
    for _ in 0..3 {
        server.dig().ask("evil.example", "A");
    }
    server.dig().ask("www.internet.test", "A");
    server.dig().with("+tcp").ask("evil.example", "AAAA");
    // What was given out is kept for a moment.
    let of = |name: &str| figures(&server).get(name).copied().unwrap_or_default();
    wait_until("the figures are renewed", || of("sachdns_hits_total") == 4.0);
    let all = figures(&server);
    let queries = |labels: &str| all.get(&format!("sachdns_queries_total {labels}")).copied();
    assert_eq!(queries("action=sinkhole rcode=NOERROR transport=udp"), Some(3.0), "{all:#?}");
    assert_eq!(queries("action=sinkhole rcode=NOERROR transport=tcp"), Some(1.0));
    let forwarded: f64 = all
        .iter()
        .filter(|(name, _)| name.starts_with("sachdns_queries_total action=forward "))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(forwarded, 1.0, "{all:#?}");
    for (name, expected) in [
        ("sachdns_log_records_total", 5.0),
        ("sachdns_log_lost_total", 0.0),
        ("sachdns_log_hits_only", 0.0),
        ("sachdns_pending_queries", 0.0),
        ("sachdns_feed_indicators feed=authority", 1.0),
        ("sachdns_feed_refused feed=authority", 0.0),
    ] {
        assert_eq!(all.get(name).copied(), Some(expected), "{name}: {all:#?}");
    }
    assert_eq!(all["sachdns_workers"], all["sachdns_workers_configured"]);
    assert!(all["sachdns_disk_free_bytes"] > 0.0 && all["sachdns_policy_names"] >= 1.0);
    for path in ["/healthz", "/readyz"] {
        let (status, told) = health(&server, path);
        assert_eq!((status, &told["ready"]), (200, &Value::Bool(true)), "{told}");
        assert_eq!(told["parts"]["log"]["state"], "ok", "{told}");
    }
}

#[test]
fn who_may_not_read_figures_is_told_so() {
    let server = Setup::new(nsd::address())
        .more("[console]\nlisten = \"127.0.0.1:0\"\nmetrics_allow = [\"192.0.2.0/24\"]\n")
        .serve();
    let refused = fetch(console(&server), "console.test", "/metrics");
    assert!(matches!(refused.status, 303 | 401), "{}", refused.head);
    assert!(!refused.body.contains("sachdns_"));
}

#[test]
fn a_server_without_upstreams_is_not_ready() {
    // Nobody is there: the port is refused at once.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let server = Setup::new(address)
        .feed("authority", "evil.example\n")
        .more("[console]\nlisten = \"127.0.0.1:0\"\n")
        .serve();
    wait_until("it is told that no upstream answers", || {
        server.dig().ask(&format!("{}.example", rand_label()), "A");
        health(&server, "/readyz").0 == 503
    });
    let (status, told) = health(&server, "/healthz");
    assert_eq!((status, &told["parts"]["upstreams"]["state"]), (503, &Value::from("failed")), "{told}");
    // What needs nobody is answered all the same.
    assert_eq!(server.dig().ask("evil.example", "A").rdata("A"), ["10.10.10.10"]);
}

/// A name that was not asked for yet.
fn rand_label() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("n{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
