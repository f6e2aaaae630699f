//! Any tables in a policy image whose digest fits: it opens or says why not, and can be asked.
//!
//! A digest proves origin, not sense, so the tables are checked octet by octet. The automaton is
//! not: its bytes are believed once the digest fits (see `sachdns::image`), and so they are the
//! library's own here.
//!
//! ```text
//! 1  0: as it is; else an octet of the header's first 80 that is changed
//! 1  … and what it becomes
//! n  tables
//! ```

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sachdns::image::{self, Image};
use sachdns::name::{Key, Name};
use sachdns::policy::action::Action;
use sachdns::policy::compile::{Compiler, Listing};
use sachdns::policy::decide::{Fit, Observer, Reckoning, Ruling, Unobserved, decide, must_wait, needs_servers};
use sachdns::policy::layers::{Asker, Audience, Layers};
use sachdns::policy::rule::{Feed, FeedKind, Mode};
use sachdns::policy::trigger::{Scope, Trigger};
use sha2::{Digest as _, Sha256};

const HEADER: usize = 112;
const DIGEST: usize = 80;
const PIECE: usize = 256 << 10;

/// Their rule sets differ, so the automaton holds the numbers 0 to 3; those of a name server and of networks
/// follow.
const NAMES: [&str; 4] = ["evil.example", "www.evil.example", "drop.example", "example"];
const NETWORKS: [(Trigger, &str); 5] = [
    (Trigger::ClientIp, "10.0.0.0/8"),
    (Trigger::Ip, "192.0.2.0/24"),
    (Trigger::Ip, "2001:db8::/32"),
    (Trigger::Nsip, "192.0.2.53/32"),
    (Trigger::Address, "192.0.2.0/28"),
];
const ASKED: [&str; 5] = ["evil.example", "a.www.evil.example", "drop.example", "a.example", "other.test"];

/// What all images share, and where they are written.
struct Fixture {
    path: PathBuf,
    /// Header and automaton.
    front: Vec<u8>,
    keys: Vec<Key>,
}

fuzz_target!(|data: &[u8]| {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    let [at, value, tables @ ..] = data else { return };
    let fixture = FIXTURE.get_or_init(Fixture::new);
    let mut octets = [&fixture.front, tables].concat();
    octets[24..32].copy_from_slice(&(tables.len() as u64).to_le_bytes());
    // The lengths stay: nothing else says where the automaton ends.
    match usize::from(*at) % DIGEST {
        0 | 16..32 => {}
        at => octets[at] = *value,
    }
    if let Some(image) = fixture.open(&mut octets) {
        assert_eq!(image.facts.file_len, octets.len() as u64);
        check(&image, &fixture.keys);
    }
});

impl Fixture {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sachdns-fuzz-{}.img", std::process::id()));
        let mut compiler = Compiler::new(vec![Feed::new("authority".into(), FeedKind::Threat)]);
        let actions = [Action::Sinkhole, Action::Nxdomain, Action::Drop, Action::Passthru];
        for (name, action) in NAMES.into_iter().zip(actions) {
            let (scope, mode, family) = (Scope::Subtree, Mode::Shadow, "Mã độc".into());
            let listing = Listing { feed: 0, scope, action, mode, family: Some(&family), severity: None };
            compiler.add(&host(name), listing).expect("far below 4 GiB");
        }
        let listing = |action| Listing { feed: 0, scope: Scope::Exact, action, mode: Mode::Enforced, family: None, severity: None };
        compiler.add_server(&host(NAMES[0]), listing(Action::Nodata)).expect("far below 4 GiB");
        for (trigger, net) in NETWORKS {
            let net = net.parse().expect("a network");
            compiler.add_network(trigger, net, listing(Action::TcpOnly)).expect("far below 4 GiB");
        }
        image::write(&path, &compiler.finish().expect("in memory"), &[7; 32], 1).expect("the scratch folder can be written");
        let mut front = std::fs::read(&path).expect("it was just written");
        let automaton_len = u64::from_le_bytes(front[16..24].try_into().expect("eight octets"));
        front.truncate(HEADER + automaton_len as usize);
        Self { path, front, keys: ASKED.iter().map(|name| Key::from(&host(name))).collect() }
    }

    /// Mends the digest, writes the file and opens it.
    fn open(&self, octets: &mut [u8]) -> Option<Image> {
        let mut hasher = Sha256::new();
        for piece in octets[HEADER..].chunks(PIECE) {
            hasher.update(Sha256::digest(piece));
        }
        hasher.update(&octets[..DIGEST]);
        octets[DIGEST..HEADER].copy_from_slice(&hasher.finalize());
        std::fs::write(&self.path, octets).expect("the scratch folder can be written");
        let opened = image::open(&self.path);
        // The next input must not be written into what is still mapped.
        std::fs::remove_file(&self.path).expect("it was just written");
        opened.map_err(|error| assert!(!error.to_string().is_empty())).ok()
    }
}

fn host(text: &str) -> Name {
    Name::from_host(text).expect("a host name")
}

fn check(image: &Image, keys: &[Key]) {
    for key in keys {
        let decision = decide(&image.index, key, &mut Unobserved);
        for ruling in decision.ruling.iter().chain(&decision.shadow) {
            assert!(ruling.depth > 0);
            assert_eq!(ruling.rule.family.is_some(), ruling.family.is_some());
        }
        let mut count = Count(0);
        let observed = decide(&image.index, key, &mut count);
        assert_eq!(observed.ruling.is_some(), decision.ruling.is_some());
        assert!(count.0 > 0 || decision.ruling.is_none() && decision.shadow.is_none());
    }
    for key in keys {
        let mut unobserved = Unobserved;
        let client = Some("10.1.2.3".parse().expect("an address"));
        let asker = Asker { client, ..Asker::ANYBODY };
        let mut reckoning = Reckoning::new(Layers::of_feeds(&image.index), asker, &mut unobserved);
        reckoning.name(0, key);
        reckoning.name(1, &keys[0]);
        reckoning.address(1, "192.0.2.1".parse().expect("an address"));
        reckoning.address(1, "2001:db8::1".parse().expect("an address"));
        reckoning.server(0, 7, key);
        reckoning.server_address(0, 7, "192.0.2.53".parse().expect("an address"));
        let decision = reckoning.decision();
        let _ = needs_servers(&image.index, &Audience::EVERYBODY, &decision);
        if let Some(ruling) = decision.ruling {
            let _ = must_wait(&image.index, &Audience::EVERYBODY, &ruling);
            assert!(ruling.stage <= 1 && (ruling.server == 0 || ruling.server == 7));
        }
    }
    let mut listed = 0;
    image.index.for_each(|_, rules| {
        listed += 1;
        for rule in rules {
            assert_eq!(rule.action.to_string().parse().as_ref(), Ok(&rule.action));
        }
    });
    assert_eq!(listed, NAMES.len() + 1 + NETWORKS.len());
}

struct Count(usize);

impl<'p> Observer<'p> for Count {
    fn considers(&mut self, _: Ruling<'p>, _: Fit) {
        self.0 += 1;
    }
}
