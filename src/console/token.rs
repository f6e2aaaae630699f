//! Tokens: who may ask the API without a browser, for which account, with which of its rights, and for how long.
//!
//! One SQLite database, `data_dir/console/tokens.db`. A token is shown once, when it is made; its digest is kept, so whoever reads the
//! file can ask for nothing. It never may more than its account may at the moment: with the account it ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::engine::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};

use super::access::{RIGHTS, Right, Scope, Viewer};
use super::account::{Account, Accounts, AccountsError};
use crate::database::{self, DatabaseError, Durability, Layout};

/// Who has one, loses nothing by a power cut, and gets back nothing that was revoked.
const LAYOUT: Layout = Layout {
    steps: &[SCHEMA],
    durability: Durability::Commits,
    cache_kib: 1024,
    log_size: 1 << 20,
    shrinks: false,
};

const SCHEMA: &str = "
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, account TEXT NOT NULL, account_made INTEGER NOT NULL,
    label TEXT NOT NULL, rights TEXT NOT NULL, agency TEXT, made INTEGER NOT NULL, until INTEGER, last INTEGER) STRICT;
CREATE INDEX token_account ON token (account);
";

/// What every token begins with, so that people and scanners of leaked secrets know what it is.
const PREFIX: &str = "sachdns_";
/// Tokens of one account.
const MOST: i64 = 100;
/// Octets of a label.
const LONGEST_LABEL: usize = 100;
/// When a token was used last is not more exact than this.
const NOTED: i64 = 60_000_000;

/// Words for rights in commands, forms and the API.
const WORDS: [(&str, Right); 8] = [
    ("see", Right::See),
    ("see-province", Right::SeeProvince),
    ("work", Right::Work),
    ("judge", Right::Judge),
    ("rule", Right::Rule),
    ("audit", Right::Audit),
    ("manage", Right::Manage),
    ("metrics", Right::Measure),
];

/// The word of a right.
pub fn word(right: Right) -> &'static str {
    WORDS.iter().find(|(_, it)| *it == right).map_or("", |(word, _)| word)
}

/// The right of a word.
pub fn right(word: &str) -> Option<Right> {
    WORDS.iter().find(|(it, _)| *it == word).map(|(_, right)| *right)
}

/// Why a token is not made or found.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The database.
    #[error("{path}: tokens cannot be read or written: {source}; check the disk and who owns the file")]
    Database {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// Its account.
    #[error(transparent)]
    Account(#[from] AccountsError),
    /// The label.
    #[error("a token needs a label of up to {LONGEST_LABEL} octets that says what it is for")]
    Label,
    /// No rights.
    #[error("name at least one right: see, see-province, work, judge, rule, audit, manage or metrics")]
    NoRight,
    /// More than the account may.
    #[error("the account itself may not {0}")]
    Beyond(&'static str),
    /// Another agency than the account's.
    #[error("the account sees its own agency only")]
    Agency,
    /// There are too many.
    #[error("the account has {MOST} tokens already: revoke those that nobody uses")]
    Full,
    /// There is none.
    #[error("there is no such token")]
    Absent,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub account: String,
    /// What it is for.
    pub label: String,
    /// What it may.
    pub rights: Vec<Right>,
    /// The only agency that it sees.
    pub agency: Option<String>,
    /// When it was made, microseconds since 1970.
    pub made: i64,
    /// When it ends.
    pub until: Option<i64>,
    /// When it was used last, to the minute.
    pub last: Option<i64>,
}

/// What somebody wants.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// What it is for.
    pub label: &'a str,
    /// What it may.
    pub rights: &'a [Right],
    /// The only agency that it sees.
    pub agency: Option<&'a str>,
    /// When it ends.
    pub until: Option<i64>,
}

/// What a token that was shown may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// For whom.
    pub viewer: Viewer,
    /// With which rights of that one.
    pub rights: Vec<Right>,
    /// The token's number.
    pub token: i64,
}

/// The tokens of a data folder.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    database: Mutex<Connection>,
}

impl Tokens {
    /// Opens the tokens of this data folder; makes their database where there is none.
    ///
    /// # Errors
    /// [`TokenError::Database`].
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join("console").join("tokens.db");
        match database::open(&path, &LAYOUT) {
            Ok(database) => Ok(Self { path, database: Mutex::new(database) }),
            Err(source) => Err(TokenError::Database { path, source }),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, TokenError> {
        let database: MutexGuard<'_, _> = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        act(&database)
            .map_err(|source| TokenError::Database { path: self.path.clone(), source: source.into() })
    }

    /// Makes a token for an account; what is to be shown comes back, and its number.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn make(&self, account: &Account, wish: &Wish<'_>, now: i64) -> Result<(String, i64), TokenError> {
        let Wish { label, rights, agency, until } = wish;
        let label = label.trim();
        if label.is_empty() || label.len() > LONGEST_LABEL || label.contains(char::is_control) {
            return Err(TokenError::Label);
        }
        if rights.is_empty() {
            return Err(TokenError::NoRight);
        }
        if let Some(right) = rights.iter().find(|right| !account.role.may(**right)) {
            return Err(TokenError::Beyond(word(*right)));
        }
        if account.agency.is_some() && agency.is_some() && account.agency.as_deref() != *agency {
            return Err(TokenError::Agency);
        }
        let words: Vec<&str> =
            RIGHTS.iter().filter(|right| rights.contains(right)).map(|right| word(*right)).collect();
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let id = self.with(|database| {
            let count: i64 =
                database.query_row("SELECT count(*) FROM token WHERE account = ?1", [&account.name], |row| row.get(0))?;
            if count >= MOST {
                return Ok(None);
            }
            database.execute(
                "INSERT INTO token (digest, account, account_made, label, rights, agency, made, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![digest(&secret), account.name, account.made, label, words.join(" "), agency, now, until],
            )?;
            Ok(Some(database.last_insert_rowid()))
        })?;
        id.map(|id| (secret, id)).ok_or(TokenError::Full)
    }

