//! Any octets as what ClickHouse answers: no panic, and the same rows however they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::evidence::store::clickhouse::rows::{Nonsense, Rest};

fuzz_target!(|data: &[u8]| {
    let Some((&size, octets)) = data.split_first() else { return };
    let read = |size: usize| {
        let (mut rest, mut rows) = (Rest::default(), Vec::new());
        let read = octets
            .chunks(size.max(1))
            .try_for_each(|piece| rest.records(piece, &mut |record| rows.push(format!("{record:?}"))));
        (rows, read)
    };
    let (whole, pieces) = (read(usize::MAX), read(size.into()));
    assert_eq!(whole, pieces);
    assert!(whole.1.is_ok() || whole.1 == Err(Nonsense));
    let _ = Rest::default().counts(octets, &mut |_, _| ());
    let _ = Rest::default().sums(octets, &mut |_| ());
    let _ = Rest::default().numbers(octets, &mut |_, _| ());
});
