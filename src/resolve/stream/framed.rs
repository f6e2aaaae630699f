//! Messages with their length in front, over TCP or TLS (RFC 1035, section 4.2.2; RFC 7766).
//!
//! Questions are pipelined, and answers taken in any order, by their ids. One task owns the connection; it ends when
//! nobody can ask any more, when either side fails, or when nothing is answered for too long.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval};

use super::{LineError, STALL};
use crate::resolve::exchange::{Ask, Edns};
use crate::wire;

/// Questions between their askers and the connection.
const QUEUE: usize = 32;
/// Messages that answer nothing, after which a connection is given up.
const MOST_STRANGERS: usize = 1000;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    questions: mpsc::Sender<Question>,
}

/// A query, its id still to be chosen, and who waits for its answer.
#[derive(Debug)]
struct Question {
    query: Vec<u8>,
    asker: oneshot::Sender<Vec<u8>>,
}

impl Connection {
    pub(super) fn open(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (questions, asked) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            if let Err(error) = run(stream, asked).await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
        });
        Self { questions }
    }

    /// The answer, with the question's id put back to 0.
    pub(super) async fn ask(&self, ask: &Ask, edns: Edns) -> Result<Vec<u8>, LineError> {
        let (asker, answer) = oneshot::channel();
        let question = Question { query: ask.query(0, edns), asker };
        self.questions.send(question).await.map_err(|_| LineError::Ended)?;
        answer.await.map_err(|_| LineError::Ended)
    }

    pub(super) fn is_over(&self) -> bool {
        self.questions.is_closed()
    }
}

/// What is on its way.
struct Asked {
    askers: HashMap<u16, oneshot::Sender<Vec<u8>>>,
    /// When something was last answered, or asked where nothing was on its way.
    heard_at: Instant,
}

type Shared = Arc<Mutex<Asked>>;

async fn run(stream: impl AsyncRead + AsyncWrite, asked: mpsc::Receiver<Question>) -> io::Result<()> {
    let shared: Shared = Arc::new(Mutex::new(Asked { askers: HashMap::new(), heard_at: Instant::now() }));
    let (reader, writer) = split(stream);
    // The first that ends ends all; who still waits is told by his channel's end.
    tokio::select! {
        read = read(reader, &shared) => read,
        written = write(writer, asked, &shared) => written,
        () = watch(&shared) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing is answered any more")),
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut asked: mpsc::Receiver<Question>,
    shared: &Shared,
) -> io::Result<()> {
    let mut frame = Vec::new();
    while let Some(Question { query, asker }) = asked.recv().await {
        let mut id: u16 = rand::random();
        {
            let mut asked = lock(shared);
            if asked.askers.is_empty() {
                asked.heard_at = Instant::now();
            }
            while asked.askers.contains_key(&id) {
                // A few hundred are taken at the most.
                id = rand::random();
            }
            asked.askers.insert(id, asker);
        }
        frame.clear();
        // A question and an OPT record are far below 65536 octets.
        frame.extend((query.len() as u16).to_be_bytes());
        frame.extend(id.to_be_bytes());
        frame.extend(&query[2..]);
        writer.write_all(&frame).await?;
        writer.flush().await?;
    }
    // Nobody can ask any more, and who did waits no longer. TLS wants its good-bye.
    writer.shutdown().await
}

async fn read(mut reader: impl AsyncRead + Unpin, shared: &Shared) -> io::Result<()> {
    let mut strangers = 0;
    loop {
        let len = reader.read_u16().await?;
        let mut message = vec![0; usize::from(len)];
        reader.read_exact(&mut message).await?;
        let asker = wire::u16_at(&message, 0).and_then(|id| lock(shared).take(id));
        match asker {
            Some(asker) => {
                message[..2].fill(0);
                // It may have given up.
                let _ = asker.send(message);
            }
            None => strangers += 1,
        }
        if strangers > MOST_STRANGERS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it sends what nobody asked for"));
        }
    }
}

/// Ends when questions wait and nothing is answered for too long: slow octets are no answer.
async fn watch(shared: &Shared) {
    let mut ticks = interval(STALL / 4);
    loop {
        ticks.tick().await;
        let mut asked = lock(shared);
        if asked.heard_at.elapsed() > STALL && !asked.askers.is_empty() {
            return;
        }
        // Whoever asked has given up; should the answer come, it is a stranger.
        asked.askers.retain(|_, asker| !asker.is_closed());
    }
}

impl Asked {
    fn take(&mut self, id: u16) -> Option<oneshot::Sender<Vec<u8>>> {
        let asker = self.askers.remove(&id)?;
        self.heard_at = Instant::now();
        Some(asker)
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Asked> {
    // Whatever panicked, the map is whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
