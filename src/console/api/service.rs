//! The service itself: feeds, the policy, analysts' rules, the audit, how it is, and who asks.

use std::ops::ControlFlow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::schema::{COUNT, FLAG, Field, Kind, MAYBE_TEXT, MAYBE_TIME, TEXT, TEXTS, TIME, field, required};
use super::{
    Body, Endpoint, Route, get, limit, list, moment, needed, object, only, parsed, post, some_time, text,
    time, wrong,
};
use crate::console::access::{RIGHTS, Right};
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::house::House;
use crate::console::routes::Needs;
use crate::console::works::{Decision, Feed, Lines, Order, Works};
use crate::console::{audit as console_audit, health, token};
use crate::evidence::audit::read::{self, Came, Entry as Audited, Filter, Of};
use crate::explain::{Fate, Question, Story};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::trigger::Scope;
use crate::rules::{Effect, End, Entry, Standing, Subject};
use crate::wire;
use hyper::Method;

const FEED: Kind = Kind::Named(
    "Feed",
    &[
        field("name", TEXT, "Its name."),
        field("origin", TEXT, "Where it comes from, without secrets."),
        field("action", TEXT, "What its rules do."),
        field("is_gated", FLAG, "Whether its versions are judged before they are in force."),
        field("accepted", Kind::Maybe(&VERSION), "The version in force."),
        field("accepted_at", MAYBE_TIME, "Since when."),
        field("indicators", COUNT, "What it lists."),
        field(
            "refused",
            Kind::List(&REFUSED),
            "Versions that were refused and that nobody has decided about.",
        ),
        field("missing", MAYBE_TEXT, "Why its file cannot be read."),
        field("heard_at", MAYBE_TIME, "When its publisher was heard last."),
        field("next_at", MAYBE_TIME, "When it is asked next."),
        field("failures", COUNT, "Failures since it was heard."),
        field("trouble", MAYBE_TEXT, "Why the last one failed that did."),
    ],
);

const VERSION: Kind = Kind::Named(
    "Version",
    &[
        field("digest", TEXT, "Which content, by its SHA-256."),
        field("size", COUNT, "Its octets."),
        field("arrived_at", TIME, "When it came."),
    ],
);

const REFUSED: Kind = Kind::Named(
    "Refused",
    &[
        field("version", VERSION, "Which."),
        field("indicators", COUNT, "What it lists."),
        field("reasons", TEXTS, "Why it was refused."),
        field("refused_at", TIME, "When."),
    ],
);

const RULE: Kind = Kind::Named(
    "Rule",
    &[
        field("id", COUNT, "Its number."),
        field("subject", TEXT, "On what: a name, with *. in front all below it; an address or network."),
        field("action", TEXT, "What it does."),
        field(
            "effect",
            Kind::Choice(&EFFECTS),
            "usual; forced: whatever is protected; shadow: it shows in the log only.",
        ),
        field("agency", MAYBE_TEXT, "The only agency that it is for."),
        field("expires", MAYBE_TIME, "When it ends by itself."),
        field("family", MAYBE_TEXT, "The malware family."),
        field("by", TEXT, "Who gave it."),
        field("reason", TEXT, "Why."),
        field("given", TIME, "When."),
        field("standing", TEXT, "active, expired, replaced or removed."),
        field("ended_by", MAYBE_TEXT, "Who took it back."),
    ],
);

const EFFECTS: [&str; 3] = ["usual", "forced", "shadow"];

const GIVING: &[Field] = &[
    required(
        "subjects",
        TEXTS,
        "Up to 100 names (each with all below it; = in front: the name alone), addresses and networks.",
    ),
    required("action", TEXT, "sinkhole, nxdomain, nodata, passthru (an exception), drop, tcp-only."),
    required("reason", TEXT, "Why."),
    field(
        "effect",
        Kind::Choice(&EFFECTS),
        "usual unless said otherwise; forced: also what is protected, and exceptions for public suffixes and very large networks; shadow: only shown in the log.",
    ),
    field("agency", TEXT, "The only agency that it is for."),
    field("expires", TEXT, "When it ends: RFC 3339, or a time from now such as 30d."),
    field("family", TEXT, "The malware family."),
];

