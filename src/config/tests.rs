//! The sample file holds every setting with its default; faults come all at once, with their places.

use std::path::Path;

use super::*;

const SAMPLE: &str = include_str!("../../config/sachdns.toml");

/// Everything but where it was read from.
fn content(config: &Config) -> String {
    format!("{:?}", Config { path: PathBuf::new(), lines: BTreeMap::new(), ..config.clone() })
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(Path::new("sachdns.toml"), text)
}

/// The sample with its examples of `[[feed]]` and `[[agency]]` in use.
fn sample_with_examples() -> String {
    SAMPLE.replace("\n#: ", "\n").replace("\n#:", "\n#")
}

#[test]
fn the_sample_is_the_defaults() {
    assert_eq!(content(&parse(SAMPLE).unwrap()), content(&parse("").unwrap()));
}

#[test]
fn the_samples_examples_are_the_defaults_of_their_tables() {
    let with_examples = parse(&sample_with_examples()).unwrap();
    let feed = &with_examples.feeds[0];
    let bare = parse("[[feed]]\nname = \"authority\"\nsource = \"zones/quickstart.txt\"\n").unwrap();
    assert_eq!(*feed, bare.feeds[0]);
    assert_eq!(&*with_examples.agencies[0].id, "so-tttt");
    let route = "[[route]]\ndomain = \"agency.example.vn\"\nupstreams = [\"192.0.2.53:53\"]\n";
    assert_eq!(with_examples.forward.routes, parse(route).unwrap().forward.routes);
}

