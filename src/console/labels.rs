//! What fields are called on the pages that have them, for whoever is told that one is wrong.

use super::tongue::Tongue;

/// How paths begin, a field, and its label there in both languages; of several the first one that fits.
const LABELS: &[(&str, &str, &str, &str)] = &[
    ("/policy", "name", "Tên miền hoặc địa chỉ", "Name or address"),
    ("/users", "name", "Tên tài khoản", "Account"),
    ("/", "name", "Tên miền", "Name"),
    ("/policy", "client", "Với máy", "For the client"),
    ("/", "client", "Địa chỉ hoặc máy", "Address or machine"),
    ("/", "subjects", "Tên miền, địa chỉ hoặc mạng", "Names, addresses or networks"),
    ("/", "reason", "Lý do", "Why"),
    ("/policy", "kind", "Làm gì", "What it does"),
    ("/", "kind", "Loại", "Kind"),
    ("/", "class", "Loại", "Kind"),
    ("/", "expires", "Hết hạn sau", "Ends after"),
    ("/", "family", "Họ mã độc", "Family"),
    ("/", "agency", "Cơ quan", "Agency"),
    ("/", "officer", "Cán bộ", "Officer"),
    ("/", "role", "Vai trò", "Role"),
    ("/", "right", "Quyền", "Rights"),
    ("/", "label", "Mục đích", "Purpose"),
    ("/", "file", "Tệp", "File"),
    ("/", "version", "Phiên bản", "Version"),
    ("/", "verdict", "Kết luận", "Verdict"),
    ("/", "names", "Tên miền", "Names"),
    ("/", "into", "Gộp vào ca", "Merge into"),
    ("/", "text", "Nội dung", "Text"),
    ("/", "note", "Ghi chú", "Note"),
    ("/", "state", "Trạng thái", "State"),
    ("/", "action", "Xử lý", "Action"),
    ("/", "type", "Loại bản ghi", "Type"),
    ("/", "rcode", "Mã trả lời", "Response code"),
    ("/", "port", "Cổng", "Port"),
    ("/", "via", "Giao thức", "Protocol"),
    ("/log", "since", "Từ lúc", "From"),
    ("/log", "until", "Đến trước lúc", "Before"),
    ("/", "since", "Từ ngày", "From"),
    ("/", "until", "Đến hết ngày", "To the end of"),
    ("/", "from", "Từ ngày", "From"),
    ("/", "to", "Đến hết ngày", "To the end of"),
    ("/", "format", "Định dạng", "Format"),
    ("/", "around", "Quanh lúc", "Around"),
    ("/", "after", "Trang", "Page"),
];

/// What a field is called on the page that a request came from; by its own name where no page shows it.
pub(super) fn label(tongue: Tongue, path: &str, field: &'static str) -> &'static str {
    let found = LABELS.iter().find(|(begin, name, ..)| *name == field && path.starts_with(begin));
    found.map_or(field, |(.., vietnamese, english)| tongue.say(vietnamese, english))
}

#[cfg(test)]
mod tests {
    use super::super::access::Role;
    use super::super::shell;
    use super::super::tests::{Scratch, text, viewer};
    use super::*;

    #[test]
    fn whoever_typed_something_wrong_is_told_where_in_the_words_of_the_page() {
        assert_eq!(label(Tongue::Vietnamese, "/policy/rules", "name"), "Tên miền hoặc địa chỉ");
        assert_eq!(label(Tongue::Vietnamese, "/contacts", "name"), "Tên miền");
        assert_eq!(label(Tongue::English, "/log", "until"), "Before");
        assert_eq!(label(Tongue::English, "/", "no such field"), "no such field");

        let scratch = Scratch::new();
        let reader = viewer(Role::Admin);
        let check = |target: &str, expected: &str| {
            let mut call = scratch.call(Some(reader.clone()), target, &[]);
            call.tongue = Tongue::Vietnamese;
            let page = match scratch.get(&reader, target) {
                Ok(page) => text(page),
                Err(why) => shell::failure(&call, &why).into_string(),
            };
            assert!(page.contains(expected), "{target}: {page}");
        };
        check("/contacts?client=x", "Địa chỉ hoặc máy: không phải địa chỉ IP");
        check("/audit?since=31%2F02%2F2026", "Từ ngày: ngày viết như 26/11/2026");
        check("/log?client=khong-co", "Address or machine: there is no such");
        check("/log?since=26%2F11%2F2026", "www.");
    }
}
