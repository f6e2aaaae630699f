//! What a listed name costs: nanoseconds a look-up, octets a name, time to build and to open.
//!
//! `cargo bench --bench lookup` measures 100 thousand random names, the real list of 831 thousand
//! names with their families where `../shared/data` holds it, and 5 million random names.
//! `SACHDNS_BENCH=once` runs the smallest size once, so that the bench cannot rot.

mod random;

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use random::Random;
use sachdns::feed::{self, Format, Indicator, Parsed, Reading, Value};
use sachdns::image;
use sachdns::name::{Key, Name};
use sachdns::policy::action::Action;
use sachdns::policy::compile::{Compiler, Listing};
use sachdns::policy::decide::{Unobserved, decide};
use sachdns::policy::rule::{Feed, FeedKind, Mode};
use sachdns::policy::trigger::Scope;

const REAL_LIST: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/large/maltrail-domains-by-family.tsv.xz");
/// Look-ups a repetition, and repetitions; the median is shown.
const LOOK_UPS: usize = 200_000;
const REPETITIONS: usize = 7;

fn main() {
    let is_short = std::env::var_os("SACHDNS_BENCH").is_some_and(|value| value == "once");
    println!("| list | names | octets a name | build | open and verify | hit | below a hit | miss |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    if is_short {
        measure("random", &random_list(10_000), 1);
        return;
    }
    measure("random", &random_list(100_000), REPETITIONS);
    match real_list() {
        Some(list) => measure("real, with families", &list, REPETITIONS),
        None => println!("| real, with families | not on this machine | | | | | | |"),
    }
    measure("random", &random_list(5_000_000), REPETITIONS);
}

type List = Vec<(Name, Option<Arc<str>>)>;

fn measure(kind: &str, list: &[(Name, Option<Arc<str>>)], repetitions: usize) {
    let folder = std::env::temp_dir().join(format!("sachdns-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let path = folder.join("policy.img");

    let begun = Instant::now();
    let mut compiler = Compiler::new(vec![Feed::new("bench".into(), FeedKind::Threat)]);
    for (name, family) in list {
        let (scope, action, mode) = (Scope::Subtree, Action::Sinkhole, Mode::Enforced);
        let listing = Listing { feed: 0, scope, action, mode, family: family.as_ref(), severity: None };
        compiler.add(name, listing).expect("far below 4 GiB");
    }
    let compiled = compiler.finish().expect("in memory");
    image::write(&path, &compiled, &[0; 32], 0).expect("the image can be written");
    let build = begun.elapsed();
    drop(compiled);

    let mut opens: Vec<Duration> = (0..repetitions)
        .map(|_| {
            let begun = Instant::now();
            black_box(image::open(&path).expect("the image was just written"));
            begun.elapsed()
        })
        .collect();
    let image = image::open(&path).expect("the image was just written");
    let names = image.facts.name_count;
    let octets = image.facts.file_len as f64 / names as f64;

    // Spread over the whole list in an order that no cache can guess.
    let mut random = Random(1);
    let chosen: Vec<&Name> = (0..LOOK_UPS).map(|_| &list[random.below(list.len())].0).collect();
    let hits: Vec<Name> = chosen.iter().map(|name| (*name).clone()).collect();
    let below: Vec<Name> = chosen.iter().map(|name| child(name)).collect();
    let misses: Vec<Name> = (0..LOOK_UPS).map(|_| random_name(&mut random)).collect();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..repetitions {
        for (asked, times) in [&hits, &below, &misses].into_iter().zip(&mut times) {
            let begun = Instant::now();
            let mut found = 0;
            for name in asked {
                let key = Key::from_wire(black_box(name.as_wire())).expect("a Name is valid");
                found += usize::from(decide(&image.index, &key, &mut Unobserved).ruling.is_some());
            }
            black_box(found);
            times.push(begun.elapsed() / asked.len() as u32);
        }
    }
    let [hit, below, miss] = times.map(|mut times| median(&mut times).as_nanos());
    println!(
        "| {kind} | {names} | {octets:.2} | {} ms | {:.1} ms | {hit} ns | {below} ns | {miss} ns |",
        build.as_millis(),
        median(&mut opens).as_secs_f64() * 1e3,
    );
    std::fs::remove_dir_all(&folder).expect("the temporary folder is ours");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn random_list(count: usize) -> List {
    let mut random = Random(7);
    (0..count).map(|_| (random_name(&mut random), None)).collect()
}

fn random_name(random: &mut Random) -> Name {
    Name::from_host(&random.name()).expect("letters and digits")
}

fn child(name: &Name) -> Name {
    Name::from_wire(&[b"\x03www", name.as_wire()].concat()).unwrap_or_else(|| name.clone())
}

fn real_list() -> Option<List> {
    let mut xz = Command::new("xz")
        .args(["-dc", REAL_LIST])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut parsed = Parsed::default();
    let reading = Reading { format: Format::Plain, ..Reading::default() };
    feed::parse(xz.stdout.take()?, &reading, &mut parsed).ok()?;
    if !xz.wait().ok()?.success() {
        return None;
    }
    let list = parsed.indicators.into_iter().filter_map(|Indicator { value, family, .. }| match value {
        Value::Name(name, _) => Some((name, family)),
        _ => None,
    });
    Some(list.collect())
}
