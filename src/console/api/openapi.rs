//! The OpenAPI 3.1 document, made of the table of routes, and errors as RFC 9457 has them.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Map, Value, json};

use super::schema::{self, Field};
use super::{Body, ENDPOINTS, Endpoint};
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::routes::Needs;
use crate::console::token;

/// Gives out the document.
pub(super) fn document(_: &Call) -> Result<Reply, Failure> {
    Ok(Reply::Json(made()))
}

/// The document.
pub(super) fn made() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas: BTreeMap<&str, Value> = BTreeMap::new();
    let mut add = |name: &'static str, fields: &'static [Field]| {
        schemas.insert(name, schema::object(fields, true));
    };
    for endpoint in ENDPOINTS.iter().copied().flatten() {
        endpoint.answer.named(&mut add);
        if let Body::Json(fields) = endpoint.body {
            fields.iter().for_each(|field| field.kind.named(&mut add));
        }
        let method = if endpoint.route.method == Method::POST { "post" } else { "get" };
        paths.entry(endpoint.route.path).or_default().insert(method.to_owned(), operation(endpoint));
    }
    schemas.insert(
        "Problem",
        json!({
            "type": "object",
            "description": "Why there is no such answer (RFC 9457).",
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string", "description": "What is wrong, and what to do." },
                "field": { "type": "string", "description": "The field of the query or the body that is wrong." },
            },
            "required": ["type", "title", "status", "detail"],
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SachDNS",
            "version": "1",
            "summary": "What the console shows, for programs.",
            "description": "Ask with `Authorization: Bearer TOKEN`; tokens are made on the account's page or by `sachdns account token`. \
                A token sees what its account sees, or one agency of it, and may what it was given of the account's rights. Times are \
                RFC 3339 in UTC. Lists have `items` and `next`; `next` goes into `cursor`. Errors are RFC 9457.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "There is no such answer: 401 no token that counts, 403 it may not, 404 nothing that it may see, 409 not \
                        now, 422 something asked for cannot be, 429 too much at once, 5xx the server is in trouble.",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint.route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    for field in endpoint.query {
        parameters.push(json!({
            "name": field.name,
            "in": "query",
            "required": field.is_required,
            "description": field.about,
            "schema": field.kind.schema(),
        }));
    }
    let right = match endpoint.route.needs {
        Needs::Right(right) => format!(" Needs the right `{}`.", token::word(right)),
        Needs::Session | Needs::Nothing => String::new(),
    };
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "description": format!("{}{right}", endpoint.summary),
        "tags": [endpoint.tag],
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Done.",
                "content": { "application/json": { "schema": endpoint.answer.schema() } },
            },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    match endpoint.body {
        Body::None => {}
        Body::Json(fields) => {
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema::object(fields, false) } },
            });
        }
        Body::File => {
            operation["requestBody"] = json!({
                "required": true,
                "description": "The file as it is: XLSX or CSV.",
                "content": { "application/octet-stream": {} },
            });
        }
    }
    operation
}

/// A failure as RFC 9457 has it.
pub(in crate::console) fn problem(status: u16, title: &str, failure: &Failure) -> Value {
    let mut problem =
        json!({ "type": "about:blank", "title": title, "status": status, "detail": failure.to_string() });
    if let Failure::Wrong { field, .. } = failure {
        problem["field"] = (*field).into();
    }
    problem
}
