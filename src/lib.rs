//! SachDNS: a protective DNS resolver.
//!
//! Malicious names are answered with a sinkhole's address, every query leaves a record of the
//! client that asked, and everything else is forwarded. `ARCHITECTURE.md` has the map.

pub mod cases;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod console;
pub mod coverage;
pub mod credentials;
pub mod daemon;
pub mod database;
pub mod datagram;
pub mod demo;
pub mod evidence;
pub mod explain;
pub mod feed;
pub mod fetch;
pub mod identity;
pub mod image;
pub mod listener;
pub mod mac;
pub mod metrics;
pub mod name;
pub mod oidc;
pub mod outlet;
pub mod policy;
pub mod publish;
pub mod replay;
pub mod report;
pub mod resolve;
pub mod roster;
pub mod rules;
pub mod serve;
pub mod sinkhole;
pub mod tabular;
pub mod tsig;
pub mod update;
pub mod wire;
