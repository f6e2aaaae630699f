//! What feeds list: families as the campaign's lists have them, under names that nobody can own (RFC 6761), and the files of the feeds.

use std::fmt::Write as _;

use super::dice::Dice;
use crate::evidence::record::Severity;
use crate::name::Name;

/// A malware family or a kind of fraud.
#[derive(Debug)]
pub(super) struct Family {
    /// As lists call it; empty for addresses, of which they say nothing.
    pub(super) name: &'static str,
    /// How bad it is.
    pub(super) severity: Severity,
    /// The feed that lists it.
    pub(super) feed: usize,
    /// How many of a hundred infections are of it.
    pub(super) share: u64,
    /// What it does.
    pub(super) kind: Kind,
    /// Where it calls: the port of its contacts.
    pub(super) port: u16,
}

/// What a family does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It calls its server, again and again.
    Calls,
    /// Somebody opens a link.
    Click,
    /// A name leads to a listed address.
    Address,
}

/// The feeds, in order.
pub(super) const AUTHORITY: usize = 0;
const PHISHING: usize = 1;
const BOTNETS: usize = 2;
const PARTNER: usize = 3;
pub(super) const ADDRESSES: usize = 4;
pub(super) const TRIAL: usize = 5;

/// A feed of the province.
#[derive(Debug)]
pub(super) struct Feed {
    /// Its name in the configuration.
    pub(super) name: &'static str,
    /// Its file.
    pub(super) file: &'static str,
    /// What the configuration says of it beside that.
    pub(super) settings: &'static str,
    /// How much it lists beside what is met.
    filler: u64,
}

/// All of them.
pub(super) const FEEDS: [Feed; 6] = [
    Feed { name: "authority", file: "authority.csv", settings: "format = \"csv\"\n", filler: 3200 },
    Feed {
        name: "phishing",
        file: "phishing.txt",
        settings: "family = \"Lừa đảo trực tuyến\"\nseverity = \"medium\"\n",
        filler: 1900,
    },
    Feed { name: "botnets", file: "botnets.csv", settings: "format = \"csv\"\n", filler: 1400 },
    Feed { name: "partner", file: "partner.csv", settings: "format = \"csv\"\n", filler: 900 },
    Feed {
        name: "addresses",
        file: "addresses.txt",
        settings: "format = \"ip\"\nseverity = \"high\"\n",
        filler: 40,
    },
    Feed {
        name: "trial",
        file: "trial.txt",
        settings: "action = \"shadow\"\nfamily = \"Quảng cáo\"\nseverity = \"low\"\n",
        filler: 300,
    },
];

const fn family(
    name: &'static str,
    severity: Severity,
    feed: usize,
    share: u64,
    kind: Kind,
    port: u16,
) -> Family {
    Family { name, severity, feed, share, kind, port }
}

/// All families.
pub(super) const FAMILIES: [Family; 20] = [
    family("AgentTesla", Severity::High, AUTHORITY, 11, Kind::Calls, 587),
    family("FormBook", Severity::High, AUTHORITY, 8, Kind::Calls, 80),
    family("Lokibot", Severity::High, AUTHORITY, 7, Kind::Calls, 80),
    family("RedLine Stealer", Severity::High, AUTHORITY, 8, Kind::Calls, 443),
    family("Raccoon Stealer", Severity::High, BOTNETS, 4, Kind::Calls, 80),
    family("njRAT", Severity::Critical, AUTHORITY, 6, Kind::Calls, 5552),
    family("AsyncRAT", Severity::Critical, BOTNETS, 4, Kind::Calls, 6606),
    family("Remcos", Severity::Critical, BOTNETS, 4, Kind::Calls, 2404),
    family("Mirai botnet", Severity::High, BOTNETS, 5, Kind::Calls, 23),
    family("QakBot", Severity::Critical, BOTNETS, 3, Kind::Calls, 443),
    family("Cobalt Strike C2", Severity::Critical, AUTHORITY, 2, Kind::Calls, 443),
    family("PlugX", Severity::Critical, AUTHORITY, 2, Kind::Calls, 443),
    family("Sality", Severity::High, AUTHORITY, 6, Kind::Calls, 80),
    family("Conficker", Severity::Medium, AUTHORITY, 4, Kind::Calls, 80),
    family("Ramnit", Severity::High, PARTNER, 4, Kind::Calls, 443),
    family("XMRig", Severity::Medium, PARTNER, 5, Kind::Calls, 3333),
    family("Lừa đảo trực tuyến", Severity::Medium, PHISHING, 9, Kind::Click, 80),
    family("Giả mạo ngân hàng", Severity::High, AUTHORITY, 4, Kind::Click, 443),
    family("Giả mạo cơ quan nhà nước", Severity::High, AUTHORITY, 2, Kind::Click, 80),
    family("", Severity::High, ADDRESSES, 2, Kind::Address, 443),
];

/// Names of one family that machines ask for.
const MET: usize = 6;
/// Words of made-up names.
const WORDS: [&str; 30] = [
    "update",
    "secure",
    "login",
    "cdn",
    "sync",
    "mail",
    "office",
    "cloud",
    "system",
    "driver",
    "flash",
    "crack",
    "keygen",
    "bonus",
    "verify",
    "account",
    "support",
    "service",
    "telemetry",
    "stats",
    "node",
    "panel",
    "gate",
    "api",
    "files",
    "docs",
    "invoice",
    "delivery",
    "news",
    "vn",
];

/// What a feed lists and machines ask for.
#[derive(Debug, Clone)]
pub(super) struct Indicator {
    /// The name, or what leads to the address.
    pub(super) name: Name,
    /// Which family.
    pub(super) family: usize,
    /// The listed address, where it is one.
    pub(super) address: Option<[u8; 4]>,
    /// From when on it is listed.
    pub(super) since: i64,
}

