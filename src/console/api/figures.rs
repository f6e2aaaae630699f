//! What pages tell at a glance: the figures of now, alerts, how agencies do, hunts, and the figures of a report.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::schema::{COUNT, FLAG, Field, Kind, MAYBE_TEXT, MAYBE_TIME, TEXT, TEXTS, TIME, field, required};
use super::{Body, Endpoint, get, list, moment, parsed, some_time, time, wrong};
use crate::cases::{CaseFilter, State};
use crate::console::access::Right;
use crate::console::alerts::{self, Alert};
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::data::look::DAY;
use crate::console::data::work::Row;
use crate::console::hunts::{Find, Hunt, Stage};
use crate::console::pages::log::hour_of;
use crate::console::pages::overview;
use crate::console::reporting;
use crate::evidence::store::{By, Filter, Kind as Which};
use crate::report::{Format, Period};

/// Finds of a hunt that come at once.
const MOST_FINDS: usize = 1000;

const BOTH: Kind = Kind::Object(&[field("vi", TEXT, "In Vietnamese."), field("en", TEXT, "In English.")]);

const ALERT: Kind = Kind::Named(
    "Alert",
    &[
        field("detector", TEXT, "Which detector says so."),
        field("severity", Kind::Choice(&["bad", "warn", "good", "info", ""]), "How bad it is."),
        field("what", BOTH, "What it is."),
        field("details", BOTH, "More of it; may be empty."),
        field("to_do", BOTH, "What to do."),
        field("page", MAYBE_TEXT, "The page where that is done."),
        field("time", MAYBE_TIME, "When it was seen last."),
    ],
);

const STANDING: Kind = Kind::Named(
    "Standing",
    &[
        field("agency", TEXT, "Its id."),
        field("hits", COUNT, "Its hits in the time."),
        field("contacts", COUNT, "Its contacts with the sinkhole in the time."),
        field("is_blind", FLAG, "Whether it has hits, and none of its machines ever comes to the sinkhole."),
        field("infected", COUNT, "Infected machines now."),
        field("open", COUNT, "Open cases."),
        field("new", COUNT, "Of them new."),
        field("overdue", COUNT, "Of them overdue."),
        field("closed", COUNT, "Cases that were closed in the time."),
        field(
            "seconds_to_clean",
            Kind::Maybe(&COUNT),
            "How long the machines of these were infected, on average.",
        ),
        field("machines", COUNT, "Its machines."),
        field("protected", COUNT, "Of them those with endpoint protection."),
        field("unprotected", COUNT, "Of them those of which it is known that they have none."),
    ],
);

const HUNT: Kind = Kind::Named(
    "Hunt",
    &[
        field("id", TEXT, "Its number."),
        field("title", TEXT, "What it is about."),
        field("by", TEXT, "Who started it."),
        field("since", TIME, "From when on queries are searched."),
        field("sought", TEXTS, "The first of what is sought."),
        field("count", COUNT, "How much is sought in all."),
        field("stage", Kind::Choice(&["running", "done", "stopped", "cut-off", "failed"]), "How far it is."),
        field("ended", MAYBE_TIME, "When it ended."),
        field("found", COUNT, "Lines that were found."),
        field("clients", COUNT, "Of so many clients."),
        field("trouble", MAYBE_TEXT, "Why it failed."),
    ],
);

const FIND: Kind = Kind::Object(&[
    field("client", TEXT, "Who asked."),
    field("agency", MAYBE_TEXT, "Its agency."),
    field("what", TEXT, "For which name, or with which address in the answer."),
    field("first", TIME, "When first."),
    field("last", TIME, "When last."),
    field("count", COUNT, "How often."),
    field("was_hit", FLAG, "Whether any of it was a hit."),
]);

const TOOK: Kind = Kind::Maybe(&Kind::Object(&[
    field("count", COUNT, "Of how many."),
    field("median_seconds", COUNT, "The median."),
    field("mean_seconds", COUNT, "The mean."),
]));

