//! Who is asked for which names: the upstreams of all, and those of single domains.
//!
//! The longest domain that a name is in decides. A reload keeps what is known of upstreams whose settings stay.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::forward::{self, Forwarder};
use crate::name::{self, MAX_WIRE, Name};

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// For all that no route takes.
    pub upstreams: forward::Options,
    /// For single domains, each at most once.
    pub routes: Vec<Route>,
}

/// Who is asked for one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The domain and all below.
    pub domain: Name,
    /// How it is asked for.
    pub upstreams: forward::Options,
}

impl From<forward::Options> for Options {
    fn from(upstreams: forward::Options) -> Self {
        Self { upstreams, routes: Vec::new() }
    }
}

impl Options {
    /// How long a question may take, at the most.
    pub fn longest(&self) -> std::time::Duration {
        self.all().map(|options| options.deadline).max().unwrap_or_default()
    }

    /// The most upstreams that one question may be asked of.
    pub fn most_upstreams(&self) -> usize {
        self.all().map(|options| options.upstreams.len()).max().unwrap_or(0)
    }

    fn all(&self) -> impl Iterator<Item = &forward::Options> {
        std::iter::once(&self.upstreams).chain(self.routes.iter().map(|route| &route.upstreams))
    }
}

/// All forwarders.
pub(super) struct Routes {
    default: Arc<Forwarder>,
    /// By domain, in wire format and lower case.
    by_domain: HashMap<Box<[u8]>, Arc<Forwarder>>,
}

/// What one set of routes answers otherwise than another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Perhaps everything.
    All,
    /// At most these domains.
    Domains(Vec<Box<[u8]>>),
}

impl Change {
    /// Whether the answer to a name, in wire format, may be another.
    pub(super) fn concerns(&self, qname: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Domains(domains) => domains.iter().any(|domain| name::is_within(qname, domain)),
        }
    }
}

impl Routes {
    pub(super) fn new(options: Options, runtime: &Handle) -> Self {
        let make = |options| Forwarder::new(options, runtime);
        let by_domain =
            options.routes.into_iter().map(|route| (key(&route.domain), make(route.upstreams))).collect();
        Self { default: make(options.upstreams), by_domain }
    }

    /// These options, with the forwarders of these routes that they do not change; `None` where they change none.
    pub(super) fn changed(&self, options: Options, runtime: &Handle) -> Option<(Self, Change)> {
        let keep = |old: Option<&Arc<Forwarder>>, new: forward::Options| match old {
            Some(old) if *old.options() == new => Arc::clone(old),
            _ => Forwarder::new(new, runtime),
        };
        let default = keep(Some(&self.default), options.upstreams);
        let by_domain: HashMap<_, _> = options
            .routes
            .into_iter()
            .map(|route| {
                let domain = key(&route.domain);
                let forwarder = keep(self.by_domain.get(&domain), route.upstreams);
                (domain, forwarder)
            })
            .collect();
        let new = Self { default, by_domain };
        let asks_others = |domain: &[u8]| match (self.by_domain.get(domain), new.by_domain.get(domain)) {
            (Some(old), Some(new)) => !old.asks_the_same(new),
            _ => true,
        };
        let all = self.by_domain.keys().chain(new.by_domain.keys());
        let domains: Vec<_> = all.filter(|domain| asks_others(domain)).cloned().collect();
        let is_same = Arc::ptr_eq(&self.default, &new.default)
            && self.by_domain.len() == new.by_domain.len()
            && new.by_domain.iter().all(|(domain, forwarder)| {
                self.by_domain.get(domain).is_some_and(|old| Arc::ptr_eq(old, forwarder))
            });
        let change = match self.default.asks_the_same(&new.default) {
            true => Change::Domains(domains),
            false => Change::All,
        };
        (!is_same).then_some((new, change))
    }

    /// Whom to ask about a name, in wire format. Allocates nothing.
    pub(super) fn find(&self, qname: &[u8]) -> &Arc<Forwarder> {
        self.route(qname).unwrap_or(&self.default)
    }

