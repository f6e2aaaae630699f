//! Lists for firewalls, proxies and sensors: what the policy blocks, in the formats that they read.
//!
//! The same policy gives the same octets: everything is in the order of addresses and of names from their last label
//! on, and the time in a list is that of its last change. What a format cannot say is left out and counted.
//!
//! ```text
//! plain     a network, address or name a line; a name means all below it too
//! edl       the same for firewalls that fetch external dynamic lists: no comments, `*.name` for what is below a name
//! nftables  a script for `nft -f` that replaces two sets at once: inet sachdns addresses4, addresses6
//! mikrotik  a script for `/import` that replaces an address list: sachdns
//! suricata  a rule an address or name, whose sid is made from what it matches and so stays its own
//! rpz       a response policy zone, with exceptions and all kinds of triggers
//! ```

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::Timestamp;
use siphasher::sip::SipHasher24;

use super::content::{Content, LeftOut};
use super::networks;
use super::rpz::{self, Sinkholed, Writer};
use super::select::{Bare, Feeds, Pick, Selection};
use super::walk::{NameNode, Node, Walk};
use crate::name::{self, Presentation};

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One a line.
    Plain,
    /// A script for nft.
    Nftables,
    /// A script for RouterOS.
    Mikrotik,
    /// A response policy zone.
    Rpz,
    /// An external dynamic list.
    Edl,
    /// Rules for Suricata.
    Suricata,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Nftables, Self::Mikrotik, Self::Rpz, Self::Edl, Self::Suricata];

    /// Its name in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Nftables => "nftables",
            Self::Mikrotik => "mikrotik",
            Self::Rpz => "rpz",
            Self::Edl => "edl",
            Self::Suricata => "suricata",
        }
    }

    /// How names of files in it end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Plain => "txt",
            Self::Nftables => "nft",
            Self::Mikrotik => "rsc",
            Self::Rpz => "zone",
            Self::Edl => "edl",
            Self::Suricata => "rules",
        }
    }

    /// What it holds where nobody says it.
    pub fn usual_kind(self) -> Kind {
        match self {
            Self::Nftables | Self::Mikrotik | Self::Edl => Kind::Addresses,
            Self::Plain | Self::Rpz | Self::Suricata => Kind::All,
        }
    }

    /// Whether it can hold this.
    pub fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Nftables | Self::Mikrotik => kind == Kind::Addresses,
            // Such a list is of one type.
            Self::Edl => kind != Kind::All,
            Self::Plain | Self::Rpz | Self::Suricata => true,
        }
    }

    fn comment(self) -> Option<char> {
        match self {
            Self::Edl => None,
            Self::Rpz => Some(';'),
            Self::Plain | Self::Nftables | Self::Mikrotik | Self::Suricata => Some('#'),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == text);
        known.ok_or("there are plain, nftables, mikrotik, rpz, edl and suricata")
    }
}

/// What is in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Addresses and networks.
    Addresses,
    /// Names.
    Names,
    /// Both.
    All,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Addresses, Self::Names, Self::All];

    /// Its name in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Names => "names",
            Self::All => "all",
        }
    }
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or("there are addresses, names and all")
    }
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// How it is written.
    pub format: Format,
    /// What is in it; one that the format [takes](Format::takes).
    pub kind: Kind,
    /// Whose rules.
    pub feeds: Feeds<'a>,
    /// Networks that no firewall may block.
    pub never: &'a [IpNet],
    /// What a zone has for sinkholed names.
    pub sinkholed: &'a Sinkholed,
    /// The TTL of a zone's records, in seconds.
    pub ttl: u32,
    /// Most entries; what comes behind them is left out.
    pub limit: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Addresses and networks that are in it.
    pub networks: u64,
    /// Names that are in it.
    pub names: u64,
    /// Rules that the format cannot say: exceptions, and blocks only of what is below a name.
    pub unsaid: u64,
    /// Entries beyond the limit.
    pub cut: u64,
    /// What applies to others only.
    pub few: LeftOut,
}

/// Networks that are no one's in particular, or one's own: blocking them would cut off the site (RFC 6890).
pub const PRIVATE: [&str; 17] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// How many entries are written between two calls of `progress`.
const STRIDE: u64 = 8192;
/// What a zone's owners leave free for the zone's name, whatever it will be.
const APEX_ROOM: usize = 64;
/// Elements of one command: so that a message about one shows where.
const ELEMENTS: u64 = 1000;