const ENDING: &[Field] = &[required("reason", TEXT, "Why.")];

const DECIDING: &[Field] = &[
    required("version", TEXT, "The digest of the refused version, or its beginning."),
    required("decision", Kind::Choice(&["approve", "reject"]), "What is decided."),
    required("reason", TEXT, "Why."),
];

const ACCOUNT: &[Field] = &[
    field("thing", TEXT, "What the rule lists."),
    field("feed", TEXT, "The feed that has it."),
    field("family", MAYBE_TEXT, "Its family."),
    field("action", TEXT, "What it does."),
    field("decides", FLAG, "Whether it decides."),
];

const AUDITED: Kind = Kind::Named(
    "Audited",
    &[
        field("time", TIME, "When."),
        field("who", TEXT, "The account, or the system's user."),
        field("role", MAYBE_TEXT, "What the account was."),
        field("address", MAYBE_TEXT, "From where."),
        field("kind", Kind::Choice(&["look", "change"]), "What kind of entry it is."),
        field("action", TEXT, "What was done."),
        field("on", TEXT, "On what: a client's address, or what was changed."),
        field("details", TEXT, "What else there is to say."),
    ],
);

const PART: Kind = Kind::Named(
    "Part",
    &[
        field("state", Kind::Choice(&["ok", "degraded", "failed"]), "How it is."),
        field("told", TEXT, "Why, where it is not well; empty otherwise."),
    ],
);

