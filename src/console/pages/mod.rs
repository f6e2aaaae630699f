//! A file a page: what it shows and what can be done there. What there is comes from [`super::data`], never from a store.

pub(super) mod account;
pub(super) mod agencies;
pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod case;
pub(super) mod cases;
pub(super) mod contacts;
pub(super) mod coverage;
pub(super) mod feeds;
pub(super) mod first;
pub(super) mod hunts;
pub(super) mod log;
pub(super) mod machines;
pub(super) mod outside;
pub(super) mod overview;
pub(super) mod policy;
pub(super) mod reasons;
pub(super) mod reports;
pub(super) mod roster;
pub(super) mod settings;
pub(super) mod sign_in;
pub(super) mod tokens;
pub(super) mod users;
mod verdicts;
