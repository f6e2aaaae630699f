//! One list in every format: whatever it is written in, the same things are listed.

use super::*;
use crate::tabular::workbook::samples;

/// A list as random publishers would have it: names, and addresses where the format takes them.
#[derive(Debug, Clone)]
struct List {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

fn any_list() -> impl Strategy<Value = List> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()).to_canonical()),
    ];
    (prop::collection::vec(any_host(), 1..20), prop::collection::vec(address, 0..5))
        .prop_map(|(names, addresses)| List { names, addresses })
}

/// The list as a publisher of this format writes it; `None` for a format that is not written here.
fn render(format: Format, list: &List) -> Option<Vec<u8>> {
    let items = list.names.iter().cloned().chain(list.addresses.iter().map(ToString::to_string));
    let lines =
        |line: &dyn Fn(&str) -> String| items.clone().map(|item| line(&item) + "\n").collect::<String>();
    let names =
        |line: &dyn Fn(&str) -> String| list.names.iter().map(|name| line(name) + "\n").collect::<String>();
    let joined = |element: &dyn Fn(&str) -> String| {
        items.clone().map(|item| element(&item)).collect::<Vec<_>>().join(",\n")
    };
    let kind = |item: &str| match item.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ("ip-dst", "ipv4-addr"),
        Ok(IpAddr::V6(_)) => ("ip-dst", "ipv6-addr"),
        Err(_) => ("domain", "domain-name"),
    };
    Some(
        match format {
            Format::Auto => return None,
            Format::Plain => lines(&str::to_owned),
            Format::Hosts => names(&|name| format!("0.0.0.0 {name}")),
            Format::Adblock => "! a list\n".to_owned() + &names(&|name| format!("||{name}^")),
            Format::Dnsmasq => names(&|name| format!("address=/{name}/0.0.0.0")),
            Format::Unbound => names(&|name| format!("local-zone: \"{name}\" always_nxdomain")),
            Format::Bind => names(&|name| format!("zone \"{name}\" {{ type master; file \"null\"; }};")),
            Format::Rpz => {
                "$TTL 30\n".to_owned() + &names(&|name| format!("{name} CNAME .\n*.{name} CNAME ."))
            }
            Format::Csv => {
                "value,family,note\n".to_owned() + &lines(&|item| format!("\"{item}\", \"emotet\", \"a, b\""))
            }
            Format::Ip => list.addresses.iter().map(|address| format!("{address} 7\n")).collect(),
            Format::Maltrail => "# by Maltrail developers\n".to_owned() + &lines(&str::to_owned),
            Format::Text => lines(&|item| match item.contains(':') {
                true => format!("* {item}/128 (x) {}", item.replacen(':', "[:]", 1)),
                false => format!("* C2: `{}`,", item.replace('.', "[.]")),
            }),
            Format::Json => format!("[{}]", joined(&|item| format!("{{\"indicator\": \"{item}\"}}"))),
            Format::Misp => format!(
                "{{\"Event\": {{\"Attribute\": [{}]}}}}",
                joined(&|item| format!("{{\"type\": \"{}\", \"value\": \"{item}\"}}", kind(item).0))
            ),
            Format::Stix => format!(
                "{{\"type\": \"bundle\", \"objects\": [{}]}}",
                joined(&|item| format!(
                    "{{\"type\": \"indicator\", \"pattern\": \"[{}:value = '{item}']\"}}",
                    kind(item).1
                ))
            ),
            Format::Xlsx => {
                let rows: Vec<Vec<&str>> = list.names.iter().map(|name| vec!["", name.as_str()]).collect();
                let mut rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
                rows.insert(0, &["STT", "Tên miền"]);
                return Some(samples::workbook("", &[("a", "visible", &samples::inline(&rows))]));
            }
        }
        .into_bytes(),
    )
}

/// What is listed, without where and how.
fn listed(parsed: &Parsed) -> (Vec<String>, Vec<IpAddr>) {
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for indicator in &parsed.indicators {
        match &indicator.value {
            // An RPZ lists a name and what is below it with two records.
            Value::Name(_, Scope::Below) => {}
            Value::Name(name, _) => names.push(name.to_string()),
            Value::Ip(address) => addresses.push(*address),
            other => panic!("{other}"),
        }
    }
    (names, addresses)
}

proptest! {
    #[test]
    fn one_list_is_the_same_in_every_format(list in any_list()) {
        for format in Format::ALL {
            let Some(file) = render(format, &list) else { continue };
            let mut parsed = Parsed::default();
            let used = parse(&file[..], &Reading::default(), &mut parsed).unwrap();
            // Few or no addresses look like a plain list of them.
            prop_assert!(used == format || format == Format::Ip, "{format} was taken for {used}");
            prop_assert_eq!(&parsed.diagnostics, &[], "{}", format);
            let (names, addresses) = listed(&parsed);
            let has_names = format != Format::Ip;
            prop_assert_eq!(&names, if has_names { &list.names[..] } else { &[] }, "{}", format);
            if !addresses.is_empty() {
                prop_assert_eq!(&addresses, &list.addresses, "{}", format);
            }
            // Said outright, and packed, it is the same.
            let mut again = Parsed::default();
            parse(&gzip(&file)[..], &as_is(used), &mut again).unwrap();
            prop_assert_eq!(&parsed, &again, "{}", format);
        }
    }
}
