//! Frame Streams: how dnstap's messages are told apart in a file or on a connection.
//!
//! ```text
//! data      4  length, big-endian, not 0
//!           n  the message
//! control   4  0
//!           4  length of all that follows, big-endian, at most 512
//!           4  kind: 1 ACCEPT, 2 START, 3 STOP, 4 READY, 5 FINISH
//!              for each field
//!           4  1: a content type
//!           4  its length
//!           n  the content type
//! ```
//!
//! A file is START, data, STOP. On a connection the sender says READY and gets ACCEPT before that, and FINISH after it. The
//! specification is the header `fstrm/control.h` of its reference implementation, Farsight's fstrm.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// What is in the frames.
pub const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// The longest control frame, without its first 8 octets.
const MAX_CONTROL: usize = 512;
/// Octets of a control frame before its kind.
const CONTROL_HEADER: usize = 8;
const FIELD_CONTENT_TYPE: u32 = 1;

/// What a control frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Control {
    /// The receiver takes what the sender offers.
    Accept = 1,
    /// Data follow.
    Start = 2,
    /// No more data follow.
    Stop = 3,
    /// The sender offers content types.
    Ready = 4,
    /// The receiver has read STOP, and all before it.
    Finish = 5,
}

const CONTROLS: [Control; 5] =
    [Control::Accept, Control::Start, Control::Stop, Control::Ready, Control::Finish];

/// Why octets are no control frame for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Data where only control frames may come.
    #[error("it sends data; is something else than a dnstap receiver listening there?")]
    Data,
    /// Longer than a control frame may be.
    #[error("a control frame of {0} octets; is something else than a dnstap receiver listening there?")]
    TooLong(u32),
    /// No known kind, or fields that do not fit.
    #[error("a control frame that does not fit Frame Streams")]
    Malformed,
    /// The receiver wants something else.
    #[error("it does not take the content type protobuf:dnstap.Dnstap; set up the receiver for dnstap")]
    ContentType,
}

/// Appends a control frame. All but STOP and FINISH name the content type.
pub fn put_control(control: Control, out: &mut Vec<u8>) {
    let has_type = !matches!(control, Control::Stop | Control::Finish);
    let len = 4 + if has_type { 8 + CONTENT_TYPE.len() } else { 0 };
    out.extend([0; 4]);
    out.extend((len as u32).to_be_bytes());
    out.extend((control as u32).to_be_bytes());
    if has_type {
        out.extend(FIELD_CONTENT_TYPE.to_be_bytes());
        out.extend((CONTENT_TYPE.len() as u32).to_be_bytes());
        out.extend(CONTENT_TYPE);
    }
}

/// Appends a message in its frame.
pub fn put_data(message: &[u8], out: &mut Vec<u8>) {
    // Messages of ours are a few hundred octets.
    out.extend((message.len() as u32).to_be_bytes());
    out.extend(message);
}

/// Reads the control frame at the start of what a receiver sent, and its length; `None` when more must come first.
///
/// # Errors
/// [`FrameError`]: more octets will not mend it.
pub fn control(octets: &[u8]) -> Result<Option<(Control, usize)>, FrameError> {
    let Some((escape, rest)) = octets.split_first_chunk() else { return Ok(None) };
    if u32::from_be_bytes(*escape) != 0 {
        return Err(FrameError::Data);
    }
    let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let len = u32::from_be_bytes(*len);
    if len as usize > MAX_CONTROL {
        return Err(FrameError::TooLong(len));
    }
    let Some(body) = rest.get(..len as usize) else { return Ok(None) };
    let (kind, mut fields) = body.split_first_chunk().ok_or(FrameError::Malformed)?;
    let kind = u32::from_be_bytes(*kind);
    let control = CONTROLS.into_iter().find(|known| *known as u32 == kind).ok_or(FrameError::Malformed)?;
    let (mut has_type, mut is_ours) = (false, false);
    while !fields.is_empty() {
        let (field, len, rest) = field(fields).ok_or(FrameError::Malformed)?;
        let (content_type, rest) = rest.split_at_checked(len).ok_or(FrameError::Malformed)?;
        if field != FIELD_CONTENT_TYPE || matches!(control, Control::Stop | Control::Finish) {
            return Err(FrameError::Malformed);
        }
        has_type = true;
        is_ours |= content_type == CONTENT_TYPE;
        fields = rest;
    }
    // None at all stands for any.
    if has_type && !is_ours {
        return Err(FrameError::ContentType);
    }
    Ok(Some((control, CONTROL_HEADER + body.len())))
}

