//! Counters that cost a worker next to nothing, the text that Prometheus reads, and what is told of a server's health.
//!
//! What is counted, and what each figure is called, is for those who know it to say; nothing of ours is known here.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one writer, which only that writer adds to: no instruction here locks anything, and readers may be a moment late.
#[derive(Debug)]
pub struct Counters(Box<[AtomicU64]>);

impl Counters {
    /// So many, all zero.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds one to the counter of this number; nothing where there is none.
    #[inline]
    pub fn add(&self, number: usize) {
        if let Some(counter) = self.0.get(number) {
            // One writer: what was loaded is still there.
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// The counter of this number.
    pub fn value(&self, number: usize) -> u64 {
        self.0.get(number).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of which kind a family of figures is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// The text of figures, as Prometheus reads it (text format 0.0.4).
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

/// What the text is, for Content-Type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Exposition {
    /// Begins a family of figures; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Into a text it goes always.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {word}");
        self.family = name;
        self
    }

    /// A sample of the family that was begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl fmt::Display) -> &mut Self {
        self.text.push_str(self.family);
        for (number, (label, text)) in labels.iter().enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for char in text.chars() {
                match char {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    char => self.text.push(char),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }

    /// A family with one sample.
    pub fn single(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: impl fmt::Display,
    ) -> &mut Self {
        self.family(name, kind, help).sample(&[], value)
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.text
    }
}

/// How a part of the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// As it should be.
    Well,
    /// It does its work, and somebody should look after it.
    Degraded,
    /// It does not do its work.
    Failed,
}

impl Condition {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// A part of the server, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// How it is.
    pub condition: Condition,
    /// Why, where it is not well; for anybody, so without names and addresses.
    pub told: String,
    /// Whether queries are not answered as they should be where it failed.
    pub is_needed: bool,
}

/// How a server is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Part by part.
    pub parts: Vec<Part>,
}

impl Health {
    /// Adds a part.
    pub fn add(
        &mut self,
        name: &'static str,
        is_needed: bool,
        condition: Condition,
        told: impl Into<String>,
    ) {
        let told = if condition == Condition::Well { String::new() } else { told.into() };
        self.parts.push(Part { name, condition, told, is_needed });
    }

    /// The worst that there is.
    pub fn condition(&self) -> Condition {
        self.parts.iter().map(|part| part.condition).max().unwrap_or(Condition::Well)
    }

    /// Whether queries are answered as they should be: only then should any be sent here.
    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|part| !part.is_needed || part.condition != Condition::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_text() {
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "Things, \\ of\nall kinds.");
        page.sample(&[("kind", "x"), ("name", "a\"b\\c\nd")], 3).sample(&[], 4_u64);
        page.single("b", Kind::Gauge, "More.", 0.5);
        let expected = "# HELP a_total Things, \\\\ of\\nall kinds.\n# TYPE a_total counter\n\
                        a_total{kind=\"x\",name=\"a\\\"b\\\\c\\nd\"} 3\na_total 4\n# HELP b More.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn only_what_is_needed_makes_a_server_unready() {
        let mut health = Health::default();
        health.add("log", false, Condition::Failed, "the disk");
        assert!(health.is_ready() && health.condition() == Condition::Failed);
        health.add("workers", true, Condition::Degraded, "slow");
        assert!(health.is_ready());
        health.add("upstreams", true, Condition::Failed, "silent");
        assert!(!health.is_ready());
    }

    #[test]
    fn counters_count() {
        let counters = Counters::new(2);
        counters.add(1);
        counters.add(1);
        counters.add(2);
        assert_eq!((counters.value(0), counters.value(1), counters.value(2)), (0, 2, 0));
    }
}
