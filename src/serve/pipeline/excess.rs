//! What a client is told that asks more than it may: something that a real one comes back from.
//!
//! Who asks too much is counted in `client::limits`, and asked in the pipeline.

use super::{Met, Visit};
use crate::client::limits::Proof;
use crate::evidence::journal::Journal;
use crate::evidence::record::{Outcome, Transport};
use crate::resolve::Origin;
use crate::serve::answer::{self, Ede};
use crate::serve::pipeline::Step;
use crate::wire::rcode;

impl Visit<'_, '_> {
    /// Ends the visit of a query that is one too many.
    pub(super) fn refuse_excess(&self, met: Met<'_>, journal: &mut Journal, out: &mut Vec<u8>) -> Step {
        let rcode = self.limited(out);
        let met = Met { outcome: Outcome::Limited, ..met };
        self.close(journal, met, Some(rcode), &[], Origin::Upstream, out)
    }

    /// Answers a query that is one too many: over UDP with what a real client comes back from, with a cookie
    /// (RFC 7873, section 5.2.3) or over TCP, and a forged one gets hardly more than it sent; REFUSED where the
    /// client came back already. Returns the rcode.
    fn limited(&self, out: &mut Vec<u8>) -> u16 {
        if self.arrival.transport != Transport::Udp {
            let ede = Ede { code: Ede::PROHIBITED, text: "too many queries a second" };
            answer::error(self.query, rcode::REFUSED, Some(ede), out);
            return rcode::REFUSED;
        }
        self.shorten(rcode::NOERROR, out)
    }

    /// Puts what makes a real client come back in place of an answer with this rcode. Returns the new one.
    pub(super) fn shorten(&self, rcode: u16, out: &mut Vec<u8>) -> u16 {
        if self.cookie.is_some() && self.proof() == Proof::Claimed {
            answer::error(self.query, rcode::BADCOOKIE, None, out);
            return rcode::BADCOOKIE;
        }
        answer::truncated(self.query, rcode, out);
        rcode
    }
}
