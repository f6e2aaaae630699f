//! A small internet in a network namespace of its own: a root, top-level domains, zones below them,
//! each server an NSD on its own loopback address and port 53.
//!
//! Zones are signed with ldns-signzone and have their DS records in their parents, unless they are
//! broken on purpose. Whoever is to see it runs inside: see [`Internet::inside`]. A shell holds the
//! namespace and its leash, as with [`super::nsd`]: when the test process ends, so do all servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::dig::Dig;
use super::house::House;
use super::peer::Unbound;
use super::{Lines, PATIENCE, is_root, run, spawn, within};

/// A zone to come, and the delegation to it.
pub(crate) struct Zone {
    origin: String,
    /// The names and addresses of its name servers; all of them serve it unless it is [`Self::lame_at`] them.
    servers: Vec<(String, Vec<IpAddr>)>,
    lame: Vec<IpAddr>,
    text: String,
    signing: Signing,
    delegation: Delegation,
    /// What is done to the file once it is signed.
    spoil: Option<fn(&str) -> String>,
}

/// How a zone is signed.
enum Signing {
    None,
    /// With a key of this algorithm, by `ldns-signzone` with these options.
    By {
        algorithm: &'static str,
        options: Vec<String>,
    },
}

/// Which DS records the parent has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delegation {
    /// Those of the zone's key.
    Right,
    /// None: an insecure delegation.
    Insecure,
    /// One of a key that the zone does not have.
    Wrong,
    /// That of the zone's key, with this algorithm's number in place of its own.
    Algorithm(u8),
    /// … with this digest type's.
    Digest(u8),
}

impl Zone {
    /// A zone that is signed (ECDSA P-256, NSEC) and securely delegated. `origin` ends with a dot; `text` is
    /// in master-file form, relative to it, and needs neither SOA nor the records that `server` implies.
    pub(crate) fn new(origin: &str, text: &str) -> Self {
        assert!(origin.ends_with('.'), "{origin}");
        Self {
            origin: origin.to_owned(),
            servers: Vec::new(),
            lame: Vec::new(),
            text: text.to_owned(),
            signing: Signing::By { algorithm: "ECDSAP256SHA256", options: Vec::new() },
            delegation: Delegation::Right,
            spoil: None,
        }
    }

    /// Adds a name server; `name` is absolute. Its addresses are glue in the parent when it lies within the zone.
    pub(crate) fn server(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.servers.push((name.to_owned(), addresses));
        self
    }

    /// These addresses are delegated to and do not serve it.
    pub(crate) fn lame_at(mut self, addresses: &[&str]) -> Self {
        self.lame.extend(addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()));
        self
    }

    /// Leaves it unsigned and its delegation insecure.
    pub(crate) fn unsigned(mut self) -> Self {
        self.signing = Signing::None;
        self.delegation = Delegation::Insecure;
        self
    }

    /// Signs with a key of this algorithm and these options of `ldns-signzone` (`-n` for NSEC3, `-e` …).
    pub(crate) fn signed(mut self, algorithm: &'static str, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        self.signing = Signing::By { algorithm, options };
        self
    }

    /// Chooses the DS records in the parent.
    pub(crate) fn delegation(mut self, delegation: Delegation) -> Self {
        self.delegation = delegation;
        self
    }

    /// Changes the file after it has been signed.
    pub(crate) fn spoiled(mut self, spoil: fn(&str) -> String) -> Self {
        self.spoil = Some(spoil);
        self
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.servers.iter().flat_map(|(_, addresses)| addresses).copied()
    }

    /// The file's name without its ending.
    fn stem(&self) -> &str {
        if self.origin == "." { "root" } else { self.origin.trim_end_matches('.') }
    }

    /// NS records, and the addresses of those servers that lie within the zone.
    fn servers_text(&self) -> String {
        let mut text = String::new();
        for (name, addresses) in &self.servers {
            writeln!(text, "{} 3600 IN NS {name}", self.origin).unwrap();
            let is_within = self.origin == "." || format!(".{name}").ends_with(&format!(".{}", self.origin));
            for address in addresses.iter().filter(|_| is_within) {
                let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                writeln!(text, "{name} 3600 IN {rtype} {address}").unwrap();
            }
        }
        text
    }
}

