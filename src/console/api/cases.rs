//! Cases: lists, one with all that belongs to it, and what people do about it.

use serde_json::{Value, json};

use super::schema::{COUNT, FLAG, Field, Kind, MAYBE_TEXT, MAYBE_TIME, TEXT, TEXTS, TIME, field, required};
use super::{
    Body, Endpoint, flag, get, limit, list, moment, needed, object, only, parsed, post, some_time, text,
    time, wrong,
};
use crate::cases::board::Behind;
use crate::cases::{Actor, Case, CaseFile, CaseFilter, State, Step, Ticket, Trace, Verdict};
use crate::console::access::Right;
use crate::console::answer::{Failure, Reply};
use crate::console::audit;
use crate::console::call::Call;

pub(super) const CASE: Kind = Kind::Named(
    "Case",
    &[
        field("ticket", TEXT, "What people read out on the telephone."),
        field("state", Kind::Choice(&STATES), "How far it is."),
        field("machine", TEXT, "The machine as m-17, or the address."),
        field("host", MAYBE_TEXT, "What people call the machine."),
        field("client", TEXT, "The address that it was seen at last."),
        field("agency", MAYBE_TEXT, "Its agency."),
        field("family", TEXT, "The malware family; empty where none is known."),
        field(
            "class",
            Kind::Choice(&["c2", "phishing", "address", "scan", "unknown"]),
            "What kind of trouble it is.",
        ),
        field("name", TEXT, "The name that was asked for or connected to last."),
        field("officer", MAYBE_TEXT, "Who looks after it."),
        field("verdict", MAYBE_TEXT, "confirmed or false-positive."),
        field("queries", COUNT, "Queries for listed names."),
        field("contacts", COUNT, "Connections to the sinkhole."),
        field("opened", TIME, "When it was opened first."),
        field("since", TIME, "When this episode began."),
        field("first_hit", TIME, "The first hit."),
        field("last_hit", TIME, "… and the last."),
        field("last_asked", MAYBE_TIME, "When the machine was last seen asking for anything."),
        field("notified", MAYBE_TIME, "When somebody was told."),
        field("cleaned", MAYBE_TIME, "When somebody said that the machine is clean."),
        field("closed", MAYBE_TIME, "When it was closed."),
        field("reopened", COUNT, "How often it was opened again."),
        field("quiet_days", COUNT, "Quiet days that are over."),
    ],
);
const STATES: [&str; 5] = ["new", "notified", "cleaned", "watched", "closed"];

const STEP: Kind = Kind::Named(
    "Step",
    &[
        field("time", TIME, "When."),
        field("by", TEXT, "Who: server, visitor ADDRESS or person NAME."),
        field("what", TEXT, "What."),
        field("note", TEXT, "More about it."),
    ],
);

const TRACE: Kind = Kind::Named(
    "Trace",
    &[
        field("first", TIME, "The first of them."),
        field("last", TIME, "The last."),
        field("count", COUNT, "How many."),
        field("client", TEXT, "From this address."),
        field("evidence", Kind::Choice(&["query", "contact", "visit", "find"]), "By what."),
        field("name", TEXT, "For this name."),
    ],
);

const FILE: Kind = Kind::Object(&[
    field("case", CASE, "The case."),
    field("tickets", TEXTS, "Every code that leads to it."),
    field("steps", Kind::List(&STEP), "What happened to it, oldest first."),
    field("traces", Kind::List(&TRACE), "What was seen, oldest first; of a long list the middle is gone."),
]);

const DOING: &[Field] = &[
    required(
        "step",
        Kind::Choice(&["note", "notified", "clean", "assign", "verdict", "close", "reopen"]),
        "What is done. verdict, close and reopen need the right judge.",
    ),
    field("note", TEXT, "What there is to say; the reason of close, reopen and verdict."),
    field("officer", TEXT, "Who gets the case, for assign."),
    field("verdict", Kind::Choice(&["confirmed", "false-positive"]), "What it is, for verdict."),
];

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/cases", Right::See, cases),
        id: "listCases",
        summary: "Lists cases, those seen last first.",
        tag: "cases",
        query: &[
            field(
                "state",
                TEXT,
                "Only those that are so far: one of new, notified, cleaned, watched and closed, or several with commas; open is all but closed.",
            ),
            field("agency", TEXT, "Only this agency's."),
            field("family", TEXT, "Only of this malware family."),
            field("class", TEXT, "Only of this class."),
            field("officer", TEXT, "Only those that this officer looks after."),
            field("client", TEXT, "Only those seen at this address."),
            field("overdue", FLAG, "Only those that are overdue."),
            field("since", TEXT, "Last seen from this time on: RFC 3339, or an age such as 90d."),
            field("until", TEXT, "Last seen before this time."),
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Page(&CASE),
    },
    Endpoint {
        route: get("/api/v1/cases/{ticket}", Right::See, case),
        id: "getCase",
        summary: "Tells of one case with all that belongs to it.",
        tag: "cases",
        query: &[],
        body: Body::None,
        answer: FILE,
    },
    Endpoint {
        route: post("/api/v1/cases/{ticket}/steps", Right::Work, act),
        id: "addStep",
        summary: "Does something about a case, or notes what was done; the case as it is then comes back.",
        tag: "cases",
        query: &[],
        body: Body::Json(DOING),
        answer: FILE,
    },
];

