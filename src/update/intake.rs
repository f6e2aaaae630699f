//! One feed on its way into the compiler: what it lists becomes rules, as far as the gate admits it.
//!
//! Counts and keeps examples; which version is read, and what follows from a verdict, is `rounds`'s.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::feed::address::Treatment;
use crate::feed::gate::{Examples, Trial};
use crate::feed::source::Source;
use crate::feed::store::Counts;
use crate::feed::{Diagnostic, Fault, Format, Indicator, Sink, Value};
use crate::policy::action::Action;
use crate::policy::compile::{CompileError, Compiler, Listing};
use crate::policy::rule::{FeedIndex, Mode};
use crate::policy::trigger::{Scope, Trigger};

/// Diagnostics of a feed that are kept whole; all are counted.
const EXAMPLES: usize = 3;
/// Different reasons that are told apart: some carry words of the feed's own.
const REASONS: usize = 100;

/// What came of one feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Its name.
    pub name: String,
    /// How it was read.
    pub format: Format,
    /// Indicators by kind.
    pub names: u64,
    /// Addresses and networks of an RPZ's triggers.
    pub networks: u64,
    /// Bare addresses and networks, as other lists have them.
    pub addresses: u64,
    /// URLs and hosts with a path: never a rule.
    pub urls: u64,
    /// Lines that gave nothing, by reason.
    pub faults: BTreeMap<String, u64>,
    /// The first of them: the line's number, what is wrong with it, how it starts.
    pub examples: Vec<String>,
    /// Names that are left out.
    pub set_aside: Examples,
    /// Whether the version is put in force by this build.
    pub is_new: bool,
    /// What somebody should look after, in words.
    pub troubles: Vec<String>,
}

impl FeedReport {
    /// How many lines gave nothing.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Takes what one version of a feed lists.
pub(super) struct Intake<'a> {
    /// `None`: it is only judged.
    pub(super) compiler: Option<&'a mut Compiler>,
    pub(super) feed: FeedIndex,
    pub(super) source: &'a Source,
    pub(super) trial: Trial<'a>,
    pub(super) report: FeedReport,
    pub(super) failure: Option<CompileError>,
    /// When the first of the indicators ends.
    pub(super) next_expiry: Option<i64>,
}

impl Intake<'_> {
    /// Adds a rule; the rest of a feed that cannot be taken is only counted.
    fn add(&mut self, add: impl FnOnce(&mut Compiler) -> Result<(), CompileError>) {
        if let (Some(compiler), None) = (&mut self.compiler, &self.failure) {
            self.failure = add(compiler).err();
        }
    }

    /// Adds a rule on an address or a network that a list has as such.
    fn add_bare(&mut self, net: IpNet, listing: Listing<'_>) {
        let mode = match (self.source.addresses.treatment, listing.mode, &listing.action) {
            (Treatment::Ignore, ..) => return,
            // An exception cannot take anything away.
            (Treatment::Guarded, Mode::Enforced, action) if *action != Action::Passthru => Mode::Guarded,
            (_, mode, _) => mode,
        };
        self.add(|compiler| compiler.add_network(Trigger::Address, net, Listing { mode, ..listing }));
    }

    /// Why an indicator is none that a rule could be made of.
    fn fault(&self, indicator: &Indicator, action: &Action) -> Option<Fault> {
        let net = match &indicator.value {
            Value::Ip(address) => IpNet::from(*address),
            Value::Net(net) => *net,
            Value::Name(..) | Value::Url(_) => return None,
        };
        let addresses = &self.source.addresses;
        match (indicator.trigger, addresses.treatment) {
            (None, Treatment::Ignore) => None,
            (None, Treatment::Guarded | Treatment::Enforced) => addresses.check(net).err(),
            // An exception cannot take anything away, and who opens the gate to a zone answers for it.
            (Some(_), _) if self.trial.is_open() || *action == Action::Passthru => None,
            (Some(Trigger::ClientIp), _) => addresses.check_clients(net).err(),
            (Some(_), _) => addresses.check_reach(net).err(),
        }
    }

    /// How firm a rule is whose trigger is none by the name itself: many names are led by one address, or served by one server.
    fn firmness(&self, trigger: Option<Trigger>, action: &Action, mode: Mode) -> Mode {
        let is_indirect = matches!(trigger, Some(Trigger::Ip | Trigger::Nsdname | Trigger::Nsip));
        let is_held = is_indirect && !self.trial.is_open() && *action != Action::Passthru;
        if is_held && mode == Mode::Enforced { Mode::Guarded } else { mode }
    }

    /// What came of it, but for what follows from the verdict.
    pub(super) fn finish(self, format: Format) -> FeedReport {
        let Counts { names, networks, addresses, urls, .. } = self.trial.counts();
        let set_aside = self.trial.set_aside();
        FeedReport { format, names, networks, addresses, urls, set_aside, ..self.report }
    }
}

impl Sink for Intake<'_> {
    fn indicator(&mut self, indicator: Indicator) {
        let (action, mode) = self.source.action.of(indicator.action.clone());
        if let Some(fault) = self.fault(&indicator, &action) {
            let (line, text) = (indicator.line, indicator.value.to_string());
            return self.diagnostic(Diagnostic { line, fault, text });
        }
        if !self.trial.admits(&indicator, &action) {
            return;
        }
        let mode = self.firmness(indicator.trigger, &action, mode);
        let Indicator { value, trigger, family, severity, expires, .. } = indicator;
        self.next_expiry = self.next_expiry.into_iter().chain(expires).min();
        let feed = self.feed;
        let listing = |scope| Listing { feed, scope, action, mode, family: family.as_ref(), severity };
        match (value, trigger) {
            (Value::Name(name, scope), Some(Trigger::Nsdname)) => {
                self.add(|compiler| compiler.add_server(&name, listing(scope)));
            }
            (Value::Name(name, scope), _) => self.add(|compiler| compiler.add(&name, listing(scope))),
            (Value::Ip(address), Some(trigger)) => {
                self.add(|compiler| compiler.add_network(trigger, address.into(), listing(Scope::Exact)));
            }
            (Value::Net(net), Some(trigger)) => {
                self.add(|compiler| compiler.add_network(trigger, net, listing(Scope::Exact)));
            }
            (Value::Ip(address), None) => self.add_bare(address.into(), listing(Scope::Exact)),
            (Value::Net(net), None) => self.add_bare(net, listing(Scope::Exact)),
            (Value::Url(_), _) => {}
        }
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        self.trial.note(&diagnostic);
        let faults = &mut self.report.faults;
        let reason = diagnostic.fault.to_string();
        let is_room = faults.len() < REASONS || faults.contains_key(&reason);
        *faults.entry(if is_room { reason } else { "other reasons".to_owned() }).or_default() += 1;
        if self.report.examples.len() < EXAMPLES {
            self.report.examples.push(diagnostic.to_string());
        }
    }
}
