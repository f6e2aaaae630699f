//! `make run` works as its configuration and list stand in the repository.

use std::fs;
use std::path::Path;

use crate::harness::house::House;
use crate::harness::{http, nsd};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The quick start's configuration and lists, with ports of our own and our upstream.
fn house() -> House {
    let mut config = fs::read_to_string(repository().join("config/quickstart.toml")).unwrap();
    for (written, ours) in [
        ("\"127.0.0.1:5353\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"127.0.0.1:8080\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"1.1.1.1:53\", \"9.9.9.9:53\"", format!("\"{}\"", nsd::address())),
    ] {
        assert_eq!(config.matches(written).count(), 1, "{written} in config/quickstart.toml");
        config = config.replace(written, &ours);
    }
    let house = House::with_config(&config);
    fs::create_dir(house.path().join("zones")).unwrap();
    for entry in fs::read_dir(repository().join("zones")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), house.path().join("zones").join(entry.file_name())).unwrap();
    }
    house
}

#[test]
fn the_configuration_as_it_stands_is_sound() {
    let house = House::with_config("");
    let finished = crate::harness::run(
        house.command(&["check", "--config", "config/quickstart.toml"]).current_dir(repository()),
    );
    assert!(finished.status.success(), "{finished:#?}");
}

#[test]
fn it_sinkholes_the_list_and_shows_the_page() {
    let server = house().serve();
    let list = server.house().read("zones/quickstart.txt");
    let names: Vec<_> = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(names.len() > 200, "a real list");
    for qname in [names[0], names[names.len() / 2], "malware-demo.test", "www.malware-demo.test"] {
        assert_eq!(server.dig().ask(qname, "A").rdata("A"), ["127.0.0.1"], "{qname}");
        assert_eq!(server.dig().ask(qname, "AAAA").rdata("AAAA"), ["::1"], "{qname}");
    }
    assert_eq!(server.dig().ask("www.example.test", "A").rdata("A"), ["192.0.2.80"]);

    let page = http::fetch(server.http.unwrap(), "malware-demo.test", "/");
    assert!(page.body.contains("malware-demo.test"), "{page:#?}");

    let records = server.log(&["--hits", "--name", "malware-demo.test"]);
    assert_eq!(records.len(), 4, "{records:#?}");
    assert!(!records[0].text("agency").is_empty(), "the quick start has an agency for loopback");
}
