//! Agencies and officers, and their import.

use serde_json::{Value, json};

use super::schema::{FLAG, Field, Kind, MAYBE_TEXT, TEXT, TEXTS, field};
use super::{Body, Endpoint, Route, flag, get, list};
use crate::console::access::Right;
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::house::Agency;
use crate::console::import;
use crate::console::routes::Needs;
use crate::roster::{Change, Manner, Proposal};
use hyper::Method;

const AGENCY: Kind = Kind::Named(
    "Agency",
    &[
        field("id", TEXT, "Its short, stable id."),
        field("name", TEXT, "Its name."),
        field("networks", TEXTS, "Its networks."),
        field("contact", MAYBE_TEXT, "Whom to call."),
        field("officer", MAYBE_TEXT, "Who gets its cases."),
        field("email", MAYBE_TEXT, "Where that one reads mail."),
        field("forwarders", TEXTS, "Its own DNS servers."),
    ],
);

const FIELD: &[Field] = &[
    field("field", TEXT, "Which."),
    field("old", TEXT, "What it was."),
    field("new", TEXT, "What it would be."),
];

const DIFFERENCE: Kind = Kind::Named(
    "Difference",
    &[
        field("id", TEXT, "Which agency."),
        field("name", TEXT, "Its name."),
        field(
            "change",
            Kind::Choice(&["added", "changed", "removed", "same", "kept"]),
            "What becomes of it.",
        ),
        field("fields", Kind::List(&Kind::Object(FIELD)), "What changes."),
    ],
);

const FAULT: &[Field] =
    &[field("place", TEXT, "Sheet and row, or line."), field("told", TEXT, "What is wrong, and the mend.")];

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/agencies", Right::See, agencies),
        id: "listAgencies",
        summary: "Lists agencies with their networks and officers; whoever sees one, that one.",
        tag: "agencies",
        query: &[],
        body: Body::None,
        answer: Kind::Page(&AGENCY),
    },
    Endpoint {
        route: Route {
            method: Method::POST,
            path: "/api/v1/agencies/import",
            needs: Needs::Right(Right::Manage),
            most: import::MOST_FILE,
            answer: import_sheet,
        },
        id: "importAgencies",
        summary: "Tells what a sheet of agencies and officers would change; with apply it is taken, unless anything in it is wrong.",
        tag: "agencies",
        query: &[
            field("apply", FLAG, "Whether it is taken."),
            field("replace", FLAG, "Whether agencies that were imported before and are not in it go."),
        ],
        body: Body::File,
        answer: Kind::Object(&[
            field("applied", FLAG, "Whether it was taken."),
            field("differences", Kind::List(&DIFFERENCE), "Agency by agency."),
            field("faults", Kind::List(&Kind::Object(FAULT)), "Why it cannot be taken."),
            field("told", MAYBE_TEXT, "What the server said when it put it in force."),
        ]),
    },
];

fn agencies(call: &Call) -> Result<Reply, Failure> {
    let viewer = call.viewer()?;
    let all = call.house.agencies();
    let shown = all.iter().filter(|agency| viewer.sees(Some(&agency.id)));
    Ok(list(shown.map(as_json).collect(), None))
}

fn as_json(agency: &Agency) -> Value {
    let texts = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "id": &*agency.id, "name": &*agency.name, "networks": texts(&agency.networks), "contact": agency.contact.as_deref(),
        "officer": agency.officer, "email": agency.email, "forwarders": texts(&agency.forwarders),
    })
}

fn import_sheet(call: &Call) -> Result<Reply, Failure> {
    let manner = if flag(call, "replace")? { Manner::Replace } else { Manner::Add };
    let (proposal, before) = import::propose(call, &call.body, manner)?;
    let is_wanted = flag(call, "apply")? && proposal.faults.is_empty();
    let told = if is_wanted { Some(import::apply(call, &proposal, &before)?) } else { None };
    let mut answer = proposal_json(&proposal);
    answer["applied"] = is_wanted.into();
    answer["told"] = told.into();
    Ok(Reply::Json(answer))
}

fn proposal_json(proposal: &Proposal) -> Value {
    let differences: Vec<Value> = proposal
        .differences
        .iter()
        .map(|it| {
            let (change, fields) = match &it.change {
                Change::Added => ("added", &[][..]),
                Change::Changed(fields) => ("changed", &**fields),
                Change::Removed => ("removed", &[][..]),
                Change::Same => ("same", &[][..]),
                Change::Kept => ("kept", &[][..]),
            };
            let fields: Vec<Value> = fields
                .iter()
                .map(|(field, old, new)| json!({ "field": field.as_str(), "old": old, "new": new }))
                .collect();
            json!({ "id": it.id, "name": it.name, "change": change, "fields": fields })
        })
        .collect();
    let faults: Vec<Value> = proposal
        .faults
        .iter()
        .map(|(place, fault)| json!({ "place": place.to_string(), "told": fault.to_string() }))
        .collect();
    json!({ "differences": differences, "faults": faults })
}