    /// The route that takes a name, in wire format. Allocates nothing.
    pub(super) fn route(&self, qname: &[u8]) -> Option<&Arc<Forwarder>> {
        if self.by_domain.is_empty() {
            return None;
        }
        let mut folded = [0; MAX_WIRE];
        let folded = folded.get_mut(..qname.len())?;
        folded.copy_from_slice(qname);
        name::fold(folded);
        let mut rest = &*folded;
        loop {
            if let Some(forwarder) = self.by_domain.get(rest) {
                return Some(forwarder);
            }
            match rest.first() {
                None | Some(0) => return None,
                Some(&label) => rest = rest.get(1 + usize::from(label)..)?,
            }
        }
    }
}

fn key(domain: &Name) -> Box<[u8]> {
    let mut key: Box<[u8]> = domain.as_wire().into();
    name::fold(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(port: u16) -> forward::Options {
        let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], port)).into();
        forward::Options { upstreams: vec![upstream], ..forward::Options::default() }
    }

    fn routes(default: u16, routes: &[(&str, u16)]) -> Options {
        let route = |&(domain, port): &(&str, u16)| {
            let domain = Name::from_presentation(domain).unwrap();
            Route { domain, upstreams: options(port) }
        };
        Options { upstreams: options(default), routes: routes.iter().map(route).collect() }
    }

    fn wire(name: &str) -> Vec<u8> {
        Name::from_presentation(name).unwrap().as_wire().to_vec()
    }

    #[tokio::test]
    async fn the_longest_domain_decides() {
        let set = [("example.vn", 2), ("Sub.Example.vn", 3), ("10.in-addr.arpa", 4)];
        let routes = Routes::new(routes(1, &set), &Handle::current());
        let check = |name: &str, port: u16| {
            let qname = wire(name);
            assert_eq!(routes.find(&qname).options().upstreams[0].address.port(), port, "{name}");
            assert_eq!(routes.route(&qname).is_some(), port != 1, "{name}");
        };
        check("example.vn.", 2);
        check("WWW.Example.VN.", 2);
        check("www.sub.example.vn.", 3);
        check("badexample.vn.", 1);
        check("vn.", 1);
        check(".", 1);
        check("1.2.3.10.in-addr.arpa.", 4);
        let upper = b"\x03WWW\x03SUB\x07EXAMPLE\x02VN\x00";
        assert_eq!(routes.find(upper).options().upstreams[0].address.port(), 3);
    }

    #[tokio::test]
    async fn a_change_is_no_larger_than_it_is() {
        fn check(from: (u16, &[(&str, u16)]), to: (u16, &[(&str, u16)]), expected: Option<&Change>) {
            let from = Routes::new(routes(from.0, from.1), &Handle::current());
            let changed = from.changed(routes(to.0, to.1), &Handle::current());
            assert_eq!(changed.as_ref().map(|(_, change)| change), expected);
        }
        let a = Change::Domains(vec![wire("a.").into()]);
        check((1, &[("a.", 2)]), (1, &[("a.", 2)]), None);
        check((1, &[("a.", 2)]), (3, &[("a.", 2)]), Some(&Change::All));
        check((1, &[]), (1, &[("a.", 2)]), Some(&a));
        check((1, &[("a.", 2)]), (1, &[]), Some(&a));
        check((1, &[("a.", 2), ("b.", 2)]), (1, &[("b.", 2)]), Some(&a));
        let change = Change::Domains(vec![wire("example.vn.").into()]);
        assert!(change.concerns(&wire("www.example.vn.")) && !change.concerns(&wire("other.vn.")));
    }

    #[tokio::test]
    async fn what_stays_keeps_what_it_knows() {
        let old = Routes::new(routes(1, &[("a.", 2), ("b.", 3)]), &Handle::current());
        let (new, _) = old.changed(routes(1, &[("a.", 2), ("b.", 4)]), &Handle::current()).unwrap();
        assert!(Arc::ptr_eq(old.find(&wire("a.")), new.find(&wire("a."))));
        assert!(Arc::ptr_eq(old.find(&wire("c.")), new.find(&wire("c."))));
        assert!(!Arc::ptr_eq(old.find(&wire("b.")), new.find(&wire("b."))));
    }
}
