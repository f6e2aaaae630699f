//! Which of several upstreams is asked first, and when one that failed is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;
use crate::harness::house::Setup;
use crate::harness::scripted::{Scripted, Step};
use crate::harness::server::Server;

fn answering() -> Scripted {
    Scripted::answering(|query| query.answer_a([192, 0, 2, 7]))
}

/// Asks for `count` names that nobody asked for before.
#[track_caller]
fn ask(server: &Server, prefix: &str, count: usize) {
    for n in 0..count {
        let reply = server.dig().ask(&format!("{prefix}{n}.test"), "A");
        assert_eq!(reply.rdata("A"), ["192.0.2.7"], "{}", reply.raw);
    }
}

/// The names of clients that an upstream was asked for.
fn count(upstream: &Scripted) -> usize {
    upstream.seen().iter().filter(|query| query.qname() != ".").count()
}

#[test]
fn ordered_asks_the_first() {
    let (first, second) = (answering(), answering());
    let server = Setup::new(first.address).upstream(second.address).serve();
    ask(&server, "n", 20);
    assert_eq!((count(&first), count(&second)), (20, 0));
}

#[test]
fn spread_asks_all() {
    let (first, second) = (answering(), answering());
    let server = Setup::new(first.address).upstream(second.address).resolver("strategy = \"spread\"\n");
    ask(&server.serve(), "n", 60);
    // That one of two has less than 10 of 60 is one in ten million.
    assert!(count(&first) >= 10 && count(&second) >= 10, "{} {}", count(&first), count(&second));
    assert_eq!(count(&first) + count(&second), 60);
}

#[test]
fn fastest_asks_the_one_that_answers_soonest() {
    let slow = Scripted::answering(|query| {
        thread::sleep(Duration::from_millis(50));
        query.answer_a([192, 0, 2, 7])
    });
    let fast = answering();
    let server = Setup::new(slow.address).upstream(fast.address).resolver("strategy = \"fastest\"\n");
    ask(&server.serve(), "n", 60);
    assert!(count(&slow) >= 1, "it was tried");
    assert!(count(&slow) < 20 && count(&fast) > 40, "{} {}", count(&slow), count(&fast));
}

#[test]
fn one_that_refuses_what_others_answer_is_passed_over() {
    let (refusing, second) = (Scripted::failing(5), answering());
    let server = Setup::new(refusing.address).upstream(second.address).serve();
    ask(&server, "n", 30);
    assert!(count(&refusing) < 15, "{}", count(&refusing));
}

#[test]
fn a_silent_one_is_asked_again_by_us_and_not_by_a_client() {
    let answers = Arc::new(AtomicBool::new(false));
    let is_answering = answers.clone();
    let first = Scripted::start(move |query| match is_answering.load(Ordering::SeqCst) {
        true => vec![Step::Send(query.answer_a([192, 0, 2, 7]))],
        false => Vec::new(),
    });
    let second = answering();
    let server = Setup::new(first.address).upstream(second.address).serve();
    ask(&server, "silent", 3);
    let before = count(&first);
    ask(&server, "resting", 10);
    assert_eq!(count(&first), before, "it rests");
    answers.store(true, Ordering::SeqCst);
    let until = Instant::now() + PATIENCE;
    while first.seen().iter().all(|query| query.qname() != ".") {
        assert!(Instant::now() < until, "nobody asks it whether it answers");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(count(&first), before, "no client did");
    server.stderr().wait(PATIENCE, |line| line.contains("an upstream answers again")).unwrap();
    ask(&server, "back", 3);
    assert_eq!(count(&first), before + 3);
}
