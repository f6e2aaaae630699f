//! What a source says, entered in the book; and what is too old, removed.
//!
//! One transaction a file: all of it or nothing. Reading the same file again changes nothing, and neither does an older copy of
//! it. A renewal makes its claim longer in place of making a new one; it remembers the last renewal (`seen`), so that what
//! it knows already is known again.

use std::collections::HashMap;
use std::net::IpAddr;

use rusqlite::{Connection, Statement, TransactionBehavior, params};

use super::book::{Book, BookError, MarkKind, Tier, holders, host_key, id_at, key, machine, marked, signed};
use super::claim::{Batch, Claim, Fault, Manner, Scope};
use super::matching::{Marks, Match, Matcher};
use super::{ALWAYS, MachineId};
use crate::mac::Mac;

/// Most machines that the book holds.
const MAX_MACHINES: i64 = 1_000_000;

/// A file, and of when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name: the versions of one file have one.
    pub name: &'a str,
    /// The agency whose machines it speaks of, where it does not say so itself.
    pub agency: Option<&'a str>,
    /// When it was written.
    pub as_of: i64,
}

/// What a trusted forwarder tells of the client that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// The client's hardware address.
    pub mac: Mac,
    /// Its address, where that was told whole.
    pub address: Option<IpAddr>,
    /// Who tells it.
    pub forwarder: IpAddr,
    /// The agency whose forwarder that is.
    pub agency: Option<&'a str>,
    /// When.
    pub at: i64,
}

/// How long an address is a machine's that a forwarder told.
const TOLD: i64 = 3_600_000_000;

/// What taking a file changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Machines that were not known.
    pub machines: u64,
    /// Claims that are new.
    pub added: u64,
    /// Claims that last longer, or are over.
    pub changed: u64,
    /// Claims that were known.
    pub known: u64,
}

/// Whether what is taken stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// It stays.
    No,
    /// It is only counted.
    Yes,
}

impl Book {
    /// Takes what a file holds; adds to its faults.
    ///
    /// # Errors
    /// [`BookError::Database`]; then nothing of the file is taken.
    pub fn take(&self, source: &Source<'_>, batch: &mut Batch, trial: Trial) -> Result<Taken, BookError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let taken = take(&transaction, source, batch)?;
            match trial {
                Trial::No => transaction.commit()?,
                Trial::Yes => transaction.rollback()?,
            }
            Ok(taken)
        })
    }

    /// Meets a machine by the MAC that a trusted forwarder told; makes it where nobody knew it. `None` for MACs that tell nothing, and
    /// where the book is full.
    ///
    /// An address that was told with it is the machine's for the next hour, as a lease would say. A machine that is known to
    /// have that address, and of which nobody knows a MAC, has this one.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn meet(&self, told: &Told<'_>) -> Result<Option<MachineId>, BookError> {
        let Told { mac, address, forwarder, agency, at } = *told;
        if !mac.is_usable() || mac.is_random() {
            return Ok(None);
        }
        let until = Some(at.saturating_add(TOLD));
        let claim = Claim { mac: Some(mac), address, start: Some(at), until, ..Claim::default() };
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let known = match marked(&transaction, MarkKind::Mac, "", &mac.0)?.first() {
                Some(id) => Some(*id),
                None => address.map(|address| without_mac(&transaction, address, at)).transpose()?.flatten(),
            };
            let mut writer = Writer::new(&transaction, agency.unwrap_or_default())?;
            let met = writer.machine_of(&Claim { address: None, ..claim.clone() }, at, known)?;
            let id = met.ok().map(|(id, _)| id);
            if id.is_some() && address.is_some() {
                let name = format!("forwarder {forwarder}");
                let source = Source { name: &name, agency, as_of: at };
                let newest;
                (writer.source, newest) = enter_source(&transaction, &source, false)?;
                // One that is over is of no use to anybody.
                let _ = writer.lease(&claim, Scope::Log, at, newest)?;
            }
            drop(writer);
            transaction.commit()?;
            Ok(id)
        })
    }

    /// Removes claims that ended before this time, and machines that nobody spoke of since. Returns how many claims went.
    ///
    /// # Errors
    /// [`BookError::Database`].
    pub fn expire(&self, before: i64) -> Result<usize, BookError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let gone = transaction.execute("DELETE FROM claims WHERE until < ?1", [before])?;
            transaction.execute(
                "DELETE FROM machines WHERE last < ?1 AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.machine = machines.id)",
                [before],
            )?;
            transaction.execute("DELETE FROM marks WHERE machine NOT IN (SELECT id FROM machines)", [])?;
            // A randomised MAC is given up after a time.
            transaction.execute("DELETE FROM marks WHERE kind = 1 AND last < ?1", [before])?;
            transaction.execute("DELETE FROM merged WHERE kept NOT IN (SELECT id FROM machines)", [])?;
            transaction.commit()?;
            Ok(gone)
        })
    }
}

