//! The store's files are Parquet to others, too: DuckDB reads in them what `sachdns log` says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::archive::archived;

/// Prints each combination of values that there is with its count, and what is left of the numbers.
const SCRIPT: &str = "
import duckdb, json, sys
files = sys.argv[1] + '/*.parquet'
sql = lambda select, rest='': duckdb.sql('SELECT ' + select + ' FROM \\'' + files + '\\'' + rest)
rows = sql('client, agency, qname, qtype, rcode, action, feed, hit, transport, count(*)', ' GROUP BY ALL').fetchall()
first, last, latency, qclass = sql('epoch_us(min(time)), epoch_us(max(time)), sum(latency_us), max(qclass)').fetchall()[0]
print(json.dumps({'rows': rows, 'first': first, 'last': last, 'latency': int(latency), 'qclass': qclass}))
";

#[test]
fn duckdb_reads_what_the_log_says() {
    let house = archived(&[
        ("127.0.0.1", "www.example.test"),
        ("127.0.0.1", "www.example.test"),
        ("127.0.0.1", "evil.example.test"),
        ("127.1.0.5", "www.evil.example.test"),
        ("127.1.0.6", "nothing.example.test"),
    ]);
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duckdb/bin/python");
    assert!(python.exists(), "{}: run tests/install-deps.sh", python.display());
    let store = house.path().join("data/log/store");
    let output = Command::new(python).args(["-c", SCRIPT]).arg(store).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for row in read["rows"].as_array().unwrap() {
        let (count, values) = row.as_array().unwrap().split_last().unwrap();
        *counted.entry(format!("{values:?}")).or_default() += count.as_u64().unwrap();
    }
    let text = house.run("log", &["--format", "jsonl"]).well().stdout;
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = ["client", "agency", "qname", "qtype", "rcode", "action", "feed", "hit", "transport"];
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for record in &records {
        let values = keys.map(|key| record[key].clone());
        *expected.entry(format!("{values:?}")).or_default() += 1;
    }
    assert_eq!(counted, expected);
    assert_eq!(counted.values().sum::<u64>(), 5);
    let latencies: u64 = records.iter().map(|record| record["latency_us"].as_u64().unwrap()).sum();
    assert_eq!((read["latency"].as_u64(), read["qclass"].as_u64()), (Some(latencies), Some(1)));
    let times: Vec<i64> = house.log(&[]).iter().map(|record| record.time().as_microsecond()).collect();
    assert_eq!(read["first"].as_i64(), times.last().copied());
    assert_eq!(read["last"].as_i64(), times.first().copied());
}