/// Writes a list of what is published. `progress` is told how many entries are written, and of how many.
///
/// # Errors
/// What `out` says.
pub fn write(
    content: &Content,
    request: &Request<'_>,
    out: &mut dyn Write,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<Summary> {
    let bare = if request.format == Format::Rpz { Bare::LeftOut } else { Bare::Taken };
    let selection = Selection::new(content.layers(), &content.audience(), request.feeds, bare);
    let mut summary = Summary { few: content.left_out(request.feeds), ..Summary::default() };
    each(content, &selection, request, &mut |entry| {
        count(&mut summary, request, &selection, entry);
        ControlFlow::Continue(())
    });
    let total = summary.networks + summary.names;
    let mut list = List { request, selection: &selection, out, state: State::new(request, &selection) };
    list.head(content, &summary)?;
    let mut written = 0;
    let mut failed = Ok(());
    each(content, &selection, request, &mut |entry| {
        // The count is what tells which are beyond the limit.
        let mut one = Summary::default();
        count(&mut one, request, &selection, entry);
        let is_filling = matches!(entry, Entry::Node(Node::Name(NameNode { is_filling: true, .. })));
        if one.networks + one.names == 0 && !is_filling {
            return ControlFlow::Continue(());
        }
        if written >= request.limit {
            return ControlFlow::Break(());
        }
        written += one.networks + one.names;
        if written.is_multiple_of(STRIDE) {
            progress(written, total);
        }
        failed = list.entry(entry);
        if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    failed?;
    list.tail()?;
    progress(total, total);
    Ok(summary)
}

/// One thing that may stand in a list.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Net(IpNet),
    Node(Node<'a>),
}

fn each(
    content: &Content,
    selection: &Selection,
    request: &Request<'_>,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) {
    let Request { format, kind, .. } = *request;
    // Nodes of one key come together, also behind a break.
    let mut is_over = false;
    let mut visit = move |entry: Entry<'_>| {
        is_over = is_over || visit(entry).is_break();
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if format == Format::Rpz {
        let mut walk = if kind == Kind::Names { Walk::names() } else { Walk::all() };
        walk.run(content.layers(), selection, |_, node| match (kind, node) {
            (Kind::Addresses, Node::Name(_)) | (Kind::Names, Node::Network { .. }) => {
                ControlFlow::Continue(())
            }
            _ => visit(Entry::Node(node)),
        });
        return;
    }
    if kind != Kind::Names {
        let flow = networks::run(content.layers(), selection, request.never, |net| visit(Entry::Net(net)));
        if flow.is_break() {
            return;
        }
    }
    if kind != Kind::Addresses {
        Walk::names().run(content.layers(), selection, |_, node| visit(Entry::Node(node)));
    }
}

/// What a list without exceptions has to say of a name.
struct Said {
    /// The name itself is blocked, and not by one above already.
    here: bool,
    /// All below it is.
    below: bool,
    /// It is an exception from one above.
    is_exception: bool,
}

impl Said {
    fn of(selection: &Selection, node: &NameNode<'_>) -> Self {
        let is_block = |pick: Option<Pick>| pick.is_some_and(|pick| selection.is_block(pick));
        let [here, below, above] = [node.here, node.below, node.above].map(is_block);
        Self { here: here && !above, below: below && !above, is_exception: above && !(here && below) }
    }
}

fn count(summary: &mut Summary, request: &Request<'_>, selection: &Selection, entry: Entry<'_>) {
    let counter = match entry {
        Entry::Net(_) | Entry::Node(Node::Network { .. }) => &mut summary.networks,
        Entry::Node(Node::Name(NameNode { is_filling: true, .. })) => return,
        Entry::Node(Node::Name(_)) if request.format == Format::Rpz => &mut summary.names,
        Entry::Node(Node::Name(node)) => {
            let said = Said::of(selection, &node);
            // Who reads a plain list takes a name for one, or for all below it too.
            let can_say = said.here || said.below && request.format != Format::Plain;
            match (can_say, said.below || said.is_exception) {
                (true, _) => &mut summary.names,
                (false, true) => &mut summary.unsaid,
                (false, false) => return,
            }
        }
    };
    *counter += 1;
    if summary.networks + summary.names > request.limit {
        match entry {
            Entry::Net(_) | Entry::Node(Node::Network { .. }) => summary.networks -= 1,
            Entry::Node(Node::Name(_)) => summary.names -= 1,
        }
        summary.cut += 1;
    }
}

struct List<'a> {
    request: &'a Request<'a>,
    selection: &'a Selection,
    out: &'a mut dyn Write,
    state: State,
}

/// What a format keeps from entry to entry.
struct State {
    zone: Writer,
    wire: Vec<u8>,
    /// Elements of the family that is being written.
    elements: u64,
    is_v6: bool,
    sids: HashSet<u32>,
}

impl State {
    fn new(request: &Request<'_>, selection: &Selection) -> Self {
        let zone = Writer::new(selection, request.sinkholed, request.ttl, APEX_ROOM);
        Self { zone, wire: Vec::new(), elements: 0, is_v6: false, sids: HashSet::new() }
    }
}

impl List<'_> {
    fn head(&mut self, content: &Content, summary: &Summary) -> io::Result<()> {
        let Self { request, out, .. } = self;
        let Request { format, kind, feeds, .. } = *request;
        let built = Timestamp::from_microsecond(content.changed_at()).unwrap_or(Timestamp::UNIX_EPOCH);
        if let Some(mark) = format.comment() {
            let feeds = content.sources(*feeds);
            writeln!(out, "{mark} SachDNS, list of {} ({format})", kind.as_str())?;
            if let Some(agency) = content.agency() {
                writeln!(out, "{mark} for the agency {agency}")?;
            }
            writeln!(out, "{mark} built {built:.0} from: {}", feeds.join(", "))?;
            writeln!(
                out,
                "{mark} entries: {} addresses and networks, {} names",
                summary.networks, summary.names
            )?;
            if summary.unsaid > 0 {
                writeln!(
                    out,
                    "{mark} left out: {} rules that this format cannot say (exceptions, only what is below a name)",
                    summary.unsaid
                )?;
            }
            if !summary.few.is_empty() {
                writeln!(out, "{mark} left out, as it is not for everybody here: {}", summary.few)?;
            }
            if summary.cut > 0 {
                writeln!(
                    out,
                    "{mark} left out: {} entries beyond the limit of {}",
                    summary.cut, request.limit
                )?;
            }
            writeln!(
                out,
                "{mark} What is listed stands under the licences of the feeds that it comes from: heed them before you pass it on."
            )?;
        }
        match format {
            Format::Nftables => {
                writeln!(
                    out,
                    "# Load it with `nft -f`; refer to the sets as @addresses4 and @addresses6 in this table."
                )?;
                writeln!(out, "add table inet sachdns")?;
                for (set, family) in [("addresses4", "ipv4_addr"), ("addresses6", "ipv6_addr")] {
                    writeln!(out, "add set inet sachdns {set} {{ type {family}; flags interval; }}")?;
                    writeln!(out, "flush set inet sachdns {set}")?;
                }
            }
            Format::Mikrotik => self.address_list(false)?,
            Format::Rpz => {
                // Seconds, modulo 2³², as serial numbers go.
                let serial = built.as_second() as u32;
                let rpz::Times { refresh, retry, expire, negative } = rpz::TIMES;
                writeln!(out, "$TTL {}", request.ttl)?;
                writeln!(
                    out,
                    "@ SOA localhost. root.localhost. {serial} {refresh} {retry} {expire} {negative}"
                )?;
                writeln!(out, "@ NS localhost.")?;
            }
            Format::Plain | Format::Edl | Format::Suricata => {}
        }
        Ok(())
    }

    fn address_list(&mut self, is_v6: bool) -> io::Result<()> {
        writeln!(self.out, "/{} firewall address-list", if is_v6 { "ipv6" } else { "ip" })?;
        writeln!(self.out, "remove [find where list=sachdns]")
    }

    fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        match entry {
            Entry::Node(node) if self.request.format == Format::Rpz => self.records(node),
            Entry::Net(net) => self.network(net),
            Entry::Node(Node::Name(node)) => self.name(node),
            Entry::Node(Node::Network { .. }) => Ok(()),
        }
    }

    fn records(&mut self, node: Node<'_>) -> io::Result<()> {
        let mut written = Ok(());
        self.state.zone.write(node, |record| {
            if written.is_ok() {
                written = writeln!(self.out, "{record}");
            }
        });
        written
    }

    fn network(&mut self, net: IpNet) -> io::Result<()> {
        let is_v6 = net.addr().is_ipv6();
        match self.request.format {
            Format::Plain | Format::Edl => writeln!(self.out, "{}", Short(net)),
            Format::Nftables => {
                if is_v6 != self.state.is_v6 {
                    self.close_elements()?;
                    (self.state.is_v6, self.state.elements) = (is_v6, 0);
                }
                if self.state.elements.is_multiple_of(ELEMENTS) {
                    self.close_elements()?;
                    let set = if is_v6 { "addresses6" } else { "addresses4" };
                    writeln!(self.out, "add element inet sachdns {set} {{")?;
                }
                self.state.elements += 1;
                writeln!(self.out, "    {},", Short(net))
            }
            Format::Mikrotik => {
                if is_v6 && !std::mem::replace(&mut self.state.is_v6, true) {
                    self.address_list(true)?;
                }
                writeln!(self.out, "add list=sachdns address={}", Short(net))
            }
            Format::Suricata => {
                let text = Short(net).to_string();
                let sid = sid(text.as_bytes(), &mut self.state.sids);
                writeln!(
                    self.out,
                    "alert ip $HOME_NET any -> {text} any (msg:\"SachDNS: {text}\"; classtype:trojan-activity; sid:{sid}; rev:1;)"
                )
            }
            Format::Rpz => Ok(()),
        }
    }

    fn close_elements(&mut self) -> io::Result<()> {
        if self.state.elements > 0 { writeln!(self.out, "}}") } else { Ok(()) }
    }

    fn name(&mut self, node: NameNode<'_>) -> io::Result<()> {
        let NameNode { key, here, below, is_filling, .. } = node;
        let Said { here: is_here, below: is_below, .. } = Said::of(self.selection, &node);
        self.state.wire.clear();
        if is_filling || name::push_key(key, &mut self.state.wire).is_none() {
            return Ok(());
        }
        let name = Presentation(&self.state.wire);
        match self.request.format {
            Format::Plain => writeln!(self.out, "{name}"),
            Format::Edl => {
                if is_here {
                    writeln!(self.out, "{name}")?;
                }
                if is_below {
                    writeln!(self.out, "*.{name}")?;
                }
                Ok(())
            }
            Format::Suricata => {
                let family = here.or(below).and_then(|pick| self.selection.family(pick));
                let family = family.map(|family| format!(" ({})", Plain(family))).unwrap_or_default();
                // As it stands in queries: nothing in it is escaped but by the rule's own means.
                let octets = name::labels(&self.state.wire).collect::<Vec<_>>().join(&b'.');
                let content = Quoted(&octets);
                let matching = match (is_here, is_below) {
                    (true, true) => format!("dotprefix; content:\".{content}\"; nocase; endswith"),
                    (true, false) => format!("content:\"{content}\"; nocase; startswith; endswith"),
                    _ => format!("content:\".{content}\"; nocase; endswith"),
                };
                let sid = sid(&octets, &mut self.state.sids);
                writeln!(
                    self.out,
                    "alert dns $HOME_NET any -> any any (msg:\"SachDNS: {content}{family}\"; dns.query; {matching}; classtype:trojan-activity; sid:{sid}; rev:1;)"
                )
            }
            Format::Nftables | Format::Mikrotik | Format::Rpz => Ok(()),
        }
    }

    fn tail(&mut self) -> io::Result<()> {
        match self.request.format {
            Format::Nftables => self.close_elements(),
            // Whatever was in the list before must go.
            Format::Mikrotik if !self.state.is_v6 => self.address_list(true),
            _ => Ok(()),
        }
    }
}

