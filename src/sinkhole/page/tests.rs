//! What stands on the page, and what never does.

use super::*;

fn listing(family: Option<&str>, feed: &str, class: Class) -> Listing {
    Listing { family: family.map(str::to_owned), feed: feed.to_owned(), class }
}

fn agency(name: &str, contact: Option<&str>) -> Agency {
    Agency { name: name.to_owned(), contact: contact.map(str::to_owned) }
}

fn case(class: Class, sightings: u64) -> Case {
    Case {
        ticket: "K7-M2Q".to_owned(),
        class,
        name: Some("evil.example".to_owned()),
        family: None,
        machine: Some("PC-KETOAN-03".to_owned()),
        since: 1_661_700_000_000_000,
        sightings,
        said: None,
    }
}

/// What a notice tells, with its loose ends kept.
struct Told<'a> {
    host: Option<&'a str>,
    listing: Option<Listing>,
    agency: Option<Agency>,
    case: Option<Case>,
    again: Option<Again<'a>>,
}

impl Default for Told<'_> {
    fn default() -> Self {
        let listing = Some(listing(Some("Emotet"), "authority", Class::Unknown));
        Self { host: Some("evil.example"), listing, agency: None, case: None, again: None }
    }
}

impl Told<'_> {
    fn with<T>(&self, draw: impl FnOnce(&Notice<'_>) -> T) -> T {
        let zone = vietnam();
        draw(&Notice {
            host: self.host,
            listing: self.listing.as_ref(),
            client: IpAddr::from([10, 1, 2, 3]),
            agency: self.agency.as_ref(),
            time: "2022-08-29T17:04:05Z".parse().unwrap(),
            time_zone: &zone,
            case: self.case.as_ref().map(|case| (case, "TOKEN")),
            again: self.again,
        })
    }

    fn page(&self) -> String {
        self.with(|notice| Design::default().landing(notice))
    }
}

