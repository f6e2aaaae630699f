//! Every sentence of the landing page, in Vietnamese and in English.
//!
//! Text only: where it stands is the business of `page`. The reader works at a desk and has done
//! nothing wrong: short sentences, no blame, and no claim that the machine is infected, which a
//! request alone does not prove.

/// The page in one language.
pub(super) struct Wording {
    /// Its BCP 47 tag, which is also the name of its part of the page.
    pub(super) language: &'static str,
    /// The other language's tag.
    pub(super) other: &'static str,
    /// What the other language calls itself.
    pub(super) other_name: &'static str,
    pub(super) sender: &'static str,
    pub(super) listed: Message,
    pub(super) unlisted: Message,
    pub(super) facts: Facts,
    /// What to do about a listed name, most urgent first: the gist, then the rest of the sentence.
    pub(super) steps: [(&'static str, &'static str); 6],
    pub(super) mistake: &'static str,
    pub(super) promise: &'static str,
}

/// What happened, and what the part below it is called.
pub(super) struct Message {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) action: &'static str,
}

/// The table's caption, its row heads, and what stands in for an unknown value.
pub(super) struct Facts {
    pub(super) caption: &'static str,
    pub(super) host: &'static str,
    pub(super) time: &'static str,
    /// The `strftime` form of the time.
    pub(super) time_form: &'static str,
    pub(super) family: &'static str,
    pub(super) no_family: &'static str,
    pub(super) feed: &'static str,
    pub(super) client: &'static str,
    pub(super) agency: &'static str,
    pub(super) no_agency: &'static str,
    pub(super) contact: &'static str,
}

pub(super) const VIETNAMESE: Wording = Wording {
    language: "vi",
    other: "en",
    other_name: "English",
    sender: "Cảnh báo an toàn thông tin – Mạng diện rộng của tỉnh",
    listed: Message {
        title: "Đã chặn kết nối đến tên miền độc hại",
        lead: "Máy tính này vừa yêu cầu truy cập một tên miền nằm trong danh sách tên miền độc hại. \
               Kết nối đã được chặn để bảo vệ Anh/Chị và cơ quan. Máy có thể đã nhiễm mã độc mà \
               người dùng không nhận biết được, vì vậy đề nghị Anh/Chị thực hiện các bước dưới đây.",
        action: "Việc cần làm",
    },
    unlisted: Message {
        title: "Đây là trang cảnh báo của mạng diện rộng của tỉnh",
        lead: "Máy tính này vừa kết nối đến địa chỉ của trang cảnh báo. Địa chỉ này được dùng để thay thế \
               các tên miền độc hại đã bị chặn. Tên được yêu cầu hiện không nằm trong danh sách: có thể \
               địa chỉ này được mở trực tiếp, hoặc danh sách vừa được cập nhật.",
        action: "Nếu Anh/Chị tự mở địa chỉ này thì không cần làm gì thêm. Nếu một trang quen thuộc dẫn đến \
                 đây, đề nghị đóng trình duyệt, chờ vài phút rồi mở lại. Nếu vẫn thấy trang này, hãy báo cán \
                 bộ công nghệ thông tin của cơ quan và đọc các thông tin trên đây.",
    },
    facts: Facts {
        caption: "Thông tin để báo cán bộ công nghệ thông tin",
        host: "Tên miền",
        time: "Thời điểm",
        time_form: "%H:%M:%S ngày %d/%m/%Y (UTC%:z)",
        family: "Họ mã độc",
        no_family: "chưa phân loại",
        feed: "Nguồn danh sách",
        client: "Địa chỉ IP của máy",
        agency: "Cơ quan",
        no_agency: "chưa xác định",
        contact: "Liên hệ",
    },
    steps: [
        (
            "Ngắt máy khỏi mạng",
            " nếu không phải chính Anh/Chị vừa truy cập tên miền trên: rút dây mạng hoặc tắt Wi-Fi. \
             Hãy để nguyên trang này, nội dung vẫn đọc được khi đã ngắt mạng.",
        ),
        (
            "Báo cán bộ công nghệ thông tin",
            " của cơ quan và đọc các thông tin trong bảng trên. Nên gọi điện thoại hoặc báo trực tiếp.",
        ),
        (
            "Quét toàn bộ máy",
            " bằng phần mềm phòng, chống mã độc đã cài trên máy (Bkav Endpoint, Viettel Endpoint) và bằng \
             công cụ kiểm tra, bóc gỡ mã độc miễn phí của chiến dịch làm sạch mã độc, do cán bộ công nghệ \
             thông tin cung cấp.",
        ),
        (
            "Đổi mật khẩu trên một máy khác đã bảo đảm an toàn",
            " nếu Anh/Chị đã nhập mật khẩu vào trang vừa mở hoặc trên máy này trong thời gian gần đây.",
        ),
        (
            "Cập nhật hệ điều hành và phần mềm",
            " lên phiên bản mới nhất khi máy đã sạch và được nối mạng trở lại.",
        ),
        ("Không sử dụng phần mềm bẻ khóa", " (crack) hoặc không rõ nguồn gốc; gỡ bỏ nếu trên máy đang có."),
    ],
    mistake: "Nếu tên miền này phục vụ công việc và có thể bị đưa nhầm vào danh sách, đề nghị Anh/Chị báo cán \
              bộ công nghệ thông tin để được xem xét.",
    promise: "Trang này không bao giờ hỏi mật khẩu và không yêu cầu tải hay cài đặt bất cứ phần mềm nào.",
};

