//! The one table of what can be asked for: method, path, what is needed, who answers.
//!
//! A route that is not here does not exist, and one without a right is for anybody on the network: there are few. What is under
//! `/api/v1` is described by this table too.

use std::sync::LazyLock;

use hyper::Method;

use super::access::Right;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::pages;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: the sign-in page, what it is made of, whether the service is well.
    Nothing,
    /// Somebody who is signed in.
    Session,
    /// Somebody with this right.
    Right(Right),
}

/// One thing that can be asked for.
pub(super) struct Route {
    /// GET answers HEAD too.
    pub(super) method: Method,
    /// Segments in braces stand for any one segment.
    pub(super) path: &'static str,
    /// What it needs.
    pub(super) needs: Needs,
    /// The most octets of a body.
    pub(super) most: usize,
    /// Answers.
    pub(super) answer: fn(&Call) -> Result<Reply, Failure>,
}

/// Octets of a form.
const FORM: usize = 64 * 1024;

pub(super) const fn get(
    path: &'static str,
    needs: Needs,
    answer: fn(&Call) -> Result<Reply, Failure>,
) -> Route {
    Route { method: Method::GET, path, needs, most: 0, answer }
}

pub(super) const fn post(
    path: &'static str,
    needs: Needs,
    answer: fn(&Call) -> Result<Reply, Failure>,
) -> Route {
    Route { method: Method::POST, path, needs, most: FORM, answer }
}

/// A form with a file (`multipart/form-data`): its fields are the call's form, its file the call's body.
pub(super) const fn upload(
    path: &'static str,
    needs: Needs,
    answer: fn(&Call) -> Result<Reply, Failure>,
) -> Route {
    Route { method: Method::POST, path, needs, most: super::import::MOST_FILE, answer }
}

/// All of them. The longest paths of one shape need no order: a literal segment wins over one in braces.
pub(super) static ROUTES: LazyLock<Vec<&'static [Route]>> = LazyLock::new(|| {
    let of_api = super::api::routes().map(std::slice::from_ref);
    PAGES.iter().copied().chain(of_api).collect()
});

/// Those of pages, and all others that are not described for programs.
static PAGES: &[&[Route]] = &[
    GENERAL,
    super::api::ROUTES,
    super::health::ROUTES,
    pages::sign_in::ROUTES,
    pages::outside::ROUTES,
    pages::first::ROUTES,
    pages::account::ROUTES,
    pages::users::ROUTES,
    pages::audit::ROUTES,
    pages::settings::ROUTES,
    pages::coverage::ROUTES,
    pages::reports::ROUTES,
    pages::roster::ROUTES,
    pages::tokens::ROUTES,
    pages::overview::ROUTES,
    pages::cases::ROUTES,
    pages::case::ROUTES,
    pages::agencies::ROUTES,
    pages::feeds::ROUTES,
    pages::policy::ROUTES,
    pages::contacts::ROUTES,
    pages::log::ROUTES,
    pages::machines::ROUTES,
    pages::hunts::ROUTES,
    pages::alerts::ROUTES,
];

/// What belongs to no page.
static GENERAL: &[Route] = &[
    get("/assets/{file}", Needs::Nothing, super::shell::asset),
    post("/appearance", Needs::Nothing, super::shell::appearance),
];

/// What was found for a path.
pub(super) enum Found {
    /// A route, and what stands in its braces.
    Route(&'static Route, Vec<(&'static str, String)>),
    /// The path is there, for these methods.
    OtherMethods(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// Finds the route of a request.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut best: Option<(&'static Route, Vec<(&'static str, String)>)> = None;
    let mut others = Vec::new();
    for route in ROUTES.iter().copied().flatten() {
        let Some(places) = places(route.path, path) else { continue };
        if route.method != *method {
            others.push(route.method.clone());
        } else if best.as_ref().is_none_or(|(_, other)| places.len() < other.len()) {
            best = Some((route, places));
        }
    }
    match best {
        Some((route, places)) => Found::Route(route, places),
        None if others.is_empty() => Found::Nothing,
        None => Found::OtherMethods(others),
    }
}

/// What stands in the braces of `pattern`, decoded; `None` where the path is another.
fn places(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let (mut wanted, mut had) = (pattern.split('/'), path.split('/'));
    let mut places = Vec::new();
    loop {
        match (wanted.next(), had.next()) {
            (None, None) => return Some(places),
            (Some(wanted), Some(had)) => match wanted.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                Some(name) if !had.is_empty() => places.push((name, decoded(had)?)),
                None if wanted == had => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// A segment without its percent-encoding (RFC 3986, section 2.1).
fn decoded(segment: &str) -> Option<String> {
    // A plus sign is one in a path.
    let fields = segment.replace('+', "%2B").replace(['&', '='], "");
    let (value, _) = url::form_urlencoded::parse(fields.as_bytes()).next()?;
    Some(value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_by_their_shape() {
        let check = |pattern, path: &str, expected: Option<&[(&str, &str)]>| {
            let found = places(pattern, path);
            let found: Option<Vec<_>> =
                found.as_ref().map(|it| it.iter().map(|(name, value)| (*name, &**value)).collect());
            assert_eq!(found.as_deref(), expected, "{pattern} {path}");
        };
        check("/", "/", Some(&[]));
        check("/cases/{ticket}", "/cases/K7-M2Q", Some(&[("ticket", "K7-M2Q")]));
        check("/cases/{ticket}", "/cases/", None);
        check("/cases/{ticket}", "/cases/a/b", None);
        check("/cases/{ticket}", "/cases/%C4%90+%2F", Some(&[("ticket", "Đ+/")]));
        check("/cases/{ticket}/notes", "/cases/a/notes", Some(&[("ticket", "a")]));
    }

    #[test]
    fn no_route_is_there_twice_and_what_changes_anything_needs_somebody() {
        let all: Vec<_> = ROUTES.iter().copied().flatten().collect();
        for (number, route) in all.iter().enumerate() {
            let twin = all[..number].iter().find(|it| it.path == route.path && it.method == route.method);
            assert!(twin.is_none(), "{} {}", route.method, route.path);
            if route.method != Method::GET && route.needs == Needs::Nothing {
                assert!(["/sign-in", "/first", "/appearance"].contains(&route.path), "{}", route.path);
            }
        }
    }
}