    /// The tokens of an account, or of all, the last made first.
    ///
    /// # Errors
    /// [`TokenError::Database`].
    pub fn list(&self, account: Option<&str>) -> Result<Vec<Token>, TokenError> {
        self.with(|database| {
            let mut select = database.prepare(
                "SELECT id, account, label, rights, agency, made, until, last FROM token
                 WHERE ?1 IS NULL OR account = ?1 ORDER BY id DESC",
            )?;
            select.query_map([account], token)?.collect()
        })
    }

    /// Ends a token; one of this account alone, where that is named.
    ///
    /// # Errors
    /// [`TokenError::Absent`] and [`TokenError::Database`].
    pub fn revoke(&self, id: i64, account: Option<&str>) -> Result<Token, TokenError> {
        let gone = self.with(|database| {
            database
                .query_row(
                    "DELETE FROM token WHERE id = ?1 AND (?2 IS NULL OR account = ?2)
                     RETURNING id, account, label, rights, agency, made, until, last",
                    params![id, account],
                    token,
                )
                .optional()
        })?;
        gone.ok_or(TokenError::Absent)
    }

    /// What this token may now; `None` where it is none, or has ended.
    ///
    /// # Errors
    /// [`TokenError::Database`] and those of accounts.
    pub fn grant(&self, secret: &str, accounts: &Accounts, now: i64) -> Result<Option<Grant>, TokenError> {
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        let found = self.with(|database| {
            let mut select = database.prepare(
                "SELECT id, account, label, rights, agency, made, until, last, account_made FROM token WHERE digest = ?1",
            )?;
            let found =
                select.query_row([digest(secret)], |row| Ok((token(row)?, row.get::<_, i64>(8)?))).optional()?;
            if let Some((token, _)) = &found
                && token.last.is_none_or(|last| now - last > NOTED)
            {
                database.execute("UPDATE token SET last = ?1 WHERE id = ?2", [now, token.id])?;
            }
            Ok(found)
        })?;
        let Some((token, account_made)) = found else { return Ok(None) };
        if token.until.is_some_and(|until| until <= now) {
            return Ok(None);
        }
        let account = match accounts.find(&token.account) {
            Ok(account) => account,
            Err(AccountsError::Absent(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Another one of the same name is somebody else.
        if account.is_disabled || account.made != account_made {
            return Ok(None);
        }
        let scope = match (&account.agency, &token.agency) {
            (Some(own), Some(other)) if own != other => return Ok(None),
            (Some(agency), _) | (None, Some(agency)) => Scope::Agency(Arc::from(agency.as_str())),
            (None, None) if account.role == super::access::Role::Officer => return Ok(None),
            (None, None) => Scope::Province,
        };
        let name = format!("{} (token {})", account.name, token.label);
        let viewer = Viewer { name, role: account.role, scope };
        Ok(Some(Grant { viewer, rights: token.rights, token: token.id }))
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let rights: String = row.get(3)?;
    Ok(Token {
        id: row.get(0)?,
        account: row.get(1)?,
        label: row.get(2)?,
        rights: rights.split(' ').filter_map(right).collect(),
        agency: row.get(4)?,
        made: row.get(5)?,
        until: row.get(6)?,
        last: row.get(7)?,
    })
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::super::access::Role;
    use super::*;

    const PASSWORD: &str = "mật khẩu dài và khó";

    #[test]
    fn a_token_may_no_more_than_its_account_and_its_wish() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(folder.path()).unwrap();
        accounts.add("an", Role::Analyst, None, PASSWORD, 1).unwrap();
        accounts.add("bình", Role::Officer, Some("so-yte"), PASSWORD, 1).unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let (analyst, officer) = (accounts.find("an").unwrap(), accounts.find("bình").unwrap());
        let wish = Wish { label: "SIEM", rights: &[Right::See], agency: Some("so-tttt"), until: Some(100) };
        let (secret, id) = tokens.make(&analyst, &wish, 1).unwrap();
        let grant = tokens.grant(&secret, &accounts, 2).unwrap().unwrap();
        assert_eq!((grant.rights, grant.token), (vec![Right::See], id));
        assert_eq!(grant.viewer.scope, Scope::Agency("so-tttt".into()));
        assert_eq!(tokens.list(Some("an")).unwrap()[0].last, Some(2));
        assert_eq!(tokens.grant(&secret, &accounts, 100).unwrap(), None, "it has ended");
        assert_eq!(tokens.grant("sachdns_x", &accounts, 2).unwrap(), None);

        let more = Wish { rights: &[Right::Audit], ..wish.clone() };
        assert!(matches!(tokens.make(&analyst, &more, 1), Err(TokenError::Beyond("audit"))));
        assert!(matches!(tokens.make(&officer, &wish, 1), Err(TokenError::Agency)));
        let own = Wish { agency: None, until: None, ..wish };
        let (secret, id) = tokens.make(&officer, &own, 1).unwrap();
        let grant = tokens.grant(&secret, &accounts, 2).unwrap().unwrap();
        assert_eq!(grant.viewer.scope, Scope::Agency("so-yte".into()));
        assert!(matches!(tokens.revoke(id, Some("an")), Err(TokenError::Absent)));
        tokens.revoke(id, Some("bình")).unwrap();
        assert_eq!(tokens.grant(&secret, &accounts, 2).unwrap(), None, "it was revoked");
    }
}
