//! Every Vietnamese word of a report: headings, what figures mean, notes; numbers and times as people there write them.
//!
//! Texts that strangers chose (families, names, hosts) pass [`clean`] before they are shown anywhere.

use jiff::civil::Date;

use super::Scope;
use super::figures::{CaseLine, Counts, Figures, Row, Stage};
use super::period::{Period, civil};
use crate::cases::Class;
use crate::evidence::store::Why;

/// What stands in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// So many: adding these up over agencies makes sense, though a machine may be in two of them.
    Count(u64),
    /// So long, in seconds.
    Time(Option<u64>),
}

/// A column of the tables by agency.
pub(super) struct Column {
    /// Its heading.
    pub(super) heading: &'static str,
    /// What it counts.
    pub(super) meaning: &'static str,
    /// What stands in it.
    pub(super) value: fn(&Counts) -> Value,
}

/// The columns in their order; those of endpoint protection follow where there is an inventory ([`PROTECTION`]).
pub(super) const COLUMNS: [Column; 17] = [
    Column {
        heading: "Máy có truy vấn",
        meaning: "Số máy khác nhau đã gửi truy vấn tên miền trong kỳ. Máy được nhận diện theo địa chỉ MAC mà máy chủ chuyển tiếp \
                  tin cậy gửi kèm, theo dữ liệu cấp phát địa chỉ (DHCP) hoặc danh mục thiết bị tại thời điểm truy vấn; không có các nguồn \
                  này thì mỗi địa chỉ IP tính là một máy. Các máy đứng sau máy chủ DNS riêng của cơ quan được tính là một máy nếu máy \
                  chủ đó không gửi kèm thông tin nhận diện.",
        value: |it| Value::Count(it.machines),
    },
    Column {
        heading: "Lượt truy vấn",
        meaning: "Số lượt truy vấn tên miền được ghi nhật ký trong kỳ.",
        value: |it| Value::Count(it.queries),
    },
    Column {
        heading: "Lượt truy vấn độc hại",
        meaning: "Số lượt truy vấn trúng danh sách tên miền, địa chỉ IP độc hại, kể cả lượt phát hiện khi đối chiếu lại nhật ký với danh \
                  sách công bố sau.",
        value: |it| Value::Count(it.hits),
    },
    Column {
        heading: "Máy nhiễm trong kỳ",
        meaning: "Số máy khác nhau có ít nhất một hồ sơ được mở (hoặc mở lại), hoặc có truy vấn, kết nối độc hại trong kỳ. Chỉ tính hồ sơ \
                  thuộc loại mã độc, địa chỉ IP độc hại và chưa phân loại; không tính trang lừa đảo, dò quét và hồ sơ đã xác định là báo nhầm.",
        value: |it| Value::Count(it.infected),
    },
    Column {
        heading: "Máy tồn từ kỳ trước",
        meaning: "Số máy còn hồ sơ chưa đóng từ trước ngày đầu kỳ và không có hoạt động độc hại trong kỳ (ví dụ máy đang tắt). Máy nhiễm trong kỳ \
                  cộng máy tồn là tổng số máy phải theo dõi.",
        value: |it| Value::Count(it.carried),
    },
    Column {
        heading: "Máy đã thông báo",
        meaning: "Trong số máy phải theo dõi, số máy có ít nhất một hồ sơ đã được thông báo cho đơn vị, người dùng tính đến cuối kỳ.",
        value: |it| Value::Count(it.notified),
    },
    Column {
        heading: "Máy đã báo sạch",
        meaning: "Trong số máy phải theo dõi, số máy mà người dùng hoặc cán bộ phụ trách đã báo là đã làm sạch đối với mọi hồ sơ chưa đóng, và sau \
                  đó không có hoạt động độc hại, tính đến cuối kỳ.",
        value: |it| Value::Count(it.said_clean),
    },
    Column {
        heading: "Máy đã xử lý xong",
        meaning: "Trong số máy phải theo dõi, số máy có mọi hồ sơ đã đóng tính đến cuối kỳ. Hồ sơ chỉ tự đóng khi máy vẫn hoạt động mà không có truy vấn \
                  độc hại đủ số ngày quy định; máy tắt không được coi là sạch.",
        value: |it| Value::Count(it.cleaned),
    },
    Column {
        heading: "Máy chưa xử lý xong",
        meaning: "Số máy phải theo dõi còn ít nhất một hồ sơ chưa đóng tính đến cuối kỳ. Máy đã xử lý xong cộng máy chưa xử lý xong bằng tổng số máy phải theo dõi.",
        value: |it| Value::Count(it.remaining),
    },
    Column {
        heading: "Máy tái nhiễm",
        meaning: "Trong số máy phải theo dõi, số máy có hồ sơ đã đóng nay phải mở lại trong kỳ.",
        value: |it| Value::Count(it.repeat),
    },
    Column {
        heading: "Máy truy cập trang lừa đảo",
        meaning: "Số máy có người dùng truy cập trang lừa đảo trong kỳ. Thống kê riêng, không cộng vào số máy nhiễm.",
        value: |it| Value::Count(it.phishing),
    },
    Column {
        heading: "Máy dò quét",
        meaning: "Số máy có hoạt động dò quét trong kỳ. Thống kê riêng, không cộng vào số máy nhiễm.",
        value: |it| Value::Count(it.scanning),
    },
    Column {
        heading: "Hồ sơ báo nhầm",
        meaning: "Số hồ sơ có hoạt động trong kỳ mà cán bộ phân tích đã xác định tên miền, địa chỉ không độc hại, tính đến lúc lập báo cáo.",
        value: |it| Value::Count(it.false_alarms),
    },
    Column {
        heading: "Thời gian thông báo, trung vị (giờ)",
        meaning: "Thời gian từ khi mở hồ sơ đến khi thông báo lần đầu, tính trên các lần thông báo trong kỳ; một nửa số lần không lâu hơn giá trị này.",
        value: |it| Value::Time(it.to_notify.map(|times| times.median)),
    },
    Column {
        heading: "Thời gian thông báo, trung bình (giờ)",
        meaning: "Giá trị trung bình của thời gian thông báo nêu trên.",
        value: |it| Value::Time(it.to_notify.map(|times| times.mean)),
    },
    Column {
        heading: "Thời gian làm sạch, trung vị (giờ)",
        meaning: "Thời gian từ khi mở hồ sơ đến khi được báo sạch (hoặc đến lượt truy vấn độc hại cuối cùng nếu không ai báo), tính trên các hồ sơ đóng \
                  trong kỳ; một nửa số hồ sơ không lâu hơn giá trị này.",
        value: |it| Value::Time(it.to_clean.map(|times| times.median)),
    },
    Column {
        heading: "Thời gian làm sạch, trung bình (giờ)",
        meaning: "Giá trị trung bình của thời gian làm sạch nêu trên.",
        value: |it| Value::Time(it.to_clean.map(|times| times.mean)),
    },
];