/// The running servers.
pub(crate) struct Internet {
    folder: PathBuf,
    /// Held for its standard input, the leash; its id names the namespace.
    leash: Child,
    servers: Vec<Child>,
    root: Vec<(String, Vec<IpAddr>)>,
}

/// Readies the loopback interface, says so, and holds the namespace until the pipe closes.
const LEASH: &str = r#"
ip link set lo up || exit
for address in $2; do ip address add "$address" dev lo || exit; done
echo up
trap '' INT TERM HUP
read -r _
pids=$(cat "$1"/*.pid)
kill $pids
# They remove files of their own on their way out; what is left of one then runs no program.
for pid in $pids; do
    tries=100
    while readlink "/proc/$pid/exe" >/dev/null && [ "$((tries -= 1))" -gt 0 ]; do sleep 0.02; done
done
rm -rf "$1"
"#;

impl Internet {
    /// Signs all zones and starts their servers. One of the zones is the root.
    pub(crate) fn start(zones: &[Zone]) -> Self {
        // The shell removes the folder.
        let folder = tempfile::Builder::new().prefix("sachdns-internet-").tempdir().unwrap().keep();
        let addresses: BTreeSet<IpAddr> = zones.iter().flat_map(Zone::addresses).collect();
        let ipv6: Vec<_> = addresses.iter().filter(|it| it.is_ipv6()).map(|it| format!("{it}/128")).collect();
        let mut leash = Command::new("unshare");
        leash.args(if is_root() { &["--net"][..] } else { &["--user", "--map-root-user", "--net"] });
        let mut leash = spawn(
            leash
                .args(["sh", "-c", LEASH, "sh"])
                .arg(&folder)
                // Some programs take a machine without other addresses than loopback ones for one without IPv4.
                .arg(format!("198.51.100.1/32 {}", ipv6.join(" ")))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit()),
        );
        let said = Lines::follow(leash.stdout.take().unwrap());
        if said.wait(PATIENCE, |line| line == "up").is_none() {
            panic!("no network namespace: it takes root, or unprivileged user namespaces, and iproute2");
        }
        write_zones(&folder, zones);
        let root = zones.iter().find(|zone| zone.origin == ".").expect("a root zone").servers.clone();
        let mut internet = Self { folder, leash, servers: Vec::new(), root };
        fs::write(internet.hints(), internet.hints_text()).unwrap();
        let mut served: BTreeMap<IpAddr, Vec<&Zone>> = BTreeMap::new();
        for zone in zones {
            for address in zone.addresses().filter(|address| !zone.lame.contains(address)) {
                served.entry(address).or_default().push(zone);
            }
        }
        let started: Vec<_> = served.iter().map(|(&address, zones)| internet.serve(address, zones)).collect();
        for lines in started {
            if lines.wait(PATIENCE, |line| line.contains("nsd started")).is_none() {
                panic!("NSD does not start:\n{}", lines.text());
            }
        }
        internet
    }

    /// A master file with the addresses of the root's servers.
    pub(crate) fn hints(&self) -> PathBuf {
        self.folder.join("root.hints")
    }

    /// A master file with the DS record of the root's key.
    pub(crate) fn anchors(&self) -> PathBuf {
        self.folder.join("root.ds")
    }

    /// The words in front of a command that is to run inside.
    pub(crate) fn inside(&self) -> Vec<String> {
        let pid = self.leash.id().to_string();
        let mut words = vec!["nsenter", "--target", &pid, "--net"];
        if !is_root() {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        within(&self.inside(), program)
    }

    /// A `dig` from inside.
    pub(crate) fn dig(&self, server: SocketAddr) -> Dig {
        Dig::at(server).inside(self.inside())
    }

    /// A house whose commands run inside, with a configuration that recurses from these hints and anchors.
    /// `resolver` is added to `[resolver]`, `rest` at the end.
    pub(crate) fn house(&self, resolver: &str, rest: &str) -> House {
        let text = format!(
            "data_dir = \"data\"\n[server]\nlisten = [\"127.0.0.1:0\"]\n[resolver]\nmode = \"recurse\"\n\
             root_hints = \"{}\"\ntrust_anchors = [\"{}\"]\n{resolver}\n[sinkhole]\nhttp_listen = []\n{rest}",
            self.hints().display(),
            self.anchors().display(),
        );
        House::with_config(&text).inside(self.inside())
    }

    /// Starts Unbound on the same hints and anchors. `server` is added to its `server:` clause.
    pub(crate) fn unbound(&self, server: &str) -> Unbound {
        Unbound::start(&self.inside(), &self.hints(), &self.anchors(), server)
    }

    fn hints_text(&self) -> String {
        let mut text = String::new();
        for (name, addresses) in &self.root {
            writeln!(text, ". 3600000 NS {name}").unwrap();
            for address in addresses {
                let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                writeln!(text, "{name} 3600000 {rtype} {address}").unwrap();
            }
        }
        text
    }

    /// Starts an NSD on this address.
    fn serve(&mut self, address: IpAddr, zones: &[&Zone]) -> Lines {
        let folder = self.folder.display();
        let host = address.to_string().replace(':', "-");
        let mut text = format!(
            "server:\n  ip-address: {address}@53\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  \
             zonesdir: \"{folder}\"\n  zonelistfile: \"{folder}/{host}.list\"\n  pidfile: \"{folder}/{host}.pid\"\n  \
             xfrdfile: \"{folder}/{host}.xfrd\"\n  xfrdir: \"{folder}\"\n  server-count: 1\n  verbosity: 1\n  \
             ipv4-edns-size: 1232\n  ipv6-edns-size: 1232\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n\
             remote-control:\n  control-enable: no\n"
        );
        for zone in zones {
            let Zone { origin, .. } = zone;
            writeln!(text, "zone:\n  name: \"{origin}\"\n  zonefile: \"{}.zone\"", zone.stem()).unwrap();
        }
        let path = self.folder.join(format!("{host}.conf"));
        fs::write(&path, text).unwrap();
        let mut command = self.command("nsd");
        command.args(["-d", "-c"]).arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = spawn(command.stderr(Stdio::piped()));
        let lines = Lines::follow(child.stderr.take().unwrap());
        self.servers.push(child);
        lines
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
        for server in &mut self.servers {
            let _ = server.wait();
        }
    }
}

/// Writes and signs all zones, those below first: their DS records go into their parents.
fn write_zones(folder: &Path, zones: &[Zone]) {
    let depth =
        |zone: &Zone| zone.origin.trim_matches('.').split('.').filter(|label| !label.is_empty()).count();
    let mut order: Vec<&Zone> = zones.iter().collect();
    order.sort_by_key(|zone| std::cmp::Reverse(depth(zone)));
    let mut delegations: BTreeMap<String, String> = BTreeMap::new();
    for zone in order {
        let Zone { origin, .. } = zone;
        let first = zone.servers.first().map_or("ns.invalid.", |(name, _)| name);
        let mut text = format!(
            "$ORIGIN {origin}\n$TTL 3600\n{origin} IN SOA {first} hostmaster.{first} 1 3600 600 86400 60\n{}{}\n{}",
            zone.servers_text(),
            zone.text,
            delegations.get(origin).map_or("", String::as_str),
        );
        let file = folder.join(format!("{}.zone", zone.stem()));
        let mut ds = String::new();
        if let Signing::By { algorithm, options } = &zone.signing {
            let key = tool(folder, "ldns-keygen", &["-a", algorithm, "-k", origin]);
            fs::write(folder.join("unsigned"), &text).unwrap();
            let name = file.file_name().unwrap().to_str().unwrap();
            let mut words: Vec<&str> = options.iter().map(String::as_str).collect();
            words.extend(["-o", origin, "-f", name, "unsigned", &key]);
            tool(folder, "ldns-signzone", &words);
            text = fs::read_to_string(&file).unwrap();
            ds = fs::read_to_string(folder.join(format!("{key}.ds"))).unwrap();
        }
        if let Some(spoil) = zone.spoil {
            let spoiled = spoil(&text);
            assert_ne!(spoiled, text, "nothing is spoiled in {origin}");
            text = spoiled;
        }
        fs::write(&file, text).unwrap();
        if origin == "." {
            fs::write(folder.join("root.ds"), ds).unwrap();
            continue;
        }
        // The delegation: in the nearest zone above.
        let parent = |other: &&Zone| other.origin == "." || origin.ends_with(&format!(".{}", other.origin));
        let parent =
            zones.iter().filter(parent).max_by_key(|zone| depth(zone)).expect("the root is above all");
        let records = delegations.entry(parent.origin.clone()).or_default();
        records.push_str(&zone.servers_text());
        match zone.delegation {
            Delegation::Insecure => {}
            Delegation::Right => records.push_str(&ds),
            Delegation::Wrong => {
                let digest = "ab".repeat(32);
                writeln!(records, "{origin} 3600 IN DS 12345 13 2 {digest}").unwrap();
            }
            Delegation::Algorithm(number) | Delegation::Digest(number) => {
                let mut words: Vec<&str> = ds.split_whitespace().collect();
                let at = words.iter().position(|&word| word == "DS").expect("a DS record");
                let field = if matches!(zone.delegation, Delegation::Algorithm(_)) { 2 } else { 3 };
                let number = number.to_string();
                words[at + field] = &number;
                writeln!(records, "{}", words.join(" ")).unwrap();
            }
        }
    }
}

fn tool(folder: &Path, program: &str, args: &[&str]) -> String {
    run(Command::new(program).args(args).current_dir(folder)).well().stdout.trim().to_owned()
}

/// The tree that most tests ask about.
///
/// ```text
/// .                        127.10.0.1, 127.10.0.2, fd00:10::1
/// ├─ example.              127.10.1.1                        NSEC
/// │  ├─ signed.example.    127.10.2.1
/// │  ├─ plain.example.     127.10.2.1                        unsigned
/// │  ├─ glueless.example.  127.10.2.2, named in `helper.vn.` unsigned
/// │  ├─ half.example.      127.10.2.1 is lame, 127.10.2.2    unsigned
/// │  ├─ lame.example.      127.10.2.1 refuses it
/// │  ├─ dead.example.      127.10.9.9, where nobody is
/// │  ├─ self.example.      its only server lies in it, and has no address
/// │  ├─ loop.example.      its server is named in `loop.vn.`, and the other way round
/// │  ├─ bogus.example.     127.10.2.1                        an address changed after signing
/// │  ├─ expired.example.   127.10.2.1                        signatures of 2020
/// │  ├─ mismatch.example.  127.10.2.1                        the parent has another key's DS
/// │  ├─ future.example.    127.10.2.1                        signed by an algorithm that nobody knows
/// │  ├─ digest.example.    127.10.2.1                        its DS record has a digest that nobody knows
/// │  └─ hashed.example.    127.10.2.1                        NSEC3 with 200 iterations
/// └─ vn.                   127.10.1.2                        NSEC3 with opt-out
///    ├─ gov.vn.            127.10.1.2: parent and child on one server
///    │  └─ tinh.gov.vn.    127.10.2.2
///    ├─ helper.vn.         127.10.2.2
///    └─ loop.vn.
/// ```
pub(crate) fn tree() -> Vec<Zone> {
    let zone = Zone::new;
    vec![
        zone(".", "")
            .server("a.root-servers.test.", &["127.10.0.1", "fd00:10::1"])
            .server("b.root-servers.test.", &["127.10.0.2"]),
        zone("example.", "").server("ns.nic.example.", &["127.10.1.1"]),
        zone("vn.", "")
            .server("ns.nic.vn.", &["127.10.1.2"])
            .signed("ECDSAP256SHA256", &["-n", "-p", "-t", "0"]),
        zone("gov.vn.", "www A 192.0.2.20\n").server("ns.nic.vn.", &["127.10.1.2"]),
        zone("tinh.gov.vn.", "www A 192.0.2.30\n*.w A 192.0.2.31\ndeep.er.still A 192.0.2.32\n")
            .server("ns.tinh.gov.vn.", &["127.10.2.2"])
            .signed("ECDSAP256SHA256", &["-n", "-t", "0"]),
        zone("helper.vn.", "").server("ns.helper.vn.", &["127.10.2.2"]).unsigned(),
        zone("loop.vn.", "").server("ns.loop.example.", &[]).unsigned(),
        zone(
            "signed.example.",
            "www A 192.0.2.80\nwww AAAA 2001:db8::80\nwww TXT \"one\" \"two\"\nalias CNAME www\n\
             far CNAME www.tinh.gov.vn.\nplain CNAME www.plain.example.\nbad CNAME www.bogus.example.\n\
             dangling CNAME nothing\n*.wild A 192.0.2.81\na.deep.ent A 192.0.2.82\nround CNAME circle\n\
             circle CNAME round\ntree DNAME tinh.gov.vn.\nodd TYPE65534 \\# 4 DEADBEEF\n",
        )
        .server("ns1.signed.example.", &["127.10.2.1"]),
        zone("plain.example.", "www A 192.0.2.90\nalias CNAME www.signed.example.\n@ MX 10 www\n")
            .server("ns.plain.example.", &["127.10.2.1"])
            .unsigned(),
        zone("glueless.example.", "www A 192.0.2.91\n").server("ns.helper.vn.", &["127.10.2.2"]).unsigned(),
        zone("half.example.", "www A 192.0.2.92\n")
            .server("ns1.half.example.", &["127.10.2.1"])
            .server("ns2.half.example.", &["127.10.2.2"])
            .lame_at(&["127.10.2.1"])
            .unsigned(),
        zone("lame.example.", "")
            .server("ns.lame.example.", &["127.10.2.1"])
            .lame_at(&["127.10.2.1"])
            .unsigned(),
        zone("dead.example.", "")
            .server("ns.dead.example.", &["127.10.9.9"])
            .lame_at(&["127.10.9.9"])
            .unsigned(),
        zone("self.example.", "").server("ns.self.example.", &[]).unsigned(),
        zone("loop.example.", "").server("ns.loop.vn.", &[]).unsigned(),
        zone("bogus.example.", "www A 192.0.2.93\n")
            .server("ns.bogus.example.", &["127.10.2.1"])
            .spoiled(|text| text.replace("192.0.2.93", "192.0.2.94")),
        zone("expired.example.", "www A 192.0.2.95\n")
            .server("ns.expired.example.", &["127.10.2.1"])
            .signed("ECDSAP256SHA256", &["-i", "20200101", "-e", "20200201"]),
        zone("mismatch.example.", "www A 192.0.2.96\n")
            .server("ns.mismatch.example.", &["127.10.2.1"])
            .delegation(Delegation::Wrong),
        zone("future.example.", "www A 192.0.2.97\n")
            .server("ns.future.example.", &["127.10.2.1"])
            .delegation(Delegation::Algorithm(200)),
        zone("digest.example.", "www A 192.0.2.98\n")
            .server("ns.digest.example.", &["127.10.2.1"])
            .delegation(Delegation::Digest(200)),
        zone("hashed.example.", "www A 192.0.2.99\n")
            .server("ns.hashed.example.", &["127.10.2.1"])
            .signed("ECDSAP256SHA256", &["-n", "-t", "200"]),
    ]
}
