//! The sinkhole: what answers where the malicious names now point.
//!
//! Nothing here resolves, decides or knows the configuration: whoever starts the sinkhole tells it
//! through [`http::Site`] why a host is listed and whose machine asks, and through [`desk::Desk`] which case that is.

pub mod desk;
pub mod form;
pub mod http;
mod json;
pub mod logo;
mod pace;
pub mod page;
pub mod reception;
mod route;
pub mod texts;
pub mod token;
