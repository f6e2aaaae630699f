//! Any octets as what a dnstap receiver says, or as a file that is to go on: nothing panics, and what is read again reads the
//! same.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use sachdns::evidence::export::frames::{self, Control};

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((control, len))) = frames::control(data) {
        assert!(len <= data.len());
        assert_eq!(frames::control(&data[..len]), Ok(Some((control, len))));
        assert_eq!(frames::control(&data[..len - 1]), Ok(None), "cut short, more must come");
    }

    check_file(data);
    let mut start = Vec::new();
    frames::put_control(Control::Start, &mut start);
    start.extend(data);
    let at = check_file(&start).expect("it begins as such a file does");
    // From there it goes on: a message behind it is whole.
    let mut file = start[..at].to_vec();
    frames::put_data(b"message", &mut file);
    assert_eq!(check_file(&file), Some(file.len()));
    frames::put_control(Control::Stop, &mut file);
    assert_eq!(check_file(&file), Some(at + 4 + b"message".len()));
});

fn check_file(octets: &[u8]) -> Option<usize> {
    let at = frames::resume_at(&mut Cursor::new(octets)).ok()?;
    let at = usize::try_from(at).expect("an offset in memory");
    assert!(at <= octets.len());
    let again = frames::resume_at(&mut Cursor::new(&octets[..at])).expect("what was kept is such a file");
    assert_eq!(again, at as u64);
    Some(at)
}
