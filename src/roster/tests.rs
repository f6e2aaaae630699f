//! Sheets as departments keep them. Agencies, people and addresses are made up.

use super::*;
use crate::tabular::workbook::samples::{inline, workbook};

fn known() -> Vec<Entry> {
    vec![Entry {
        id: "syt".to_owned(),
        name: "Sở Y tế".to_owned(),
        networks: vec!["10.2.0.0/16".parse().unwrap()],
        ..Entry::default()
    }]
}

/// Differences as `id: change`, faults as `place! fault`.
fn shown(octets: &[u8], manner: Manner) -> Vec<String> {
    let roster = known();
    let names: Vec<(String, String)> = roster.iter().map(|it| (it.id.clone(), it.name.clone())).collect();
    let configured = [Known {
        id: "stttt".to_owned(),
        networks: vec!["10.1.0.0/16".parse().unwrap()],
        place: "sachdns.toml:9".to_owned(),
    }];
    let proposal = propose(read_sheet(octets, &names).unwrap(), &roster, &configured, manner);
    let differences = proposal.differences.iter().map(|it| match &it.change {
        Change::Changed(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(field, old, new)| format!("{} {old:?} → {new:?}", field.as_str()))
                .collect();
            format!("{}: {}", it.id, fields.join("; "))
        }
        change => format!("{}: {change:?}", it.id),
    });
    let faults = proposal.faults.iter().map(|(place, fault)| format!("{place}! {fault}"));
    differences.chain(faults).collect()
}

#[test]
fn a_sheet_tells_what_would_change() {
    let rows: [&[&str]; 7] = [
        &["DANH SÁCH CƠ QUAN, ĐƠN VỊ TRÊN MẠNG DIỆN RỘNG"],
        &[
            "STT",
            "Mã",
            "Tên đơn vị",
            "Dải địa chỉ",
            "Đầu mối liên hệ",
            "Cán bộ phụ trách",
            "Email",
            "Máy chủ DNS nội bộ",
        ],
        &[
            "1",
            "",
            "Sở Y tế",
            "10.2.0.0/16; 10.20.0.0 - 10.20.1.255",
            "0299 000 000",
            "Trần Thị B",
            "b@syt.example.vn",
            "10.2.0.53",
        ],
        &["2", "ubnd-a", "UBND huyện A", "10.3.0.0/255.255.255.0", "", "", "", ""],
        &["", "ubnd-a", "", "10.3.1.0/24", "", "", "", ""],
        &["3", "", "Sở Nội vụ", "10.4.0.0/16", "", "", "", ""],
        &["", "", "Tổng cộng: 3 đơn vị"],
    ];
    let octets = workbook("", &[("Đơn vị", "visible", &inline(&rows))]);
    let changed = "syt: networks \"10.2.0.0/16\" → \"10.2.0.0/16, 10.20.0.0/23\"; contact \"\" → \"0299 000 000\"; \
                   officer \"\" → \"Trần Thị B\"; email \"\" → \"b@syt.example.vn\"; forwarders \"\" → \"10.2.0.53/32\"";
    assert_eq!(shown(&octets, Manner::Add), [changed, "ubnd-a: Added", "so-noi-vu: Added"]);
    let one = "id,name,networks\nx,X,10.9.0.0/24\n".as_bytes();
    assert_eq!(shown(one, Manner::Add), ["syt: Kept", "x: Added"]);
    assert_eq!(shown(one, Manner::Replace), ["syt: Removed", "x: Added"]);
}

#[test]
fn every_fault_tells_its_row_and_the_mend() {
    let text = "Mã;Tên;Mạng;Email\n\
                a b;A;10.5.0.0/24;\n\
                c;;10.6.0.1/24;x\n\
                d;D;10.1.0.0/16;\n\
                e;E;10.2.0.0/16;\n\
                stttt;T;10.7.0.0/24;\n\
                d;DD;10.8.0.0/24;\n\
                g;G;mạng LAN;g@example.vn\n";
    let found = shown(text.as_bytes(), Manner::Add);
    let faults: Vec<&str> = found.iter().filter(|line| line.contains("! ")).map(String::as_str).collect();
    assert_eq!(
        faults,
        [
            "3! \"10.6.0.1/24\" has host bits: the network is 10.6.0.0/24",
            "7! d stands in row 4 too, with another name: keep one of the two",
            "8! \"mạng\" is no network: write 10.1.0.0/16, 10.1.0.0/255.255.0.0 or 10.1.0.0 - 10.1.255.255",
            "8! \"LAN\" is no network: write 10.1.0.0/16, 10.1.0.0/255.255.0.0 or 10.1.0.0 - 10.1.255.255",
            "2! \"a b\" is no id: write up to 64 letters, digits, `-`, `_` and `.`, such as so-tttt",
            "3! the agency has no name: fill in the column for names",
            "4! 10.1.0.0/16 is stttt's already (sachdns.toml:9): an address has one agency",
            "5! 10.2.0.0/16 is syt's already (as it is known already): an address has one agency",
            "6! stttt stands in the configuration (sachdns.toml:9): change it there, or take it out there first",
            "8! G has no network: fill in the column for networks, such as 10.1.0.0/16",
        ]
    );
    assert!(shown(b"a,b\n1,2\n", Manner::Add)[1].starts_with("1! no row names the columns"));
}

#[test]
fn a_roster_is_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = read(folder.path()).unwrap();
    assert!(nothing.entries.is_empty());
    let first = write(folder.path(), &known(), &nothing.digest).unwrap();
    let kept = read(folder.path()).unwrap();
    assert_eq!((kept.entries, &kept.digest), (known(), &first));
    assert!(matches!(write(folder.path(), &[], &nothing.digest), Err(RosterError::Changed { .. })));
    write(folder.path(), &[], &first).unwrap();
    std::fs::write(
        path(folder.path()),
        "{\"version\":1,\"agencies\":[{\"id\":\"\",\"name\":\"x\",\"networks\":[]}]}",
    )
    .unwrap();
    assert!(read(folder.path()).unwrap_err().to_string().contains("is no id"));
}
