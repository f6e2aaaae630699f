//! `[export]`: the policy as lists for firewalls and other devices.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Config;
use super::file::network;
use super::reader::{Reader, Table, list};
use crate::publish::list::PRIVATE;
use crate::publish::rpz::Sinkholed;

/// `[export]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Networks that no list may have, beside private ones and the server's own addresses.
    pub never: Vec<IpNet>,
}

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Export {
    let mut table = reader.sub_table(top, "export");
    let never = reader.take(&mut table, "never", Vec::new(), list(network));
    reader.finish(table, &[]);
    Export { never }
}

impl Config {
    /// Networks that no firewall may be told to block: private ones, this server's own, its upstreams, its
    /// clients, and what the operator says.
    pub fn never_blocked(&self) -> Vec<IpNet> {
        let of_socket = |address: &SocketAddr| address.ip();
        let forward = &self.forward;
        let upstreams = forward.routes.iter().map(|route| &route.upstreams).chain([&forward.upstreams]);
        let own =
            upstreams.flat_map(|options| options.upstreams.iter().map(|upstream| upstream.address.ip()));
        let own = own.chain(self.server.listen.iter().map(of_socket));
        let own = own.chain(self.http.listen.iter().map(of_socket));
        let own = own.chain(self.sinkhole.addresses.iter().copied());
        let private = PRIVATE.iter().filter_map(|net| net.parse().ok());
        let clients = self.server.allow.iter().copied().filter(|net| net.prefix_len() > 0);
        let own = own.filter(|address: &IpAddr| !address.is_unspecified()).map(IpNet::from);
        private.chain(clients).chain(own).chain(self.export.never.iter().copied()).collect()
    }

    /// What a zone has for sinkholed names where nothing else is said: what clients are told here.
    pub fn sinkholed(&self) -> Sinkholed {
        Sinkholed::Addresses(self.sinkhole.addresses.clone())
    }
}
