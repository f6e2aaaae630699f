//! Workbooks as Excel, LibreOffice and nobody honest would write them.

use crate::feed::tests::{as_is, check_read};
use crate::feed::{Format, Parsed, ReadError, Reading, parse};
use crate::tabular::workbook::samples::{RELATIONS, TEXTS, WORKBOOK, archive, inline, workbook};

fn check_sheet(sheet: &str, expected: &[&str]) {
    check_read(&as_is(Format::Xlsx), &workbook("", &[("Sheet1", "visible", sheet)]), expected);
}

#[test]
fn vietnamese_headings_below_a_title() {
    check_sheet(
        &inline(&[
            &["DANH SÁCH TÊN MIỀN, ĐỊA CHỈ IP ĐỘC HẠI"],
            &[],
            &["STT", "Tên miền", "Địa chỉ IP", "Mã độc", "Mức độ", "Ghi chú"],
            &["1", "evil[.]vn", "192.0.2.1", "emotet", "Cao", "x"],
            &["2", "sạch.vn", "", "A &amp; B", "", ""],
            &["3", "a.example\nb.example", "-", "", "", ""],
            &["Tổng cộng: 3"],
        ]),
        &[
            "4 name evil.vn subtree family=emotet severity=high",
            "4 ip 192.0.2.1 family=emotet severity=high",
            "5 name xn--sch-sgz.vn subtree family=A & B",
            "6 name a.example subtree",
            "6 name b.example subtree",
            "7! NoValue",
        ],
    );
}

#[test]
fn the_machines_of_victims_are_never_listed() {
    for heading in [
        "Máy chủ C&amp;C",
        "Domain độc hại",
        "C&amp;C Server",
        "IOC (Domain/IP)",
        "Danh sách tên miền",
        "Địa chỉ máy chủ điều khiển",
        "IP máy chủ",
        "Cái gì đó",
    ] {
        for victims in ["Máy bị nhiễm", "Địa chỉ IP máy trạm", "Nguồn", "Đơn vị", "Source IP", "Client"]
        {
            check_sheet(
                &inline(&[
                    &["DANH SÁCH TÊN MIỀN ĐỘC HẠI"],
                    &["S.No", victims, heading, "Mã độc"],
                    &["1", "pc1.agency.example", "evil.example", "Emotet"],
                    &["2", "192.0.2.9", "192.0.2.1", "Emotet"],
                ]),
                &if heading == "Cái gì đó" {
                    vec![
                        "1! NoValue",
                        "3 name evil.example subtree family=Emotet",
                        "4 ip 192.0.2.1 family=Emotet",
                    ]
                } else {
                    vec!["3 name evil.example subtree family=Emotet", "4 ip 192.0.2.1 family=Emotet"]
                },
            );
        }
    }
}

#[test]
fn cells_of_every_kind() {
    let texts = "<si><t>Domain</t></si><si><r><t>evil</t></r><r><t>.example</t></r><rPh><t>x</t></rPh></si><si/>\
                 <si><t>Expires</t></si>";
    let sheet = r#"<dimension ref="A1:XFD1048576"/><sheetData>
        <row r="3"><c r="B3" t="s"><v>0</v></c><c r="D3" t="s"><v>3</v></c></row>
        <row r="7"><c r="B7" t="s"><v>1</v></c><c r="D7" s="1"><v>46357</v></c></row>
        <row r="8"><c r="B8" t="str"><f>"a"&amp;".example"</f><v>a.example</v></c><c r="D8" t="d"><v>2026-12-01</v></c></row>
        <row r="9"><c r="B9" t="e"><v>#N/A</v></c><c r="D9" t="b"><v>1</v></c></row>
        <row r="10"><c r="B10" t="s"><v>99</v></c><c r="XFD10"><v>5</v></c></row>
        <row r="11"><c r="B11" t="s"><v>2</v></c></row>
        </sheetData>"#;
    check_read(
        &as_is(Format::Xlsx),
        &workbook(texts, &[("a", "visible", sheet)]),
        &[
            "7 name evil.example subtree expires=1796169600",
            "8 name a.example subtree expires=1796169600",
            "9! NoValue",
        ],
    );
}

