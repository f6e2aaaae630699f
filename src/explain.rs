//! What there is to tell of a name: every rule that touched it, what became of each and why, and the answer that comes of it.
//!
//! Types and the words of commands only, owned, so that commands print them and pages show them. Who wins is `policy::decide`'s; the
//! daemon asks it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::name::Name;
use crate::policy::decide::Reason;
use crate::policy::guard::Guarded;
use crate::policy::layers::Layer;
use crate::policy::rule::Severity;
use crate::policy::trigger::{Scope, Trigger};
use crate::rules::{Entry, Subject};

/// What is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The record type.
    pub qtype: u16,
    /// Who asks.
    pub client: Option<IpAddr>,
    /// Names that the answer's aliases lead to, in their order.
    pub cname: Vec<Name>,
    /// Addresses in the answer.
    pub answer_ip: Vec<IpAddr>,
    /// Name servers of the name's zones.
    pub ns: Vec<Name>,
    /// Addresses of such name servers.
    pub ns_ip: Vec<IpAddr>,
}

impl Question {
    /// Of a name alone.
    pub fn of(name: Name, qtype: u16) -> Self {
        let (cname, answer_ip, ns, ns_ip) = Default::default();
        Self { name, qtype, client: None, cname, answer_ip, ns, ns_ip }
    }

    /// The name at a stage of the chain.
    pub fn stage(&self, stage: u8) -> &Name {
        match usize::from(stage).checked_sub(1) {
            None => &self.name,
            Some(at) => self.cname.get(at).unwrap_or(&self.name),
        }
    }
}

/// All that there is to tell.
#[derive(Debug, Clone)]
pub struct Story {
    /// Who asks.
    pub client: Client,
    /// Names of the chain that no address or name server alone takes, and why.
    pub guarded: Vec<(Name, Guarded)>,
    /// Every rule that was considered.
    pub accounts: Vec<Account>,
    /// What rules look at and nobody told.
    pub unknown: Vec<Trigger>,
    /// Why the rule waits until the name is resolved.
    pub waits: Option<Waits>,
    /// What comes of it.
    pub answer: Answer,
}

/// The client of a query, as far as it matters.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Whether it is in a network that is answered; without a client, what those are told who may ask.
    pub is_answered: bool,
    /// The id and name of its agency.
    pub agency: Option<(Arc<str>, Arc<str>)>,
}

impl Client {
    /// The id of its agency.
    pub fn agency_id(&self) -> Option<&str> {
        self.agency.as_ref().map(|(id, _)| &**id)
    }
}

/// A rule that was considered.
#[derive(Debug, Clone)]
pub struct Account {
    /// What it lists.
    pub thing: Thing,
    /// Whose it is.
    pub layer: Layer,
    /// Of which feed.
    pub feed: Arc<str>,
    /// The malware family.
    pub family: Option<String>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// What it does.
    pub action: String,
    /// What became of it.
    pub fate: Fate,
    /// Where the feed has it, if that was looked for.
    pub place: Option<Place>,
    /// An analyst's: when and by whom it was given, and why.
    pub given: Option<Entry>,
}

/// What became of a rule, and why.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It decides.
    Decides,
    /// It is an exception in shadow, which changes nothing.
    ShadowException,
    /// It would decide, and was given to show in the log only.
    ShadowOwn,
    /// It would decide, were its feed not in shadow.
    ShadowFeed(Arc<str>),
    /// It would decide, but this name is guarded.
    Guarded(Name, Guarded),
    /// It does not cover the name that was told.
    OutOfScope(Scope),
    /// It is an analyst's for this agency only.
    OnlyAgency(Option<Arc<str>>),
    /// Its feed is not for this agency.
    NotFor(Arc<str>, String),
    /// Its feed is for these only.
    OnlyFor(Arc<str>, Vec<Arc<str>>),
    /// It does not apply to this client.
    OtherClient,
    /// Another one came before it.
    Behind {
        /// What that one lists.
        first: Thing,
        /// Whose it is.
        layer: Layer,
        /// Of which feed.
        feed: Arc<str>,
        /// Why it came before.
        reason: Reason,
        /// What it looks at, and what this one does.
        triggers: [Trigger; 2],
    },
}

