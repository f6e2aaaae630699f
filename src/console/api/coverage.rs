//! Endpoint protection: machines, figures by agency, and what was imported.

use hyper::Method;
use serde_json::{Value, json};

use super::schema::{COUNT, FLAG, Field, Kind, MAYBE_TEXT, MAYBE_TIME, TEXT, TIME, field};
use super::{Body, Endpoint, Route, flag, get, limit, list, moment, parsed, some_time, time};
use crate::cases::CaseFilter;
use crate::console::access::Right;
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::import;
use crate::console::routes::Needs;
use crate::coverage::{DAY, Export, Query, Row, Standing};

const STANDINGS: Kind = Kind::Choice(&["protected", "unprotected", "unknown"]);

const ROW: Kind = Kind::Named(
    "Protection",
    &[
        field("machine", TEXT, "The machine as m-17, or the address."),
        field("host", MAYBE_TEXT, "What people call it."),
        field("owner", MAYBE_TEXT, "Who works at it."),
        field("agency", MAYBE_TEXT, "Its agency."),
        field("client", TEXT, "The address by which it asked last."),
        field(
            "last",
            MAYBE_TIME,
            "When it was seen asking last, to the day; null where its case alone is known.",
        ),
        field("standing", STANDINGS, "Whether it is protected."),
        field("product", MAYBE_TEXT, "By what."),
        field("version", MAYBE_TEXT, "… in which version."),
        field("heard", MAYBE_TIME, "When the product was heard of last."),
        field("export", MAYBE_TEXT, "The export that says so."),
        field("place", MAYBE_TEXT, "… and where in it."),
        field("ticket", MAYBE_TEXT, "Its open case that was seen last, where infected ones were asked for."),
        field("family", MAYBE_TEXT, "… and that one's family."),
    ],
);

const EXPORT: Kind = Kind::Named(
    "Export",
    &[
        field("name", TEXT, "By what its versions are known."),
        field("product", MAYBE_TEXT, "The product."),
        field("agency", MAYBE_TEXT, "The agency whose computers are in it."),
        field("as_of", TIME, "Of when it is."),
        field("taken", TIME, "When it was taken."),
        field("by", TEXT, "… by whom."),
        field("rows", COUNT, "Its computers."),
        field("matched", COUNT, "Those that are known machines or addresses."),
        field("faults", COUNT, "What could not be read of it."),
    ],
);

const FIGURES: Kind = Kind::Named(
    "Coverage",
    &[
        field("agency", MAYBE_TEXT, "The agency; null: of no known one."),
        field("machines", COUNT, "Machines that were seen asking."),
        field("protected", COUNT, "Of them, protected ones …"),
        field("unprotected", COUNT, "… unprotected ones …"),
        field("unknown", COUNT, "… and those of which nobody said anything."),
    ],
);

const SINCE: Field =
    field("since", TEXT, "Only machines that asked since: RFC 3339, or an age; 30d unless said otherwise.");

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/coverage", Right::See, machines),
        id: "listProtection",
        summary: "Lists machines that asked and whether they are protected; with infected, those with open cases of infections, each with the case that was seen last.",
        tag: "coverage",
        query: &[
            field("agency", TEXT, "Only this agency's."),
            field("standing", STANDINGS, "Only these."),
            field(
                "infected",
                FLAG,
                "Only infected machines: those with open cases other than of phishing and scans.",
            ),
            SINCE,
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Page(&ROW),
    },
    Endpoint {
        route: get("/api/v1/coverage/agencies", Right::See, agencies),
        id: "listCoverage",
        summary: "Tells how many machines of each agency are protected.",
        tag: "coverage",
        query: &[SINCE],
        body: Body::None,
        answer: Kind::Page(&FIGURES),
    },
    Endpoint {
        route: get("/api/v1/coverage/exports", Right::SeeProvince, exports),
        id: "listExports",
        summary: "Lists what was imported.",
        tag: "coverage",
        query: &[],
        body: Body::None,
        answer: Kind::Page(&EXPORT),
    },
    Endpoint {
        route: Route {
            method: Method::POST,
            path: "/api/v1/coverage/exports",
            needs: Needs::Right(Right::Manage),
            most: import::MOST_FILE,
            answer: take,
        },
        id: "importExport",
        summary: "Takes an inventory of endpoint protection in the place of its version before.",
        tag: "coverage",
        query: &[
            field(
                "product",
                TEXT,
                "What protects the computers in it, such as bkav or viettel, where it does not say so.",
            ),
            field("agency", TEXT, "The agency whose computers are in it, where it does not say so."),
            field("name", TEXT, "By what its versions are known; product and agency otherwise."),
        ],
        body: Body::File,
        answer: Kind::Object(&[
            field("name", TEXT, "By what its versions are known."),
            field("rows", COUNT, "Its computers."),
            field("before", COUNT, "Computers of the version before."),
            field("matched", COUNT, "Those that are known machines or addresses."),
            field(
                "faults",
                Kind::List(&Kind::Object(&[
                    field("place", TEXT, "Sheet and row, or line."),
                    field("told", TEXT, "What is wrong, and the mend."),
                ])),
                "What could not be read of it.",
            ),
        ]),
    },
];

