//! DNSSEC validation as recursion's judge: [`validate`] takes what recursion fetches.
//!
//! Joins the two and decides nothing.

use std::time::SystemTime;

use super::judge::{Boxed, Cause, Fetch, Freshness, Judge, Unfetched, Verdict};
use crate::name::Name;
use crate::resolve::validate::{self, Attempt, Extent, FetchError, Reason, Validator};

impl Judge for Validator {
    fn judge<'a>(&'a self, message: &'a [u8], fetch: &'a dyn Fetch) -> Boxed<'a, Verdict> {
        Box::pin(async move {
            // What an alias leads to is a piece by itself.
            Verdict::from(self.validate(message, Extent::Part, seconds(), &Fetched(fetch)).await)
        })
    }
}

/// Seconds since 1970, by which signatures are told.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

struct Fetched<'a>(&'a dyn Fetch);

impl validate::Fetch for Fetched<'_> {
    async fn fetch(&self, name: &Name, rtype: u16, attempt: Attempt) -> Result<Vec<u8>, FetchError> {
        let freshness = match attempt {
            Attempt::First => Freshness::Known,
            Attempt::Again => Freshness::Now,
        };
        self.0.fetch(name, rtype, freshness).await.map_err(|error| match error {
            Unfetched::NoAnswer => FetchError::NoAnswer,
            Unfetched::Spent => FetchError::Spent,
        })
    }
}

impl From<validate::Verdict> for Verdict {
    fn from(verdict: validate::Verdict) -> Self {
        match verdict {
            validate::Verdict::Secure { ttl } => Self::Secure { ttl },
            validate::Verdict::Insecure(reason) => {
                Self::Insecure(reason.is_telling().then(|| cause(&reason)))
            }
            validate::Verdict::Indeterminate(_) => Self::Indeterminate,
            validate::Verdict::Bogus(reason) => Self::Bogus(cause(&reason)),
        }
    }
}

fn cause(reason: &Reason) -> Cause {
    Cause { code: reason.ede(), text: reason.to_string() }
}
