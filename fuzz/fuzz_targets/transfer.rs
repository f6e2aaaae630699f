//! Any messages of a transfer: what is made of them is a master file of the zone, or nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sachdns::fetch::transfer::assembly::{Assembly, AssemblyFault, Change, Progress};
use sachdns::fetch::transfer::zone::{Differences, write_head, write_line};
use sachdns::name::Name;
use sachdns::wire::Part;

// The first octet says whether differences are asked for, and each message has its length in front.
fuzz_target!(|octets: &[u8]| {
    let Some((&first, mut rest)) = octets.split_first() else { return };
    let apex = Name::from_host("rpz.x").expect("a name");
    let mut assembly = Assembly::new(apex.clone(), (first & 1 == 1).then_some(7));
    let (mut zone, mut differences, mut is_whole) = (Vec::new(), Differences::default(), false);
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(tail.len());
        let (message, tail) = tail.split_at(len);
        rest = tail;
        let Ok(part) = Part::parse(message) else { return };
        let progress = assembly.take(&part, |change| {
            match change {
                Change::Whole(soa) => {
                    is_whole = true;
                    write_head(&mut zone, &apex, &soa).expect("memory");
                }
                Change::Differences => {}
                Change::Add(line) if is_whole => write_line(&mut zone, &line).expect("memory"),
                Change::Add(line) => drop(differences.add(&line)),
                Change::Delete(line) => drop(differences.delete(&line)),
            }
            Ok::<(), AssemblyFault>(())
        });
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Done(_, soa)) => {
                if is_whole {
                    // It is a zone that differences can be worked into, and none change nothing but the head.
                    let mut again = Vec::new();
                    let done = Differences::default().apply(&mut &*zone, &apex, &soa, &mut again);
                    done.expect("a zone of our own");
                    assert_eq!(zone, again);
                } else {
                    let old = b"$ORIGIN rpz.x.\n@ 300 IN SOA a. b. 7 1 1 1 1\na 300 IN CNAME .\n";
                    let _ = differences.apply(&mut &old[..], &apex, &soa, &mut Vec::new());
                }
                return;
            }
            Ok(Progress::Unchanged(_)) | Err(_) => return,
        }
    }
});