fn take(connection: &Connection, source: &Source<'_>, batch: &mut Batch) -> Result<Taken, rusqlite::Error> {
    let is_inventory = batch.scope == Scope::Inventory;
    let (id, newest) = enter_source(connection, source, is_inventory)?;
    let mut taken = Taken::default();
    let mut writer = Writer::new(connection, source.agency.unwrap_or_default())?;
    writer.source = id;
    let mut claims = std::mem::take(&mut batch.claims);
    // An inventory may give an address to two at once, which is to be seen.
    if !is_inventory {
        claims = in_order(claims, source.as_of);
    }
    for claim in &claims {
        let entered = if is_inventory {
            writer.list(claim, source.as_of)?
        } else {
            writer.lease(claim, batch.scope, source.as_of, newest)?
        };
        match entered {
            Ok(Entered { is_new_machine, what }) => {
                taken.machines += u64::from(is_new_machine);
                match what {
                    What::Added => taken.added += 1,
                    What::Changed => taken.changed += 1,
                    What::Known => taken.known += 1,
                }
            }
            Err(fault) => batch.fault(claim.line, fault),
        }
    }
    batch.claims = claims;
    // A list of the moment says by silence what is over.
    if batch.scope != Scope::Log {
        let ended = connection.execute(
            "UPDATE claims SET until = ?2 WHERE source = ?1 AND until > ?2 AND seen < ?2",
            params![id, source.as_of],
        )?;
        taken.changed += ended as u64;
    }
    Ok(taken)
}

