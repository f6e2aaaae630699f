//! Telling people and programs: mail at once and as a digest, webhooks, syslog.
//!
//! ```text
//! steps ──► collect: a message in the outbox for each that wants to know ──► deliver ──► told
//! ```
//!
//! A case is told of once mail to its own agency was taken, or a webhook that `notifies`. What others get to read is for their
//! eyes: nobody at the machine knows by it. Of a case without agency the readers of everything are those to be told.
//!
//! What is to be told is made of steps, once each, in the transaction that notes how far they were looked at, so that none is lost and none comes
//! twice. A message that a receiver refuses or that cannot be brought is tried again, later and later, for three days.
//! Where it is not known whether a mail arrived (the server took it and then said nothing, or we were killed), it is **not** sent again:
//! its case is in the next digest. Webhooks carry a key that is the same at each try. Mail to one address is gathered for
//! `pause`, so that an outbreak is some mails and not thousands.

mod mail;
mod syslog;
mod webhook;
mod wording;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

pub use mail::{Mail, MailError, Relay, Security};
pub use syslog::Receiver;
pub use webhook::Webhook;

use super::desk::Desk;
use super::lifecycle::{self, DAY};
use super::store;
use super::store::outbox::{self, Fate, Message};
use super::{Actor, Case, CaseId, Class, DeskError, Step, What};
use crate::database::DatabaseError;

/// Steps that are looked at together.
const PART: u32 = 500;
/// Messages that wait for one receiver; more are not made.
const MOST_WAITING: u64 = 10_000;
/// Cases that one mail tells of.
const MOST_CASES: u32 = 50;
/// Cases that a digest tells of.
const MOST_DIGEST: u32 = 200;
/// Messages to one program in a round.
const BURST: u32 = 20;
/// How long a message is tried, and how long is remembered that it was sent, in microseconds.
const PATIENCE: i64 = 3 * DAY;
const MEMORY: i64 = 60 * DAY;
/// The first pause after a failure, and the longest, in microseconds.
const RETRY: i64 = 30_000_000;
const LONGEST_RETRY: i64 = 3_600_000_000;
/// How far steps were looked at: a mark of the desk's.
const MARK: &str = "notices";

/// Who is told, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// By mail.
    pub mail: Option<Mail>,
    /// By HTTP.
    pub webhooks: Vec<Webhook>,
    /// By syslog.
    pub syslog: Option<Receiver>,
    /// What this server is called.
    pub node: String,
    /// Agencies by their ids.
    pub agencies: HashMap<String, Agency>,
}

/// What is said of an agency, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agency {
    /// Its name.
    pub name: String,
    /// Who looks after its machines.
    pub officer: Option<String>,
    /// Where that one reads mail.
    pub email: Option<String>,
}

