//! Accounts and sessions: who may sign in, and who has.
//!
//! One SQLite database, `data_dir/console/accounts.db`, that the server and commands may have open at once; what changes counts with the
//! next request. Passwords are kept as argon2id (RFC 9106), sessions, one-time links and recovery codes as digests: whoever reads the file
//! can sign in as nobody with a second factor aside, whose secrets must be kept as they are (the file is its owner's only).

mod link;
mod outside;
mod password;
mod session;
mod store;
mod throttle;
pub mod totp;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::engine::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::access::{Role, Scope, Viewer};

pub use link::{Link, Purpose};
pub use outside::{AWAITED_DAYS, Came, Entry, Grant, Outsider, Refusal};
pub use password::SHORTEST as SHORTEST_PASSWORD;
pub use session::{Origin, Session, SignIn, Signed};

/// Most characters of a name.
const NAME: usize = 64;
/// Of an account: that of an admin who can sign in.
const IS_ADMIN: &str =
    "(role = 'admin' AND is_disabled = 0 AND (password IS NOT NULL OR subject IS NOT NULL))";
/// Most accounts.
const ACCOUNTS: i64 = 20_000;

/// Why accounts cannot be used, or not so.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The database.
    #[error("{path}: accounts cannot be read or written: {source}; check the disk and who owns the file")]
    Database {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The database cannot be opened or made.
    #[error("{path}: {source}; the server must be able to write there")]
    Open {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: crate::database::DatabaseError,
    },
    /// The password is too short or too long.
    #[error(
        "a password has at least {SHORTEST_PASSWORD} characters, and at most {} octets: several words are long and easy to keep in mind",
        password::LONGEST
    )]
    Password,
    /// An officer has an agency, and nobody else.
    #[error("an officer looks after one agency: name it by its id; every other role sees the province")]
    Agency,
    /// The name cannot be one.
    #[error("a name has 1 to {NAME} letters and digits, with . - _ @ and single spaces between them")]
    Name,
    /// The name is taken.
    #[error(
        "there is an account {0} already; take another name, or `sachdns account password` for a new password"
    )]
    Taken(String),
    /// There is no such account.
    #[error("there is no account {0}; `sachdns account list` shows all")]
    Absent(String),
    /// Nobody could manage accounts any more.
    #[error("{0} is the last admin who can sign in: make another one first")]
    LastAdmin(String),
    /// There are too many.
    #[error("there are {ACCOUNTS} accounts; remove some")]
    Full,
    /// Too often.
    #[error("too many attempts; try again in {0} seconds")]
    Busy(u64),
    /// The link is not one, or not any more.
    #[error("this link was used, is too old, or was replaced by a newer one; ask for another one")]
    Link,
    /// The code is not the telephone's.
    #[error("this code is not right now; check the clock of the telephone")]
    Code,
    /// The password in use was not given.
    #[error("this is not the password in use")]
    Wrong,
    /// Only admins have passwords here.
    #[error(
        "this account signs in by the organisation's own sign-in: only admins have passwords here (console.oidc.passwords)"
    )]
    Outside,
    /// The hash.
    #[error("the password cannot be kept: {0}")]
    Hash(argon2::password_hash::Error),
}

impl AccountsError {
    /// Whether another request would do: nothing is wrong here.
    pub fn is_of_request(&self) -> bool {
        !matches!(self, Self::Database { .. } | Self::Open { .. } | Self::Hash(_))
    }
}

/// How long sessions last, and who needs a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A session that was not used for so long is over.
    pub idle: Duration,
    /// … and every session after so long.
    pub life: Duration,
    /// Roles that must have a second factor.
    pub totp: Vec<Role>,
    /// Who may sign in with a password.
    pub passwords: Passwords,
}

/// Who may sign in with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passwords {
    /// Whoever has one.
    #[default]
    Everybody,
    /// Admins only, for when the organisation's own sign-in is out of order.
    Admins,
}

impl Passwords {
    fn may(self, role: Role) -> bool {
        self == Self::Everybody || role == Role::Admin
    }
}

impl Default for Rules {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self { idle: hours(2), life: hours(12), totp: Vec::new(), passwords: Passwords::default() }
    }
}

impl Rules {
    fn idle(&self) -> i64 {
        i64::try_from(self.idle.as_micros()).unwrap_or(i64::MAX)
    }

