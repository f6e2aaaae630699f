//! What the console asks of the running server. The daemon implements it; tests do over scratch folders.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::hunts::Hunts;
use super::works::Works;
use crate::cases::{Desk, DeskError};
use crate::evidence::contacts::{ContactsError, Reader};
use crate::evidence::store::Store;
use crate::feed::store::Store as Versions;
use crate::identity::Book;
use crate::rules::history::History;

/// An agency as the console shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Its short, stable id.
    pub id: Arc<str>,
    /// Its name, as people read it.
    pub name: Arc<str>,
    /// Whom to call.
    pub contact: Option<Arc<str>>,
    /// Its networks.
    pub networks: Vec<IpNet>,
    /// Who gets its cases.
    pub officer: Option<String>,
    /// Where that one reads mail.
    pub email: Option<String>,
    /// Its own DNS servers.
    pub forwarders: Vec<IpNet>,
}

/// The running server.
///
/// Called on the console's own threads, which may block.
pub trait House: Send + Sync + 'static {
    /// Everything that the server writes is below this folder.
    fn data_dir(&self) -> &Path;
    /// All agencies in configured order, as of now.
    fn agencies(&self) -> Arc<[Agency]>;
    /// Whose network this is.
    fn agency_of(&self, address: IpAddr) -> Option<Arc<str>>;
    /// The query log.
    fn log(&self) -> Box<dyn Store>;
    /// Cases.
    ///
    /// # Errors
    /// [`DeskError`], when they cannot be opened.
    fn desk(&self) -> Result<Desk, DeskError>;
    /// Machines.
    fn book(&self) -> Arc<Book>;
    /// Who came to the sinkhole.
    ///
    /// # Errors
    /// [`ContactsError`], when that cannot be opened.
    fn contacts(&self) -> Result<Reader, ContactsError>;
    /// Feeds and the policy in force; `None` where no server is running (tests of pages that need none).
    fn works(&self) -> Option<&dyn Works> {
        None
    }
    /// Hunts that analysts started.
    fn hunts(&self) -> &Arc<Hunts>;
    /// Analysts' own rules.
    fn rules(&self) -> History;
    /// Puts analysts' rules in force as the file has them; says what came of it.
    ///
    /// # Errors
    /// Why it was not done.
    fn renew_rules(&self) -> Result<String, String>;
    /// The versions of feeds.
    fn versions(&self) -> Versions;
    /// Puts in force what the store of versions has; says what came of it.
    ///
    /// # Errors
    /// Why it was not done.
    fn refresh_feeds(&self) -> Result<String, String>;
}