/// Why notices cannot be kept up.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The database of cases.
    #[error(transparent)]
    Store(#[from] DatabaseError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<rusqlite::Error> for NotifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What became of one try.
#[derive(Debug)]
enum Outcome {
    /// It was taken.
    Taken,
    /// It was not, for this reason.
    Refused(String),
    /// Nobody knows.
    Uncertain(String),
}

/// Sends what is to be told.
#[derive(Debug)]
pub struct Postman {
    desk: Desk,
    connection: Connection,
    /// Channels that failed: until when they are left alone, and for how long the time before.
    resting: HashMap<String, (i64, i64)>,
    syslog: syslog::Sender,
    cleaned: i64,
}

impl Postman {
    /// Of the cases that `desk` keeps.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn new(desk: &Desk) -> Result<Self, NotifyError> {
        let connection = store::open(desk.folder())?;
        // Of mail nobody can know; programs are told the same key again.
        let lost = outbox::find_left(&connection, MAIL, Fate::Uncertain)?;
        if lost > 0 {
            tracing::warn!(
                mails = lost,
                "the server ended while mail was handed over: it may have arrived, and is not sent again; the next digest has its cases"
            );
        }
        outbox::find_left(&connection, "", Fate::Waiting)?;
        Ok(Self {
            desk: desk.clone(),
            connection,
            resting: HashMap::new(),
            syslog: syslog::Sender::default(),
            cleaned: i64::MIN,
        })
    }

    /// Makes messages of what happened, and sends what is due; `now` is the time. Takes as long as the receivers need, each within
    /// bounds; it may be dropped at any moment.
    ///
    /// # Errors
    /// [`NotifyError`]: nothing is lost by it.
    pub async fn round(&mut self, options: &Options, now: i64) -> Result<(), NotifyError> {
        while self.collect(options, now)? {}
        self.make_digests(options, now)?;
        if now.saturating_sub(self.cleaned) >= DAY / 24 {
            self.cleaned = now;
            let given_up = outbox::clean(&self.connection, now - PATIENCE, now - MEMORY)?;
            if given_up > 0 {
                tracing::error!(
                    messages = given_up,
                    "notices of cases are GIVEN UP: nobody took them for three days"
                );
            }
        }
        if let Some(mail) = &options.mail {
            self.deliver_mail(mail, options, now).await?;
        }
        for webhook in &options.webhooks {
            self.deliver_webhook(webhook, options, now).await?;
        }
        if let Some(receiver) = &options.syslog {
            self.deliver_syslog(receiver, options, now).await?;
        }
        Ok(())
    }

    /// Makes messages of the next steps; returns whether there may be more.
    fn collect(&mut self, options: &Options, now: i64) -> Result<bool, NotifyError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mark = store::mark(&transaction, MARK)?.unwrap_or(0);
        let steps = outbox::steps_after(&transaction, mark, PART)?;
        let Some((last, ..)) = steps.last() else { return Ok(false) };
        let mut dropped = 0u64;
        let mut counts: HashMap<String, u64> = HashMap::new();
        for (id, step, case_id) in &steps {
            let Some(case) = store::case(&transaction, *case_id)? else { continue };
            for channel in channels(options, &case, step) {
                let count = match counts.get(&channel) {
                    Some(count) => *count,
                    None => outbox::waiting(&transaction, &channel)?,
                };
                if count >= MOST_WAITING {
                    dropped += 1;
                    continue;
                }
                counts.insert(channel.clone(), count + 1);
                let key = format!("{channel}#{id}");
                outbox::add(&transaction, &key, &channel, STEP, Some((*case_id, *id)), now)?;
            }
        }
        store::set_mark(&transaction, MARK, *last)?;
        let is_more = steps.len() == PART as usize;
        transaction.commit()?;
        if dropped > 0 {
            tracing::error!(
                dropped,
                "notices of cases are DROPPED: {MOST_WAITING} wait for one receiver already"
            );
        }
        Ok(is_more)
    }

    /// Makes today's digests, once it is time.
    fn make_digests(&mut self, options: &Options, now: i64) -> Result<(), NotifyError> {
        let Some(mail) = &options.mail else { return Ok(()) };
        let Some(minute) = mail.digest else { return Ok(()) };
        let kept = self.desk.options();
        let zone = &kept.time_zone;
        let Ok(time) = Timestamp::from_microsecond(now) else { return Ok(()) };
        let time = time.to_zoned_datetime(zone.clone());
        if i32::from(time.hour()) * 60 + i32::from(time.minute()) < i32::from(minute) {
            return Ok(());
        }
        let today = lifecycle::day(now, zone);
        for (address, agency) in readers(options, mail) {
            let key = format!("{MAIL}{address}#digest-{today}-{}", agency.unwrap_or_default());
            if outbox::has(&self.connection, &key)? {
                continue;
            }
            if !outbox::digest(&self.connection, agency, now - DAY, 1)?.is_empty() {
                let kind = format!("{DIGEST}{}", agency.unwrap_or_default());
                outbox::add(&self.connection, &key, &format!("{MAIL}{address}"), &kind, None, now)?;
            }
        }
        Ok(())
    }

    async fn deliver_mail(&mut self, mail: &Mail, options: &Options, now: i64) -> Result<(), NotifyError> {
        let mut relay: Option<mail::Session> = None;
        let mut addresses: Vec<String> =
            readers(options, mail).into_iter().map(|(address, _)| address).collect();
        addresses.sort();
        addresses.dedup();
        for address in addresses {
            let channel = format!("{MAIL}{address}");
            if self.is_resting(MAIL, now) || self.is_resting(&channel, now) {
                continue;
            }
            let sent = store::mark(&self.connection, &format!("sent {channel}"))?;
            let pause = i64::try_from(mail.pause.as_micros()).unwrap_or(i64::MAX);
            // A clock that was set back must not silence anybody.
            if sent.is_some_and(|sent| (0..pause).contains(&(now - sent))) {
                continue;
            }
            let due = outbox::due(&self.connection, &channel, now, MOST_CASES)?;
            let Some(first) = due.first() else { continue };
            // A digest is a mail of its own; whatever waits behind it comes with the next.
            let kind = first.kind.clone();
            let due: Vec<Message> = if kind == STEP {
                due.into_iter().take_while(|message| message.kind == STEP).collect()
            } else {
                due.into_iter().take(1).collect()
            };
            let ids: Vec<i64> = due.iter().map(|message| message.id).collect();
            let Some((letter, cases)) = self.write(&address, &due, options, now)? else {
                // What it was about is gone.
                outbox::settle(&self.connection, &ids, Fate::Sent, now, Some("nothing to tell any more"))?;
                continue;
            };
            let session = match &mut relay {
                Some(session) => session,
                None => match mail::Session::open(&mail.relay).await {
                    Ok(session) => relay.insert(session),
                    Err(error) => {
                        self.rest(MAIL, &error.to_string(), now);
                        return Ok(());
                    }
                },
            };
            outbox::settle(&self.connection, &ids, Fate::Leaving, now, None)?;
            let key = &due[0].key;
            let outcome = session.send(mail, &address, key, &letter, now).await;
            match outcome {
                Outcome::Taken => {
                    // First: of what is settled nobody asks again whether its case was told.
                    for id in cases {
                        self.told(id, &format!("mail to {address}"), now)?;
                    }
                    outbox::settle(&self.connection, &ids, Fate::Sent, now, None)?;
                    store::set_mark(&self.connection, &format!("sent {channel}"), now)?;
                    self.resting.remove(MAIL);
                    self.resting.remove(&channel);
                }
                Outcome::Refused(why) => {
                    self.back(&ids, due[0].tries, &why, now)?;
                    self.rest(&channel, &why, now);
                    // What was said on it may not be over.
                    relay = None;
                }
                Outcome::Uncertain(why) => {
                    outbox::settle(&self.connection, &ids, Fate::Uncertain, now, Some(&why))?;
                    store::set_mark(&self.connection, &format!("sent {channel}"), now)?;
                    tracing::warn!(
                        to = address,
                        "a mail about cases may have arrived or not ({why}): it is not sent again, the next digest has its cases"
                    );
                    relay = None;
                }
            }
        }
        if let Some(session) = relay {
            session.end().await;
        }
        Ok(())
    }

    /// What a mail says, and of which cases whoever is to be told is told by it; `None` where there is nothing any more.
    fn write(
        &self,
        address: &str,
        due: &[Message],
        options: &Options,
        now: i64,
    ) -> Result<Option<(wording::Letter, Vec<CaseId>)>, NotifyError> {
        let desk = self.desk.options();
        let reader = wording::Reader { address, agencies: &options.agencies, zone: &desk.time_zone };
        let Some(agency) = due.first().and_then(|message| message.kind.strip_prefix(DIGEST)) else {
            let mut cases = Vec::new();
            for message in due {
                let (Some(case), Some(step)) = (message.case, message.step) else { continue };
                let case = store::case(&self.connection, case)?;
                cases.extend(case.zip(outbox::step(&self.connection, step)?));
            }
            if cases.is_empty() {
                return Ok(None);
            }
            let told = cases.iter().map(|(case, _)| case).filter(|case| tells(options, address, case));
            let mut ids: Vec<CaseId> = told.map(|case| case.id).collect();
            ids.dedup();
            return Ok(Some((wording::at_once(&cases, &reader, desk.quiet_days), ids)));
        };
        let agency = Some(agency).filter(|agency| !agency.is_empty());
        let since = now - DAY;
        let cases = outbox::digest(&self.connection, agency, since, MOST_DIGEST)?;
        if cases.is_empty() {
            return Ok(None);
        }
        let figures = outbox::figures(&self.connection, agency, since)?;
        let told = cases.iter().filter(|case| case.course.is_open() && tells(options, address, case));
        let ids = told.map(|case| case.id).collect();
        Ok(Some((wording::digest(&cases, &figures, agency, &reader, now), ids)))
    }

    async fn deliver_webhook(
        &mut self,
        webhook: &Webhook,
        options: &Options,
        now: i64,
    ) -> Result<(), NotifyError> {
        let channel = format!("{WEBHOOK}{}", webhook.name);
        if self.is_resting(&channel, now) {
            return Ok(());
        }
        let due = outbox::due(&self.connection, &channel, now, BURST)?;
        if due.is_empty() {
            return Ok(());
        }
        let mut client = match webhook::Client::new(webhook) {
            Ok(client) => client,
            Err(error) => {
                self.rest(&channel, &error.to_string(), now);
                return Ok(());
            }
        };
        for message in due {
            let Some((case, step)) = self.about(&message)? else { continue };
            outbox::settle(&self.connection, &[message.id], Fate::Leaving, now, None)?;
            let body = webhook::body(&options.node, &case, &step);
            match client.post(&message.key, body, now).await {
                Outcome::Taken => {
                    let is_news = step.what == What::Opened || step.what == What::Reopened;
                    if is_news && webhook.notifies {
                        self.told(case.id, &format!("webhook {}", webhook.name), now)?;
                    }
                    outbox::settle(&self.connection, &[message.id], Fate::Sent, now, None)?;
                    self.resting.remove(&channel);
                }
                // The key is the same each time: who has it already knows.
                Outcome::Refused(why) | Outcome::Uncertain(why) => {
                    self.back(&[message.id], message.tries, &why, now)?;
                    self.rest(&channel, &why, now);
                    break;
                }
            }
        }
        Ok(())
    }

    async fn deliver_syslog(
        &mut self,
        receiver: &Receiver,
        options: &Options,
        now: i64,
    ) -> Result<(), NotifyError> {
        if self.is_resting(SYSLOG, now) {
            return Ok(());
        }
        for message in outbox::due(&self.connection, SYSLOG, now, BURST)? {
            let Some((case, step)) = self.about(&message)? else { continue };
            let line = syslog::line(&options.node, &case, &step);
            outbox::settle(&self.connection, &[message.id], Fate::Leaving, now, None)?;
            match self.syslog.send(receiver, &line).await {
                Ok(()) => {
                    outbox::settle(&self.connection, &[message.id], Fate::Sent, now, None)?;
                    self.resting.remove(SYSLOG);
                }
                Err(error) => {
                    let why = format!("{receiver}: {error}");
                    self.back(&[message.id], message.tries, &why, now)?;
                    self.rest(SYSLOG, &why, now);
                    break;
                }
            }
        }
        Ok(())
    }

    /// What a message is about; where that is gone, the message is too.
    fn about(&self, message: &Message) -> Result<Option<(Case, Step)>, NotifyError> {
        let case = message.case.map(|id| store::case(&self.connection, id)).transpose()?.flatten();
        let step = message.step.map(|id| outbox::step(&self.connection, id)).transpose()?.flatten();
        let about = case.zip(step);
        if about.is_none() {
            outbox::settle(&self.connection, &[message.id], Fate::Sent, message.made, Some("gone"))?;
        }
        Ok(about)
    }

    /// Puts messages back that nobody took.
    fn back(&self, ids: &[i64], tries: u32, why: &str, now: i64) -> Result<(), NotifyError> {
        let wait = RETRY.saturating_mul(1 << tries.min(8)).min(LONGEST_RETRY);
        Ok(outbox::settle(&self.connection, ids, Fate::Waiting, now + wait, Some(why))?)
    }

    fn told(&self, id: CaseId, how: &str, now: i64) -> Result<(), NotifyError> {
        match self.desk.told_first(id, how, &Actor::Server, now) {
            // It was closed or merged meanwhile.
            Err(DeskError::NoNumber(_)) => Ok(()),
            told => Ok(told?),
        }
    }

    fn is_resting(&self, channel: &str, now: i64) -> bool {
        self.resting
            .get(channel)
            .is_some_and(|(until, wait)| (0..=*wait).contains(&(until - now)) && now < *until)
    }

    /// Leaves a channel alone for a while, longer each time.
    fn rest(&mut self, channel: &str, why: &str, now: i64) {
        let wait = self.resting.get(channel).map_or(RETRY, |(_, wait)| (2 * wait).min(LONGEST_RETRY));
        if self.resting.insert(channel.to_owned(), (now + wait, wait)).is_none() {
            let channel = channel.trim_end_matches(':');
            tracing::warn!(channel, "notices of cases wait, and are tried again for three days: {why}");
        }
    }
}

