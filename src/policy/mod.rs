//! Policy: rules, and the one function that decides which of them a query meets.
//!
//! No sockets, clocks or serialisation here, and no files but the scratch one that a compiler is given:
//! names and rules in, decisions out.

pub mod action;
pub mod compile;
pub mod data;
pub mod decide;
pub mod explain;
pub mod guard;
pub mod index;
pub mod layers;
pub mod rule;
pub(crate) mod runs;
pub mod trigger;
