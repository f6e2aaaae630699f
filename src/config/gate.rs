//! `[gate]`: what no feed may do, and the names of this server's own.

use std::net::IpAddr;

use url::Url;

use super::file::file_path;
use super::reader::{Reader, Table, factor, integer, list};
use super::{Config, Origin};
use crate::cases::notify::Receiver;
use crate::feed::gate::{Options, Own, OwnName};
use crate::name::Name;
use crate::outlet::To;
use crate::publish::rpz::Sinkholed;
use crate::resolve::forward;
use crate::resolve::upstream::Protocol;

/// Takes the table `[gate]`; the server's own names are added once all else is known.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Options {
    let mut table = reader.sub_table(top, "gate");
    let default = Options::default();
    let protected = reader.take(&mut table, "protected", default.protected, list(file_path));
    let popular = reader.take(&mut table, "popular", default.popular, list(file_path));
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
    Options { max_shrink, max_growth, bounds_from, max_set_aside, protected, popular, own: Vec::new() }
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
    names.extend(upstreams.flat_map(upstream_names).map(own_name(Own::Upstream)));
    names.extend(pages(config).map(own_name(Own::Server)));
    names.extend(services(config).filter_map(|host| Name::from_host(&host).ok()).map(own_name(Own::Service)));
    names.extend(config.feeds.iter().filter_map(|feed| host(&feed.origin)).map(own_name(Own::Feed)));
    // To protect the root would leave nothing to feeds.
    names.retain(|own| !own.name.is_root());
    names
}

fn own_name(what: Own) -> impl Fn(Name) -> OwnName {
    move |name| OwnName { name, what }
}

/// Where people are led: to the landing page by an alias, and to the console.
fn pages(config: &Config) -> impl Iterator<Item = Name> {
    let of_feeds = config.feeds.iter().filter_map(|feed| feed.action.leads_to().cloned());
    let of_zones = config.publish.iter().filter_map(|zone| match &zone.options.sinkholed {
        Sinkholed::Cname(target) => Some(target.clone()),
        _ => None,
    });
    let console = config.console.url.as_deref().and_then(of_url).and_then(|host| Name::from_host(&host).ok());
    of_feeds.chain(of_zones).chain(console)
}

/// The hosts of what this server cannot do without; addresses may be among them.
fn services(config: &Config) -> impl Iterator<Item = String> {
    let notices = &config.cases.notices;
    let signs_in = config.console.outside.iter().filter_map(|outside| of_url(&outside.provider.issuer));
    let relay = notices.mail.iter().map(|mail| mail.relay.host.clone());
    let webhooks = notices.webhooks.iter().filter_map(|webhook| webhook.url.host_str().map(str::to_owned));
    let clickhouse = config.clickhouse.iter().filter_map(|it| it.url.host_str().map(str::to_owned));
    let outlets = config.outlets.iter().filter_map(|outlet| match &outlet.to {
        To::Tls(_, identity) => Some(identity.name().to_string()),
        _ => None,
    });
    let syslog = notices.syslog.iter().filter_map(|receiver| match receiver {
        Receiver::Tls(_, identity) => Some(identity.name().to_string()),
        _ => None,
    });
    let proxies = config.remotes.iter().filter_map(|remote| remote.publisher.proxy());
    let proxies = proxies.filter_map(|proxy| proxy.url.host_str().map(str::to_owned));
    let all =
        signs_in.chain(relay).chain(webhooks).chain(clickhouse).chain(outlets).chain(syslog).chain(proxies);
    all.filter(|host| host.parse::<IpAddr>().is_err() && !host.starts_with('['))
}

fn of_url(text: &str) -> Option<String> {
    text.parse::<Url>().ok()?.host_str().map(str::to_owned)
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
