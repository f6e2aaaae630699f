//! Signing in: the password, the second factor, and the session that comes of it.
//!
//! A session is new at each sign-in, whatever the browser brought along, and ends when it was not used for a while, at the latest after
//! its whole time, and with every change of what its account may do. Between password and code there is no session: only a step, kept in
//! memory for a few minutes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Accounts, AccountsError, digest, secret, totp};
use crate::console::access::Viewer;

/// How often is noted that a session is used, microseconds.
const NOTED: i64 = 60_000_000;
/// Most sessions of an account; of more the one that was not used for longest ends.
const SESSIONS: i64 = 20;
/// Addresses that are remembered of an account.
const SEEN: i64 = 50;
/// How long somebody may look for the telephone, microseconds, and how often a code may be wrong.
const STEP: i64 = 5 * 60 * 1_000_000;
const TRIES: u32 = 5;
/// Most people between password and code.
const STEPS: usize = 500;
/// Most octets of what a browser calls itself.
const AGENT: usize = 200;

/// From where somebody signs in.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The address.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub agent: &'a str,
}

/// What a password led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// A session: what its cookie has.
    Session(String),
    /// The code is asked for next; this comes back with it.
    Code(String),
    /// Nothing: the password is right, but this account does not sign in by it.
    Outside,
    /// Nothing: the name or the password is wrong.
    Wrong,
}

/// Somebody with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who it is.
    pub viewer: Viewer,
    /// The session's number.
    pub session: i64,
    /// Whether this one must set up the second factor before anything else.
    pub must_enrol: bool,
}

/// How a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// By what is kept here.
    Us,
    /// By the organisation's own sign-in; the token by which it is ended there too.
    Outside(Option<&'a str>),
}

/// A session, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// When it began, microseconds since 1970.
    pub made: i64,
    /// When it was used last, to the minute.
    pub last: i64,
    /// From where it began.
    pub address: String,
    /// With which browser.
    pub agent: String,
    /// Whether it began by the organisation's own sign-in.
    pub is_outside: bool,
}

/// Those between password and code.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<HashMap<[u8; 32], Step>>);

#[derive(Debug)]
struct Step {
    account: String,
    /// The hash of the password that was right.
    password: String,
    until: i64,
    tries: u32,
}

impl Steps {
    fn begin(&self, account: String, password: String, now: i64) -> String {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|_, step| step.until > now);
        if steps.len() >= STEPS
            && let Some(first) = steps.iter().min_by_key(|(_, step)| step.until).map(|(key, _)| *key)
        {
            steps.remove(&first);
        }
        let token = secret();
        steps.insert(digest(&token), Step { account, password, until: now + STEP, tries: TRIES });
        token
    }

    /// Whose step this is, and the hash of the password; each question costs a try.
    fn take_try(&self, token: &str, now: i64) -> Option<(String, String)> {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let step = steps.get_mut(&digest(token)).filter(|step| step.until > now && step.tries > 0)?;
        step.tries -= 1;
        Some((step.account.clone(), step.password.clone()))
    }

    fn end(&self, token: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(token));
    }

    pub(super) fn end_of(&self, account: &str) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|_, step| step.account != account);
    }
}

impl Accounts {
    /// Looks at a password.
    ///
    /// # Errors
    /// [`AccountsError::Busy`] and [`AccountsError::Database`].
    pub fn sign_in(
        &self,
        name: &str,
        password: &str,
        from: Origin<'_>,
        now: i64,
    ) -> Result<SignIn, AccountsError> {
        let address = from.address.to_string();
        let (kept, is_known) = self.with(|database| {
            let kept = database
                .query_row(
                    "SELECT name, password, totp IS NOT NULL, role FROM account WHERE name = ?1 AND is_disabled = 0",
                    [name],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )
                .optional()?;
            let mut seen = database.prepare("SELECT 1 FROM seen WHERE account = ?1 AND address = ?2")?;
            Ok((kept, seen.exists([name, &address])?))
        })?;
        let kept: Option<(String, Option<String>, bool, String)> = kept;
        // By one spelling, so that others do not make purses of their own.
        let spelt = kept.as_ref().map_or(name, |(name, ..)| name);
        let paid = self.throttle.password(spelt, from.address, is_known, now).map_err(AccountsError::Busy)?;
        let hash = kept.as_ref().and_then(|(_, password, ..)| password.as_deref());
        if !self.hasher.fits(password, hash)? {
            return Ok(SignIn::Wrong);
        }
        let Some((account, Some(hash), has_totp, role)) = kept else { return Ok(SignIn::Wrong) };
        self.throttle.give_back(&paid);
        if !role.parse().is_ok_and(|role| self.rules.passwords.may(role)) {
            return Ok(SignIn::Outside);
        }
        if has_totp {
            return Ok(SignIn::Code(self.steps.begin(account, hash, now)));
        }
        let session = self.with(|database| begin_if(database, &account, &hash, from, now, |_| Ok(true)))?;
        Ok(session.map_or(SignIn::Wrong, SignIn::Session))
    }

