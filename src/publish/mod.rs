//! Publishing: the policy as others take it. Lists for firewalls, proxies and sensors, and a response policy zone for
//! other resolvers.
//!
//! `content` is what is published and for whom. Everything streams from the mapped image: `select` says which rule of each name counts, `walk` and
//! `networks` go through names and addresses in order, `rpz` makes records of them, `list` makes lists, `zone` and
//! `journal` versions of a zone with their differences; `http` hands out lists. Nothing here knows queries, transports of
//! DNS or configurations.

pub mod content;
pub mod http;
pub mod journal;
pub mod list;
mod networks;
pub mod rpz;
pub mod select;
mod walk;
pub mod zone;
