//! What the gate, the disk and publishers say of feeds, in Vietnamese where it is one of what they usually say.
//!
//! They write English, as the log has it; what is not known here is shown as it was written.

use std::borrow::Cow;

use super::super::tongue::Tongue;

/// What came is no list: how the gate's reason begins.
const NO_LISTS: [(&str, &str); 5] = [
    ("this file is binary", "tệp nhị phân, không phải danh sách"),
    ("this file is UTF-16", "tệp ở dạng UTF-16; hãy lưu lại dạng UTF-8"),
    ("this file is a web page", "nhận được một trang web hoặc XML, không phải danh sách"),
    ("this file is no XLSX", "tệp không phải bảng tính XLSX"),
    ("this file is no JSON", "tệp không phải JSON"),
];

/// Why a feed could not be fetched, by words of it; the first that is met.
const FETCHING: [(&str, &str); 21] = [
    ("its address cannot be looked up", "không tra được địa chỉ của nơi phát hành; hãy kiểm tra tên"),
    ("its certificate is refused", "chứng thư của nơi phát hành không được chấp nhận"),
    ("no TLS connection", "không thiết lập được kết nối TLS"),
    ("no connection", "không kết nối được tới nơi phát hành"),
    ("the proxy ", "máy chủ proxy từ chối"),
    ("waited ", "nơi phát hành không trả lời kịp"),
    ("it came too slowly", "tải quá chậm nên đã dừng"),
    ("not all of it came within", "không tải hết trong thời gian cho phép (timeout)"),
    ("not all of the zone came within", "không tải hết trong thời gian cho phép (timeout)"),
    ("redirects, the last to", "bị chuyển hướng quá nhiều lần"),
    ("it is redirected", "bị chuyển hướng tới nơi không được phép"),
    ("which nobody asked for", "máy chủ gửi dạng nén không ai yêu cầu"),
    ("it was cut", "bị cắt giữa chừng"),
    ("the transfer was cut", "bị cắt giữa chừng"),
    ("larger than max_size", "lớn hơn giới hạn max_size"),
    ("is not HTTP", "nơi phát hành không dùng HTTP"),
    ("it cannot be written", "không ghi được vào ổ đĩa"),
    ("the primary has been silent", "máy chủ zone không trả lời"),
    ("is no transfer of the zone", "máy chủ zone gửi sai dạng"),
    ("the transfer makes no zone", "nội dung nhận được không thành một zone"),
    ("another process is fetching it", "một tiến trình khác đang tải"),
];

/// Why the gate refused, in the viewer's language; what is not known is shown as it was written.
pub(in crate::console) fn gate(tongue: Tongue, reason: &str) -> String {
    if tongue == Tongue::English {
        return reason.to_owned();
    }
    translated(reason).unwrap_or_else(|| reason.to_owned())
}

/// A reason of the gate in Vietnamese. The words are [`crate::feed::gate::Reason`]'s; a test holds both together.
fn translated(reason: &str) -> Option<String> {
    let what = |word: &str| match word {
        "names" => "tên miền",
        "addresses" => "địa chỉ",
        _ => "chỉ báo",
    };
    if let Some((_, vietnamese)) = NO_LISTS.iter().find(|(words, _)| reason.starts_with(words)) {
        return Some((*vietnamese).to_owned());
    }
    if let Some(before) = reason.strip_prefix("it lists nothing, after ") {
        let before = before.strip_suffix(" indicators")?;
        return Some(format!("danh sách rỗng, trong khi bản trước có {before} chỉ báo"));
    }
    if let Some(line) = reason.strip_prefix("nothing in it could be read (line ") {
        let line = line.strip_suffix("); is the feed's format right?")?;
        return Some(format!("không đọc được dòng nào (dòng {line}); định dạng của nguồn có đúng không?"));
    }
    if let Some((count, names)) = reason.split_once(" of its names would take this server's own: ") {
        return Some(format!("{count} tên lấn vào tên của chính máy chủ này: {names}"));
    }
    if let Some((count, rest)) =
        reason.split_once(" of its names are protected, more than gate.max_set_aside = ")
    {
        let (most, names) = rest.split_once(": ")?;
        return Some(format!("{count} tên được bảo vệ, nhiều hơn mức cho phép bỏ ra ({most}): {names}"));
    }
    let (now, rest) = reason.split_once(' ')?;
    let (word, rest) = rest.split_once(" after ")?;
    let (before, rest) = rest.split_once(": ")?;
    if let Some(bound) = rest.strip_prefix("it lost more than gate.max_shrink = ") {
        let bound = bound.strip_suffix(" allows")?;
        return Some(format!(
            "còn {now} {} so với {before} ở bản trước: giảm quá mức cho phép ({bound})",
            what(word)
        ));
    }
    let bound = rest.strip_prefix("it grew past gate.max_growth = ")?;
    Some(format!("{now} {} so với {before} ở bản trước: tăng quá mức cho phép ({bound} lần)", what(word)))
}

