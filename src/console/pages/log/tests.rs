//! A search that takes long goes on while its page is sent: every row once, and one look in the audit.

use super::*;
use crate::console::access::Role;
use crate::console::house::House as _;
use crate::console::tests::{Scratch, officer, viewer};
use crate::evidence::store::Kind;

/// Rows of hits or of all, as the page writes each.
fn rows(page: &str) -> usize {
    page.matches("<th scope=\"row\">").count()
}

/// The first search is over before it began; the rest is searched while the page is sent.
fn sent(call: &Call, asked: &Asked, first: &mut dyn Watch) -> String {
    let mut found = Found::before(asked);
    found.search(&call.data().unwrap(), asked, first).unwrap();
    let mut out = Vec::new();
    let below = go_on(call, asked, found, &mut out).unwrap().into_string();
    String::from_utf8(out).unwrap() + &below
}

struct Stop;

impl Watch for Stop {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[test]
fn what_takes_long_is_sent_as_it_is_found() {
    let scratch = Scratch::new();
    for (who, target, expected) in [
        (viewer(Role::Analyst), "/log", 20),
        (viewer(Role::Analyst), "/log?hits=1", 10),
        (officer(0), "/log", 10),
        (viewer(Role::Analyst), "/log?client=10.1.2.3", 10),
    ] {
        let call = scratch.call(Some(who), target, &[]);
        let asked = read(&call).unwrap();
        assert_eq!(asked.filter.kind == Kind::Hits, target.contains("hits"));
        for page in [sent(&call, &asked, &mut Stop), sent(&call, &asked, &mut Deadline::after(PATIENCE))] {
            assert_eq!(rows(&page), expected, "{target}: {page}");
            assert!(page.starts_with("<div class=\"searching\" role=\"status\">"), "{page}");
        }
    }
    // Each look at a client is recorded once, however often the search goes on.
    let audit = std::fs::read_to_string(scratch.data_dir().join("audit.jsonl")).unwrap();
    assert_eq!(audit.lines().filter(|line| line.contains("10.1.2.3")).count(), 2, "{audit}");
}

#[test]
fn how_far_it_is_is_told_until_nobody_listens() {
    struct Deaf(usize);
    impl Write for Deaf {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 > 1 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(octets.len()) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let now = Instant::now();
    let mut out = Vec::new();
    let mut told = Told { until: now + MORE_PATIENCE, next: now, label: "Progress", out: &mut out };
    assert!(told.progress(3, 7).is_continue() && told.progress(4, 7).is_continue());
    told.until = now;
    assert!(told.progress(5, 7).is_break(), "its time is over");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"<progress aria-label="Progress" max="7" value="3"></progress>"#
    );
    let mut deaf = Deaf(0);
    let mut told = Told { until: now + MORE_PATIENCE, next: now, label: "Progress", out: &mut deaf };
    assert!(told.progress(1, 7).is_continue());
    told.next = now;
    assert!(told.progress(2, 7).is_break());
}
