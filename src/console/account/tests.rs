//! What accounts promise, over scratch folders.

use tempfile::TempDir;

use super::*;

const PASSWORD: &str = "mật khẩu dài";
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
/// Some time.
const NOW: i64 = 1_795_676_400_000_000;

fn here() -> Origin<'static> {
    Origin { address: "10.9.0.7".parse().unwrap(), agent: "browser" }
}

fn scratch(rules: Rules) -> (TempDir, Accounts) {
    let folder = tempfile::tempdir().unwrap();
    let accounts = Accounts::open_with(folder.path(), rules).unwrap();
    (folder, accounts)
}

fn session(accounts: &Accounts, name: &str, now: i64) -> String {
    match accounts.sign_in(name, PASSWORD, here(), now).unwrap() {
        SignIn::Session(token) => token,
        other => panic!("{other:?}"),
    }
}

/// The code that a telephone shows.
fn code(secret: &[u8], now: i64) -> String {
    (0..1_000_000)
        .map(|code| format!("{code:06}"))
        .find(|code| totp::step_of(secret, code, now / 30_000_000 - 1, now) == Some(now / 30_000_000))
        .unwrap()
}

#[test]
fn accounts_are_what_they_can_be() {
    let (_folder, accounts) = scratch(Rules::default());
    let refused = |name: &str, role, agency: Option<&str>, password: &str| {
        accounts.add(name, role, agency, password, NOW).unwrap_err().to_string()
    };
    accounts.add("an", Role::Officer, Some("so-yte"), PASSWORD, NOW).unwrap();
    for (name, role, agency, password, expected) in [
        ("an", Role::Admin, None, PASSWORD, "there is an account an already"),
        ("AN", Role::Admin, None, PASSWORD, "there is an account AN already"),
        ("b", Role::Officer, None, PASSWORD, "an officer looks after one agency"),
        ("b", Role::Reader, Some("so-yte"), PASSWORD, "an officer looks after one agency"),
        ("b", Role::Admin, None, "ngắn", "a password has at least 10 characters"),
        ("", Role::Admin, None, PASSWORD, "a name has 1 to 64"),
        ("a\nb", Role::Admin, None, PASSWORD, "a name has 1 to 64"),
        (" b", Role::Admin, None, PASSWORD, "a name has 1 to 64"),
        ("<b>", Role::Admin, None, PASSWORD, "a name has 1 to 64"),
    ] {
        let error = refused(name, role, agency, password);
        assert!(error.starts_with(expected), "{name:?}: {error}");
    }
    accounts.add("Trần Bình", Role::Admin, None, PASSWORD, NOW).unwrap();
    let names: Vec<_> = accounts.list().unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["Trần Bình", "an"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn sessions_are_new_each_time_and_end() {
    let (folder, accounts) = scratch(Rules::default());
    accounts.add("an", Role::Officer, Some("so-yte"), PASSWORD, NOW).unwrap();
    assert_eq!(accounts.sign_in("an", "sai mật khẩu", here(), NOW).unwrap(), SignIn::Wrong);
    assert_eq!(accounts.sign_in("không ai", PASSWORD, here(), NOW).unwrap(), SignIn::Wrong);
    let first = session(&accounts, "an", NOW);
    let second = session(&accounts, "AN", NOW);
    assert_ne!(first, second);
    let signed = accounts.viewer(&first, NOW + 1).unwrap().unwrap();
    assert_eq!(signed.viewer.scope, Scope::Agency("so-yte".into()));
    assert_eq!(accounts.sessions("an", NOW).unwrap().len(), 2);
    // Neither is in the file.
    let file = std::fs::read(folder.path().join("console/accounts.db-wal")).unwrap();
    assert!(!file.windows(first.len()).any(|it| it == first.as_bytes()));

    let is_there = |token: &str, now| accounts.viewer(token, now).unwrap().is_some();
    // Used each hour it lives until its whole time is over, unused for two hours it does not.
    for hour in 1..12 {
        assert!(is_there(&first, NOW + hour * HOUR), "{hour}");
    }
    assert!(!is_there(&first, NOW + 12 * HOUR));
    assert!(!is_there(&second, NOW + 2 * HOUR));
    // A copy of the database elsewhere says the same.
    let third = session(&accounts, "an", NOW + HOUR);
    let other = Accounts::open(folder.path()).unwrap();
    assert!(other.viewer(&third, NOW + HOUR).unwrap().is_some());
    other.sign_out(&third).unwrap();
    assert!(!is_there(&third, NOW + HOUR));
}

#[test]
fn sessions_end_with_what_the_account_may() {
    let (_folder, accounts) = scratch(Rules::default());
    accounts.add("an", Role::Admin, None, PASSWORD, NOW).unwrap();
    accounts.add("bình", Role::Analyst, None, PASSWORD, NOW).unwrap();
    type Act<'a> = &'a dyn Fn() -> Result<(), AccountsError>;
    let acts: [Act<'_>; 5] = [
        &|| accounts.set_password("bình", PASSWORD),
        &|| accounts.set_role("bình", Role::Reader, None),
        &|| accounts.reset_totp("bình"),
        &|| accounts.end_sessions("bình", None, None).map(drop),
        &|| accounts.disable("bình"),
    ];
    for (number, act) in acts.into_iter().enumerate() {
        let token = session(&accounts, "bình", NOW);
        assert!(accounts.viewer(&token, NOW).unwrap().is_some());
        act().unwrap();
        assert!(accounts.viewer(&token, NOW).unwrap().is_none(), "{number}");
    }
    assert_eq!(accounts.sign_in("bình", PASSWORD, here(), NOW).unwrap(), SignIn::Wrong);
    accounts.enable("bình").unwrap();
    let token = session(&accounts, "bình", NOW);
    let new = accounts.change_password("bình", PASSWORD, "mật khẩu mới", here(), NOW).unwrap();
    assert!(accounts.viewer(&token, NOW).unwrap().is_none());
    assert!(accounts.viewer(&new, NOW).unwrap().is_some());
    assert!(matches!(
        accounts.change_password("bình", PASSWORD, "mật khẩu mới", here(), NOW),
        Err(AccountsError::Wrong)
    ));
    accounts.remove("bình").unwrap();
    assert!(accounts.viewer(&new, NOW).unwrap().is_none());
    assert!(matches!(accounts.find("bình"), Err(AccountsError::Absent(_))));
    for act in [accounts.remove("an"), accounts.disable("an"), accounts.set_role("an", Role::Reader, None)] {
        assert!(matches!(act, Err(AccountsError::LastAdmin(_))), "{act:?}");
    }
}

#[test]
fn two_admins_who_disable_each_other_at_once_do_not_both() {
    let (folder, accounts) = scratch(Rules::default());
    for name in ["an", "bình"] {
        accounts.add(name, Role::Admin, None, PASSWORD, NOW).unwrap();
    }
    // As the command beside the server.
    let beside = Accounts::open_with(folder.path(), Rules::default()).unwrap();
    for _ in 0..20 {
        let done = std::thread::scope(|scope| {
            let acts = [(&accounts, "bình"), (&beside, "an")];
            acts.map(|(accounts, name)| scope.spawn(move || accounts.disable(name)))
                .map(|act| act.join().unwrap())
        });
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
        assert!(!accounts.needs_first().unwrap());
        ["an", "bình"].into_iter().for_each(|name| accounts.enable(name).unwrap());
    }
}

#[test]
fn sessions_of_an_account_are_bounded() {
    let (_folder, accounts) = scratch(Rules::default());
    accounts.add("an", Role::Admin, None, PASSWORD, NOW).unwrap();
    let tokens: Vec<_> = (0..22).map(|at| accounts.begin("an", here(), NOW + at).unwrap()).collect();
    assert_eq!(accounts.sessions("an", NOW + 30).unwrap().len(), 20);
    assert!(accounts.viewer(&tokens[1], NOW + 30).unwrap().is_none());
    assert!(accounts.viewer(&tokens[2], NOW + 30).unwrap().is_some());
}

#[test]
fn guesses_run_out() {
    let (_folder, accounts) = scratch(Rules::default());
    accounts.add("an", Role::Admin, None, PASSWORD, NOW).unwrap();
    let there = Origin { address: "10.66.0.1".parse().unwrap(), agent: "" };
    session(&accounts, "an", NOW);
    let outcome = |number: usize| accounts.sign_in(["an", "AN"][number % 2], "sai mật khẩu", there, NOW);
    let busy = (0..40).position(|number| matches!(outcome(number), Err(AccountsError::Busy(_))));
    assert_eq!(busy, Some(10));
    // Not where its owner signed in before.
    session(&accounts, "an", NOW);
}

#[test]
fn the_second_factor_is_asked_for_and_each_code_counts_once() {
    let (_folder, accounts) = scratch(Rules { totp: vec![Role::Admin], ..Rules::default() });
    accounts.add("an", Role::Admin, None, PASSWORD, NOW).unwrap();
    let token = session(&accounts, "an", NOW);
    assert!(accounts.viewer(&token, NOW).unwrap().unwrap().must_enrol);
    let secret = accounts.offered_totp("an").unwrap();
    assert_eq!(accounts.offered_totp("an").unwrap(), secret);
    assert!(matches!(accounts.enrol_totp("an", "000000", NOW + 1), Err(AccountsError::Code)));
    let first = code(&secret, NOW);
    let recovery = accounts.enrol_totp("an", &first, NOW).unwrap();
    assert!(!accounts.viewer(&token, NOW).unwrap().unwrap().must_enrol);
    assert_eq!(accounts.find("an").unwrap().totp, Some(10));

    let step = |now| match accounts.sign_in("an", PASSWORD, here(), now).unwrap() {
        SignIn::Code(step) => step,
        other => panic!("{other:?}"),
    };
    let enters =
        |step: &str, code: &str, now| accounts.second_factor(step, code, here(), now).unwrap().is_some();
    // The code of the enrolment was used.
    assert!(!enters(&step(NOW), &first, NOW));
    let later = NOW + MINUTE;
    let second = code(&secret, later);
    let one = step(later);
    assert!(enters(&one, &second, later));
    assert!(!enters(&one, &second, later), "a step is over with its session");
    assert!(!enters(&step(later), &second, later));
    assert!(!enters("no step", &code(&secret, later + MINUTE), later + MINUTE));
    // One that stands in for it, once.
    assert!(enters(&step(later), &recovery[3], later));
    assert!(!enters(&step(later), &recovery[3], later));
    assert_eq!(accounts.find("an").unwrap().totp, Some(9));
    // Five tries a step, and not for long.
    let much_later = later + HOUR;
    let good = code(&secret, much_later);
    let tired = step(much_later);
    for _ in 0..5 {
        assert!(!enters(&tired, "123 45", much_later));
    }
    assert!(!enters(&tired, &good, much_later));
    assert!(enters(&step(much_later), &good, much_later));
    let slow = step(much_later);
    let late = much_later + 6 * MINUTE;
    assert!(!enters(&slow, &code(&secret, late), late));
    assert!(enters(&step(late), &code(&secret, late), late));
}

#[test]
fn a_change_by_a_command_ends_a_sign_in_that_is_under_way() {
    let (folder, accounts) = scratch(Rules::default());
    let command = Accounts::open_with(folder.path(), Rules::default()).unwrap();
    accounts.add("an", Role::Admin, None, PASSWORD, NOW).unwrap();
    // The last admin may not be disabled.
    accounts.add("binh", Role::Admin, None, PASSWORD, NOW).unwrap();
    let secret = accounts.offered_totp("an").unwrap();
    accounts.enrol_totp("an", &code(&secret, NOW), NOW).unwrap();
    let step = |password: &str, now| match accounts.sign_in("an", password, here(), now).unwrap() {
        SignIn::Code(step) => step,
        other => panic!("{other:?}"),
    };
    let enters =
        |step: &str, now| accounts.second_factor(step, &code(&secret, now), here(), now).unwrap().is_some();
    let later = NOW + MINUTE;
    let of_the_old = step(PASSWORD, later);
    command.set_password("an", "một mật khẩu khác").unwrap();
    assert!(!enters(&of_the_old, later), "of the password before");
    let of_the_new = step("một mật khẩu khác", later);
    assert!(enters(&of_the_new, later), "the code was not used up");
    let last = later + MINUTE;
    let of_the_disabled = step("một mật khẩu khác", last);
    command.disable("an").unwrap();
    assert!(!enters(&of_the_disabled, last));
}

#[test]
fn a_link_makes_the_first_admin_once() {
    let (_folder, accounts) = scratch(Rules::default());
    let old = accounts.first_link(NOW).unwrap().unwrap();
    let code = accounts.first_link(NOW).unwrap().unwrap();
    let enter = |code: &str, name: &str, password: &str, now| {
        accounts.use_link(code, name, password, here(), now).map(|(_, session)| session.unwrap())
    };
    assert!(matches!(enter(&old, "an", PASSWORD, NOW), Err(AccountsError::Link)));
    assert!(accounts.link(&code, NOW + 24 * HOUR - 1).is_ok());
    assert!(matches!(accounts.link(&code, NOW + 24 * HOUR), Err(AccountsError::Link)));
    assert!(matches!(enter(&code, "an", "ngắn", NOW), Err(AccountsError::Password)));
    assert!(matches!(enter(&code, "", PASSWORD, NOW), Err(AccountsError::Name)));
    let session = enter(&code, "an", PASSWORD, NOW).unwrap();
    assert_eq!(accounts.viewer(&session, NOW).unwrap().unwrap().viewer.role, Role::Admin);
    assert!(matches!(enter(&code, "bình", PASSWORD, NOW), Err(AccountsError::Link)));
    assert_eq!(accounts.first_link(NOW).unwrap(), None);

    accounts.invite("bình", Role::Officer, Some("so-yte"), None, NOW).unwrap();
    assert_eq!(accounts.sign_in("bình", "", here(), NOW).unwrap(), SignIn::Wrong);
    let code = accounts.password_link("bình", NOW).unwrap();
    assert_eq!(accounts.link(&code, NOW).unwrap().account.as_deref(), Some("bình"));
    let session = enter(&code, "an", PASSWORD, NOW).unwrap();
    assert_eq!(accounts.viewer(&session, NOW).unwrap().unwrap().viewer.name, "bình");
    // Where a second factor is asked for, a new password is not enough.
    let secret = accounts.offered_totp("bình").unwrap();
    accounts.enrol_totp("bình", &self::code(&secret, NOW), NOW).unwrap();
    let code = accounts.password_link("bình", NOW).unwrap();
    assert_eq!(accounts.use_link(&code, "", PASSWORD, here(), NOW).unwrap(), ("bình".to_owned(), None));
}

const AN: &str = "https://sso.example.vn 1";
const BINH: &str = "https://sso.example.vn 2";

fn grant(role: Role, agency: Option<&str>) -> Grant {
    Grant { role, agency: agency.map(str::to_owned) }
}

/// Signs in outside: the account's name and how it came to it, or why not.
fn enter(
    accounts: &Accounts,
    subject: &str,
    name: &str,
    grant: Option<&Grant>,
) -> Result<(String, Came, String), Refusal> {
    let who = Outsider { subject, name, grant, id_token: Some("token") };
    match accounts.enter(&who, here(), NOW).unwrap() {
        Entry::Session { token, account, came } => Ok((account, came, token)),
        Entry::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn outside_somebody_is_a_subject_and_never_a_name() {
    let (_folder, accounts) = scratch(Rules { totp: vec![Role::Analyst], ..Rules::default() });
    accounts.add("an", Role::Admin, None, PASSWORD, NOW).unwrap();
    let analyst = grant(Role::Analyst, None);
    // A name that somebody has here is not taken over, however it is spelt, and whatever the groups say.
    for name in ["an", "AN"] {
        assert_eq!(enter(&accounts, AN, name, Some(&analyst)).unwrap_err(), Refusal::Taken);
        assert_eq!(enter(&accounts, AN, name, None).unwrap_err(), Refusal::Taken);
    }
    assert_eq!(accounts.find("an").unwrap().subject, None);
    assert_eq!(enter(&accounts, BINH, "bình", None).unwrap_err(), Refusal::NoGroup);
    for name in ["", "<b>", "a\nb", &"a".repeat(65)] {
        assert_eq!(enter(&accounts, BINH, name, Some(&analyst)).unwrap_err(), Refusal::Name, "{name:?}");
    }
    let (name, came, token) = enter(&accounts, BINH, "bình", Some(&analyst)).unwrap();
    assert_eq!((&*name, came), ("bình", Came::Made));
    // The second factor is asked for there.
    let signed = accounts.viewer(&token, NOW).unwrap().unwrap();
    assert!(!signed.must_enrol && signed.viewer.role == Role::Analyst);
    assert!(accounts.sessions("bình", NOW).unwrap()[0].is_outside);
    assert_eq!(accounts.is_outside(&token).unwrap(), Some(Some("token".to_owned())));
    assert_eq!(accounts.sign_in("bình", "", here(), NOW).unwrap(), SignIn::Wrong);
    // Another name is the same person, and the same name of another one is not.
    assert_eq!(enter(&accounts, BINH, "an", Some(&analyst)).unwrap().0, "bình");
    assert_eq!(enter(&accounts, AN, "bình", Some(&analyst)).unwrap_err(), Refusal::Taken);
    accounts.disable("bình").unwrap();
    assert_eq!(enter(&accounts, BINH, "bình", Some(&analyst)).unwrap_err(), Refusal::Disabled);
}

#[test]
fn groups_say_what_somebody_is_at_each_sign_in() {
    let (_folder, accounts) = scratch(Rules::default());
    let (admin, officer) = (grant(Role::Admin, None), grant(Role::Officer, Some("so-yte")));
    let (_, _, first) = enter(&accounts, AN, "an", Some(&admin)).unwrap();
    let (_, came, second) = enter(&accounts, AN, "an", Some(&officer)).unwrap();
    assert_eq!(came, Came::Changed(admin.clone()));
    assert_eq!(accounts.viewer(&first, NOW).unwrap(), None, "that of an admin is over");
    assert_eq!(accounts.viewer(&second, NOW).unwrap().unwrap().viewer.scope, Scope::Agency("so-yte".into()));
    assert_eq!(enter(&accounts, AN, "an", Some(&officer)).unwrap().1, Came::Known);
    // Whoever has none any more is out at once, and in again with one.
    assert_eq!(enter(&accounts, AN, "an", None).unwrap_err(), Refusal::NoGroup);
    assert_eq!(accounts.viewer(&second, NOW).unwrap(), None);
    assert_eq!(enter(&accounts, AN, "an", Some(&admin)).unwrap().1, Came::Changed(officer));
}

#[test]
fn an_account_waits_for_its_owner_only_where_an_admin_says_so() {
    let (_folder, accounts) = scratch(Rules::default());
    accounts.add("root", Role::Admin, None, PASSWORD, NOW).unwrap();
    accounts.add("an", Role::Analyst, None, PASSWORD, NOW).unwrap();
    let open = session(&accounts, "an", NOW);
    let secret = accounts.offered_totp("an").unwrap();
    let recovery = accounts.enrol_totp("an", &code(&secret, NOW), NOW).unwrap();
    let SignIn::Code(step) = accounts.sign_in("an", PASSWORD, here(), NOW).unwrap() else {
        panic!("no step")
    };
    let link = accounts.password_link("an", NOW).unwrap();
    accounts.await_outside("AN", NOW - (AWAITED_DAYS * 24 + 1) * HOUR).unwrap();
    assert_eq!(enter(&accounts, AN, "an", None).unwrap_err(), Refusal::Taken, "not for ever");
    accounts.await_outside("an", NOW).unwrap();
    let (name, came, token) = enter(&accounts, AN, "an", None).unwrap();
    assert_eq!((&*name, came), ("an", Came::Linked));
    // One way in from now on, and nothing of before is left open; the role is the admin's to say.
    assert_eq!(accounts.viewer(&open, NOW).unwrap(), None);
    assert_eq!(accounts.sign_in("an", PASSWORD, here(), NOW).unwrap(), SignIn::Wrong);
    assert_eq!(accounts.second_factor(&step, &recovery[0], here(), NOW).unwrap(), None);
    assert!(matches!(accounts.link(&link, NOW), Err(AccountsError::Link)));
    let reader = grant(Role::Reader, None);
    assert_eq!(enter(&accounts, AN, "an", Some(&reader)).unwrap().1, Came::Known);
    assert_eq!(accounts.viewer(&token, NOW).unwrap().unwrap().viewer.role, Role::Analyst);
    // The second who comes by that name is not the first.
    assert_eq!(enter(&accounts, BINH, "an", Some(&reader)).unwrap_err(), Refusal::Taken);

    // An admin's password stays, and links are one person's.
    accounts.link_outside("root", BINH).unwrap();
    assert!(matches!(accounts.link_outside("an", BINH), Err(AccountsError::Taken(name)) if name == "root"));
    assert!(matches!(accounts.sign_in("root", PASSWORD, here(), NOW).unwrap(), SignIn::Session(_)));
    accounts.unlink_outside("an").unwrap();
    assert_eq!(accounts.viewer(&token, NOW).unwrap(), None);
    assert_eq!(enter(&accounts, AN, "an", None).unwrap_err(), Refusal::Taken);
    // Nobody locks everybody out.
    let (_folder, alone) = scratch(Rules::default());
    enter(&alone, AN, "an", Some(&grant(Role::Admin, None))).unwrap();
    assert!(matches!(alone.unlink_outside("an"), Err(AccountsError::LastAdmin(_))));
}

#[test]
fn passwords_may_be_for_admins_only() {
    let folder = tempfile::tempdir().unwrap();
    let before = Accounts::open(folder.path()).unwrap();
    before.add("root", Role::Admin, None, PASSWORD, NOW).unwrap();
    before.add("an", Role::Reader, None, PASSWORD, NOW).unwrap();
    let open = session(&before, "an", NOW);
    let link = before.password_link("an", NOW).unwrap();
    let rules = Rules { passwords: Passwords::Admins, ..Rules::default() };
    let accounts = Accounts::open_with(folder.path(), rules).unwrap();
    // That it has a password is told to whoever knows it.
    assert_eq!(accounts.sign_in("an", "sai mật khẩu", here(), NOW).unwrap(), SignIn::Wrong);
    assert_eq!(accounts.sign_in("an", PASSWORD, here(), NOW).unwrap(), SignIn::Outside);
    assert_eq!(accounts.viewer(&open, NOW).unwrap(), None);
    assert!(matches!(accounts.use_link(&link, "", PASSWORD, here(), NOW), Err(AccountsError::Outside)));
    let root = session(&accounts, "root", NOW);
    assert!(accounts.viewer(&root, NOW).unwrap().is_some());
    let reader = grant(Role::Reader, None);
    let (.., token) = enter(&accounts, AN, "bình", Some(&reader)).unwrap();
    assert!(accounts.viewer(&token, NOW).unwrap().is_some());
}
