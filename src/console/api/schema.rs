//! What answers and bodies are made of, said once: for the OpenAPI document, for the page that shows it, and for the tests that hold
//! real answers against it.

use serde_json::{Value, json};

/// A kind of value.
#[derive(Debug, Clone, Copy)]
pub(in crate::console) enum Kind {
    /// A text.
    Text,
    /// A time, RFC 3339.
    Time,
    /// A whole number that is not negative.
    Count,
    /// Yes or no.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// An object of these fields.
    Object(&'static [Field]),
    /// … that has a name of its own in the document.
    Named(&'static str, &'static [Field]),
    /// A list.
    List(&'static Kind),
    /// The value, or `null`.
    Maybe(&'static Kind),
    /// A list with the place behind it.
    Page(&'static Kind),
    /// An object with keys of its own, whose values are such.
    Map(&'static Kind),
}

/// A field of an object, or of a query.
#[derive(Debug, Clone, Copy)]
pub(in crate::console) struct Field {
    /// What it is called.
    pub(in crate::console) name: &'static str,
    /// What it holds.
    pub(in crate::console) kind: Kind,
    /// What it says.
    pub(in crate::console) about: &'static str,
    /// Whether it must be there, in a query or a body. In answers all are.
    pub(in crate::console) is_required: bool,
}

/// A field that is always there in answers, and may be left out in queries and bodies.
pub(in crate::console) const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about, is_required: false }
}

/// One that must be there in queries and bodies too.
pub(in crate::console) const fn required(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about, is_required: true }
}

pub(in crate::console) const TEXT: Kind = Kind::Text;
pub(in crate::console) const TIME: Kind = Kind::Time;
pub(in crate::console) const COUNT: Kind = Kind::Count;
pub(in crate::console) const FLAG: Kind = Kind::Flag;
pub(in crate::console) const TEXTS: Kind = Kind::List(&Kind::Text);
pub(in crate::console) const MAYBE_TEXT: Kind = Kind::Maybe(&Kind::Text);
pub(in crate::console) const MAYBE_TIME: Kind = Kind::Maybe(&Kind::Time);

impl Kind {
    /// As JSON Schema (2020-12), with references to what has a name.
    pub(in crate::console) fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
            Self::Count => json!({ "type": "integer", "minimum": 0 }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Choice(words) => json!({ "type": "string", "enum": words }),
            Self::Object(fields) => object(fields, true),
            Self::Named(name, _) => json!({ "$ref": format!("#/components/schemas/{name}") }),
            Self::List(kind) => json!({ "type": "array", "items": kind.schema() }),
            Self::Maybe(kind) => json!({ "anyOf": [kind.schema(), { "type": "null" }] }),
            Self::Page(kind) => json!({
                "type": "object",
                "properties": {
                    "items": { "type": "array", "items": kind.schema() },
                    "next": { "type": ["string", "null"], "description": "Goes into cursor for what comes behind; null: there is no more." },
                },
                "required": ["items", "next"],
                "additionalProperties": false,
            }),
            Self::Map(kind) => json!({ "type": "object", "additionalProperties": kind.schema() }),
        }
    }

    /// Calls `visit` with everything in it that has a name.
    pub(in crate::console) fn named(&self, visit: &mut dyn FnMut(&'static str, &'static [Field])) {
        match self {
            Self::Named(name, fields) => {
                visit(name, fields);
                fields.iter().for_each(|field| field.kind.named(visit));
            }
            Self::Object(fields) => fields.iter().for_each(|field| field.kind.named(visit)),
            Self::List(kind) | Self::Maybe(kind) | Self::Page(kind) | Self::Map(kind) => kind.named(visit),
            Self::Text | Self::Time | Self::Count | Self::Flag | Self::Choice(_) => {}
        }
    }
}

/// An object as JSON Schema; in answers every field is there.
pub(in crate::console) fn object(fields: &[Field], is_answer: bool) -> Value {
    let properties: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = field.kind.schema();
            schema["description"] = field.about.into();
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| is_answer || field.is_required).map(|field| field.name).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// What of an answer is not as it was said, with the path to it.
#[cfg(test)]
pub(in crate::console) fn mismatch(kind: &Kind, value: &Value, path: &str) -> Option<String> {
    let wrong = |expected: &str| Some(format!("{path}: {value} is not {expected}"));
    let object_of = |fields: &'static [Field]| {
        let Some(object) = value.as_object() else { return wrong("an object") };
        if let Some(key) = object.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
            return Some(format!("{path}: {key:?} is not described"));
        }
        fields.iter().find_map(|field| match object.get(field.name) {
            None => Some(format!("{path}: {:?} is missing", field.name)),
            Some(value) => mismatch(&field.kind, value, &format!("{path}.{}", field.name)),
        })
    };
    let list_of = |kind: &Kind, value: &Value| {
        let items = value.as_array()?.iter().enumerate();
        let mut items = items.map(|(number, item)| mismatch(kind, item, &format!("{path}[{number}]")));
        items.find_map(|it| it)
    };
    match kind {
        Kind::Text if !value.is_string() => wrong("a text"),
        Kind::Time if value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_err()) => {
            wrong("a time")
        }
        Kind::Count if !value.is_u64() => wrong("a count"),
        Kind::Flag if !value.is_boolean() => wrong("true or false"),
        Kind::Choice(words) if value.as_str().is_none_or(|text| !words.contains(&text)) => {
            wrong(&words.join(" or "))
        }
        Kind::Text | Kind::Time | Kind::Count | Kind::Flag | Kind::Choice(_) => None,
        Kind::Object(fields) | Kind::Named(_, fields) => object_of(fields),
        Kind::List(_) if !value.is_array() => wrong("a list"),
        Kind::List(kind) => list_of(kind, value),
        Kind::Maybe(_) if value.is_null() => None,
        Kind::Maybe(kind) => mismatch(kind, value, path),
        Kind::Page(_) if !value["items"].is_array() => wrong("a list with its next place"),
        Kind::Page(_) if !(value["next"].is_string() || value["next"].is_null()) => {
            wrong("a list with its next place")
        }
        Kind::Page(kind) => list_of(kind, &value["items"]),
        Kind::Map(kind) => match value.as_object() {
            None => wrong("an object"),
            Some(object) => {
                object.iter().find_map(|(key, value)| mismatch(kind, value, &format!("{path}.{key}")))
            }
        },
    }
}
