//! Exports of endpoint protection, as management servers write them, and how they get into the ledger: by the way that all such files go.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::calendar::{Calendar, DAY, HOUR, office_hour};
use super::dice::Dice;
use super::office::ADMIN;
use super::province::Province;
use super::trace::Trace;
use super::{DemoError, failed};
use crate::coverage::read::{Reading, read};
use crate::coverage::{Ledger, Offer};
use crate::identity::read::times::Order;

/// A product whose server exports what it knows: its name in inventories, the export's, what the file is called, its version.
type Product = (&'static str, &'static str, &'static str, &'static str);

const PRODUCTS: [Product; 2] =
    [("Bkav Endpoint", "bkav", "bkav.csv", "8.2."), ("Viettel Endpoint", "viettel", "viettel.csv", "3.11.")];

/// Writes an export of each product, and takes it as the console does. Who was seen asking is counted by the log.
pub(super) fn import(
    folder: &Path,
    data_dir: &Path,
    province: &Province,
    calendar: &Calendar,
    trace: &mut Trace,
) -> Result<(), DemoError> {
    let folder = folder.join("protection");
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let ledger = Ledger::open(data_dir)?;
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(7));
    for (number, (product, name, file, version)) in (0_u64..).zip(PRODUCTS) {
        let mut dice = Dice::of(province.seed(), 81, number);
        let time = office_hour(calendar.until - (2 + number as i64) * DAY, &mut dice).min(calendar.until - 1);
        let text = export(province, product, version, time, &mut dice);
        let path = folder.join(file);
        fs::write(&path, &text).map_err(failed(&path))?;
        let reading = Reading { product: Some(product.to_owned()), zone: zone.clone(), dates: Order::Dmy };
        let batch = read(text.as_bytes(), &reading)?;
        let taken = ledger.take(&Offer { name, agency: None, as_of: time, by: ADMIN }, &batch, time)?;
        trace.changed(time, ADMIN, "coverage.import", name, &format!("{} computers", taken.rows));
    }
    Ok(())
}

/// What a server has, with what is usual: some expired or removed, some not heard of for long, one address that is none.
fn export(province: &Province, product: &str, version: &str, now: i64, dice: &mut Dice) -> String {
    let mut out = format!("DANH SÁCH MÁY TRẠM CÀI ĐẶT {}\n", product.to_uppercase());
    out.push_str("STT;Tên máy;Địa chỉ IP;Địa chỉ MAC;Đơn vị;Phiên bản;Kết nối lần cuối;Trạng thái\n");
    let machines = 0..province.machines.len() as u32;
    let is_in = |machine: &u32| {
        province.protection(*machine) == Some(product)
            && Province::tells_protection(province.agency_of(*machine))
    };
    for (row, number) in (1_u32..).zip(machines.filter(is_in)) {
        let (agency, machine) = (province.agency_of(number), &province.machines[number as usize]);
        let (state, heard) = match dice.below(100) {
            0..4 => ("Hết hạn bản quyền", dice.within(now - 3 * DAY, now)),
            4..7 => ("Đã gỡ bỏ", dice.within(now - 25 * DAY, now - 5 * DAY)),
            7..11 => ("Ngoại tuyến", dice.within(now - 90 * DAY, now - 40 * DAY)),
            11..30 => ("Ngoại tuyến", dice.within(now - 6 * DAY, now - DAY)),
            _ => ("Đang bật", dice.within(now - 6 * HOUR, now)),
        };
        let address = match row {
            41 => "10.16.0.300".to_owned(),
            _ => machine.address_at(now).to_string(),
        };
        let mac = machine.mac.to_string().replace(':', "-");
        let (host, unit) = (province.host(number).to_uppercase(), &agency.name);
        let (version, heard) = (format!("{version}{}", dice.below(4)), written(heard));
        let _ = writeln!(out, "{row};{host};{address};{mac};{unit};{version};{heard};{state}");
    }
    out
}

/// A time as such servers write it.
fn written(time: i64) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(7));
    jiff::Timestamp::from_microsecond(time)
        .map(|time| time.to_zoned_datetime(zone).strftime("%d/%m/%Y %H:%M").to_string())
        .unwrap_or_default()
}
