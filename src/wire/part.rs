//! A message of a zone transfer: like a response, but only the first need have its question (RFC 5936, section
//! 2.2.1), and a signature may end it.

use super::{HEADER, Malformed, QR, Record, Records, Section, rtype, u16_at};
use crate::name;

/// A message of a transfer, every record's bounds checked.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    packet: &'a [u8],
    question_end: usize,
    tsig: Option<Record>,
}

impl<'a> Part<'a> {
    /// Reads a packet as one.
    ///
    /// # Errors
    /// [`Malformed`], also for trailing octets, and for a TSIG record that is not the last.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        if packet.len() < HEADER || packet[2] & QR == 0 {
            return Err(Malformed);
        }
        let question_end = match u16_at(packet, 4) {
            Some(0) => HEADER,
            Some(1) => HEADER + name::wire_len(&packet[HEADER..]).ok_or(Malformed)? + 4,
            _ => return Err(Malformed),
        };
        if question_end > packet.len() {
            return Err(Malformed);
        }
        let mut tsig = None;
        let mut records = Records::after_question(packet, question_end);
        for record in &mut records {
            let record = record?;
            // RFC 8945, section 5.1.
            if tsig.is_some() || record.rtype == rtype::TSIG && record.section != Section::Additional {
                return Err(Malformed);
            }
            tsig = (record.rtype == rtype::TSIG).then_some(record);
        }
        if records.at != packet.len() {
            return Err(Malformed);
        }
        Ok(Self { packet, question_end, tsig })
    }

    /// The whole packet.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// The message id.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.packet[0], self.packet[1]])
    }

    /// The response code.
    pub fn rcode(&self) -> u16 {
        u16::from(self.packet[3] & 0x0f)
    }

    /// The question section's octets; none where there is no question.
    pub fn question(&self) -> &'a [u8] {
        &self.packet[HEADER..self.question_end]
    }

    /// The record that signs it: its last.
    pub fn tsig(&self) -> Option<&Record> {
        self.tsig.as_ref()
    }

    /// The records of the answer section: what is transferred.
    pub fn answers(&self) -> impl Iterator<Item = Record> + use<'a> {
        // They were all read once.
        let records = Records::after_question(self.packet, self.question_end).flatten();
        records.take_while(|record| record.section == Section::Answer)
    }
}
