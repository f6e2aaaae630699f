//! The promises of `sachdns`, kept by the real binary over real sockets.
//!
//! One module a promise; `harness` starts the servers and reads their answers. No fixed ports, no
//! internet, no sleep where an event can be awaited.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a harness that meets a surprise fails its test")]

mod access;
mod actions;
mod archive;
mod audiences;
mod building;
mod cache;
mod cases;
mod cases_behind;
mod clickhouse;
mod clients;
mod cookies;
mod demo;
mod doh;
mod doq;
mod dot;
mod export;
mod failover;
mod feeds;
mod fetching;
mod forwarders;
mod forwarding;
mod harness;
mod hostile;
mod hostile_servers;
mod identity;
mod images;
mod landing;
mod landing_browser;
mod limits;
mod log;
mod log_faults;
mod log_filters;
mod malformed;
mod notices;
mod odd_zones;
mod outlets;
mod own_rules;
mod parquet;
mod primaries;
mod proxy;
mod publish;
mod queries;
mod quickstart;
mod recursion;
mod reload;
mod report;
mod routes;
mod rpz_matrix;
mod rpz_order;
mod rpz_response;
mod shutdown;
mod sinkhole;
mod sinkhole_answers;
mod sinkhole_load;
mod special_names;
mod start_errors;
mod strategies;
mod tcp;
mod transfer;
mod upstreams;
mod validation;
mod zones;