impl Fate {
    /// Its word for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Decides => "decides",
            Self::ShadowException | Self::ShadowOwn | Self::ShadowFeed(_) => "shadow",
            Self::Guarded(..) => "guarded",
            Self::OutOfScope(_) => "out-of-scope",
            Self::OnlyAgency(_) | Self::NotFor(..) | Self::OnlyFor(..) | Self::OtherClient => {
                "other-audience"
            }
            Self::Behind { .. } => "outranked",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decides => f.write_str("decides"),
            Self::ShadowException => f.write_str("is in shadow, where an exception changes nothing"),
            Self::ShadowOwn => f.write_str("would decide, but was given as shadow: it only shows in the log"),
            Self::ShadowFeed(feed) => {
                write!(f, "would decide, but feed {feed} is in shadow: it only shows in the log")
            }
            Self::Guarded(name, why) => write!(
                f,
                "would decide, but {name} is {}: no address or name server alone takes such a name, it only shows in the log",
                guarded_word(*why)
            ),
            Self::OutOfScope(Scope::Exact) => {
                f.write_str("does not cover this name: it is for the listed one alone")
            }
            Self::OutOfScope(_) => f.write_str("does not cover this name: it is for what is below it"),
            Self::OnlyAgency(agency) => {
                write!(f, "does not apply: it is for agency {} only", agency.as_deref().unwrap_or("?"))
            }
            Self::NotFor(feed, agency) => {
                write!(f, "does not apply: feed {feed} is not for agency {agency}")
            }
            Self::OnlyFor(feed, only) => {
                write!(f, "does not apply: feed {feed} is only for {}", only.join(", "))
            }
            Self::OtherClient => f.write_str("does not apply to this client"),
            Self::Behind { first, layer, feed, reason, triggers: [winner, other] } => {
                write!(f, "comes behind {first} of {}: ", source_of(*layer, feed))?;
                f.write_str(match reason {
                    Reason::Stage => "it is met earlier in the chain of aliases",
                    Reason::Own => "analysts' rules come before those of feeds",
                    Reason::Feed => "its feed comes first in the configuration",
                    Reason::Trigger => {
                        let (winner, other) = (trigger_word(*winner), trigger_word(*other));
                        return write!(f, "of one feed, {winner} comes before {other}");
                    }
                    Reason::Length => "what it lists is longer",
                    Reason::Address => "its address is the lower one",
                    Reason::Name => "it acts by the name, which an address alone gives way to",
                    Reason::Exception => "it is an exception for the same name",
                    Reason::First => "it stands first",
                })
            }
        }
    }
}

/// Why a name is guarded, in a word.
pub fn guarded_word(why: Guarded) -> &'static str {
    match why {
        Guarded::Protected => "protected",
        Guarded::Popular => "popular",
    }
}

fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::ClientIp => "the client",
        Trigger::Qname => "the name",
        Trigger::Ip => "the answer's address",
        Trigger::Nsdname => "a name server's name",
        Trigger::Nsip => "a name server's address",
        Trigger::Address => "an address alone",
    }
}

/// Whose rule it is.
pub fn source_of(layer: Layer, feed: &str) -> String {
    match layer {
        Layer::Own => "analysts".to_owned(),
        Layer::Feeds => format!("feed {feed}"),
    }
}

/// What a rule lists.
#[derive(Debug, Clone)]
pub enum Thing {
    /// A name.
    Name(Name, Scope, Trigger),
    /// An address or a network.
    Network(IpNet, Trigger),
}

impl Thing {
    /// What analysts' rules are found by.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Name(name, scope, _) => Subject::Name(name.clone(), *scope),
            Self::Network(net, _) => Subject::Network(*net),
        }
    }

    /// What of a query it is compared with.
    pub fn trigger(&self) -> Trigger {
        let (Self::Name(_, _, trigger) | Self::Network(_, trigger)) = self;
        *trigger
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, scope, Trigger::Qname) => write!(f, "{name} ({scope})"),
            Self::Name(name, scope, trigger) => write!(f, "{name} ({trigger}, {scope})"),
            Self::Network(network, trigger) => write!(f, "{network} ({trigger})"),
        }
    }
}

/// Where a feed has what a rule lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this line of what is there.
    Line(String, u64),
    /// Not any more in this.
    Gone(String),
    /// In this, which cannot be read now.
    Unreadable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(origin, line) => write!(f, "{origin}:{line}"),
            Self::Gone(origin) => write!(f, "no longer in {origin}"),
            Self::Unreadable(origin) => write!(f, "{origin} cannot be read now"),
        }
    }
}

/// Why a rule waits until the name is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Its feed says so.
    Feed,
    /// An earlier feed has rules on answers.
    Earlier,
}

impl Waits {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feed => "qname_wait_recurse of its feed",
            Self::Earlier => "an earlier feed has rules on answers",
        }
    }
}

/// What comes of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// By whom it is given.
    pub source: Answerer,
    /// In words of commands.
    pub text: String,
}

/// Who gives an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answerer {
    /// Nobody can ask that, or this client may not.
    Refusal,
    /// The rule: what it says is the answer's text.
    Rule,
    /// The rule, by leading to this name.
    Alias(Name),
    /// The rule, by not answering.
    Silence,
    /// The rule, by asking for TCP.
    Tcp,
    /// This local zone.
    Zone(Name),
    /// The server itself: it is a special name.
    Special,
    /// The upstreams.
    Upstreams,
}