const DONE: Kind = Kind::Object(&[field("told", TEXT, "What the server said.")]);

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/feeds", Right::SeeProvince, feeds),
        id: "listFeeds",
        summary: "Lists feeds in their order: what is in force of each, and what waits for a decision.",
        tag: "policy",
        query: &[],
        body: Body::None,
        answer: Kind::Page(&FEED),
    },
    Endpoint {
        route: get("/api/v1/feeds/{name}", Right::SeeProvince, feed),
        id: "getFeed",
        summary: "Tells of one feed.",
        tag: "policy",
        query: &[],
        body: Body::None,
        answer: FEED,
    },
    Endpoint {
        route: post("/api/v1/feeds/{name}/decisions", Right::Rule, decide),
        id: "decide",
        summary: "Approves or rejects a version of a feed that the gate refused.",
        tag: "policy",
        query: &[],
        body: Body::Json(DECIDING),
        answer: FEED,
    },
    Endpoint {
        route: get("/api/v1/policy/explain", Right::SeeProvince, explain),
        id: "explain",
        summary: "Tells what happens to a name, and every rule that was considered.",
        tag: "policy",
        query: &[
            required("name", TEXT, "The name."),
            field("type", TEXT, "The record type; A unless said otherwise."),
            field("client", TEXT, "The address that would ask."),
        ],
        body: Body::None,
        answer: Kind::Object(&[
            field("name", TEXT, "The name."),
            field("agency", MAYBE_TEXT, "The client's agency."),
            field("rules", Kind::List(&Kind::Object(ACCOUNT)), "Every rule that was considered."),
        ]),
    },
    Endpoint {
        route: get("/api/v1/rules", Right::SeeProvince, rules),
        id: "listRules",
        summary: "Lists analysts' own rules that are in force, the last given first; with all, those that are over too.",
        tag: "policy",
        query: &[
            field("all", FLAG, "Those that are over too."),
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Page(&RULE),
    },
    Endpoint {
        route: post("/api/v1/rules", Right::Rule, give),
        id: "giveRules",
        summary: "Gives rules; they are in force when the answer comes.",
        tag: "policy",
        query: &[],
        body: Body::Json(GIVING),
        answer: Kind::Object(&[
            field("ids", Kind::List(&COUNT), "Their numbers."),
            field("told", TEXT, "What the server said."),
        ]),
    },
    Endpoint {
        route: post("/api/v1/rules/{id}/end", Right::Rule, end),
        id: "endRule",
        summary: "Takes a rule back.",
        tag: "policy",
        query: &[],
        body: Body::Json(ENDING),
        answer: DONE,
    },
    Endpoint {
        route: get("/api/v1/audit", Right::Audit, audit),
        id: "listAudit",
        summary: "Lists who looked at whose history and who changed what, the newest first.",
        tag: "service",
        query: &[
            field("who", TEXT, "Only this account's or user's."),
            field("action", TEXT, "Only actions that begin so, such as case."),
            field("since", TEXT, "From this time on: RFC 3339, or an age such as 90d."),
            field("until", TEXT, "Before this time."),
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Page(&AUDITED),
    },
    Endpoint {
        route: Route {
            method: Method::GET,
            path: "/api/v1/health",
            needs: Needs::Session,
            most: 0,
            answer: how,
        },
        id: "getHealth",
        summary: "Tells how each part of the server is.",
        tag: "service",
        query: &[],
        body: Body::None,
        answer: Kind::Object(&[
            field("status", Kind::Choice(&["ok", "degraded", "failed"]), "The worst that there is."),
            field("ready", FLAG, "Whether queries are answered as they should be."),
            field("parts", Kind::Map(&PART), "Part by part."),
        ]),
    },
    Endpoint {
        route: Route { method: Method::GET, path: "/api/v1/me", needs: Needs::Session, most: 0, answer: me },
        id: "getMe",
        summary: "Tells who asks, and what that one may.",
        tag: "service",
        query: &[],
        body: Body::None,
        answer: Kind::Object(&[
            field("name", TEXT, "Who asks."),
            field("role", TEXT, "What that one is."),
            field("agency", MAYBE_TEXT, "The only agency that it sees."),
            field("rights", TEXTS, "What it may."),
        ]),
    },
];

fn works(house: &dyn House) -> Result<&dyn Works, Failure> {
    house.works().ok_or_else(|| Failure::Refused("the server does not run".to_owned()))
}

fn feeds(call: &Call) -> Result<Reply, Failure> {
    let feeds = works(&*call.house)?.feeds()?;
    Ok(list(feeds.iter().map(feed_json).collect(), None))
}

fn feed(call: &Call) -> Result<Reply, Failure> {
    let feeds = works(&*call.house)?.feeds()?;
    let feed = feeds.iter().find(|feed| *feed.name == *call.place("name")).ok_or(Failure::Absent)?;
    Ok(Reply::Json(feed_json(feed)))
}

fn feed_json(feed: &Feed) -> Value {
    let version = |version: &crate::feed::store::Version| json!({ "digest": version.digest.to_string(), "size": version.size, "arrived_at": time(version.arrived_at) });
    let state = &feed.state;
    let undecided = state.refused.iter().filter(|refused| !state.is_rejected(refused.version.digest));
    let refused: Vec<Value> = undecided
        .map(|refused| {
            json!({
                "version": version(&refused.version), "indicators": refused.counts.indicators(), "reasons": refused.reasons,
                "refused_at": time(refused.refused_at),
            })
        })
        .collect();
    let accepted = state.accepted.as_ref();
    let fetching = feed.fetching.as_ref();
    let at = |time: Option<i64>| some_time(time.filter(|time| *time > 0));
    json!({
        "name": &*feed.name, "origin": feed.origin, "action": feed.action, "is_gated": feed.is_gated,
        "accepted": accepted.map(|accepted| version(&accepted.version)),
        "accepted_at": some_time(accepted.map(|accepted| accepted.accepted_at)),
        "indicators": accepted.map_or(0, |accepted| accepted.counts.indicators()),
        "refused": refused, "missing": feed.missing, "heard_at": at(fetching.map(|it| it.heard_at)),
        "next_at": at(fetching.map(|it| it.next_at)), "failures": fetching.map_or(0, |it| it.failures),
        "trouble": fetching.and_then(|it| it.trouble.as_ref()).map(|(_, why)| why),
    })
}

fn decide(call: &Call) -> Result<Reply, Failure> {
    let body = object(call)?;
    only(&body, DECIDING)?;
    let decision = match needed(&body, "decision")? {
        "approve" => Decision::Approve,
        "reject" => Decision::Reject,
        _ => return Err(wrong("decision", "it is approve or reject")),
    };
    let (version, reason, name) = (needed(&body, "version")?, needed(&body, "reason")?, call.place("name"));
    works(&*call.house)?.decide(name, version, decision, &call.viewer()?.name, reason)?;
    let what = if decision == Decision::Approve { "feed.approve" } else { "feed.reject" };
    console_audit::changed(call, what, name, reason)?;
    feed(call)
}

fn explain(call: &Call) -> Result<Reply, Failure> {
    let text = call.query.find("name").ok_or_else(|| wrong("name", "it is missing"))?;
    let name = Name::from_host(text).map_err(|error| wrong("name", format!("{text:?}: {error}")))?;
    let qtype = parsed(call, "type", |text| wire::type_number(text).ok_or("no such type"))?.unwrap_or(1);
    let question = Question { client: parsed(call, "client", str::parse)?, ..Question::of(name, qtype) };
    let story: Story = works(&*call.house)?.explain(&question, Lines::Leave)?;
    let rules: Vec<Value> = story
        .accounts
        .iter()
        .map(|it| {
            json!({
                "thing": it.thing.to_string(), "feed": &*it.feed, "family": it.family, "action": it.action,
                "decides": matches!(it.fate, Fate::Decides),
            })
        })
        .collect();
    Ok(Reply::Json(
        json!({ "name": question.name.to_string(), "agency": story.client.agency_id(), "rules": rules }),
    ))
}

fn book(call: &Call) -> Result<crate::rules::Book, Failure> {
    call.house.rules().read().map(|reading| reading.book).map_err(|error| Failure::Refused(error.to_string()))
}

fn rules(call: &Call) -> Result<Reply, Failure> {
    let (limit, all) = (limit(call)?, super::flag(call, "all")?);
    let before = parsed(call, "cursor", str::parse::<u64>)?;
    let book = book(call)?;
    let wanted = |entry: &&Entry| {
        before.is_none_or(|before| entry.deed.id < before)
            && (all || entry.standing(call.now) == Standing::Active)
    };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found: Vec<&Entry> =
        book.entries().iter().rev().filter(wanted).take(most.saturating_add(1)).collect();
    let is_more = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| is_more).map(|entry| entry.deed.id.to_string());
    Ok(list(found.iter().map(|entry| rule_json(entry, call.now)).collect(), next))
}

