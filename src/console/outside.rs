//! The organisation's own sign-in, as the console uses it: who was sent there from which browser, and what the groups of who comes back say.
//!
//! Protocol and provider are [`crate::oidc`]'s, accounts `super::account`'s, pages `super::pages::outside`'s. A handler that asks the provider
//! blocks its thread for the provider's time-out at most, and only some do at once: with a provider that hangs, pages go on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::account::{self, Grant, Passwords};
use super::answer::Failure;
use crate::oidc::token::Claims;
use crate::oidc::{self, OidcError, Person, Provider, Started};

/// How long somebody may take to sign in there, microseconds.
pub(super) const STEP: i64 = 10 * 60 * 1_000_000;
/// Most people on the way. Of more, the one who went first is forgotten.
const STEPS: usize = 2000;
/// Most that ask the provider at once, of those requests that are answered at once.
const AT_ONCE: usize = 3;
/// Characters of what binds a way to a browser.
const BINDING: usize = 43;
/// Most octets of where somebody wanted to go.
const BACK: usize = 2048;

/// `[console.oidc]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The provider.
    pub provider: oidc::Options,
    /// What the button says, in Vietnamese and in English.
    pub label: [String; 2],
    /// To whom somebody turns who does not come in.
    pub contact: String,
    /// The claim that names accounts.
    pub name_claim: String,
    /// … and the one with the groups.
    pub groups_claim: String,
    /// What groups make of somebody; the first that fits.
    pub groups: Vec<(String, Grant)>,
    /// Who may sign in with a password besides.
    pub passwords: Passwords,
}

/// The sign-in while the server runs.
pub(super) struct Outside {
    pub(super) options: Options,
    provider: Provider,
    steps: Steps,
    asking: Semaphore,
}

/// Somebody who came back.
pub(super) struct Back {
    pub(super) person: Person,
    /// Where they wanted to go.
    pub(super) to: Option<String>,
}

impl Outside {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            provider: Provider::new(options.provider.clone()),
            steps: Steps::default(),
            asking: Semaphore::new(AT_ONCE),
        }
    }

    /// Where a browser is sent to sign in, and what it must bring back: what it has from another way that it began, if it has.
    pub(super) fn begin(
        &self,
        back: Option<&str>,
        binding: Option<&str>,
        now: i64,
    ) -> Result<(Url, String), Trouble> {
        let _turn = self.turn()?;
        let started = Started::roll();
        let url = Handle::current().block_on(self.provider.begin(&started, now))?;
        let binding = match binding {
            Some(binding) if binding.len() == BINDING => binding.to_owned(),
            _ => account::secret(),
        };
        let back = back.filter(|back| back.len() <= BACK).map(str::to_owned);
        self.steps.begin(&binding, Step { started, back, until: now + STEP }, now);
        Ok((url, binding))
    }

    /// Who comes back with this code. `binding` is what this browser was given; no other one's state counts, and each counts once.
    pub(super) fn redeem(
        &self,
        state: &str,
        binding: &str,
        code: &str,
        issuer: Option<&str>,
        now: i64,
    ) -> Result<Back, Trouble> {
        // Before the state is used up: whoever must wait may load the page again.
        let _turn = self.turn()?;
        let step = self.steps.take(state, binding, now).ok_or(Trouble::State)?;
        let wanted = [&*self.options.name_claim, &*self.options.groups_claim];
        let redeemed = self.provider.redeem(code, issuer, &step.started, &wanted, now);
        let person = Handle::current().block_on(redeemed)?;
        Ok(Back { person, to: step.back })
    }

    /// Whether this state is this browser's; then it is used up.
    pub(super) fn give_up(&self, state: &str, binding: &str, now: i64) -> Result<(), Trouble> {
        self.steps.take(state, binding, now).map(drop).ok_or(Trouble::State)
    }

    /// Where one signs out of the provider too, if it is to be had.
    pub(super) fn leave(&self, token: Option<&str>, back: &str, now: i64) -> Option<Url> {
        let _turn = self.turn().ok()?;
        match Handle::current().block_on(self.provider.leave(token, back, "out", now)) {
            Ok(url) => url,
            Err(error) => {
                tracing::warn!(%error, "somebody signed out here alone: the OpenID provider is away");
                None
            }
        }
    }

    /// Who it is, as accounts have it.
    pub(super) fn subject(&self, claims: &Claims) -> String {
        subject(self.provider.issuer(), claims.subject())
    }

    /// What its account is called.
    pub(super) fn name(&self, claims: &Claims) -> Option<String> {
        let name = claims.find(&self.options.name_claim)?.as_str()?.trim();
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// What its groups make of it.
    pub(super) fn grant(&self, claims: &Claims) -> Option<&Grant> {
        let found = claims.find(&self.options.groups_claim);
        let is_in = |group: &str| match found {
            Some(Value::Array(all)) => all.iter().any(|it| it.as_str() == Some(group)),
            Some(Value::String(one)) => one == group,
            _ => false,
        };
        self.options.groups.iter().find(|(group, _)| is_in(group)).map(|(_, grant)| grant)
    }

    /// Whether there were too many groups for the token, so that Entra left them out.
    pub(super) fn is_overflown(&self, claims: &Claims) -> bool {
        let names = claims.find("_claim_names");
        claims.find(&self.options.groups_claim).is_none()
            && names.is_some_and(|names| names.get(&self.options.groups_claim).is_some())
    }

    fn turn(&self) -> Result<SemaphorePermit<'_>, Trouble> {
        self.asking.try_acquire().map_err(|_| Trouble::Busy)
    }
}

