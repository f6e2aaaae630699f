//! What the book promises, checked on books in scratch folders.

use proptest::prelude::*;

use super::claim::{About, Batch, Claim, ClientId, Fault, Manner, Scope};
use super::*;

#[test]
fn a_machine_nobody_spoke_of_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let book = Book::open(folder.path()).unwrap();
    assert_eq!(book.who("10.1.2.3".parse().unwrap(), 0, &Hints::default()).unwrap(), Who::Unknown);
    assert_eq!(book.machine(MachineId(1)).unwrap(), None);
    let error = book.merge(MachineId(1), MachineId(2), 0, "an", None).unwrap_err();
    assert_eq!(error.to_string(), "there is no machine m-2; `sachdns identity list` shows all");
    // It is there already the second time.
    Book::open(folder.path()).unwrap();
}

#[test]
fn machines_have_numbers() {
    assert_eq!("m-17".parse(), Ok(MachineId(17)));
    assert_eq!(MachineId(17).to_string(), "m-17");
    for text in ["17", "m-", "m-x", "m--1", "m-99999999999999999999"] {
        assert_eq!(text.parse::<MachineId>(), Err(MachineIdError), "{text}");
    }
}

fn scratch() -> (tempfile::TempDir, Book) {
    let folder = tempfile::tempdir().unwrap();
    let book = Book::open(folder.path()).unwrap();
    (folder, book)
}

fn mac(number: u8) -> Mac {
    Mac([0, 0x1a, 0x2b, 0, 0, number])
}

fn random_mac(number: u8) -> Mac {
    Mac([2, 0x1a, 0x2b, 0, 0, number])
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 1, 2, number])
}

fn lease(at: u8, of: u8, start: i64, until: i64) -> Claim {
    Claim {
        address: Some(address(at)),
        mac: Some(mac(of)),
        start: Some(start),
        until: Some(until),
        ..Claim::default()
    }
}

fn take(book: &Book, name: &str, scope: Scope, as_of: i64, claims: &[Claim]) -> (Taken, Vec<Fault>) {
    let mut batch = Batch::new(scope);
    for claim in claims {
        batch.claim(claim.clone());
    }
    let source = Source { name, agency: Some("so-tttt"), as_of };
    let taken = book.take(&source, &mut batch, Trial::No).unwrap();
    (taken, batch.faults.into_iter().map(|(_, fault)| fault).collect())
}

/// The machines behind an address, `?` in front of several.
fn who(book: &Book, at: u8, time: i64, hints: &Hints<'_>) -> String {
    match book.who(address(at), time, hints).unwrap() {
        Who::Machine(machine) => machine.id.to_string(),
        Who::Conflict(machines) => {
            let ids: Vec<_> = machines.iter().map(|machine| machine.id.to_string()).collect();
            format!("?{}", ids.join(","))
        }
        Who::Unknown => "-".to_owned(),
    }
}

#[track_caller]
fn check(book: &Book, at: u8, time: i64, expected: &str) {
    assert_eq!(who(book, at, time, &Hints::default()), expected, "10.1.2.{at} at {time}");
}

#[test]
fn a_machine_keeps_its_id_across_addresses() {
    let (_folder, book) = scratch();
    take(&book, "a", Scope::Log, 100, &[lease(1, 7, 0, 10), lease(2, 7, 20, 30), lease(1, 8, 40, 50)]);
    check(&book, 1, 5, "m-1");
    check(&book, 1, 10, "-");
    check(&book, 2, 20, "m-1");
    check(&book, 1, 45, "m-2");
    let spans: Vec<_> =
        book.addresses(MachineId(1)).unwrap().into_iter().map(|it| (it.address, it.from, it.to)).collect();
    assert_eq!(spans, [(address(2), 20, Some(30)), (address(1), 0, Some(10))]);
}

#[test]
fn leases_that_end_early() {
    let (_folder, book) = scratch();
    let released = Claim { manner: Manner::Released, ..lease(1, 7, 0, 4) };
    let stranger = Claim { manner: Manner::Nobody, mac: None, ..lease(3, 0, 5, 100) };
    take(
        &book,
        "a",
        Scope::Log,
        100,
        &[
            lease(1, 7, 0, 10),
            released,
            lease(2, 7, 0, 100),
            lease(2, 8, 50, 60),
            lease(3, 9, 0, 100),
            stranger,
        ],
    );
    check(&book, 1, 3, "m-1");
    check(&book, 1, 4, "-");
    check(&book, 2, 49, "m-1");
    check(&book, 2, 50, "m-3");
    // The newer lease is over; the older one was, too.
    check(&book, 2, 70, "-");
    check(&book, 3, 4, "m-2");
    check(&book, 3, 5, "-");
}

