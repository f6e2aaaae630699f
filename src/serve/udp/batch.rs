//! Datagrams in batches: `recvmmsg` and `sendmmsg`, with the address that was asked.
//!
//! The only place of socket calls that std does not offer. An answer must leave from the address
//! that the query came to, also where the socket is bound to the wildcard address; the kernel tells
//! and takes it in IP_PKTINFO and IPV6_PKTINFO (ip(7), ipv6(7), RFC 3542).

#![expect(unsafe_code, reason = "std has no batched socket calls and no packet information")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;

/// Most datagrams a call.
pub(super) const BATCH: usize = 32;
/// Room for one query; a longer datagram is no query and is passed over.
const PACKET: usize = 4096;
/// Room for one control message of either family, with its header.
const CONTROL: usize = 64;

/// Where a datagram came from, and the local address that it was sent to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    /// The client.
    pub(super) peer: SocketAddr,
    local: Option<Local>,
}

#[derive(Debug, Clone, Copy)]
enum Local {
    V4(Ipv4Addr),
    /// With the interface, which link-local addresses need.
    V6(Ipv6Addr, libc::c_uint),
}

/// Buffers for a batch of queries; one a worker, used again and again.
pub(super) struct Batch {
    packets: Box<[[u8; PACKET]; BATCH]>,
    lens: [usize; BATCH],
    paths: [Option<Path>; BATCH],
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Asks the kernel to tell each datagram's local address.
pub(super) fn enable_packet_info(socket: &UdpSocket, is_v4: bool) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, name) = if is_v4 {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    };
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and `on` is a c_int whose
    // size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { packets: Box::new([[0; PACKET]; BATCH]), lens: [0; BATCH], paths: [None; BATCH] }
    }

    /// Waits for a datagram and takes what else is there; returns how many.
    ///
    /// # Errors
    /// What the system said; `WouldBlock` when the socket's time-out passed.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // SAFETY: all three are plain data of the C library for which all zeroes is a valid value.
        let (mut names, mut vectors, mut headers): (
            [libc::sockaddr_storage; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { zeroed() };
        let mut controls = [Control([0; CONTROL]); BATCH];
        for n in 0..BATCH {
            vectors[n] = libc::iovec { iov_base: self.packets[n].as_mut_ptr().cast(), iov_len: PACKET };
            let header = &mut headers[n].msg_hdr;
            header.msg_name = (&raw mut names[n]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[n];
            header.msg_iovlen = 1;
            header.msg_control = controls[n].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
        }
        // SAFETY: each header points to a name, one vector and a control buffer that live until the
        // end of this function, with their true sizes; the vector points to a whole packet buffer.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for n in 0..count {
            self.lens[n] = headers[n].msg_len as usize;
            let local = local_of(&headers[n].msg_hdr);
            let is_whole = headers[n].msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            self.paths[n] = peer_of(&names[n]).filter(|_| is_whole).map(|peer| Path { peer, local });
        }
        Ok(count)
    }

    /// Datagram `n` of the last call, and where it came from.
    pub(super) fn packet(&self, n: usize) -> Option<(&[u8], Path)> {
        let packet = self.packets.get(n)?.get(..*self.lens.get(n)?)?;
        Some((packet, (*self.paths.get(n)?)?))
    }
}

/// Sends answers back along their paths. One that the system refuses is skipped: the client will
/// ask again. Returns how many were refused.
pub(super) fn send<'a>(socket: &UdpSocket, answers: impl IntoIterator<Item = (Path, &'a [u8])>) -> usize {
    let mut answers = answers.into_iter().peekable();
    let mut refused = 0;
    while answers.peek().is_some() {
        refused += send_batch(socket, answers.by_ref().take(BATCH));
    }
    refused
}

fn send_batch<'a>(socket: &UdpSocket, answers: impl Iterator<Item = (Path, &'a [u8])>) -> usize {
    // SAFETY: as in `receive`: plain data, valid when zeroed.
    let (mut names, mut vectors, mut headers): (
        [libc::sockaddr_storage; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { zeroed() };
    let mut controls = [Control([0; CONTROL]); BATCH];
    let mut count = 0;
    for (n, (path, octets)) in answers.enumerate() {
        count = n + 1;
        // The kernel only reads what it sends; the C type has no const.
        vectors[n] = libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
        let header = &mut headers[n].msg_hdr;
        header.msg_namelen = set_name(&mut names[n], path.peer);
        header.msg_name = (&raw mut names[n]).cast();
        header.msg_iov = &raw mut vectors[n];
        header.msg_iovlen = 1;
        if let Some(local) = path.local {
            header.msg_control = controls[n].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            set_local(header, local);
        }
    }
    let mut refused = 0;
    let mut at = 0;
    while at < count {
        let ahead = &mut headers[at..count];
        // SAFETY: the headers point to names, vectors and control buffers that live until the end
        // of this function and, through the vectors, to the borrowed answers.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                ahead.as_mut_ptr(),
                ahead.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => at += sent,
            _ => match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => {}
                // The send buffer is full. Waiting for it would make the next queries wait too.
                io::ErrorKind::WouldBlock => return refused + count - at,
                _ => {
                    refused += 1;
                    at += 1;
                }
            },
        }
    }
    refused
}

