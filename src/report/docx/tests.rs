//! Templates as people and Word make them, and as nobody should.

use std::collections::HashMap;

use jiff::civil::date;

use super::super::figures::{Counts, Lacks, Row, Times};
use super::super::{Letter, Period, Scope};
use super::fields::Values;
use super::*;

fn figures(agencies: &[&str], recipients: &[&str]) -> Values {
    let letter = Letter {
        department: "Sở <KH> & \"CN\"".to_owned(),
        recipients: recipients.iter().map(|name| (*name).to_owned()).collect(),
        ..Letter::default()
    };
    Values::of(&of(agencies, &Counts { infected: 3, ..Counts::default() }), &letter)
}

fn of(agencies: &[&str], counts: &Counts) -> Figures {
    let row = |name: &&str| Row {
        id: Some((*name).to_owned()),
        name: (*name).to_owned(),
        counts: counts.clone(),
        ..Row::default()
    };
    Figures {
        period: Period::new(date(2026, 11, 1), date(2026, 11, 30)).unwrap(),
        scope: Scope::All,
        made: 1_796_000_000_000_000,
        province: Row { counts: Counts { infected: 1234, ..Counts::default() }, ..Row::default() },
        agencies: agencies.iter().map(row).collect(),
        days: Vec::new(),
        cases: Vec::new(),
        gaps: Vec::new(),
        lacks: Lacks::default(),
    }
}

