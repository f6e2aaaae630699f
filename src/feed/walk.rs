//! A walk through a JSON text of any shape, as a stream of what is met.
//!
//! Keeps nothing but the way to where it is; what the keys mean is for the formats to know.

use std::cell::Cell;
use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::bounded::Bounded;

/// Takes what a walk meets. The elements of an array have the key of the array.
pub(super) trait Steps {
    /// An object begins.
    fn begin(&mut self, key: Option<&str>, line: u64);
    /// A string, a number or a truth value; null is none.
    fn scalar(&mut self, key: Option<&str>, text: &str, line: u64);
    /// The same as an element of an array.
    fn element(&mut self, key: Option<&str>, text: &str, line: u64) {
        self.scalar(key, text, line);
    }
    /// The object that began last ends.
    fn end(&mut self, line: u64);
    /// Whether what lies under this key is passed over.
    fn is_skipped(&self, key: &str) -> bool;
}

/// Walks through one JSON text to its end.
///
/// # Errors
/// When it is no JSON, or cut off. What was met until then has been handed on.
pub(super) fn walk(reader: impl Read, line: &Cell<u64>, steps: &mut dyn Steps) -> serde_json::Result<()> {
    let mut text = serde_json::Deserializer::from_reader(Bounded::new(reader, line));
    Walk { key: None, is_element: false, line, steps }.deserialize(&mut text)?;
    text.end()
}

struct Walk<'a> {
    key: Option<&'a str>,
    is_element: bool,
    line: &'a Cell<u64>,
    steps: &'a mut dyn Steps,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn scalar(self, text: &str) {
        if self.is_element {
            self.steps.element(self.key, text, self.line.get());
        } else {
            self.steps.scalar(self.key, text, self.line.get());
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { key, line, steps, .. } = self;
        steps.begin(key, line.get());
        while let Some(key) = map.next_key::<String>()? {
            if steps.is_skipped(&key) {
                map.next_value::<serde::de::IgnoredAny>()?;
            } else {
                map.next_value_seed(Walk { key: Some(&key), is_element: false, line, steps: &mut *steps })?;
            }
        }
        steps.end(line.get());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { key, line, steps, .. } = self;
        while seq.next_element_seed(Walk { key, is_element: true, line, steps: &mut *steps })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.scalar(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(&value.to_string());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
