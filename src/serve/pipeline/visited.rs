//! Why somebody was led to the sinkhole, as it can be told when they come: what the policy says about the name in their browser, about
//! what was resolved for it just before, or about the address that they asked for.
//!
//! From memory alone: nothing is resolved and nothing waited for. Precedence is `policy::decide`'s.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{AskFlags, CacheKey, Found, Pipeline};
use crate::name::{Key, Name};
use crate::policy::decide::{Reckoning, Ruling, Unobserved};
use crate::policy::trigger::Trigger;
use crate::wire::{CLASS_IN, rtype};

/// A rule that made a name or an address lead to the sinkhole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The feed that it comes from.
    pub feed: Arc<str>,
    /// The malware family, where the feed says so.
    pub family: Option<String>,
    /// Whether an address is listed, and not the name.
    pub is_address: bool,
}

impl Pipeline {
    /// What the policy says about `host`, a name or an address as browsers write them, when `client` comes with it.
    pub fn listed(&self, host: &str, client: IpAddr, now: Instant) -> Option<Listed> {
        let state = self.state();
        let asker = state.rules.asker(&state.agencies, client);
        let mut unobserved = Unobserved;
        let mut reckoning = Reckoning::new(state.rules.layers(), asker, &mut unobserved);
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            reckoning.address(0, address);
        } else {
            let name = Name::from_host(host).ok()?;
            reckoning.name(0, &Key::from(&name));
            for found in [rtype::A, rtype::AAAA].iter().flat_map(|qtype| self.known(&name, *qtype, now)) {
                let answer = &found.entry.answer;
                let mut stage = 0;
                answer.for_each_alias(|target, _| {
                    stage += 1;
                    if let Some(key) = Key::from_wire(target.as_wire()) {
                        reckoning.name(stage, &key);
                    }
                });
                answer.all_addresses().for_each(|address| reckoning.address(stage, address));
            }
        }
        let ruling = reckoning.decision().ruling.filter(Ruling::is_hit)?;
        Some(Listed {
            feed: Arc::clone(&ruling.feed.name),
            family: ruling.family.map(str::to_owned),
            is_address: matches!(ruling.rule.trigger, Trigger::Ip | Trigger::Address | Trigger::Nsip),
        })
    }

    /// What stubs were told of a name.
    fn known(&self, name: &Name, qtype: u16, now: Instant) -> impl Iterator<Item = Found> {
        let question = [name.as_wire(), &qtype.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
        let keys = [false, true].map(|dnssec_ok| {
            CacheKey::new(&question, AskFlags::new(true.into(), false.into(), dnssec_ok.into()))
        });
        keys.into_iter().filter_map(move |key| self.resolver.find(&key, now))
    }
}
