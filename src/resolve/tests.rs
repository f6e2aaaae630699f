//! The resolver against a scripted upstream: what is asked once, kept, and given past its time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;

use super::cache::Freshness;
use super::*;
use crate::wire;

/// An upstream that answers with an A record of this TTL; a TTL of `None` is SERVFAIL.
struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    ttl: Arc<Mutex<Option<u32>>>,
    /// Answers are held back until somebody lets them go.
    door: Arc<tokio::sync::Notify>,
}

impl Upstream {
    async fn start(ttl: u32, is_held: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: socket.local_addr().unwrap(),
            asked: Arc::default(),
            ttl: Arc::new(Mutex::new(Some(ttl))),
            door: Arc::default(),
        };
        let (asked, ttl, door) =
            (Arc::clone(&upstream.asked), Arc::clone(&upstream.ttl), Arc::clone(&upstream.door));
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                if is_held {
                    door.notified().await;
                }
                let query = wire::Query::parse(&buffer[..len]).unwrap();
                let mut answer = buffer[..wire::HEADER + query.question().len()].to_vec();
                answer[2] |= wire::QR;
                answer[11] = 0;
                match *ttl.lock().unwrap() {
                    Some(ttl) => {
                        answer[7] = 1;
                        answer.extend(b"\xc0\x0c\x00\x01\x00\x01");
                        answer.extend(ttl.to_be_bytes());
                        answer.extend([0, 4, 192, 0, 2, 1]);
                    }
                    None => answer[3] |= 2,
                }
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        upstream
    }

    fn resolver(&self) -> Arc<Resolver> {
        let options = self.options().into();
        Arc::new(Resolver::new(options, &cache::Options::default(), 100, Handle::current()))
    }

    fn options(&self) -> forward::Options {
        forward::Options {
            upstreams: vec![self.address.into()],
            patience: Duration::from_secs(10),
            deadline: Duration::from_secs(20),
            ..forward::Options::default()
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn ask() -> Ask {
    Ask {
        question: b"\x07example\x00\x00\x01\x00\x01".to_vec(),
        recursion: Flag::Set,
        checking_disabled: Flag::Clear,
        dnssec_ok: Flag::Clear,
    }
}

#[tokio::test]
async fn an_answer_is_kept() {
    let upstream = Upstream::start(300, false).await;
    let resolver = upstream.resolver();
    assert!(resolver.find(&Key::of(&ask()), Instant::now()).is_none());
    let served = resolver.resolve(ask(), None).await;
    assert_eq!((served.aged, served.origin), (Aged::By(0), Origin::Upstream));
    assert_eq!(served.entry.answer.addresses().len(), 1);
    let found = resolver.find(&Key::of(&ask()), Instant::now()).unwrap();
    assert_eq!(found.state, Freshness::Fresh);
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn many_who_wait_ask_once() {
    let upstream = Upstream::start(300, true).await;
    let resolver = upstream.resolver();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let resolver = Arc::clone(&resolver);
            tokio::spawn(async move { resolver.resolve(ask(), None).await })
        })
        .collect();
    while upstream.asked() == 0 {
        tokio::task::yield_now().await;
    }
    upstream.door.notify_one();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().entry.answer.rcode(), rcode::NOERROR);
    }
    assert_eq!(upstream.asked(), 1);
    assert!(resolver.flights().is_empty());
}

#[tokio::test]
async fn past_its_time_an_answer_helps_out_when_upstreams_fail() {
    let upstream = Upstream::start(1, false).await;
    let resolver = upstream.resolver();
    resolver.resolve(ask(), None).await;
    let later = Instant::now() + Duration::from_secs(60);
    let found = resolver.find(&Key::of(&ask()), later).unwrap();
    assert_eq!(found.state, Freshness::Stale);

    *upstream.ttl.lock().unwrap() = None;
    let served = resolver.resolve(ask(), Some(found.clone())).await;
    assert_eq!((served.aged, served.origin), (Aged::Stale, Origin::Cache));
    assert_eq!(served.entry.answer.addresses().len(), 1);

    *upstream.ttl.lock().unwrap() = Some(300);
    let served = resolver.resolve(ask(), Some(found)).await;
    assert_eq!((served.aged, served.origin), (Aged::By(0), Origin::Upstream));
}

#[tokio::test]
async fn a_silent_upstream_does_not_hold_up_a_stale_answer() {
    let upstream = Upstream::start(1, true).await;
    let resolver = upstream.resolver();
    upstream.door.notify_one();
    resolver.resolve(ask(), None).await;
    let found = resolver.find(&Key::of(&ask()), Instant::now() + Duration::from_secs(60));
    // Comes after the client response timer, long before the deadline of twenty seconds.
    let served = tokio::time::timeout(Duration::from_secs(15), resolver.resolve(ask(), found)).await.unwrap();
    assert_eq!(served.aged, Aged::Stale);
    assert_eq!(resolver.flights().len(), 1, "the question stays asked");
}

#[tokio::test]
async fn other_upstreams_other_answers() {
    let (one, other) = (Upstream::start(300, false).await, Upstream::start(300, false).await);
    let resolver = one.resolver();
    resolver.resolve(ask(), None).await;
    resolver.set_upstreams(one.options().into());
    assert!(resolver.find(&Key::of(&ask()), Instant::now()).is_some());
    resolver.set_upstreams(other.options().into());
    assert!(resolver.find(&Key::of(&ask()), Instant::now()).is_none());
    resolver.resolve(ask(), None).await;
    assert_eq!((one.asked(), other.asked()), (1, 1));
}

