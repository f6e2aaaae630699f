//! What can be put into a letter: single values, lines that come as often as needed, and rows.
//!
//! Names are Vietnamese, since those who edit templates read them.

use std::collections::HashMap;

use super::super::figures::{Counts, Figures, Row, Times};
use super::super::{Letter, Scope, words};

/// What stands where nobody set anything: to be filled in by hand.
const BLANK: &str = "……………";
/// Families that the sentence names.
const NAMED: usize = 5;

/// All values.
pub(super) struct Values {
    single: HashMap<&'static str, String>,
    lines: HashMap<&'static str, Vec<String>>,
    rows: HashMap<&'static str, Vec<HashMap<&'static str, String>>>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'v> {
    /// One value.
    Single(&'v str),
    /// A value a paragraph.
    Lines(&'v [String]),
    /// A column of these rows.
    Row { list: &'static str, column: &'static str },
}

impl Values {
    pub(super) fn of(figures: &Figures, letter: &Letter) -> Self {
        let counts = &figures.province.counts;
        let letter = &from_whom(figures, letter);
        let or_blank = |text: &str| match text.trim() {
            "" => BLANK.to_owned(),
            text => words::clean(text),
        };
        let upper = |text: &str| or_blank(text).to_uppercase();
        let department = or_blank(&letter.department);
        let mut single = HashMap::from([
            ("don_vi", department.clone()),
            ("don_vi_hoa", department.to_uppercase()),
            ("co_quan_chu_quan", upper(&letter.parent)),
            ("dia_danh", or_blank(&letter.place)),
            ("ky_hieu", or_blank(&letter.symbol)),
            ("kinh_gui", or_blank(&letter.addressees.join("; "))),
            ("chuc_vu", upper(&letter.signer_title)),
            ("nguoi_ky", words::clean(&letter.signer)),
            ("ky_bao_cao", words::period(figures.period)),
            ("khoang_ngay", words::days(figures.period)),
            ("tu_ngay", words::date(figures.period.first())),
            ("den_ngay", words::date(figures.period.last())),
            ("lap_luc", words::time(figures.made)),
            ("nam", super::super::period::day_of(figures.made).year().to_string()),
            (
                "so_co_quan",
                words::number(figures.agencies.iter().filter(|row| row.id.is_some()).count() as u64),
            ),
            ("ho_pho_bien", families(&figures.province)),
            ("ty_le_xu_ly", words::share(counts.cleaned, counts.followed())),
            ("y_bang_co_quan", of_table(figures)),
            (
                "pham_vi",
                match figures.scope {
                    Scope::All => "tại các cơ quan, đơn vị thuộc phạm vi quản lý".to_owned(),
                    Scope::Agency(_) => format!("tại {}", words::about(figures)),
                },
            ),
            (
                "dong_tong",
                match figures.scope {
                    Scope::All => words::PROVINCE.to_owned(),
                    Scope::Agency(_) => "Cộng".to_owned(),
                },
            ),
        ]);
        single.extend(of_counts(counts));
        single.extend(clauses(&figures.province));
        let mut lines = HashMap::from([
            ("noi_nhan", recipients(letter)),
            ("ghi_chu", words::lacks(figures)),
            ("bao_ve", Vec::new()),
        ]);
        if let Some(coverage) = counts.coverage.filter(|coverage| coverage.machines > 0) {
            let (machines, protected) = (coverage.machines, coverage.protected);
            let sentence = format!(
                "{}/{} máy (đạt {}) có phần mềm phòng, chống mã độc tập trung",
                words::number(protected),
                words::number(machines),
                words::share(protected, machines)
            );
            lines.insert("bao_ve", vec![sentence]);
        }
        let agencies = |is_told: &dyn Fn(&&Row) -> bool| {
            let rows = (1u64..).zip(figures.agencies.iter().filter(is_told));
            rows.map(|(number, row)| {
                let mut values =
                    HashMap::from([("stt", words::number(number)), ("ten", words::row_name(row))]);
                values.extend(of_counts(&row.counts));
                values
            })
            .collect()
        };
        let families = (1u64..).zip(&figures.province.families).map(|(number, family)| {
            HashMap::from([
                ("stt", words::number(number)),
                ("ten", words::family_name(&family.name)),
                ("loai", words::class(family.class).to_owned()),
                ("so_may", words::number(family.machines)),
                ("so_doc_hai", words::number(family.hits)),
            ])
        });
        let names = (1u64..).zip(&figures.province.names).map(|(number, name)| {
            HashMap::from([
                ("stt", words::number(number)),
                ("ten", words::host_name(&name.name)),
                ("so_doc_hai", words::number(name.hits)),
            ])
        });
        let rows = HashMap::from([
            ("co_quan", agencies(&|_| true)),
            ("co_quan_nhiem", agencies(&|row| row.counts.followed() > 0)),
            ("ho", families.collect()),
            ("ten_mien", names.collect()),
        ]);
        Self { single, lines, rows }
    }

    /// What a name stands for.
    pub(super) fn find(&self, name: &str) -> Option<Field<'_>> {
        if let Some(value) = self.single.get(name) {
            return Some(Field::Single(value));
        }
        if let Some(lines) = self.lines.get(name) {
            return Some(Field::Lines(lines));
        }
        let (list, column) = name.split_once('.')?;
        let list = LISTS.iter().find(|(known, _)| *known == list)?;
        let columns = list.1.iter().copied();
        let mut columns =
            columns.chain(COUNT_COLUMNS.iter().copied().filter(|_| list.0.starts_with("co_quan")));
        let column = columns.find(|known| *known == column)?;
        Some(Field::Row { list: list.0, column })
    }

    /// How many rows a list has.
    pub(super) fn len(&self, list: &str) -> usize {
        self.rows.get(list).map_or(0, Vec::len)
    }

    /// What stands in a row.
    pub(super) fn cell(&self, list: &str, row: usize, column: &str) -> &str {
        let row = self.rows.get(list).and_then(|rows| rows.get(row));
        row.and_then(|row| row.get(column)).map_or("", String::as_str)
    }

    /// Every name that there is.
    pub(super) fn names(&self) -> Vec<String> {
        let plain = self.single.keys().chain(self.lines.keys()).map(|name| (*name).to_owned());
        let columns = LISTS.iter().flat_map(|(list, columns)| {
            let counts = COUNT_COLUMNS.iter().filter(|_| list.starts_with("co_quan"));
            columns.iter().chain(counts).map(move |column| format!("{list}.{column}"))
        });
        let mut names: Vec<String> = plain.chain(columns).collect();
        names.sort_unstable();
        names
    }
}

/// The lists, and their columns beside those of figures.
const LISTS: [(&str, &[&str]); 4] = [
    ("co_quan", &["stt", "ten"]),
    ("co_quan_nhiem", &["stt", "ten"]),
    ("ho", &["stt", "ten", "loai", "so_may", "so_doc_hai"]),
    ("ten_mien", &["stt", "ten", "so_doc_hai"]),
];

/// The columns of figures, which are single values too, of all together; in the order of [`of_counts`].
const COUNT_COLUMNS: [&str; 21] = [
    "so_may_truy_van",
    "so_truy_van",
    "so_doc_hai",
    "so_may_nhiem",
    "so_may_ton",
    "so_may_theo_doi",
    "so_may_thong_bao",
    "so_may_bao_sach",
    "so_may_sach",
    "so_may_con_lai",
    "so_may_tai_nhiem",
    "so_may_lua_dao",
    "so_may_do_quet",
    "so_bao_nham",
    "tg_thong_bao_trung_vi",
    "tg_thong_bao_trung_binh",
    "tg_lam_sach_trung_vi",
    "tg_lam_sach_trung_binh",
    "so_may_doi_chieu",
    "so_may_bao_ve",
    "ty_le_bao_ve",
];

fn of_counts(counts: &Counts) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let numbers = [
        counts.machines,
        counts.queries,
        counts.hits,
        counts.infected,
        counts.carried,
        counts.followed(),
        counts.notified,
        counts.said_clean,
        counts.cleaned,
        counts.remaining,
        counts.repeat,
        counts.phishing,
        counts.scanning,
    ];
    let time = |times: Option<Times>, of: fn(Times) -> u64| {
        times.map_or_else(|| "chưa có số liệu".to_owned(), |times| words::duration(of(times)))
    };
    let covered = |of: &dyn Fn(super::super::Coverage) -> String| {
        counts.coverage.map_or_else(|| "chưa có số liệu".to_owned(), of)
    };
    let others = [
        words::number(counts.false_alarms),
        time(counts.to_notify, |it| it.median),
        time(counts.to_notify, |it| it.mean),
        time(counts.to_clean, |it| it.median),
        time(counts.to_clean, |it| it.mean),
        covered(&|it| words::number(it.machines)),
        covered(&|it| words::number(it.protected)),
        covered(&|it| words::share(it.protected, it.machines)),
    ];
    COUNT_COLUMNS.into_iter().zip(numbers.map(words::number).into_iter().chain(others))
}