/// The columns of endpoint protection: machines, those with it, and which part that is; and what they mean.
pub(super) const PROTECTION: [(&str, &str); 3] = [
    (
        "Máy đối chiếu phần mềm phòng, chống mã độc",
        "Số máy có truy vấn trong kỳ hoặc có trong danh sách của phần mềm phòng, chống mã độc tập trung.",
    ),
    (
        "Máy có phần mềm phòng, chống mã độc",
        "Trong số máy đối chiếu, số máy có trong danh sách của phần mềm phòng, chống mã độc tập trung.",
    ),
    ("Tỷ lệ có phần mềm phòng, chống mã độc", "Máy có phần mềm phòng, chống mã độc chia cho máy đối chiếu."),
];

pub(super) const AGENCY: &str = "Cơ quan, đơn vị";
pub(super) const AGENCY_ID: &str = "Mã";
pub(super) const PROVINCE: &str = "Toàn tỉnh";
pub(super) const PROVINCE_ROW: &str = "Toàn tỉnh (mỗi máy tính một lần)";
pub(super) const SUM_ROW: &str = "Cộng các cơ quan, đơn vị";
pub(super) const NO_AGENCY: &str = "Không thuộc cơ quan nào";
pub(super) const NO_FAMILY: &str = "(chưa rõ họ)";
pub(super) const UNREADABLE: &str = "(không đọc được)";
pub(super) const FAMILIES: &str = "Họ mã độc";
pub(super) const NAMES: &str = "Tên miền";
pub(super) const DAYS: &str = "Theo ngày";
pub(super) const CASES: &str = "Máy theo dõi";
pub(super) const NOTES: &str = "Ghi chú";
pub(super) const TITLE: &str = "Kết quả theo dõi, xử lý máy tính kết nối tới tên miền, địa chỉ IP độc hại";

