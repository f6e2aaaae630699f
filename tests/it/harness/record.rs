//! The evidence, as `sachdns log --format jsonl` gives it.

use serde_json::Value;

/// The keys that every record has (their spelling is a promise to those who parse it).
pub(crate) const KEYS: [&str; 11] = [
    "time",
    "client",
    "agency",
    "qname",
    "qtype",
    "rcode",
    "action",
    "feed",
    "family",
    "latency_us",
    "transport",
];

/// One record.
#[derive(Debug, Clone)]
pub(crate) struct Record(pub(crate) Value);

impl Record {
    /// Reads JSON lines; a line that is no record with all keys fails the test.
    #[track_caller]
    pub(crate) fn read_all(text: &str) -> Vec<Self> {
        text.lines().map(Self::read).collect()
    }

    #[track_caller]
    fn read(line: &str) -> Self {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
        let object = value.as_object().unwrap_or_else(|| panic!("no object: {line}"));
        for key in KEYS {
            assert!(object.contains_key(key), "no key {key:?}: {line}");
        }
        let record = Self(value);
        record.time();
        assert!(record.0["latency_us"].is_u64(), "latency_us: {line}");
        assert!(["udp", "tcp", "dot", "doh", "doq"].contains(&record.text("transport")), "transport: {line}");
        record
    }

    /// A key's text; the empty string for null.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    /// A key that is true or false.
    #[track_caller]
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.0[key].as_bool().unwrap_or_else(|| panic!("{key} is neither true nor false: {self:?}"))
    }

    pub(crate) fn time(&self) -> jiff::Timestamp {
        self.text("time").parse().unwrap_or_else(|error| panic!("time: {error}: {self:?}"))
    }

    /// Fails the test unless these keys have these values; the empty string stands for null.
    #[track_caller]
    pub(crate) fn assert(&self, expected: &[(&str, &str)]) {
        for (key, value) in expected {
            let got = &self.0[*key];
            let is_same = if value.is_empty() { got.is_null() } else { got.as_str() == Some(value) };
            assert!(is_same, "{key} should be {value:?}: {}", self.0);
        }
    }
}
