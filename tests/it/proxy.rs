//! Balancers that say who asks (PROXY v2): their word counts, and nobody else's.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::authority::Authority;
use crate::harness::dig::Dig;
use crate::harness::house::Setup;
use crate::harness::server::Server;
use crate::harness::tls::Tls;
use crate::harness::wire::{self, Query};
use crate::harness::{PATIENCE, nsd, spawn};

const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn serve(authority: &Authority) -> Server {
    Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .agency("so-tttt", "Sở", "10.1.0.0/16", "x")
        .allow("[\"127.0.0.1/32\", \"127.0.0.9/32\", \"10.0.0.0/8\"]")
        .encrypted(authority)
        .server("proxy_from = [\"127.0.0.9/32\"]\n")
        .more("[limits]\ntcp_idle = \"1s\"\n")
        .serve()
}

/// A header that names this client, and has a TLV that nobody knows.
fn header(client: &str) -> Vec<u8> {
    let client: Ipv4Addr = client.parse().unwrap();
    let rest = [&client.octets()[..], &[127, 0, 0, 1, 0x30, 0x39, 0, 53], &[0xe0, 0, 2, 1, 2]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &(rest.len() as u16).to_be_bytes(), &rest].concat()
}

/// A health check's header: the balancer speaks for itself.
fn local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()
}