fn cases(call: &Call) -> Result<Reply, Failure> {
    let limit = limit(call)?;
    let states = parsed(call, "state", |text| {
        let words = text.split(',').map(str::trim);
        let words = words.flat_map(|word| if word == "open" { STATES[..4].to_vec() } else { vec![word] });
        words.map(str::parse::<State>).collect::<Result<Vec<_>, _>>()
    })?;
    let data = call.data()?;
    let overdue = flag(call, "overdue")?.then(|| data.overdue_now()).transpose()?;
    let filter = CaseFilter {
        states: states.unwrap_or_default(),
        agency: call.query.find("agency").map(str::to_owned),
        family: call.query.find("family").map(str::to_owned),
        class: parsed(call, "class", str::parse)?,
        officer: call.query.find("officer").map(str::to_owned),
        client: parsed(call, "client", str::parse)?,
        since: moment(call, "since")?,
        until: moment(call, "until")?,
        overdue,
        after: parsed(call, "cursor", str::parse::<Behind>)?,
        limit: Some(limit + 1),
        ..CaseFilter::default()
    };
    let found = data.cases(&filter)?;
    let shown = &found[..found.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
    let next = shown.last().filter(|_| found.len() > shown.len());
    let next = next.map(|case| Behind { last_hit: case.course.last_hit, id: case.id.0 }.to_string());
    Ok(list(shown.iter().map(as_json).collect(), next))
}

fn ticket(call: &Call) -> Result<Ticket, Failure> {
    call.place("ticket").parse().map_err(|_| Failure::Absent)
}

fn case(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::Json(file_json(&call.data()?.case(ticket(call)?)?)))
}

fn act(call: &Call) -> Result<Reply, Failure> {
    let body = object(call)?;
    only(&body, DOING)?;
    let (step, note) = (needed(&body, "step")?, text(&body, "note")?);
    if matches!(step, "verdict" | "close" | "reopen") && !call.may(Right::Judge) {
        return Err(Failure::Forbidden);
    }
    let ticket = ticket(call)?;
    let id = call.data()?.case(ticket)?.case.id;
    let desk = call.house.desk()?;
    let by = Actor::Person(call.viewer()?.name.clone());
    let reason = || note.ok_or_else(|| wrong("note", "say why"));
    match step {
        "note" => desk.note(id, note.ok_or_else(|| wrong("note", "it is missing"))?, &by, call.now)?,
        "notified" => desk.told(id, note.unwrap_or("by the API"), &by, call.now)?,
        "clean" => desk.said_clean(id, note.unwrap_or_default(), &by, call.now)?,
        "assign" => desk.assign(id, needed(&body, "officer")?, &by, call.now)?,
        "verdict" => {
            let verdict = match needed(&body, "verdict")? {
                "confirmed" => Verdict::Confirmed,
                "false-positive" => Verdict::FalsePositive,
                _ => return Err(wrong("verdict", "it is confirmed or false-positive")),
            };
            desk.verdict(id, verdict, &[], reason()?, &by, call.now)?
        }
        "close" => desk.close(id, reason()?, &by, call.now)?,
        "reopen" => desk.reopen(id, reason()?, &by, call.now)?,
        _ => return Err(wrong("step", "it is note, notified, clean, assign, verdict, close or reopen")),
    };
    audit::changed(call, &format!("case.{step}"), &ticket.to_string(), note.unwrap_or_default())?;
    case(call)
}

pub(super) fn as_json(case: &Case) -> Value {
    let course = &case.course;
    json!({
        "ticket": case.ticket.to_string(), "state": course.state.as_str(), "machine": case.subject.to_string(), "host": case.host,
        "client": case.client, "agency": case.agency, "family": case.family, "class": case.class.as_str(), "name": case.name,
        "officer": case.officer, "verdict": case.verdict.map(Verdict::as_str), "queries": case.queries,
        "contacts": case.contacts, "opened": time(course.opened), "since": time(course.since),
        "first_hit": time(course.first_hit), "last_hit": time(course.last_hit), "last_asked": some_time(course.last_asked),
        "notified": some_time(course.notified), "cleaned": some_time(course.cleaned), "closed": some_time(course.closed),
        "reopened": course.reopened, "quiet_days": course.quiet_days,
    })
}

fn file_json(file: &CaseFile) -> Value {
    use crate::cases::Evidence;
    let step = |step: &Step| json!({ "time": time(step.time), "by": step.by.to_string(), "what": step.what.as_str(), "note": step.note });
    let trace = |trace: &Trace| {
        let evidence = match trace.evidence {
            Evidence::Query => "query",
            Evidence::Contact(_) => "contact",
            Evidence::Visit => "visit",
            Evidence::Find => "find",
        };
        json!({
            "first": time(trace.first), "last": time(trace.last), "count": trace.count, "client": trace.client,
            "evidence": evidence, "name": trace.name,
        })
    };
    json!({
        "case": as_json(&file.case),
        "tickets": file.tickets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "steps": file.steps.iter().map(step).collect::<Vec<_>>(),
        "traces": file.traces.iter().map(trace).collect::<Vec<_>>(),
    })
}