#[test]
fn the_sample_holds_every_setting() {
    let mut settings = file::all_settings();
    settings.sort();
    settings.dedup();
    assert!(settings.len() > 25);
    let text = sample_with_examples();
    let sample = parse(&text).unwrap();
    for setting in settings {
        assert!(sample.lines.contains_key(&setting), "{setting} is not in config/sachdns.toml");
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let faults = parse(
        "data_dir = 7\n\
         [server]\n\
         lisen = [\"127.0.0.1:53\"]\n\
         allow = [\"10.0.0.1/8\"]\n\
         workers = 300\n\
         [resolver]\n\
         mode = \"recursive\"\n\
         upstreams = []\n\
         [sinkhole]\n\
         ipv4 = \"fd00::1\"\n\
         [[feed]]\n\
         name = \"a\"\n\
         source = \"/nonexistent/list.txt\"\n\
         format = \"stixx\"\n\
         action = \"block\"\n\
         [[agency]]\n\
         id = \"x y\"\n\
         [log]\n\
         sync = \"0s\"\n\
         max_size = \"50\"\n",
    )
    .unwrap_err();
    let got: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
    let expected = [
        ("sachdns.toml:1: data_dir: is a number, but must be a text in quotes", ""),
        ("sachdns.toml:3: server.lisen: no such setting", "did you mean `listen`?"),
        ("sachdns.toml:4: server.allow: ", "the network is 10.0.0.0/8"),
        ("sachdns.toml:5: server.workers: ", "0"),
        ("sachdns.toml:7: resolver.mode: ", "\"recurse\""),
        ("sachdns.toml:8: resolver.upstreams: ", "such as"),
        ("sachdns.toml:10: sinkhole.ipv4: ", "10.10.10.10"),
        ("sachdns.toml:14: feed.format: ", "no format is called \"stixx\""),
        ("sachdns.toml:15: feed.action: ", "sinkhole"),
        ("sachdns.toml:16: agency.name: is missing", "name = "),
        ("sachdns.toml:16: agency.networks: is missing", "networks = "),
        ("sachdns.toml:17: agency.id: ", "a word of letters"),
        ("sachdns.toml:19: log.sync: ", "30s"),
        ("sachdns.toml:20: log.max_size: ", "50GiB"),
    ];
    assert_eq!(got.len(), expected.len(), "{got:#?}");
    for (got, (start, part)) in got.iter().zip(expected) {
        assert!(got.starts_with(start) && got.contains(part), "{got}\n  should be {start}… {part}");
    }
}

#[test]
fn feeds_that_cannot_be_opened_are_all_told() {
    let text = "[[feed]]\nname = \"a\"\nsource = \"/nonexistent/a.txt\"\n\
                [[feed]]\nsource = \"src\"\nname = \"b\"\n\
                [[feed]]\nname = \"c\"\nsource = \"Cargo.toml\"\n";
    let faults = parse(text).unwrap().check_feeds(|_| true).unwrap_err();
    let got: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
    assert_eq!(got.len(), 2, "{got:?}");
    assert!(got[0].starts_with("sachdns.toml:3: feed.source: /nonexistent/a.txt: No such file"), "{got:?}");
    assert!(got[0].ends_with("relative paths start from the working directory"), "{got:?}");
    assert!(got[1].starts_with("sachdns.toml:5: feed.source: src: not a file"), "{got:?}");
}

#[test]
fn what_two_tables_claim_is_a_fault() {
    fn check(text: &str, line: usize, part: &str) {
        let faults = parse(text).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert_eq!(faults.0[0].line, Some(line), "{faults}");
        assert!(faults.to_string().contains(part), "{faults}");
    }
    let agency =
        |id: &str, net: &str| format!("[[agency]]\nid = {id:?}\nname = \"x\"\nnetworks = [{net:?}]\n");
    check(&(agency("a", "10.1.0.0/16") + &agency("a", "10.2.0.0/16")), 5, "\"a\" is there twice");
    check(&(agency("a", "10.1.0.0/16") + &agency("b", "10.1.0.0/16")), 5, "10.1.0.0/16 of a and b");
    let feed = "[[feed]]\nname = \"a\"\nsource = \"Cargo.toml\"\n";
    check(&feed.repeat(2), 4, "\"a\" is there twice");
    let own = "[server]\nlisten = [\"0.0.0.0:5300\"]\n[resolver]\nupstreams = [\"127.0.0.1:5300\"]\n";
    check(own, 4, "asked of this server again");
    check("[resolver]\npatience = \"4s\"\n", 2, "not below resolver.deadline, 4s");
    check("[resolver]\ndeadline = \"2562047788015215h\"\n", 2, "at most a day");
    check("[server\n", 1, "not valid TOML");
    check("a = 1\na = 2\n", 2, "not valid TOML");
}

#[test]
fn an_ipv4_mapped_network_is_the_ipv4_network() {
    fn check(written: &str, expected: &str) {
        let config = parse(&format!("[server]\nallow = [{written:?}]\n")).unwrap();
        assert_eq!(config.server.allow, [expected.parse::<ipnet::IpNet>().unwrap()], "{written}");
    }
    check("::ffff:10.0.0.0/104", "10.0.0.0/8");
    check("::ffff:10.1.2.3", "10.1.2.3/32");
    check("::ffff:0:0/96", "0.0.0.0/0");
    check("::/0", "::/0");
    check("10.1.2.3", "10.1.2.3/32");
    let agency =
        "[[agency]]\nid = \"a\"\nname = \"x\"\nnetworks = [\"10.1.0.0/16\", \"::ffff:10.1.0.0/112\"]\n";
    let faults = parse(agency).unwrap_err().to_string();
    assert!(faults.contains("10.1.0.0/16 of a"), "{faults}");
}

#[test]
fn a_wrong_secret_is_a_fault_that_does_not_tell_it() {
    let config = parse("[server]\ncookie_secrets = [\"e5e973e5a6b2a43f48e7dc849e37bfcf\"]\n").unwrap();
    assert_eq!(config.server.cookie_secrets.len(), 1);
    assert!(!content(&config).contains("e5e9"));
    let faults =
        parse("[server]\ncookie_secrets = [\"e5e973e5a6b2a43f48e7dc849e37bf\"]\n").unwrap_err().to_string();
    assert!(faults.starts_with("sachdns.toml:2: server.cookie_secrets: "), "{faults}");
    assert!(faults.contains("30 characters") && !faults.contains("e5e9"), "{faults}");
}

#[test]
fn encrypted_transports_have_what_they_need() {
    fn check(lines: &str, expected: &[&str]) {
        let got = match parse(&format!("[server]\n{lines}\n")) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for (got, part) in got.iter().zip(expected) {
            assert!(got.contains(part), "{got} should have {part:?}");
        }
    }
    let files = "tls_certificate = \"a.pem\"\ntls_key = \"b.pem\"\n";
    let missing = ["server.tls_certificate: is missing", "server.tls_key: is missing"];
    for setting in ["tls_listen", "https_listen", "quic_listen"] {
        check(&format!("{setting} = [\"127.0.0.1:0\"]"), &missing);
        check(&format!("{setting} = [\"127.0.0.1:0\"]\n{files}"), &[]);
    }
    check("tls_listen = [\"127.0.0.1\"]", &["sachdns.toml:2: server.tls_listen: "]);
    check(
        "https_path = \"dns-query\"",
        &["server.https_path: \"dns-query\" is not usable: it does not begin"],
    );
    check("https_path = \"/q{?dns}\"", &["only letters, digits"]);
    check("tls_name = \"a..b\"", &["server.tls_name"]);
    check("proxy_from = [\"10.9.0.1/16\"]", &["the network is 10.9.0.0/16"]);
    let config = parse(&format!("[server]\n{files}")).unwrap();
    assert!(!config.server.transports.is_encrypted());
}

#[test]
fn an_outlet_goes_where_its_form_can_go() {
    fn check(lines: &str, expected: &[&str]) {
        let got = match parse(&format!("[[outlet]]\nname = \"siem\"\n{lines}\n")) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for (got, part) in got.iter().zip(expected) {
            assert!(got.contains(part), "{got} should have {part:?}");
        }
    }
    check("to = \"tcp://192.0.2.7:601\"", &[]);
    check("to = \"udp://[2001:db8::7]:514\"\nformat = \"cef\"\nsyslog = true", &[]);
    check("to = \"unix:/run/dnstap.sock\"\nformat = \"dnstap\"\nqueries = \"all\"", &[]);
    check("to = \"file:/var/log/sachdns.jsonl\"\nbacklog = \"1MiB\"", &[]);
    check("", &["sachdns.toml:1: outlet.to: is missing"]);
    check("to = \"192.0.2.7\"", &["sachdns.toml:3: outlet.to: "]);
    check("to = \"tcp://siem.example.vn:601\"", &["names are not looked up"]);
    check("to = \"tcp://192.0.2.7:0\"", &["port 0"]);
    check("to = \"tcp://192.0.2.7:601#siem\"", &["only tls://"]);
    check("to = \"ftp://192.0.2.7:21\"", &["there is no ftp://"]);
    check("to = \"file:\"", &["there is no path"]);
    check("to = \"udp://192.0.2.7:6000\"\nformat = \"dnstap\"", &["sachdns.toml:4: outlet.format: "]);
    check("to = \"file:a\"\nformat = \"dnstap\"\nsyslog = true", &["sachdns.toml:5: outlet.syslog: "]);
    check("to = \"file:a\"\nformat = \"parquet\"", &["none of jsonl, csv, ocsf"]);
    check("to = \"file:a\"\nbacklog = \"1023KiB\"", &["at least \"1MiB\""]);
    check("to = \"tls://192.0.2.7:6514\"\nca = \"/nonexistent/ca.pem\"", &["sachdns.toml:4: outlet.ca: "]);
    check("to = \"tls://192.0.2.7:6514\"\nca = \"Cargo.toml\"", &["sachdns.toml:4: outlet.ca: "]);
    let tls = "to = \"tls://192.0.2.7:6514\"\n";
    check(&format!("{tls}certificate = \"Cargo.toml\""), &["sachdns.toml:1: outlet.key: is missing"]);
    check(&format!("{tls}key = \"Cargo.toml\""), &["sachdns.toml:1: outlet.certificate: is missing"]);
    let both = "certificate = \"Cargo.toml\"\nkey = \"Cargo.toml\"";
    check(&format!("{tls}{both}"), &["outlet.key: Cargo.toml: there is no private key"]);
    check("to = \"file:a\"\n[[outlet]]\nname = \"siem\"\nto = \"file:b\"", &["\"siem\" is there twice"]);
    check("to = \"file:a\"\n[[outlet]]\nname = \"..\"\nto = \"file:b\"", &["begins with a dot"]);
}

#[test]
fn the_log_has_room_for_its_open_files() {
    assert_eq!(parse("[log]\nmax_size = \"64MiB\"\n").unwrap().log.max_size, 64 << 20);
    let faults = parse("[log]\nmax_size = \"65535KiB\"\n").unwrap_err().to_string();
    assert!(faults.starts_with("sachdns.toml:2: log.max_size: "), "{faults}");
    assert!(faults.contains("65535KiB") && faults.contains("at least \"64MiB\""), "{faults}");
}

#[test]
fn the_console_listens_at_one_address_or_several() {
    let listen =
        |text: &str| parse(&format!("[console]\nlisten = {text}\n")).map(|it| it.console.listen.len());
    assert_eq!(listen("\"127.0.0.1:8053\"").unwrap(), 1);
    assert_eq!(listen("[\"127.0.0.1:8053\", \"[::1]:8053\"]").unwrap(), 2);
    assert_eq!(parse("").unwrap().console.listen, []);
    assert!(listen("\"8053\"").unwrap_err().to_string().starts_with("sachdns.toml:2: console.listen: "));
}

#[test]
fn the_gate_has_bounds_and_knows_this_servers_own_names() {
    let check = |text: &str, expected: &str| {
        let faults = parse(&format!("[gate]\n{text}\n")).unwrap_err().to_string();
        assert!(faults.starts_with("sachdns.toml:2: gate.") && faults.contains(expected), "{faults}");
    };
    check("max_shrink = 1.5", "a share from 0 to 1");
    check("max_shrink = \"half\"", "a number");
    check("max_growth = 0.5", "a factor from 1");
    check("max_growth = nan", "out of range");
    check("max_set_aside = -1", "out of range");
    check("protectd = []", "did you mean `protected`?");
    let faults =
        parse("[gate]\nprotected = [\"nonexistent.txt\"]\n").unwrap().check_feeds(|_| true).unwrap_err();
    assert!(faults.to_string().starts_with("sachdns.toml:2: gate.protected: nonexistent.txt: "), "{faults}");

    let config = parse(
        "[resolver]\nupstreams = [\"tls://192.0.2.53#dns.example\", \"192.0.2.54\"]\n\
         [policy]\ncanaries = [\"canary.example\"]\n\
         [[route]]\ndomain = \"agency.example.vn\"\nupstreams = [\"https://doh.example/q#192.0.2.1\"]\n\
         [[zone]]\nname = \"internal.example.vn\"\nfile = \"x.zone\"\n\
         [[feed]]\nname = \"walled\"\nsource = \"x\"\naction = \"cname:landing.example.vn.\"\n\
         [console]\nlisten = [\"127.0.0.1:0\"]\nurl = \"https://console.example.vn\"\n\
         [log.clickhouse]\nurl = \"http://clickhouse.example.vn:8123\"\n",
    )
    .unwrap();
    let mut own: Vec<String> =
        config.gate.own.iter().map(|own| format!("{} {}", own.what.as_str(), own.name)).collect();
    own.sort();
    let expected = [
        "canary canary.example",
        "route agency.example.vn",
        "server console.example.vn",
        "server landing.example.vn",
        "service clickhouse.example.vn",
        "upstream dns.example",
        "upstream doh.example",
        "zone internal.example.vn",
    ];
    assert_eq!(own, expected);
}

#[test]
fn a_feeds_name_is_a_folders_too() {
    for name in [".", "..", ".hidden"] {
        let faults =
            parse(&format!("[[feed]]\nname = \"{name}\"\nsource = \"x\"\n")).unwrap_err().to_string();
        assert!(faults.contains("feed.name") && faults.contains("begins with a dot"), "{faults}");
    }
}

#[test]
fn faults_of_trust_anchors_are_told_with_their_file_and_line() {
    fn check(text: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root.key");
        std::fs::write(&file, text).unwrap();
        let config = parse(&format!("[resolver]\ntrust_anchors = [{file:?}]\n")).unwrap();
        let faults = config.validation().unwrap_err().to_string();
        let name = file.display().to_string();
        assert_eq!(faults.strip_prefix(&name), Some(expected), "{faults}");
    }
    check(
        "\n. IN DS 1 5 2 00\n",
        ":2: resolver.trust_anchors: algorithm 5 is not supported; \
         the zone needs a key of algorithm 8, 10, 13, 14 or 15",
    );
    check(
        "; nothing\n",
        ": resolver.trust_anchors: holds no trust anchor; put DS or DNSKEY records in it, \
         or take it out of resolver.trust_anchors",
    );
    let missing = parse("[resolver]\ntrust_anchors = [\"/nonexistent/root.key\"]\n").unwrap();
    let faults = missing.validation().unwrap_err().to_string();
    assert!(
        faults.starts_with("/nonexistent/root.key: resolver.trust_anchors: cannot be read: "),
        "{faults}"
    );
    // What is not validated needs no anchors.
    let off = parse("[resolver]\ndnssec = false\ntrust_anchors = [\"/nonexistent/root.key\"]\n").unwrap();
    assert_eq!(off.validation(), Ok(None));
    let broken = parse("[resolver]\nnegative_trust_anchors = [\"sạch.vn\", \".\"]\n").unwrap();
    let negative = broken.validation().unwrap().unwrap().negative;
    assert_eq!(negative.iter().map(ToString::to_string).collect::<Vec<_>>(), ["xn--sch-sgz.vn", "."]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let faults = Config::load(Path::new("/nonexistent/sachdns.toml")).unwrap_err();
    assert!(faults.to_string().starts_with("/nonexistent/sachdns.toml: cannot be read"), "{faults}");
}

#[test]
fn the_place_of_a_setting_is_known() {
    let config = parse("\n[server]\nlisten = [\"127.0.0.1:0\"]\n").unwrap();
    assert_eq!(config.place("server.listen"), "sachdns.toml:3: server.listen");
    assert!(config.place("sinkhole.http_listen").contains("default"));
}
