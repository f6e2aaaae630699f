//! Who looks for open doors: one source that no hit led here touches many of the sinkhole's ports or names within a minute.
//!
//! Malware goes where a name led it, and has asked for that; a scanner goes through addresses, or a list of names. So what a hit led
//! to never counts here, however much it is: an infected machine that tries many ports stays one. Datagrams do not count either, since
//! their source is a claim.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::evidence::contacts::{Contact, Via};

/// A short time, in microseconds.
pub(super) const WINDOW: i64 = 60_000_000;
/// How long a source that was seen scanning goes on to be one.
const LASTS: i64 = 600_000_000;
/// How long behind a scanner's last step something of it may become known.
const LATE: i64 = 120_000_000;
/// So many addresses and ports of the sinkhole are a scan …
const DOORS: usize = 6;
/// … or so many names.
const NAMES: usize = 8;
/// Sources that are remembered.
const MOST: usize = 4096;

/// What sources did in the last minute.
#[derive(Debug, Default)]
pub(super) struct Scans(HashMap<IpAddr, Source>);

#[derive(Debug, Default)]
struct Source {
    since: i64,
    doors: HashSet<SocketAddr>,
    names: HashSet<Box<str>>,
    /// When it was last seen scanning.
    scanned: Option<i64>,
    /// When a hit last led it here.
    led: Option<i64>,
}

impl Scans {
    /// Takes in a contact; `is_led`: by a hit.
    pub(super) fn add(&mut self, contact: &Contact, is_led: bool) {
        if contact.via == Via::Udp {
            return;
        }
        let time = contact.time;
        if self.0.len() >= MOST && !self.0.contains_key(&contact.client) {
            self.0.retain(|_, source| source.is_kept(time));
            // A flood of sources: each of them is no scan.
            if self.0.len() >= MOST {
                return;
            }
        }
        let source = self.0.entry(contact.client).or_default();
        if !(0..WINDOW).contains(&(time - source.since)) {
            (source.since, source.doors, source.names) = (time, HashSet::new(), HashSet::new());
        }
        if is_led {
            source.led = source.led.max(Some(time));
            return;
        }
        // Bounded by what makes it a scan.
        if source.doors.len() < DOORS {
            source.doors.insert(contact.local);
        }
        if let Some(name) = contact.name.as_deref().filter(|_| source.names.len() < NAMES) {
            source.names.insert(name.into());
        }
        if source.doors.len() >= DOORS || source.names.len() >= NAMES {
            source.scanned = Some(time);
        }
    }

    /// Who scanned lately, and when last; without those that hits led here at about that time or since, which are infected as well.
    pub(super) fn scanning(&self, now: i64) -> Vec<(IpAddr, i64)> {
        let is_lately = |time: i64| (now - time).abs() < LATE;
        let scanned = self.0.iter().filter_map(|(client, source)| {
            let time = source.scanned.filter(|time| is_lately(*time))?;
            // Since a little before what would become part of the scan.
            let is_led = source.led.is_some_and(|led| led > time - WINDOW - LATE);
            (!is_led).then_some((*client, time))
        });
        scanned.collect()
    }

    /// Whether a source scans at a time.
    pub(super) fn is_scanning(&self, client: IpAddr, time: i64) -> bool {
        let scanned = self.0.get(&client).and_then(|source| source.scanned);
        scanned.is_some_and(|last| (-WINDOW..LASTS).contains(&(time - last)))
    }
}

