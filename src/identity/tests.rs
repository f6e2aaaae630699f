//! What the book promises, checked on books in scratch folders.

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