/// The headings of the list of cases.
pub(super) const CASE_COLUMNS: [&str; 11] = [
    "Mã hồ sơ",
    "Máy",
    "Địa chỉ IP",
    "Họ mã độc",
    "Loại",
    "Tên miền, địa chỉ gần nhất",
    "Trạng thái cuối kỳ",
    "Trong kỳ",
    "Phát hiện lần đầu",
    "Phát hiện gần nhất",
    "Số lần tái nhiễm",
];

/// The name of an agency's row.
pub(super) fn row_name(row: &Row) -> String {
    if row.id.is_none() { NO_AGENCY.to_owned() } else { clean(&row.name) }
}

pub(super) fn agency_name(name: &str) -> String {
    if name.is_empty() { NO_AGENCY.to_owned() } else { clean(name) }
}

pub(super) fn family_name(name: &str) -> String {
    if name.is_empty() { NO_FAMILY.to_owned() } else { clean(name) }
}

pub(super) fn host_name(name: &str) -> String {
    if name.is_empty() { UNREADABLE.to_owned() } else { clean(name) }
}

pub(super) fn class(class: Class) -> &'static str {
    match class {
        Class::C2 => "Mã độc",
        Class::Phishing => "Lừa đảo",
        Class::Address => "Địa chỉ IP độc hại",
        Class::Scan => "Dò quét",
        Class::Unknown => "Chưa phân loại",
    }
}

pub(super) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::New => "Chưa thông báo",
        Stage::Notified => "Đã thông báo",
        Stage::SaidClean => "Đã báo sạch",
        Stage::Closed => "Đã đóng",
        Stage::FalseAlarm => "Báo nhầm",
    }
}

/// Whether a case is of the period, or from before.
pub(super) fn of_period(line: &CaseLine) -> &'static str {
    if line.is_of_period { "Có" } else { "Tồn" }
}

/// Most characters of a text that somebody else chose.
const LONGEST: usize = 300;

/// A stranger's text as it may be shown: no control characters, none that turn the writing round, none that XML forbids.
pub(super) fn clean(text: &str) -> String {
    let is_odd = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}')
    };
    text.chars().take(LONGEST).map(|letter| if is_odd(letter) { '\u{fffd}' } else { letter }).collect()
}

/// `1.234.567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    text
}

/// A share as `12,3%`.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    // Tenths of a percent, rounded.
    let tenths = (u128::from(part) * 2000 + u128::from(whole)) / (2 * u128::from(whole));
    format!("{},{}%", number(u64::try_from(tenths / 10).unwrap_or(u64::MAX)), tenths % 10)
}

/// Hours with one place behind the comma.
pub(super) fn hours(seconds: u64) -> String {
    tenths(seconds, 3600)
}

fn tenths(seconds: u64, unit: u64) -> String {
    let tenths = seconds.saturating_mul(20).saturating_add(unit) / (2 * unit);
    format!("{},{}", number(tenths / 10), tenths % 10)
}

/// A time as one says it: `45 phút`, `5,5 giờ`, `3,2 ngày`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} giây"),
        60..3600 => format!("{} phút", (seconds + 30) / 60),
        3600..172_800 => format!("{} giờ", hours(seconds)),
        _ => format!("{} ngày", tenths(seconds, 86_400)),
    }
}