fn udp_from(client: Ipv4Addr, server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.connect(server.dns).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn connect_from(client: Ipv4Addr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn answer(socket: &UdpSocket) -> hickory_proto::op::Message {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).unwrap();
    wire::decode(&buffer[..len])
}

fn query(qname: &str) -> Query {
    Query::new(qname, wire::A)
}

#[test]
fn a_datagram_is_of_the_client_that_its_header_names() {
    let server = serve(&Authority::new());
    let socket = udp_from(BALANCER, &server);
    // What must wait takes another way than what is answered at once.
    for qname in ["evil.example", "www.example.test"] {
        socket.send(&[header("10.1.2.3"), query(qname).bytes()].concat()).unwrap();
        assert_eq!(answer(&socket).answers.len(), 1);
        server.record_of(qname).assert(&[
            ("client", "10.1.2.3"),
            ("agency", "so-tttt"),
            ("transport", "udp"),
        ]);
    }
    socket.send(&[header("192.0.2.1"), query("evil.example").bytes()].concat()).unwrap();
    assert_eq!(u16::from(wire::rcode(&answer(&socket))), 5, "access is that of the client");
    socket.send(&[local(), query("health.evil.example").bytes()].concat()).unwrap();
    assert_eq!(answer(&socket).answers.len(), 1);
    server.record_of("health.evil.example").assert(&[("client", "127.0.0.9")]);

    // Without a header, or with one that is cut, there is no answer: the next one is the next query's.
    socket.send(&query("bare.evil.example").bytes()).unwrap();
    socket.send(&header("10.1.2.3")[..20]).unwrap();
    socket.send(&[header("10.1.2.3"), query("evil.example").id(13).bytes()].concat()).unwrap();
    assert_eq!(answer(&socket).metadata.id, 13);
    let told = server.stderr().wait(PATIENCE, |line| line.contains("server.proxy_from"));
    assert!(told.is_some_and(|line| line.contains("127.0.0.9")), "{}", server.stderr().text());

    // Who is no balancer needs none, and must not have one.
    let other = udp_from(Ipv4Addr::LOCALHOST, &server);
    other.send(&query("evil.example").bytes()).unwrap();
    assert_eq!(answer(&other).answers.len(), 1);
    other.send(&[header("10.1.2.3"), query("forged.evil.example").bytes()].concat()).unwrap();
    let mut buffer = [0; 512];
    let len = other.recv(&mut buffer).unwrap();
    assert!(buffer[3] & 0x0f != 0 && buffer[7] == 0, "{:02x?}", &buffer[..len]);
    assert!(server.log(&["--name", "forged.evil.example"]).is_empty());
    assert!(server.log(&["--name", "bare.evil.example"]).is_empty());
}

#[test]
fn a_connection_is_of_the_client_that_its_header_names() {
    let authority = Authority::new();
    let server = serve(&authority);
    let mut tcp = connect_from(BALANCER, server.dns);
    tcp.write_all(&[header("10.1.2.3"), wire::framed(&query("tcp.evil.example").bytes())].concat()).unwrap();
    assert_eq!(wire::decode(&wire::read_framed(&mut tcp).unwrap()).answers.len(), 1);
    server.record_of("tcp.evil.example").assert(&[("client", "10.1.2.3"), ("transport", "tcp")]);

    let mut stream = connect_from(BALANCER, server.tls.unwrap());
    stream.write_all(&header("10.1.2.4")).unwrap();
    let mut tls = Tls::over(stream, &authority, &["dot"]);
    assert_eq!(wire::decode(&tls.ask(&query("dot.evil.example").bytes())).answers.len(), 1);
    server.record_of("dot.evil.example").assert(&[("client", "10.1.2.4"), ("transport", "dot")]);

    // No header, half a header, and nothing: closed without an answer.
    let framed = wire::framed(&query("evil.example").bytes());
    for octets in [&framed[..], &header("10.1.2.3")[..20], b""] {
        let mut tcp = connect_from(BALANCER, server.dns);
        tcp.write_all(octets).unwrap();
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{octets:02x?}");
    }
    // Who is no balancer and sends one is waiting for an answer to octets that are no query.
    let mut forged = connect_from(Ipv4Addr::LOCALHOST, server.dns);
    forged.write_all(&[header("10.1.2.3"), framed].concat()).unwrap();
    let mut rest = Vec::new();
    let _ = forged.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert!(
        server
            .log(&["--name", "evil.example", "--client", "10.1.2.3"])
            .iter()
            .all(|record| { record.text("qname") != "evil.example" })
    );
}

#[test]
fn the_clients_of_a_balancer_are_capped_each() {
    let authority = Authority::new();
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .allow("[\"10.0.0.0/8\"]")
        .server("proxy_from = [\"127.0.0.9/32\"]\n")
        .more("[limits]\ntcp_connections = 3\ntcp_per_client = 2\n")
        .encrypted(&authority)
        .serve();
    let connect = |client: &str| {
        let mut tcp = connect_from(BALANCER, server.dns);
        let octets = [header(client), wire::framed(&query("evil.example").bytes())].concat();
        // The server may have closed already.
        let _ = tcp.write_all(&octets);
        wire::read_framed(&mut tcp).is_ok().then_some(tcp)
    };
    let held = [connect("10.1.2.3"), connect("10.1.2.3")];
    assert!(held.iter().all(Option::is_some));
    assert!(connect("10.1.2.3").is_none(), "one too many of a client");
    let other = std::iter::repeat_with(|| connect("10.1.2.4")).take(100).flatten().next();
    assert!(other.is_some(), "which is not another client's");
}

/// A dnsdist with a listener for clients, in front of the server.
struct Dnsdist(Child, SocketAddr);

impl Dnsdist {
    fn start(server: &Server) -> Self {
        let folder = server.house().path();
        // Between the choice of a port and dnsdist's bind, somebody else may take it.
        for _ in 0..3 {
            let address = nsd::free_address();
            let text = format!(
                "setLocal(\"{address}\")\nsetSecurityPollSuffix(\"\")\nnewServer({{address=\"{}\", source=\"127.0.0.9\", \
                 useProxyProtocol=true, checkName=\"health.evil.example.\"}})\n",
                server.dns
            );
            fs::write(folder.join("dnsdist.conf"), text).unwrap();
            let mut dnsdist = Command::new("dnsdist");
            dnsdist.args(["--supervised", "--disable-syslog", "-C"]).arg(folder.join("dnsdist.conf"));
            dnsdist.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut balancer = Self(spawn(&mut dnsdist), address);
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE && balancer.0.try_wait().unwrap().is_none() {
                let udp = wire::Udp::to(address).wait_at_most(Duration::from_millis(200));
                let query = query("evil.example").bytes();
                if udp.try_send(&query).is_ok()
                    && udp.receive().is_ok_and(|it| wire::decode(&it).answers.len() == 1)
                {
                    return balancer;
                }
            }
        }
        panic!("dnsdist does not start")
    }
}

impl Drop for Dnsdist {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn behind_dnsdist_each_query_is_of_its_client() {
    let server = Setup::new(nsd::address())
        .feed("authority", "evil.example\n")
        .server("proxy_from = [\"127.0.0.9/32\"]\n")
        .serve();
    let balancer = Dnsdist::start(&server);
    for (client, option, transport) in [("127.0.0.21", "+notcp", "udp"), ("127.0.0.22", "+tcp", "tcp")] {
        let qname = format!("{transport}.evil.example");
        let reply = Dig::at(balancer.1).from(client).with(option).ask(&qname, "A");
        assert_eq!(reply.rdata("A"), ["10.10.10.10"], "{}", reply.raw);
        server.record_of(&qname).assert(&[("client", client), ("transport", transport)]);
    }
    let reply = Dig::at(balancer.1).from("127.0.0.23").ask("www.example.test", "A");
    assert_eq!(reply.rdata("A"), ["192.0.2.80"], "{}", reply.raw);
    let asked = server.record_of("www.example.test");
    assert_eq!(asked.text("client").parse::<IpAddr>().unwrap(), IpAddr::from([127, 0, 0, 23]));
}
