//! `[export]`: the policy as lists for firewalls and other devices.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::Config;
use super::faults::Problem;
use super::file::{ALLOW, network, networks_of};
use super::reader::{Reader, Table, address, list, parsed};
use crate::publish::http::{self, Terms, Token};
use crate::publish::list::PRIVATE;
use crate::publish::rpz::Sinkholed;

/// `[export]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Where devices fetch lists.
    pub http: http::Options,
    /// Networks of these devices.
    pub allow: Vec<IpNet>,
    /// What they must show.
    pub token: Option<Token>,
    /// Networks that no list may have, beside private ones and the server's own addresses.
    pub never: Vec<IpNet>,
}

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Export {
    let mut table = reader.sub_table(top, "export");
    let listen = reader.take(&mut table, "listen", Vec::new(), list(address));
    let allow = reader.take(&mut table, "allow", networks_of(ALLOW), list(network));
    let line = table.line_of("token_file");
    let file = reader.take(
        &mut table,
        "token_file",
        None,
        parsed("the path of a file that holds the token, or \"\" for none", |text| {
            Ok::<_, Infallible>(Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty()))
        }),
    );
    let never = reader.take(&mut table, "never", Vec::new(), list(network));
    reader.finish(table, &[]);
    let token = file.and_then(|path| match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= LEAST_TOKEN => Some(Token::new(text.trim())),
        Ok(_) => {
            let why = format!(
                "fewer than {LEAST_TOKEN} characters, which can be guessed; write `openssl rand -hex 16`'s"
            );
            reader.fault(line, "export.token_file", Problem::File { path, why });
            None
        }
        Err(error) => {
            let why = error.to_string();
            reader.fault(line, "export.token_file", Problem::File { path, why });
            None
        }
    });
    Export { http: http::Options { listen }, allow, token, never }
}

/// Characters that a token has at least.
const LEAST_TOKEN: usize = 16;

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
        let ports = &self.watch.ports;
        let own = own.chain(ports.https.iter().chain(&ports.tcp).chain(&ports.udp).map(of_socket));
        let own = own.chain(self.sinkhole.addresses.iter().copied());
        let private = PRIVATE.iter().filter_map(|net| net.parse().ok());
        let clients = self.server.allow.iter().copied().filter(|net| net.prefix_len() > 0);
        let own = own.filter(|address: &IpAddr| !address.is_unspecified()).map(IpNet::from);
        private.chain(clients).chain(own).chain(self.export.never.iter().copied()).collect()
    }

    /// What lists are handed out under.
    pub fn export_terms(&self) -> Terms {
        Terms {
            allow: self.export.allow.clone(),
            token: self.export.token.clone(),
            never: self.never_blocked(),
            sinkholed: self.sinkholed(),
            ttl: self.sinkhole.ttl,
        }
    }

    /// What a zone has for sinkholed names where nothing else is said: what clients are told here.
    pub fn sinkholed(&self) -> Sinkholed {
        Sinkholed::Addresses(self.sinkhole.addresses.clone())
    }
}