#[test]
fn all_facts_stand_in_both_languages() {
    let told = Told {
        agency: Some(agency("Sở Thông tin và Truyền thông", Some("Phòng CNTT, máy lẻ 115"))),
        case: Some(case(Class::C2, 17)),
        ..Told::default()
    };
    let page = told.page();
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"vi\">"), "{page}");
    let facts = [
        "evil.example",
        "Emotet",
        "authority",
        "10.1.2.3",
        "Sở Thông tin",
        "máy lẻ 115",
        "PC-KETOAN-03",
        "<strong class=\"exact\">K7-M2Q</strong>",
        "<td>17</td>",
    ];
    for fact in facts {
        assert_eq!(page.matches(fact).count(), 2, "{fact}");
    }
    for text in [
        "00:04:05 ngày 30/08/2022 (UTC+07:00)",
        "00:04:05, 30 August 2022 (UTC+07:00)",
        "22:20:00 ngày 28/08/2022",
        "href=\"#en\"",
        "section id=\"en\" lang=\"en\"",
        "<meta name=\"robots\" content=\"noindex\">",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn each_kind_has_its_own_words_and_certainty() {
    let texts = Texts::default();
    let check = |class: Class, of_case: Option<(Class, u64)>, expected: fn(&Wording) -> [&String; 3]| {
        let listing = Some(listing(None, "authority", class));
        let case = of_case.map(|(class, sightings)| case(class, sightings));
        let page = Told { listing, case, ..Told::default() }.page();
        for language in [Language::Vietnamese, Language::English] {
            let [title, lead, sure] = expected(texts.wording(language));
            let gist = sure.trim_start_matches('*').split('*').next().unwrap();
            for text in [title, lead, gist] {
                assert!(page.contains(text), "{class:?} {of_case:?}: {text}\n{page}");
            }
        }
    };
    let c2: fn(&Wording) -> [&String; 3] = |it| [&it.c2_title, &it.c2_lead, &it.c2_sure];
    let listed: fn(&Wording) -> [&String; 3] = |it| [&it.listed_title, &it.listed_lead, &it.listed_sure];
    check(Class::C2, None, c2);
    check(Class::C2, Some((Class::C2, 2)), c2);
    check(Class::C2, Some((Class::C2, 3)), |it| [&it.c2_title, &it.c2_lead, &it.c2_repeated]);
    check(Class::Phishing, None, |it| [&it.phishing_title, &it.phishing_lead, &it.phishing_sure]);
    check(Class::Address, None, |it| [&it.address_title, &it.address_lead, &it.address_sure]);
    check(Class::Scan, None, listed);
    check(Class::Unknown, None, listed);
    // The desk knows more than the list, unless it knows nothing.
    check(Class::Unknown, Some((Class::C2, 1)), c2);
    check(Class::C2, Some((Class::Unknown, 1)), c2);
}

#[test]
fn disconnecting_is_asked_for_where_orders_are_taken_and_not_for_a_click() {
    let page = |class| Told { listing: Some(listing(None, "a", class)), ..Told::default() }.page();
    assert!(page(Class::C2).contains("Ngắt máy khỏi mạng ngay:"));
    assert!(!page(Class::Phishing).contains("Ngắt máy khỏi mạng"));
    assert!(page(Class::Phishing).contains("Gọi ngân hàng"));
    for class in [Class::C2, Class::Phishing, Class::Address, Class::Unknown] {
        for text in [
            "Bkav Endpoint",
            "Viettel Endpoint",
            "phần mềm bẻ khóa",
            "Cập nhật hệ điều hành",
            "cracked software",
        ] {
            assert!(page(class).contains(text), "{class:?}: {text}");
        }
    }
}

#[test]
fn what_is_unknown_is_said_to_be() {
    let page = Told { listing: Some(listing(None, "authority", Class::Unknown)), ..Told::default() }.page();
    for text in ["chưa phân loại", "unclassified", "chưa xác định", "not known"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("Liên hệ"), "a contact without an agency");
    assert!(!page.contains("<form") && page.contains("đưa nhầm vào danh sách"), "buttons without a case");
}

#[test]
fn without_a_listing_nothing_is_called_malicious_and_no_step_is_asked() {
    let texts = Texts::default();
    for host in [None, Some("10.10.10.10"), Some("intranet.example")] {
        let page = Told { host, listing: None, ..Told::default() }.page();
        for language in [Language::Vietnamese, Language::English] {
            let wording = texts.wording(language);
            assert!(
                page.contains(&wording.unlisted_title) && !page.contains(&wording.listed_title),
                "{page}"
            );
        }
        assert!(!page.contains("<ol>") && page.contains("<body class=\"calm\">"), "{page}");
        assert_eq!(page.contains("<span class=\"exact\">intranet.example"), host == Some("intranet.example"));
    }
    // A case tells that there is something, even where the list does not …
    let page = Told { listing: None, case: Some(case(Class::Address, 1)), ..Told::default() }.page();
    assert!(page.contains(&texts.wording(Language::Vietnamese).address_title), "{page}");
    // … if it is of this name. If not, it can be spoken about all the same.
    let case = Some(case(Class::Address, 1));
    let page = Told { host: Some("10.10.10.10"), listing: None, case, ..Told::default() }.page();
    assert!(page.contains(&texts.wording(Language::Vietnamese).unlisted_title), "{page}");
    assert!(page.contains("K7-M2Q") && page.contains("<form"), "{page}");
}

#[test]
fn the_forms_carry_ticket_and_token_in_each_language() {
    let page = Told { case: Some(case(Class::C2, 1)), ..Told::default() }.page();
    assert_eq!(page.matches("<form method=\"post\" action=\"/~sachdns/said\"").count(), 4);
    for (text, count) in [
        ("name=\"token\" value=\"TOKEN\"", 4),
        ("name=\"ticket\" value=\"K7-M2Q\"", 4),
        ("name=\"language\" value=\"en\"", 2),
        ("name=\"said\" value=\"clean\">Tôi đã làm sạch máy</button>", 1),
        ("name=\"said\" value=\"wrong\">Trang này bị chặn nhầm</button>", 1),
        ("<label for=\"clean-vi\">", 1),
        ("<textarea id=\"clean-vi\"", 1),
        ("<label for=\"wrong-en\">", 1),
        ("<textarea id=\"wrong-en\"", 1),
        ("role=\"alert\"", 0),
    ] {
        assert_eq!(page.matches(text).count(), count, "{text}\n{page}");
    }
}

#[test]
fn what_must_be_said_again_is_kept_and_what_was_said_is_told() {
    let again = Some(Again { said: Said::Wrong, note: Some("</textarea><script>") });
    let page = Told { case: Some(case(Class::C2, 1)), again, ..Told::default() }.page();
    assert_eq!(page.matches("role=\"alert\"").count(), 2);
    assert_eq!(
        page.matches("maxlength=\"300\">&lt;/textarea&gt;&lt;script&gt;</textarea>").count(),
        2,
        "{page}"
    );
    let said = Case { said: Some(Said::Clean), ..case(Class::C2, 1) };
    let page = Told { case: Some(said), ..Told::default() }.page();
    assert!(page.contains(&Texts::default().wording(Language::Vietnamese).said_clean), "{page}");
}

#[test]
fn a_statement_is_answered_in_its_language_first() {
    let told = Told {
        agency: Some(agency("Sở Y tế", Some("115"))),
        case: Some(case(Class::C2, 1)),
        ..Told::default()
    };
    let check = |outcome: Outcome, first: Language, expected: [&str; 3]| {
        let page = told.with(|notice| Design::default().outcome(outcome, notice, first));
        assert!(page.contains(&format!("<html lang=\"{}\">", first.tag())), "{page}");
        assert!(page.contains(&format!("<main><section id=\"{}\"", first.tag())), "{page}");
        for text in expected.iter().chain(&["K7-M2Q", "Sở Y tế", "115", "href=\"/\""]) {
            assert!(page.contains(text), "{text}\n{page}");
        }
        assert!(!page.contains("<form"), "{page}");
        assert!(page.len() < 15_000, "{}", page.len());
    };
    let clean = ["Cảm ơn Anh/Chị", "tiếp tục theo dõi", "The ticket is opened again"];
    check(Outcome::Kept(Said::Clean), Language::Vietnamese, clean);
    check(Outcome::Kept(Said::Clean), Language::English, clean);
    check(Outcome::Kept(Said::Wrong), Language::Vietnamese, ["bị chặn nhầm", "xem xét", "unblocked"]);
    check(Outcome::TooOften, Language::Vietnamese, ["quá nhiều lần", "sau một giờ", "too often"]);
    check(Outcome::Failed, Language::Vietnamese, ["Chưa ghi nhận được", "sau vài phút", "Not noted yet"]);
}

#[test]
fn hostile_hosts_show_as_harmless_text() {
    fn check(host: &str, expected: &str) {
        let page = Told { host: Some(host), ..Told::default() }.page();
        let cell = format!("<td><span class=\"exact\">{expected}</span></td>");
        assert_eq!(page.matches(&cell).count(), 2, "{host:?}: {page}");
    }
    check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
    check("\"'><b>&amp;", "&quot;'&gt;&lt;b&gt;&amp;amp;");
    check("moc.\u{202e}elpmaxe", "moc.\\u{202e}elpmaxe");
    check("zero\u{200b}width", "zero\\u{200b}width");
    check("p\u{430}ypal.example", "p\\u{430}ypal.example");
    check("a\r\nb\0c d", "a\\u{d}\\u{a}b\\u{0}c\\u{20}d");
    check("bytes\u{fffd}", "bytes\\u{fffd}");
    check(&"a".repeat(255), &"a".repeat(255));
    check(&"a".repeat(16_000), &format!("{}…", "a".repeat(255)));
    check(&format!("{}\u{202e}", "a".repeat(250)), &format!("{}…", "a".repeat(250)));
    check(&"\"".repeat(100), &format!("{}…", "&quot;".repeat(42)));
}

#[test]
fn feeds_and_agencies_keep_their_letters_but_hide_nothing() {
    assert_eq!(shown_text("Mã độc đào tiền ảo", MAX_FAMILY), "Mã độc đào tiền ảo");
    assert_eq!(shown_text("a\u{202e}b\u{2066}c\u{7f}\n", MAX_FAMILY), r"a\u{202e}b\u{2066}c\u{7f}\u{a}");
    assert_eq!(shown_text(&"ế".repeat(81), MAX_FAMILY), format!("{}…", "ế".repeat(80)));
}

#[test]
fn texts_tools_and_logo_are_the_administrators() {
    let texts = Texts::read(
        "[vi]\nsender = \"Tỉnh Bắc <b>\"\nhelpline = \"0299 000 000\"\nlisted_steps = [\"*Quét* máy: {tools} rồi báo lại\", \"không *đậm*\"]\n\
         [[tool]]\nname = \"Công cụ A\"\nlink = \"https://tools.example.vn/a?b&c\"\nvi = \"miễn phí\"\n",
    )
    .unwrap();
    let logo = b"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"/>";
    let design = Design::new(texts, Some(Logo::read(logo).unwrap()));
    let page = Told::default().with(|notice| design.landing(notice));
    for (text, count) in [
        ("Tỉnh Bắc &lt;b&gt;", 1),
        ("<th scope=\"row\">Đường dây hỗ trợ</th><td>0299 000 000</td>", 1),
        ("<li><strong>Quét</strong> máy:<ul><li><strong lang=\"vi\">Công cụ A</strong>", 1),
        (
            "<a href=\"https://tools.example.vn/a?b&amp;c\" rel=\"noreferrer noopener\">https://tools.example.vn/a?b&amp;c</a> – miễn phí</li></ul> rồi báo lại</li>",
            1,
        ),
        ("<li>không *đậm*</li>", 1),
        ("Chỉ tải công cụ từ đúng địa chỉ", 1),
        ("from the very addresses", 1),
        ("không yêu cầu tải", 0),
        ("<img src=\"data:image/svg+xml;base64,", 1),
        ("alt=\"\"", 1),
    ] {
        assert_eq!(page.matches(text).count(), count, "{text}\n{page}");
    }
    assert!(design.security_policy().contains("img-src data:; "));
    assert!(!Design::default().security_policy().contains("img-src"));
}

#[test]
fn the_page_stays_small() {
    let usual = Told { case: Some(case(Class::C2, 17)), ..Told::default() }.page();
    assert!(usual.len() < 24_000, "{} bytes", usual.len());
    let heaviest = Design::default().heaviest();
    assert!((usual.len()..MOST_OCTETS).contains(&heaviest), "{heaviest} bytes");
}

#[test]
fn nothing_is_fetched_or_run_and_nothing_sent_but_by_the_forms() {
    let page = Told { case: Some(case(Class::C2, 17)), ..Told::default() }.page();
    for mark in
        ["<script", "<link", "<img", "<iframe", "src=", "style=", "url(", "@import", "http:", "https:"]
    {
        assert!(!page.split("</style>").nth(1).unwrap().contains(mark), "{mark}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[test]
fn the_policy_names_this_style_sheet() {
    let design = Design::default();
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    assert_eq!(design.security_policy(), expected);
    let page = Told::default().page();
    assert!(page.contains(&format!("<style>{STYLE}</style>")), "the hash is that of the element's text");
    // A browser turns CR LF into LF before it hashes.
    assert!(!STYLE.contains('\r'));
}
