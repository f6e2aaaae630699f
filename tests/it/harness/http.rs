//! HTTP as a browser on an infected machine would speak it, octet by octet.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A response, read until the server closed the connection.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the header fields, as they came.
    pub(crate) head: String,
    /// The body, taken as UTF-8; what is none shows as such.
    pub(crate) body: String,
}

impl Response {
    /// The response in these octets.
    #[track_caller]
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP response: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
        let mut response = Self { status, head: head.to_owned(), body: body.to_owned() };
        if response.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            response.body = unchunk(&response.body);
        }
        response
    }

    /// The value of a header field, whatever its case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// `GET path`, with this `Host`.
#[track_caller]
pub(crate) fn fetch(server: SocketAddr, host: &str, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    exchange(server, request.as_bytes())
}

/// Sends a request as it is and reads the response; the request must ask for the close.
#[track_caller]
pub(crate) fn exchange(server: SocketAddr, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // A server that refuses a request unread resets the connection behind its answer.
        assert!(!bytes.is_empty(), "no response: {error}");
    }
    Response::read(&bytes)
}

fn unchunk(body: &str) -> String {
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole += &tail[..size];
        rest = &tail[size + 2..];
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::unchunk;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk("4\r\nsach\r\n3;x=y\r\ndns\r\n0\r\n\r\n"), "sachdns");
    }
}