    fn life(&self) -> i64 {
        i64::try_from(self.life.as_micros()).unwrap_or(i64::MAX)
    }
}

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name to sign in with.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only agency that an officer sees.
    pub agency: Option<String>,
    /// Whether it may not sign in.
    pub is_disabled: bool,
    /// Whether it has a password: one that was invited has none yet.
    pub has_password: bool,
    /// Whether it has a second factor, and how many recovery codes are left.
    pub totp: Option<u32>,
    /// Who it is for the organisation's own sign-in: issuer and subject.
    pub subject: Option<String>,
    /// Whether what it is follows the groups there.
    pub by_groups: bool,
    /// Until when the first who comes from there by this name becomes its owner, microseconds since 1970.
    pub awaited: Option<i64>,
    /// When it was made, microseconds since 1970.
    pub made: i64,
    /// When somebody signed in last.
    pub last: Option<i64>,
}

/// The accounts of a data folder.
#[derive(Debug)]
pub struct Accounts {
    path: PathBuf,
    database: Mutex<Connection>,
    rules: Rules,
    hasher: password::Hasher,
    throttle: throttle::Throttle,
    steps: session::Steps,
}

const COLUMNS: &str = "name, role, agency, is_disabled, password IS NOT NULL, totp IS NOT NULL,
    (SELECT count(*) FROM recovery WHERE account = name), subject, made, last, by_groups, awaited";

impl Accounts {
    /// Opens the accounts of this data folder; makes them where there are none.
    ///
    /// # Errors
    /// [`AccountsError`]: the folder, the database, or a newer release's.
    pub fn open(data_dir: &Path) -> Result<Self, AccountsError> {
        Self::open_with(data_dir, Rules::default())
    }