#[test]
fn lists_of_the_moment_tell_by_silence_what_is_over() {
    let (_folder, book) = scratch();
    take(&book, "a", Scope::Leases, 10, &[lease(1, 7, 10, 100), lease(2, 8, 10, 100)]);
    take(&book, "a", Scope::Leases, 20, &[lease(1, 7, 20, 110), lease(2, 9, 20, 110)]);
    take(&book, "a", Scope::Leases, 30, &[lease(2, 9, 30, 120)]);
    check(&book, 1, 29, "m-1");
    check(&book, 1, 30, "-");
    check(&book, 2, 19, "m-2");
    check(&book, 2, 115, "m-3");
    // An older copy changes nothing that newer ones say.
    let (taken, _) = take(&book, "a", Scope::Leases, 20, &[lease(1, 7, 20, 110), lease(2, 9, 20, 110)]);
    assert_eq!(taken, Taken { known: 2, ..Taken::default() });
    check(&book, 1, 30, "-");
    assert_eq!(take(&book, "a", Scope::Leases, 40, &[lease(1, 7, 40, 40)]).1, [Fault::Over]);
}

#[test]
fn inventories_are_undated_and_leases_are_not() {
    let (_folder, book) = scratch();
    let row = |at: u8, of: u8, owner: &str| Claim {
        address: Some(address(at)),
        mac: Some(mac(of)),
        about: About { owner: Some(owner.to_owned()), ..About::default() },
        ..Claim::default()
    };
    take(&book, "i", Scope::Inventory, 1000, &[row(1, 7, "An"), row(2, 8, "Bình")]);
    check(&book, 1, 0, "m-1");
    check(&book, 1, 5000, "m-1");
    // It moved, and the other one was taken away.
    take(&book, "i", Scope::Inventory, 2000, &[row(2, 7, "Chi")]);
    check(&book, 1, 1999, "m-1");
    check(&book, 1, 2000, "-");
    check(&book, 2, 1999, "m-2");
    check(&book, 2, 2000, "m-1");
    assert_eq!(book.machine(MachineId(1)).unwrap().unwrap().owner.as_deref(), Some("Chi"));
    // The first version again.
    let (taken, _) = take(&book, "i", Scope::Inventory, 1000, &[row(1, 7, "An"), row(2, 8, "Bình")]);
    assert_eq!(taken, Taken { known: 2, ..Taken::default() });
    assert_eq!(book.machine(MachineId(1)).unwrap().unwrap().owner.as_deref(), Some("Chi"));
    // A lease says when: it counts, and the contradiction is told.
    take(&book, "l", Scope::Log, 3000, &[lease(2, 9, 2500, 2600)]);
    check(&book, 2, 2550, "m-3");
    check(&book, 2, 2600, "m-1");
    let conflicts = book.conflicts(0).unwrap();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0].kind, ConflictKind::LeaseAgainstInventory);
    assert_eq!((conflicts[0].from, conflicts[0].to), (2500, Some(2600)));
}

#[test]
fn contradictions_are_told_and_hints_may_decide() {
    let (_folder, book) = scratch();
    let named = |claim: Claim, host: &str| Claim { host: Some(host.to_owned()), ..claim };
    take(&book, "a", Scope::Log, 100, &[named(lease(1, 7, 0, 100), "pc-01")]);
    take(&book, "b", Scope::Log, 100, &[named(lease(1, 8, 50, 100), "pc-02.so.local")]);
    check(&book, 1, 49, "m-1");
    check(&book, 1, 60, "?m-1,m-2");
    let hint = |hints: Hints<'_>| who(&book, 1, 60, &hints);
    assert_eq!(hint(Hints { mac: Some(mac(8)), ..Hints::default() }), "m-2");
    assert_eq!(hint(Hints { host: Some("PC-02"), ..Hints::default() }), "m-2");
    assert_eq!(hint(Hints { host: Some("pc-03"), ..Hints::default() }), "?m-1,m-2");
    // Whoever has another MAC is none of them.
    assert_eq!(hint(Hints { mac: Some(mac(9)), ..Hints::default() }), "-");
    assert_eq!(book.conflicts(0).unwrap()[0].kind, ConflictKind::Leases);
    assert_eq!(book.conflicts(100).unwrap(), []);
    book.merge(MachineId(1), MachineId(2), 200, "an", Some("one laptop")).unwrap();
    check(&book, 1, 60, "m-1");
    assert_eq!(book.machine(MachineId(2)).unwrap().unwrap().macs.len(), 2);
    assert_eq!(book.conflicts(0).unwrap(), []);
    // What it was known by still leads to it.
    take(&book, "a", Scope::Log, 100, &[lease(5, 8, 90, 100)]);
    check(&book, 5, 95, "m-1");
}

