//! Files of leases and machines are followed, and read by hand; people are told who had an address.

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::{nsd, wait_until};

const HEADER: &str = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n";

fn lease(address: &str, mac: &str, from: i64, host: &str) -> String {
    format!("{address},{mac},,3600,{},1,0,0,{host},0,\n", from + 3600)
}

/// Standard output of a command of `sachdns identity` that is done.
fn identity(house: &House, words: &[&str]) -> String {
    house.run(&format!("identity {}", words[0]), &words[1..]).well().stdout
}

#[test]
fn leases_are_followed_while_the_server_runs() {
    let server = Setup::new(nsd::address())
        .agency("so-tttt", "Sở Thông tin và Truyền thông", "127.0.0.0/8", "it@tttt.test")
        .file(
            "leases.csv",
            &format!("{HEADER}{}", lease("10.1.2.3", "00:1a:2b:3c:4d:5e", 1_795_654_800, "pc-01")),
        )
        .more("[[identity]]\npath = \"leases.csv\"\nagency = \"so-tttt\"\n")
        .serve();
    let house = server.house();
    let spans = |what: &str| {
        let shown = house.run("identity show", &[what, "--format", "csv"]);
        shown.stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until("the leases are read", || spans("pc-01").len() == 1);
    let expected = "2026-11-26T01:00:00Z,2026-11-26T02:00:00Z,10.1.2.3,m-1,00:1a:2b:3c:4d:5e,pc-01,";
    assert!(spans("10.1.2.3")[0].starts_with(expected), "{:?}", spans("10.1.2.3"));
    // It moves; the file grows.
    let more = lease("10.1.2.9", "00:1a:2b:3c:4d:5e", 1_795_662_000, "pc-01");
    house.write("leases.csv", &(house.read("leases.csv") + &more));
    wait_until("the move is read", || spans("m-1").len() == 2);
    let listed = identity(house, &["list", "--format", "jsonl"]);
    for part in ["\"machine\":\"m-1\"", "\"agency\":\"so-tttt\"", "\"address\":\"10.1.2.9\""] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    // A reload follows other files.
    house.write(
        "more.csv",
        &format!("{HEADER}{}", lease("10.1.2.4", "00:1a:2b:3c:4d:5f", 1_795_654_800, "pc-02")),
    );
    house.write(CONFIG, &house.read(CONFIG).replace("leases.csv", "more.csv"));
    server.reload().well();
    wait_until("the other file is read", || spans("pc-02").len() == 1);
}

#[test]
fn inventories_are_imported_by_hand() {
    let house = Setup::new(nsd::address())
        .agency("so-y-te", "Sở Y tế", "127.0.0.0/8", "it@syt.test")
        .file(
            "may-tinh.csv",
            "DANH SÁCH MÁY TÍNH\nSTT;Tên máy;Địa chỉ IP;Địa chỉ MAC;Người sử dụng;Đơn vị\n\
             1;PC-01;10.2.2.3;00-1A-2B-3C-4D-5E;Trần Văn An;Sở Y tế\n2;PC-02;10.2.2.400;;;Sở Y tế\n",
        )
        .file("leases", "1795658400 00:1a:2b:3c:4d:60 10.2.2.3 pc-09 *\n")
        .lay();
    let trial = identity(&house, &["import", "may-tinh.csv", "--dry-run"]);
    assert_eq!(
        trial,
        "may-tinh.csv (inventory): 2 machines would be new, 2 addresses would be added, 0 changed, 0 known already\n"
    );
    let done = house.run("identity import", &["may-tinh.csv"]).well();
    assert!(done.stderr.contains("may-tinh.csv:4: \"10.2.2.400\" is no address"), "{}", done.stderr);
    assert!(
        identity(&house, &["import", "may-tinh.csv"])
            .contains("0 machines new, 0 addresses added, 0 changed")
    );
    let shown = identity(&house, &["show", "10.2.2.3"]);
    for part in ["m-1\n", "PC-01", "so-y-te", "Trần Văn An", "always"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // Marks on letters are not needed to find somebody.
    assert_eq!(identity(&house, &["list", "--find", "tran van an", "--format", "csv"]).lines().count(), 2);
    // A DHCP server gave that address to another machine.
    identity(&house, &["import", "leases", "--agency", "so-y-te", "--as-of", "2026-11-26T01:00:00Z"]);
    let looks = house.read("data/audit.jsonl");
    for part in [
        r#""action":"identity show","client":"10.2.2.3""#,
        r#""action":"identity list","machine":"tran van an""#,
    ] {
        assert_eq!(looks.matches(part).count(), 1, "{part} in {looks}");
    }
    let conflicts = identity(&house, &["conflicts", "--since", "2026-11-01", "--format", "csv"]);
    assert!(
        conflicts.contains("lease-inventory,10.2.2.3,2026-11-26T01:00:00Z,2026-11-26T02:00:00Z,m-1 m-3,"),
        "{conflicts}"
    );
    assert!(identity(&house, &["show", "10.2.2.3", "--at", "2026-11-26T01:30:00Z"]).starts_with("m-3\n"));
    let merged = identity(&house, &["merge", "m-1", "m-3", "--by", "an", "--reason", "card replaced"]);
    assert!(merged.starts_with("m-3 is m-1 from now on"), "{merged}");
    assert!(identity(&house, &["show", "m-3"]).starts_with("m-1\n"));
    let looks = house.read("data/audit.jsonl");
    assert!(looks.contains(r#""action":"identity show","machine":"m-3""#), "{looks}");
    house.write("others.csv", "ten;so\na;1\n");
    let refused = house.run("identity import", &["others.csv", "--format", "kea"]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.starts_with("others.csv: nothing in it is what Kea writes"), "{}", refused.stderr);
    let unknown = house.run("identity show", &["10.9.9.9"]);
    assert_eq!((unknown.code(), unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.starts_with("no source speaks of \"10.9.9.9\""), "{}", unknown.stderr);
}