    /// … with these rules.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(data_dir: &Path, rules: Rules) -> Result<Self, AccountsError> {
        let path = data_dir.join("console").join("accounts.db");
        let database = store::open(&path)?;
        Ok(Self {
            path,
            database: Mutex::new(database),
            rules,
            hasher: password::Hasher::default(),
            throttle: throttle::Throttle::default(),
            steps: session::Steps::default(),
        })
    }

    /// Makes an account with this password.
    ///
    /// # Errors
    /// [`AccountsError`]: what cannot be so, or is there already.
    pub fn add(
        &self,
        name: &str,
        role: Role,
        agency: Option<&str>,
        password: &str,
        now: i64,
    ) -> Result<(), AccountsError> {
        check(name, role, agency)?;
        let hash = self.hasher.hash(password)?;
        self.insert(name, role, agency, Some(&hash), None, now)
    }

    /// Makes an account without a password; a link or the organisation's own sign-in (whose `subject` it is) lets it in.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn invite(
        &self,
        name: &str,
        role: Role,
        agency: Option<&str>,
        subject: Option<&str>,
        now: i64,
    ) -> Result<(), AccountsError> {
        check(name, role, agency)?;
        self.insert(name, role, agency, None, subject, now)
    }

    fn insert(
        &self,
        name: &str,
        role: Role,
        agency: Option<&str>,
        hash: Option<&str>,
        subject: Option<&str>,
        now: i64,
    ) -> Result<(), AccountsError> {
        let (many, added) = self.with(|database| {
            let many: i64 = database.query_row("SELECT count(*) FROM account", [], |row| row.get(0))?;
            if many >= ACCOUNTS {
                return Ok((many, 0));
            }
            let added = database.execute(
                "INSERT OR IGNORE INTO account (name, role, agency, password, subject, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![name, role.as_str(), agency, hash, subject, now],
            )?;
            Ok((many, added))
        })?;
        match added {
            1 => Ok(()),
            _ if many >= ACCOUNTS => Err(AccountsError::Full),
            _ => Err(AccountsError::Taken(name.to_owned())),
        }
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn list(&self) -> Result<Vec<Account>, AccountsError> {
        self.with(|database| {
            let mut select = database.prepare(&format!("SELECT {COLUMNS} FROM account ORDER BY name"))?;
            let rows = select.query_map([], account)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// One account.
    ///
    /// # Errors
    /// [`AccountsError::Absent`] and [`AccountsError::Database`].
    pub fn find(&self, name: &str) -> Result<Account, AccountsError> {
        self.one("name", name)?.ok_or_else(|| AccountsError::Absent(name.to_owned()))
    }

    /// The account of somebody whom the organisation's own sign-in knows.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn of_subject(&self, subject: &str) -> Result<Option<Account>, AccountsError> {
        self.one("subject", subject)
    }

    fn one(&self, column: &str, value: &str) -> Result<Option<Account>, AccountsError> {
        let found = self.with(|database| {
            let select = format!("SELECT {COLUMNS} FROM account WHERE {column} = ?1");
            database.query_row(&select, [value], account).optional()
        })?;
        Ok(found.flatten())
    }

    /// Gives an account a new password; its sessions end.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), AccountsError> {
        let hash = self.hasher.hash(password)?;
        self.change(name, "UPDATE account SET password = ?2 WHERE name = ?1", params![name, hash])?;
        self.end_sessions(name, None, None)?;
        Ok(())
    }

    /// Gives oneself a new password; all sessions end, and the cookie of a new one comes back.
    ///
    /// # Errors
    /// [`AccountsError::Wrong`], if the old one is not right, [`AccountsError::Busy`] and others.
    pub fn change_password(
        &self,
        name: &str,
        old: &str,
        new: &str,
        from: Origin<'_>,
        now: i64,
    ) -> Result<String, AccountsError> {
        self.check_password(name, old, from, now)?;
        self.set_password(name, new)?;
        self.begin(name, from, now)
    }

    /// Whether somebody who is signed in knows the password.
    ///
    /// # Errors
    /// [`AccountsError::Wrong`], if not, [`AccountsError::Busy`] and others.
    pub fn check_password(
        &self,
        name: &str,
        password: &str,
        from: Origin<'_>,
        now: i64,
    ) -> Result<(), AccountsError> {
        let kept: Option<Option<String>> = self.with(|database| {
            database
                .query_row("SELECT password FROM account WHERE name = ?1", [name], |row| row.get(0))
                .optional()
        })?;
        let paid = self.throttle.password(name, from.address, true, now).map_err(AccountsError::Busy)?;
        if !self.hasher.fits(password, kept.flatten().as_deref())? {
            return Err(AccountsError::Wrong);
        }
        self.throttle.give_back(&paid);
        Ok(())
    }

    /// Gives an account another role; its sessions end.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn set_role(&self, name: &str, role: Role, agency: Option<&str>) -> Result<(), AccountsError> {
        check(name, role, agency)?;
        let values = params![name, role.as_str(), agency];
        self.change_but_the_last_admin(
            name,
            "UPDATE account SET role = ?2, agency = ?3 WHERE name = ?1 AND (?2 = 'admin' OR",
            values,
        )?;
        self.end_sessions(name, None, None)?;
        Ok(())
    }

    /// Lets nobody sign in with this account any more, and ends its sessions.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn disable(&self, name: &str) -> Result<(), AccountsError> {
        let disable = "UPDATE account SET is_disabled = 1 WHERE name = ?1 AND (";
        self.change_but_the_last_admin(name, disable, [name])?;
        self.end_sessions(name, None, None)?;
        Ok(())
    }

    /// Lets its owner sign in again.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn enable(&self, name: &str) -> Result<(), AccountsError> {
        self.change(name, "UPDATE account SET is_disabled = 0 WHERE name = ?1", [name])
    }

    /// Removes an account and all that is its own. What it did stays in the audit.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn remove(&self, name: &str) -> Result<(), AccountsError> {
        self.change_but_the_last_admin(name, "DELETE FROM account WHERE name = ?1 AND (", [name])?;
        self.steps.end_of(name);
        Ok(())
    }

    /// Takes the second factor away, of an account whose telephone is lost.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn reset_totp(&self, name: &str) -> Result<(), AccountsError> {
        self.change(name, "UPDATE account SET totp = NULL, totp_offered = NULL WHERE name = ?1", [name])?;
        self.with(|database| database.execute("DELETE FROM recovery WHERE account = ?1", [name]))?;
        self.end_sessions(name, None, None)?;
        Ok(())
    }

    /// The secret that is offered for the second factor: a new one, or the one that was offered before.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn offered_totp(&self, name: &str) -> Result<Vec<u8>, AccountsError> {
        let new: [u8; totp::SECRET] = rand::random();
        self.change(
            name,
            "UPDATE account SET totp_offered = coalesce(totp_offered, ?2) WHERE name = ?1",
            params![name, new],
        )?;
        self.with(|database| {
            database.query_row("SELECT totp_offered FROM account WHERE name = ?1", [name], |row| row.get(0))
        })
    }

    /// Takes the offered secret, once the telephone reckons with it; the recovery codes come back, to be shown once.
    ///
    /// # Errors
    /// [`AccountsError::Code`], if the code is not right, and others.
    pub fn enrol_totp(&self, name: &str, code: &str, now: i64) -> Result<Vec<String>, AccountsError> {
        let paid = self.throttle.code(name, now).map_err(AccountsError::Busy)?;
        let secret = self.offered_totp(name)?;
        let step = totp::step_of(&secret, code, 0, now).ok_or(AccountsError::Code)?;
        self.throttle.give_back(&paid);
        let codes = totp::recovery_codes(rand::random);
        self.with(|database| {
            let transaction = database.unchecked_transaction()?;
            transaction.execute(
                "UPDATE account SET totp = totp_offered, totp_offered = NULL, totp_step = ?2 WHERE name = ?1",
                params![name, step],
            )?;
            transaction.execute("DELETE FROM recovery WHERE account = ?1", [name])?;
            for digest in codes.iter().filter_map(|code| totp::recovery_digest(code)) {
                transaction.execute(
                    "INSERT INTO recovery (account, digest) VALUES (?1, ?2)",
                    params![name, digest],
                )?;
            }
            transaction.commit()
        })?;
        Ok(codes)
    }

    /// Whether nobody can manage accounts yet.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn needs_first(&self) -> Result<bool, AccountsError> {
        let select = format!("SELECT NOT EXISTS (SELECT 1 FROM account WHERE {IS_ADMIN})");
        self.with(|database| database.query_row(&select, [], |row| row.get(0)))
    }

    /// Does `sql`, whose condition is left open, unless nobody could manage accounts any more: in one statement, so that two who
    /// do it to each other at once do not both.
    fn change_but_the_last_admin(
        &self,
        name: &str,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<(), AccountsError> {
        let sql = format!("{sql} NOT {IS_ADMIN} OR (SELECT count(*) FROM account WHERE {IS_ADMIN}) > 1)");
        match self.change(name, &sql, values) {
            Err(AccountsError::Absent(_)) => Err(AccountsError::LastAdmin(self.find(name)?.name)),
            changed => changed,
        }
    }

    fn change(&self, name: &str, sql: &str, values: impl rusqlite::Params) -> Result<(), AccountsError> {
        match self.with(|database| database.execute(sql, values))? {
            0 => Err(AccountsError::Absent(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, AccountsError> {
        // Transactions are rolled back where one who held the lock panicked.
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        act(&database).map_err(|source| AccountsError::Database { path: self.path.clone(), source })
    }
}

fn account(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Account>> {
    let role: String = row.get(1)?;
    // Of a newer release's role nothing is known: it can do nothing here.
    let Ok(role) = role.parse() else { return Ok(None) };
    let (has_totp, codes): (bool, u32) = (row.get(5)?, row.get(6)?);
    Ok(Some(Account {
        name: row.get(0)?,
        role,
        agency: row.get(2)?,
        is_disabled: row.get(3)?,
        has_password: row.get(4)?,
        totp: has_totp.then_some(codes),
        subject: row.get(7)?,
        made: row.get(8)?,
        last: row.get(9)?,
        by_groups: row.get(10)?,
        awaited: row.get(11)?,
    }))
}

/// Who an account is when it asks.
fn viewer(name: String, role: &str, agency: Option<String>) -> Option<Viewer> {
    let role = role.parse().ok()?;
    let scope = match (role, agency) {
        (Role::Officer, Some(agency)) => Scope::Agency(Arc::from(agency)),
        // One without an agency would see everything.
        (Role::Officer, None) => return None,
        _ => Scope::Province,
    };
    Some(Viewer { name, role, scope })
}

fn check(name: &str, role: Role, agency: Option<&str>) -> Result<(), AccountsError> {
    let is_plain = |it: char| it.is_alphanumeric() || matches!(it, '.' | '-' | '_' | '@' | ' ');
    let is_one = !name.is_empty()
        && name.chars().count() <= NAME
        && name.chars().all(is_plain)
        && name.trim() == name
        && !name.contains("  ");
    if !is_one {
        return Err(AccountsError::Name);
    }
    if (role == Role::Officer) != agency.is_some() {
        return Err(AccountsError::Agency);
    }
    Ok(())
}

/// What a form of this session brings back, so that other sites cannot send it.
pub(super) fn csrf(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(["csrf ", session].concat()))
}

/// Something that nobody guesses.
pub(super) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

pub(in crate::console) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests;
