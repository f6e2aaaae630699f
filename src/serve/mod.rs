//! Serving: the transports that clients use, and the one pipeline behind them.

pub mod answer;
pub mod apply;
pub mod ddr;
pub mod doh;
pub mod identity;
pub mod notify;
pub mod pipeline;
pub mod primaries;
pub mod proxy;
pub mod published;
pub mod quic;
pub mod ready;
pub mod rulebook;
pub mod special;
pub mod stream;
pub mod tcp;
pub mod tls;
pub mod transfer;
pub mod udp;
