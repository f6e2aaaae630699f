//! One-time links: of the first admin, of accounts that were invited, and for a new password.
//!
//! A link is random, kept as its digest, over after a day or its first use, and replaced by a newer one for the same.

use rusqlite::{OptionalExtension as _, params};

use super::{Accounts, AccountsError, Origin, Role, digest, secret};

/// How long a link is good, microseconds.
const DAY: i64 = 24 * 3600 * 1_000_000;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Makes the first admin.
    First,
    /// Gives an account that was invited, or whose owner forgot it, a password.
    Password,
}

/// A link that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is for.
    pub purpose: Purpose,
    /// Whose password it sets.
    pub account: Option<String>,
}

impl Accounts {
    /// Makes the code of a link that makes the first admin; earlier ones are over. Nothing where there is an admin.
    ///
    /// # Errors
    /// [`AccountsError::Database`].
    pub fn first_link(&self, now: i64) -> Result<Option<String>, AccountsError> {
        if !self.needs_first()? {
            return Ok(None);
        }
        self.make_link(None, now).map(Some)
    }

    /// Makes the code of a link by which the owner of this account sets a password; earlier ones are over.
    ///
    /// # Errors
    /// [`AccountsError::Absent`] and [`AccountsError::Database`].
    pub fn password_link(&self, name: &str, now: i64) -> Result<String, AccountsError> {
        let account = self.find(name)?;
        self.make_link(Some(&account.name), now)
    }

    fn make_link(&self, account: Option<&str>, now: i64) -> Result<String, AccountsError> {
        self.clean(now)?;
        let code = secret();
        self.with(|database| {
            let transaction = database.unchecked_transaction()?;
            transaction.execute("DELETE FROM link WHERE account IS ?1", [account])?;
            transaction.execute(
                "INSERT INTO link (digest, purpose, account, until) VALUES (?1, ?2, ?3, ?4)",
                params![
                    digest(&code),
                    if account.is_some() { "password" } else { "first" },
                    account,
                    now + DAY
                ],
            )?;
            transaction.commit()
        })?;
        Ok(code)
    }

    /// What the link with this code is for.
    ///
    /// # Errors
    /// [`AccountsError::Link`], if it is none, and [`AccountsError::Database`].
    pub fn link(&self, code: &str, now: i64) -> Result<Link, AccountsError> {
        let found: Option<(String, Option<String>)> = self.with(|database| {
            database
                .query_row(
                    "SELECT purpose, link.account FROM link LEFT JOIN account ON name = link.account
                     WHERE digest = ?1 AND until > ?2 AND coalesce(is_disabled, 0) = 0",
                    params![digest(code), now],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })?;
        match found {
            Some((purpose, None)) if purpose == "first" && self.needs_first()? => {
                Ok(Link { purpose: Purpose::First, account: None })
            }
            Some((purpose, Some(account))) if purpose == "password" => {
                Ok(Link { purpose: Purpose::Password, account: Some(account) })
            }
            _ => Err(AccountsError::Link),
        }
    }

    /// Uses a link: makes the account `name`, or sets the password of the one it is for. The account's name comes back, and the cookie
    /// of a session, but where a second factor is asked for first.
    ///
    /// # Errors
    /// [`AccountsError`]; then the link is as good as before.
    pub fn use_link(
        &self,
        code: &str,
        name: &str,
        password: &str,
        from: Origin<'_>,
        now: i64,
    ) -> Result<(String, Option<String>), AccountsError> {
        let paid = self.throttle.link(from.address, now).map_err(AccountsError::Busy)?;
        let link = self.link(code, now)?;
        self.throttle.give_back(&paid);
        let hash = self.hasher.hash(password)?;
        let name = link.account.as_deref().unwrap_or(name);
        let role =
            link.account.as_deref().map_or(Ok(Role::Admin), |name| self.find(name).map(|it| it.role))?;
        if !self.rules.passwords.may(role) {
            return Err(AccountsError::Outside);
        }
        if link.account.is_none() {
            super::check(name, Role::Admin, None)?;
        }
        let done = self.with(|database| {
            let transaction = database.unchecked_transaction()?;
            // Whoever takes the link away has it.
            if transaction.execute("DELETE FROM link WHERE digest = ?1", [digest(code)])? == 0 {
                return Ok(Err(AccountsError::Link));
            }
            let done = match link.account {
                Some(_) => transaction
                    .execute("UPDATE account SET password = ?2 WHERE name = ?1", params![name, hash])?,
                None => transaction.execute(
                    "INSERT OR IGNORE INTO account (name, role, password, made) VALUES (?1, 'admin', ?2, ?3)",
                    params![name, hash, now],
                )?,
            };
            if done == 0 {
                return Ok(Err(AccountsError::Taken(name.to_owned())));
            }
            transaction.execute("DELETE FROM session WHERE account = ?1", [name])?;
            transaction.commit()?;
            Ok(Ok(()))
        })?;
        done?;
        let account = self.find(name)?;
        let session = match account.totp {
            Some(_) => None,
            None => Some(self.begin(&account.name, from, now)?),
        };
        Ok((account.name, session))
    }
}
