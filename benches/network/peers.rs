//! The peers: for each its own small configuration, with one worker, the same list and a large cache.
//!
//! All are to do what sachdns does: lead each listed name and what lies below it to the sinkhole, forward
//! everything else to the same upstream without validation, keep answers, and write each query to a file.
//! Each does it in the way that its manual shows; where one has no log of queries as a file, it is spared it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::measure::Reload;
use crate::process::Trouble;

/// A server that others wrote.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: &'static str,
    package: &'static str,
    /// How it blocks, and what it logs.
    pub(crate) way: &'static str,
    list: List,
    /// Writes its configuration; returns its arguments.
    configure: fn(&Setting) -> (String, Vec<String>),
    reload: fn(&Setting) -> Option<Reload>,
}

/// What a peer reads its names from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    /// A name a line.
    Plain,
    /// A response policy zone: each name, and a wildcard for what lies below it.
    Rpz,
    /// A line `address=/NAME/ADDRESS` for each name.
    Dnsmasq,
}

/// Where a peer works.
pub(crate) struct Setting {
    pub(crate) folder: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

pub(crate) const PEERS: [Peer; 6] = [
    Peer {
        name: "dnsdist",
        program: "dnsdist",
        package: "dnsdist",
        way: "SuffixMatchNode and SpoofAction, a packet cache, LogAction to a binary file",
        list: List::Plain,
        configure: dnsdist,
        reload: |_| None,
    },
    Peer {
        name: "pdns-recursor",
        program: "pdns_recursor",
        package: "pdns-recursor",
        way: "a response policy zone, `quiet=no` to a file",
        list: List::Rpz,
        configure: pdns_recursor,
        reload: |setting| {
            let socket_dir = format!("--socket-dir={}", setting.folder.display());
            let words = ["rec_control", &socket_dir, "reload-lua-config"];
            Some(Reload::Command(words.map(str::to_owned).to_vec()))
        },
    },
    Peer {
        name: "unbound",
        program: "unbound",
        package: "unbound",
        way: "a response policy zone, `log-queries` to a file",
        list: List::Rpz,
        configure: unbound,
        reload: |_| Some(Reload::Hangup),
    },
    Peer {
        name: "knot-resolver",
        program: "kresd",
        package: "knot-resolver",
        way: "a response policy zone, no log of queries (it has none as a file)",
        list: List::Rpz,
        configure: knot_resolver,
        reload: |_| None,
    },
    Peer {
        name: "bind9",
        program: "named",
        package: "bind9",
        way: "a response policy zone, `querylog` to a file",
        list: List::Rpz,
        configure: bind9,
        reload: |_| Some(Reload::Hangup),
    },
    Peer {
        name: "dnsmasq",
        program: "dnsmasq",
        package: "dnsmasq-base",
        way: "a line `address=` for each name, `log-queries` to a file",
        list: List::Dnsmasq,
        configure: dnsmasq,
        reload: |_| None,
    },
];

impl Peer {
    /// Where its program is.
    pub(crate) fn installed(&self) -> Result<PathBuf, Trouble> {
        find(self.program).ok_or(Trouble::Missing)
    }

    /// Its name and Debian's version.
    pub(crate) fn version(&self) -> String {
        let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}", self.package]).output();
        let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        format!("{} {}", self.name, version.unwrap_or_default()).trim_end().to_owned()
    }

    /// Writes configuration and list.
    pub(crate) fn prepare(&self, setting: &Setting, names: &[String]) -> io::Result<Vec<String>> {
        fs::create_dir_all(&setting.folder)?;
        self.write_list(setting, names, None)?;
        let (config, args) = (self.configure)(setting);
        fs::write(setting.folder.join("config"), config)?;
        Ok(args)
    }

    /// Adds a name to the list, and says how the peer is told; nothing if it cannot do so without a restart.
    pub(crate) fn change(
        &self,
        setting: &Setting,
        names: &[String],
        added: &str,
    ) -> io::Result<Option<Reload>> {
        let reload = (self.reload)(setting);
        if reload.is_some() {
            self.write_list(setting, names, Some(added))?;
        }
        Ok(reload)
    }

    fn write_list(&self, setting: &Setting, names: &[String], added: Option<&str>) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(setting.folder.join("list.new"))?);
        if self.list == List::Rpz {
            let serial = 1 + u32::from(added.is_some());
            writeln!(
                file,
                "$TTL 30\n@ SOA localhost. root.localhost. {serial} 3600 600 86400 30\n@ NS localhost."
            )?;
        }
        for name in names.iter().map(String::as_str).chain(added) {
            match self.list {
                List::Plain => writeln!(file, "{name}")?,
                List::Rpz => writeln!(file, "{name} A 10.10.10.10\n*.{name} A 10.10.10.10")?,
                List::Dnsmasq => writeln!(file, "address=/{name}/10.10.10.10")?,
            }
        }
        file.flush()?;
        fs::rename(setting.folder.join("list.new"), setting.folder.join("list"))
    }
}

/// The program of that name on the path, or where Debian keeps daemons.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