fn peer_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in, which fits a
            // sockaddr_storage and needs no stricter alignment.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(address, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn set_name(name: &mut libc::sockaddr_storage, peer: SocketAddr) -> libc::socklen_t {
    match peer {
        SocketAddr::V4(peer) => {
            // SAFETY: a sockaddr_storage holds any sockaddr, suitably aligned.
            let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = peer.port().to_be();
            name.sin_addr.s_addr = peer.ip().to_bits().to_be();
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(peer) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = peer.port().to_be();
            name.sin6_flowinfo = peer.flowinfo();
            name.sin6_addr.s6_addr = peer.ip().octets();
            name.sin6_scope_id = peer.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

fn local_of(header: &libc::msghdr) -> Option<Local> {
    // SAFETY: the kernel filled `header` and its control buffer, which the caller still holds.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return headers inside the control buffer, or null.
        let facts = unsafe { *control };
        // SAFETY: the data of a control message follows its header inside the buffer.
        let data = unsafe { libc::CMSG_DATA(control) };
        match (facts.cmsg_level, facts.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: level and type say that this is an in_pktinfo; it may be unaligned.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                // The spec_dst is a local address also when the query was broadcast.
                return Some(Local::V4(Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr))));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above, for an in6_pktinfo.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                return Some(Local::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr), info.ipi6_ifindex));
            }
            _ => {}
        }
        // SAFETY: `control` is a valid header of `header`'s control buffer.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}

/// Puts `local` into the header's control buffer, which has [`CONTROL`] octets.
fn set_local(header: &mut libc::msghdr, local: Local) {
    match local {
        Local::V4(address) => {
            let info = libc::in_pktinfo {
                // The routing table chooses the interface; only the source address is asked for.
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: address.to_bits().to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            put_control(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Local::V6(address, interface) => {
            let is_link_local = address.is_unicast_link_local();
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: if is_link_local { interface } else { 0 },
            };
            put_control(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

fn put_control<T>(header: &mut libc::msghdr, level: libc::c_int, kind: libc::c_int, info: T) {
    const { assert!(size_of::<T>() + size_of::<libc::cmsghdr>() <= CONTROL) };
    // SAFETY: the control buffer has CONTROL octets, of which the header says so: there is a first
    // header, and the assertion above leaves room for its data.
    let control = unsafe { libc::CMSG_FIRSTHDR(header) };
    let len = size_of::<T>() as libc::c_uint;
    // SAFETY: pure arithmetic on the length.
    let filled = unsafe { libc::CMSG_LEN(len) };
    // SAFETY: as above.
    let space = unsafe { libc::CMSG_SPACE(len) };
    // SAFETY: `control` points to a writable, aligned header at the front of the buffer.
    unsafe {
        control.write(libc::cmsghdr { cmsg_len: filled as _, cmsg_level: level, cmsg_type: kind });
    }
    // SAFETY: the data follows the header; there is room for a T, and no alignment is assumed.
    let data = unsafe { libc::CMSG_DATA(control) };
    // SAFETY: as above.
    unsafe { data.cast::<T>().write_unaligned(info) };
    header.msg_controllen = space as _;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A wildcard socket answers from the address that was asked.
    fn check(bind: &str, asked: &str) {
        let server = UdpSocket::bind(bind).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        enable_packet_info(&server, bind.starts_with('0')).unwrap();
        let asked = SocketAddr::new(asked.parse().unwrap(), server.local_addr().unwrap().port());
        let client = UdpSocket::bind((if asked.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Connected: an answer from any other address would not arrive.
        client.connect(asked).unwrap();

        for n in 0..3u8 {
            client.send(&[n; 5]).unwrap();
        }
        let mut batch = Batch::new();
        let mut got = 0;
        while got < 3 {
            let count = batch.receive(&server).unwrap();
            let answers: Vec<(Path, Vec<u8>)> = (0..count)
                .map(|n| {
                    let (packet, path) = batch.packet(n).unwrap();
                    assert_eq!(path.peer, client.local_addr().unwrap());
                    (path, packet.to_vec())
                })
                .collect();
            assert_eq!(send(&server, answers.iter().map(|(path, octets)| (*path, &**octets))), 0);
            got += count;
        }
        for n in 0..3u8 {
            let mut buffer = [0; 16];
            let len = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..len], [n; 5]);
        }
    }

    #[test]
    fn answers_leave_from_the_address_that_was_asked() {
        check("0.0.0.0:0", "127.0.0.1");
        check("0.0.0.0:0", "127.9.8.7");
        check("[::]:0", "::1");
    }
}