/// Everything that is listed, by and by.
#[derive(Debug)]
pub(super) struct Threats {
    /// What machines ask for, by family.
    pub(super) met: Vec<Vec<Indicator>>,
    /// What only the feed on trial lists.
    pub(super) trial: Vec<Name>,
    seed: u64,
    /// When new versions come.
    pub(super) versions: [i64; 3],
}

/// Which version of a feed's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// What is listed as of a time.
    AsOf(i64),
    /// One that has lost most of what it had.
    Broken,
}

impl Threats {
    /// Those of a province; `versions` are the times at which feeds change, the first that of the beginning.
    pub(super) fn new(seed: u64, versions: [i64; 3]) -> Self {
        let mut dice = Dice::of(seed, 31, 0);
        let met = FAMILIES.iter().enumerate().map(|(family, facts)| {
            let of = |at: usize, dice: &mut Dice| {
                // Of each family, one name becomes known later, and of some a second one.
                let since = match at {
                    5 => versions[1],
                    4 if family % 3 == 0 => versions[2],
                    _ => i64::MIN,
                };
                let address = (facts.kind == Kind::Address).then(|| [203, 0, 113, 10 + at as u8]);
                indicator(&made_up(dice), family, address, since)
            };
            (0..MET).filter_map(|at| of(at, &mut dice)).collect()
        });
        let met = met.collect();
        let trial = (0..8).filter_map(|n| Name::from_host(&format!("quang-cao-{n}.example")).ok()).collect();
        Self { met, trial, seed, versions }
    }

    /// The text of a feed's file.
    pub(super) fn text(&self, feed: usize, edition: Edition) -> String {
        let facts = &FEEDS[feed];
        let mut text = String::new();
        let is_table = facts.file.ends_with(".csv");
        if is_table {
            text.push_str("Tên miền,Mã độc,Mức độ\n");
        } else {
            let _ = writeln!(text, "# {}: made up for a demonstration", facts.name);
        }
        let mut line = |name: &str, family: &Family| {
            let _ = match is_table {
                true => writeln!(text, "{name},{},{}", family.name, family.severity.as_str()),
                false => writeln!(text, "{name}"),
            };
        };
        let as_of = match edition {
            Edition::AsOf(time) => time,
            Edition::Broken => i64::MAX,
        };
        for indicator in self.met.iter().flatten().filter(|it| it.since <= as_of) {
            let family = &FAMILIES[indicator.family];
            if family.feed == feed {
                match indicator.address {
                    Some(address) => line(&std::net::Ipv4Addr::from(address).to_string(), family),
                    None => line(&indicator.name.to_string(), family),
                }
            }
        }
        let mut dice = Dice::of(self.seed, 32, feed as u64);
        let families: Vec<&Family> = FAMILIES.iter().filter(|it| it.feed == feed).collect();
        let filler = match edition {
            Edition::Broken => facts.filler / 5,
            // Lists grow.
            Edition::AsOf(time) => {
                let changes = self.versions.iter().filter(|version| **version <= time).count() as u64;
                facts.filler + changes * facts.filler / 25
            }
        };
        for number in 0..filler {
            let family = families.get(dice.index(families.len())).copied().unwrap_or(&FAMILIES[0]);
            match feed {
                ADDRESSES => line(&format!("203.0.113.{}", 40 + number), family),
                _ => line(&made_up(&mut dice), family),
            }
        }
        if feed == TRIAL {
            self.trial.iter().for_each(|name| line(&name.to_string(), &FAMILIES[0]));
        }
        if edition == Edition::Broken {
            ["chinhphu.vn", "mail.gov.vn", "zalo.me", "vnexpress.net"]
                .iter()
                .for_each(|name| line(name, families.first().copied().unwrap_or(&FAMILIES[0])));
        }
        text
    }

    /// A family, by how common they are.
    pub(super) fn draw(dice: &mut Dice) -> usize {
        let all: u64 = FAMILIES.iter().map(|family| family.share).sum();
        let mut left = dice.below(all);
        let found = FAMILIES.iter().position(|family| {
            let is_it = left < family.share;
            left = left.saturating_sub(family.share);
            is_it
        });
        found.unwrap_or(0)
    }
}

fn indicator(name: &str, family: usize, address: Option<[u8; 4]>, since: i64) -> Option<Indicator> {
    Some(Indicator { name: Name::from_host(name).ok()?, family, address, since })
}

fn made_up(dice: &mut Dice) -> String {
    let (one, other) = (dice.pick(&WORDS), dice.pick(&WORDS));
    let end = if dice.percent(50) { "test" } else { "example" };
    match dice.below(3) {
        0 => format!("{one}-{other}{}.{end}", dice.below(9000)),
        1 => format!("{one}.{other}-{:x}.{end}", dice.below(1 << 24)),
        _ => format!("{:x}{one}.{end}", dice.below(1 << 28)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_have_nobodys_names() {
        let threats = Threats::new(1, [10, 20, 30]);
        for feed in 0..FEEDS.len() {
            let lines = |edition| threats.text(feed, edition).lines().count();
            assert!(lines(Edition::AsOf(10)) < lines(Edition::AsOf(30)), "{feed}");
            assert!(lines(Edition::Broken) < lines(Edition::AsOf(10)) / 2, "{feed}");
            let text = threats.text(feed, Edition::AsOf(30));
            let is_nobodys = |line: &str| {
                let name = line.split(',').next().unwrap_or_default();
                name.ends_with(".test") || name.ends_with(".example") || name.starts_with("203.0.113.")
            };
            assert!(text.lines().skip(1).all(is_nobodys), "{feed}");
        }
        assert!(threats.met.iter().all(|names| names.len() == MET));
    }
}
