//! What the pipeline answers to NOTIFY.

use super::*;
use crate::evidence::journal::Journal;
use crate::tsig::Signature;

/// Answers a notice (RFC 1996, section 4.7), where there are primaries at all; `None`: the packet is none.
pub(super) fn answer(
    state: &State,
    packet: &[u8],
    arrival: Arrival,
    now: Instant,
    journal: &mut Journal,
    out: &mut Vec<u8>,
) -> Option<Step> {
    if state.primaries.is_empty() {
        return None;
    }
    let query = Query::parse_notify(packet)?;
    let seconds = arrival.time / 1_000_000;
    let signature = state.keys.check(&query, seconds);
    let rcode = state.primaries.hear(&query, arrival.client, &signature);
    answer::error(&query, rcode, None, out);
    out[2] |= Query::NOTIFY | wire::AA;
    out[3] &= !wire::RA;
    match signature {
        Signature::Good(mut signer) => signer.sign(seconds, out),
        Signature::Refused(refusal) => refusal.append(out),
        Signature::None | Signature::Malformed => {}
    }
    let outcome = if rcode == rcode::NOERROR { Outcome::Local } else { Outcome::Refused };
    let class = || Class::of(rcode, query.qname());
    let sending = state.limits.response(arrival.client, proof(arrival.transport), class, arrival.instant);
    let (step, told) = match sending {
        Sending::Nothing => (Step::Silent, None),
        Sending::Whole | Sending::Short => (Step::Answered, Some(rcode)),
    };
    note(state, journal, &entry(state, arrival, now, Some(&query), Met::nothing(outcome), told, &[]));
    Some(step)
}
