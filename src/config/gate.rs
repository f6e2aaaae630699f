//! `[gate]`: what no feed may do, and the names of this server's own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::file::file_path;
use super::reader::{Reader, Table, factor, integer, list};
use super::{Config, Origin};
use crate::feed::gate::{Options, Own, OwnName};
use crate::name::Name;
use crate::resolve::forward;
use crate::resolve::upstream::Protocol;

/// Lists that come with this program, used where they are there.
const PROTECTED: &str = "zones/protected.txt";
const POPULAR: &str = "zones/popular.txt";

/// Takes the table `[gate]`; the server's own names are added once all else is known.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Options {
    let mut table = reader.sub_table(top, "gate");
    let default = Options::default();
    let protected = reader.take(&mut table, "protected", present(PROTECTED), list(file_path));
    let popular = reader.take(&mut table, "popular", present(POPULAR), list(file_path));
    let max_shrink = reader.take(
        &mut table,
        "max_shrink",
        default.max_shrink,
        factor("a share from 0 to 1, such as 0.5", 0.0..=1.0),
    );
    let max_growth = reader.take(
        &mut table,
        "max_growth",
        default.max_growth,
        factor("a factor from 1 to 1000000, such as 4.0", 1.0..=1e6),
    );
    let count = integer("a number from 0 to 1000000000", 0..=1_000_000_000);
    let bounds_from = reader.take(&mut table, "bounds_from", default.bounds_from, &count);
    let max_set_aside = reader.take(&mut table, "max_set_aside", default.max_set_aside, &count);
    reader.finish(table, &[]);
    Options { max_shrink, max_growth, bounds_from, max_set_aside, protected, popular, ..default }
}

fn present(path: &str) -> Vec<PathBuf> {
    Path::new(path).is_file().then(|| path.into()).into_iter().collect()
}

/// The names that a policy must leave alone if this server is to do its work.
pub(super) fn own_names(config: &Config) -> Vec<OwnName> {
    let own = |what: Own| move |name: &Name| OwnName { name: name.clone(), what };
    let mut names: Vec<OwnName> = config.canaries.iter().map(own(Own::Canary)).collect();
    names.extend(config.zones.iter().map(|zone| &zone.name).map(own(Own::Zone)));
    let routes = &config.forward.routes;
    names.extend(routes.iter().map(|route| &route.domain).map(own(Own::Route)));
    let credentials = config.server.transports.credentials.iter();
    names.extend(credentials.filter_map(|credentials| credentials.name.as_ref()).map(own(Own::Server)));
    let upstreams = routes.iter().map(|route| &route.upstreams).chain([&config.forward.upstreams]);
    names.extend(upstreams.flat_map(upstream_names).map(|name| OwnName { name, what: Own::Upstream }));
    names.extend(
        config
            .feeds
            .iter()
            .filter_map(|feed| host(&feed.origin))
            .map(|name| OwnName { name, what: Own::Feed }),
    );
    // To protect the root would leave nothing to feeds.
    names.retain(|own| !own.name.is_root());
    names
}

fn upstream_names(set: &forward::Options) -> impl Iterator<Item = Name> {
    set.upstreams.iter().filter_map(|upstream| {
        let (Protocol::Tls(identity) | Protocol::Https(identity, _) | Protocol::Quic(identity)) =
            &upstream.protocol
        else {
            return None;
        };
        // A certificate may have an address in place of a name.
        let name = identity.name();
        if name.parse::<IpAddr>().is_ok() { None } else { Name::from_host(&name).ok() }
    })
}

/// The host that a feed is fetched from.
fn host(origin: &Origin) -> Option<Name> {
    match origin {
        Origin::File(_) => None,
        Origin::Fetched(url) => super::fetch::host(url),
    }
}
