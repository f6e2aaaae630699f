//! The configuration of a generated province, and the addresses that its server listens at.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use super::province::{Agency, Link, Province};
use super::threats::FEEDS;

/// Where the server of a province listens.
#[derive(Debug, Clone, Copy)]
pub struct Listeners {
    /// DNS.
    pub dns: SocketAddr,
    /// The landing page.
    pub landing: SocketAddr,
    /// The console.
    pub console: SocketAddr,
}

impl Listeners {
    /// This port and those behind it; without one, ports of the loopback interface that nobody has.
    ///
    /// # Errors
    /// What the system said: no port is free.
    pub fn choose(first: Option<u16>) -> io::Result<Self> {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        if let Some(first) = first {
            let [dns, landing, console] = [0, 1, 2].map(|more| loopback(first.saturating_add(more)));
            return Ok(Self { dns, landing, console });
        }
        // Held until all are found, so that they differ.
        let (landing, console) = (TcpListener::bind(loopback(0))?, TcpListener::bind(loopback(0))?);
        let (dns, _held) = loop {
            let tcp = TcpListener::bind(loopback(0))?;
            let address = tcp.local_addr()?;
            match UdpSocket::bind(address) {
                Ok(udp) => break (address, (tcp, udp)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        };
        Ok(Self { dns, landing: landing.local_addr()?, console: console.local_addr()? })
    }
}

/// The text of the configuration of a province in this folder.
pub(super) fn text(folder: &Path, province: &Province, listeners: &Listeners) -> String {
    let mut out = String::new();
    let path = |below: &str| quoted(&folder.join(below).display().to_string());
    let telling: Vec<String> = province
        .agencies
        .iter()
        .filter(|agency| agency.link == Link::Telling)
        .map(|agency| format!("\"{}/32\"", agency.forwarder()))
        .collect();
    let _ = write!(
        out,
        "# A made-up province, for looking around: `sachdns demo` has written all of this folder. Nobody in it lives, and its names\n\
         # belong to nobody. Paths are whole ones: whoever moves the folder changes them.\n\n\
         data_dir = {data}\n\n\
         [server]\n\
         listen = [\"{dns}\"]\n\
         trusted_forwarders = [{telling}]\n\n\
         [resolver]\n\
         upstreams = [\"127.0.0.2:53\"]            # nobody is asked but this machine\n\n\
         [gate]\n\
         protected = [{protected}]\n\
         popular = [{popular}]\n\n\
         [sinkhole]\n\
         http_listen = [\"{landing}\"]\n\n\
         [console]\n\
         listen = [\"{console}\"]\n\n\
         [log]\n\
         keep_queries = \"1095d\"                  # made-up days may lie long ago\n\
         keep_summaries = \"1095d\"\n\n\
         [report]\n\
         department = \"Sở Thông tin và Truyền thông\"\n\
         parent = \"Ủy ban nhân dân tỉnh\"\n\
         place = \"An Hòa\"\n\
         symbol = \"STTTT-CNTT\"\n\
         addressees = [\"Cục An toàn thông tin\"]\n\
         recipients = [\"Như trên\", \"UBND tỉnh (để báo cáo)\", \"Lưu: VT, CNTT\"]\n",
        data = path("data"),
        dns = listeners.dns,
        telling = telling.join(", "),
        protected = path("protected.txt"),
        popular = path("popular.txt"),
        landing = listeners.landing,
        console = listeners.console,
    );
    for feed in &FEEDS {
        let source = path(&format!("feeds/{}", feed.file));
        let _ = write!(out, "\n[[feed]]\nname = \"{}\"\nsource = {source}\n{}", feed.name, feed.settings);
    }
    for (file, format) in [("may-tinh.csv", "inventory"), ("leases.csv", "kea")] {
        let _ = write!(
            out,
            "\n[[identity]]\npath = {}\nformat = \"{format}\"\nzone = \"Asia/Ho_Chi_Minh\"\n",
            path(&format!("machines/{file}"))
        );
    }
    province.agencies.iter().for_each(|agency| write_agency(&mut out, agency));
    let ids = |prefix: &str| {
        let of = province.agencies.iter().filter(|agency| agency.id.starts_with(prefix));
        of.map(|agency| format!("\"{}\"", agency.id)).collect::<Vec<_>>()
    };
    for (group, prefix) in [("cac-so", "so-"), ("cac-huyen", "huyen-"), ("cac-xa", "xa-")] {
        let ids = ids(prefix);
        if !ids.is_empty() {
            let _ = write!(out, "\n[[group]]\nid = \"{group}\"\nagencies = [{}]\n", ids.join(", "));
        }
    }
    out
}

fn write_agency(out: &mut String, agency: &Agency) {
    let mut networks = format!("\"{}/{}\"", agency.host(0), agency.bits);
    if agency.link == Link::Dual {
        let _ = write!(networks, ", \"{}/48\"", agency.v6());
    }
    let _ = write!(
        out,
        "\n[[agency]]\nid = \"{}\"\nname = {}\nnetworks = [{networks}]\ncontact = {}\nofficer = {}\nemail = \"cntt@{}\"\n",
        agency.id,
        quoted(&agency.name),
        quoted(&agency.contact()),
        quoted(&agency.officer),
        agency.domain(),
    );
    if matches!(agency.link, Link::Forwarder | Link::Blind) {
        let _ = writeln!(out, "forwarders = [\"{}/32\"]", agency.forwarder());
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}
