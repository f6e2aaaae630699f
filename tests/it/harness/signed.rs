//! Signed zones below `test.`, right ones and ones that are wrong on purpose; NSD serves them, Unbound validates
//! them beside us.
//!
//! ldns signs them when the tests run, so that none expires. One tree serves a whole test run. Both servers hang on
//! a leash, as in [`super::nsd`].

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::nsd::free_address;
use super::{Lines, PATIENCE, run, spawn};

/// The zones, and who knows them.
pub(crate) struct Tree {
    /// NSD, which has all the zones.
    pub(crate) authority: SocketAddr,
    /// Unbound with the same trust anchor.
    pub(crate) unbound: SocketAddr,
    /// The trust anchor of `test.`: a DS record in a file.
    pub(crate) anchor: PathBuf,
    /// Held for its standard input, the leash.
    _leash: Child,
}

/// One zone.
struct Zone {
    name: &'static str,
    /// As ldns-keygen has it; empty for an unsigned zone.
    algorithm: &'static str,
    /// The key's size, where its algorithm has sizes.
    bits: &'static str,
    /// Arguments of ldns-signzone. `@-600` is the time ten minutes ago.
    sign: &'static [&'static str],
    /// What the parent says.
    ds: Ds,
    /// Records besides the usual ones.
    records: &'static str,
    /// What goes wrong after signing: takes a line of the zone and says what becomes of it.
    mangle: fn(&str) -> Option<String>,
}

/// The DS record in the parent.
enum Ds {
    /// As it should be.
    Right,
    /// None.
    Missing,
    /// Its fields replaced: algorithm and digest type, where there is a number.
    With(Option<u8>, Option<u8>),
    /// One of a key that the zone does not have.
    OfAnotherKey,
    /// One of the key as it stands in the zone after it was mangled.
    OfMangledKey,
}

const PLAIN: Zone = Zone {
    name: "",
    algorithm: "ECDSAP256SHA256",
    bits: "2048",
    sign: &[],
    ds: Ds::Right,
    records: "",
    mangle: |line| Some(line.to_owned()),
};

/// In every zone.
const USUAL: &str = "\
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.53
www IN A 192.0.2.80
www IN AAAA 2001:db8::80
*.wild IN TXT \"made by a wildcard\"
a.ent IN A 192.0.2.1
alias IN CNAME www
dangling IN CNAME nothing
Mixed IN MX 10 MaiL.Elsewhere.TEST.
mixed IN NAPTR 10 20 \"S\" \"SIP+D2T\" \"\" _SiP._tcp.Elsewhere.TEST.
mixed IN SRV 1 2 3 SrV.Elsewhere.TEST.
_25._tcp IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
";

/// Whether a line of a signed zone is this record, or one that signs it.
fn is(line: &str, owner: &str, rtype: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let has_owner = fields.first().is_some_and(|name| name.starts_with(&format!("{owner}.")));
    has_owner && fields.get(3).is_some_and(|kind| *kind == rtype)
}

fn is_signature(line: &str, covered: &str) -> bool {
    let mut fields = line.split_whitespace().skip(3);
    fields.next() == Some("RRSIG") && fields.next() == Some(covered)
}