/// Enters a source; returns its number, and the time of its newest version.
fn enter_source(
    connection: &Connection,
    source: &Source<'_>,
    is_inventory: bool,
) -> Result<(i64, i64), rusqlite::Error> {
    connection.query_row(
        "INSERT INTO sources (name, inventory, agency, as_of) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE
         SET inventory = excluded.inventory, agency = excluded.agency, as_of = max(as_of, excluded.as_of)
         RETURNING id, as_of",
        params![source.name, is_inventory, source.agency, source.as_of],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The one machine that has an address, if nobody knows a MAC of its own.
fn without_mac(
    connection: &Connection,
    address: IpAddr,
    at: i64,
) -> Result<Option<MachineId>, rusqlite::Error> {
    for tier in [Tier::Lease, Tier::Inventory] {
        match holders(connection, address, at, tier)?.as_slice() {
            [] => {}
            [only] => {
                let known = machine(connection, *only)?;
                return Ok(known.filter(|it| it.macs.iter().all(|mac| mac.is_random())).map(|it| it.id));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Claims by when they begin, and of those that begin at once for one address only the last.
fn in_order(mut claims: Vec<Claim>, as_of: i64) -> Vec<Claim> {
    claims.sort_by_key(|claim| claim.start.unwrap_or(as_of));
    let mut last: HashMap<_, usize> = HashMap::new();
    for (at, claim) in claims.iter().enumerate() {
        if let (Some(address), Some(start)) = (claim.address, claim.start) {
            last.insert((address, start), at);
        }
    }
    let mut at = 0;
    claims.retain(|claim| {
        let is_last = claim.address.zip(claim.start).is_none_or(|place| last.get(&place) == Some(&at));
        at += 1;
        is_last
    });
    claims
}

/// By what a source tells machines apart.
#[derive(Debug, PartialEq, Eq)]
struct Party {
    is_nobody: bool,
    mac: Option<Vec<u8>>,
    client: Option<Vec<u8>>,
    /// Only where there is nothing else: names come and go with renewals.
    host: Option<Vec<u8>>,
}

impl Party {
    fn of(claim: &Claim) -> Self {
        if claim.manner == Manner::Nobody {
            return Self { is_nobody: true, mac: None, client: None, host: None };
        }
        let (mac, client) =
            (claim.mac.map(|mac| mac.0.to_vec()), claim.client.as_ref().map(super::claim::ClientId::key));
        let host = claim.host.as_deref().map(host_key);
        Self { is_nobody: false, host: host.filter(|_| mac.is_none() && client.is_none()), mac, client }
    }
}

/// A claim as it is kept.
struct Row {
    id: i64,
    start: i64,
    seen: i64,
    until: i64,
    machine: MachineId,
    party: Party,
}

struct Entered {
    is_new_machine: bool,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Added,
    Changed,
    Known,
}

/// Enters the claims of one source.
struct Writer<'c> {
    connection: &'c Connection,
    source: i64,
    agency: String,
    matcher: Matcher<'c>,
    machines: i64,
    of_address: Statement<'c>,
    insert: Statement<'c>,
    update: Statement<'c>,
    refresh: Statement<'c>,
    create: Statement<'c>,
}

impl<'c> Writer<'c> {
    fn new(connection: &'c Connection, agency: &str) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            connection,
            source: 0,
            agency: agency.to_owned(),
            matcher: Matcher::new(connection)?,
            machines: connection.query_row("SELECT count(*) FROM machines", [], |row| row.get(0))?,
            of_address: connection.prepare(
                "SELECT id, start, seen, until, machine, mac, client, host FROM claims
                 WHERE address = ?1 AND source = ?2 AND start <= ?3 ORDER BY start DESC, id DESC",
            )?,
            insert: connection.prepare(
                "INSERT INTO claims (source, inventory, address, start, seen, until, machine, mac, client, host)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
            update: connection.prepare("UPDATE claims SET seen = ?2, until = ?3, host = coalesce(?4, host) WHERE id = ?1")?,
            refresh: connection.prepare(
                "UPDATE machines SET first = min(first, ?2), last = max(last, ?2),
                 host = CASE WHEN ?2 >= last THEN coalesce(?3, host) ELSE coalesce(host, ?3) END,
                 agency = CASE WHEN ?2 >= last THEN coalesce(?4, agency) ELSE coalesce(agency, ?4) END
                 WHERE id = ?1",
            )?,
            create: connection.prepare("INSERT INTO machines (first, last) VALUES (?1, ?1)")?,
        })
    }

    /// What this source said of an address up to a time, the latest first.
    fn rows(&mut self, claim: &Claim, up_to: i64, most: usize) -> Result<Vec<Row>, rusqlite::Error> {
        let Some(address) = claim.address else { return Ok(Vec::new()) };
        let rows = self.of_address.query_map(params![key(address), self.source, up_to], |row| {
            let (mac, client): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(5)?, row.get(6)?);
            let host = row.get::<_, Option<String>>(7)?.filter(|_| mac.is_none() && client.is_none());
            let machine = id_at(row, 4)?;
            let party =
                Party { is_nobody: machine == NOBODY, mac, client, host: host.as_deref().map(host_key) };
            Ok(Row {
                id: row.get(0)?,
                start: row.get(1)?,
                seen: row.get(2)?,
                until: row.get(3)?,
                machine,
                party,
            })
        })?;
        rows.take(most).collect()
    }

    /// Enters a lease.
    fn lease(
        &mut self,
        claim: &Claim,
        scope: Scope,
        as_of: i64,
        newest: i64,
    ) -> Result<Result<Entered, Fault>, rusqlite::Error> {
        let start = claim.start.unwrap_or(as_of);
        let mut until = claim.until.unwrap_or(i64::MAX);
        if until <= start && claim.manner != Manner::Released {
            return Ok(Err(Fault::Over));
        }
        let party = Party::of(claim);
        let rows = self.rows(claim, start, 16)?;
        // Another machine's lease that began in the same moment: what the newest file says last counts.
        let (at_once, rows): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.start == start && row.party != party);
        if !at_once.is_empty() && as_of < newest {
            return Ok(Ok(Entered { is_new_machine: false, what: What::Known }));
        }
        for row in &at_once {
            if row.seen > start {
                self.connection.execute("UPDATE claims SET start = seen WHERE id = ?1", [row.id])?;
            } else {
                self.connection.execute("DELETE FROM claims WHERE id = ?1", [row.id])?;
            }
        }
        let before = rows.first();
        let same = before.filter(|row| row.party == party);
        let is_known = same.is_some_and(|row| start <= row.seen);
        let (machine, is_new_machine) = if party.is_nobody {
            (NOBODY, false)
        } else {
            match self.machine_of(claim, start, same.map(|row| row.machine))? {
                Ok(found) => found,
                Err(fault) => return Ok(Err(fault)),
            }
        };
        let done = |what| Ok(Ok(Entered { is_new_machine, what }));
        if let Some(row) = same {
            if is_known {
                // A release that an older copy tells is one all the same.
                let is_release = claim.manner == Manner::Released && until < row.until;
                let is_news = is_release || (until != row.until && as_of >= newest);
                if is_news && start == row.seen {
                    self.update.execute(params![row.id, row.seen, until.max(row.start), None::<String>])?;
                    return done(What::Changed);
                }
                return done(What::Known);
            }
            if start <= row.until {
                self.update.execute(params![row.id, start, until, claim.host])?;
                return done(What::Changed);
            }
        }
        // The machine had it again later, as is known: its claim is two.
        if let Some(row) = before.filter(|row| row.seen > start && row.party != party) {
            self.connection.execute(
                "INSERT INTO claims (source, inventory, address, start, seen, until, machine, mac, client, host)
                 SELECT source, inventory, address, seen, seen, until, machine, mac, client, host FROM claims WHERE id = ?1",
                [row.id],
            )?;
            self.update.execute(params![row.id, row.start, start, None::<String>])?;
        }
        // An older list: a newer one does not have it any more.
        if scope == Scope::Leases && as_of < newest {
            until = until.min(newest);
        }
        self.add(claim, false, start, start, until.max(start), machine)?;
        done(What::Added)
    }

    /// Enters a row of an inventory.
    fn list(&mut self, claim: &Claim, as_of: i64) -> Result<Result<Entered, Fault>, rusqlite::Error> {
        let until = claim.until.unwrap_or(i64::MAX);
        if claim.start.is_some_and(|start| start >= until) {
            return Ok(Err(Fault::Over));
        }
        let party = Party::of(claim);
        let rows = self.rows(claim, i64::MAX, 10_000)?;
        let same =
            rows.iter().find(|row| row.party == party && claim.start.is_none_or(|start| start == row.start));
        let (machine, is_new_machine) = match self.machine_of(claim, as_of, same.map(|row| row.machine))? {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        self.describe(claim, machine, as_of)?;
        let done = |what| Ok(Ok(Entered { is_new_machine, what }));
        if claim.address.is_none() {
            return done(if is_new_machine { What::Added } else { What::Known });
        }
        if let Some(row) = same {
            if as_of <= row.seen {
                return done(What::Known);
            }
            // It was listed without a break, or says itself until when.
            if row.until == i64::MAX || claim.until.is_some() {
                let is_same = row.until == until;
                self.update.execute(params![row.id, as_of, until, claim.host])?;
                return done(if is_same { What::Known } else { What::Changed });
            }
        }
        // Where an older version gave the address to another one, or took it away, it changed hands since.
        let was_other = rows.iter().any(|row| row.seen < as_of);
        let start = claim.start.unwrap_or(if was_other { as_of } else { ALWAYS });
        self.add(claim, true, start, as_of, until, machine)?;
        done(What::Added)
    }

    fn add(
        &mut self,
        claim: &Claim,
        is_inventory: bool,
        start: i64,
        seen: i64,
        until: i64,
        machine: MachineId,
    ) -> Result<(), rusqlite::Error> {
        let Some(address) = claim.address else { return Ok(()) };
        self.insert.execute(params![
            self.source,
            is_inventory,
            key(address),
            start,
            seen,
            until,
            signed(machine.0),
            claim.mac.filter(|_| machine != NOBODY).map(|mac| mac.0),
            claim.client.as_ref().map(super::claim::ClientId::key),
            claim.host
        ])?;
        Ok(())
    }

    /// The machine that a claim is of, which is made where it is not known, and whether it was.
    fn machine_of(
        &mut self,
        claim: &Claim,
        seen: i64,
        known: Option<MachineId>,
    ) -> Result<Result<(MachineId, bool), Fault>, rusqlite::Error> {
        let agency = claim.about.agency.as_deref().unwrap_or(&self.agency).to_owned();
        let marks = Marks::of(claim, &agency);
        if marks.is_empty() && known.is_none() && claim.address.is_none() {
            return Ok(Err(Fault::Nothing));
        }
        let found = match known {
            Some(id) => Match::Machine(id),
            None => self.matcher.find(&marks)?,
        };
        let (id, is_new) = match found {
            Match::Machine(id) => (id, false),
            Match::Ambiguous if marks.is_only_host() && claim.address.is_none() => {
                return Ok(Err(Fault::Ambiguous(claim.host.clone().unwrap_or_default())));
            }
            Match::New | Match::Ambiguous if self.machines >= MAX_MACHINES => return Ok(Err(Fault::Full)),
            Match::New | Match::Ambiguous => {
                self.create.execute([seen])?;
                self.machines += 1;
                (MachineId(self.connection.last_insert_rowid().unsigned_abs()), true)
            }
        };
        self.matcher.enter(&marks, id, seen)?;
        for mac in &claim.also {
            let marks = Marks::of(&Claim { mac: Some(*mac), ..Claim::default() }, &agency);
            // One that another machine is known by is a contradiction, which its own claims show.
            if self.matcher.find(&marks)? == Match::New {
                self.matcher.enter(&marks, id, seen)?;
            }
        }
        let agency = Some(agency).filter(|agency| !agency.is_empty());
        self.refresh.execute(params![signed(id.0), seen, claim.host, agency])?;
        Ok(Ok((id, is_new)))
    }

    /// Enters what else an inventory says of a machine, unless a newer one spoke of it.
    fn describe(&self, claim: &Claim, id: MachineId, as_of: i64) -> Result<(), rusqlite::Error> {
        let about = &claim.about;
        self.connection.execute(
            "UPDATE machines SET owner = coalesce(?2, owner), unit = coalesce(?3, unit), model = coalesce(?4, model),
             protection = coalesce(?5, protection), notes = coalesce(?6, notes), told = ?7 WHERE id = ?1 AND told <= ?7",
            params![signed(id.0), about.owner, about.unit, about.model, about.protection, about.notes, as_of],
        )?;
        Ok(())
    }
}

/// The machine of claims that say that nobody who is known has an address.
const NOBODY: MachineId = MachineId(0);
