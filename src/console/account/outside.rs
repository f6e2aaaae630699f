//! Accounts of people whom the organisation's own sign-in knows: which one is whose, and what it may do.
//!
//! Somebody is known by issuer and subject, never by a name or an address of mail, which others can have tomorrow. An account is made at
//! the first sign-in of somebody whose groups say what it is, and follows them at each; or an admin has made it and lets it wait, for some
//! days, for the first who comes by its name. A name alone opens nothing.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::session::{By, begin_within};
use super::throttle::Paid;
use super::{ACCOUNTS, Account, Accounts, AccountsError, COLUMNS, Origin, Role, check};

/// How many days an account waits for its owner.
pub const AWAITED_DAYS: i64 = 7;
const DAY: i64 = 24 * 3600 * 1_000_000;

/// Somebody who signed in outside.
#[derive(Debug, Clone, Copy)]
pub struct Outsider<'a> {
    /// Who it is: issuer and subject.
    pub subject: &'a str,
    /// What its account is called, if one is made.
    pub name: &'a str,
    /// What its groups make of it.
    pub grant: Option<&'a Grant>,
    /// The token by which the session is ended there too.
    pub id_token: Option<&'a str>,
}

/// What groups make of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it is.
    pub role: Role,
    /// The only agency that an officer sees.
    pub agency: Option<String>,
}

impl Grant {
    /// As the audit has it.
    pub fn text(&self) -> String {
        match &self.agency {
            Some(agency) => format!("{} {agency}", self.role.as_str()),
            None => self.role.as_str().to_owned(),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A session: what its cookie has, whose it is, and what was changed for it.
    Session {
        /// The cookie's.
        token: String,
        /// The account's name.
        account: String,
        /// What was changed.
        came: Came,
    },
    /// Nothing.
    Refused(Refusal),
}

/// How somebody came to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It was theirs, and is what it was.
    Known,
    /// It was theirs, and was this.
    Changed(Grant),
    /// It was made.
    Made,
    /// It waited.
    Linked,
}

/// Why somebody whom the provider knows does not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The account is disabled.
    Disabled,
    /// No group of theirs is one of ours, and no account waits.
    NoGroup,
    /// Another account has the name.
    Taken,
    /// The name cannot be an account's.
    Name,
}

impl Accounts {
    /// Pays for a way to the organisation's own sign-in or back; otherwise says after how many seconds to try again.
    pub(in crate::console) fn pay_outside(
        &self,
        from: Origin<'_>,
        now: i64,
    ) -> Result<OutsidePaid, AccountsError> {
        self.throttle.outside(from.address, now).map(OutsidePaid).map_err(AccountsError::Busy)
    }

    /// Gives back what somebody paid who came in.
    pub(in crate::console) fn give_back_outside(&self, paid: &OutsidePaid) {
        self.throttle.give_back(&paid.0);
    }

    /// Lets somebody in whom the organisation's own sign-in knows, with the account that is theirs, if there is one or may be.
    ///
    /// # Errors
    /// [`AccountsError::Full`] and [`AccountsError::Database`].
    pub fn enter(&self, who: &Outsider<'_>, from: Origin<'_>, now: i64) -> Result<Entry, AccountsError> {
        let entered = self.with(|database| {
            // What is read here must still hold when it is written: commands have this file open too.
            let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
            let (account, came) = match theirs(&transaction, who, now)? {
                Ok(found) => found,
                Err(no) => {
                    // Whoever lost the groups loses what is open, too.
                    transaction.commit()?;
                    return Ok(Err(no));
                }
            };
            let by = By::Outside(who.id_token);
            let token = begin_within(&transaction, &account, from, by, now)?;
            transaction.commit()?;
            Ok(Ok(Entry::Session { token, account, came }))
        })?;
        entered.or_else(|no| match no {
            No::Refused(refusal) => Ok(Entry::Refused(refusal)),
            No::Full => Err(AccountsError::Full),
        })
    }

