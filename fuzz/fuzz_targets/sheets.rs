//! Any file as an inventory of endpoint protection, and as a list of agencies: what is taken is fit to be kept.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use sachdns::coverage::read::{Reading, read};
use sachdns::identity::read::times::Order;
use sachdns::roster::{Manner, propose, read_sheet};

fuzz_target!(|data: &[u8]| {
    let reading = Reading { product: None, zone: TimeZone::UTC, dates: Order::Auto };
    if let Ok(batch) = read(data, &reading) {
        for install in &batch.installs {
            assert!(install.host.is_some() || !install.addresses.is_empty() || !install.macs.is_empty());
            for text in [&install.host, &install.unit, &install.product, &install.version].into_iter().flatten() {
                assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
            }
        }
        assert!(batch.faults.len() <= 1000);
    }
    if let Ok(found) = read_sheet(data, &[]) {
        let proposal = propose(found, &[], &[], Manner::Add);
        if proposal.faults.is_empty() {
            for entry in &proposal.entries {
                assert_eq!(entry.fault(), None);
                assert!(entry.networks.iter().all(|net| net.trunc() == *net));
            }
        }
    }
});