    /// Looks at the code of the second factor, or one that stands in for it; the session's cookie and the account come back.
    ///
    /// # Errors
    /// [`AccountsError::Busy`] and [`AccountsError::Database`].
    pub fn second_factor(
        &self,
        step: &str,
        code: &str,
        from: Origin<'_>,
        now: i64,
    ) -> Result<Option<(String, String)>, AccountsError> {
        let Some((account, password)) = self.steps.take_try(step, now) else { return Ok(None) };
        let paid = self.throttle.code(&account, now).map_err(AccountsError::Busy)?;
        let session = self.with(|database| {
            begin_if(database, &account, &password, from, now, |transaction| {
                Ok(takes_code(transaction, &account, code, now)?
                    || takes_recovery(transaction, &account, code)?)
            })
        })?;
        let Some(session) = session else { return Ok(None) };
        self.throttle.give_back(&paid);
        self.steps.end(step);
        Ok(Some((session, account)))
    }

    /// Whose session this is.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn viewer(&self, token: &str, now: i64) -> Result<Option<Signed>, AccountsError> {
        let found = self.with(|database| {
            let mut select = database.prepare(
                "SELECT account.name, role, agency, totp IS NOT NULL, session.id, session.last, is_outside
                 FROM session JOIN account ON account.name = session.account
                 WHERE digest = ?1 AND session.made > ?2 AND session.last > ?3 AND is_disabled = 0",
            )?;
            let (life, idle) = (self.rules.life(), self.rules.idle());
            let found = select
                .query_row(params![digest(token), now - life, now - idle], |row| {
                    let (name, role, agency): (String, String, Option<String>) =
                        (row.get(0)?, row.get(1)?, row.get(2)?);
                    let (has_totp, id, last): (bool, i64, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
                    Ok((super::viewer(name, &role, agency), has_totp, id, last, row.get::<_, bool>(6)?))
                })
                .optional()?;
            if let Some((.., id, last, _)) = &found
                && now - last > NOTED
            {
                database.execute("UPDATE session SET last = ?1 WHERE id = ?2", [now, *id])?;
            }
            Ok(found)
        })?;
        let Some((Some(viewer), has_totp, session, _, is_outside)) = found else { return Ok(None) };
        // Of before passwords were for admins only.
        if !is_outside && !self.rules.passwords.may(viewer.role) {
            return Ok(None);
        }
        let must_enrol = self.rules.totp.contains(&viewer.role) && !has_totp && !is_outside;
        Ok(Some(Signed { viewer, session, must_enrol }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn sign_out(&self, token: &str) -> Result<(), AccountsError> {
        self.with(|database| database.execute("DELETE FROM session WHERE digest = ?1", [digest(token)]))?;
        Ok(())
    }

    /// The sessions of an account, those used last first.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn sessions(&self, account: &str, now: i64) -> Result<Vec<Session>, AccountsError> {
        self.with(|database| {
            let mut select = database.prepare(
                "SELECT id, made, last, address, agent, is_outside FROM session
                 WHERE account = ?1 AND made > ?2 AND last > ?3 ORDER BY last DESC, id DESC",
            )?;
            let since = (now - self.rules.life(), now - self.rules.idle());
            let rows = select.query_map(params![account, since.0, since.1], |row| {
                let (id, made, last) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Session {
                    id,
                    made,
                    last,
                    address: row.get(3)?,
                    agent: row.get(4)?,
                    is_outside: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Ends one session of an account, or all of them but `kept`; how many there were comes back.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn end_sessions(
        &self,
        account: &str,
        one: Option<i64>,
        kept: Option<i64>,
    ) -> Result<usize, AccountsError> {
        self.steps.end_of(account);
        self.with(|database| {
            database.execute(
                "DELETE FROM session WHERE account = ?1 AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR id != ?3)",
                params![account, one, kept],
            )
        })
    }

    /// Begins a session for somebody whom the organisation's own sign-in knows.
    pub(in crate::console) fn begin_outside(
        &self,
        account: &str,
        from: Origin<'_>,
        now: i64,
    ) -> Result<String, AccountsError> {
        self.with(|database| begin(database, account, from, By::Outside(None), now))
    }

    /// Whether this session began by the organisation's own sign-in, and the token by which it is ended there too.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn is_outside(&self, token: &str) -> Result<Option<Option<String>>, AccountsError> {
        self.with(|database| {
            let select = "SELECT id_token FROM session WHERE digest = ?1 AND is_outside";
            database.query_row(select, [digest(token)], |row| row.get(0)).optional()
        })
    }

    pub(super) fn begin(&self, account: &str, from: Origin<'_>, now: i64) -> Result<String, AccountsError> {
        self.with(|database| begin(database, account, from, By::Us, now))
    }

    /// Removes what is over: sessions and links.
    pub(super) fn clean(&self, now: i64) -> Result<(), AccountsError> {
        let since = (now - self.rules.life(), now - self.rules.idle());
        self.with(|database| {
            database
                .execute("DELETE FROM session WHERE made <= ?1 OR last <= ?2", params![since.0, since.1])?;
            database.execute("DELETE FROM link WHERE until <= ?1", [now])
        })?;
        Ok(())
    }
}

/// Begins a session if this is still the hash of somebody's password and he may come in, since a command may have changed both
/// while it was reckoned or a code was typed, and if `may` says so.
fn begin_if(
    database: &Connection,
    account: &str,
    password: &str,
    from: Origin<'_>,
    now: i64,
    may: impl FnOnce(&Connection) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Option<String>> {
    let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
    let is_still = transaction
        .prepare("SELECT 1 FROM account WHERE name = ?1 AND password = ?2 AND is_disabled = 0")?
        .exists([account, password])?;
    if !is_still || !may(&transaction)? {
        return Ok(None);
    }
    let token = begin_within(&transaction, account, from, By::Us, now)?;
    transaction.commit()?;
    Ok(Some(token))
}

fn begin(
    database: &Connection,
    account: &str,
    from: Origin<'_>,
    by: By<'_>,
    now: i64,
) -> rusqlite::Result<String> {
    let transaction = database.unchecked_transaction()?;
    let token = begin_within(&transaction, account, from, by, now)?;
    transaction.commit()?;
    Ok(token)
}

/// … within a transaction.
pub(super) fn begin_within(
    transaction: &Connection,
    account: &str,
    from: Origin<'_>,
    by: By<'_>,
    now: i64,
) -> rusqlite::Result<String> {
    let token = secret();
    let address = from.address.to_string();
    let agent: String =
        from.agent[..from.agent.floor_char_boundary(AGENT)].chars().filter(|it| !it.is_control()).collect();
    let (is_outside, id_token) = match by {
        By::Us => (false, None),
        By::Outside(token) => (true, token),
    };
    transaction.execute(
        "INSERT INTO session (digest, account, made, last, address, agent, is_outside, id_token)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7)",
        params![digest(&token), account, now, address, agent, is_outside, id_token],
    )?;
    transaction.execute(
        "DELETE FROM session WHERE account = ?1 AND id NOT IN
         (SELECT id FROM session WHERE account = ?1 ORDER BY last DESC, id DESC LIMIT ?2)",
        params![account, SESSIONS],
    )?;
    transaction.execute(
        "INSERT INTO seen (account, address, last) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET last = excluded.last",
        params![account, address, now],
    )?;
    transaction.execute(
        "DELETE FROM seen WHERE account = ?1 AND address NOT IN
         (SELECT address FROM seen WHERE account = ?1 ORDER BY last DESC LIMIT ?2)",
        params![account, SEEN],
    )?;
    transaction.execute("UPDATE account SET last = ?2 WHERE name = ?1", params![account, now])?;
    Ok(token)
}

/// Whether this is the telephone's code now; then its step does not count again.
fn takes_code(database: &Connection, account: &str, code: &str, now: i64) -> rusqlite::Result<bool> {
    let kept: Option<(Option<Vec<u8>>, i64)> = database
        .query_row("SELECT totp, totp_step FROM account WHERE name = ?1", [account], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((Some(secret), used)) = kept else { return Ok(false) };
    let Some(step) = totp::step_of(&secret, code, used, now) else { return Ok(false) };
    // Of two who bring the same code at once, one is first.
    let updated = database.execute(
        "UPDATE account SET totp_step = ?2 WHERE name = ?1 AND totp_step < ?2",
        params![account, step],
    )?;
    Ok(updated == 1)
}

/// Whether this is one of the codes that stand in for the telephone; then it is gone.
fn takes_recovery(database: &Connection, account: &str, code: &str) -> rusqlite::Result<bool> {
    let Some(digest) = totp::recovery_digest(code) else { return Ok(false) };
    let gone = database
        .execute("DELETE FROM recovery WHERE account = ?1 AND digest = ?2", params![account, digest])?;
    Ok(gone == 1)
}