/// A number for what a rule matches: the same in each list, but where two have one hash and the later is
/// counted up. Above those that rule sets of others use.
fn sid(matched: &[u8], taken: &mut HashSet<u32>) -> u32 {
    const FIRST: u32 = 3_000_000_000;
    const COUNT: u64 = (u32::MAX - FIRST) as u64;
    let mut number = SipHasher24::new().hash(matched) % COUNT;
    while !taken.insert(number as u32) {
        number = (number + 1) % COUNT;
    }
    FIRST + number as u32
}

/// A network; an address where it is one.
struct Short(IpNet);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.addr();
        if IpNet::from(address) == self.0 { address.fmt(f) } else { self.0.fmt(f) }
    }
}

/// Octets as a rule's content: what has a meaning there is hexadecimal.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &octet in self.0 {
            if octet.is_ascii_alphanumeric() || b"-_.*".contains(&octet) {
                write!(f, "{}", char::from(octet))?;
            } else {
                write!(f, "|{octet:02x}|")?;
            }
        }
        Ok(())
    }
}

/// A text without what ends a rule's message.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |c: char| if c.is_control() || "\";\\|:".contains(c) { ' ' } else { c };
        self.0.chars().try_for_each(|c| write!(f, "{}", safe(c)))
    }
}

#[cfg(test)]
mod tests;