#[test]
fn randomised_macs_are_not_trusted_alone() {
    let (_folder, book) = scratch();
    let claim = |at: u8, of: u8, host: Option<&str>| Claim {
        mac: Some(random_mac(of)),
        host: host.map(str::to_owned),
        ..lease(at, 0, i64::from(at), 100)
    };
    let ids = |claims: &[Claim]| {
        take(&book, "a", Scope::Log, 100, claims);
        claims
            .iter()
            .map(|it| {
                let found = book.who(it.address.unwrap(), it.start.unwrap(), &Hints::default()).unwrap();
                let Who::Machine(machine) = found else { panic!("{found:?}") };
                machine.id.0
            })
            .collect::<Vec<_>>()
    };
    // A new MAC and the same name: the same machine. The same MAC and another name: another one.
    assert_eq!(
        ids(&[claim(1, 1, Some("may-an")), claim(2, 2, Some("may-an")), claim(3, 1, Some("may-binh"))]),
        [1, 1, 2]
    );
    // Names that many have tell nothing.
    assert_eq!(
        ids(&[claim(4, 3, Some("iPhone")), claim(5, 4, Some("iPhone")), claim(6, 3, None)]),
        [3, 4, 3]
    );
    // Two machines with MACs of their own are two, whatever they are called; with a randomised one it is either.
    let own =
        |at: u8, of: u8| Claim { host: Some("pc".to_owned() + "-09"), ..lease(at, of, i64::from(at), 100) };
    assert_eq!(ids(&[own(7, 20), own(8, 21)]), [5, 6]);
    let unclear = claim(9, 9, Some("pc-09"));
    assert_eq!(ids(std::slice::from_ref(&unclear)), [7]);
    assert_eq!(ids(std::slice::from_ref(&unclear)), [7]);
    assert_eq!(ids(&[claim(10, 10, Some("pc-09"))]), [7]);
    let names: Vec<_> =
        book.conflicts(0).unwrap().into_iter().filter(|it| it.kind == ConflictKind::Host).collect();
    assert_eq!((names.len(), names[0].machines.len()), (1, 3));
}

#[test]
fn duids_join_what_macs_do_not() {
    let (_folder, book) = scratch();
    let duid = ClientId::Duid(vec![0, 4, 1, 2, 3]);
    let six: IpAddr = "2001:db8::3".parse().unwrap();
    let v4 = Claim { client: Some(duid.clone()), ..lease(1, 7, 0, 100) };
    let v6 = Claim { address: Some(six), mac: None, client: Some(duid), ..lease(1, 7, 0, 100) };
    take(&book, "a", Scope::Log, 100, &[v4]);
    take(&book, "b", Scope::Log, 100, &[v6]);
    let Who::Machine(machine) = book.who(six, 50, &Hints::default()).unwrap() else { panic!() };
    assert_eq!(machine.id, MachineId(1));
}

#[test]
fn machines_are_met_by_their_macs() {
    let (_folder, book) = scratch();
    let told = |mac, at| Told { mac, address: None, forwarder: address(1), agency: Some("so-tttt"), at };
    let id = book.meet(&told(mac(7), 50)).unwrap().unwrap();
    assert_eq!(book.meet(&Told { agency: None, ..told(mac(7), 60) }).unwrap(), Some(id));
    let machine = book.by_mac(mac(7)).unwrap().unwrap();
    assert_eq!((machine.id, machine.agency.as_deref(), machine.last), (id, Some("so-tttt"), 60));
    let hints = Hints { mac: Some(mac(7)), ..Hints::default() };
    assert_eq!(book.who(address(9), 0, &hints).unwrap(), Who::Machine(machine));
    for of_nobody in [Mac([0; 6]), Mac([2, 1, 2, 3, 4, 5])] {
        assert_eq!(book.meet(&told(of_nobody, 60)).unwrap(), None);
    }
    // Nothing is said of the forwarder's own address.
    check(&book, 1, 60, "-");
}

