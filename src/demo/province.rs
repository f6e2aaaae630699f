//! Agencies of a made-up province, their people and their machines. Names of places and people are common ones, put together by chance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::calendar::{Calendar, DAY, is_weekend};
use super::dice::{Dice, mixed};
use crate::mac::Mac;

/// Boards of the province: what they are called in ids, their names, and how large they are.
const BOARDS: [(&str, &str, u64); 40] = [
    ("so-tttt", "Sở Thông tin và Truyền thông", 5),
    ("vp-ubnd", "Văn phòng Ủy ban nhân dân tỉnh", 6),
    ("so-yt", "Sở Y tế", 6),
    ("so-gddt", "Sở Giáo dục và Đào tạo", 7),
    ("so-tc", "Sở Tài chính", 5),
    ("so-khdt", "Sở Kế hoạch và Đầu tư", 5),
    ("so-nv", "Sở Nội vụ", 4),
    ("so-tp", "Sở Tư pháp", 3),
    ("so-ct", "Sở Công Thương", 4),
    ("so-gtvt", "Sở Giao thông vận tải", 5),
    ("so-xd", "Sở Xây dựng", 4),
    ("so-nnptnt", "Sở Nông nghiệp và Phát triển nông thôn", 7),
    ("so-tnmt", "Sở Tài nguyên và Môi trường", 8),
    ("so-ldtbxh", "Sở Lao động - Thương binh và Xã hội", 5),
    ("so-vhttdl", "Sở Văn hóa, Thể thao và Du lịch", 4),
    ("so-khcn", "Sở Khoa học và Công nghệ", 3),
    ("so-ngv", "Sở Ngoại vụ", 2),
    ("ban-dt", "Ban Dân tộc", 2),
    ("thanh-tra", "Thanh tra tỉnh", 3),
    ("vp-tinh-uy", "Văn phòng Tỉnh ủy", 6),
    ("vp-hdnd", "Văn phòng Đoàn đại biểu Quốc hội và Hội đồng nhân dân tỉnh", 3),
    ("ban-to-chuc", "Ban Tổ chức Tỉnh ủy", 2),
    ("ban-tuyen-giao", "Ban Tuyên giáo Tỉnh ủy", 2),
    ("ban-dan-van", "Ban Dân vận Tỉnh ủy", 2),
    ("ban-noi-chinh", "Ban Nội chính Tỉnh ủy", 2),
    ("ubkt-tinh-uy", "Ủy ban Kiểm tra Tỉnh ủy", 2),
    ("mttq", "Ủy ban Mặt trận Tổ quốc Việt Nam tỉnh", 2),
    ("ldld", "Liên đoàn Lao động tỉnh", 3),
    ("hoi-phu-nu", "Hội Liên hiệp Phụ nữ tỉnh", 2),
    ("tinh-doan", "Tỉnh đoàn", 2),
    ("hoi-nong-dan", "Hội Nông dân tỉnh", 2),
    ("hoi-ccb", "Hội Cựu chiến binh tỉnh", 1),
    ("bql-kcn", "Ban Quản lý các khu công nghiệp", 3),
    ("bql-gt", "Ban Quản lý dự án đầu tư xây dựng các công trình giao thông", 3),
    ("dai-ptth", "Đài Phát thanh và Truyền hình tỉnh", 6),
    ("truong-ct", "Trường Chính trị tỉnh", 3),
    ("bv-da-khoa", "Bệnh viện Đa khoa tỉnh", 16),
    ("cdc", "Trung tâm Kiểm soát bệnh tật tỉnh", 6),
    ("tt-hcc", "Trung tâm Phục vụ hành chính công tỉnh", 4),
    ("cc-kiem-lam", "Chi cục Kiểm lâm", 4),
];

