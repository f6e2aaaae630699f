//! The query log: records, counts, and whom a search finds.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::schema::{COUNT, FLAG, Field, Kind, MAYBE_TEXT, TEXT, TEXTS, TIME, field, required};
use super::{Body, Endpoint, Until, flag, get, limit, moment, object, only, parsed, post, time, wrong};
use crate::console::access::Right;
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::evidence::export::jsonl;
use crate::evidence::record::Outcome;
use crate::evidence::store::names::{Gathering, Label, Reach};
use crate::evidence::store::{By, Filter, Kind as Which, Page, Place, Sighting};
use crate::name::{Key, Name};
use crate::wire;

/// Names, addresses and networks of one search.
const MOST_SOUGHT: usize = 1000;

const QUERY: Kind = Kind::Named(
    "Query",
    &[
        field("time", TIME, "When it came."),
        field("client", TEXT, "Who asked."),
        field("agency", MAYBE_TEXT, "The client's agency."),
        field("qname", MAYBE_TEXT, "What was asked for; null where it could not be read."),
        field("qtype", MAYBE_TEXT, "… of which type."),
        field("rcode", MAYBE_TEXT, "What was answered; null for no answer."),
        field("action", TEXT, "What was done: forward, sinkhole, nxdomain, …"),
        field("hit", FLAG, "Whether a rule of a threat feed acted."),
        field("before_listed", FLAG, "Whether it became a hit only when a list took the name up."),
        field("cached", FLAG, "Whether the answer was in the cache."),
        field("feed", MAYBE_TEXT, "The feed whose rule was met."),
        field("family", MAYBE_TEXT, "Its malware family."),
        field("severity", MAYBE_TEXT, "low, medium, high or critical."),
        field("trigger", MAYBE_TEXT, "What met the rule: client-ip, qname, ip, nsdname or nsip."),
        field("matched", MAYBE_TEXT, "The name or address that met it, where that is not the qname."),
        field("answers", TEXTS, "The first addresses of the answer."),
        field("latency_us", COUNT, "How long it took, in microseconds."),
        field("transport", TEXT, "udp, tcp, dot, doh or doq."),
        field("client_mac", MAYBE_TEXT, "The MAC that a trusted forwarder told."),
        field("client_subnet", MAYBE_TEXT, "… and the network."),
    ],
);

const CLIENT: Field = field("client", TEXT, "Only this client. The look is recorded in the audit.");
const AGENCY: Field = field("agency", TEXT, "Only this agency's.");
const NAME: Field = field("name", TEXT, "Only this name and those below it.");
const QTYPE: Field = field("qtype", TEXT, "Only this type, such as AAAA.");
const RCODE: Field = field("rcode", TEXT, "Only this rcode, such as NXDOMAIN.");
const ACTION: Field = field("action", TEXT, "Only where this was done, such as sinkhole.");
const FEED: Field = field("feed", TEXT, "Only what met a rule of this feed.");
const FAMILY: Field = field("family", TEXT, "Only of this malware family.");
const SINCE: Field = field("since", TEXT, "From this time on: RFC 3339, or an age such as 2h or 90d.");
const UNTIL: Field = field("until", TEXT, "Before this time.");
const HITS: Field = field("hits", FLAG, "Only hits.");

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/log", Right::See, records),
        id: "listQueries",
        summary: "Lists queries, the newest first. A long search stops after ten seconds: is_complete is then false, and next goes on.",
        tag: "log",
        query: &[
            CLIENT,
            AGENCY,
            NAME,
            QTYPE,
            RCODE,
            ACTION,
            FEED,
            FAMILY,
            SINCE,
            UNTIL,
            HITS,
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Object(&[
            field("items", Kind::List(&QUERY), "The queries."),
            field("next", MAYBE_TEXT, "Goes into cursor; null: there is no more."),
            field("is_complete", FLAG, "Whether all was looked at up to the last item."),
        ]),
    },
    Endpoint {
        route: get("/api/v1/counts", Right::See, counts),
        id: "countQueries",
        summary: "Counts queries by one of their values, the most frequent first; by hour and by day (Vietnam's) in their own order.",
        tag: "log",
        query: &[
            required("by", Kind::Choice(&BY_WORDS), "By what."),
            AGENCY,
            NAME,
            QTYPE,
            RCODE,
            ACTION,
            FEED,
            FAMILY,
            SINCE,
            UNTIL,
            HITS,
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
        ],
        body: Body::None,
        answer: Kind::Object(&[
            field(
                "items",
                Kind::List(&Kind::Named(
                    "Count",
                    &[
                        field("value", TEXT, "The value; empty where there is none."),
                        field("count", COUNT, "How many."),
                    ],
                )),
                "The counts.",
            ),
            field("is_complete", FLAG, "Whether all was counted."),
        ]),
    },
    Endpoint {
        route: post("/api/v1/hunts", Right::Rule, hunt),
        id: "hunt",
        summary: "Tells who asked for any of these names, or was answered any of these addresses or networks, the last seen first.",
        tag: "log",
        query: &[],
        body: Body::Json(SOUGHT),
        answer: Kind::Object(&[
            field("items", Kind::List(&SIGHTING), "Who asked for what."),
            field("is_complete", FLAG, "Whether all was searched; otherwise narrow the time."),
        ]),
    },
];

const SOUGHT: &[Field] = &[
    required("names", TEXTS, "Up to 1000 names (each with what is below it), addresses and networks."),
    field("since", TEXT, "From this time on; 90d unless said otherwise."),
    field("until", TEXT, "Before this time."),
    field("agency", TEXT, "Only this agency's clients."),
];

