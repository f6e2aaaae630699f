//! What comes in is there whole or not at all, and what was decided about it stays decided.

use super::*;

/// The gate's rules, as far as the store knows them.
const RULES: Digest = Digest([1; 32]);

fn folder() -> (tempfile::TempDir, Folder) {
    let data = tempfile::tempdir().unwrap();
    let folder = Store::new(&data.path().join("feeds")).feed("authority");
    (data, folder)
}

fn stage(folder: &Folder, text: &str, now: i64) -> Digest {
    let arrival = Arrival { origin: "list.txt".to_owned(), now, ..Arrival::default() };
    match folder.stage(text.as_bytes(), arrival).unwrap() {
        Staged::Candidate(digest) | Staged::Unchanged(digest) | Staged::Known(digest) => digest,
    }
}

fn accept(folder: &Folder, digest: Digest) {
    folder
        .update(|state| {
            let version = state.version(digest).unwrap().clone();
            let approval = state.approval.clone();
            let counts = Counts::default();
            state.accept(Accepted {
                version,
                counts,
                set_aside: 0,
                next_expiry: None,
                accepted_at: 5,
                approval,
            });
        })
        .unwrap();
}

fn refuse(folder: &Folder, digest: Digest, rules: Digest) {
    let approval = folder.state().unwrap().approval;
    refuse_as(folder, digest, rules, approval.as_ref());
}

/// … judged when this was known of it.
fn refuse_as(folder: &Folder, digest: Digest, rules: Digest, approval: Option<&Word>) {
    folder
        .update(|state| {
            let version = state.version(digest).unwrap().clone();
            let judge = Judge { rules, base: state.accepted_digest() };
            let reasons = vec!["too small".to_owned()];
            let counts = Counts::default();
            let refused = Refused { version, counts, reasons, refused_at: 6, judge, changes: None };
            state.refuse(refused, approval);
        })
        .unwrap();
}

fn word(digest: Digest) -> Word {
    Word { digest, by: "an".to_owned(), reason: None, at: 7 }
}

fn candidate(folder: &Folder, rules: Digest) -> Option<Digest> {
    folder.state().unwrap().candidate(rules).map(|candidate| candidate.version.digest)
}

/// The versions on disk.
fn versions(folder: &Folder) -> usize {
    let names = fs::read_dir(&folder.path).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().parse::<Digest>().is_ok()).count()
}

#[test]
fn a_version_is_known_by_its_content() {
    let (_data, folder) = folder();
    assert_eq!(folder.state().unwrap(), State::default());
    let one = stage(&folder, "evil.example\n", 1);
    assert_eq!(one.to_string().parse(), Ok(one));
    assert_eq!(candidate(&folder, RULES), Some(one));
    accept(&folder, one);
    assert_eq!(candidate(&folder, RULES), None);

    let two = stage(&folder, "worse.example\n", 2);
    assert_eq!(candidate(&folder, RULES), Some(two));
    assert_eq!(stage(&folder, "evil.example\n", 3), one);
    assert_eq!(candidate(&folder, RULES), None, "the origin took its change back");
    let mut text = String::new();
    folder.open(one).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "evil.example\n");
    assert_eq!(versions(&folder), 1, "what nobody needs is removed");
}

#[test]
fn what_was_refused_is_tried_again_only_under_other_rules() {
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    accept(&folder, one);
    let two = stage(&folder, "two.example\n", 2);
    refuse(&folder, two, RULES);
    assert_eq!(candidate(&folder, RULES), None);
    assert_eq!(candidate(&folder, Digest([2; 32])), Some(two), "somebody changed the gate");
    assert_eq!(stage(&folder, "two.example\n", 3), two);
    assert_eq!(candidate(&folder, RULES), None);

    let three = stage(&folder, "three.example\n", 4);
    accept(&folder, three);
    stage(&folder, "two.example\n", 5);
    assert_eq!(candidate(&folder, RULES), Some(two), "it is compared with another version now");
}