impl Source {
    fn is_kept(&self, now: i64) -> bool {
        self.scanned.unwrap_or(self.since) > now - LASTS
            && (self.scanned.is_some() || self.since > now - WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn contact(second: i64, client: &str, port: u16, name: &str) -> Contact {
        Contact {
            id: 1,
            time: second * SECOND,
            client: client.parse().unwrap(),
            source_port: 4000,
            local: SocketAddr::new("10.10.10.10".parse().unwrap(), port),
            via: Via::Tcp,
            name: (!name.is_empty()).then(|| name.to_owned()),
            path: None,
            agent: None,
            ja4: None,
            first: Vec::new(),
            count: 1,
        }
    }

    /// Whether and with which of them a scan shows, first.
    #[track_caller]
    fn check(contacts: &[Contact], expected: Option<usize>) {
        let mut scans = Scans::default();
        let shows = |contact: &Contact| {
            scans.add(contact, false);
            scans.is_scanning(contact.client, contact.time)
        };
        assert_eq!(contacts.iter().position(shows), expected);
    }

    #[test]
    fn many_doors_or_names_in_a_minute_are_a_scan() {
        let ports: Vec<_> = (0..20).map(|n| contact(n, "10.1.0.5", 20 + n as u16, "")).collect();
        check(&ports, Some(5));
        let slowly: Vec<_> = (0..20).map(|n| contact(n * 13, "10.1.0.5", 20 + n as u16, "")).collect();
        check(&slowly, None);
        let often: Vec<_> =
            (0..50).map(|n| contact(n, "10.1.0.5", 80 + (n % 5) as u16, "a.example")).collect();
        check(&often, None);
        let names: Vec<_> = (0..20).map(|n| contact(n, "10.1.0.5", 80, &format!("n{n}.example"))).collect();
        check(&names, Some(7));
        let many: Vec<_> = (0..20).map(|n| contact(n, &format!("10.1.0.{n}"), 20 + n as u16, "")).collect();
        check(&many, None);
        let claims: Vec<_> = ports.iter().map(|it| Contact { via: Via::Udp, ..it.clone() }).collect();
        check(&claims, None);
    }

    #[test]
    fn a_scan_lasts_a_while() {
        let mut scans = Scans::default();
        (0..50).for_each(|n| scans.add(&contact(n, "10.1.0.5", 20 + n as u16, ""), false));
        let client = "10.1.0.5".parse().unwrap();
        assert!(scans.is_scanning(client, 0), "what led to it is of it too");
        assert!(scans.is_scanning(client, 640 * SECOND));
        assert!(!scans.is_scanning(client, 700 * SECOND));
        assert!(!scans.is_scanning("10.1.0.6".parse().unwrap(), 10 * SECOND));
    }

    #[test]
    fn who_is_infected_as_well_is_told_apart() {
        let mut scans = Scans::default();
        for client in ["10.1.0.5", "10.1.0.6"] {
            (0..8).for_each(|n| scans.add(&contact(n, client, 80, &format!("n{n}.example")), false));
        }
        scans.add(&contact(9, "10.1.0.6", 80, "evil.example"), true);
        let client = "10.1.0.5".parse().unwrap();
        assert_eq!(scans.scanning(100 * SECOND), [(client, 7 * SECOND)]);
        assert_eq!(scans.scanning(200 * SECOND), []);
        // Led there behind its scan.
        scans.add(&contact(70, "10.1.0.5", 80, "evil.example"), true);
        assert_eq!(scans.scanning(100 * SECOND), []);
        // What hits lead to is no scan, however much it is.
        (0..50).for_each(|n| scans.add(&contact(n, "10.1.0.7", 20 + n as u16, ""), true));
        assert!(!scans.is_scanning("10.1.0.7".parse().unwrap(), 10 * SECOND));
    }

    #[test]
    fn floods_of_sources_take_no_more_room() {
        let mut scans = Scans::default();
        for n in 0..20_000_u32 {
            let client = IpAddr::from(n.to_be_bytes()).to_string();
            scans.add(&contact(i64::from(n / 1000), &client, 80, "a.example"), n % 2 == 0);
        }
        assert_eq!(scans.0.len(), MOST);
        scans.add(&contact(1000, "10.1.0.5", 80, ""), false);
        assert_eq!(scans.0.len(), 1);
    }
}
