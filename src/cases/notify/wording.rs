//! Every sentence of the mails, in Vietnamese.
//!
//! The reader looks after an agency's machines. Names from strangers (hosts, families) lose their control characters; malicious
//! names are written so that no mail program makes a link of them.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Agency;
use crate::cases::store::outbox::Figures;
use crate::cases::{Case, Class, State, Step, What};

/// A mail's subject and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
}

/// To whom, and what is known to write for them.
pub(super) struct Reader<'a> {
    pub(super) address: &'a str,
    pub(super) agencies: &'a HashMap<String, Agency>,
    pub(super) zone: &'a TimeZone,
}

impl Reader<'_> {
    fn agency(&self, case: &Case) -> String {
        let Some(id) = case.agency.as_deref() else { return "chưa xác định".to_owned() };
        self.agencies.get(id).map_or_else(|| clean(id), |agency| clean(&agency.name))
    }

    fn greeting(&self) -> String {
        let is_reader = |agency: &&Agency| agency.email.as_deref() == Some(self.address);
        let officer = self.agencies.values().find(is_reader).and_then(|agency| agency.officer.as_deref());
        officer.map_or_else(
            || "Kính gửi Anh/Chị,".to_owned(),
            |name| format!("Kính gửi Anh/Chị {},", clean(name)),
        )
    }

    fn time(&self, time: i64) -> String {
        Timestamp::from_microsecond(time).map_or_else(
            |_| String::new(),
            |it| it.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S ngày %d/%m/%Y").to_string(),
        )
    }
}

/// What a stranger gave, in one line of bounded length.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(200).collect()
}

/// A name that nothing makes a link of.
fn defanged(name: &str) -> String {
    clean(name).replace('.', "[.]")
}

fn machine(case: &Case) -> String {
    let address = case.client;
    match &case.host {
        Some(host) => format!("{} ({address})", clean(host)),
        None => address.to_string(),
    }
}

fn family(case: &Case) -> String {
    if case.family.is_empty() { "chưa phân loại".to_owned() } else { clean(&case.family) }
}

/// What kind of trouble it is.
fn trouble(class: Class) -> &'static str {
    match class {
        Class::C2 => "máy kết nối đến máy chủ điều khiển mã độc (C2)",
        Class::Phishing => "người dùng mở trang lừa đảo",
        Class::Address => "máy kết nối đến địa chỉ IP độc hại",
        Class::Scan => "máy dò quét",
        Class::Unknown => "máy truy vấn tên miền độc hại",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::New => "mới",
        State::Notified => "đã thông báo",
        State::Cleaned => "đã báo làm sạch",
        State::Watched => "đang theo dõi",
        State::Closed => "đã đóng",
    }
}

/// What to do, most urgent first.
fn steps(class: Class) -> &'static [&'static str] {
    match class {
        Class::C2 => &[
            "Ngắt máy khỏi mạng (rút dây mạng hoặc tắt Wi-Fi).",
            "Quét toàn bộ máy bằng phần mềm phòng, chống mã độc của cơ quan (Bkav Endpoint, Viettel Endpoint) và công cụ làm sạch của chiến dịch.",
            "Cập nhật hệ điều hành và phần mềm; gỡ bỏ phần mềm bẻ khóa (crack).",
            "Đổi mật khẩu đã dùng trên máy này từ một máy khác đã bảo đảm an toàn.",
            "Khi đã làm sạch, bấm nút “Tôi đã làm sạch máy” trên trang cảnh báo, hoặc báo mã phiếu cho đơn vị chuyên trách.",
        ],
        Class::Phishing => &[
            "Hỏi người sử dụng đã nhập mật khẩu, mã OTP hoặc thông tin thẻ vào trang đó hay chưa.",
            "Nếu có, đổi mật khẩu ngay từ một máy khác và báo ngân hàng hoặc đơn vị quản lý tài khoản.",
            "Quét máy nếu người sử dụng đã tải tệp từ trang đó.",
            "Báo mã phiếu cho đơn vị chuyên trách khi đã xử lý xong.",
        ],
        Class::Address | Class::Scan | Class::Unknown => &[
            "Kiểm tra máy, tìm chương trình đã tạo ra kết nối.",
            "Quét toàn bộ máy bằng phần mềm phòng, chống mã độc của cơ quan (Bkav Endpoint, Viettel Endpoint).",
            "Cập nhật hệ điều hành và phần mềm; gỡ bỏ phần mềm không rõ nguồn gốc.",
            "Nếu tên miền hoặc địa chỉ phục vụ công việc, báo đơn vị chuyên trách để xem xét.",
        ],
    }
}

