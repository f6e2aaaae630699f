//! Mail: one relay, over SMTP in the clear, with STARTTLS or over TLS; every wait has a bound.
//!
//! A message counts as sent when the relay says so behind its last line (RFC 5321, section 4.2.5). Where the relay says nothing after
//! that line, nobody can know, and that is said.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, transport::smtp};
use ring::digest;
use tokio::time::timeout;

use super::Outcome;
use super::wording::Letter;
use crate::cases::Class;
use crate::fetch::http::read_secret;

/// How long a relay may take to be there, and for each answer.
const CONNECTING: Duration = Duration::from_secs(30);
const ANSWERING: Duration = Duration::from_secs(60);
/// … and behind a message, where it may look at it first (RFC 5321, section 4.5.3.2.6, asks for ten minutes).
const TAKING: Duration = Duration::from_secs(600);
const ENDING: Duration = Duration::from_secs(5);

/// By whom, to whom and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Who brings it on.
    pub relay: Relay,
    /// The sender, `NAME <ADDRESS>` or an address.
    pub from: String,
    /// Who gets mail of everything.
    pub to: Vec<String>,
    /// Classes of which mail goes at once.
    pub at_once: Vec<Class>,
    /// When the digest goes: the minute of the day. `None`: never.
    pub digest: Option<u16>,
    /// The least time between two mails to one address.
    pub pause: Duration,
}

/// A server that takes mail from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub security: Security,
    /// A file with the authorities' certificates in place of the system's.
    pub ca: Option<PathBuf>,
    /// Who we are, and the file of the password.
    pub user: Option<(String, PathBuf)>,
}

impl Default for Relay {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 25, security: Security::None, ca: None, user: None }
    }
}

/// Whether others on the way can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// They can.
    None,
    /// STARTTLS, which must be offered (RFC 3207).
    StartTls,
    /// TLS from the first octet (RFC 8314).
    Tls,
}

/// Why the relay cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// A file cannot be used.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The relay, or the way there.
    #[error("mail relay {host}: {why}")]
    Relay {
        /// Which.
        host: String,
        /// Why.
        why: String,
    },
}

/// What an error says, with what it comes from.
fn text_of(error: &smtp::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// An open connection to the relay.
pub(super) struct Session(AsyncSmtpConnection);

impl Session {
    pub(super) async fn open(relay: &Relay) -> Result<Self, MailError> {
        let failed = |why: String| MailError::Relay { host: relay.host.clone(), why };
        let hello = ClientId::default();
        let tls = match relay.security {
            Security::None => None,
            _ => Some(tls(relay)?),
        };
        let at_once = tls.clone().filter(|_| relay.security == Security::Tls);
        let server = (relay.host.as_str(), relay.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECTING), &hello, at_once, None);
        let late = || failed(format!("waited {} s for it", CONNECTING.as_secs()));
        let connected = timeout(CONNECTING, connecting).await.map_err(|_| late())?;
        let mut connection = connected.map_err(|error| failed(text_of(&error)))?;
        if let (Some(tls), Security::StartTls) = (tls, relay.security) {
            let upgraded = timeout(CONNECTING, connection.starttls(tls, &hello)).await;
            upgraded.map_err(|_| late())?.map_err(|error| failed(text_of(&error)))?;
        }
        if let Some((user, file)) = &relay.user {
            let password = read_secret(file)
                .map_err(|error| MailError::File { path: file.clone(), why: error.to_string() })?;
            let credentials = Credentials::new(user.clone(), password);
            let known = timeout(ANSWERING, connection.auth(DEFAULT_MECHANISMS, &credentials)).await;
            known.map_err(|_| late())?.map_err(|error| failed(text_of(&error)))?;
        }
        Ok(Self(connection))
    }

    /// Hands one message over.
    pub(super) async fn send(
        &mut self,
        mail: &Mail,
        to: &str,
        key: &str,
        letter: &Letter,
        now: i64,
    ) -> Outcome {
        let (address, octets) = match compose(mail, to, key, letter, now) {
            Ok(composed) => composed,
            Err(why) => return Outcome::Refused(why),
        };
        let (from, to) = address;
        let connection = &mut self.0;
        let handing = async {
            connection.command(MailCommand::new(Some(from), Vec::new())).await?;
            connection.command(Rcpt::new(to, Vec::new())).await?;
            connection.command(Data).await
        };
        match timeout(ANSWERING, handing).await {
            Err(_) => return Outcome::Refused(format!("waited {} s for an answer", ANSWERING.as_secs())),
            Ok(Err(error)) => return Outcome::Refused(text_of(&error)),
            Ok(Ok(_)) => {}
        }
        // From here on it may arrive, whatever becomes of us.
        match timeout(TAKING, connection.message(&octets)).await {
            Ok(Ok(_)) => Outcome::Taken,
            // It said so.
            Ok(Err(error)) if error.status().is_some() => Outcome::Refused(text_of(&error)),
            Ok(Err(error)) => Outcome::Uncertain(text_of(&error)),
            Err(_) => Outcome::Uncertain(format!("waited {} s for an answer", TAKING.as_secs())),
        }
    }

    pub(super) async fn end(mut self) {
        let _ = timeout(ENDING, self.0.quit()).await;
    }
}

fn tls(relay: &Relay) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(relay.host.clone());
    if let Some(path) = &relay.ca {
        let failed = |why: String| MailError::File { path: path.clone(), why };
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| failed(error.to_string()))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build().map_err(|error| MailError::Relay { host: relay.host.clone(), why: text_of(&error) })
}

/// A message's envelope and octets.
fn compose(
    mail: &Mail,
    to: &str,
    key: &str,
    letter: &Letter,
    now: i64,
) -> Result<((Address, Address), Vec<u8>), String> {
    let from: Mailbox = mail.from.parse().map_err(|error| format!("mail.from: {error}"))?;
    let to: Address = to.parse().map_err(|error| format!("{to}: {error}"))?;
    let time = std::time::UNIX_EPOCH + Duration::from_micros(now.max(0).unsigned_abs());
    // The same at each try: a relay or a reader that has it already can tell.
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    let id: String = digest.as_ref()[..16].iter().map(|octet| format!("{octet:02x}")).collect();
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(letter.subject.clone())
        .date(time)
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .header(ContentType::TEXT_PLAIN)
        .body(letter.text.clone())
        .map_err(|error| error.to_string())?;
    Ok(((from.email, to), message.formatted()))
}
