//! Fetching: what publishers put on the network, as files for the store of feeds.
//!
//! Knows protocols and no formats: nothing here reads an indicator, and nothing here decides whether a version is
//! taken. Everything runs in a thread of its own, beside the serving of queries.

pub mod array;
pub mod draft;
pub mod http;
pub mod misp;
pub mod taxii;
pub mod transfer;
