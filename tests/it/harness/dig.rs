//! Asks with BIND's `dig`, and reads the text it prints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use super::{Finished, run, within};

/// One question to come: where to, and how.
#[derive(Clone)]
pub(crate) struct Dig {
    server: SocketAddr,
    options: Vec<String>,
    /// Whence it asks, if that matters.
    client: Option<String>,
    /// What stands in front of the command.
    inside: Vec<String>,
}

/// A message as `dig` shows it.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The rcode's mnemonic.
    pub(crate) status: String,
    /// The header's flags, lower case.
    pub(crate) flags: Vec<String>,
    /// The lines of the OPT pseudosection, without their `; `; `None` when there is no OPT.
    pub(crate) opt: Option<Vec<String>>,
    /// The question's name, type and class, case kept.
    pub(crate) question: Option<[String; 3]>,
    pub(crate) answer: Vec<Rr>,
    pub(crate) authority: Vec<Rr>,
    /// `UDP` or `TCP`.
    pub(crate) transport: String,
    /// Octets received.
    pub(crate) size: usize,
    /// All of dig's text, for failures.
    pub(crate) raw: String,
}

/// A resource record as `dig` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rr {
    pub(crate) name: String,
    pub(crate) ttl: u32,
    pub(crate) rtype: String,
    pub(crate) rdata: String,
}

impl Dig {
    /// Asks `server` once over UDP, with EDNS, and takes a truncated answer as it is.
    pub(crate) fn at(server: SocketAddr) -> Self {
        Self { server, options: Vec::new(), client: None, inside: Vec::new() }
    }

    /// Adds an option such as `+noedns` or `+tcp`.
    pub(crate) fn with(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Asks from this address of our own.
    pub(crate) fn from(self, client: &str) -> Self {
        Self { client: Some(client.to_owned()), ..self }
    }

    /// Asks from inside a namespace: with these words in front of the command.
    pub(crate) fn inside(self, words: Vec<String>) -> Self {
        Self { inside: words, ..self }
    }

    /// Asks and gives the reply; none within ten seconds fails the test.
    #[track_caller]
    pub(crate) fn ask(&self, qname: &str, qtype: &str) -> Reply {
        let finished = self.run(qname, qtype, "+time=10");
        assert!(finished.status.success(), "no reply to {qname} {qtype}: {finished:#?}");
        Reply::parse(&finished.stdout)
    }

    /// Whether no reply comes within a second.
    pub(crate) fn is_ignored(&self, qname: &str, qtype: &str) -> bool {
        self.run(qname, qtype, "+time=1").code() == 9
    }

    fn run(&self, qname: &str, qtype: &str, time: &str) -> Finished {
        let mut dig = within(&self.inside, "dig");
        dig.arg("-r").arg(format!("@{}", self.server.ip())).arg("-p").arg(self.server.port().to_string());
        dig.args(["+tries=1", "+ignore", "+noidnin", "+noidnout", "+nocmd", "+noadflag", "+nosplit", time]);
        dig.arg("-b").arg(self.source(qtype));
        run(dig.args(&self.options).arg("-q").arg(qname).arg("-t").arg(qtype))
    }

    /// Where it asks from, as `-b` wants it.
    fn source(&self, qtype: &str) -> String {
        let any: IpAddr =
            if self.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let client = self.client.clone().unwrap_or_else(|| any.to_string());
        let is_tcp = self.options.iter().any(|option| option == "+tcp") || qtype.ends_with("XFR");
        if is_tcp { client } else { format!("{client}#{}", free_port(any)) }
    }
}

/// A port for one question over UDP, lower than any that the system chooses.
///
/// dig shares its port (SO_REUSEPORT), and so do the servers that it asks here: left to the system, it is given a
/// server's port once in a while. Then it hears itself, or what others ask that server before it has told the
/// system whom it talks to.
fn free_port(any: IpAddr) -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if UdpSocket::bind((any, port)).is_ok() {
            return port;
        }
    }
}

