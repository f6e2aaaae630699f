//! NOTIFY (RFC 1996): secondaries are told that a zone has a new serial number, so that they need not wait to ask.
//!
//! Over UDP, again and again until each has answered, or a minute is over. That is enough: who missed it asks
//! by itself when the zone's refresh time is over. NOTIFY from others is [`super::primaries`]'s.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::clock;
use crate::name::Name;
use crate::resolve::zone::Entry;
use crate::serve::published;
use crate::tsig::{Keys, Signer};
use crate::wire::{self, CLASS_IN, rtype};

/// How long each try waits: 1, 2, 4 seconds and so on.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const TRIES: u32 = 6;
/// NOTIFY in the header's third octet, with AA (RFC 1996, section 4.5).
const OPCODE: u8 = 4 << 3;

/// What secondaries are told.
#[derive(Clone)]
struct News {
    apex: Name,
    serial: u32,
    /// The SOA record's TTL and data.
    soa: Option<(u32, Box<[u8]>)>,
}

/// Tells all secondaries of a zone, each in a task of its own.
pub fn tell(entry: &Arc<Entry>, keys: &Keys) {
    let zone = &entry.zone;
    let soa = zone.soa_record().map(|soa| (soa.ttl, soa.rdata.into()));
    let news = News { apex: zone.apex().clone(), serial: zone.serial(), soa };
    tell_all(&news, &entry.source.notify, entry.source.transfer.key.as_ref(), keys);
}

/// Tells all secondaries of a published zone.
pub fn tell_published(entry: &published::Entry, keys: &Keys) {
    let Some(version) = &entry.version else { return };
    let soa = version.soa();
    let soa = Some((soa.ttl, soa.rdata.into()));
    let news = News { apex: entry.apex.clone(), serial: version.serial(), soa };
    tell_all(&news, &entry.notify, entry.terms.key.as_ref(), keys);
}

fn tell_all(news: &News, secondaries: &[SocketAddr], key: Option<&Name>, keys: &Keys) {
    let key = key.and_then(|name| keys.find(name));
    for &secondary in secondaries {
        let (news, signer) = (news.clone(), key.map(Signer::of_request));
        tokio::spawn(async move {
            let (zone, serial) = (&news.apex, news.serial);
            match tell_one(&news, secondary, signer).await {
                Ok(true) => tracing::info!(%zone, serial, %secondary, "the secondary has been told"),
                Ok(false) => {
                    tracing::warn!(%zone, serial, %secondary, "the secondary does not answer NOTIFY");
                }
                Err(error) => {
                    tracing::warn!(%zone, serial, %secondary, %error, "the secondary cannot be told");
                }
            }
        });
    }
}

/// Whether the secondary has answered.
async fn tell_one(news: &News, secondary: SocketAddr, signer: Option<Signer>) -> io::Result<bool> {
    let own = if secondary.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind::<SocketAddr>(own).await?;
    socket.connect(secondary).await?;
    let id: u16 = rand::random();
    let mut answer = [0; 512];
    for n in 0..TRIES {
        let mut message = message(news, id);
        if let Some(signer) = &signer {
            signer.clone().sign(clock::now() / 1_000_000, &mut message);
        }
        // A secondary that is being started refuses (ICMP): it is tried again.
        let _ = socket.send(&message).await;
        let answered = timeout(FIRST_WAIT * 2u32.pow(n), async {
            loop {
                match socket.recv(&mut answer).await {
                    // Whatever it says of it: it knows. Its signature would prove no more.
                    Ok(len) if is_answer(&answer[..len], id) => return,
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(FIRST_WAIT).await,
                }
            }
        });
        if answered.await.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_answer(packet: &[u8], id: u16) -> bool {
    packet.len() >= wire::HEADER
        && packet.starts_with(&id.to_be_bytes())
        && packet[2] & (wire::QR | 0x78) == wire::QR | OPCODE
}

/// The zone's name as the question, and its SOA record as an answer that may be believed or not
/// (RFC 1996, section 3.7).
fn message(news: &News, id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([OPCODE | wire::AA, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend(news.apex.as_wire());
    out.extend(rtype::SOA.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    if let Some((ttl, rdata)) = &news.soa {
        out[7] = 1;
        out.extend([0xc0, wire::HEADER as u8]);
        out.extend(rtype::SOA.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out.extend(ttl.to_be_bytes());
        // A record of a master file, or one of our own: no longer than that says.
        out.extend((rdata.len() as u16).to_be_bytes());
        out.extend(rdata);
    }
    out
}
