//! The sinkhole: what answers where the malicious names now point.
//!
//! Nothing here resolves, decides or knows the configuration: whoever starts the sinkhole tells it
//! through [`http::Site`] why a host is listed and whose machine asks, and through [`desk::Desk`] which case that is.
//! Whoever comes is taken down ([`visits`]), on whatever port, and whether or not there is an answer.

pub mod authority;
mod capture;
pub mod desk;
pub mod form;
pub mod hello;
pub mod http;
mod json;
pub mod logo;
mod pace;
pub mod page;
pub mod ports;
pub mod reception;
mod route;
pub mod texts;
pub mod tls;
pub mod token;
pub mod visits;