impl Reply {
    /// Reads the last message in dig's output.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let mut reply = Self {
            status: String::new(),
            flags: Vec::new(),
            opt: None,
            question: None,
            answer: Vec::new(),
            authority: Vec::new(),
            transport: String::new(),
            size: 0,
            raw: text.to_owned(),
        };
        let mut section = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(";; ") {
                if let Some(header) = rest.strip_prefix("->>HEADER<<- ") {
                    reply.status = header
                        .split(", ")
                        .find_map(|field| field.strip_prefix("status: "))
                        .unwrap_or_else(|| panic!("no status in dig's output:\n{text}"))
                        .to_owned();
                } else if let Some(flags) = rest.strip_prefix("flags:") {
                    let (flags, _) = flags.split_once(';').unwrap();
                    reply.flags = flags.split_whitespace().map(str::to_owned).collect();
                } else if let Some(size) = rest.strip_prefix("MSG SIZE  rcvd: ") {
                    reply.size = size.parse().unwrap();
                } else if rest.starts_with("SERVER: ") {
                    let transport = rest.rsplit_once('(').unwrap().1;
                    reply.transport = transport.trim_end_matches(')').to_owned();
                } else if let Some(title) = rest.trim_end_matches(':').strip_suffix(" SECTION") {
                    section = title;
                } else if rest.starts_with("OPT PSEUDOSECTION") {
                    section = "OPT";
                    reply.opt = Some(Vec::new());
                }
            } else if line.is_empty() {
                section = "";
            } else {
                match section {
                    "OPT" => {
                        let option = line.trim_start_matches("; ").to_owned();
                        reply.opt.as_mut().unwrap().push(option);
                    }
                    "QUESTION" => {
                        let mut fields = line.trim_start_matches(';').split_whitespace().map(str::to_owned);
                        let (name, qclass, qtype) = (fields.next(), fields.next(), fields.next());
                        reply.question = Some([name.unwrap(), qtype.unwrap(), qclass.unwrap()]);
                    }
                    "ANSWER" => reply.answer.push(Rr::parse(line)),
                    "AUTHORITY" => reply.authority.push(Rr::parse(line)),
                    _ => {}
                }
            }
        }
        assert!(!reply.status.is_empty(), "no message in dig's output:\n{text}");
        reply
    }

    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|had| had == flag)
    }

    /// The data of the answer's records of this type, in order.
    pub(crate) fn rdata(&self, rtype: &str) -> Vec<&str> {
        self.answer.iter().filter(|rr| rr.rtype == rtype).map(|rr| rr.rdata.as_str()).collect()
    }

    /// The extended DNS error, as dig words it: `15 (Blocked)` and perhaps `: (text)`.
    pub(crate) fn ede(&self) -> Option<&str> {
        self.opt.as_ref()?.iter().find_map(|line| line.strip_prefix("EDE: "))
    }

    /// The info code of the extended DNS error.
    pub(crate) fn ede_code(&self) -> Option<u16> {
        self.ede()?.split(' ').next()?.trim_end_matches(':').parse().ok()
    }

    /// The COOKIE option in hexadecimal digits, and behind a space what dig thinks of it.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.opt.as_ref()?.iter().find_map(|line| line.strip_prefix("COOKIE: "))
    }

    /// Fails the test unless this is NODATA: no error, no answer, and the SOA that says how long.
    #[track_caller]
    pub(crate) fn assert_nodata(&self) {
        assert_eq!(self.status, "NOERROR", "{}", self.raw);
        assert!(self.answer.is_empty(), "{}", self.raw);
        let soa = self.authority.iter().filter(|rr| rr.rtype == "SOA").count();
        assert_eq!(soa, 1, "one SOA in the authority section:\n{}", self.raw);
    }
}

impl Rr {
    #[track_caller]
    fn parse(line: &str) -> Self {
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().unwrap_or_else(|| panic!("not a record: {line:?}")).to_owned();
        let (name, ttl, _class, rtype) = (next(), next(), next(), next());
        let rdata = fields.collect::<Vec<_>>().join(" ");
        Self { name, ttl: ttl.parse().unwrap(), rtype, rdata }
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    #[test]
    fn a_reply_is_read() {
        let text = "\
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 60150
;; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 1, ADDITIONAL: 1

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags: do; udp: 1232
; EDE: 15 (Blocked): (why)
;; QUESTION SECTION:
;WwW.example.test.\t\tIN\tHTTPS

;; ANSWER SECTION:
WwW.example.test.\t300\tIN\tTXT\t\"a b\" \"c\"

;; AUTHORITY SECTION:
example.test.\t\t60\tIN\tSOA\tns. host. 1 2 3 4 5

;; Query time: 0 msec
;; SERVER: 127.0.0.1#15999(127.0.0.1) (UDP)
;; MSG SIZE  rcvd: 94
";
        let reply = Reply::parse(text);
        assert_eq!(reply.status, "NXDOMAIN");
        assert_eq!(reply.flags, ["qr", "rd", "ra"]);
        assert_eq!(reply.opt.as_ref().unwrap()[0], "EDNS: version: 0, flags: do; udp: 1232");
        assert_eq!((reply.ede_code(), reply.ede()), (Some(15), Some("15 (Blocked): (why)")));
        assert_eq!(reply.question.as_ref().unwrap(), &["WwW.example.test.", "HTTPS", "IN"]);
        assert_eq!(reply.rdata("TXT"), ["\"a b\" \"c\""]);
        assert_eq!((reply.authority[0].ttl, &*reply.authority[0].name), (60, "example.test."));
        assert_eq!((&*reply.transport, reply.size), ("UDP", 94));
    }
}