#[test]
fn merged_cells_count_in_each_row() {
    let rows = inline(&[
        &["Mã độc", "Tên miền"],
        &["emotet", "a.example"],
        &["", "b.example"],
        &["", "c.example"],
        &["qakbot", "d.example"],
    ]);
    check_sheet(
        &format!(r#"{rows}<mergeCells><mergeCell ref="A2:A3"/><mergeCell ref="A1:B1"/></mergeCells>"#),
        &[
            "2 name a.example subtree family=emotet",
            "3 name b.example subtree family=emotet",
            "4 name c.example subtree",
            "5 name d.example subtree family=qakbot",
        ],
    );
    // A header of two rows.
    let rows = inline(&[&["Tên miền", "Mã độc", ""], &["", "Tên", "Loại"], &["a.example", "emotet", "rat"]]);
    check_sheet(
        &format!(r#"{rows}<mergeCells><mergeCell ref="A1:A2"/><mergeCell ref="B1:C1"/></mergeCells>"#),
        &["3 name a.example subtree family=emotet"],
    );
}

/// What two writers of workbooks made of such tables: shared texts, styles, dates, a formula, text in two styles.
#[test]
fn workbooks_of_other_hands() {
    let check = |file: &str, expected: &[&str]| {
        let path = format!("{}/tests/feeds/{file}", env!("CARGO_MANIFEST_DIR"));
        let reading = Reading { now: 1_787_443_200_000_000, ..as_is(Format::Xlsx) };
        check_read(&reading, &std::fs::read(path).unwrap(), expected);
    };
    check(
        "made-openpyxl.xlsx",
        &[
            "5 name evil.example subtree family=Emotet severity=high expires=1893542400",
            "5 ip 192.0.2.1 family=Emotet severity=high expires=1893542400",
            "6 name b.example subtree family=Emotet severity=low",
            "6 ip 198.51.100.7 family=Emotet severity=low",
            "7! Expired",
            "2 net 203.0.113.0/24",
        ],
    );
    check(
        "made-xlsxwriter.xlsx",
        &[
            "3 name evil.example subtree family=Emotet expires=1893542400",
            "3 ip 192.0.2.1 family=Emotet expires=1893542400",
            "4 name b.example subtree family=Emotet",
            "4 ip 192.0.2.2 family=Emotet",
            "5 name rich.example subtree",
        ],
    );
}

#[test]
fn cells_in_no_row_count_for_the_first() {
    let cell = |text| format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#);
    check_sheet(
        &format!("<sheetData>{}</row><sheetData/>", cell("evil.example")),
        &["1 name evil.example subtree"],
    );
    check_sheet(&format!("<sheetData>{}</row><sheetData/>", cell("no name")), &["1! NoValueColumn"]);
}

#[test]
fn every_visible_sheet_is_read() {
    let names = inline(&[&["Tên miền"], &["a.example"]]);
    let addresses = inline(&[&["STT", "IP"], &["1", "192.0.2.1"]]);
    let book = workbook(
        "",
        &[
            ("Tên miền", "visible", &names),
            ("old", "hidden", &names),
            ("IP", "visible", &addresses),
            ("empty", "visible", "<sheetData/>"),
        ],
    );
    check_read(
        &as_is(Format::Xlsx),
        &book,
        &["2 name a.example subtree", "1! HiddenSheet", "2 ip 192.0.2.1"],
    );
}

#[test]
fn columns_may_be_told() {
    let sheet = inline(&[&["x", "Máy chủ lạ"], &["1", "a.example"]]);
    let columns = "value=máy chủ lạ".parse().unwrap();
    let book = workbook("", &[("a", "visible", &sheet)]);
    check_read(&Reading { columns, ..as_is(Format::Xlsx) }, &book, &["2 name a.example subtree"]);
}

#[test]
fn what_is_no_workbook_says_so() {
    check_read(&as_is(Format::Xlsx), b"a.example\n", &["1! NotWorkbook"]);
    check_read(&as_is(Format::Xlsx), b"<html>", &["1! Markup"]);
    check_read(&as_is(Format::Xlsx), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", &["1! OldWorkbook"]);
    check_read(&as_is(Format::Auto), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", &["1! OldWorkbook"]);
    check_read(
        &as_is(Format::Xlsx),
        &archive(&[("a.txt".to_owned(), "a.example".to_owned())]),
        &["1! NotWorkbook"],
    );
    check_read(&as_is(Format::Xlsx), b"", &[]);
}

fn error(file: &[u8]) -> String {
    match parse(file, &as_is(Format::Auto), &mut Parsed::default()) {
        Err(ReadError::Workbook { source }) => source.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn damaged_workbooks_are_errors() {
    let whole = workbook("", &[("a", "visible", &inline(&[&["Tên miền"], &["a.example"]]))]);
    for end in [5, 100, whole.len() / 2, whole.len() - 1] {
        assert!(error(&whole[..end]).starts_with("the archive: "), "{end}: {}", error(&whole[..end]));
    }
    assert!(error(&workbook("", &[("a", "visible", "<sheetData><!-- ")])).starts_with("its XML: "));
    let missing = [
        (WORKBOOK.to_owned(), r#"<workbook><sheet name="a" r:id="1"/></workbook>"#.to_owned()),
        (RELATIONS.to_owned(), r#"<Relationship Id="1" Target="/xl/none.xml"/>"#.to_owned()),
    ];
    assert_eq!(error(&archive(&missing)), r#"the part "xl/none.xml" is missing"#);
}

#[test]
fn bombs_are_errors() {
    let check = |file: &[u8], expected: &str| assert!(error(file).contains(expected), "{}", error(file));
    // Claims cost nothing.
    let claimed = archive(&[
        (WORKBOOK.to_owned(), "<workbook/>".to_owned()),
        (RELATIONS.to_owned(), "<Relationships/>".to_owned()),
        (TEXTS.to_owned(), format!(r#"<sst uniqueCount="{}"></sst>"#, u64::MAX)),
    ]);
    assert_eq!(parse(&claimed[..], &as_is(Format::Auto), &mut Parsed::default()).unwrap(), Format::Xlsx);
    check(&workbook(&"<si/>".repeat(14_000_000), &[]), "four million texts");
    check(&workbook(&format!("<si><t>{}</t></si>", "a".repeat(2 << 20)), &[]), "1 MiB in one text");
    check(&workbook(&format!("<si><t>{}</t></si>", "a".repeat(1000)).repeat(70_000), &[]), "64 MiB of texts");
    let text = format!("<si><t>{}</t></si>", "a".repeat(4000));
    let cells = format!("<sheetData>{}</sheetData>", r#"<row><c t="s"><v>0</v></c></row>"#.repeat(300_000));
    check(&workbook(&text, &[("a", "visible", &cells)]), "1 GiB of cells");
}
