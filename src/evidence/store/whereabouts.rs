//! Where a machine was: its addresses, each with its time, and its MACs.
//!
//! Who knows that is no business of the log's: it is told.

use std::net::IpAddr;

use crate::evidence::record::Record;
use crate::mac::Mac;

/// Where a machine was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Addresses that it had, from then until then (exclusive), microseconds since 1970.
    pub spans: Vec<(IpAddr, i64, i64)>,
    /// By which a trusted forwarder tells it.
    pub macs: Vec<Mac>,
}

impl Whereabouts {
    /// Whether a record is of the machine. A MAC that was told decides; else the address, the forwarder's client's where that was
    /// told whole.
    pub fn has(&self, record: &Record<'_>) -> bool {
        if let Some(mac) = record.mac
            && !mac.is_random()
        {
            return self.macs.contains(&mac);
        }
        self.had(record.source(), record.time)
    }

    /// Whether it had an address at a time.
    pub fn had(&self, address: IpAddr, time: i64) -> bool {
        self.spans.iter().any(|(at, from, to)| *at == address && (*from..*to).contains(&time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::tests::sample;

    #[test]
    fn a_machine_is_where_it_was_told_to_be() {
        let mac = Mac([0, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e]);
        let machine = Whereabouts { spans: vec![("10.1.2.3".parse().unwrap(), 10, 20)], macs: vec![mac] };
        let check =
            |record: Record<'_>, expected: bool| assert_eq!(machine.has(&record), expected, "{record:?}");
        check(sample(9), false);
        check(sample(10), true);
        check(sample(20), false);
        check(Record { mac: Some(mac), ..sample(99) }, true);
        check(Record { mac: Some(Mac([0; 6])), ..sample(10) }, false);
        let forwarder = "10.9.9.9".parse().unwrap();
        check(Record { client: forwarder, ..sample(10) }, false);
        check(Record { client: forwarder, subnet: Some("10.1.2.3/32".parse().unwrap()), ..sample(10) }, true);
        check(
            Record { client: forwarder, subnet: Some("10.1.2.0/24".parse().unwrap()), ..sample(10) },
            false,
        );
    }
}