#[test]
fn an_approval_that_comes_while_a_version_is_judged_holds() {
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    accept(&folder, one);
    let two = stage(&folder, "two.example\n", 2);
    folder.update(|state| state.approve(word(two))).unwrap();
    refuse_as(&folder, two, RULES, None);
    let tried = folder.state().unwrap().candidate(RULES).unwrap();
    assert_eq!((tried.version.digest, tried.approval), (two, Some(word(two))));
    // It cannot even be read.
    refuse_as(&folder, two, RULES, Some(&word(two)));
    assert_eq!(candidate(&folder, RULES), None);
}

#[test]
fn who_goes_back_to_an_earlier_version_stays_there() {
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    accept(&folder, one);
    let two = stage(&folder, "two.example\n", 2);
    accept(&folder, two);
    folder.update(|state| state.approve(word(one))).unwrap();
    assert_eq!(candidate(&folder, RULES), Some(one));
    accept(&folder, one);
    assert_eq!(candidate(&folder, RULES), None, "the one that somebody went back from");
    assert_eq!(stage(&folder, "two.example\n", 3), two);
    assert_eq!(candidate(&folder, Digest([2; 32])), None);
    let three = stage(&folder, "three.example\n", 4);
    assert_eq!(candidate(&folder, RULES), Some(three), "a newer one is taken");
    accept(&folder, three);
    stage(&folder, "two.example\n", 5);
    assert_eq!(candidate(&folder, RULES), None, "the publisher went back to it too");
    folder.update(|state| state.approve(word(two))).unwrap();
    accept(&folder, two);
    assert_eq!(folder.state().unwrap().passed_over, None);
}

#[test]
fn what_was_refused_before_the_version_in_force_came_waits_for_nobody() {
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    accept(&folder, one);
    let two = stage(&folder, "two.example\n", 2);
    refuse(&folder, two, RULES);
    assert!(folder.state().unwrap().pending().is_some());
    let three = stage(&folder, "three.example\n", 3);
    accept(&folder, three);
    assert_eq!(folder.state().unwrap().pending(), None);
    stage(&folder, "two.example\n", 4);
    refuse(&folder, two, RULES);
    assert!(folder.state().unwrap().pending().is_some(), "the publisher has it again");
}

#[test]
fn people_have_the_last_word() {
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    accept(&folder, one);
    let two = stage(&folder, "two.example\n", 2);
    refuse(&folder, two, RULES);
    let three = stage(&folder, "three.example\n", 3);
    refuse(&folder, three, RULES);

    folder.update(|state| state.approve(word(two))).unwrap();
    let tried = folder.state().unwrap().candidate(RULES).unwrap();
    assert_eq!((tried.version.digest, tried.approval), (two, Some(word(two))), "not only the latest");
    accept(&folder, two);
    let state = folder.state().unwrap();
    assert_eq!(state.approval, None);
    assert_eq!(state.accepted.as_ref().unwrap().approval, Some(word(two)));
    assert_eq!(state.previous.as_ref().unwrap().version.digest, one);

    folder.update(|state| state.reject(word(three))).unwrap();
    assert_eq!(candidate(&folder, Digest([9; 32])), None, "not under any rules");
    assert_eq!(folder.state().unwrap().pending(), None);
    stage(&folder, "three.example\n", 8);
    assert_eq!(candidate(&folder, Digest([9; 32])), None);
    folder.update(|state| state.approve(word(three))).unwrap();
    assert_eq!(candidate(&folder, RULES), Some(three), "a mind may change");

    let happened: Vec<_> = folder.state().unwrap().history.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(happened, ["accepted", "refused", "refused", "approved", "accepted", "rejected", "approved"]);
}

#[test]
fn refused_versions_are_bounded() {
    let (_data, folder) = folder();
    for number in 0..10 {
        let digest = stage(&folder, &format!("bad{number}.example\n"), number);
        refuse(&folder, digest, RULES);
    }
    let state = folder.state().unwrap();
    assert_eq!(state.refused.len(), 3);
    assert_eq!(versions(&folder), 3);
    assert_eq!(state.refused.last().unwrap().version.digest, state.latest.unwrap().digest);
}