#[tokio::test]
async fn a_route_has_upstreams_of_its_own_and_what_they_said_goes_with_them() {
    let (one, other) = (Upstream::start(300, false).await, Upstream::start(300, false).await);
    let resolver = one.resolver();
    let route = |upstream: &Upstream| routes::Options {
        upstreams: one.options(),
        recursion: None,
        routes: vec![routes::Route {
            domain: crate::name::Name::from_host("EXAMPLE").unwrap(),
            upstreams: upstream.options(),
        }],
    };
    let elsewhere = Ask { question: b"\x05other\x00\x00\x01\x00\x01".to_vec(), ..ask() };
    let is_kept = |ask: &Ask| resolver.find(&Key::of(ask), Instant::now()).is_some();
    resolver.resolve(ask(), None).await;
    resolver.resolve(elsewhere.clone(), None).await;
    resolver.set_upstreams(route(&other));
    assert!(resolver.has_route(b"\x03www\x07Example\x00") && !resolver.has_route(b"\x05other\x00"));
    assert_eq!((is_kept(&ask()), is_kept(&elsewhere)), (false, true));
    resolver.resolve(ask(), None).await;
    assert_eq!((one.asked(), other.asked()), (2, 1));
    resolver.set_upstreams(route(&other));
    assert!(is_kept(&ask()));
    resolver.set_upstreams(one.options().into());
    assert_eq!((is_kept(&ask()), is_kept(&elsewhere)), (false, true));
}

#[tokio::test]
async fn who_comes_with_nothing_found_is_answered_from_the_cache_too() {
    let upstream = Upstream::start(300, false).await;
    let resolver = upstream.resolver();
    resolver.resolve(ask(), None).await;
    let served = resolver.resolve(ask(), None).await;
    assert_eq!((served.origin, upstream.asked()), (Origin::Cache, 1));
}

#[tokio::test]
async fn after_a_failed_try_a_stale_answer_comes_at_once() {
    let upstream = Upstream::start(1, false).await;
    let resolver = upstream.resolver();
    resolver.resolve(ask(), None).await;
    let later = Instant::now() + Duration::from_secs(10);
    *upstream.ttl.lock().unwrap() = None;
    let found = resolver.find(&Key::of(&ask()), later);
    resolver.resolve(ask(), found).await;
    let asked = upstream.asked();
    let found = resolver.find(&Key::of(&ask()), later);
    let served = resolver.resolve(ask(), found).await;
    assert_eq!((served.aged, served.origin), (Aged::Stale, Origin::Cache));
    assert_eq!(upstream.asked(), asked);
}

#[tokio::test]
async fn former_upstreams_answer_only_those_who_wait_for_them() {
    let (one, other) = (Upstream::start(300, true).await, Upstream::start(300, true).await);
    let resolver = one.resolver();
    let go = || {
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move { resolver.resolve(ask(), None).await })
    };
    let first = go();
    while one.asked() == 0 {
        tokio::task::yield_now().await;
    }
    resolver.set_upstreams(other.options().into());
    let second = go();
    tokio::time::timeout(Duration::from_secs(10), async {
        while other.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it does not wait for what the former upstream says");
    one.door.notify_one();
    assert_eq!(first.await.unwrap().entry.answer.rcode(), rcode::NOERROR);
    assert!(resolver.find(&Key::of(&ask()), Instant::now()).is_none());
    assert_eq!(resolver.flights().len(), 1, "the second one is still asked");
    other.door.notify_one();
    second.await.unwrap();
    assert!(resolver.find(&Key::of(&ask()), Instant::now()).is_some());
}

/// What a worker does: one datagram by its own socket, and the long way where that settles nothing.
#[tokio::test]
async fn a_server_without_edns_is_asked_without_it_by_workers_too() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let query = wire::Query::parse(&buffer[..len]).unwrap();
            let has_edns = query.edns().is_some();
            let mut answer = buffer[..wire::HEADER + query.question().len()].to_vec();
            answer[2] |= wire::QR;
            answer[3] |= u8::from(has_edns);
            answer[11] = 0;
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    let options = forward::Options { upstreams: vec![address.into()], ..forward::Options::default() };
    let resolver =
        Arc::new(Resolver::new(options.into(), &cache::Options::default(), 100, Handle::current()));
    let takeoff = resolver.take_off(ask()).unwrap();
    let mut refusal = vec![0, 1, wire::QR, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    refusal.extend(&takeoff.ask().question);
    assert!(resolver.settle(takeoff, Word::Answer(&refusal), Instant::now()).is_none());
    assert_eq!(resolver.resolve(ask(), None).await.entry.answer.rcode(), 0);
}

#[tokio::test]
async fn trouble_of_this_machine_is_not_the_upstreams() {
    let upstreams = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
    let options = forward::Options { upstreams: upstreams.into(), ..forward::Options::default() };
    let resolver =
        Arc::new(Resolver::new(options.into(), &cache::Options::default(), 100, Handle::current()));
    let ask = |letter| {
        let mut ask = ask();
        ask.question[1] = letter;
        ask
    };
    for letter in b'a'..b'd' {
        let takeoff = resolver.take_off(ask(letter)).unwrap();
        assert_eq!(takeoff.first().map(|(number, _)| number), Some(0));
        // Nothing of it is awaited: the first upstream is judged by this alone.
        assert!(resolver.settle(takeoff, Word::Local, Instant::now()).is_none());
        assert_eq!(resolver.take_off(ask(letter + 16)).unwrap().first().map(|(number, _)| number), Some(0));
    }
}
