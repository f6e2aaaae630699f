//! Files that say which machine had which address, and how they get into the book of machines: by the way that all such files go.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::calendar::{Calendar, DAY, SECOND};
use super::province::{Link, Province};
use super::{DemoError, failed};
use crate::cases::Subject;
use crate::identity::{Book, Hints, Who, follow};

/// Writes the inventory and the leases.
pub(super) fn write(folder: &Path, province: &Province, calendar: &Calendar) -> Result<(), DemoError> {
    let folder = folder.join("machines");
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let put = |name: &str, text: &str, time: i64| {
        let path = folder.join(name);
        let written = fs::write(&path, text).and_then(|()| {
            // A file says how things were when it was written.
            let time = UNIX_EPOCH + Duration::from_micros(time.max(0).unsigned_abs());
            File::options().write(true).open(&path)?.set_modified(time)
        });
        written.map_err(failed(&path))
    };
    put("may-tinh.csv", &inventory(province), calendar.start)?;
    put("leases.csv", &leases(province, calendar), calendar.until)
}

/// As people keep it, with what people get wrong: a few old addresses, one given to two machines, a copied name.
fn inventory(province: &Province) -> String {
    let mut out = String::from(
        "STT;Tên máy;Địa chỉ IP;Địa chỉ MAC;Người sử dụng;Đơn vị;Phần mềm diệt virus;Loại máy\n",
    );
    let known = (0..province.machines.len() as u32).filter(|machine| province.is_known(*machine));
    for (row, number) in (1_u32..).zip(known) {
        let (agency, machine) = (province.agency_of(number), &province.machines[number as usize]);
        let is_odd = row % 211 == 97;
        let address = match (agency.is_dhcp, machine.v6) {
            (true, _) if is_odd => province.machines[agency.first as usize].address.to_string(),
            (true, _) => String::new(),
            (false, _) if is_odd => agency.host(20).to_string(),
            (false, Some(v6)) => format!("{} / {v6}", machine.address),
            (false, None) => machine.address.to_string(),
        };
        let host = match row % 307 {
            200 => province.host(agency.first),
            _ => province.host(number),
        };
        let mac = machine.mac.to_string().replace(':', "-");
        let owner = province.owner(number);
        let protection =
            province.protection(number).filter(|_| Province::tells_protection(agency)).unwrap_or("");
        let kind = if province.is_server(number) { "Máy chủ" } else { "Máy trạm" };
        let _ = writeln!(out, "{row};{host};{address};{mac};{owner};{};{protection};{kind}", agency.name);
    }
    out
}

/// As Kea keeps them.
fn leases(province: &Province, calendar: &Calendar) -> String {
    let mut out = String::from(
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n",
    );
    let (before, after) = (calendar.start - 5 * DAY, calendar.until + 8 * DAY);
    for agency in province.agencies.iter().filter(|agency| agency.is_dhcp) {
        for number in agency.first..agency.end {
            let machine = &province.machines[number as usize];
            let host = province.host(number);
            let moved = machine.moved.map(|(time, _)| time);
            let mut line = |address, from: i64, until: i64| {
                let (from, until) = (from / SECOND, until / SECOND);
                let (lifetime, net) = (until - from, agency.number + 1);
                let _ = writeln!(out, "{address},{},,{lifetime},{until},{net},0,0,{host},0,", machine.mac);
            };
            line(machine.address, before, moved.unwrap_or(after));
            if let Some((time, address)) = machine.moved {
                line(address, time, after);
            }
        }
    }
    out
}

/// Reads them into the book.
pub(super) fn import(book: &Book, options: &follow::Options) -> Result<(), DemoError> {
    for file in &options.files {
        follow::import(
            book,
            &follow::source_name(&file.path),
            file,
            None,
            options,
            crate::identity::Trial::No,
        )?;
    }
    Ok(())
}

/// Whose case a hit is.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) subject: Subject,
    pub(super) host: Option<String>,
}

/// Who was behind addresses: the book is asked once for each machine at an address.
#[derive(Debug)]
pub(super) struct Persons<'a> {
    book: &'a Book,
    province: &'a Province,
    known: HashMap<(u32, IpAddr), Person>,
}

impl<'a> Persons<'a> {
    pub(super) fn new(book: &'a Book, province: &'a Province) -> Self {
        Self { book, province, known: HashMap::new() }
    }

    /// Who a machine is known to be that was at this address at a time.
    pub(super) fn who(&mut self, machine: u32, address: IpAddr, time: i64) -> Result<Person, DemoError> {
        if let Some(person) = self.known.get(&(machine, address)) {
            return Ok(person.clone());
        }
        let agency = self.province.agency_of(machine);
        let mac = self.province.machines[machine as usize].mac;
        let is_told = agency.link == Link::Telling && address == IpAddr::from(agency.forwarder());
        let hints = Hints { mac: is_told.then_some(mac), agency: Some(&agency.id), host: None };
        let person = match self.book.who(address, time, &hints)? {
            Who::Machine(machine) => Person { subject: Subject::Machine(machine.id), host: machine.host },
            Who::Conflict(_) | Who::Unknown => {
                Person { subject: Subject::Address(address.to_canonical()), host: None }
            }
        };
        self.known.insert((machine, address), person.clone());
        Ok(person)
    }
}
