//! Which machine a claim is of.
//!
//! A MAC of the machine's own decides. Without one known, a DUID or client id does; then the host name within an agency,
//! unless it would join machines that have MACs of their own: two of those are two machines until somebody
//! merges them. A randomised MAC alone says little: it counts within an agency, and only where the host names agree.

use rusqlite::{Connection, Statement, params};

use super::MachineId;
use super::book::{MarkKind, host_key, id_at, key, signed};
use super::claim::{Claim, ClientId};

/// Host names that many machines have.
const COMMON_HOSTS: [&[u8]; 18] = [
    b"android",
    b"debian",
    b"desktop",
    b"espressif",
    b"host",
    b"ipad",
    b"iphone",
    b"kali",
    b"laptop",
    b"localhost",
    b"openwrt",
    b"pc",
    b"raspberrypi",
    b"router",
    b"ubuntu",
    b"unknown",
    b"user",
    b"watch",
];

/// What a claim's machine is known by.
#[derive(Debug)]
pub(super) struct Marks {
    mac: Option<(MarkKind, String, Vec<u8>)>,
    client: Option<(String, Vec<u8>)>,
    host: Option<(String, Vec<u8>)>,
    address: Option<(String, Vec<u8>)>,
}

impl Marks {
    pub(super) fn of(claim: &Claim, agency: &str) -> Self {
        let mac = claim.mac.map(|mac| {
            let octets = mac.0.to_vec();
            if mac.is_random() {
                (MarkKind::RandomMac, agency.to_owned(), octets)
            } else {
                (MarkKind::Mac, String::new(), octets)
            }
        });
        let client = claim.client.as_ref().map(|client| match client {
            ClientId::Duid(_) => (String::new(), client.key()),
            ClientId::Other(_) => (agency.to_owned(), client.key()),
        });
        let host = claim.host.as_deref().map(host_key);
        let host = host
            .filter(|key| !key.is_empty() && !COMMON_HOSTS.contains(&key.as_slice()))
            .map(|key| (agency.to_owned(), key));
        let is_bare = mac.is_none() && client.is_none() && host.is_none();
        let address = claim.address.filter(|_| is_bare).map(|it| (agency.to_owned(), key(it).to_vec()));
        Self { mac, client, host, address }
    }

    /// Whether there is nothing to know it by.
    pub(super) fn is_empty(&self) -> bool {
        self.mac.is_none() && self.client.is_none() && self.host.is_none() && self.address.is_none()
    }

    /// Whether it has no more than a name.
    pub(super) fn is_only_host(&self) -> bool {
        self.mac.is_none() && self.client.is_none() && self.host.is_some()
    }

    fn all(&self) -> impl Iterator<Item = (MarkKind, &str, &[u8])> {
        let mac = self.mac.as_ref().map(|(kind, scope, value)| (*kind, scope, value));
        let rest = [
            (MarkKind::Client, &self.client),
            (MarkKind::Host, &self.host),
            (MarkKind::Address, &self.address),
        ];
        let rest = rest
            .into_iter()
            .filter_map(|(kind, mark)| mark.as_ref().map(|(scope, value)| (kind, scope, value)));
        mac.into_iter().chain(rest).map(|(kind, scope, value)| (kind, scope.as_str(), value.as_slice()))
    }
}

/// Finds and makes machines; its statements are prepared once for all claims of a file.
pub(super) struct Matcher<'c> {
    find: Statement<'c>,
    hosts: Statement<'c>,
    mark: Statement<'c>,
}

/// Which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Machine(MachineId),
    /// None that is known.
    New,
    /// One of several with this name.
    Ambiguous,
}

impl<'c> Matcher<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            // With whether a machine has a MAC of its own.
            find: connection.prepare(
                "SELECT machine, EXISTS (SELECT 1 FROM marks AS own WHERE own.machine = marks.machine AND own.kind = 0)
                 FROM marks WHERE kind = ?1 AND scope = ?2 AND value = ?3 ORDER BY machine",
            )?,
            hosts: connection.prepare("SELECT value FROM marks WHERE machine = ?1 AND kind = 3")?,
            mark: connection.prepare(
                "INSERT INTO marks (kind, scope, value, machine, last) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
            )?,
        })
    }

    fn known(
        &mut self,
        kind: MarkKind,
        scope: &str,
        value: &[u8],
    ) -> Result<Vec<(MachineId, bool)>, rusqlite::Error> {
        let rows = self
            .find
            .query_map(params![kind as i64, scope, value], |row| Ok((id_at(row, 0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// The machine that is known by these marks.
    pub(super) fn find(&mut self, marks: &Marks) -> Result<Match, rusqlite::Error> {
        let has_own_mac = matches!(marks.mac, Some((MarkKind::Mac, ..)));
        if let Some((MarkKind::Mac, scope, value)) = &marks.mac
            && let Some((id, _)) = self.known(MarkKind::Mac, scope, value)?.first()
        {
            return Ok(Match::Machine(*id));
        }
        for (kind, mark) in [(MarkKind::Client, &marks.client), (MarkKind::Address, &marks.address)] {
            if let Some((scope, value)) = mark
                && let Some((id, _)) = self.known(kind, scope, value)?.first()
            {
                return Ok(Match::Machine(*id));
            }
        }
        let mut is_ambiguous = false;
        if let Some((scope, value)) = &marks.host {
            let known = self.known(MarkKind::Host, scope, value)?;
            let mut without = known.iter().filter(|(_, has_own)| !has_own);
            match (known.as_slice(), without.next(), without.next()) {
                ([(id, false)], ..) => return Ok(Match::Machine(*id)),
                ([(id, true)], ..) if !has_own_mac => return Ok(Match::Machine(*id)),
                // Made for this name when it became ambiguous.
                (_, Some((id, _)), None) if !has_own_mac => return Ok(Match::Machine(*id)),
                _ => is_ambiguous = known.len() > 1,
            }
        }
        if let Some((MarkKind::RandomMac, scope, value)) = &marks.mac {
            for (id, _) in self.known(MarkKind::RandomMac, scope, value)? {
                let hosts = self.hosts.query_map([signed(id.0)], |row| row.get::<_, Vec<u8>>(0))?;
                let hosts: Vec<_> = hosts.collect::<Result<_, _>>()?;
                if marks.host.as_ref().is_none_or(|(_, host)| hosts.is_empty() || hosts.contains(host)) {
                    return Ok(Match::Machine(id));
                }
            }
        }
        Ok(if is_ambiguous { Match::Ambiguous } else { Match::New })
    }

    /// Says that a machine is known by these marks.
    pub(super) fn enter(&mut self, marks: &Marks, id: MachineId, seen: i64) -> Result<(), rusqlite::Error> {
        for (kind, scope, value) in marks.all() {
            self.mark.execute(params![kind as i64, scope, value, signed(id.0), seen])?;
        }
        Ok(())
    }
}
