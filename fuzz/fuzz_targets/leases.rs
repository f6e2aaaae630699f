//! Any octets as a file of leases or machines, in every format.
//!
//! What is read has something to know a machine by, texts of one line, and MACs that a machine can have; a file of DHCP leases
//! gives an address with each.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use sachdns::identity::claim::{Manner, Scope};
use sachdns::identity::read::times::Order;
use sachdns::identity::read::{Format, Reading, read};

const FORMATS: [Format; 6] =
    [Format::Auto, Format::Kea, Format::Isc, Format::Dnsmasq, Format::Windows, Format::Inventory];
const ORDERS: [Order; 4] = [Order::Auto, Order::Dmy, Order::Mdy, Order::Ymd];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, octets)) = data.split_first() else { return };
    let format = FORMATS[usize::from(choice) % FORMATS.len()];
    let dates = ORDERS[usize::from(choice) / FORMATS.len() % ORDERS.len()];
    let reading = Reading { format, as_of: 1_795_654_800_000_000, zone: TimeZone::UTC, dates };
    let Ok((found, batch)) = read(octets, &reading) else { return };
    assert!(found != Format::Auto && (format == Format::Auto || format == found || found == Format::Inventory));
    for claim in &batch.claims {
        assert!(batch.scope == Scope::Inventory || claim.address.is_some());
        let has_name = claim.mac.is_some() || claim.client.is_some() || claim.host.is_some();
        assert!(has_name || claim.address.is_some() || claim.manner == Manner::Nobody);
        assert!(claim.mac.iter().chain(&claim.also).all(|mac| mac.is_usable()));
        let about = &claim.about;
        for text in [&claim.host, &about.owner, &about.unit, &about.model, &about.notes].into_iter().flatten() {
            assert!(!text.is_empty() && text.len() <= 200 && !text.contains(char::is_control), "{text:?}");
        }
    }
});
