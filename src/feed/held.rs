//! Indicators that wait for what their document says of them further down.
//!
//! Bounded: where more would wait than memory should hold, all of them go on with what is known.

use super::output::{Output, Traits, excerpt};
use super::{Fault, Value};

/// Indicators that wait at most.
const MAX_HELD: usize = 100_000;
/// Octets of their values, and of the diagnostics among them.
const MAX_OCTETS: usize = 32 * 1024 * 1024;

/// What waits, each with its line and whom it belongs to.
pub(super) struct Held<K> {
    items: Vec<Item<K>>,
    octets: usize,
}

pub(super) struct Item<K> {
    pub(super) line: u64,
    pub(super) owner: K,
    pub(super) traits: Traits,
    value: Result<Value, (Fault, String)>,
}

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self { items: Vec::new(), octets: 0 }
    }
}

impl<K> Held<K> {
    /// Lets `value`, which was read from `text`, wait. Diagnostics wait too, so that all keep their order.
    pub(super) fn push(
        &mut self,
        line: u64,
        owner: K,
        value: Result<Value, Fault>,
        traits: Traits,
        text: &str,
    ) {
        let value = value.map_err(|fault| (fault, excerpt(text)));
        self.octets += match &value {
            Ok(Value::Url(url)) => url.len(),
            _ => 64,
        };
        self.items.push(Item { line, owner, traits, value });
    }

    /// Whether it is time to let go.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= MAX_HELD || self.octets >= MAX_OCTETS
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Those that came after the first `count`.
    pub(super) fn since(&mut self, count: usize) -> &mut [Item<K>] {
        self.items.get_mut(count..).unwrap_or_default()
    }

    /// Makes a fault of what those list that came after the first `count`.
    pub(super) fn refuse_since(&mut self, count: usize, fault: &Fault) {
        for item in self.since(count) {
            if let Ok(value) = &item.value {
                item.value = Err((fault.clone(), excerpt(&value.to_string())));
            }
        }
    }

    /// Lets all of them go, each after `complete` has seen it.
    pub(super) fn release(&mut self, out: &mut Output<'_>, mut complete: impl FnMut(&mut Item<K>)) {
        let now = out.line;
        self.octets = 0;
        for mut item in self.items.drain(..) {
            out.line = item.line;
            complete(&mut item);
            match item.value {
                Ok(value) => out.indicator(value, item.traits, None),
                Err((fault, text)) => out.fault(fault, &text),
            }
        }
        out.line = now;
    }
}
