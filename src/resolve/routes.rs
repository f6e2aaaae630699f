//! Who is asked for which names: upstreams or the name servers in charge, and the upstreams of single domains.
//!
//! The longest domain that a name is in decides. A reload keeps what is known of upstreams whose settings stay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::forward::{self, Forwarder};
use super::recurse::{self, Recursor};
use crate::name::{self, MAX_WIRE, Name};

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// For all that no route takes, unless that is recursed for.
    pub upstreams: forward::Options,
    /// How all that no route takes is resolved from the root down; `None`: it is forwarded.
    pub recursion: Option<recurse::Options>,
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
        Self { upstreams, recursion: None, routes: Vec::new() }
    }
}

impl Options {
    /// The most sockets that one question may hold.
    pub fn most_sockets(&self) -> usize {
        let recursing = self.recursion.as_ref().map_or(0, |_| recurse::task::MOST_SOCKETS);
        recursing.max(forward::MOST_SOCKETS * self.most_upstreams())
    }

    /// Octets that recursion remembers, beside the cache of answers.
    pub fn remembered(&self) -> u64 {
        self.recursion.as_ref().map_or(0, |options| options.max_size)
    }

    /// How long a question may take, at the most.
    pub fn longest(&self) -> Duration {
        // Recursion has the deadline of upstreams.
        self.all().map(|options| options.deadline).max().unwrap_or_default()
    }

    /// The most upstreams that one question may be asked of.
    fn most_upstreams(&self) -> usize {
        self.all().map(|options| options.upstreams.len()).max().unwrap_or(0)
    }

    fn all(&self) -> impl Iterator<Item = &forward::Options> {
        std::iter::once(&self.upstreams).chain(self.routes.iter().map(|route| &route.upstreams))
    }
}

/// Who is asked for a name.
#[derive(Clone)]
pub(super) enum Source {
    /// Upstreams.
    Forwarder(Arc<Forwarder>),
    /// The name servers in charge.
    Recursor(Arc<Recursor>),
}

impl Source {
    fn new(options: &Options, runtime: &Handle) -> Self {
        match &options.recursion {
            Some(recursion) => Self::Recursor(Arc::new(Recursor::new(recursion.clone()))),
            None => Self::Forwarder(Forwarder::new(options.upstreams.clone(), runtime)),
        }
    }

    /// Whether it is the one that these options make.
    fn is_of(&self, options: &Options) -> bool {
        match (self, &options.recursion) {
            (Self::Recursor(recursor), Some(recursion)) => recursor.options() == recursion,
            (Self::Forwarder(forwarder), None) => *forwarder.options() == options.upstreams,
            _ => false,
        }
    }

    /// After this a question has failed.
    pub(super) fn deadline(&self) -> Duration {
        match self {
            Self::Forwarder(forwarder) => forwarder.options().deadline,
            Self::Recursor(recursor) => recursor.options().deadline,
        }
    }