fn since(call: &Call) -> Result<i64, Failure> {
    Ok(moment(call, "since")?.unwrap_or(call.now - 30 * DAY))
}

fn machines(call: &Call) -> Result<Reply, Failure> {
    let limit = limit(call)?;
    let standing =
        parsed(call, "standing", |text| Standing::of(text).ok_or("it is protected, unprotected or unknown"))?;
    if flag(call, "infected")? {
        return infected(call, standing, limit);
    }
    let query = Query {
        agency: call.query.find("agency").map(str::to_owned),
        standings: standing.into_iter().collect(),
        since: Some(since(call)?),
        after: parsed(call, "cursor", str::parse)?,
        limit: Some(limit + 1),
    };
    let found = call.data()?.protected(&query)?;
    let shown = &found[..found.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
    let next = shown.last().filter(|_| found.len() > shown.len()).map(|row| row.id.to_string());
    Ok(list(shown.iter().map(row_json).collect(), next))
}

fn infected(call: &Call, standing: Option<Standing>, limit: u64) -> Result<Reply, Failure> {
    use crate::cases::board::{Behind, Infected};
    let data = call.data()?;
    let filter = CaseFilter {
        infected: Some(Infected::Machines),
        agency: call.query.find("agency").map(str::to_owned),
        after: parsed(call, "cursor", str::parse::<Behind>)?,
        limit: Some(limit),
        ..CaseFilter::default()
    };
    // A page may be shorter than asked for: what has another standing is passed over.
    let cases = data.cases(&filter)?;
    let rows = data.protection_of(&cases)?;
    let shown = cases.iter().zip(&rows).filter(|(_, row)| {
        standing.is_none_or(|wanted| row.as_ref().map_or(Standing::Unknown, |row| row.standing) == wanted)
    });
    let items = shown.map(|(case, row)| {
        let mut value = row.as_ref().map_or_else(
            || {
                json!({
                    "machine": case.subject.to_string(), "host": case.host, "owner": null, "agency": case.agency,
                    "client": case.client, "last": null, "standing": "unknown", "product": null, "version": null,
                    "heard": null, "export": null, "place": null,
                })
            },
            row_json,
        );
        value["ticket"] = case.ticket.to_string().into();
        value["family"] = case.family.as_str().into();
        value
    });
    let last = cases.last().filter(|_| cases.len() as u64 == limit);
    let next = last.map(|case| Behind { last_hit: case.course.last_hit, id: case.id.0 }.to_string());
    Ok(list(items.collect(), next))
}

fn row_json(row: &Row) -> Value {
    json!({
        "machine": row.subject.to_string(), "host": row.host, "owner": row.owner, "agency": row.agency, "client": row.client,
        "last": time(row.last), "standing": row.standing.as_str(), "product": row.product, "version": row.version,
        "heard": some_time(row.heard), "export": row.export, "place": row.place, "ticket": null, "family": null,
    })
}

fn agencies(call: &Call) -> Result<Reply, Failure> {
    let figures = call.data()?.protection(since(call)?)?;
    let items = figures.into_iter().map(|(agency, it)| {
        json!({
            "agency": agency, "machines": it.machines, "protected": it.protected, "unprotected": it.unprotected,
            "unknown": it.unknown,
        })
    });
    Ok(list(items.collect(), None))
}

fn exports(call: &Call) -> Result<Reply, Failure> {
    let items = call.house.coverage()?.exports()?;
    Ok(list(items.iter().map(export_json).collect(), None))
}

fn export_json(it: &Export) -> Value {
    json!({
        "name": it.name, "product": it.product, "agency": it.agency, "as_of": time(it.as_of), "taken": time(it.taken), "by": it.by,
        "rows": it.rows, "matched": it.matched, "faults": it.faults,
    })
}

fn take(call: &Call) -> Result<Reply, Failure> {
    let wish = import::Wish {
        product: call.query.find("product"),
        agency: call.query.find("agency"),
        name: call.query.find("name"),
        file: None,
    };
    let done = import::take(call, &call.body, &wish)?;
    let faults: Vec<Value> = done
        .faults
        .iter()
        .map(|(place, fault)| json!({ "place": place.to_string(), "told": fault.to_string() }))
        .collect();
    Ok(Reply::Json(json!({
        "name": done.name, "rows": done.taken.rows, "before": done.taken.before, "matched": done.matched, "faults": faults,
    })))
}
