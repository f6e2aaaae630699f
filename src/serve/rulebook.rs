//! The rulebook: all that queries are decided by at one time, and which of it applies to whom.
//!
//! Joins the image, analysts' own rules, the guard and the agencies' audiences. Decides nothing:
//! `policy::decide` does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::client::Agencies;
use crate::image::{Automaton, Image};
use crate::policy::guard::Guard;
use crate::policy::layers::{Asker, Audience, Layers, Members, Own};
use crate::policy::rule::{Feed, Provenance};
use crate::policy::trigger::Trigger;
use crate::publish::content::Content;

/// All rules, and to whom they apply. Cheap to copy: its parts are shared.
#[derive(Clone)]
pub struct Rulebook {
    /// The rules of feeds.
    pub image: Arc<Image>,
    own: Option<Arc<Own>>,
    guard: Arc<Guard>,
    reaches: Arc<[Reach]>,
    audiences: Arc<Audiences>,
}

/// To whom the rules of a feed apply, where that is not everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The feed's name.
    pub feed: Arc<str>,
    /// Agencies by their ids: to these alone; nobody named: to all, clients of no agency too …
    pub only: Vec<Arc<str>>,
    /// … but not to these.
    pub except: Vec<Arc<str>>,
}

impl Reach {
    fn has(&self, agency: Option<&str>) -> bool {
        let is_in = |ids: &[Arc<str>]| ids.iter().any(|id| agency == Some(&**id));
        (self.only.is_empty() || is_in(&self.only)) && !is_in(&self.except)
    }
}

/// The feeds that are for others than this agency; without one, all that are not for everybody.
pub fn withheld(reaches: &[Reach], agency: Option<&str>) -> Vec<Arc<str>> {
    let is_withheld = |reach: &&Reach| agency.is_none() || !reach.has(agency);
    reaches.iter().filter(is_withheld).map(|reach| Arc::clone(&reach.feed)).collect()
}

/// What applies to clients of this agency; of none: to all others.
pub fn audience(feeds: &Provenance, own: Option<&Own>, reaches: &[Reach], agency: Option<&str>) -> Audience {
    let reach = |feed: &Feed| reaches.iter().find(|reach| reach.feed == feed.name);
    let groups = own.map_or(&[][..], |own| &own.agencies);
    Audience {
        feeds: Members::new(feeds.feeds.len(), |feed| {
            reach(&feeds.feeds[feed]).is_none_or(|reach| reach.has(agency))
        }),
        own: Members::new(groups.len(), |group| groups[group].as_deref().is_none_or(|id| agency == Some(id))),
    }
}

/// The different audiences that there are, each once. Whoever is of no agency has the first one.
struct Audiences {
    all: Vec<Audience>,
    /// Of each agency, in configured order.
    of_agency: Vec<u16>,
}

impl Rulebook {
    /// The rules of an image, which apply to everybody.
    pub fn new(image: Image) -> Self {
        let audiences = Audiences { all: vec![Audience::EVERYBODY], of_agency: Vec::new() };
        Self {
            image: Arc::new(image),
            own: None,
            guard: Arc::default(),
            reaches: Arc::default(),
            audiences: Arc::new(audiences),
        }
    }

    /// With guarded names, and feeds that do not apply to everybody.
    #[must_use]
    pub fn with(self, guard: Guard, reaches: Vec<Reach>, agencies: &Agencies) -> Self {
        let book = Self { guard: Arc::new(guard), reaches: reaches.into(), ..self };
        Self { audiences: Arc::new(book.audiences(agencies)), ..book }
    }

    /// With these rules of analysts in place of those before.
    #[must_use]
    pub fn with_own(&self, own: Option<Arc<Own>>, agencies: &Agencies) -> Self {
        let book = Self { own, ..self.clone() };
        Self { audiences: Arc::new(book.audiences(agencies)), ..book }
    }

    /// Analysts' own rules.
    pub fn own(&self) -> Option<&Arc<Own>> {
        self.own.as_ref()
    }

    fn audiences(&self, agencies: &Agencies) -> Audiences {
        let provenance = self.image.index.provenance();
        let audience =
            |agency: Option<&str>| audience(provenance, self.own.as_deref(), &self.reaches, agency);
        let mut all = vec![audience(None)];
        let mut numbers = HashMap::from([(all[0].clone(), 0)]);
        let of_agency = agencies.all().iter().map(|agency| {
            let audience = audience(Some(&agency.id));
            *numbers.entry(audience).or_insert_with_key(|audience| {
                all.push(audience.clone());
                // The configuration has far fewer agencies than 65535.
                all.len() as u16 - 1
            })
        });
        let of_agency = of_agency.collect();
        Audiences { all, of_agency }
    }

    /// What is published for an agency or for everybody.
    pub fn content(&self, agency: Option<Arc<str>>) -> Content {
        let withheld = withheld(&self.reaches, agency.as_deref());
        Content::new(Arc::clone(&self.image), self.own.clone(), agency, withheld)
    }

    /// The rules as they are asked.
    pub fn layers(&self) -> Layers<'_, Automaton> {
        Layers {
            feeds: &self.image.index,
            own: self.own.as_deref().map(|own| &own.index),
            guard: &self.guard,
        }
    }

    /// The number of a client's audience: to whom the same applies has the same.
    pub fn audience_of(&self, agencies: &Agencies, client: IpAddr) -> u16 {
        let Audiences { all, of_agency } = &*self.audiences;
        if all.len() == 1 {
            return 0;
        }
        let agency = agencies.number_of(client);
        agency.and_then(|agency| of_agency.get(agency)).copied().unwrap_or_default()
    }

    /// A client as decisions know it.
    pub fn asker(&self, agencies: &Agencies, client: IpAddr) -> Asker<'_> {
        let audience = self.audiences.all.get(usize::from(self.audience_of(agencies, client)));
        Asker { client: Some(client), audience: audience.unwrap_or(&Audience::EVERYBODY) }
    }

    /// Whether there are rules on addresses of answers, and one on this.
    pub fn lists(&self, address: IpAddr) -> bool {
        let mut is_listed = false;
        let layers = self.layers();
        layers.feeds.walk_networks(Trigger::Ip, address, |_, _| is_listed = true);
        if let Some(own) = layers.own {
            own.walk_networks(Trigger::Ip, address, |_, _| is_listed = true);
        }
        is_listed
    }
}