    /// Lets an account wait for the first who comes by its name from the organisation's own sign-in; until then it is as it was.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn await_outside(&self, name: &str, now: i64) -> Result<(), AccountsError> {
        let until = now + AWAITED_DAYS * DAY;
        self.change(name, "UPDATE account SET awaited = ?2 WHERE name = ?1", params![name, until])
    }

    /// Says who an account is for the organisation's own sign-in, issuer and subject, as if its owner had come by it: all other ways in end.
    ///
    /// # Errors
    /// [`AccountsError`]; `Taken`, if that one has an account.
    pub fn link_outside(&self, name: &str, subject: &str) -> Result<(), AccountsError> {
        if let Some(other) = self.of_subject(subject)?
            && other.name != self.find(name)?.name
        {
            return Err(AccountsError::Taken(other.name));
        }
        let name = self.find(name)?.name;
        self.end_sessions(&name, None, None)?;
        self.with(|database| link(database, &name, subject))
    }

    /// Takes an account back from the organisation's own sign-in; its sessions end, and without a password its owner needs a link.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn unlink_outside(&self, name: &str) -> Result<(), AccountsError> {
        let account = self.find(name)?;
        let update = "UPDATE account SET subject = NULL, awaited = NULL, by_groups = 0
            WHERE name = ?1 AND (password IS NOT NULL OR";
        self.change_but_the_last_admin(name, update, [name])?;
        self.end_sessions(&account.name, None, None)?;
        Ok(())
    }
}

/// What a way out or back cost.
#[derive(Debug)]
pub(in crate::console) struct OutsidePaid(Paid);

enum No {
    Refused(Refusal),
    Full,
}

/// The account of somebody, found, made or linked.
fn theirs(
    database: &Connection,
    who: &Outsider<'_>,
    now: i64,
) -> rusqlite::Result<Result<(String, Came), No>> {
    let find = |column: &str, value: &str| {
        let select = format!("SELECT {COLUMNS} FROM account WHERE {column} = ?1");
        database.query_row(&select, [value], super::account).optional()
    };
    let refused = |refusal| Ok(Err(No::Refused(refusal)));
    if let Some(account) = find("subject", who.subject)? {
        // Of a newer release's role.
        let Some(account) = account else { return refused(Refusal::Disabled) };
        return known(database, account, who);
    }
    match find("name", who.name)? {
        Some(Some(account)) if account.is_disabled => return refused(Refusal::Disabled),
        Some(Some(account)) if account.awaited.is_some_and(|until| until > now) => {
            database.execute("DELETE FROM session WHERE account = ?1", [&account.name])?;
            link(database, &account.name, who.subject)?;
            return Ok(Ok((account.name, Came::Linked)));
        }
        Some(_) => return refused(Refusal::Taken),
        None => {}
    }
    let Some(grant) = who.grant else { return refused(Refusal::NoGroup) };
    if check(who.name, grant.role, grant.agency.as_deref()).is_err() {
        return refused(Refusal::Name);
    }
    let many: i64 = database.query_row("SELECT count(*) FROM account", [], |row| row.get(0))?;
    if many >= ACCOUNTS {
        return Ok(Err(No::Full));
    }
    database.execute(
        "INSERT INTO account (name, role, agency, subject, by_groups, made) VALUES (?1, ?2, ?3, ?4, 1, ?5)",
        params![who.name, grant.role.as_str(), grant.agency, who.subject, now],
    )?;
    Ok(Ok((who.name.to_owned(), Came::Made)))
}

/// Of an account that is known: as its groups have it now, if they say what it is.
fn known(
    database: &Connection,
    account: Account,
    who: &Outsider<'_>,
) -> rusqlite::Result<Result<(String, Came), No>> {
    let end = || database.execute("DELETE FROM session WHERE account = ?1", [&account.name]);
    if account.is_disabled {
        return Ok(Err(No::Refused(Refusal::Disabled)));
    }
    if !account.by_groups {
        return Ok(Ok((account.name, Came::Known)));
    }
    let Some(grant) = who.grant else {
        end()?;
        return Ok(Err(No::Refused(Refusal::NoGroup)));
    };
    if grant.role == account.role && grant.agency == account.agency {
        return Ok(Ok((account.name, Came::Known)));
    }
    end()?;
    database.execute(
        "UPDATE account SET role = ?2, agency = ?3 WHERE name = ?1",
        params![account.name, grant.role.as_str(), grant.agency],
    )?;
    let was = Grant { role: account.role, agency: account.agency };
    Ok(Ok((account.name, Came::Changed(was))))
}

/// An account has one way in: a password that its owner chose would go on when the organisation lets the owner go. An admin's stays, for
/// when the provider is out of order.
fn link(database: &Connection, name: &str, subject: &str) -> rusqlite::Result<()> {
    database.execute(
        "UPDATE account SET subject = ?2, awaited = NULL, by_groups = 0,
             password = CASE role WHEN 'admin' THEN password END, totp = CASE role WHEN 'admin' THEN totp END
         WHERE name = ?1",
        params![name, subject],
    )?;
    // What stands in for a telephone that counts no more, and links for a new password.
    database.execute(
        "DELETE FROM recovery WHERE account = ?1 AND (SELECT totp FROM account WHERE name = ?1) IS NULL",
        [name],
    )?;
    database.execute("DELETE FROM link WHERE account = ?1", [name])?;
    Ok(())
}