/// `30/11/2026`.
pub(super) fn date(date: Date) -> String {
    format!("{:02}/{:02}/{}", date.day(), date.month(), date.year())
}

/// `08:05 ngày 30/11/2026`.
pub(super) fn time(microseconds: i64) -> String {
    let time = civil(microseconds);
    format!("{:02}:{:02} ngày {}", time.hour(), time.minute(), date(time.date()))
}

/// The period in words: `tháng 11 năm 2026`, or from a day to another one.
pub(super) fn period(period: Period) -> String {
    let (first, last) = (period.first(), period.last());
    let months = |from: i8, to: i8| {
        first.year() == last.year()
            && (first.month(), first.day(), last.month()) == (from, 1, to)
            && last == last.last_of_month()
    };
    if months(first.month(), first.month()) {
        // Nghị định 30/2020/NĐ-CP: January and February have a zero in front, no other month.
        let zero = if first.month() <= 2 { "0" } else { "" };
        return format!("tháng {zero}{} năm {}", first.month(), first.year());
    }
    for (number, from) in [("I", 1), ("II", 4), ("III", 7), ("IV", 10)] {
        if months(from, from + 2) {
            return format!("quý {number} năm {}", first.year());
        }
    }
    if months(1, 6) {
        return format!("6 tháng đầu năm {}", first.year());
    }
    if months(7, 12) {
        return format!("6 tháng cuối năm {}", first.year());
    }
    if months(1, 12) {
        return format!("năm {}", first.year());
    }
    days(period)
}

/// Its days: `từ ngày 01/11/2026 đến hết ngày 30/11/2026`.
pub(super) fn days(period: Period) -> String {
    if period.first() == period.last() {
        return format!("ngày {}", date(period.first()));
    }
    format!("từ ngày {} đến hết ngày {}", date(period.first()), date(period.last()))
}

/// Whom it is about.
pub(super) fn about(figures: &Figures) -> String {
    match &figures.scope {
        Scope::All => PROVINCE.to_owned(),
        Scope::Agency(_) => figures.agencies.first().map_or_else(String::new, row_name),
    }
}

/// What the figures do not have, a sentence each.
pub(super) fn lacks(figures: &Figures) -> Vec<String> {
    let lacks = &figures.lacks;
    let mut notes = Vec::new();
    if lacks.is_unfinished {
        notes.push(format!("Kỳ báo cáo chưa kết thúc: số liệu tính đến {}.", time(figures.made)));
    }
    if lacks.not_recorded > 0 {
        notes.push(format!(
            "Toàn hệ thống có {} lượt truy vấn đã được trả lời nhưng không ghi được nhật ký; các lượt này không có trong số liệu.",
            number(lacks.not_recorded)
        ));
    }
    if lacks.unreadable > 0 {
        notes.push(format!(
            "Toàn hệ thống có {} tệp nhật ký bị hỏng hoặc không đọc được hết; các lượt truy vấn trong phần hỏng không có trong số liệu.",
            number(lacks.unreadable)
        ));
    }
    if lacks.days_without_machines > 0 {
        notes.push(format!(
            "Nhật ký chi tiết của {} ngày đã hết thời hạn lưu: số lượt truy vấn vẫn đủ, số máy có truy vấn trong các ngày đó không tính được.",
            number(lacks.days_without_machines.into())
        ));
    }
    if lacks.hits_without_detail > 0 {
        notes.push(format!(
            "Có {} lượt truy vấn độc hại chỉ còn số đếm: không có trong thống kê theo họ mã độc và tên miền.",
            number(lacks.hits_without_detail)
        ));
    }
    if lacks.uncounted > 0 {
        notes.push("Một phần nhật ký ở đầu hoặc cuối kỳ đã hết thời hạn lưu và không đếm được.".to_owned());
    }
    if lacks.is_anonymised {
        notes.push(
            "Địa chỉ của các truy vấn cũ đã được ẩn theo quy định lưu nhật ký: số máy có truy vấn có thể khác thực tế."
                .to_owned(),
        );
    }
    if lacks.is_cut {
        notes.push(
            "Có quá nhiều tên miền, họ mã độc hoặc địa chỉ khác nhau: phần vượt quá giới hạn không được tách riêng."
                .to_owned(),
        );
    }
    notes
}