#[test]
fn addresses_that_forwarders_tell_are_leases_of_an_hour() {
    let (_folder, book) = scratch();
    let hour = 3_600_000_000;
    let told =
        |mac, host, at| Told { mac, address: Some(address(host)), forwarder: address(1), agency: None, at };
    book.meet(&told(mac(7), 5, 100)).unwrap();
    check(&book, 5, 99, "-");
    check(&book, 5, 100 + hour - 1, "m-1");
    check(&book, 5, 100 + hour, "-");
    book.meet(&told(mac(7), 5, hour)).unwrap();
    check(&book, 5, 2 * hour - 1, "m-1");
    assert_eq!(book.addresses(MachineId(1)).unwrap().len(), 1);
    // It went to another one.
    book.meet(&told(mac(8), 5, hour + 50)).unwrap();
    check(&book, 5, hour + 49, "m-1");
    check(&book, 5, hour + 60, "m-2");
    // A machine that was known without a MAC has this one, one with another MAC has not.
    let by_name = Claim { mac: None, host: Some("pc-07".into()), ..lease(6, 0, 0, 1000) };
    take(&book, "a", Scope::Log, 100, &[by_name, lease(7, 9, 0, 1000)]);
    check(&book, 6, 500, "m-3");
    assert_eq!(book.meet(&told(mac(10), 6, 500)).unwrap(), Some(MachineId(3)));
    assert_eq!(book.by_mac(mac(10)).unwrap().unwrap().host.as_deref(), Some("pc-07"));
    assert_eq!(book.meet(&told(mac(11), 7, 500)).unwrap(), Some(MachineId(5)));
}

#[test]
fn what_is_old_goes() {
    let (_folder, book) = scratch();
    take(&book, "a", Scope::Log, 100, &[lease(1, 7, 0, 10), lease(1, 8, 20, 500)]);
    assert_eq!(book.expire(100).unwrap(), 1);
    assert_eq!(book.machine(MachineId(1)).unwrap(), None);
    check(&book, 1, 30, "m-2");
    // Numbers do not come again.
    take(&book, "a", Scope::Log, 600, &[lease(1, 7, 600, 700)]);
    check(&book, 1, 650, "m-3");
}

#[test]
fn a_trial_changes_nothing() {
    let (_folder, book) = scratch();
    let mut batch = Batch::new(Scope::Log);
    batch.claim(lease(1, 7, 0, 10));
    let source = Source { name: "a", agency: None, as_of: 5 };
    let taken = book.take(&source, &mut batch, Trial::Yes).unwrap();
    assert_eq!(taken, Taken { machines: 1, added: 1, ..Taken::default() });
    check(&book, 1, 5, "-");
}

/// What a server's file says, in the order of its lines.
fn any_story() -> impl Strategy<Value = Vec<(u8, u8, i64, i64, bool)>> {
    let line = (0u8..3, 0u8..4, 0i64..4, 1i64..9, proptest::bool::weighted(0.2));
    proptest::collection::vec(line, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However often a growing file is read, and read again, who had an address is what its lines say: the lease that began last
    /// counts, until it ends.
    #[test]
    fn leases_are_what_a_naive_model_says(story in any_story(), cuts in proptest::collection::vec(0usize..24, 0..4)) {
        let mut now = 0;
        let mut claims: Vec<Claim> = Vec::new();
        for (at, of, step, len, is_release) in story {
            now += step;
            // A release is of the lease that this machine had last.
            let last = claims.iter().rev().find(|it| it.address == Some(address(at)));
            match last {
                Some(last) if is_release && last.manner == Manner::Holds => {
                    let until = now.max(last.start.unwrap()).min(last.until.unwrap());
                    claims.push(Claim { until: Some(until), manner: Manner::Released, ..last.clone() });
                }
                _ => claims.push(lease(at, of, now, now + len)),
            }
        }
        let model = |at: u8, time: i64| {
            let of = claims.iter().filter(|it| it.address == Some(address(at)) && it.start.unwrap() <= time);
            // Of those that began at once the last line's.
            let last = of.max_by_key(|it| it.start)?;
            (time < last.until.unwrap()).then_some(last.mac.unwrap())
        };
        let (_folder, book) = scratch();
        let mut parts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(claims.len())).collect();
        parts.sort_unstable();
        parts.extend([claims.len(), claims.len()]);
        for part in parts {
            take(&book, "a", Scope::Log, now, &claims[..part]);
        }
        let said: Vec<_> = claims.iter().map(|it| (it.address, it.mac, it.start, it.until, it.manner)).collect();
        for at in 0..3 {
            for time in 0..now + 10 {
                let found = match book.who(address(at), time, &Hints::default()).unwrap() {
                    Who::Machine(machine) => machine.mac,
                    Who::Unknown => None,
                    Who::Conflict(both) => panic!("{both:?}"),
                };
                prop_assert_eq!(found, model(at, time), "10.1.2.{} at {} of {:?}", at, time, said);
            }
        }
        // … and what is printed of an address says the same.
        for at in 0..3 {
            for span in book.holders(address(at)).unwrap() {
                let known = book.machine(span.machine).unwrap().unwrap();
                for time in span.from..span.to.unwrap() {
                    prop_assert_eq!(model(at, time), known.mac, "10.1.2.{} at {} of {:?}", at, time, said);
                }
            }
        }
    }
}