#[test]
fn content_that_breaks_off_leaves_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line went dead"))
        }
    }
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    let state = folder.state().unwrap();
    let error = folder.stage(b"two.example\n".chain(Broken), Arrival::default()).unwrap_err();
    assert!(matches!(error, StoreError::Content { .. }), "{error}");
    assert_eq!(folder.state().unwrap(), state);
    let left: Vec<_> = fs::read_dir(&folder.path).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "state.json, lock and {one}: {left:?}");
}

#[test]
fn what_a_killed_process_left_goes() {
    let (_data, folder) = folder();
    let one = stage(&folder, "one.example\n", 1);
    let age = |name: &str| {
        let path = folder.path.join(name);
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        (path, file)
    };
    let (left, _) = age("incoming-1-1");
    let (written, file) = age("incoming-1-2");
    file.lock().unwrap();
    let (young, _) =
        (folder.path.join("incoming-1-3"), File::create(folder.path.join("incoming-1-3")).unwrap());
    let orphan = folder.path.join("a".repeat(64));
    File::create(&orphan).unwrap();
    accept(&folder, one);
    assert_eq!([left, written, young, orphan].map(|path| path.exists()), [false, true, true, false]);
}

#[test]
fn a_damaged_state_is_put_aside() {
    let (_data, folder) = folder();
    stage(&folder, "one.example\n", 1);
    for text in ["", "{", "[]", "{\"layout\": 99}"] {
        fs::write(folder.path.join(STATE), text).unwrap();
        assert_eq!(folder.state().unwrap(), State::default(), "{text:?}");
        let one = stage(&folder, "one.example\n", 2);
        assert_eq!(candidate(&folder, RULES), Some(one));
        assert_eq!(fs::read_to_string(folder.path.join("state.damaged")).unwrap(), text);
    }
}

#[test]
fn a_file_is_copied_when_it_changes() {
    let (data, folder) = folder();
    let path = data.path().join("list.txt");
    let error = folder.stage_file(&path, 1).unwrap_err();
    assert!(matches!(error, StoreError::Content { .. }), "{error}");
    fs::write(&path, "one.example\n").unwrap();
    let changed_at = Stamp::of(&fs::metadata(&path).unwrap()).changed_at();
    assert!(matches!(folder.stage_file(&path, changed_at).unwrap(), Some(Staged::Candidate(_))));
    assert!(!folder.has_seen(&path), "it could change again within the tick");
    let later = changed_at + 1_000_000;
    assert!(matches!(folder.stage_file(&path, later).unwrap(), Some(Staged::Candidate(_))));
    assert!(folder.has_seen(&path));
    assert_eq!(folder.stage_file(&path, later).unwrap(), None);
    fs::write(&path, "two.example\n").unwrap();
    assert!(!folder.has_seen(&path));
    assert!(matches!(folder.stage_file(&path, later).unwrap(), Some(Staged::Candidate(_))));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(folder.stage_file(&path, later).is_err());
}

#[test]
fn what_fetchers_remember_comes_with_the_version() {
    let (_data, folder) = folder();
    folder.remember(serde_json::json!({"failures": 3})).unwrap();
    let fetcher = Some(serde_json::json!({"etag": "\"x\""}));
    folder.stage(&b"one.example\n"[..], Arrival { fetcher: fetcher.clone(), ..Arrival::default() }).unwrap();
    stage(&folder, "two.example\n", 2);
    assert_eq!(folder.state().unwrap().fetcher, fetcher);
}

#[test]
fn folders_of_feeds_that_are_gone_go_too() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::new(data.path());
    store.forget(|_| false).unwrap();
    for name in ["kept", "gone", "lately"] {
        stage(&store.feed(name), "one.example\n", 1);
    }
    for name in ["kept", "gone"] {
        let file = File::options().append(true).open(data.path().join(name).join(STATE)).unwrap();
        file.set_modified(SystemTime::now() - 2 * FORGOTTEN).unwrap();
    }
    store.forget(|name| name == "kept").unwrap();
    let is_there = |name| data.path().join(name).exists();
    assert_eq!([is_there("kept"), is_there("gone"), is_there("lately")], [true, false, true]);
}