fn field(octets: &[u8]) -> Option<(u32, usize, &[u8])> {
    let (field, rest) = octets.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*field), u32::from_be_bytes(*len) as usize, rest))
}

/// Where a file of frames can go on: behind its last whole message, before STOP. 0 for an empty file.
///
/// # Errors
/// What the system said; `InvalidData` when it does not begin as a file of dnstap does.
pub fn resume_at(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut start = Vec::new();
    put_control(Control::Start, &mut start);
    let mut head = vec![0; start.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
    reader.read_exact(&mut head)?;
    if !start.starts_with(&head) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is there and holds no dnstap"));
    }
    if head.len() < start.len() {
        // Torn when it was begun.
        return Ok(0);
    }
    let mut at = start.len() as u64;
    loop {
        let mut frame = [0; 4];
        match reader.read_exact(&mut frame) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(at),
            Err(error) => return Err(error),
        }
        let frame = u64::from(u32::from_be_bytes(frame));
        if frame == 0 || at + 4 + frame > len {
            return Ok(at);
        }
        // Within the buffer no system call is made.
        reader.seek_relative(i64::try_from(frame).unwrap_or(i64::MAX))?;
        at += 4 + frame;
        // Keeps the buffer filled, so that the next seek stays within it.
        let _ = reader.fill_buf()?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn framed(control: Control) -> Vec<u8> {
        let mut out = Vec::new();
        put_control(control, &mut out);
        out
    }

    #[test]
    fn control_frames_are_those_of_the_reference_implementation() {
        // As fstrm_capture prints what it reads.
        let expected = b"\0\0\0\0\0\0\0\"\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
        assert_eq!(framed(Control::Ready), expected);
        assert_eq!(framed(Control::Stop), b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
        for kind in CONTROLS {
            let octets = framed(kind);
            assert_eq!(control(&octets), Ok(Some((kind, octets.len()))));
            assert_eq!(control(&[&*octets, b"more"].concat()), Ok(Some((kind, octets.len()))));
            for len in 0..octets.len() {
                assert_eq!(control(&octets[..len]), Ok(None), "cut to {len}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        fn check(octets: &[u8], expected: Result<Option<(Control, usize)>, FrameError>) {
            assert_eq!(control(octets), expected, "{octets:?}");
        }
        check(b"HTTP/1.1", Err(FrameError::Data));
        check(b"\0\0\0\0\0\0\x02\x01", Err(FrameError::TooLong(513)));
        check(b"\0\0\0\0\0\0\0\x03\0\0\0", Err(FrameError::Malformed));
        check(b"\0\0\0\0\0\0\0\x04\0\0\0\x09", Err(FrameError::Malformed));
        check(b"\0\0\0\0\0\0\0\x04\0\0\0\x01", Ok(Some((Control::Accept, 12))));
        check(b"\0\0\0\0\0\0\0\x0d\0\0\0\x01\0\0\0\x01\0\0\0\x01x", Err(FrameError::ContentType));
        check(b"\0\0\0\0\0\0\0\x0d\0\0\0\x01\0\0\0\x01\0\0\0\x02x", Err(FrameError::Malformed));
        check(b"\0\0\0\0\0\0\0\x0d\0\0\0\x01\0\0\0\x02\0\0\0\x01x", Err(FrameError::Malformed));
        check(b"\0\0\0\0\0\0\0\x0d\0\0\0\x05\0\0\0\x01\0\0\0\x01x", Err(FrameError::Malformed));
    }

    #[test]
    fn a_file_goes_on_behind_its_last_whole_message() {
        let mut file = framed(Control::Start);
        let mut ends = vec![0, file.len() as u64];
        for message in [&b"one"[..], &[7; 100_000], b"three"] {
            put_data(message, &mut file);
            ends.push(file.len() as u64);
        }
        let data = file.len();
        put_control(Control::Stop, &mut file);
        for len in (0..200).chain(100_000..file.len()) {
            let expected = *ends.iter().rev().find(|end| **end <= len as u64).unwrap();
            assert_eq!(resume_at(&mut Cursor::new(&file[..len])).unwrap(), expected, "cut to {len}");
        }
        assert_eq!(resume_at(&mut Cursor::new(&file)).unwrap(), data as u64);
        let other = resume_at(&mut Cursor::new(b"{\"time\":0}\n")).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::InvalidData);
    }
}