pub(super) const ENGLISH: Wording = Wording {
    language: "en",
    other: "vi",
    other_name: "Tiếng Việt",
    sender: "Information security notice – The province’s wide area network",
    listed: Message {
        title: "A connection to a malicious name was blocked",
        lead: "This computer has just asked for a name that is on the list of malicious names. The connection \
               was blocked to protect you and your agency. The computer may be infected without any visible \
               sign, so please follow the steps below.",
        action: "What to do",
    },
    unlisted: Message {
        title: "This is the warning page of the province’s wide area network",
        lead: "This computer has just connected to the address of the warning page. The address stands in for \
               malicious names that are blocked. The name asked for is not on the list now: the address may \
               have been opened directly, or the list has just been updated.",
        action: "If you opened this address yourself, there is nothing to do. If a page that you know led you \
                 here, close the browser, wait a few minutes and open it again. If you still see this page, \
                 tell your agency’s IT officer and read out the facts above.",
    },
    facts: Facts {
        caption: "Facts for the IT officer",
        host: "Name",
        time: "Time",
        time_form: "%H:%M:%S, %-d %B %Y (UTC%:z)",
        family: "Family",
        no_family: "unclassified",
        feed: "Listed by",
        client: "IP address",
        agency: "Agency",
        no_agency: "not known",
        contact: "Contact",
    },
    steps: [
        (
            "Disconnect the computer from the network",
            " if it was not you who opened the name above: unplug the cable or turn off Wi-Fi. Leave this \
             page open; it can still be read when disconnected.",
        ),
        (
            "Tell your agency’s IT officer",
            " and read out the facts in the table above, by telephone or in person.",
        ),
        (
            "Scan the whole computer",
            " with the endpoint protection on it (Bkav Endpoint, Viettel Endpoint) and with the free malware \
             removal tools of the cleaning campaign, which the IT officer provides.",
        ),
        (
            "Change your passwords from another, clean computer",
            " if you typed any into the page you opened, or on this computer recently.",
        ),
        (
            "Update the operating system and programs",
            " to their latest versions once the computer is clean and back on the network.",
        ),
        ("Do not use cracked software", " or software of unknown origin; remove it if there is any."),
    ],
    mistake: "If you need this name for your work and it may be listed by mistake, please tell the IT officer, \
              who will have it reviewed.",
    promise: "This page never asks for a password and never asks you to download or install anything.",
};