/// The beginnings of channels' names.
const MAIL: &str = "mail:";
const WEBHOOK: &str = "webhook:";
const SYSLOG: &str = "syslog";
/// Kinds of messages: of a step, or a digest (with the agency's id behind).
const STEP: &str = "step";
const DIGEST: &str = "digest:";

/// Who wants to know of a step.
fn channels(options: &Options, case: &Case, step: &Step) -> Vec<String> {
    let mut channels: Vec<String> =
        options.webhooks.iter().map(|webhook| format!("{WEBHOOK}{}", webhook.name)).collect();
    if options.syslog.is_some() {
        channels.push(SYSLOG.to_owned());
    }
    if let Some(mail) = &options.mail {
        let is_news = matches!(step.what, What::Opened | What::Reopened | What::Relapsed);
        // Somebody waits at the machine, whatever it is: a name that is listed by mistake stops work.
        let is_wrong = step.what == What::SaidWrong;
        if is_wrong || is_news && mail.at_once.contains(&case.class) {
            for (address, agency) in readers(options, mail) {
                let channel = format!("{MAIL}{address}");
                if (agency.is_none() || agency == case.agency.as_deref()) && !channels.contains(&channel) {
                    channels.push(channel);
                }
            }
        }
    }
    channels
}

/// Whether mail to this address tells those whom a case concerns: its agency, or of one without, the readers of everything.
fn tells(options: &Options, address: &str, case: &Case) -> bool {
    match case.agency.as_deref() {
        Some(id) => options.agencies.get(id).and_then(|agency| agency.email.as_deref()) == Some(address),
        None => options.mail.as_ref().is_some_and(|mail| mail.to.iter().any(|to| to == address)),
    }
}

/// Who reads mail: of everything, or of one agency.
fn readers<'a>(options: &'a Options, mail: &'a Mail) -> Vec<(String, Option<&'a str>)> {
    let mut agencies: Vec<_> = options.agencies.iter().collect();
    agencies.sort_by_key(|(id, _)| *id);
    let all = mail.to.iter().map(|address| (address.clone(), None));
    let of_agencies =
        agencies.into_iter().filter_map(|(id, agency)| Some((agency.email.clone()?, Some(&**id))));
    all.chain(of_agencies).collect()
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            relay: Relay::default(),
            from: "SachDNS <sachdns@localhost>".to_owned(),
            to: Vec::new(),
            at_once: vec![Class::C2],
            digest: Some(8 * 60),
            pause: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests;
