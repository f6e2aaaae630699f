//! The sinkhole: what answers where the malicious names now point.
//!
//! Nothing here resolves, decides or knows the configuration: whoever starts the sinkhole tells it
//! through [`http::Site`] why a host is listed and whose machine asks, and through [`desk::Desk`] which case that is.

pub mod desk;
pub mod http;
pub mod page;
mod wording;