const SIGHTING: Kind = Kind::Named(
    "Sighting",
    &[
        field("client", TEXT, "Who asked."),
        field("agency", MAYBE_TEXT, "Its agency."),
        field("what", TEXT, "For which name, or with which address in the answer."),
        field("first", TIME, "When first."),
        field("last", TIME, "When last."),
        field("count", COUNT, "How often."),
        field("was_hit", FLAG, "Whether any of it was a hit."),
    ],
);

const BY: [(&str, By); 10] = [
    ("agency", By::Agency),
    ("client", By::Client),
    ("name", By::Name),
    ("type", By::Type),
    ("rcode", By::Rcode),
    ("action", By::Action),
    ("feed", By::Feed),
    ("family", By::Family),
    ("hour", By::Hour),
    ("day", By::Day),
];
const BY_WORDS: [&str; 10] =
    ["agency", "client", "name", "type", "rcode", "action", "feed", "family", "hour", "day"];

fn filter(call: &Call) -> Result<Filter, Failure> {
    let text = |field| call.query.find(field).map(str::to_owned);
    let name = |text: &str| Name::from_host(text).map_err(|error| error.to_string());
    let outcome = |text: &str| Outcome::from_word(text).ok_or("no such action");
    let qtype = |text: &str| wire::type_number(text).ok_or("no such type");
    let rcode = |text: &str| wire::rcode_number(text).ok_or("no such rcode");
    Ok(Filter {
        client: parsed(call, "client", str::parse)?,
        agency: text("agency"),
        name: parsed(call, "name", name)?,
        qtype: parsed(call, "qtype", qtype)?,
        rcode: parsed(call, "rcode", rcode)?,
        outcome: parsed(call, "action", outcome)?,
        feed: text("feed"),
        family: text("family"),
        since: moment(call, "since")?,
        until: moment(call, "until")?,
        kind: if flag(call, "hits")? { Which::Hits } else { Which::All },
        ..Filter::default()
    })
}

fn records(call: &Call) -> Result<Reply, Failure> {
    let (filter, limit) = (filter(call)?, limit(call)?);
    let after = parsed(call, "cursor", str::parse::<Place>)?;
    let (mut items, mut place) = (Vec::new(), after);
    let page = Page { limit: Some(limit), after };
    let scan = call.data()?.queries(&filter, page, &mut Until::soon(), &mut |record| {
        let mut line = Vec::new();
        // Into memory it goes always.
        let written =
            jsonl::write(&mut line, record).ok().and_then(|()| serde_json::from_slice::<Value>(&line).ok());
        items.extend(written);
        place = Some(Place::behind(place, record.time));
        ControlFlow::Continue(())
    })?;
    let is_more = scan.is_stopped || items.len() as u64 >= limit;
    let next = place.filter(|_| is_more).map(|place| place.to_string());
    Ok(Reply::Json(json!({ "items": items, "next": next, "is_complete": !scan.is_stopped })))
}

fn counts(call: &Call) -> Result<Reply, Failure> {
    let by = parsed(call, "by", |text| {
        BY.iter().find(|(word, _)| *word == text).map(|(_, by)| *by).ok_or("no such value")
    })?;
    let by = by.ok_or_else(|| wrong("by", format!("say one of {}", BY_WORDS.join(", "))))?;
    let limit = usize::try_from(limit(call)?).unwrap_or(usize::MAX);
    let (counts, scan) = call.data()?.count(&filter(call)?, by, &mut Until::soon())?;
    let items: Vec<Value> = counts
        .iter()
        .take(limit)
        .map(|count| json!({ "value": count.value, "count": count.count }))
        .collect();
    Ok(Reply::Json(json!({ "items": items, "is_complete": !scan.is_stopped })))
}

fn hunt(call: &Call) -> Result<Reply, Failure> {
    let body = object(call)?;
    only(&body, SOUGHT)?;
    let Some(Value::Array(names)) = body.get("names") else {
        return Err(wrong("names", "it must be a list of texts"));
    };
    if names.is_empty() || names.len() > MOST_SOUGHT {
        return Err(wrong("names", format!("name 1 to {MOST_SOUGHT}")));
    }
    let mut gathering = Gathering::default();
    for name in names {
        let text = name.as_str().ok_or_else(|| wrong("names", "it must be a list of texts"))?;
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if let Ok(net) = net {
            gathering.add_net(net, &Label::default());
        } else {
            let name = Name::from_host(text);
            let name = name.map_err(|error| wrong("names", format!("{text:?}: {error}")))?;
            gathering.add_name(Key::from(&name).as_bytes(), Reach::Subtree, &Label::default());
        }
    }
    let at = |field: &'static str, otherwise: Option<&str>| -> Result<Option<i64>, Failure> {
        let text = super::text(&body, field)?.or(otherwise);
        text.map(|text| super::read_time(text, call.now).map_err(|error| wrong(field, error))).transpose()
    };
    let filter = Filter {
        agency: super::text(&body, "agency")?.map(str::to_owned),
        since: at("since", Some("90d"))?,
        until: at("until", None)?,
        sought: Some(Arc::new(gathering.finish())),
        ..Filter::default()
    };
    let (found, scan) = call.data()?.sighted(&filter, &mut Until::soon())?;
    crate::console::audit::changed(call, "hunt", "api", &format!("{} names", names.len()))?;
    let items: Vec<Value> = found.iter().map(sighting).collect();
    Ok(Reply::Json(json!({ "items": items, "is_complete": !scan.is_stopped })))
}

fn sighting(it: &Sighting) -> Value {
    let what = it.what.to_string();
    json!({
        "client": it.client, "agency": it.agency, "what": what, "first": time(it.first), "last": time(it.last),
        "count": it.count, "was_hit": it.was_hit,
    })
}
