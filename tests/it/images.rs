//! Whatever happens to the policy image on disk, no wrong policy goes live.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::harness::house::{House, Setup};
use crate::harness::{nsd, run, spawn, wait_for_end};

fn house() -> House {
    Setup::new(nsd::address()).feed("authority", "evil.example\nworse.example\n").lay()
}

/// The files of the image that `policy build` has just made.
fn image_files(house: &House) -> Vec<PathBuf> {
    house.run("policy build", &[]).well();
    let files: Vec<_> =
        house.data_files().into_iter().filter(|file| fs::metadata(file).unwrap().len() > 0).collect();
    assert!(!files.is_empty(), "`policy build` writes below data_dir");
    files
}

/// A server comes up with the right policy, or says what is wrong with which file.
#[track_caller]
fn assert_served_or_reported(house: House, damage: &str) {
    let (mut child, lines) = house.spawn_serve();
    let is_told = lines.wait(Duration::from_secs(30), |line| line == "ready");
    if is_told.is_some() {
        // Ready: stop this one by its handle, and let the harness take a proper look.
        child.kill().unwrap();
        child.wait().unwrap();
        let server = house.serve();
        assert_eq!(server.dig().ask("evil.example", "A").rdata("A"), ["10.10.10.10"], "{damage}");
        assert_eq!(server.dig().ask("www.example.test", "A").rdata("A"), ["192.0.2.80"], "{damage}");
    } else {
        let status = wait_for_end(&mut child, Duration::ZERO);
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let stderr = lines.text();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{damage}: {stderr}");
        assert!(!stderr.contains("panicked") && stderr.contains("data/"), "{damage}: {stderr}");
    }
}

#[test]
fn a_damaged_image_is_made_anew_or_reported() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("cut to nothing", Vec::clear),
        ("cut to half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("one bit flipped in the middle", |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }),
        ("one bit flipped in the header", |bytes| bytes[9] ^= 0x80),
        ("another file altogether", |bytes| *bytes = b"not an image\n".repeat(100)),
    ];
    for (damage, apply) in damages {
        let house = house();
        for file in image_files(&house) {
            let mut bytes = fs::read(&file).unwrap();
            if bytes.len() > 10 {
                apply(&mut bytes);
                fs::write(&file, bytes).unwrap();
            }
        }
        let stat = house.run("policy stat", &[]);
        assert!(!stat.stderr.contains("panicked"), "{damage}: {stat:#?}");
        assert_served_or_reported(house, damage);
    }
}

#[test]
fn a_build_that_is_killed_leaves_the_old_image() {
    let house = house();
    house.run("policy build", &[]).well();
    let many: String = (0..50_000).map(|number| format!("name{number}.example\n")).collect();
    house.write("authority.txt", &many);

    let mut was_killed = false;
    for wait in [0, 3, 10, 30, 60, 100, 200] {
        let mut child = spawn(&mut house.command(&["policy", "build", "--config", "sachdns.toml"]));
        // The moment of death is what is tried here; no event marks it.
        thread::sleep(Duration::from_millis(wait));
        was_killed |= child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        // Whole, old or new: a torn one fails its digest.
        house.run("policy stat", &[]).well();
    }
    assert!(was_killed, "each build was faster than its end");

    // What the dead ones left does not stop the next one, nor pile up.
    house.run("policy build", &[]).well();
    let first = house.data_files().len();
    house.run("policy build", &[]).well();
    assert_eq!(house.data_files().len(), first, "{:?}", house.data_files());
    let server = house.serve();
    assert_eq!(server.dig().ask("name49999.example", "A").rdata("A"), ["10.10.10.10"]);
}

#[test]
fn stat_and_explain_speak_of_the_image() {
    let house = house();
    house.run("policy build", &[]).well();
    let stat = house.run("policy stat", &[]).well().stdout;
    assert!(stat.contains("authority") || stat.contains('2'), "{stat}");
    let explain = |arguments: &[&str]| house.run("explain", arguments).well().stdout;
    let listed = explain(&["www.Evil.example", "--type", "AAAA", "--client", "127.0.0.1"]);
    assert!(listed.contains("authority") && listed.contains("sinkhole"), "{listed}");
    let unlisted = explain(&["notevil.example"]);
    assert!(!unlisted.contains("sinkhole"), "{unlisted}");
    let refused = house.run("explain", &["a..b"]);
    assert_ne!(refused.code(), 0, "{refused:#?}");
    let help = run(&mut house.command(&["--help"]));
    assert!(help.status.success());
    for command in ["serve", "check", "reload", "log", "policy", "explain", "feed"] {
        assert!(help.stdout.contains(command), "{command}: {help:#?}");
    }
}
