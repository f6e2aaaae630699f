//! What handlers give back, and why they could not; [`super::server`] makes messages of both.

use std::io::{self, Write};

use hyper::StatusCode;
use maud::Markup;

use crate::cases::DeskError;
use crate::coverage::LedgerError;
use crate::evidence::contacts::ContactsError;
use crate::evidence::store::StoreError;
use crate::identity::BookError;

/// An answer.
pub(super) enum Reply {
    /// A whole page.
    Page(Markup),
    /// A page with its form again, and what is wrong in it (422).
    Again(Markup),
    /// A page that says why there is no other, with this status.
    Told(StatusCode, Markup),
    /// A page that is left for another place at once, after this cookie was set. Forms may be answered with it where a redirect would lead
    /// elsewhere, which our own rule for forms forbids.
    Onward {
        /// The page, for whoever is not led on.
        page: Markup,
        /// Where to.
        to: String,
        /// The field's value.
        cookie: String,
    },
    /// JSON.
    Json(serde_json::Value),
    /// … of a server that is not well (503).
    Unwell(serde_json::Value),
    /// Somewhere else, by GET (303).
    Redirect(String),
    /// … after this cookie was set: `NAME=VALUE; …`.
    RedirectWith {
        /// Where to.
        to: String,
        /// The field's value.
        cookie: String,
    },
    /// A file, to be shown or saved.
    File(File),
    /// Octets that are made while they are sent.
    Stream(Stream),
    /// A page that is made while it is sent ([`super::shell::gradual`]).
    Gradual(Writing),
    /// Text such as metrics.
    Text(&'static str, String),
}

/// Octets with what they are.
pub(super) struct File {
    /// As in Content-Type.
    pub(super) kind: &'static str,
    /// The name to save it under; `None`: it is shown.
    pub(super) name: Option<String>,
    /// What it is.
    pub(super) octets: Vec<u8>,
}

/// What a stream writes to; an error means that nobody reads on.
pub(super) type Writing = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Octets that are made while they are sent.
pub(super) struct Stream {
    /// As in Content-Type.
    pub(super) kind: &'static str,
    /// The name to save it under; `None`: it is shown.
    pub(super) name: Option<String>,
    /// Makes them.
    pub(super) write: Writing,
}

/// What Excel wants in front, to know that it is UTF-8.
const MARK: &str = "\u{feff}";

impl Stream {
    /// What a page shows, to be saved: a table, or a line of JSON each.
    pub(super) fn export(is_csv: bool, name: &str, write: Writing) -> Self {
        if !is_csv {
            let name = Some(format!("sachdns-{name}.jsonl"));
            return Self { kind: "application/x-ndjson", name, write };
        }
        let write = Box::new(move |out: &mut dyn Write| {
            out.write_all(MARK.as_bytes())?;
            write(out)
        });
        Self { kind: "text/csv; charset=utf-8", name: Some(format!("sachdns-{name}.csv")), write }
    }
}

/// Why there is no such answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such thing, or not for this viewer: the two are never told apart.
    #[error("there is nothing here that you may see")]
    Absent,
    /// Nobody is signed in.
    #[error("sign in first")]
    SignedOut,
    /// The account may not do that.
    #[error("your role may not do that")]
    Forbidden,
    /// The account needs a second factor first.
    #[error("set up the second factor first: open /account/totp")]
    Enrol,
    /// The form came from elsewhere, or its session is over.
    #[error("this form is too old or came from another site; open the page again")]
    Forged,
    /// A browser may only read what is for programs.
    #[error("changes by the API need a token: send Authorization: Bearer TOKEN")]
    Cookie,
    /// Too many of them.
    #[error("too many requests; try again in {0} seconds")]
    Busy(u64),
    /// What was asked for cannot be: field and why, in both languages.
    #[error("{field}: {english}")]
    Wrong {
        /// Which field.
        field: &'static str,
        /// Why, and what to do.
        vietnamese: String,
        /// The same.
        english: String,
    },
    /// The query log.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// Cases.
    #[error(transparent)]
    Cases(#[from] DeskError),
    /// Machines.
    #[error(transparent)]
    Machines(#[from] BookError),
    /// Contacts.
    #[error(transparent)]
    Contacts(#[from] ContactsError),
    /// Endpoint protection.
    #[error(transparent)]
    Coverage(#[from] LedgerError),
    /// Accounts.
    #[error(transparent)]
    Accounts(#[from] super::account::AccountsError),
    /// Tokens.
    #[error(transparent)]
    Tokens(#[from] super::token::TokenError),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// A file or folder.
    #[error("{what}: {source}")]
    Files {
        /// Which, for people.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
