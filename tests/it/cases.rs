//! From a hit to a clean machine: cases of the right machines within seconds, a click on the landing page, days that pass, and a relapse.
//!
//! Days pass by `faketime`: the machine's clock itself is what moves, under the real server and its commands. That needs no switch in
//! the product that somebody could throw in a real province, and moves everything, as time does.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::dig::Dig;
use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::namespace::inside;
use crate::harness::province::{Machine, Program};
use crate::harness::scripted::Scripted;
use crate::harness::server::Server;
use crate::harness::{PATIENCE, run, wait_until, within};

/// Within this time a hit is a case.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The server as clients see it, and where sinkholed names lead.
pub(crate) const DNS: &str = "10.0.0.53";
pub(crate) const SINKHOLE: &str = "10.10.10.10";
/// The DNS server of an [`Office`], as its machines see it.
pub(crate) const FORWARDER: &str = "10.1.0.1";
/// A name that nobody lists.
pub(crate) const HARMLESS: &str = "www.example.test";
/// The clock's file, as faketime reads it.
pub(crate) const CLOCK: &str = "clock";

const AGENCIES: &str = r#"
[[agency]]
id = "so-yt"
name = "Sở Y tế"
networks = ["10.1.0.0/24", "10.0.1.0/30"]
forwarders = ["10.0.1.2/32"]
officer = "Trần Thị B"
[[agency]]
id = "so-gd"
name = "Sở Giáo dục và Đào tạo"
networks = ["10.2.0.0/24"]
[[agency]]
id = "so-xd"
name = "Sở Xây dựng"
networks = ["10.3.0.0/24"]
[cases]
quiet_days = 2
"#;