/// Who writes to whom: an agency's own report is its letter to the department; who signs it is not known here.
fn from_whom(figures: &Figures, letter: &Letter) -> Letter {
    if figures.scope == Scope::All {
        return letter.clone();
    }
    Letter {
        department: words::about(figures),
        place: letter.place.clone(),
        addressees: Some(letter.department.clone()).filter(|it| !it.trim().is_empty()).into_iter().collect(),
        signer_title: String::new(),
        ..Letter::default()
    }
}

/// What the table by agency has in it.
fn of_table(figures: &Figures) -> String {
    match figures.scope {
        Scope::Agency(_) => format!("Bảng dưới đây nêu số liệu của {}.", words::about(figures)),
        Scope::All if figures.agencies.iter().all(|row| row.counts.followed() == 0) => {
            "Không cơ quan, đơn vị nào có máy phải theo dõi trong kỳ; bảng dưới đây nêu số liệu chung.".to_owned()
        }
        Scope::All => "Bảng dưới đây nêu các cơ quan, đơn vị có máy phải theo dõi; các cơ quan, đơn vị khác không có máy phải theo \
                       dõi trong kỳ."
            .to_owned(),
    }
}

/// Parts of sentences, empty where there is nothing to tell.
fn clauses(row: &Row) -> [(&'static str, String); 4] {
    let counts = &row.counts;
    let times = |what: &str, times: Option<Times>| {
        times.map_or_else(String::new, |it| {
            format!(
                "; {what}: trung vị {}, trung bình {}",
                words::duration(it.median),
                words::duration(it.mean)
            )
        })
    };
    let (named, followed) = (families(row), counts.followed());
    let done = match followed {
        0 => String::new(),
        followed => format!(", đạt {} số máy phải theo dõi", words::share(counts.cleaned, followed)),
    };
    let families =
        if named == NONE { String::new() } else { format!(" Các họ mã độc phổ biến: {named}.") };
    [
        ("y_ho_pho_bien", families),
        ("y_ty_le_xu_ly", done),
        ("y_tg_thong_bao", times("thời gian từ khi phát hiện đến khi thông báo", counts.to_notify)),
        ("y_tg_lam_sach", times("thời gian làm sạch", counts.to_clean)),
    ]
}

/// What stands where no family is.
const NONE: &str = "không có";

/// The families of the most machines, in a sentence; what is no infection is left out.
fn families(row: &Row) -> String {
    let told = row.families.iter().filter(|family| family.class.is_infection() && family.machines > 0);
    let texts: Vec<String> = told
        .take(NAMED)
        .map(|it| format!("{} ({} máy)", words::family_name(&it.name), words::number(it.machines)))
        .collect();
    if texts.is_empty() { NONE.to_owned() } else { texts.join(", ") }
}

/// Who gets it, with the marks that end each line of such a list.
fn recipients(letter: &Letter) -> Vec<String> {
    let last = letter.recipients.len().saturating_sub(1);
    let lines = letter.recipients.iter().enumerate();
    lines.map(|(at, name)| format!("{}{}", words::clean(name), if at == last { '.' } else { ';' })).collect()
}