/// Districts.
const DISTRICTS: [(&str, &str); 20] = [
    ("an-hoa", "An Hòa"),
    ("binh-son", "Bình Sơn"),
    ("dai-loc", "Đại Lộc"),
    ("dong-phu", "Đông Phú"),
    ("gia-vien", "Gia Viên"),
    ("hai-thinh", "Hải Thịnh"),
    ("hoa-xuan", "Hòa Xuân"),
    ("kim-thanh", "Kim Thành"),
    ("long-dien", "Long Điền"),
    ("my-loc", "Mỹ Lộc"),
    ("nam-truc", "Nam Trúc"),
    ("phu-binh", "Phú Bình"),
    ("quang-ninh", "Quảng Ninh"),
    ("son-duong", "Sơn Dương"),
    ("tan-lap", "Tân Lập"),
    ("thach-khe", "Thạch Khê"),
    ("tien-hung", "Tiên Hưng"),
    ("vinh-tuong", "Vĩnh Tường"),
    ("xuan-loc", "Xuân Lộc"),
    ("yen-my", "Yên Mỹ"),
];

/// Of which names of communes are made.
const FIRST: [(&str, &str); 20] = [
    ("an", "An"),
    ("binh", "Bình"),
    ("dai", "Đại"),
    ("dong", "Đông"),
    ("hoa", "Hòa"),
    ("hung", "Hưng"),
    ("long", "Long"),
    ("minh", "Minh"),
    ("my", "Mỹ"),
    ("ngoc", "Ngọc"),
    ("phu", "Phú"),
    ("quang", "Quảng"),
    ("son", "Sơn"),
    ("tan", "Tân"),
    ("thanh", "Thanh"),
    ("thuan", "Thuận"),
    ("trung", "Trung"),
    ("vinh", "Vĩnh"),
    ("xuan", "Xuân"),
    ("yen", "Yên"),
];
const SECOND: [(&str, &str); 18] = [
    ("cuong", "Cường"),
    ("duc", "Đức"),
    ("giang", "Giang"),
    ("ha", "Hà"),
    ("hai", "Hải"),
    ("khanh", "Khánh"),
    ("lam", "Lâm"),
    ("loc", "Lộc"),
    ("nghia", "Nghĩa"),
    ("phong", "Phong"),
    ("phuc", "Phúc"),
    ("sinh", "Sinh"),
    ("thach", "Thạch"),
    ("thang", "Thắng"),
    ("thinh", "Thịnh"),
    ("tien", "Tiến"),
    ("tri", "Trị"),
    ("tuong", "Tường"),
];

const FAMILY: [&str; 14] =
    ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô"];
const MIDDLE: [&str; 10] = ["Văn", "Thị", "Minh", "Thanh", "Ngọc", "Quốc", "Hữu", "Đức", "Thu", "Hồng"];
const GIVEN: [&str; 24] = [
    "An", "Anh", "Bình", "Châu", "Chi", "Cường", "Dũng", "Dung", "Giang", "Hà", "Hải", "Hạnh", "Hiếu", "Hoa",
    "Hùng", "Hương", "Lan", "Linh", "Long", "Mai", "Nam", "Phương", "Sơn", "Tuấn",
];

/// Most agencies that have names.
pub(super) const MOST_AGENCIES: u32 = 5000;
/// Where agencies' networks begin: 10.16.0.0.
const FIRST_ADDRESS: u32 = 0x0a10_0000;
/// Hosts that stand before the machines in an agency's network.
const FRONT: u32 = 20;

/// The agency from which nothing is heard any more.
const SILENT: u32 = 13;

/// How an agency is connected, and so whose address its queries come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Each machine asks for itself.
    Direct,
    /// … over IPv6 too.
    Dual,
    /// All of them share one address.
    Nat,
    /// Their own DNS server asks for them; they themselves come to the sinkhole.
    Forwarder,
    /// … and do not: something keeps them away from it.
    Blind,
    /// Their DNS server tells whose queries they are.
    Telling,
}

