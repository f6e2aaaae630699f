//! A request as handlers see it: fields that are decoded, the viewer, the language; never a socket.

use std::net::IpAddr;
use std::sync::Arc;

use super::access::{Right, Viewer};
use super::account::{Accounts, Origin};
use super::answer::Failure;
use super::data::Data;
pub(super) use super::fields::Fields;
use super::house::House;
use super::outside::Outside;
use super::shell::Theme;
use super::tongue::Tongue;

/// One request.
#[derive(Clone)]
pub(super) struct Call {
    /// What the running server knows.
    pub(super) house: Arc<dyn House>,
    /// Accounts and sessions.
    pub(super) accounts: Arc<Accounts>,
    /// Who asks; `None` on routes that anybody may ask.
    pub(super) viewer: Option<Viewer>,
    /// Which of the viewer's rights count, where a token came in the place of a session.
    pub(super) rights: Option<Vec<Right>>,
    /// The session that came with it, as the cookie has it.
    pub(super) session: Option<String>,
    /// … its number.
    pub(super) session_number: Option<i64>,
    /// The organisation's own sign-in, where there is one.
    pub(super) outside: Option<Arc<Outside>>,
    /// What the browser was given on its way there, as the cookie has it.
    pub(super) binding: Option<String>,
    /// Whether its owner must set up a second factor before anything else.
    pub(super) must_enrol: bool,
    /// What a form of this session must bring back (see `super::server`).
    pub(super) csrf: String,
    /// Where it came from.
    pub(super) client: IpAddr,
    /// What the browser calls itself.
    pub(super) agent: String,
    /// How browsers reach the console, `https://HOST`; empty where nobody knows.
    pub(super) origin: String,
    /// Now, microseconds since 1970.
    pub(super) now: i64,
    /// In which language it is answered.
    pub(super) tongue: Tongue,
    /// … and in which colours.
    pub(super) theme: Theme,
    /// The path, without the query.
    pub(super) path: String,
    /// What stands in the place of the route's `{name}`s.
    pub(super) places: Vec<(&'static str, String)>,
    /// The query's fields.
    pub(super) query: Fields,
    /// The form's fields.
    pub(super) form: Fields,
    /// The body as it came, where it is no form.
    pub(super) body: Vec<u8>,
    /// Whether it came over TLS.
    pub(super) is_encrypted: bool,
}

impl Call {
    /// Who asks. On a route with a right there always is somebody.
    pub(super) fn viewer(&self) -> Result<&Viewer, Failure> {
        self.viewer.as_ref().ok_or(Failure::SignedOut)
    }

    /// Whether the viewer has that right, and the token that came, if one did.
    pub(super) fn may(&self, right: Right) -> bool {
        let is_granted = self.rights.as_ref().is_none_or(|rights| rights.contains(&right));
        is_granted && self.viewer.as_ref().is_some_and(|viewer| viewer.may(right))
    }

    /// What there is for this viewer to see.
    pub(super) fn data(&self) -> Result<Data<'_>, Failure> {
        Ok(Data::new(&*self.house, self.viewer()?, self.now).from(self.client))
    }

    /// From where somebody signs in.
    pub(super) fn from(&self) -> Origin<'_> {
        Origin { address: self.client, agent: &self.agent }
    }

    /// What stands in the place of `{name}` in the route's path.
    pub(super) fn place(&self, name: &str) -> &str {
        self.places.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}