impl Setting {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn dnsdist(setting: &Setting) -> (String, Vec<String>) {
    let Setting { listen, upstream, .. } = setting;
    let (list, log) = (setting.path("list"), setting.path("queries"));
    let config = format!(
        "setSecurityPollSuffix('')
setLocal('{listen}')
setACL('127.0.0.0/8')
newServer({{address='{upstream}'}})
setMaxUDPOutstanding(65535)
getPool(''):setCache(newPacketCache(2000000, {{maxTTL=86400}}))
addAction(AllRule(), LogAction('{log}', true, false, true))
local listed = newSuffixMatchNode()
for name in io.lines('{list}') do listed:add(newDNSName(name)) end
addAction(SuffixMatchNodeRule(listed), SpoofAction('10.10.10.10'))
"
    );
    (config, words(&["--supervised", "--disable-syslog", "-C", &setting.path("config")]))
}

fn pdns_recursor(setting: &Setting) -> (String, Vec<String>) {
    let Setting { folder, listen, upstream, .. } = setting;
    let folder = folder.display();
    // The only file that it is told of.
    let config = format!("rpzFile('{}', {{policyName='bench'}})\n", setting.path("list"));
    let mut args =
        words(&["--daemon=no", "--write-pid=no", "--disable-syslog=yes", "--quiet=no", "--threads=1"]);
    args.extend(words(&["--pdns-distributes-queries=no", "--dnssec=off", "--allow-from=127.0.0.0/8"]));
    args.extend(words(&[
        "--dont-query=",
        "--max-cache-entries=2000000",
        "--max-packetcache-entries=2000000",
    ]));
    args.extend(words(&["--security-poll-suffix=", "--hint-file=no", "--max-mthreads=4096"]));
    args.push(format!("--config-dir={folder}"));
    args.push(format!("--socket-dir={folder}"));
    args.push(format!("--local-address={}", listen.ip()));
    args.push(format!("--local-port={}", listen.port()));
    args.push(format!("--forward-zones-recurse=.={upstream}"));
    args.push(format!("--lua-config-file={folder}/config"));
    (config, args)
}

fn unbound(setting: &Setting) -> (String, Vec<String>) {
    let Setting { folder, listen, upstream, .. } = setting;
    let (folder, list, log) = (folder.display(), setting.path("list"), setting.path("queries"));
    let config = format!(
        "server:
  num-threads: 1
  interface: {ip}
  port: {port}
  do-ip6: no
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: \"respip iterator\"
  username: \"\"
  chroot: \"\"
  directory: \"{folder}\"
  pidfile: \"\"
  use-syslog: no
  logfile: \"{log}\"
  log-queries: yes
  msg-cache-size: 512m
  rrset-cache-size: 512m
  outgoing-range: 8192
  num-queries-per-thread: 4096
remote-control:
  control-enable: no
rpz:
  name: rpz.bench
  zonefile: \"{list}\"
forward-zone:
  name: \".\"
  forward-addr: {up_ip}@{up_port}
",
        ip = listen.ip(),
        port = listen.port(),
        up_ip = upstream.ip(),
        up_port = upstream.port(),
    );
    (config, words(&["-d", "-p", "-c", &setting.path("config")]))
}

fn knot_resolver(setting: &Setting) -> (String, Vec<String>) {
    let Setting { listen, upstream, .. } = setting;
    let mut config = format!(
        "net.listen('{}', {}, {{kind='dns'}})
cache.size = 1024*MB
trust_anchors.remove('.')
policy.add(policy.rpz(policy.DENY, '{}', false))
policy.add(policy.all(policy.FORWARD('{}@{}')))
",
        listen.ip(),
        listen.port(),
        setting.path("list"),
        upstream.ip(),
        upstream.port(),
    );
    for module in ["ta_update", "ta_signal_query", "priming", "detect_time_skew", "detect_time_jump"] {
        let _ = writeln!(config, "modules.unload('{module}')");
    }
    (config, words(&["-n", "-q", "-c", &setting.path("config"), &setting.path("")]))
}

fn bind9(setting: &Setting) -> (String, Vec<String>) {
    let Setting { folder, listen, upstream, .. } = setting;
    let (folder, list, log) = (folder.display(), setting.path("list"), setting.path("queries"));
    let config = format!(
        "options {{
  directory \"{folder}\";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {ip}; }};
  listen-on-v6 {{ none; }};
  recursion yes;
  allow-query {{ 127.0.0.0/8; }};
  allow-recursion {{ 127.0.0.0/8; }};
  forward only;
  forwarders {{ {up_ip} port {up_port}; }};
  dnssec-validation no;
  empty-zones-enable no;
  max-cache-size 1024m;
  recursive-clients 10000;
  querylog yes;
  response-policy {{ zone \"rpz.bench\"; }} qname-wait-recurse no min-update-interval 0;
}};
controls {{ }};
logging {{
  channel queries {{ file \"{log}\"; print-time yes; }};
  category queries {{ queries; }};
  category rpz {{ null; }};
}};
zone \"rpz.bench\" {{ type primary; file \"{list}\"; check-names ignore; }};
",
        ip = listen.ip(),
        port = listen.port(),
        up_ip = upstream.ip(),
        up_port = upstream.port(),
    );
    (config, words(&["-f", "-4", "-n", "1", "-U", "1", "-c", &setting.path("config")]))
}

fn dnsmasq(setting: &Setting) -> (String, Vec<String>) {
    let Setting { listen, upstream, .. } = setting;
    let config = format!(
        "keep-in-foreground
user=root
pid-file=
port={}
listen-address={}
bind-interfaces
no-resolv
no-hosts
server={}#{}
cache-size=100000
dns-forward-max=10000
local-ttl=30
log-queries
log-facility={}
conf-file={}
",
        listen.port(),
        listen.ip(),
        upstream.ip(),
        upstream.port(),
        setting.path("queries"),
        setting.path("list"),
    );
    (config, words(&["-C", &setting.path("config")]))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