const FIGURES: Kind = Kind::Named(
    "Figures",
    &[
        field("id", MAYBE_TEXT, "The agency's id; null: the province, or what is of none."),
        field("name", TEXT, "Its name."),
        field("machines", COUNT, "Machines that asked."),
        field("queries", COUNT, "Queries."),
        field("hits", COUNT, "Of them hits."),
        field("infected", COUNT, "Machines that were found infected."),
        field("carried", COUNT, "… and that were so before."),
        field("followed", COUNT, "Both together."),
        field("notified", COUNT, "Of them those whose agency was told."),
        field("said_clean", COUNT, "… that somebody said are clean."),
        field("cleaned", COUNT, "… that are done with."),
        field("remaining", COUNT, "… that are not."),
        field("repeat", COUNT, "… that were infected again."),
        field("phishing", COUNT, "Machines at which links that deceive were opened."),
        field("scanning", COUNT, "Machines that scanned."),
        field("false_alarms", COUNT, "Cases of names that are no threat."),
        field("to_notify", TOOK, "How long until the agency was told."),
        field("to_clean", TOOK, "How long until they were clean."),
        field(
            "protection",
            Kind::Maybe(&Kind::Object(&[
                field("machines", COUNT, "Machines of which it is known."),
                field("protected", COUNT, "Of them those with endpoint protection."),
            ])),
            "Endpoint protection.",
        ),
        field(
            "families",
            Kind::List(&Kind::Object(&[
                field("family", TEXT, "The family."),
                field("class", TEXT, "Its class."),
                field("machines", COUNT, "Its machines."),
                field("hits", COUNT, "Its hits."),
            ])),
            "The most frequent families.",
        ),
        field(
            "names",
            Kind::List(&Kind::Object(&[field("name", TEXT, "The name."), field("hits", COUNT, "Its hits.")])),
            "The most frequent names.",
        ),
    ],
);

const CASE: Kind = Kind::Object(&[
    field("ticket", TEXT, "Its code."),
    field("agency", TEXT, "Whose."),
    field("machine", TEXT, "The machine."),
    field("client", TEXT, "Its address."),
    field("family", TEXT, "The family."),
    field("class", TEXT, "The class."),
    field("name", TEXT, "For which name it asked last."),
    field("officer", MAYBE_TEXT, "Who has it."),
    field("stage", TEXT, "How far it is at the end of the period."),
    field("of_period", FLAG, "Whether it began in the period."),
    field("first_hit", TIME, "When it hit first."),
    field("last_hit", TIME, "When it hit last."),
    field("reopened", COUNT, "How often it was opened again."),
]);

