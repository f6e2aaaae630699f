//! Resolving what no rule answers: so far by forwarding to upstreams.
//!
//! Knows no policy, no clients and no log.

pub mod exchange;
pub mod forward;