/// An agency.
#[derive(Debug)]
pub(super) struct Agency {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// The person who looks after its machines.
    pub(super) officer: String,
    /// Its network's first address, and how many bits it has.
    pub(super) base: u32,
    pub(super) bits: u8,
    /// How it is connected.
    pub(super) link: Link,
    /// Whether a DHCP server gives out its addresses.
    pub(super) is_dhcp: bool,
    /// Its machines: the first, and behind the last.
    pub(super) first: u32,
    pub(super) end: u32,
    /// Its number.
    pub(super) number: u32,
}

/// A machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// The number of its agency.
    pub(super) agency: u32,
    /// Its hardware address.
    pub(super) mac: Mac,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// When it got another one, and which.
    pub(super) moved: Option<(i64, Ipv4Addr)>,
    /// Its address in IPv6.
    pub(super) v6: Option<Ipv6Addr>,
    /// From when on it was off for good.
    pub(super) gone: Option<i64>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Province {
    /// Agencies, the large ones first.
    pub(super) agencies: Vec<Agency>,
    /// Machines, by agency.
    pub(super) machines: Vec<Machine>,
    seed: u64,
}

impl Agency {
    /// An address of its network.
    pub(super) fn host(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + number)
    }

    /// The address behind which all of its machines are.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// Its own DNS server.
    pub(super) fn forwarder(&self) -> Ipv4Addr {
        self.host(3)
    }

    /// Its network in IPv6.
    pub(super) fn v6(&self) -> Ipv6Addr {
        [0xfd00, 0x84, self.number as u16, 0, 0, 0, 0, 0].map(u16::to_be).map(u16::from_be).into()
    }

    /// Its domain.
    pub(super) fn domain(&self) -> String {
        format!("{}.tinh.example", self.id)
    }

    /// Its telephone, on the landing page.
    pub(super) fn contact(&self) -> String {
        let number = 100 + self.number % 900;
        format!("Bộ phận công nghệ thông tin, điện thoại 0299 3{:03} {number}", self.number / 900)
    }
}

impl Machine {
    /// The address that it had.
    pub(super) fn address_at(&self, time: i64) -> Ipv4Addr {
        match self.moved {
            Some((moved, address)) if time >= moved => address,
            _ => self.address,
        }
    }

    /// The address that its queries came from.
    pub(super) fn client(&self, agency: &Agency, time: i64, dice: &mut Dice) -> IpAddr {
        match (agency.link, self.v6) {
            (Link::Nat, _) => agency.gateway().into(),
            (Link::Forwarder | Link::Blind | Link::Telling, _) => agency.forwarder().into(),
            (_, Some(v6)) if dice.percent(40) => v6.into(),
            _ => self.address_at(time).into(),
        }
    }
}

impl Province {
    /// A province of so many agencies and machines; `None` where 10.0.0.0/8 has no room for them.
    pub(super) fn new(seed: u64, agencies: u32, machines: u32, calendar: &Calendar) -> Option<Self> {
        let mut dice = Dice::of(seed, 1, 0);
        let named: Vec<(String, String, u64)> = (0..agencies).map(named).collect();
        let weights: Vec<u64> = named.iter().map(|(_, _, size)| size * (70 + dice.below(60))).collect();
        let all = weights.iter().sum::<u64>().max(1);
        let counts: Vec<u32> =
            weights.iter().map(|weight| ((u64::from(machines) * weight / all) as u32).max(2)).collect();
        let largest = counts.iter().copied().max().unwrap_or(2);
        // Room for each machine at two addresses.
        let host_bits = (2 * largest + FRONT + 2).next_power_of_two().trailing_zeros().max(10);
        let room = (u32::from(Ipv4Addr::new(10, 255, 255, 255)) - FIRST_ADDRESS) >> host_bits;
        if agencies > room {
            return None;
        }
        let mut province = Self { agencies: Vec::new(), machines: Vec::new(), seed };
        for (number, ((id, name, _), count)) in (0..).zip(named.into_iter().zip(counts)) {
            let first = province.machines.len() as u32;
            let link = link(number);
            let is_dhcp = matches!(link, Link::Direct | Link::Dual) && number % 2 == 0;
            let agency = Agency {
                id,
                name,
                officer: person(&mut Dice::of(seed, 2, u64::from(number))),
                base: FIRST_ADDRESS + (number << host_bits),
                bits: 32 - host_bits as u8,
                link,
                is_dhcp,
                first,
                end: first + count,
                number,
            };
            province.add_machines(&agency, calendar);
            if number == SILENT {
                let machines = &mut province.machines[first as usize..];
                machines.iter_mut().for_each(|machine| machine.gone = Some(calendar.until - 2 * DAY));
            }
            province.agencies.push(agency);
        }
        Some(province)
    }

