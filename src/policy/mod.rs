//! Policy: rules, and the one function that decides which of them a query meets.
//!
//! No sockets, clocks, files or serialisation here: names and rules in, decisions out.

pub mod action;
pub mod compile;
pub mod decide;
pub mod explain;
pub mod index;
pub mod rule;
pub mod trigger;