fn rule_json(entry: &Entry, now: i64) -> Value {
    let rule = &entry.rule;
    let effect = match rule.effect {
        Effect::Usual => "usual",
        Effect::Forced => "forced",
        Effect::Shadow => "shadow",
    };
    let ended_by = match &entry.end {
        Some(End::Removed(deed) | End::Replaced(deed)) => Some(&*deed.by),
        _ => None,
    };
    json!({
        "id": entry.deed.id, "subject": rule.subject.to_string(), "action": rule.action.to_string(),
        "effect": effect, "agency": rule.agency.as_deref(),
        "expires": some_time(rule.expires), "family": rule.family.as_deref(), "by": &*entry.deed.by,
        "reason": &*entry.deed.reason, "given": time(entry.deed.time), "standing": entry.standing(now).as_str(),
        "ended_by": ended_by,
    })
}

fn give(call: &Call) -> Result<Reply, Failure> {
    let body = object(call)?;
    only(&body, GIVING)?;
    let Some(Value::Array(texts)) = body.get("subjects") else {
        return Err(wrong("subjects", "it must be a list of texts"));
    };
    if texts.is_empty() || texts.len() > MOST_SUBJECTS {
        return Err(wrong("subjects", format!("name 1 to {MOST_SUBJECTS}")));
    }
    let mut subjects = Vec::new();
    for subject in texts {
        let text = subject.as_str().ok_or_else(|| wrong("subjects", "it must be a list of texts"))?;
        let (text, is_exact) = text.strip_prefix('=').map_or((text, false), |text| (text, true));
        let read = text.parse::<Subject>();
        let subject = read.map_err(|error| wrong("subjects", format!("{text:?}: {error}")))?;
        subjects.push(match subject {
            Subject::Name(name, _) if is_exact => Subject::Name(name, Scope::Exact),
            subject => subject,
        });
    }
    let action = needed(&body, "action")?;
    let action = action.parse::<Action>().map_err(|error| wrong("action", error.to_string()))?;
    let effect = match text(&body, "effect")? {
        None | Some("usual") => Effect::Usual,
        Some("forced") => Effect::Forced,
        Some("shadow") => Effect::Shadow,
        Some(_) => return Err(wrong("effect", "it is usual, forced or shadow")),
    };
    let expires = text(&body, "expires")?.map(|text| ends_at(text, call.now)).transpose()?;
    let reason = needed(&body, "reason")?;
    let order = Order {
        subjects,
        action,
        effect,
        agency: text(&body, "agency")?,
        expires,
        family: text(&body, "family")?,
        severity: None,
        by: &call.viewer()?.name,
        reason,
    };
    let shown = order.subjects.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let ids = works(&*call.house)?.give(&order)?;
    console_audit::changed(call, "rule.give", &shown, reason)?;
    let told = call.house.renew_rules().map_err(Failure::Refused)?;
    Ok(Reply::Json(json!({ "ids": ids, "told": told })))
}