/// The text of the built-in letter.
fn letter_of(figures: &Figures, letter: &Letter) -> String {
    let filled = fill_letter(figures, letter, default_template()).unwrap();
    let (_, document) = unpacked(filled).unwrap().into_iter().find(|(name, _)| name == DOCUMENT).unwrap();
    let document = String::from_utf8(document).unwrap();
    let texts = document.split("<w:t ").skip(1).map(|rest| &rest[rest.find('>').unwrap() + 1..]);
    texts.map(|rest| rest.split("</w:t>").next().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_agencys_letter_is_its_own_and_says_nothing_of_others() {
    let figures =
        Figures { scope: Scope::Agency("a".to_owned()), ..of(&["Sở Y tế"], &Counts::default()) };
    let letter = Letter {
        department: "Sở Khoa học và Công nghệ".to_owned(),
        parent: "ỦY BAN NHÂN DÂN TỈNH".to_owned(),
        addressees: vec!["Bộ Công an".to_owned()],
        signer: "Nguyễn Văn An".to_owned(),
        ..Letter::default()
    };
    let text = letter_of(&figures, &letter);
    for expected in
        ["\nSỞ Y TẾ\n", "Kính gửi: Sở Khoa học và Công nghệ", "Bảng dưới đây nêu số liệu của Sở Y tế."]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for other in ["cơ quan, đơn vị khác", "ỦY BAN", "Bộ Công an", "Nguyễn Văn An", "GIÁM ĐỐC"]
    {
        assert!(!text.contains(other), "{other}: {text}");
    }
    let text = letter_of(&of(&["Sở Y tế"], &Counts { infected: 3, ..Counts::default() }), &letter);
    for expected in ["Kính gửi: Bộ Công an", "các cơ quan, đơn vị khác không có máy", "Nguyễn Văn An"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_letter_with_nothing_to_tell_has_no_empty_clauses() {
    let empty = Figures { province: Row::default(), ..of(&["Sở Y tế"], &Counts::default()) };
    let text = letter_of(&empty, &Letter::default());
    for clause in ["–", "chưa có số liệu", "đạt", "trung vị", "họ mã độc phổ biến"] {
        assert!(!text.contains(clause), "{clause}: {text}");
    }
    for expected in ["Đã xử lý xong 0 máy.", "người dùng 0 máy.", "Không cơ quan, đơn vị nào có máy"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let times = Some(Times { count: 1, median: 5400, mean: 5400 });
    let counts = Counts { infected: 2, cleaned: 1, to_notify: times, ..Counts::default() };
    let some = Figures { province: Row { counts, ..Row::default() }, ..of(&[], &Counts::default()) };
    let text = letter_of(&some, &Letter::default());
    assert!(text.contains("Đã xử lý xong 1 máy, đạt 50,0% số máy phải theo dõi."), "{text}");
    assert!(text.contains("đến khi thông báo: trung vị 1,5 giờ, trung bình 1,5 giờ."), "{text}");
}

fn fill(xml: &str) -> Result<String, TemplateError> {
    fill::fill(
        "word/document.xml",
        xml,
        &figures(&["Sở Y tế", "Sở A & B"], &["Như trên", "Lưu: VT"]),
        1 << 20,
    )
}

#[test]
fn values_take_the_place_of_their_names() {
    #[track_caller]
    fn check(xml: &str, expected: &str) {
        assert_eq!(fill(xml).unwrap(), expected);
    }
    check(
        "<w:p><w:r><w:t>có {{so_may_nhiem}} máy</w:t></w:r></w:p>",
        "<w:p><w:r><w:t xml:space=\"preserve\">có 1.234 máy</w:t></w:r></w:p>",
    );
    check(
        "<w:p><w:r><w:t xml:space=\"preserve\">{{ so_may_nhiem }}</w:t></w:r></w:p>",
        "<w:p><w:r><w:t xml:space=\"preserve\">1.234</w:t></w:r></w:p>",
    );
    // Word splits what people type wherever it likes.
    check(
        "<w:p><w:r><w:t>a{</w:t></w:r><w:proofErr w:type=\"x\"/><w:r><w:rPr><w:b/></w:rPr><w:t>{so_may</w:t></w:r><w:r><w:t>_nhiem}</w:t></w:r><w:r><w:t>}b</w:t></w:r></w:p>",
        "<w:p><w:r><w:t xml:space=\"preserve\">a1.234</w:t></w:r><w:proofErr w:type=\"x\"/><w:r><w:rPr><w:b/></w:rPr><w:t xml:space=\"preserve\"></w:t></w:r><w:r><w:t xml:space=\"preserve\"></w:t></w:r><w:r><w:t xml:space=\"preserve\">b</w:t></w:r></w:p>",
    );
    // Two in one run, and braces as references.
    check(
        "<w:p><w:r><w:t>{{so_may_nhiem}}/{&#123;so_may_nhiem}&#x7d;&amp;</w:t></w:r></w:p>",
        "<w:p><w:r><w:t xml:space=\"preserve\">1.234/1.234&amp;</w:t></w:r></w:p>",
    );
    // What a value holds is text.
    check(
        "<w:p><w:r><w:t>{{don_vi}}</w:t></w:r></w:p>",
        "<w:p><w:r><w:t xml:space=\"preserve\">Sở &lt;KH&gt; &amp; &quot;CN&quot;</w:t></w:r></w:p>",
    );
    // Nothing to do: octet by octet.
    let plain =
        "<?xml version=\"1.0\"?><!-- {{x}} --><w:p w:a='1'><w:r><w:t/><w:t>{ x } }}</w:t></w:r></w:p><w:p/>";
    check(plain, plain);
}

#[test]
fn rows_come_once_an_agency_and_paragraphs_once_a_line() {
    let row = |name: &str| format!("<w:tr><w:tc><w:p><w:t>{name}</w:t></w:p></w:tc></w:tr>");
    let text = |name: &str| format!("<w:t xml:space=\"preserve\">{name}</w:t>");
    let table = format!("<w:tbl>{}{}</w:tbl>", row("Tên"), row("{{co_quan.ten}}: {{co_quan.so_may_nhiem}}"));
    let filled = fill(&table).unwrap();
    let expected: String = ["Sở Y tế: 3", "Sở A &amp; B: 3"]
        .iter()
        .map(|name| format!("<w:tr><w:tc><w:p>{}</w:p></w:tc></w:tr>", text(name)))
        .collect();
    assert_eq!(filled, format!("<w:tbl>{}{expected}</w:tbl>", row("Tên")));

    let lines = fill("<w:p><w:t>- {{noi_nhan}}</w:t></w:p>").unwrap();
    assert_eq!(lines, format!("<w:p>{}</w:p><w:p>{}</w:p>", text("- Như trên;"), text("- Lưu: VT.")));
    // Where there is nothing to say, nothing is left …
    assert_eq!(fill("<a><w:p><w:t>Lưu ý: {{ghi_chu}}</w:t></w:p></a>").unwrap(), "<a></a>");
    // … but for the one paragraph that a cell must have.
    let cell = "<w:tc><w:p><w:t>{{ghi_chu}}</w:t></w:p></w:tc>";
    assert_eq!(fill(cell).unwrap(), format!("<w:tc><w:p>{}</w:p></w:tc>", text("")));
    // A table within a row.
    let nested =
        format!("<w:tr><w:tc><w:p><w:t>x</w:t></w:p><w:tbl>{}</w:tbl></w:tc></w:tr>", row("{{ho.ten}}"));
    assert_eq!(fill(&nested).unwrap(), "<w:tr><w:tc><w:p><w:t>x</w:t></w:p><w:tbl></w:tbl></w:tc></w:tr>");
}

#[test]
fn faults_name_what_is_wrong_and_the_mend() {
    #[track_caller]
    fn check(xml: &str, part: &str) {
        let why = fill(xml).unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    let paragraph = |text: &str| format!("<w:p><w:t>{text}</w:t></w:p>");
    check(&paragraph("{{so_may_nhiemm}}"), "{{so_may_nhiemm}}, did you mean {{so_may_nhiem}}?");
    check(&paragraph("{{xyz}}"), "there is no place holder {{xyz}};");
    check(&paragraph("{{}}"), "{{}}");
    check(&paragraph("{{co_quan.xyz}}"), "{{co_quan.xyz}}");
    check(&paragraph("a {{so_may"), "\"{{so_may\" begins");
    check(&format!("{}{}", paragraph("{{so_may"), paragraph("_nhiem}}")), "in one paragraph");
    check(&paragraph("{{co_quan.ten}}"), "put it into a row");
    let both = format!("<w:tr>{}{}</w:tr>", paragraph("{{co_quan.ten}}"), paragraph("{{ho.ten}}"));
    check(&both, "of two lists");
    check(&paragraph("{{noi_nhan}} {{ghi_chu}}"), "of two lists");
    check("<w:p><w:t>{{don_vi}}</w:t>", "does not end");
    check("<w:p></w:r></w:p>", "word/document.xml");
    check("<!DOCTYPE a [<!ENTITY b \"c\">]><w:p/>", "document type");
    check(&"<w:p>".repeat(300), "200 paragraphs");
    let most = fill::fill("x", &paragraph("{{don_vi}}"), &figures(&[], &[]), 20).unwrap_err();
    assert!(matches!(most, TemplateError::TooMuch(_)), "{most}");
}

#[test]
fn the_built_in_letter_is_whole_and_knows_all_its_names() {
    let filled = filled(default_template(), &figures(&["Sở Y tế"], &["Như trên"])).unwrap();
    let parts: HashMap<String, Vec<u8>> = unpacked(filled).unwrap().into_iter().collect();
    assert_eq!(parts.len(), PARTS.len());
    let document = std::str::from_utf8(&parts[DOCUMENT]).unwrap();
    assert!(document.contains("1.234") && document.contains("Sở Y tế") && !document.contains("{{"));
    // Every part is what its name says, to Word too.
    for (name, octets) in &parts {
        let mut reader = quick_xml::Reader::from_reader(&octets[..]);
        while reader.read_event().unwrap_or_else(|error| panic!("{name}: {error}"))
            != quick_xml::events::Event::Eof
        {}
    }
}

#[test]
fn an_archive_that_is_no_template_is_refused() {
    #[track_caller]
    fn check(template: Vec<u8>, part: &str) {
        let why = filled(template, &figures(&[], &[])).unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    let of = |parts: &[(&str, &[u8])]| {
        archive(parts.iter().map(|(name, octets)| ((*name).to_owned(), octets.to_vec())).collect()).unwrap()
    };
    check(b"no archive".to_vec(), "no Word document");
    check(of(&[("xl/workbook.xml", b"<a/>")]), "no word/document.xml");
    check(of(&[(DOCUMENT, b"\xff\xfe<\0")]), "word/document.xml");
    check(default_template()[..2000].to_vec(), "no Word document");
    let bomb = vec![b' '; MOST_UNPACKED as usize];
    check(of(&[(DOCUMENT, b"<a/>"), ("word/media/a.png", &bomb)]), "64 MiB unpacked");
}
