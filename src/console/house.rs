//! What the console asks of the running server. The daemon implements it; tests do over scratch folders.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::hunts::Hunts;
use super::works::Works;
use crate::cases::{Desk, DeskError};
use crate::coverage::{Ledger, LedgerError, Settling};
use crate::evidence::contacts::{ContactsError, Reader};
use crate::evidence::store::{Store, Watch};
use crate::feed::store::Store as Versions;
use crate::identity::Book;
use crate::metrics::Health;
use crate::report::{Format, Period, ReportError, Scope};
use crate::roster::Known;
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

/// A report that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// About which days.
    pub period: Period,
    /// About whom.
    pub scope: Scope,
    /// In which form.
    pub format: Format,
}

/// The running server.
///
/// Called on the console's own threads, which may block.
pub trait House: Send + Sync + 'static {
    /// Everything that the server writes is below this folder.
    fn data_dir(&self) -> &Path;
    /// The file of the configuration, and its text as it is now.
    ///
    /// # Errors
    /// What the system said.
    fn configuration(&self) -> io::Result<(PathBuf, String)>;
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
    /// Where the reports of months are.
    fn reports_folder(&self) -> PathBuf {
        self.data_dir().join("reports")
    }
    /// Makes a report.
    ///
    /// # Errors
    /// [`ReportError`].
    fn report(&self, wanted: &Wanted, watch: &mut dyn Watch) -> Result<Vec<u8>, ReportError>;
    /// Hunts that analysts started.
    fn hunts(&self) -> &Arc<Hunts>;
    /// Endpoint protection.
    ///
    /// # Errors
    /// [`LedgerError`], when that cannot be opened.
    fn coverage(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(self.data_dir())
    }
    /// Makes count what was imported of it.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn settle_coverage(&self, ledger: &Ledger, now: i64) -> Result<(), LedgerError> {
        let agencies: Vec<(String, String)> =
            self.agencies().iter().map(|agency| (agency.id.to_string(), agency.name.to_string())).collect();
        let agency_of = |address| self.agency_of(address).map(|id| id.to_string());
        ledger.settle(&Settling { book: &self.book(), agencies: &agencies, agency_of: &agency_of }, now)
    }
    /// Figures as Prometheus reads them.
    fn metrics(&self) -> String {
        String::new()
    }
    /// How each part of the server is.
    fn health(&self) -> Health {
        Health::default()
    }
    /// Whether a client may read figures without a token.
    fn may_measure(&self, client: IpAddr) -> bool {
        client.is_loopback()
    }
    /// Reads the configuration, and with it the list of agencies, again; says what came of it.
    ///
    /// # Errors
    /// Why it was not done; then everything is as it was.
    fn reload(&self) -> Result<String, String> {
        Ok("reloaded".to_owned())
    }
    /// The agencies that the configuration itself has: no import may change them.
    fn configured_agencies(&self) -> Vec<Known> {
        Vec::new()
    }
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