/// Subjects that are given at once.
const MOST_SUBJECTS: usize = 100;

/// A time in the future: RFC 3339, or how far from now.
fn ends_at(text: &str, now: i64) -> Result<i64, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    let before = super::read_time(text, now).map_err(|error| wrong("expires", error))?;
    Ok(now.saturating_add(now - before))
}

fn end(call: &Call) -> Result<Reply, Failure> {
    let body = object(call)?;
    only(&body, ENDING)?;
    let id = call.place("id").parse().map_err(|_| Failure::Absent)?;
    let reason = needed(&body, "reason")?;
    works(&*call.house)?.end(id, &call.viewer()?.name, reason)?;
    console_audit::changed(call, "rule.end", &id.to_string(), reason)?;
    let told = call.house.renew_rules().map_err(Failure::Refused)?;
    Ok(Reply::Json(json!({ "told": told })))
}

fn audit(call: &Call) -> Result<Reply, Failure> {
    let limit = usize::try_from(limit(call)?).unwrap_or(usize::MAX);
    let text = |field| call.query.find(field).map(str::to_owned);
    let filter = Filter {
        who: text("who"),
        kind: None,
        action: text("action"),
        on: None,
        since: moment(call, "since")?,
        until: moment(call, "until")?,
    };
    let before = parsed(call, "cursor", str::parse::<u64>)?;
    let mut items = Vec::new();
    let came = read::newest_first(call.house.data_dir(), &filter, before, &mut |entry| {
        items.push(audited(&entry));
        if items.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let next = match came.map_err(console_audit::failed)? {
        Came::Through => None,
        Came::To(place) => Some(place.to_string()),
    };
    Ok(list(items, next))
}

fn audited(entry: &Audited) -> Value {
    let (kind, on, details) = match &entry.of {
        Of::Look { client, .. } => ("look", client.to_string(), ""),
        Of::Change { on, details } => ("change", on.clone(), details.as_str()),
    };
    json!({
        "time": time(entry.time), "who": entry.who(), "role": entry.role, "address": entry.address, "kind": kind,
        "action": entry.action, "on": on, "details": details,
    })
}

fn how(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::Json(health::as_json(&call.house.health())))
}

fn me(call: &Call) -> Result<Reply, Failure> {
    let viewer = call.viewer()?;
    let rights: Vec<&str> = RIGHTS.into_iter().filter(|right| call.may(*right)).map(token::word).collect();
    Ok(Reply::Json(json!({
        "name": viewer.name, "role": viewer.role.as_str(), "agency": viewer.agency(), "rights": rights,
    })))
}
