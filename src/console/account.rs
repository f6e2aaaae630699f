//! Accounts and sessions: who may sign in, and who has.
//!
//! One SQLite database, `data_dir/console/accounts.db`. Passwords are kept as argon2id (RFC 9106), sessions as the digest of what the cookie
//! has: whoever reads the file can sign in as nobody.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::engine::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::access::{Role, Scope, Viewer};

/// How long a session lasts, microseconds.
const SESSION: i64 = 12 * 3600 * 1_000_000;
/// A password has at least so many characters.
pub const SHORTEST_PASSWORD: usize = 10;

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
    /// The folder.
    #[error("{path}: {source}; the server must be able to write there")]
    Folder {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The password is too short.
    #[error("a password has at least {SHORTEST_PASSWORD} characters")]
    ShortPassword,
    /// An officer has an agency, and nobody else.
    #[error("an officer looks after one agency: name it; every other role sees the province")]
    Agency,
    /// The name is taken.
    #[error("there is an account {0} already")]
    Taken(String),
    /// The hash.
    #[error("the password cannot be kept: {0}")]
    Hash(argon2::password_hash::Error),
}

/// The accounts of a data folder.
#[derive(Debug)]
pub struct Accounts {
    path: PathBuf,
    database: Mutex<Connection>,
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS account (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, agency TEXT, password TEXT NOT NULL, made INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS session (
        digest BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES account ON DELETE CASCADE, until INTEGER NOT NULL
    ) STRICT;
";

impl Accounts {
    /// Opens the accounts of this data folder; makes them where there are none.
    ///
    /// # Errors
    /// [`AccountsError::Folder`] and [`AccountsError::Database`].
    pub fn open(data_dir: &Path) -> Result<Self, AccountsError> {
        let folder = data_dir.join("console");
        fs::create_dir_all(&folder)
            .map_err(|source| AccountsError::Folder { path: folder.clone(), source })?;
        let path = folder.join("accounts.db");
        let open = || {
            let database = Connection::open(&path)?;
            database.busy_timeout(std::time::Duration::from_secs(5))?;
            database.execute_batch(SCHEMA)?;
            Ok(database)
        };
        match open() {
            Ok(database) => Ok(Self { path, database: Mutex::new(database) }),
            Err(source) => Err(AccountsError::Database { path, source }),
        }
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn add(
        &self,
        name: &str,
        role: Role,
        agency: Option<&str>,
        password: &str,
        now: i64,
    ) -> Result<(), AccountsError> {
        if password.chars().count() < SHORTEST_PASSWORD {
            return Err(AccountsError::ShortPassword);
        }
        if (role == Role::Officer) != agency.is_some() {
            return Err(AccountsError::Agency);
        }
        let hash = hasher().hash_password(password.as_bytes()).map_err(AccountsError::Hash)?.to_string();
        let added = self
            .database()
            .execute(
                "INSERT OR IGNORE INTO account (name, role, agency, password, made) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![name, role.as_str(), agency, hash, now],
            )
            .map_err(|source| self.error(source))?;
        if added == 0 { Err(AccountsError::Taken(name.to_owned())) } else { Ok(()) }
    }

    /// Begins a session, if that is the password; what the cookie has comes back.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn sign_in(&self, name: &str, password: &str, now: i64) -> Result<Option<String>, AccountsError> {
        let kept: Option<String> = self
            .database()
            .query_row("SELECT password FROM account WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|source| self.error(source))?;
        // An account that is not there takes as long as one that is.
        let kept_hash = kept.as_deref().unwrap_or(NOBODY);
        let fits = PasswordHash::new(kept_hash)
            .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok());
        if !fits || kept.is_none() {
            return Ok(None);
        }
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        self.database()
            .execute(
                "INSERT INTO session (digest, account, until) VALUES (?1, ?2, ?3)",
                params![digest(&token), name, now + SESSION],
            )
            .map_err(|source| self.error(source))?;
        Ok(Some(token))
    }

    /// Whose session this is.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn viewer(&self, token: &str, now: i64) -> Result<Option<Viewer>, AccountsError> {
        self.database()
            .query_row(
                "SELECT name, role, agency FROM session JOIN account ON name = account WHERE digest = ?1 AND until > ?2",
                params![digest(token), now],
                |row| {
                    let (name, role, agency): (String, String, Option<String>) =
                        (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok((name, role, agency))
                },
            )
            .optional()
            .map_err(|source| self.error(source))
            .map(|found| {
                let (name, role, agency) = found?;
                let role = role.parse().ok()?;
                let scope = match (role, agency) {
                    (Role::Officer, Some(agency)) => Scope::Agency(Arc::from(agency)),
                    // One without an agency would see everything.
                    (Role::Officer, None) => return None,
                    _ => Scope::Province,
                };
                Some(Viewer { name, role, scope })
            })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn sign_out(&self, token: &str) -> Result<(), AccountsError> {
        self.database()
            .execute("DELETE FROM session WHERE digest = ?1", [digest(token)])
            .map_err(|source| self.error(source))?;
        Ok(())
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, source: rusqlite::Error) -> AccountsError {
        AccountsError::Database { path: self.path.clone(), source }
    }
}

/// What a form of this session brings back, so that other sites cannot send it.
pub(super) fn csrf(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(["csrf ", session].concat()))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The hash of a password that nobody has, with the costs of all.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// 19 MiB and two passes: the least that OWASP advises, since several may sign in at once beside a resolver.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_of_accounts() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(folder.path()).unwrap();
        accounts.add("an", Role::Officer, Some("so-yte"), "mật khẩu dài", 0).unwrap();
        assert!(matches!(
            accounts.add("an", Role::Admin, None, "mật khẩu dài", 0),
            Err(AccountsError::Taken(_))
        ));
        assert!(matches!(
            accounts.add("b", Role::Officer, None, "mật khẩu dài", 0),
            Err(AccountsError::Agency)
        ));
        assert!(matches!(accounts.add("b", Role::Admin, None, "ngắn", 0), Err(AccountsError::ShortPassword)));
        assert_eq!(accounts.sign_in("an", "sai mật khẩu", 0).unwrap(), None);
        assert_eq!(accounts.sign_in("không ai", "mật khẩu dài", 0).unwrap(), None);
        let token = accounts.sign_in("an", "mật khẩu dài", 0).unwrap().unwrap();
        let viewer = accounts.viewer(&token, 1).unwrap().unwrap();
        assert_eq!(viewer.scope, Scope::Agency("so-yte".into()));
        assert_eq!(accounts.viewer(&token, SESSION).unwrap(), None);
        accounts.sign_out(&token).unwrap();
        assert_eq!(accounts.viewer(&token, 1).unwrap(), None);
    }
}