const ZONES: &[Zone] = &[
    Zone { name: "nsec3.test", algorithm: "RSASHA256", sign: &["-n", "-t", "0"], ..PLAIN },
    Zone { name: "salted.test", algorithm: "RSASHA512", sign: &["-n", "-t", "50", "-s", "abcd"], ..PLAIN },
    Zone {
        name: "optout.test",
        algorithm: "ED25519",
        sign: &["-n", "-t", "0", "-p"],
        records: "sub IN NS ns\n",
        ..PLAIN
    },
    Zone { name: "sub.optout.test", algorithm: "", ds: Ds::Missing, ..PLAIN },
    Zone { name: "p384.test", algorithm: "ECDSAP384SHA384", ..PLAIN },
    Zone { name: "unsigned.test", algorithm: "", ds: Ds::Missing, ..PLAIN },
    Zone { name: "undelegated.test", ds: Ds::Missing, ..PLAIN },
    Zone { name: "bogus.test", mangle: |line| Some(line.replace("192.0.2.80", "192.0.2.66")), ..PLAIN },
    Zone { name: "expired.test", sign: &["-i", "20200101", "-e", "20200201"], ..PLAIN },
    Zone { name: "future.test", sign: &["-i", "20800101", "-e", "20800201"], ..PLAIN },
    // Just out of a time of twenty days.
    Zone { name: "late.test", sign: &["-i", "@-1728000", "-e", "@-600"], ..PLAIN },
    Zone { name: "early.test", sign: &["-i", "@600", "-e", "@1728600"], ..PLAIN },
    Zone {
        name: "nosig.test",
        mangle: |line| (!is_signature(line, "A") && !is_signature(line, "SOA")).then(|| line.to_owned()),
        ..PLAIN
    },
    Zone {
        name: "noproof.test",
        mangle: |line| {
            let is_gone = line.split_whitespace().nth(3) == Some("NSEC") || is_signature(line, "NSEC");
            (!is_gone).then(|| line.to_owned())
        },
        ..PLAIN
    },
    Zone {
        name: "nokey.test",
        mangle: |line| {
            (!is(line, "nokey", "DNSKEY") && !is_signature(line, "DNSKEY")).then(|| line.to_owned())
        },
        ..PLAIN
    },
    Zone { name: "otherkey.test", ds: Ds::OfAnotherKey, ..PLAIN },
    Zone {
        name: "nozonekey.test",
        ds: Ds::OfMangledKey,
        mangle: |line| Some(line.replace("DNSKEY\t257 3", "DNSKEY\t1 3")),
        ..PLAIN
    },
    Zone {
        name: "wrongtag.test",
        mangle: |line| {
            let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if is_signature(line, "A") {
                let tag: u16 = fields[10].parse().unwrap();
                fields[10] = tag.wrapping_add(1).to_string();
                return Some(fields.join("\t"));
            }
            Some(line.to_owned())
        },
        ..PLAIN
    },
    Zone { name: "algorithm.test", ds: Ds::With(Some(200), None), ..PLAIN },
    Zone { name: "digest.test", ds: Ds::With(None, Some(200)), ..PLAIN },
    Zone { name: "sha1.test", algorithm: "RSASHA1_NSEC3", ..PLAIN },
    Zone { name: "ed448.test", algorithm: "ED448", ..PLAIN },
    Zone { name: "short.test", algorithm: "RSASHA256", bits: "768", ..PLAIN },
    Zone { name: "some.test", sign: &["-n", "-t", "51"], ..PLAIN },
    Zone { name: "more.test", sign: &["-n", "-t", "150"], ..PLAIN },
    Zone { name: "iterations.test", sign: &["-n", "-t", "400"], ..PLAIN },
    Zone {
        name: "test",
        ds: Ds::Missing,
        records: "\
to-nsec3 IN CNAME www.nsec3
to-unsigned IN CNAME www.unsigned
to-bogus IN CNAME www.bogus
below IN DNAME nsec3
",
        ..PLAIN
    },
];

const LEASH: &str = r#"
nsd -d -c "$1/nsd.conf" </dev/null &
nsd=$!
unbound -d -p -c "$1/unbound.conf" </dev/null &
unbound=$!
trap '' INT TERM HUP
read -r _
kill "$nsd" "$unbound"
wait "$nsd" "$unbound"
rm -rf "$1"
"#;

/// The running tree.
pub(crate) fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(Tree::start)
}

impl Tree {
    fn start() -> Self {
        // The shell removes the folder: a `static` is never dropped.
        for _ in 0..10 {
            let folder = tempfile::Builder::new().prefix("sachdns-signed-").tempdir().unwrap().keep();
            sign_all(&folder);
            let (authority, unbound) = (free_address(), free_address());
            fs::write(folder.join("nsd.conf"), nsd_configuration(&folder, authority)).unwrap();
            fs::write(folder.join("unbound.conf"), unbound_configuration(&folder, authority, unbound))
                .unwrap();
            let mut leash = spawn(
                Command::new("sh")
                    .args(["-c", LEASH, "sh"])
                    .arg(&folder)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped()),
            );
            let lines = Lines::follow(leash.stderr.take().unwrap());
            let has = |words: &[&str]| {
                let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                lines.wait(PATIENCE, move |line| words.iter().any(|word| line.contains(word.as_str())))
            };
            let ends = ["Address already in use", "not found", "could not", "fatal error"];
            let started = |word| has(&[&[word][..], &ends[..]].concat());
            let is_up = |line: Option<String>, word: &str| line.is_some_and(|line| line.contains(word));
            if is_up(started("nsd started"), "nsd started")
                && is_up(started("start of service"), "start of service")
            {
                return Self { authority, unbound, anchor: folder.join("test.anchor"), _leash: leash };
            }
            let text = lines.text();
            assert!(text.contains("Address already in use"), "NSD or Unbound does not start:\n{text}");
            drop(leash.stdin.take());
            leash.wait().unwrap();
        }
        panic!("no free ports for NSD and Unbound in ten attempts")
    }
}

