//! Any query: a signature that was never made is refused, and one that was made holds until an octet changes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::name::Name;
use sachdns::tsig::{Algorithm, Key, Keys, Signature, Signer};
use sachdns::wire::Query;

/// Seconds since 1970.
const NOW: i64 = 1_700_000_000;

fuzz_target!(|octets: &[u8]| {
    let Ok(query) = Query::parse(octets) else { return };
    let name = Name::from_host("key.x.vn").unwrap();
    let key = Key::new(name, Algorithm::Sha256, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let keys = Keys::new(vec![key.clone()]);
    match keys.check(&query, NOW) {
        Signature::None => {}
        Signature::Good(_) => panic!("signed without the secret"),
        Signature::Refused(refusal) => {
            let mut answer = octets[..query.question().len() + 12].to_vec();
            answer[6..12].fill(0);
            refusal.append(&mut answer);
            return;
        }
        Signature::Malformed => return,
    }
    let mut signed = octets.to_vec();
    Signer::of_request(&key).sign(NOW, &mut signed);
    if signed.len() == octets.len() {
        return;
    }
    let query = Query::parse(&signed).expect("a query still");
    let Signature::Good(mut signer) = keys.check(&query, NOW) else { panic!("its own signature is refused") };
    let mut answer = vec![0; 12];
    signer.sign(NOW, &mut answer);
    assert_eq!(answer.len(), 12 + signer.record_len());
    assert!(!matches!(keys.check(&query, NOW + 100_000), Signature::Good(_)), "its time is over");

    // One bit of what was signed, chosen by the input itself: the flags or the question.
    let at = 2 + usize::from(octets[0]) % (query.question().len() + 10);
    let bit = 1 << (octets[1] % 8);
    let mut changed = signed.clone();
    changed[at] ^= bit;
    if let Ok(query) = Query::parse(&changed) {
        assert!(!matches!(keys.check(&query, NOW), Signature::Good(_)), "octet {at} is not signed");
    }
});
