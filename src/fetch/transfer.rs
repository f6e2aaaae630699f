//! Zone transfers in: AXFR (RFC 5936) the first time, IXFR (RFC 1995) from then on, signed where there is a key
//! (RFC 8945). Over TCP, one transfer a connection.
//!
//! What comes is a master file for the format `rpz`. Where differences cannot be had, or do not fit what is
//! there, the whole zone is asked for.

pub mod assembly;
pub mod zone;

use std::fs::File;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::draft::{Draft, Finished, TooLarge};
use crate::clock;
use crate::name::Name;
use crate::tsig::{AnswerFault, Key, Signer, Verifier};
use crate::wire::{CLASS_IN, HEADER, Part, rcode, rcode_text, rtype};
use assembly::{Assembly, AssemblyFault, Change, Line, Progress, Soa};
use zone::{Differences, ZoneError};

/// How long the primary may take to accept, and between two messages.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a zone is had from.
#[derive(Debug, Clone)]
pub struct Primary {
    /// Its address.
    pub address: SocketAddr,
    /// The zone.
    pub zone: Name,
    /// With what both sides sign.
    pub key: Option<Key>,
    /// The most octets of the zone, on the wire and as text.
    pub max_size: u64,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// What came.
#[derive(Debug)]
pub enum Transferred {
    /// What is there is the newest version.
    Unchanged(Soa),
    /// Another version: its file, and whether it came as differences.
    Zone {
        /// The master file.
        content: Finished,
        /// Its SOA record.
        soa: Soa,
        /// How it came.
        by: Kind,
    },
}

/// How a version came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of it.
    Whole,
    /// What had changed.
    Differences,
}

