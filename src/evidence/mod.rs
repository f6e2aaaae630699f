//! Evidence: which client asked what and what it was told, kept on disk.
//!
//! A [`record::Record`] is appended to a [`segment`] by a [`journal::Journal`] before the answer
//! leaves; a [`store::Store`] answers questions about all of them. Knows no sockets and no policy
//! beyond the words that a record carries.

pub mod archive;
pub mod audit;
pub mod contacts;
pub mod export;
pub mod journal;
pub mod keeper;
pub mod ledger;
mod owed;
pub mod record;
pub mod segment;
mod space;
pub mod store;
pub mod tally;
