//! Serving: the transports that clients use, and the one pipeline behind them.

pub mod answer;
pub mod apply;
pub mod pipeline;
pub mod ready;
pub mod tcp;
pub mod udp;
