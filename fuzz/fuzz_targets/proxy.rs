//! Any octets from a balancer: a header is read whole or not at all, and alike from a datagram and a stream.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use sachdns::client::prefix::PrefixMap;
use sachdns::serve::proxy::{self, Proxies, ProxyError};

const BALANCER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)), 53);

fuzz_target!(|octets: &[u8]| {
    let header = proxy::parse(octets);
    if let Ok(header) = header {
        assert!((16..=octets.len()).contains(&header.len));
        // What is behind the header changes nothing; without its end there is none.
        assert_eq!(proxy::parse(&octets[..header.len]), Ok(header));
        assert_eq!(proxy::parse(&octets[..header.len - 1]), Err(ProxyError::Cut));
        let source = header.source.map(|source| source.ip());
        assert!(source.is_none_or(|source| source.to_canonical() == source));
    }

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut stream = octets;
    let read = runtime.block_on(proxy::read(&mut stream));
    match (header, read) {
        (Ok(header), Ok(read)) => {
            assert_eq!(header, read);
            assert_eq!(stream.len(), octets.len() - header.len, "not one octet more");
        }
        // A stream's header may not be as long as a datagram could be.
        (Ok(header), Err(_)) => assert!(header.len > 4096),
        (Err(_), read) => assert!(read.is_err()),
    }

    let network = "127.0.0.9/32".parse().expect("a network");
    let proxies = Proxies::new(PrefixMap::new([(network, ())]).expect("one network"));
    match (header, proxies.open(octets, BALANCER)) {
        (Ok(header), Some((query, client))) => {
            assert_eq!(query, &octets[header.len..]);
            assert_eq!(client, header.source.map_or(BALANCER.ip(), |source| source.ip()));
        }
        (Err(_), None) => {}
        other => panic!("a datagram is opened exactly when its header is read: {other:?}"),
    }
});
