//! Tells the landing page why a host is listed and whose machine asks.

use std::net::IpAddr;
use std::sync::Arc;

use crate::name::Name;
use crate::serve::pipeline::{self, Pipeline};
use crate::sinkhole::http::{Finding, Site};
use crate::sinkhole::page::{Agency, Listing};

pub(super) struct Landing(pub(super) Arc<Pipeline>);

impl Site for Landing {
    fn look_up(&self, host: Option<&str>, client: IpAddr) -> Finding {
        let state = self.0.state();
        let listing = host
            .and_then(|host| Name::from_host(host).ok())
            .and_then(|name| pipeline::listing(&state, &name, client))
            .map(|(feed, family)| Listing { feed: feed.to_string(), family });
        let agency = state.agencies.of(client).map(|agency| Agency {
            name: agency.name.to_string(),
            contact: agency.contact.as_ref().map(ToString::to_string),
        });
        Finding { listing, agency }
    }
}