/// Why there is no zone.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Nobody listens there.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The connection ended, or could not be written to.
    #[error("the transfer was cut: {0}")]
    Cut(io::Error),
    /// Silence.
    #[error("the primary has been silent for {} s", PATIENCE.as_secs())]
    Silent,
    /// It took too long as a whole.
    #[error("not all of the zone came within {} s; raise timeout if it is that long", .0.as_secs_f32())]
    Timeout(Duration),
    /// The primary says no.
    #[error("the primary answers {}{}", rcode_text(*.0), rcode_mend(*.0))]
    Refused(u16),
    /// An answer that nobody may believe.
    #[error(transparent)]
    Signature(#[from] AnswerFault),
    /// What came is no transfer.
    #[error("what the primary sends is no transfer of the zone: {0}")]
    Malformed(&'static str),
    /// The records do not fit together.
    #[error("the transfer makes no zone: {0}")]
    Assembly(#[from] AssemblyFault),
    /// Differences that do not fit.
    #[error("{0}")]
    Zone(#[from] ZoneError),
    /// Too much.
    #[error("{0}; raise max_size if that is right")]
    TooLarge(TooLarge),
    /// What came cannot be written.
    #[error("it cannot be written: {0}")]
    Write(io::Error),
}

fn rcode_mend(code: u16) -> &'static str {
    match code {
        rcode::REFUSED => ": it must allow transfers to this server's address or key",
        rcode::NOTAUTH => ": it does not have the zone, or does not take the key",
        _ => "",
    }
}

impl TransferError {
    fn of_write(error: io::Error) -> Self {
        match TooLarge::of(&error) {
            Some(too_large) => Self::TooLarge(too_large),
            None => Self::Write(error),
        }
    }

    /// Whether the whole zone may come where differences did not.
    fn is_of_differences(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Malformed(_) | Self::Assembly(_) | Self::Zone(_) | Self::Cut(_)
        )
    }
}

/// Asks the primary for the newest version. `held` is the version that is there: its serial number and its file,
/// as this function gave it. The new one is written in `folder`.
///
/// # Errors
/// [`TransferError`].
pub async fn transfer(
    primary: &Primary,
    held: Option<(u32, File)>,
    folder: &Path,
) -> Result<Transferred, TransferError> {
    let late = |_| TransferError::Timeout(primary.timeout);
    timeout(primary.timeout, transfer_at_leisure(primary, held, folder)).await.map_err(late)?
}

async fn transfer_at_leisure(
    primary: &Primary,
    held: Option<(u32, File)>,
    folder: &Path,
) -> Result<Transferred, TransferError> {
    if let Some((serial, file)) = held {
        match ask(primary, Some((serial, file)), folder).await {
            Err(error) if error.is_of_differences() => {
                tracing::info!(zone = %primary.zone, %error, "no differences can be had; asking for the whole zone");
            }
            other => return other,
        }
    }
    ask(primary, None, folder).await
}

/// What is made of records as they come.
enum Making {
    /// It is not known yet what they are.
    Nothing,
    /// A whole zone, its file as far as it has come.
    Whole(Draft),
    Differences(Differences),
}

async fn ask(
    primary: &Primary,
    held: Option<(u32, File)>,
    folder: &Path,
) -> Result<Transferred, TransferError> {
    let connecting = timeout(PATIENCE, TcpStream::connect(primary.address)).await;
    let mut stream = connecting.map_err(|_| TransferError::Silent)?.map_err(TransferError::Connect)?;
    let id = rand::random();
    let serial = held.as_ref().map(|(serial, _)| *serial);
    let mut request = request(&primary.zone, serial, id);
    let question = request[HEADER..HEADER + primary.zone.as_wire().len() + 4].to_vec();
    let mut verifier = primary.key.as_ref().map(|key| {
        let mut signer = Signer::of_request(key);
        signer.sign(now(), &mut request);
        Verifier::new(signer)
    });
    // A question, a SOA record and a signature are far below 65536 octets.
    let frame = [&(request.len() as u16).to_be_bytes(), &*request].concat();
    stream.write_all(&frame).await.map_err(TransferError::Cut)?;

    let mut assembly = Assembly::new(primary.zone.clone(), serial);
    let mut making = Making::Nothing;
    let (mut octets, mut is_first) = (0, true);
    let mut message = Vec::new();
    loop {
        let received = timeout(PATIENCE, receive(&mut stream, &mut message)).await;
        received.map_err(|_| TransferError::Silent)?.map_err(TransferError::Cut)?;
        octets += message.len() as u64;
        if octets > primary.max_size {
            return Err(TransferError::TooLarge(TooLarge::Octets(primary.max_size)));
        }
        let part = Part::parse(&message).map_err(|_| TransferError::Malformed("a message does not parse"))?;
        check_head(&part, id, &question, is_first)?;
        if let Some(verifier) = &mut verifier {
            let believed = verifier.check(&part, now());
            // Who refuses may not know the key, and a refusal is nothing to gain by.
            if part.rcode() != rcode::NOERROR && believed == Err(AnswerFault::Unsigned) {
                return Err(TransferError::Refused(part.rcode()));
            }
            believed?;
        }
        if part.rcode() != rcode::NOERROR {
            return Err(TransferError::Refused(part.rcode()));
        }
        is_first = false;
        let progress = assembly.take(&part, |change| make(&mut making, change, primary, folder))?;
        let (soa, line) = match progress {
            Progress::More => continue,
            Progress::Unchanged(soa) => {
                verifier.as_ref().map_or(Ok(()), Verifier::end)?;
                return Ok(Transferred::Unchanged(soa));
            }
            Progress::Done(soa, line) => (soa, line),
        };
        verifier.as_ref().map_or(Ok(()), Verifier::end)?;
        return finish(making, primary, held, folder, soa, &line);
    }
}

fn now() -> i64 {
    clock::now() / 1_000_000
}

async fn receive(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let len = stream.read_u16().await?;
    message.resize(usize::from(len), 0);
    stream.read_exact(message).await?;
    Ok(())
}

fn check_head(part: &Part<'_>, id: u16, question: &[u8], is_first: bool) -> Result<(), TransferError> {
    let opcode = part.packet()[2] & 0x78;
    if part.id() != id || opcode != 0 {
        return Err(TransferError::Malformed("a message answers another question"));
    }
    // RFC 5936, section 2.2.2: the first has it; where others do, it is the same.
    let has_none = part.question().is_empty();
    let is_refusal = part.rcode() != rcode::NOERROR;
    if has_none && (!is_first || is_refusal) || part.question().eq_ignore_ascii_case(question) {
        return Ok(());
    }
    Err(TransferError::Malformed("a message has another question"))
}

fn make(making: &mut Making, change: Change, primary: &Primary, folder: &Path) -> Result<(), TransferError> {
    match (change, making) {
        (Change::Whole(soa), making) => {
            let mut draft = Draft::create(folder, primary.max_size).map_err(TransferError::Write)?;
            zone::write_head(&mut draft, &primary.zone, &soa).map_err(TransferError::of_write)?;
            *making = Making::Whole(draft);
            Ok(())
        }
        (Change::Differences, making) => {
            *making = Making::Differences(Differences::default());
            Ok(())
        }
        (Change::Add(line), Making::Whole(draft)) => {
            zone::write_line(draft, &line).map_err(TransferError::of_write)
        }
        (Change::Add(line), Making::Differences(differences)) => Ok(differences.add(&line)?),
        (Change::Delete(line), Making::Differences(differences)) => Ok(differences.delete(&line)?),
        (Change::Delete(_), Making::Whole(_)) | (Change::Add(_) | Change::Delete(_), Making::Nothing) => {
            Err(TransferError::Malformed("a change without its beginning"))
        }
    }
}

fn finish(
    making: Making,
    primary: &Primary,
    held: Option<(u32, File)>,
    folder: &Path,
    soa: Soa,
    line: &Line,
) -> Result<Transferred, TransferError> {
    let (out, by) = match (making, held) {
        (Making::Whole(draft), _) => (draft, Kind::Whole),
        (Making::Differences(differences), Some((_, old))) => {
            let mut out = Draft::create(folder, primary.max_size).map_err(TransferError::Write)?;
            let applied = differences.apply(&mut BufReader::new(old), &primary.zone, line, &mut out);
            applied.map_err(|error| match error {
                ZoneError::Io(error) => TransferError::of_write(error),
                other => other.into(),
            })?;
            (out, Kind::Differences)
        }
        _ => return Err(TransferError::Malformed("an end without a beginning")),
    };
    let content = out.finish().map_err(TransferError::of_write)?;
    Ok(Transferred::Zone { content, soa, by })
}

/// AXFR, or with a serial number IXFR from it (RFC 1995, section 3).
fn request(zone: &Name, serial: Option<u32>, id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([0, 0, 0, 1, 0, 0, 0, u8::from(serial.is_some()), 0, 0]);
    out.extend(zone.as_wire());
    let kind = if serial.is_some() { rtype::IXFR } else { rtype::AXFR };
    out.extend(kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    if let Some(serial) = serial {
        out.extend([0xc0, HEADER as u8]);
        out.extend(rtype::SOA.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out.extend([0; 4]);
        // Primary and mailbox are of no consequence: the root each, and behind the serial number four times.
        out.extend([0, 22, 0, 0]);
        out.extend(serial.to_be_bytes());
        out.extend([0; 16]);
    }
    out
}