const REPORT: &[Field] = &[
    field("version", COUNT, "Of this form."),
    field("from", TEXT, "The first day."),
    field("to", TEXT, "The last day."),
    field("since", TIME, "When the period begins."),
    field("until", TIME, "… and ends."),
    field("made", TIME, "When it was made."),
    field("agency", MAYBE_TEXT, "About which agency; null: the province."),
    field("province", Kind::Maybe(&FIGURES), "The province's figures."),
    field("agencies", Kind::List(&FIGURES), "Agency by agency."),
    field(
        "days",
        Kind::List(&Kind::Object(&[
            field("date", TEXT, "The day."),
            field("queries", COUNT, "Queries."),
            field("hits", COUNT, "Hits."),
        ])),
        "Day by day.",
    ),
    field("cases", Kind::List(&CASE), "Case by case."),
    field(
        "gaps",
        Kind::List(&Kind::Object(&[
            field("from", TIME, "From when on records are missing."),
            field("to", TIME, "Until when."),
            field("count", COUNT, "How many."),
            field("why", TEXT, "Why."),
        ])),
        "What was not recorded.",
    ),
    field(
        "lacks",
        Kind::Object(&[
            field("unfinished", FLAG, "Whether the period is not over."),
            field("not_recorded", COUNT, "Queries that were answered and not recorded."),
            field("unreadable_files", COUNT, "Files of the log that could not be read."),
            field("days_without_machines", COUNT, "Days of which machines are not counted."),
            field("hits_without_detail", COUNT, "Hits whose rows are gone."),
            field("uncounted_parts", COUNT, "Parts that could not be counted."),
            field("anonymised", FLAG, "Whether clients are hidden in it."),
            field("cut", FLAG, "Whether cases were left out."),
        ]),
        "What it lacks.",
    ),
];

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/overview", Right::See, now),
        id: "getOverview",
        summary: "Tells what the first page tells: infected machines, cases by their state, hits of the last day.",
        tag: "figures",
        query: &[],
        body: Body::None,
        answer: Kind::Object(&[
            field("infected", COUNT, "Machines with an open case of an infection."),
            field("new", COUNT, "New cases."),
            field("notified", COUNT, "Cases of which somebody was told."),
            field("cleaned", COUNT, "Cases that somebody says are clean."),
            field("watched", COUNT, "… and that were seen asking since, without a hit."),
            field("overdue", COUNT, "Overdue cases."),
            field("doubted", COUNT, "Cases that somebody says are wrong, and nobody has judged; up to 500."),
            field("hits_24h", COUNT, "Hits of the last 24 full hours and this one."),
        ]),
    },
    Endpoint {
        route: get("/api/v1/alerts", Right::See, alerted),
        id: "listAlerts",
        summary: "Lists what somebody should look at today, the worst first.",
        tag: "figures",
        query: &[],
        body: Body::None,
        answer: Kind::Page(&ALERT),
    },
    Endpoint {
        route: get("/api/v1/standings", Right::See, standings),
        id: "listStandings",
        summary: "Tells how agencies do: hits, cases, time to clean, coverage; whoever sees one, that one.",
        tag: "figures",
        query: &[field("since", TEXT, "From this time on; 30d unless said otherwise.")],
        body: Body::None,
        answer: Kind::Page(&STANDING),
    },
    Endpoint {
        route: get("/api/v1/figures", Right::See, figures),
        id: "getFigures",
        summary: "Makes a report's figures of these days (docs/report.md says what each counts). One is made at a time.",
        tag: "figures",
        query: &[
            required("from", TEXT, "The first day, as 2026-11-01."),
            required("to", TEXT, "The last day."),
            field("agency", TEXT, "Only this agency's."),
        ],
        body: Body::None,
        answer: Kind::Object(REPORT),
    },
    Endpoint {
        route: get("/api/v1/hunts", Right::SeeProvince, hunts),
        id: "listHunts",
        summary: "Lists the hunts of the console, the newest first.",
        tag: "figures",
        query: &[],
        body: Body::None,
        answer: Kind::Page(&HUNT),
    },
    Endpoint {
        route: get("/api/v1/hunts/{number}", Right::SeeProvince, found),
        id: "getHunt",
        summary: "Tells what a hunt of the console found, up to 1000 lines at once.",
        tag: "figures",
        query: &[field("cursor", TEXT, "The place behind which to go on.")],
        body: Body::None,
        answer: Kind::Object(&[
            field("hunt", HUNT, "The hunt."),
            field("items", Kind::List(&FIND), "Who asked for what."),
            field("next", MAYBE_TEXT, "Goes into cursor for what comes behind; null: there is no more."),
        ]),
    },
];

fn now(call: &Call) -> Result<Reply, Failure> {
    let data = call.data()?;
    let own = call.viewer()?.agency().map(str::to_owned);
    let tally = call.house.desk()?.tally(&CaseFilter { agency: own, ..CaseFilter::default() }, call.now)?;
    let since = hour_of(call.now) - DAY;
    let filter = Filter { since: Some(since), kind: Which::Hits, ..Filter::default() };
    let hits: u64 = data.counted(&filter, By::Family)?.iter().map(|count| count.count).sum();
    Ok(Reply::Json(json!({
        "infected": overview::infected(call, &data)?,
        "new": tally.of(State::New), "notified": tally.of(State::Notified), "cleaned": tally.of(State::Cleaned),
        "watched": tally.of(State::Watched), "overdue": tally.overdue,
        "doubted": data.doubted(500)?.len(), "hits_24h": hits,
    })))
}