/// The headings of the list of times in which records were not kept.
pub(super) const GAP_COLUMNS: [&str; 4] = ["Từ", "Đến", "Số lượt", "Lý do"];

pub(super) fn why(why: Why) -> &'static str {
    match why {
        Why::Refused => "Ổ đĩa không ghi được",
        Why::NoRoom => "Ổ đĩa gần đầy, chỉ ghi lượt truy vấn độc hại",
        Why::Damaged => "Tệp nhật ký bị hỏng (số lượt: số byte hỏng)",
        Why::TooLarge => "Nhật ký vượt dung lượng trước khi được lưu trữ",
        Why::Unshipped => "Nhật ký vượt dung lượng trước khi chuyển tới kho tập trung",
    }
}

/// What holds for all figures.
pub(super) const GENERAL: [&str; 3] = [
    "Ngày tính theo giờ Việt Nam (GMT+7), từ 00:00 ngày đầu đến hết 24:00 ngày cuối của kỳ. “Cuối kỳ” là hết ngày cuối, hoặc lúc lập báo cáo nếu kỳ chưa kết thúc.",
    "Dòng “Toàn tỉnh” tính mỗi máy một lần dù máy được ghi nhận ở nhiều cơ quan, nên có thể nhỏ hơn dòng “Cộng các cơ quan, đơn vị”.",
    "Mỗi hồ sơ theo dõi một máy và một họ mã độc, thuộc cơ quan nơi máy được ghi nhận gần nhất.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_there_write_them() {
        fn check(found: &str, expected: &str) {
            assert_eq!(found, expected);
        }
        check(&number(0), "0");
        check(&number(999), "999");
        check(&number(1000), "1.000");
        check(&number(u64::MAX), "18.446.744.073.709.551.615");
        check(&share(1, 3), "33,3%");
        check(&share(2, 3), "66,7%");
        check(&share(5, 5), "100,0%");
        check(&share(0, 0), "–");
        check(&duration(59), "59 giây");
        check(&duration(3599), "60 phút");
        check(&duration(5400), "1,5 giờ");
        check(&duration(259_200), "3,0 ngày");
        check(&hours(u64::MAX), &hours(u64::MAX));
        check(&time(1_795_478_400_000_000), "07:00 ngày 24/11/2026");
    }

    #[test]
    fn periods_by_their_usual_names() {
        fn check(first: &str, last: &str, expected: &str) {
            let of = Period::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
            assert_eq!(period(of), expected);
        }
        check("2026-11-01", "2026-11-30", "tháng 11 năm 2026");
        check("2027-01-01", "2027-01-31", "tháng 01 năm 2027");
        check("2027-02-01", "2027-02-28", "tháng 02 năm 2027");
        check("2027-03-01", "2027-03-31", "tháng 3 năm 2027");
        check("2026-10-01", "2026-12-31", "quý IV năm 2026");
        check("2026-01-01", "2026-06-30", "6 tháng đầu năm 2026");
        check("2026-01-01", "2026-12-31", "năm 2026");
        check("2026-11-01", "2027-11-30", "từ ngày 01/11/2026 đến hết ngày 30/11/2027");
        check("2026-11-05", "2026-11-05", "ngày 05/11/2026");
    }

    #[test]
    fn strangers_texts_are_plain_before_they_are_shown() {
        assert_eq!(clean("emotet"), "emotet");
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\u{0}\u{ffff}"), "a\u{fffd}[31m\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(clean("Mã độc đào tiền"), "Mã độc đào tiền");
        assert_eq!(clean(&"x".repeat(5000)).len(), LONGEST);
    }
}