/// Writes and signs the zones, children before their parents.
fn sign_all(folder: &Path) {
    let mut parent_records = String::new();
    for zone in ZONES {
        let name = zone.name;
        let mut text = format!("$ORIGIN {name}.\n$TTL 300\n{USUAL}{}", zone.records);
        if name == "test" {
            text.push_str(&parent_records);
        }
        let file = folder.join(format!("{name}.zone"));
        if zone.algorithm.is_empty() {
            fs::write(&file, text).unwrap();
        } else {
            fs::write(folder.join("unsigned"), text).unwrap();
            let tool = |program: &str, args: &[&str]| {
                run(Command::new(program).args(args).current_dir(folder)).well().stdout.trim().to_owned()
            };
            let make_key =
                || tool("ldns-keygen", &["-a", zone.algorithm, "-b", zone.bits, "-k", &format!("{name}.")]);
            let key = make_key();
            let output = format!("{name}.zone");
            let sign: Vec<String> = zone.sign.iter().map(|argument| at_time(argument)).collect();
            let sign: Vec<&str> = sign.iter().map(String::as_str).collect();
            let arguments = [&["-o", name, "-f", &output], &sign[..], &["unsigned", &key]].concat();
            tool("ldns-signzone", &arguments);
            let signed = fs::read_to_string(&file).unwrap();
            let mangled: Vec<String> = signed.lines().filter_map(zone.mangle).collect();
            fs::write(&file, mangled.join("\n") + "\n").unwrap();
            let ds_of = |key: &str| tool("ldns-key2ds", &["-n", "-2", &format!("{key}.key")]);
            let ds = match zone.ds {
                Ds::OfAnotherKey => ds_of(&make_key()),
                Ds::OfMangledKey => {
                    let dnskey = mangled.iter().find(|line| is(line, name, "DNSKEY")).unwrap();
                    fs::write(folder.join("mangled.key"), format!("{dnskey}\n")).unwrap();
                    ds_of("mangled")
                }
                _ => ds_of(&key),
            };
            let ds = match zone.ds {
                Ds::With(algorithm, digest) => {
                    let mut fields: Vec<String> = ds.split_whitespace().map(str::to_owned).collect();
                    let at = fields.iter().position(|field| field == "DS").unwrap();
                    fields[at + 2] = algorithm.map_or(fields[at + 2].clone(), |number| number.to_string());
                    fields[at + 3] = digest.map_or(fields[at + 3].clone(), |number| number.to_string());
                    fields.join(" ")
                }
                _ => ds,
            };
            if name == "test" {
                fs::write(folder.join("test.anchor"), ds).unwrap();
            } else if !matches!(zone.ds, Ds::Missing) {
                writeln!(parent_records, "{ds}").unwrap();
            }
        }
        if name.strip_suffix(".test").is_some_and(|label| !label.contains('.')) {
            writeln!(parent_records, "{name}. IN NS ns.test.").unwrap();
        }
    }
}

/// An argument with its time written out.
fn at_time(argument: &str) -> String {
    let Some(seconds) = argument.strip_prefix('@') else { return argument.to_owned() };
    let seconds = jiff::SignedDuration::from_secs(seconds.parse().unwrap());
    (jiff::Timestamp::now() + seconds).strftime("%Y%m%d%H%M%S").to_string()
}

fn nsd_configuration(folder: &Path, address: SocketAddr) -> String {
    let (ip, port, folder) = (address.ip(), address.port(), folder.display());
    let mut text = format!(
        r#"server:
  ip-address: {ip}@{port}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  server-count: 1
  verbosity: 1
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
"#,
    );
    for Zone { name, .. } in ZONES {
        write!(text, "zone:\n  name: \"{name}\"\n  zonefile: \"{name}.zone\"\n").unwrap();
    }
    text
}

fn unbound_configuration(folder: &Path, authority: SocketAddr, address: SocketAddr) -> String {
    let folder = folder.display();
    let mut text = format!(
        r#"server:
  directory: ""
  chroot: ""
  username: ""
  use-syslog: no
  verbosity: 1
  interface: {ip}@{port}
  do-not-query-localhost: no
  local-zone: "test." nodefault
  trust-anchor-file: "{folder}/test.anchor"
  module-config: "validator iterator"
  ede: yes
  do-ip6: no
  num-threads: 1
remote-control:
  control-enable: no
"#,
        ip = address.ip(),
        port = address.port(),
    );
    for Zone { name, .. } in ZONES {
        write!(
            text,
            "stub-zone:\n  name: \"{name}\"\n  stub-addr: {}@{}\n",
            authority.ip(),
            authority.port()
        )
        .unwrap();
    }
    text
}
