//! Names that machines ask for every day: popular ones, those of the province itself, and a long tail.

use std::net::IpAddr;

use super::dice::{Dice, mixed};
use crate::name::Name;

/// Popular ones, from the list that no feed may take whole.
const POPULAR: &str = include_str!("../../zones/popular.txt");
/// Hosts at popular names.
const HOSTS: [&str; 8] = ["www", "", "api", "static", "img", "cdn", "m", "login"];
/// The province's own services.
const OWN: [&str; 14] = [
    "vanban.tinh.example",
    "qlvb.tinh.example",
    "mail.tinh.example",
    "dichvucong.tinh.example",
    "motcua.tinh.example",
    "hop.tinh.example",
    "autodiscover.mail.tinh.example",
    "sso.tinh.example",
    "wpad.tinh.example",
    "kms.tinh.example",
    "update.diet-virus.example",
    "time.tinh.example",
    "proxy.tinh.example",
    "baocao.tinh.example",
];
/// What names of the long tail are made of.
const WORDS: [&str; 24] = [
    "shop", "blog", "tin", "cdn", "media", "app", "home", "nha", "hoc", "viec", "phim", "nhac", "sach", "xe",
    "du-lich", "bao", "cloud", "data", "web", "mobile", "game", "photo", "store", "mail",
];

/// Names in wire format, ready to be asked for.
#[derive(Debug)]
pub(super) struct Names {
    popular: Vec<Box<[u8]>>,
    own: Vec<Box<[u8]>>,
    tail: usize,
}

impl Names {
    /// With so many names in the long tail.
    pub(super) fn new(tail: usize) -> Self {
        let wire = |text: &str| Name::from_host(text).ok().map(|name| name.as_wire().into());
        let listed = POPULAR.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut bases: Vec<&str> = listed.collect();
        // Those at the front are met the most often: not in the order of letters.
        bases.sort_by_key(|base| base.bytes().fold(7, |sum, byte| mixed(sum ^ u64::from(byte))));
        let host = |(base, host): (&str, &&str)| wire(format!("{host}.{base}").trim_start_matches('.'));
        let popular = HOSTS.iter().flat_map(|prefix| bases.iter().map(move |base| (*base, prefix)));
        Self {
            popular: popular.filter_map(host).collect(),
            own: OWN.iter().filter_map(|name| wire(name)).collect(),
            tail,
        }
    }

    /// A name that somebody asks for; whether it is the province's own.
    pub(super) fn draw<'a>(&'a self, dice: &mut Dice, scratch: &'a mut Vec<u8>) -> (&'a [u8], bool) {
        match dice.below(100) {
            0..58 => (&self.popular[dice.popular(self.popular.len())], false),
            58..80 => (&self.own[dice.popular(self.own.len())], true),
            _ => {
                tail_name(dice.popular(self.tail) as u64, scratch);
                (scratch, false)
            }
        }
    }
}

/// The name with this number of the long tail.
pub(super) fn tail_name(number: u64, out: &mut Vec<u8>) {
    let mix = mixed(number ^ 0x7a11);
    let word = |shift: u32| WORDS[(mix >> shift) as usize % WORDS.len()];
    out.clear();
    let mut label = |parts: &[&str]| {
        out.push(parts.iter().map(|part| part.len()).sum::<usize>() as u8);
        parts.iter().for_each(|part| out.extend(part.bytes()));
    };
    if mix.is_multiple_of(3) {
        label(&[word(8)]);
    }
    label(&[word(16), word(24), &number.to_string()]);
    label(&["example"]);
    out.push(0);
}

/// The addresses to which a name leads, always the same: of the networks that are for documentation (RFC 5737, RFC 3849).
pub(super) fn addresses(name: &[u8], is_v6: bool) -> ([IpAddr; 2], usize) {
    let mix = name.iter().fold(11, |sum: u64, byte| mixed(sum ^ u64::from(*byte)));
    let address = |mix: u64| -> IpAddr {
        if is_v6 {
            let tail = (mix as u16) & 0x0fff;
            return [0x2001, 0xdb8, (mix >> 20) as u16 & 0xff, 0, 0, 0, 0, tail]
                .map(u16::to_be)
                .map(u16::from_be)
                .into();
        }
        // The third of these networks has the listed addresses.
        let net = if mix & 1 == 0 { [192, 0, 2] } else { [198, 51, 100] };
        [net[0], net[1], net[2], 1 + (mix >> 8) as u8 % 250].into()
    };
    ([address(mix), address(mix >> 13)], 1 + usize::from(mix & 6 == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_lead_somewhere() {
        let names = Names::new(1000);
        let (mut dice, mut scratch) = (Dice::of(1, 2, 3), Vec::new());
        for _ in 0..1000 {
            let (wire, _) = names.draw(&mut dice, &mut scratch);
            assert!(Name::from_wire(wire).is_some(), "{wire:?}");
            let (addresses, count) = addresses(wire, false);
            assert!((1..=2).contains(&count) && addresses[0].is_ipv4());
        }
    }
}
