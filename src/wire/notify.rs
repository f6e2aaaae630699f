//! NOTIFY (RFC 1996): as a query, under another opcode.

use super::{HEADER, QR, Query};

impl<'a> Query<'a> {
    /// The opcode in a header's third octet.
    pub const NOTIFY: u8 = 4 << 3;

    /// Reads a packet as a primary's word that a zone has changed; `None` for anything else.
    pub fn parse_notify(packet: &'a [u8]) -> Option<Self> {
        let is_notify = packet.len() >= HEADER && packet[2] & (QR | 0x78) == Self::NOTIFY;
        is_notify.then(|| Self::read(packet).ok()).flatten()
    }
}