/// The mail that tells of cases as they are opened, opened again or belied, or somebody holds a name for harmless.
pub(super) fn at_once(cases: &[(Case, Step)], reader: &Reader<'_>, quiet_days: u32) -> Letter {
    let subject = match cases {
        [(case, step)] => {
            format!("[SachDNS] {}: {} – mã phiếu {}", headline(step.what), machine(case), case.ticket)
        }
        several if several.iter().any(|(_, step)| step.what == What::SaidWrong) => {
            format!("[SachDNS] {} việc mới về phiếu theo dõi mã độc", several.len())
        }
        several => format!("[SachDNS] {} phiếu theo dõi mã độc mới hoặc tái diễn", several.len()),
    };
    let mut text = format!("{}\n\nHệ thống SachDNS của tỉnh vừa ghi nhận:\n", reader.greeting());
    for (case, step) in cases {
        let hits = match case.contacts {
            0 => format!("{} truy vấn", case.queries),
            contacts => format!("{} truy vấn, {contacts} kết nối", case.queries),
        };
        let rows = [
            ("Mã phiếu", case.ticket.to_string()),
            ("Cơ quan", reader.agency(case)),
            ("Máy", machine(case)),
            ("Dấu hiệu", trouble(case.class).to_owned()),
            ("Họ mã độc", family(case)),
            ("Tên miền", defanged(&case.name)),
            ("Thấy lần đầu", reader.time(case.course.first_hit)),
            ("Thấy lần cuối", reader.time(case.course.last_hit)),
            ("Số lần", hits),
        ];
        let _ = write!(text, "\n{}\n", headline(step.what));
        for (head, value) in rows {
            let _ = writeln!(text, "  {head:<14} {value}");
        }
        if step.what == What::SaidWrong && !step.note.is_empty() {
            let _ = writeln!(text, "  {:<14} {}", "Lời người dùng", clean(&step.note));
        }
    }
    let is_wrong = |(_, step): &&(Case, Step)| step.what == What::SaidWrong;
    if let Some((case, _)) = cases.iter().find(is_wrong) {
        let _ = write!(
            text,
            "\nKhi người sử dụng báo cảnh báo nhầm:\n  \
             1. Tên miền vẫn bị chặn cho đến khi đơn vị chuyên trách của tỉnh kết luận; trong khi chờ, xử lý như máy có dấu hiệu mã độc.\n  \
             2. Chuyên viên xem dấu hiệu (sachdns case show {0}) và kết luận (sachdns case verdict {0} false-positive|confirmed).\n  \
             3. Báo kết luận cho cơ quan và người sử dụng.\n",
            case.ticket
        );
    }
    let mut classes: Vec<Class> =
        cases.iter().filter(|it| !is_wrong(it)).map(|(case, _)| case.class).collect();
    classes.sort();
    classes.dedup();
    for class in &classes {
        match classes.len() {
            1 => text.push_str("\nViệc cần làm:\n"),
            _ => drop(write!(text, "\nViệc cần làm ({}):\n", trouble(*class))),
        }
        for (number, step) in (1..).zip(steps(*class)) {
            let _ = writeln!(text, "  {number}. {step}");
        }
    }
    let _ = write!(
        text,
        "\nPhiếu tự đóng sau {quiet_days} ngày máy vẫn hoạt động trên mạng mà dấu hiệu không tái diễn. Máy tắt không được tính là sạch.\n{SIGNATURE}"
    );
    Letter { subject, text }
}

fn headline(what: What) -> &'static str {
    match what {
        What::Reopened => "Mã độc tái diễn trên máy đã đóng phiếu",
        What::Relapsed => "Máy đã báo làm sạch nhưng vẫn còn dấu hiệu",
        What::SaidWrong => "Người sử dụng báo cảnh báo nhầm",
        _ => "Phát hiện máy có dấu hiệu mã độc",
    }
}

const SIGNATURE: &str =
    "\n--\nThư tự động của hệ thống SachDNS – mạng diện rộng của tỉnh. Thư này không bao giờ hỏi mật khẩu.\n";

/// The mail of each morning: how many cases there are of each class, and those of `cases` one by one.
pub(super) fn digest(
    cases: &[Case],
    figures: &[Figures],
    agency: Option<&str>,
    reader: &Reader<'_>,
    now: i64,
) -> Letter {
    let whom = agency.map_or_else(|| "toàn tỉnh".to_owned(), |id| reader.agency_name(id));
    let day = Timestamp::from_microsecond(now).map_or_else(
        |_| String::new(),
        |it| it.to_zoned_datetime(reader.zone.clone()).strftime("%d/%m/%Y").to_string(),
    );
    // C2 and phishing are never added up.
    let classes = [Class::C2, Class::Phishing, Class::Address, Class::Unknown, Class::Scan];
    let figures: Vec<&Figures> =
        classes.iter().filter_map(|class| figures.iter().find(|it| it.class == *class)).collect();
    let open: Vec<String> = figures
        .iter()
        .filter(|it| it.open > 0)
        .map(|it| format!("{} {}", it.open, in_short(it.class)))
        .collect();
    let open = if open.is_empty() { "0 phiếu".to_owned() } else { open.join(", ") };
    let subject = format!("[SachDNS] Tổng hợp ngày {day}: đang mở {open} – {whom}");
    let mut text = format!("{}\n\nTình hình xử lý mã độc của {whom}, ngày {day}:\n\n", reader.greeting());
    for it in &figures {
        let _ = writeln!(
            text,
            "  {}: {} đang mở ({} mới trong ngày, {} tái diễn, {} đã báo làm sạch), {} đã đóng",
            capital(trouble(it.class)),
            it.open,
            it.new,
            it.again,
            it.said_clean,
            it.closed
        );
    }
    for it in figures {
        let _ = write!(text, "\n{}:\n", capital(trouble(it.class)));
        let mut more = it.open + it.closed;
        for case in cases.iter().filter(|case| case.class == it.class) {
            more = more.saturating_sub(1);
            let _ = writeln!(
                text,
                "  {}  {}  {}  {}  {}  thấy lần cuối {}",
                case.ticket,
                state(case.course.state),
                machine(case),
                family(case),
                reader.agency(case),
                reader.time(case.course.last_hit)
            );
        }
        if more > 0 {
            let _ = writeln!(text, "  … và {more} phiếu khác, không nêu trong thư này");
        }
    }
    text.push_str(SIGNATURE);
    Letter { subject, text }
}

/// A class in a subject.
fn in_short(class: Class) -> &'static str {
    match class {
        Class::C2 => "C2",
        Class::Phishing => "lừa đảo",
        Class::Address => "địa chỉ IP",
        Class::Scan => "dò quét",
        Class::Unknown => "chưa phân loại",
    }
}

impl Reader<'_> {
    fn agency_name(&self, id: &str) -> String {
        self.agencies.get(id).map_or_else(|| clean(id), |agency| clean(&agency.name))
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