    fn add_machines(&mut self, agency: &Agency, calendar: &Calendar) {
        let mut dice = Dice::of(self.seed, 3, u64::from(agency.number));
        let count = agency.end - agency.first;
        let v6 = agency.v6();
        let mut moves: Vec<(i64, usize)> = Vec::new();
        for number in 0..count {
            let at = self.machines.len();
            let vendor =
                dice.pick(&[[0x00, 0x1a, 0x2b], [0x3c, 0x52, 0x82], [0x98, 0xfa, 0x9b], [0x54, 0xbf, 0x64]]);
            let [_, tail @ ..] = (at as u32 ^ (self.seed as u32 & 0x00ff_ffff)).to_be_bytes();
            let mac = Mac([vendor[0], vendor[1], vendor[2], tail[0], tail[1], tail[2]]);
            self.machines.push(Machine {
                agency: agency.number,
                mac,
                address: agency.host(FRONT + number),
                moved: None,
                v6: (agency.link == Link::Dual).then(|| {
                    let [.., high, low] = (FRONT + number).to_be_bytes();
                    Ipv6Addr::from(u128::from(v6) | u128::from(u16::from_be_bytes([high, low])))
                }),
                gone: None,
            });
            if agency.is_dhcp && dice.percent(16) {
                moves.push((
                    dice.within(calendar.start + DAY, calendar.until.max(calendar.start + 2 * DAY)),
                    at,
                ));
            }
        }
        moves.sort_unstable();
        // Who moves gets the address of who moved before, as DHCP servers do.
        let mut free = agency.host(FRONT + count);
        for (time, at) in moves {
            let machine = &mut self.machines[at];
            machine.moved = Some((time, free));
            free = machine.address;
        }
    }

    /// What chance begins with.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The agency of a machine.
    pub(super) fn agency_of(&self, machine: u32) -> &Agency {
        &self.agencies[self.machines[machine as usize].agency as usize]
    }

    /// What people call a machine.
    pub(super) fn host(&self, machine: u32) -> String {
        let agency = self.agency_of(machine);
        let short = agency.id.rsplit('-').next().unwrap_or(&agency.id);
        let kind = if mixed(self.seed ^ 5 ^ u64::from(machine)).is_multiple_of(4) { "lt" } else { "pc" };
        format!("{short}-{kind}{:03}", machine - agency.first + 1)
    }

    /// Who sits at a machine.
    pub(super) fn owner(&self, machine: u32) -> String {
        person(&mut Dice::of(self.seed, 6, u64::from(machine)))
    }

