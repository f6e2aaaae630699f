//! The console: where staff see what is infected, what is new, what is overdue, and whether the service is well.
//!
//! Server-rendered pages and the same data as JSON. `routes` is the one table of what can be asked for and by whom;
//! [`access`] says which role may what and whose rows it sees; [`data`] is the only way to what there is, and narrows every
//! question to the viewer's own agency. What the running server knows comes through [`House`], which the daemon implements.
//!
//! **Nothing here is on the way of a query**: a runtime of its own at a low priority, connections, requests, bodies, streams and
//! answers bounded. `serve` and `resolve` are never imported.

pub mod access;
#[cfg_attr(not(test), expect(dead_code, reason = "only tests begin a session without a password"))]
pub mod account;
mod alerts;
mod answer;
mod api;
mod audit;
mod call;
mod chart;
pub mod data;
mod door;
pub mod fields;
mod health;
pub mod house;
pub mod hunts;
mod import;
pub mod jobs;
pub mod kept;
mod labels;
pub mod multipart;
pub mod outside;
mod pages;
mod parts;
mod reporting;
mod routes;
pub mod server;
mod shell;
#[cfg(test)]
mod tests;
pub mod token;
mod tongue;
pub mod works;

pub use house::House;

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::credentials;

/// `[console]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Where it listens; nowhere: there is no console.
    pub listen: Vec<SocketAddr>,
    /// Who may read figures without a token.
    pub metrics_allow: Vec<IpNet>,
    /// How browsers reach it, `https://HOST`, without a slash at its end.
    pub url: Option<String>,
    /// Its certificate and key; none: plain HTTP.
    pub credentials: Option<credentials::Options>,
    /// Reverse proxies that say who is behind them.
    pub trusted_proxies: Vec<IpNet>,
    /// How long sessions last, and who needs a second factor.
    pub rules: account::Rules,
    /// The organisation's own sign-in.
    pub outside: Option<outside::Options>,
}