    fn asks_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Recursor(one), Self::Recursor(other)) => one.asks_the_same(other),
            (Self::Forwarder(one), Self::Forwarder(other)) => one.asks_the_same(other),
            _ => false,
        }
    }

    /// Whether both are one, and not just alike.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Recursor(one), Self::Recursor(other)) => Arc::ptr_eq(one, other),
            (Self::Forwarder(one), Self::Forwarder(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// All who are asked.
pub(super) struct Routes {
    default: Source,
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
        let default = Source::new(&options, runtime);
        let make = |options| Forwarder::new(options, runtime);
        let by_domain =
            options.routes.into_iter().map(|route| (key(&route.domain), make(route.upstreams))).collect();
        Self { default, by_domain }
    }

    /// These options, with the forwarders of these routes that they do not change; `None` where they change none.
    pub(super) fn changed(&self, options: Options, runtime: &Handle) -> Option<(Self, Change)> {
        let keep = |old: Option<&Arc<Forwarder>>, new: forward::Options| match old {
            Some(old) if *old.options() == new => Arc::clone(old),
            _ => Forwarder::new(new, runtime),
        };
        let default = match self.default.is_of(&options) {
            true => self.default.clone(),
            false => Source::new(&options, runtime),
        };
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
        let is_same = self.default.is(&new.default)
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

    /// Every upstream with the domain that it is asked for.
    pub(super) fn upstreams(&self) -> Vec<(String, forward::UpstreamFigures)> {
        let mut all = Vec::new();
        if let Source::Forwarder(forwarder) = &self.default {
            all.extend(forwarder.figures().into_iter().map(|figures| (".".to_owned(), figures)));
        }
        let mut routes: Vec<_> = self.by_domain.iter().collect();
        routes.sort_by_key(|(domain, _)| *domain);
        for (domain, forwarder) in routes {
            let domain = name::Presentation(domain).to_string();
            all.extend(forwarder.figures().into_iter().map(|figures| (domain.clone(), figures)));
        }
        all
    }

    /// Whom to ask about a name, in wire format. Allocates nothing.
    pub(super) fn find(&self, qname: &[u8]) -> Source {
        self.route(qname).map_or_else(|| self.default.clone(), |route| Source::Forwarder(Arc::clone(route)))
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
        Options { routes: routes.iter().map(route).collect(), ..options(default).into() }
    }

    fn port(routes: &Routes, qname: &[u8]) -> u16 {
        let Source::Forwarder(forwarder) = routes.find(qname) else {
            unreachable!("nothing is recursed for")
        };
        forwarder.options().upstreams[0].address.port()
    }

    fn wire(name: &str) -> Vec<u8> {
        Name::from_presentation(name).unwrap().as_wire().to_vec()
    }

    #[tokio::test]
    async fn the_longest_domain_decides() {
        let set = [("example.vn", 2), ("Sub.Example.vn", 3), ("10.in-addr.arpa", 4)];
        let routes = Routes::new(routes(1, &set), &Handle::current());
        let check = |name: &str, expected: u16| {
            let qname = wire(name);
            assert_eq!(port(&routes, &qname), expected, "{name}");
            assert_eq!(routes.route(&qname).is_some(), expected != 1, "{name}");
        };
        check("example.vn.", 2);
        check("WWW.Example.VN.", 2);
        check("www.sub.example.vn.", 3);
        check("badexample.vn.", 1);
        check("vn.", 1);
        check(".", 1);
        check("1.2.3.10.in-addr.arpa.", 4);
        let upper = b"\x03WWW\x03SUB\x07EXAMPLE\x02VN\x00";
        assert_eq!(port(&routes, upper), 3);
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
        assert!(old.find(&wire("a.")).is(&new.find(&wire("a."))));
        assert!(old.find(&wire("c.")).is(&new.find(&wire("c."))));
        assert!(!old.find(&wire("b.")).is(&new.find(&wire("b."))));
    }

    #[tokio::test]
    async fn what_no_route_takes_may_be_recursed_for() {
        let recursion = |text: &str| recurse::Options {
            hints: Arc::new(recurse::hints::parse(text).unwrap()),
            deadline: Duration::from_secs(4),
            max_size: 1 << 20,
            validation: None,
        };
        let [one, other] = [". NS a.\na. A 192.0.2.1", ". NS a.\na. A 192.0.2.2"].map(recursion);
        let with = |recursion: &recurse::Options| Options {
            recursion: Some(recursion.clone()),
            ..routes(1, &[("a.", 2)])
        };
        let forwarding = Routes::new(routes(1, &[("a.", 2)]), &Handle::current());
        let (recursing, change) = forwarding.changed(with(&one), &Handle::current()).unwrap();
        assert_eq!(change, Change::All);
        assert!(matches!(recursing.find(&wire("b.")), Source::Recursor(_)));
        assert_eq!(port(&recursing, &wire("a.")), 2);
        assert!(recursing.changed(with(&one), &Handle::current()).is_none());
        let (_, change) = recursing.changed(with(&other), &Handle::current()).unwrap();
        assert_eq!(change, Change::All);
    }
}