    /// What protects it; `None`: nothing that anybody knows.
    pub(super) fn protection(&self, machine: u32) -> Option<&'static str> {
        match Dice::of(self.seed, 7, u64::from(machine)).below(100) {
            0..46 => Some("Bkav Endpoint"),
            46..72 => Some("Viettel Endpoint"),
            72..80 => Some("Kaspersky"),
            _ => None,
        }
    }

    /// Whether an agency lets anybody know what protects its machines.
    pub(super) fn tells_protection(agency: &Agency) -> bool {
        agency.number % 7 != 6
    }

    /// Whether people wrote it into the inventory.
    pub(super) fn is_known(&self, machine: u32) -> bool {
        !matches!(self.agency_of(machine).link, Link::Nat)
            && Dice::of(self.seed, 8, u64::from(machine)).percent(88)
    }

    /// Whether it runs by day and night.
    pub(super) fn is_server(&self, machine: u32) -> bool {
        mixed(self.seed ^ 9 ^ u64::from(machine) << 8).is_multiple_of(29)
    }

    /// Whether it is on, on a day that begins at a time.
    pub(super) fn is_on(&self, machine: u32, day: i64) -> bool {
        if self.machines[machine as usize].gone.is_some_and(|gone| day >= gone) {
            return false;
        }
        let number = day.div_euclid(DAY) as u64;
        let chance = mixed(self.seed ^ number.wrapping_mul(0x51ed) ^ u64::from(machine) << 20) % 100;
        self.is_server(machine) || chance < if is_weekend(day) { 12 } else { 88 }
    }
}

fn link(number: u32) -> Link {
    match number {
        _ if number % 37 == 5 => Link::Nat,
        _ if number % 29 == 7 => Link::Forwarder,
        _ if number % 41 == 11 => Link::Blind,
        _ if number % 53 == 17 => Link::Telling,
        _ if number % 9 == 2 => Link::Dual,
        _ => Link::Direct,
    }
}

/// The id, name and size of an agency.
fn named(number: u32) -> (String, String, u64) {
    let at = number as usize;
    if let Some((id, name, size)) = BOARDS.get(at) {
        return ((*id).to_owned(), (*name).to_owned(), *size);
    }
    let at = at - BOARDS.len();
    if let Some((id, name)) = DISTRICTS.get(at) {
        return (format!("huyen-{id}"), format!("Ủy ban nhân dân huyện {name}"), 5);
    }
    let at = at - DISTRICTS.len();
    let (district, commune) = (DISTRICTS[at % DISTRICTS.len()], at / DISTRICTS.len());
    // The same commune is in no district twice.
    let turn = commune % FIRST.len();
    let first = FIRST[(turn + at % DISTRICTS.len()) % FIRST.len()];
    let second = SECOND[(commune / FIRST.len() + 7 * turn) % SECOND.len()];
    let id = format!("xa-{}-{}-{}", first.0, second.0, district.0);
    (id, format!("Ủy ban nhân dân xã {} {}, huyện {}", first.1, second.1, district.1), 1)
}

fn person(dice: &mut Dice) -> String {
    format!("{} {} {}", dice.pick(&FAMILY), dice.pick(&MIDDLE), dice.pick(&GIVEN))
}

/// The department's analysts, by their accounts …
pub(super) const ANALYSTS: [&str; 3] = ["thu-ha", "quoc-tuan", "minh-chau"];
/// … and their names, under which they are given cases.
pub(super) const NAMES: [&str; 3] = ["Trần Thu Hà", "Nguyễn Quốc Tuấn", "Lê Minh Châu"];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: i64 = 1_795_663_800_000_000;

    #[test]
    fn agencies_and_addresses_are_different_ones() {
        let calendar = Calendar::new(NOW, 30);
        let ids: HashSet<String> = (0..MOST_AGENCIES).map(|number| named(number).0).collect();
        assert_eq!(ids.len(), MOST_AGENCIES as usize);
        let province = Province::new(7, 300, 6000, &calendar).unwrap();
        for time in [calendar.start, calendar.day(11), calendar.until] {
            let mut addresses = HashSet::new();
            assert!(province.machines.iter().all(|machine| addresses.insert(machine.address_at(time))));
        }
        let macs: HashSet<Mac> = province.machines.iter().map(|machine| machine.mac).collect();
        assert_eq!(macs.len(), province.machines.len());
        assert!(province.machines.iter().filter(|machine| machine.moved.is_some()).count() > 100);
        assert!((5000..7000).contains(&province.machines.len()), "{}", province.machines.len());
        assert!(Province::new(7, 5000, 2_000_000, &calendar).is_none());
    }
}
