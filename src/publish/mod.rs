//! Publishing: the policy as others take it, as lists for firewalls, proxies, sensors and other resolvers.
//!
//! Everything streams from the mapped image: `select` says which rule of each name counts, `walk` and
//! `networks` go through names and addresses in order, `rpz` makes records of them, `list` makes lists. Who may
//! have what is asked elsewhere; nothing here knows queries, transports or configurations.

pub mod list;
mod networks;
pub mod rpz;
pub mod select;
mod walk;
