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
pub const BATCH: usize = 64;
/// Room for one datagram; a longer one is no query, and no answer that was asked for, and is passed over.
const PACKET: usize = 4096;
/// From one datagram's room to the next: not a power of two, or the first octets of all would share the
/// few places of a processor's cache.
const STRIDE: usize = PACKET + 64;
/// Room for one control message of either family, with its header.
const CONTROL: usize = 64;

/// What to do when no datagram is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Wait for one, or for the socket's time-out.
    ForOne,
    /// Return with `WouldBlock`.
    Not,
}

/// Where a datagram came from, and the local address that it was sent to.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// Who sent it.
    pub peer: SocketAddr,
    local: Option<Local>,
}

impl Path {
    /// To `peer`, from the address that the routing table chooses: for one who asks.
    pub fn to(peer: SocketAddr) -> Self {
        Self { peer, local: None }
    }
}

#[derive(Debug, Clone, Copy)]
enum Local {
    V4(Ipv4Addr),
    /// With the interface, which link-local addresses need.
    V6(Ipv6Addr, libc::c_uint),
}

/// Datagrams that came together, and room for them; one a thread, used again and again.
pub struct Batch {
    packets: Box<[[u8; STRIDE]; BATCH]>,
    /// How long each datagram is, and whether it fitted.
    lens: [(usize, bool); BATCH],
    paths: [Option<Path>; BATCH],
    headers: Box<Headers<BATCH>>,
}

/// What the C library wants beside the datagrams; kept, for making it costs as much as a look-up.
struct Headers<const N: usize> {
    names: [libc::sockaddr_storage; N],
    vectors: [libc::iovec; N],
    controls: [Control; N],
    headers: [libc::mmsghdr; N],
}

impl<const N: usize> Headers<N> {
    fn new() -> Self {
        // SAFETY: all are plain data of the C library for which all zeroes is a valid value.
        let (names, vectors, headers) = unsafe { zeroed() };
        Self { names, vectors, controls: [Control([0; CONTROL]); N], headers }
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Asks the kernel to tell each datagram's local address.
///
/// # Errors
/// What the system said.
pub fn enable_packet_info(socket: &UdpSocket, is_v4: bool) -> io::Result<()> {
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

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Room for [`BATCH`] datagrams.
    pub fn new() -> Self {
        Self {
            packets: Box::new([[0; STRIDE]; BATCH]),
            lens: [(0, false); BATCH],
            paths: [None; BATCH],
            headers: Box::new(Headers::new()),
        }
    }

    /// Takes the datagrams that are there, in place of those of the last call; returns how many.
    ///
    /// # Errors
    /// What the system said; `WouldBlock` when there was none.
    pub fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        let Headers { names, vectors, controls, headers } = &mut *self.headers;
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
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::Not => libc::MSG_DONTWAIT,
        };
        // SAFETY: each header points to a name, one vector and a control buffer that are borrowed until
        // the end of this function, with their true sizes; the vector points to a whole packet's room.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for n in 0..count {
            let is_whole = headers[n].msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            self.lens[n] = (headers[n].msg_len as usize, is_whole);
            let local = local_of(&headers[n].msg_hdr);
            // Nothing can be sent to port 0.
            let peer = peer_of(&names[n]).filter(|peer| peer.port() != 0);
            self.paths[n] = peer.map(|peer| Path { peer, local });
        }
        Ok(count)
    }

    /// Datagram `n` of the last call, and where it came from; `None` where it was too long, or cannot be
    /// answered.
    pub fn packet(&self, n: usize) -> Option<(&[u8], Path)> {
        let (packet, is_whole) = self.octets(n);
        self.paths.get(n).copied().flatten().filter(|_| is_whole).map(|path| (packet, path))
    }

    /// The octets of datagram `n` of the last call, as many as there is room for, and whether these are all.
    pub fn octets(&self, n: usize) -> (&[u8], bool) {
        let (Some(packet), Some(&(len, is_whole))) = (self.packets.get(n), self.lens.get(n)) else {
            return (&[], false);
        };
        (packet.get(..len).unwrap_or_default(), is_whole)
    }
}

/// Sends a few datagrams along their paths, as [`Outbox::send`] does.
pub fn send<'a>(socket: &UdpSocket, datagrams: impl IntoIterator<Item = (Path, &'a [u8])>) -> usize {
    Outbox::<8>::new().send(socket, datagrams.into_iter().map(|(path, octets)| (Some(path), octets)))
}

/// Room for what the C library wants to send up to `N` datagrams a call.
pub struct Outbox<const N: usize>(Headers<N>);

impl<const N: usize> Default for Outbox<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Outbox<N> {
    /// Empty room.
    pub fn new() -> Self {
        Self(Headers::new())
    }

    /// Sends datagrams back along their paths; without a path, to where the socket is connected. One that
    /// the system refuses is skipped: whoever waits for it will ask again. Returns how many were refused.
    pub fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = (Option<Path>, &'a [u8])>,
    ) -> usize {
        let mut datagrams = datagrams.into_iter().peekable();
        let mut refused = 0;
        while datagrams.peek().is_some() {
            refused += self.send_batch(socket, datagrams.by_ref().take(N));
        }
        refused
    }

    fn send_batch<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = (Option<Path>, &'a [u8])>,
    ) -> usize {
        let Headers { names, vectors, controls, headers } = &mut self.0;
        let mut count = 0;
        for (n, (path, octets)) in datagrams.enumerate() {
            count = n + 1;
            // The kernel only reads what it sends; the C type has no const.
            vectors[n] = libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
            let header = &mut headers[n].msg_hdr;
            header.msg_iov = &raw mut vectors[n];
            header.msg_iovlen = 1;
            (header.msg_name, header.msg_namelen) = match path {
                Some(path) => ((&raw mut names[n]).cast(), set_name(&mut names[n], path.peer)),
                None => (std::ptr::null_mut(), 0),
            };
            (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
            if let Some(local) = path.and_then(|path| path.local) {
                header.msg_control = controls[n].0.as_mut_ptr().cast();
                header.msg_controllen = CONTROL as _;
                set_local(header, local);
            }
        }
        let mut refused = 0;
        let mut at = 0;
        while at < count {
            let ahead = &mut headers[at..count];
            // SAFETY: the headers point to names, vectors and control buffers that are borrowed until the
            // end of this function and, through the vectors, to the borrowed datagrams.
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
            let count = batch.receive(&server, Wait::ForOne).unwrap();
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
