//! Machines, and who came to the sinkhole.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::schema::{COUNT, FLAG, Kind, MAYBE_TEXT, MAYBE_TIME, TEXT, TEXTS, TIME, field};
use super::{Body, Endpoint, flag, get, limit, list, moment, parsed, some_time, time};
use crate::console::access::Right;
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::evidence::contacts::{Contact, ContactFilter};
use crate::identity::list::Query;
use crate::identity::{ALWAYS, Interval, Machine};
use crate::name::Name;

const MACHINE: Kind = Kind::Named(
    "Machine",
    &[
        field("id", TEXT, "Its number, as m-17."),
        field("host", MAYBE_TEXT, "What it is called."),
        field("macs", TEXTS, "Its hardware addresses."),
        field("address", MAYBE_TEXT, "The address that it had last."),
        field("agency", MAYBE_TEXT, "Its agency."),
        field("unit", MAYBE_TEXT, "The part of the agency."),
        field("owner", MAYBE_TEXT, "Who works at it."),
        field("model", MAYBE_TEXT, "What it is."),
        field("protection", MAYBE_TEXT, "Its endpoint protection, by the inventory of machines."),
        field("notes", MAYBE_TEXT, "What else the inventory says."),
        field("first", TIME, "When a source first spoke of it."),
        field("last", TIME, "… and last."),
    ],
);

const INTERVAL: Kind = Kind::Named(
    "Interval",
    &[
        field("address", TEXT, "The address."),
        field("from", MAYBE_TIME, "From when on; null: always."),
        field("to", MAYBE_TIME, "Until when; null: it does not end."),
        field("source", TEXT, "What says so."),
        field("is_inventory", FLAG, "Whether that is an inventory, and no lease."),
    ],
);

const CONTACT: Kind = Kind::Named(
    "Contact",
    &[
        field("time", TIME, "When it came."),
        field("client", TEXT, "From which address."),
        field("agency", MAYBE_TEXT, "Whose network that is."),
        field("source_port", COUNT, "From which port."),
        field("local", TEXT, "To which address and port."),
        field("via", TEXT, "What it spoke."),
        field("name", MAYBE_TEXT, "For which name."),
        field("path", MAYBE_TEXT, "The path of the request."),
        field("agent", MAYBE_TEXT, "What the client calls itself."),
        field("ja4", MAYBE_TEXT, "The fingerprint of its TLS."),
        field("count", COUNT, "How many alike within a minute this stands for."),
    ],
);

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        route: get("/api/v1/machines", Right::See, machines),
        id: "listMachines",
        summary: "Lists machines, those that a source spoke of last first.",
        tag: "machines",
        query: &[
            field("agency", TEXT, "Only this agency's."),
            field("find", TEXT, "Only those with this in their name, owner, unit or MAC."),
            field("since", TEXT, "Only those that a source spoke of since: RFC 3339, or an age such as 90d."),
            field("randomised", FLAG, "Only those that are known by randomised MACs alone."),
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Page(&MACHINE),
    },
    Endpoint {
        route: get("/api/v1/machines/{id}", Right::See, machine),
        id: "getMachine",
        summary: "Tells of one machine: its addresses over time and its cases. The look is recorded in the audit.",
        tag: "machines",
        query: &[],
        body: Body::None,
        answer: Kind::Object(&[
            field("machine", MACHINE, "The machine."),
            field("addresses", Kind::List(&INTERVAL), "Which addresses it had, the latest first."),
            field("cases", Kind::List(&super::cases::CASE), "Its cases."),
        ]),
    },
    Endpoint {
        route: get("/api/v1/contacts", Right::See, contacts),
        id: "listContacts",
        summary: "Lists contacts with the sinkhole, the newest first.",
        tag: "machines",
        query: &[
            field("client", TEXT, "Only from this address. The look is recorded in the audit."),
            field("agency", TEXT, "Only from this agency's networks."),
            field("name", TEXT, "Only for this name and those below it."),
            field("port", COUNT, "Only to this port."),
            field("since", TEXT, "From this time on: RFC 3339, or an age such as 2h."),
            field("until", TEXT, "Before this time."),
            field("limit", COUNT, "At most so many, 100 unless said otherwise, up to 1000."),
            field("cursor", TEXT, "The place behind which to go on."),
        ],
        body: Body::None,
        answer: Kind::Page(&CONTACT),
    },
];