fn alerted(call: &Call) -> Result<Reply, Failure> {
    let both = |text: &alerts::Text| json!({ "vi": text.vietnamese, "en": text.english });
    let as_json = |alert: &Alert| {
        json!({
            "detector": alert.detector, "severity": alert.tone.class(), "what": both(&alert.what),
            "details": both(&alert.details), "to_do": both(&alert.to_do), "page": alert.href,
            "time": some_time(alert.time),
        })
    };
    Ok(list(alerts::all(call)?.iter().map(as_json).collect(), None))
}

fn standings(call: &Call) -> Result<Reply, Failure> {
    let since = moment(call, "since")?.unwrap_or(call.now - 30 * DAY);
    let as_json = |row: &Row| {
        let standing = &row.standing;
        json!({
            "agency": standing.agency, "hits": row.hits, "contacts": row.contacts, "is_blind": row.is_blind(),
            "infected": standing.infected, "open": standing.open, "new": standing.new, "overdue": standing.overdue,
            "closed": standing.closed, "seconds_to_clean": standing.time_to_clean.map(|it| it.max(0) / 1_000_000),
            "machines": row.machines, "protected": row.protected, "unprotected": row.unprotected,
        })
    };
    let league = call.data()?.league(since)?;
    Ok(list(league.iter().filter(|row| row.standing.agency.is_some()).map(as_json).collect(), None))
}

fn figures(call: &Call) -> Result<Reply, Failure> {
    let day = |field: &'static str| {
        let day = parsed(call, field, str::parse::<Date>)?;
        day.ok_or_else(|| wrong(field, "write a day, as 2026-11-01"))
    };
    let period = Period::new(day("from")?, day("to")?).map_err(|error| wrong("to", error.to_string()))?;
    let octets = reporting::make(call, period, "from", call.query.find("agency"), Format::Json)?;
    let made = serde_json::from_slice(&octets).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(Reply::Json(made))
}

fn hunts(call: &Call) -> Result<Reply, Failure> {
    Ok(list(call.house.hunts().all().iter().map(hunt_json).collect(), None))
}

fn found(call: &Call) -> Result<Reply, Failure> {
    let number = call.place("number").parse::<i64>().map_err(|_| Failure::Absent)?;
    let hunt = call.house.hunts().find(number).ok_or(Failure::Absent)?;
    let from = parsed(call, "cursor", str::parse::<usize>)?.unwrap_or(0);
    let finds = call.house.hunts().finds(number, from, MOST_FINDS);
    let next = (finds.len() == MOST_FINDS).then(|| (from + finds.len()).to_string());
    let items: Vec<Value> = finds.iter().map(find_json).collect();
    Ok(Reply::Json(json!({ "hunt": hunt_json(&hunt), "items": items, "next": next })))
}

fn hunt_json(hunt: &Hunt) -> Value {
    let stage = match hunt.stage {
        Stage::Running => "running",
        Stage::Done => "done",
        Stage::Stopped => "stopped",
        Stage::CutOff => "cut-off",
        Stage::Failed => "failed",
    };
    json!({
        "id": hunt.number.to_string(), "title": hunt.title, "by": hunt.by, "since": time(hunt.since), "sought": hunt.sought,
        "count": hunt.count, "stage": stage, "ended": some_time(hunt.ended), "found": hunt.found,
        "clients": hunt.clients, "trouble": hunt.trouble,
    })
}

fn find_json(find: &Find) -> Value {
    json!({
        "client": find.client, "agency": find.agency, "what": find.what, "first": time(find.first),
        "last": time(find.last), "count": find.count, "was_hit": find.was_hit,
    })
}