/// Who somebody is, among all of all providers.
pub fn subject(issuer: &str, subject: &str) -> String {
    // No URL has a space.
    format!("{issuer} {subject}")
}

/// Why nobody comes in.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Others are asking.
    Busy,
    /// The state is none of this browser's, or not any more.
    State,
    /// The provider, or what it says.
    Provider(OidcError),
}

impl From<OidcError> for Trouble {
    fn from(error: OidcError) -> Self {
        Self::Provider(error)
    }
}

impl Trouble {
    /// As handlers tell it, where it is nothing of the provider's.
    pub(super) fn failure(&self) -> Option<Failure> {
        matches!(self, Self::Busy).then_some(Failure::Busy(5))
    }
}

/// Those on the way.
#[derive(Default)]
struct Steps(Mutex<HashMap<[u8; 32], Step>>);

struct Step {
    started: Started,
    back: Option<String>,
    until: i64,
}

impl Steps {
    fn begin(&self, binding: &str, step: Step, now: i64) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|_, step| step.until > now);
        if steps.len() >= STEPS
            && let Some(first) = steps.iter().min_by_key(|(_, step)| step.until).map(|(key, _)| *key)
        {
            steps.remove(&first);
        }
        steps.insert(key(&step.started.state, binding), step);
    }

    /// By state and binding at once: with one of the two nothing is found, and nothing is taken away.
    fn take(&self, state: &str, binding: &str, now: i64) -> Option<Step> {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.remove(&key(state, binding)).filter(|step| step.until > now)
    }
}

fn key(state: &str, binding: &str) -> [u8; 32] {
    account::digest(&format!("{state} {binding}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(now: i64) -> (String, Step) {
        let started = Started::roll();
        (started.state.clone(), Step { started, back: None, until: now + STEP })
    }

    #[test]
    fn a_state_counts_once_in_its_own_browser_and_not_for_long() {
        let steps = Steps::default();
        let (state, first) = step(0);
        steps.begin("an", first, 0);
        assert!(steps.take(&state, "bình", 1).is_none() && steps.take("x", "an", 1).is_none());
        assert!(steps.take(&state, "an", 1).is_some());
        assert!(steps.take(&state, "an", 2).is_none(), "again");
        let (state, late) = step(0);
        steps.begin("an", late, 0);
        assert!(steps.take(&state, "an", STEP).is_none(), "too late");
    }

    #[test]
    fn memory_is_bounded_and_the_first_are_forgotten() {
        let steps = Steps::default();
        let (first, one) = step(0);
        steps.begin("an", one, 0);
        let mut last = String::new();
        for number in 0..STEPS {
            let (state, one) = step(1 + number as i64);
            steps.begin("an", one, 1);
            last = state;
        }
        assert_eq!(steps.0.lock().unwrap().len(), STEPS);
        assert!(steps.take(&first, "an", 2).is_none() && steps.take(&last, "an", 2).is_some());
    }
}
