//! What the sinkhole's listeners note of whoever comes; none of them waits for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::capture::{Beginning, Head, Spoken};
use crate::clock;
use crate::evidence::contacts::{self, Contact, Contacts, MOST_FIRST, Via};

/// Octets of a ClientHello before its random ones: heads of record and message, version.
const BEFORE_RANDOM: usize = 11;

/// Takes visits down.
#[derive(Debug, Clone, Default)]
pub struct Visits(Option<Arc<Contacts>>);

impl Visits {
    /// Takes them down there.
    pub fn new(contacts: Arc<Contacts>) -> Self {
        Self(Some(contacts))
    }

    /// Takes down how the connection of a visitor began.
    pub(super) fn note(&self, visitor: Visitor, beginning: &Beginning) {
        self.add(visitor.contact(beginning));
    }

    /// Takes down what came inside of a connection that is encrypted.
    pub(super) fn note_inside(&self, visitor: Visitor, hello: &Beginning, inside: &Beginning) {
        let outer = visitor.contact(hello);
        let inner = visitor.contact(inside);
        let first = if inner.first.is_empty() { outer.first } else { inner.first };
        // The certificate is for the name in the hello; a request that asks for another is none of that name's.
        self.add(Contact { path: inner.path, agent: inner.agent, first, ..outer });
    }

    /// Takes a datagram down.
    pub(super) fn note_datagram(&self, from: SocketAddr, local: SocketAddr, octets: &[u8]) {
        let visitor = Visitor { client: from.ip(), source_port: from.port(), local };
        let octets = octets[..octets.len().min(MOST_FIRST)].to_vec();
        let contact = visitor.contact(&Beginning { octets, spoken: Spoken::Other });
        self.add(Contact { via: Via::Udp, ..contact });
    }

    fn add(&self, contact: Contact) {
        tracing::debug!(client = %contact.client, local = %contact.local, via = contact.via.as_str(), name = contact.name, "contact");
        if let Some(contacts) = &self.0 {
            contacts.add(contact);
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) client: IpAddr,
    source_port: u16,
    local: SocketAddr,
}

impl Visitor {
    /// `None` where the system does not say where the connection came to.
    pub(super) fn of(stream: &TcpStream, peer: SocketAddr) -> Option<Self> {
        let local = stream.local_addr().ok()?;
        Some(Self { client: peer.ip().to_canonical(), source_port: peer.port(), local })
    }

    fn contact(self, beginning: &Beginning) -> Contact {
        let mut contact = Contact {
            id: 0,
            time: clock::now(),
            client: self.client,
            source_port: self.source_port,
            local: self.local,
            via: Via::Tcp,
            name: None,
            path: None,
            agent: None,
            ja4: None,
            first: beginning.octets[..beginning.octets.len().min(MOST_FIRST)].to_vec(),
            count: 1,
        };
        match &beginning.spoken {
            Spoken::Nothing | Spoken::Other => {}
            Spoken::Tls(hello) => {
                contact.via = Via::Tls;
                // Behind these everything is random, and no two of a loop would be alike.
                contact.first.truncate(BEFORE_RANDOM);
                contact.name = hello.server_name.as_deref().and_then(contacts::host_name);
                contact.ja4 = Some(hello.ja4.clone());
            }
            Spoken::Http(Head { host, path, agent }) => {
                contact.via = Via::Http;
                contact.name = host.as_deref().and_then(contacts::host_name);
                contact.path.clone_from(path);
                contact.agent.clone_from(agent);
            }
        }
        contact
    }
}
