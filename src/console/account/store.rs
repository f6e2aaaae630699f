//! The accounts' database: its tables, and how it is opened.
//!
//! ```text
//! account    who may sign in; without a password: invited, or by the organisation's own sign-in
//! session    who has: the digest of what the cookie has, never that itself
//! link       one-time links that make the first admin, an invited account, or a new password; digests too
//! recovery   digests of the codes that stand in for a lost telephone
//! seen       from which addresses an account signed in before, so that strangers' guesses do not lock it out there
//! ```

use std::path::Path;

use rusqlite::Connection;

use super::AccountsError;
use crate::database::{self, Durability, Layout};

static LAYOUT: Layout = Layout {
    steps: &[SCHEMA, OUTSIDE],
    durability: Durability::Commits,
    cache_kib: 2048,
    log_size: 1 << 20,
    shrinks: false,
};

const SCHEMA: &str = "
    CREATE TABLE account (
        name TEXT PRIMARY KEY COLLATE NOCASE, role TEXT NOT NULL, agency TEXT, password TEXT, subject TEXT UNIQUE,
        is_disabled INTEGER NOT NULL DEFAULT 0, made INTEGER NOT NULL, last INTEGER,
        totp BLOB, totp_step INTEGER NOT NULL DEFAULT 0, totp_offered BLOB
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE,
        account TEXT NOT NULL COLLATE NOCASE REFERENCES account ON DELETE CASCADE,
        made INTEGER NOT NULL, last INTEGER NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL, is_outside INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX session_account ON session (account, last);
    CREATE TABLE link (
        digest BLOB PRIMARY KEY, purpose TEXT NOT NULL, account TEXT COLLATE NOCASE REFERENCES account ON DELETE CASCADE,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE recovery (
        account TEXT NOT NULL COLLATE NOCASE REFERENCES account ON DELETE CASCADE, digest BLOB NOT NULL,
        PRIMARY KEY (account, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE seen (
        account TEXT NOT NULL COLLATE NOCASE REFERENCES account ON DELETE CASCADE, address TEXT NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (account, address)
    ) STRICT, WITHOUT ROWID;
";

/// Of the organisation's own sign-in: until when an account waits for it, whether its groups say what the account is, and the token by which
/// a session is ended there too.
const OUTSIDE: &str = "
    ALTER TABLE account ADD COLUMN awaited INTEGER;
    ALTER TABLE account ADD COLUMN by_groups INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE session ADD COLUMN id_token TEXT;
";

/// Opens the database; makes it, and its folder, where they are missing.
pub(super) fn open(path: &Path) -> Result<Connection, AccountsError> {
    let failed = |source| AccountsError::Open { path: path.to_owned(), source };
    let database = database::open(path, &LAYOUT).map_err(failed)?;
    database.pragma_update(None, "foreign_keys", true).map_err(|source| failed(source.into()))?;
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_before_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        let before = database::open(&path, &Layout { steps: &[SCHEMA], ..LAYOUT }).unwrap();
        before.execute("INSERT INTO account (name, role, made) VALUES ('an', 'admin', 1)", []).unwrap();
        drop(before);
        let select = "SELECT name, by_groups, awaited IS NULL FROM account";
        let kept: (String, bool, bool) = open(&path)
            .unwrap()
            .query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        assert_eq!(kept, ("an".to_owned(), false, true));
    }
}