fn machines(call: &Call) -> Result<Reply, Failure> {
    let limit = limit(call)?;
    // Places in this list are how far it was read: it is in the order of the last word on each machine.
    let from = parsed(call, "cursor", str::parse::<u64>)?.unwrap_or(0).min(MOST_READ);
    let query = Query {
        agency: call.query.find("agency"),
        find: call.query.find("find"),
        since: moment(call, "since")?,
        is_randomised: flag(call, "randomised")?,
        limit: Some(from + limit + 1),
    };
    let found = call.data()?.known_machines(&query)?;
    let is_more = found.len() as u64 > from + limit;
    let skipped = usize::try_from(from).unwrap_or(usize::MAX);
    let shown = found.iter().skip(skipped).take(usize::try_from(limit).unwrap_or(usize::MAX));
    let items = shown.map(|(machine, address)| as_json(machine, *address)).collect();
    Ok(list(items, is_more.then(|| (from + limit).to_string())))
}

/// How far the list of machines can be read.
const MOST_READ: u64 = 1_000_000;

fn machine(call: &Call) -> Result<Reply, Failure> {
    let id = call.place("id").parse().map_err(|_| Failure::Absent)?;
    let (machine, addresses, cases) = call.data()?.known_machine(id)?;
    let addresses_json: Vec<Value> = addresses.iter().map(interval).collect();
    let cases: Vec<Value> = cases.iter().map(super::cases::as_json).collect();
    let last = addresses.first().map(|it| it.address);
    Ok(Reply::Json(
        json!({ "machine": as_json(&machine, last), "addresses": addresses_json, "cases": cases }),
    ))
}

fn as_json(machine: &Machine, address: Option<IpAddr>) -> Value {
    let macs: Vec<String> = machine.macs.iter().map(ToString::to_string).collect();
    json!({
        "id": machine.id.to_string(), "host": machine.host, "macs": macs, "address": address, "agency": machine.agency,
        "unit": machine.unit, "owner": machine.owner, "model": machine.model, "protection": machine.protection,
        "notes": machine.notes, "first": time(machine.first), "last": time(machine.last),
    })
}

fn interval(it: &Interval) -> Value {
    json!({
        "address": it.address, "from": some_time(Some(it.from).filter(|from| *from != ALWAYS)), "to": some_time(it.to),
        "source": it.source, "is_inventory": it.is_inventory,
    })
}

fn contacts(call: &Call) -> Result<Reply, Failure> {
    let most = usize::try_from(limit(call)?).unwrap_or(usize::MAX);
    let name = |text: &str| Name::from_host(text).map_err(|error| error.to_string());
    // Contacts of one microsecond are told apart by their numbers.
    let after = parsed(call, "cursor", |text| {
        let place = text.split_once('.').and_then(|(time, id)| time.parse().ok().zip(id.parse().ok()));
        place.ok_or("no place in this list")
    })?;
    let filter = ContactFilter {
        client: parsed(call, "client", str::parse)?,
        name: parsed(call, "name", name)?,
        port: parsed(call, "port", str::parse)?,
        since: moment(call, "since")?,
        until: moment(call, "until")?,
        after,
        ..ContactFilter::default()
    };
    let found = call.data()?.contacts(&filter, call.query.find("agency"), most)?;
    let next = found.after.map(|(time, id)| format!("{time}.{id}"));
    let agency = |contact: &Contact| call.house.agency_of(contact.client);
    Ok(list(found.rows.iter().map(|it| contact_json(it, agency(it).as_deref())).collect(), next))
}

fn contact_json(it: &Contact, agency: Option<&str>) -> Value {
    json!({
        "time": time(it.time), "client": it.client, "agency": agency, "source_port": it.source_port,
        "local": it.local.to_string(), "via": it.via.as_str(), "name": it.name, "path": it.path, "agent": it.agent,
        "ja4": it.ja4, "count": it.count,
    })
}
