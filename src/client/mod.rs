//! Who asked: the agencies of the wide area network, by client address; how much each may ask, and whether it is there.
//!
//! Knows addresses only. Which machine stood behind one at a given time is a later part's work.

pub mod admission;
pub mod cookie;
pub mod limits;
pub mod prefix;
pub mod rate;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use prefix::{Overlap, PrefixMap};

/// An agency: who owns the machines in its networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Its short, stable id, as logs and commands write it.
    pub id: Arc<str>,
    /// Its name, as people read it.
    pub name: Arc<str>,
    /// Whom to call, as the landing page shows it.
    pub contact: Option<Arc<str>>,
    /// Its networks.
    pub networks: Vec<IpNet>,
}

/// All agencies, found by the longest network that holds an address.
#[derive(Debug, Default)]
pub struct Agencies {
    agencies: Vec<Agency>,
    networks: PrefixMap<u32>,
}

impl Agencies {
    /// Builds the look-up.
    ///
    /// # Errors
    /// [`Overlap`], when two agencies claim the same network; one inside another is fine.
    pub fn new(agencies: Vec<Agency>) -> Result<Self, Overlap> {
        let claims = agencies
            .iter()
            .enumerate()
            .flat_map(|(number, agency)| agency.networks.iter().map(move |net| (*net, number as u32)));
        let networks = PrefixMap::new(claims)?;
        Ok(Self { agencies, networks })
    }

    /// The agency that `client` belongs to.
    pub fn of(&self, client: IpAddr) -> Option<&Agency> {
        self.number_of(client).and_then(|number| self.agencies.get(number))
    }

    /// Its place in configured order.
    pub fn number_of(&self, client: IpAddr) -> Option<usize> {
        self.networks.find(client).map(|&number| number as usize)
    }

    /// All agencies, in configured order.
    pub fn all(&self) -> &[Agency] {
        &self.agencies
    }
}