/// Why a feed could not be fetched.
pub(in crate::console) fn fetch(tongue: Tongue, why: &str) -> Cow<'_, str> {
    if tongue == Tongue::English {
        return why.into();
    }
    for who in ["the server answers ", "the primary answers "] {
        if let Some((_, status)) = why.split_once(who) {
            return format!("máy chủ trả lời {status}").into();
        }
    }
    FETCHING.iter().find(|(words, _)| why.contains(words)).map_or(why.into(), |(_, told)| (*told).into())
}

/// Why a feed's file cannot be read: its path, and what the system says.
pub(in crate::console) fn file(tongue: Tongue, why: &str) -> Cow<'_, str> {
    if tongue == Tongue::English {
        return why.into();
    }
    let Some((path, said)) = why.rsplit_once(": ") else { return why.into() };
    let told = match said {
        _ if said.starts_with("No such file") => "không có tệp này",
        _ if said.starts_with("Permission denied") => "không có quyền đọc",
        "not a file" => "không phải là tệp",
        _ => return why.into(),
    };
    format!("{path}: {told}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::gate::Reason;

    #[test]
    fn reasons_of_the_gate_are_told_in_vietnamese() {
        let check = |reason: Reason, expected: &str| {
            let told = gate(Tongue::Vietnamese, &reason.to_string());
            assert_eq!(told, expected);
            assert_eq!(gate(Tongue::English, &reason.to_string()), reason.to_string());
        };
        check(Reason::Empty { before: 7 }, "danh sách rỗng, trong khi bản trước có 7 chỉ báo");
        check(
            Reason::Nothing("3: what".to_owned()),
            "không đọc được dòng nào (dòng 3: what); định dạng của nguồn có đúng không?",
        );
        check(
            Reason::Shrunk { what: "names", before: 900, now: 10, max_shrink: 0.5 },
            "còn 10 tên miền so với 900 ở bản trước: giảm quá mức cho phép (0.5)",
        );
        check(
            Reason::Grown { what: "indicators", before: 100, now: 900, max_growth: 4.0 },
            "900 chỉ báo so với 100 ở bản trước: tăng quá mức cho phép (4 lần)",
        );
        for reason in [
            Reason::Own { names: Default::default() },
            Reason::Protected { names: Default::default(), max_set_aside: 100 },
        ] {
            assert!(translated(&reason.to_string()).is_some(), "{reason}");
        }
        assert_eq!(gate(Tongue::Vietnamese, "anything else"), "anything else");
    }

    #[test]
    fn words_are_those_of_who_says_them() {
        let fetching = [
            include_str!("../../fetch/draft.rs"),
            include_str!("../../fetch/http.rs"),
            include_str!("../../fetch/misp.rs"),
            include_str!("../../fetch/run.rs"),
            include_str!("../../fetch/taxii.rs"),
            include_str!("../../fetch/transfer.rs"),
        ]
        .concat();
        for (words, _) in FETCHING {
            assert!(fetching.contains(words), "{words}");
        }
        let faults = include_str!("../../feed/fault.rs");
        for (words, _) in NO_LISTS {
            assert!(faults.contains(words), "{words}");
        }
        let said = |why: &str| fetch(Tongue::Vietnamese, why).into_owned();
        assert_eq!(said("192.0.2.1:443: no connection: refused"), "không kết nối được tới nơi phát hành");
        assert_eq!(said("the server answers 404 Not Found"), "máy chủ trả lời 404 Not Found");
        assert_eq!(said("something new"), "something new");
        let path = "/srv/a.txt: No such file or directory (os error 2)";
        assert_eq!(file(Tongue::Vietnamese, path), "/srv/a.txt: không có tệp này");
        assert_eq!(file(Tongue::English, path), path);
    }
}