/// All cases, closed ones too, by machine, class and family.
pub(crate) fn cases(house: &House) -> Vec<Value> {
    let listed = house.run("case list", &["--all", "--format", "jsonl"]);
    // There are none before the server has made the database.
    if listed.code() != 0 {
        return Vec::new();
    }
    listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// Waits until the cases are as `is_so` wants them, and shows them where they never are.
#[track_caller]
pub(crate) fn wait_for_cases(house: &House, what: &str, is_so: impl Fn(&[Value]) -> bool) {
    let start = Instant::now();
    loop {
        let seen = cases(house);
        if is_so(&seen) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}: {seen:#?}");
    }
}

/// The case of a machine (by what it is called) and class.
pub(crate) fn find(house: &House, machine: &str, class: &str) -> Option<Value> {
    let is_it = |case: &Value| text(case, "machine") == machine && text(case, "class") == class;
    cases(house).into_iter().find(is_it)
}

#[track_caller]
pub(crate) fn case(house: &House, machine: &str, class: &str) -> Value {
    find(house, machine, class).unwrap_or_else(|| panic!("no case of {machine}: {:#?}", cases(house)))
}

#[track_caller]
pub(crate) fn steps(house: &House, ticket: &str) -> Vec<String> {
    let shown = house.run("case show", &[ticket, "--format", "jsonl"]).well();
    let file: Value = serde_json::from_str(&shown.stdout).unwrap();
    file["steps"].as_array().unwrap().iter().map(|step| text(step, "what").to_owned()).collect()
}

/// A machine that looks a name up at this server and goes there.
#[track_caller]
pub(crate) fn call_home(machine: &Machine, server: &str, name: &str) {
    let reply = Dig::at(format!("{server}:53").parse().unwrap()).inside(machine.words()).ask(name, "A");
    assert_eq!(reply.answer[0].rdata, SINKHOLE, "{}", reply.raw);
    let host = format!("Host: {name}");
    machine.run("curl", &["-sS", "-m", "20", "-H", &host, "http://10.10.10.10/gate.php"]).well();
}

/// A machine that asks for something harmless.
#[track_caller]
pub(crate) fn ask(machine: &Machine, server: &str, name: &str) {
    let reply = Dig::at(format!("{server}:53").parse().unwrap()).inside(machine.words()).ask(name, "A");
    assert_eq!(reply.status, "NOERROR");
}

/// A person who reads the landing page and clicks "I have cleaned this machine".
#[track_caller]
fn click_cleaned(machine: &Machine, name: &str) {
    let (host, origin) = (format!("Host: {name}"), format!("Origin: http://{name}"));
    let page = machine
        .run("curl", &["-sS", "-H", &host, "-H", "Accept: text/html", "http://10.10.10.10/"])
        .well()
        .stdout;
    let value = |field: &str| {
        let start = format!("name=\"{field}\" value=\"");
        let rest = page.split_once(&start).unwrap_or_else(|| panic!("no {field}: {page}")).1;
        rest.split_once('"').unwrap().0.to_owned()
    };
    let fields = ["token", "ticket", "language"].map(|field| format!("{field}={}", value(field)));
    let mut arguments = vec!["-sS", "-H", &host, "-H", &origin, "-H", "Accept: text/html"];
    arguments.extend(fields.iter().flat_map(|field| ["--data-urlencode", field]));
    arguments.extend(["--data-urlencode", "note=đã quét bằng Bkav", "-d", "said=clean"]);
    arguments.extend(["-w", "%{http_code}", "http://10.10.10.10/~sachdns/said"]);
    let thanks = machine.run("curl", &arguments).well().stdout;
    assert!(thanks.contains("Cảm ơn"), "{thanks}");
}

/// A server whose clock a test moves.
pub(crate) fn serve(setup: Setup) -> Server {
    let house = setup.lay();
    house.write(CLOCK, "+0d");
    let clock = house.path().join(CLOCK);
    let words = [
        "env",
        "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1",
        &format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1",
        // Waits take as long as they do.
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    let words = words.map(str::to_owned).to_vec();
    house.inside(words).serve()
}

/// Gives us the addresses of the server and of the sinkhole.
pub(crate) fn have_addresses() {
    for address in [DNS, SINKHOLE] {
        run(within(&[], "ip").args(["address", "add", &format!("{address}/32"), "dev", "lo"])).well();
    }
}

/// A server at these addresses, to be completed.
pub(crate) fn province(upstream: &Scripted) -> Setup {
    Setup::new(upstream.address)
        .listen("10.0.0.53:53")
        .allow(r#"["10.0.0.0/8"]"#)
        .sinkhole("ipv4 = \"10.10.10.10\"\nipv6 = \"\"\nttl = 30\nhttp_listen = [\"10.10.10.10:80\"]\n")
}

/// An agency behind a DNS server and a NAT of its own, through which only the sinkhole is routed.
pub(crate) struct Office {
    /// At 10.1.0.11 and 10.1.0.12.
    pub(crate) machines: [Machine; 2],
    _dnsmasq: Program,
    _router: Machine,
}

impl Office {
    /// Its dnsmasq has these options too.
    #[track_caller]
    pub(crate) fn open(options: &[&str]) -> Self {
        let router = Machine::behind("10.0.1.1/30", "10.0.1.2/30");
        let machines = [Machine::new(), Machine::new()];
        machines[0].plug(Some(&router), "10.1.0.1/32", "10.1.0.11/24");
        machines[1].plug(Some(&router), "10.1.0.1/32", "10.1.0.12/24");
        let routing = "echo 1 > /proc/sys/net/ipv4/ip_forward\n\
            ip route add 10.1.0.11/32 dev $1; ip route add 10.1.0.12/32 dev $2\n\
            nft 'table ip nat { chain out { type nat hook postrouting priority 100; \
            oifname \"eth0\" ip daddr != 10.10.10.10 masquerade; }; }'";
        router.run("sh", &["-ec", routing, "sh", &machines[0].port(), &machines[1].port()]).well();
        run(within(&[], "ip").args(["route", "add", "10.1.0.0/24", "via", "10.0.1.2"])).well();
        let mut arguments = vec![
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--pid-file=",
            "--user=root",
            "--bind-interfaces",
            "--listen-address=10.1.0.1",
            "--server=10.0.0.53",
        ];
        arguments.extend(options);
        let dnsmasq = router.start("dnsmasq", &arguments);
        Self { machines, _dnsmasq: dnsmasq, _router: router }
    }
}

/// It may take a moment until the forwarder answers.
#[track_caller]
pub(crate) fn await_forwarder(machine: &Machine) {
    let to_forwarder = || Dig::at(format!("{FORWARDER}:53").parse().unwrap()).inside(machine.words());
    wait_until("the forwarder answers", || {
        !to_forwarder().with("+time=1").with("+tries=1").is_ignored(HARMLESS, "A")
    });
}

#[test]
fn machines_are_followed_until_they_are_clean() {
    inside(|| {
        have_addresses();
        let Office { machines: [infected, innocent], .. } = &Office::open(&[]);
        // One with leases, and a plain one.
        let leased = Machine::behind("10.2.0.1/24", "10.2.0.20/24");
        let plain = Machine::behind("10.3.0.1/24", "10.3.0.30/24");

        let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
        let server = serve(
            province(&upstream)
                .csv("authority", "domain,family\nevil.example,emotet\nlogin.bank.example,Phishing kit\n")
                .more(AGENCIES),
        );
        let house = server.house();
        house.write("dnsmasq.leases", "2000000000 aa:bb:cc:00:00:20 10.2.0.20 PC-GD-20 *\n");
        house.run("identity import", &["dnsmasq.leases", "--agency", "so-gd"]).well();
        await_forwarder(innocent);

        let start = Instant::now();
        call_home(infected, FORWARDER, "c2.evil.example");
        call_home(&leased, DNS, "evil.example");
        call_home(&plain, DNS, "update.evil.example");
        call_home(&plain, DNS, "login.bank.example");
        ask(innocent, FORWARDER, HARMLESS);
        let wanted = [("10.1.0.11", "c2"), ("m-1", "c2"), ("10.3.0.30", "c2"), ("10.3.0.30", "phishing")];
        let came = Instant::now();
        wait_until("the right machines have cases", || {
            wanted
                .iter()
                .all(|(machine, class)| find(house, machine, class).is_some_and(|it| it["contacts"] == 1))
        });
        let (all, last) = (start.elapsed(), came.elapsed());
        assert!(last < AT_ONCE, "{last:?} after the last of them came, {all:?} after the first");
        assert_eq!(cases(house).len(), wanted.len(), "{:#?}", cases(house));
        let behind = case(house, "10.1.0.11", "c2");
        let of = |key| text(&behind, key);
        assert_eq!((of("agency"), of("officer"), of("family")), ("so-yt", "Trần Thị B", "emotet"));
        // Its query came by the forwarder, who is not blamed for it.
        assert_eq!(behind["queries"], 0);
        let known = case(house, "m-1", "c2");
        assert_eq!((text(&known, "host"), text(&known, "client")), ("PC-GD-20", "10.2.0.20"));

        // Two people say that they have cleaned their machines, one by the page and one on the telephone.
        click_cleaned(&leased, "evil.example");
        let ticket_behind = text(&behind, "ticket").to_owned();
        house.run("case notified", &[&ticket_behind, "gọi điện thoại", "--by", "Lê Văn A"]).well();
        house.run("case clean", &[&ticket_behind, "--by", "Lê Văn A"]).well();
        let ticket = text(&known, "ticket").to_owned();
        assert_eq!(text(&case(house, "m-1", "c2"), "state"), "cleaned");
        let shown = house.run("case show", &[&ticket]).well().stdout;
        assert!(shown.contains("said-clean by visitor 10.2.0.20: đã quét bằng Bkav"), "{shown}");

        // Days pass. One machine is used; the others are off.
        for day in 1..=3 {
            house.write(CLOCK, &format!("+{day}d"));
            let before = text(&case(house, "m-1", "c2"), "last_asked").to_owned();
            assert_ne!(text(&case(house, "m-1", "c2"), "state"), "closed", "day {day}");
            ask(&leased, DNS, HARMLESS);
            wait_until("the machine was seen asking", || {
                text(&case(house, "m-1", "c2"), "last_asked") != before
            });
        }
        let clean = case(house, "m-1", "c2");
        assert_eq!((text(&clean, "state"), &clean["quiet_days"]), ("closed", &Value::from(2)), "{clean:#?}");
        assert!(clean["seconds_to_clean"].as_i64().is_some_and(|seconds| seconds < 120), "{clean:#?}");
        let off = case(house, "10.1.0.11", "c2");
        assert_eq!(text(&off, "state"), "cleaned", "off is not clean");
        house.run("case close", &[&ticket_behind, "--reason", "đã cài lại", "--by", "Lê Văn A"]).well();
        assert_eq!(text(&case(house, "10.1.0.11", "c2"), "state"), "closed");
        assert_eq!(text(&case(house, "10.3.0.30", "c2"), "state"), "new", "nobody said anything of it");

        // And it comes back.
        call_home(&leased, DNS, "evil.example");
        wait_until("the case is open again", || text(&case(house, "m-1", "c2"), "state") == "new");
        assert_eq!(text(&case(house, "m-1", "c2"), "ticket"), ticket);
        assert_eq!(steps(house, &ticket), ["opened", "said-clean", "watched", "closed", "reopened"]);

        // What was done outlives a kill, and what was recorded is not taken in twice.
        let before = case(house, "10.3.0.30", "phishing");
        let stopped = server.stop(rustix::process::Signal::KILL);
        let server = stopped.house.serve();
        call_home(&plain, DNS, "evil.example");
        let house = server.house();
        wait_until("the next one is taken in", || case(house, "10.3.0.30", "c2")["contacts"] == 2);
        let after = case(house, "10.3.0.30", "phishing");
        for key in ["ticket", "state", "queries", "contacts", "first_hit", "last_hit", "reopened"] {
            assert_eq!(after[key], before[key], "{key}");
        }
        assert_eq!(case(house, "10.3.0.30", "c2")["queries"], 2);
    });
}

#[test]
fn a_reload_changes_how_cases_are_kept() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let setup = |most: u32| {
        Setup::new(upstream.address)
            .csv("authority", "domain,family\nevil.example,emotet\n")
            .more(&format!("[cases]\nmax_open = {most}\n"))
    };
    let server = setup(1).serve();
    let house = server.house();
    server.dig().from("127.0.0.11").ask("evil.example", "A");
    wait_until("the first machine has a case", || cases(house).len() == 1);
    server.dig().from("127.0.0.12").ask("evil.example", "A");
    let told = |line: &str| line.contains("there are cases.max_open open ones already");
    assert!(server.stderr().wait(PATIENCE, told).is_some(), "{}", server.stderr().text());
    house.write(CONFIG, &setup(2).text());
    let reloaded = server.reload().well();
    assert!(!reloaded.stdout.contains("restart"), "{}", reloaded.stdout);
    server.dig().from("127.0.0.12").ask("evil.example", "A");
    wait_until("the second machine has one too", || cases(house).len() == 2);
}

#[test]
fn a_page_that_a_scanner_is_shown_later_is_of_the_scan() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let server =
        Setup::new(upstream.address).csv("authority", "domain,family\nevil.example,emotet\n").serve();
    let house = server.house();
    let page = format!("http://{}/", server.http.unwrap());
    let look = |number: usize, kind: &str| {
        let (host, kind) = (format!("Host: n{number}.evil.example"), format!("Sec-Fetch-Dest: {kind}"));
        run(within(&[], "curl").args(["-sS", "-H", &host, "-H", &kind, &page])).well();
    };
    let is_scan = |cases: &[Value]| cases.len() == 1 && text(&cases[0], "class") == "scan";
    (0..9).for_each(|number| look(number, "script"));
    wait_for_cases(house, "it is one case, of a scan", |cases| is_scan(cases) && cases[0]["contacts"] == 9);
    // Like one of before, so that no contact follows that would tell of it.
    look(0, "document");
    wait_for_cases(house, "its case has become one with that", |cases| {
        is_scan(cases) && steps(house, text(&cases[0], "ticket")).iter().any(|step| step == "merged")
    });
}

#[test]
fn each_query_and_contact_counts_once_wherever_the_process_ends() {
    const ROUNDS: u64 = 4;
    const EACH: u64 = 6;
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let mut server =
        Setup::new(upstream.address).csv("authority", "domain,family\nevil.example,emotet\n").serve();
    let counted = |server: &Server, queries: u64, contacts: u64| {
        wait_for_cases(server.house(), "all are counted", |cases| {
            cases.len() == 1 && cases[0]["queries"] == queries && cases[0]["contacts"] == contacts
        });
    };
    for round in 1..=ROUNDS {
        let page = format!("http://{}/gate.php", server.http.unwrap());
        for _ in 0..EACH {
            server.dig().ask("evil.example", "A");
            run(within(&[], "curl").args(["-sS", "-H", "Host: evil.example", &page])).well();
        }
        // Contacts are written a moment behind their answers; that may be lost, and is no matter here.
        counted(&server, round * EACH + 2 * (round - 1), round * EACH);
        // These are in the log, whatever the desk has of them.
        server.dig().ask("evil.example", "A");
        server = server.stop(rustix::process::Signal::KILL).house.serve();
        server.dig().ask("evil.example", "A");
        counted(&server, round * (EACH + 2), round * EACH);
        server = server.stop(rustix::process::Signal::KILL).house.serve();
        counted(&server, round * (EACH + 2), round * EACH);
    }
}

#[test]
fn who_goes_through_names_without_asking_scans() {
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    let server = Setup::new(upstream.address)
        .csv("authority", "domain,family\na.example,emotet\nb.example,trickbot\nc.example,qakbot\n")
        .serve();
    let house = server.house();
    let page = format!("http://{}/", server.http.unwrap());
    for number in 0..9 {
        let host = format!("Host: n{number}.{}.example", ["a", "b", "c"][number % 3]);
        let arguments = ["-sS", "--interface", "127.0.0.77", "-H", &host, &page];
        run(within(&[], "curl").args(arguments)).well();
    }
    let is_scan = |case: &Value| text(case, "class") == "scan" && case["contacts"] == 9;
    wait_for_cases(house, "it is one case, of a scan", |cases| cases.len() == 1 && is_scan(&cases[0]));
    // Who is led there by a hit is infected, however many names those are.
    for number in 0..9 {
        let name = format!("n{number}.a.example");
        server.dig().from("127.0.0.78").ask(&name, "A");
        let host = format!("Host: {name}");
        run(within(&[], "curl").args(["-sS", "--interface", "127.0.0.78", "-H", &host, &page])).well();
    }
    let is_malware = |case: &&Value| text(case, "machine") == "127.0.0.78" && text(case, "class") == "c2";
    wait_for_cases(house, "the other is one of malware", |cases| {
        let it = cases.iter().find(is_malware);
        it.is_some_and(|it| it["contacts"] == 9 && it["queries"] == 9) && cases.len() == 2
    });
}
