//! Headings, compared without regard to case, marks on letters and punctuation; other short texts of people without regard to
//! case and marks.
//!
//! Which headings there are is for whoever reads a table.

/// No heading has more octets.
const LONGEST: usize = 100;

/// The text in lower case without marks on its letters, with one blank where something else than a
/// letter or digit stands: `Địa chỉ IP` and `dia_chi-ip` are one heading, composed or not.
pub fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    for char in text.chars().flat_map(char::to_lowercase) {
        match base(char) {
            Some(char) => bare.push(char),
            // A mark of its own belongs to the letter before it.
            None if is_mark(char) => {}
            None if bare.is_empty() || bare.ends_with(' ') => {}
            None => bare.push(' '),
        }
    }
    bare.truncate(bare.trim_end().len());
    bare
}

/// The text in lower case without marks on its letters, and all else as it stands: `LỪA ĐẢO (c2)` is `lua dao (c2)`, composed or
/// not.
pub fn folded(text: &str) -> String {
    let letters = text.chars().flat_map(char::to_lowercase);
    letters.filter(|char| !is_mark(*char)).map(|char| base(char).unwrap_or(char)).collect()
}

/// What a heading stands for, by the words for each: those it is, or else the longest of several words that it begins with, as in
/// `Tên máy (hostname)`. One word alone is too little of a beginning, and a paragraph above a table is no heading. Words stand as [`bare`] makes them.
pub fn role<R: Copy>(headings: &[(R, &[&str])], heading: &str) -> Option<R> {
    if heading.len() > LONGEST {
        return None;
    }
    let heading = bare(heading);
    if let Some((role, _)) = headings.iter().find(|(_, words)| words.contains(&heading.as_str())) {
        return Some(*role);
    }
    let starts = |word: &str| heading.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '));
    let fits = headings.iter().flat_map(|(role, words)| words.iter().map(move |word| (*role, *word)));
    let fits = fits.filter(|(_, word)| word.contains(' ') && starts(word));
    fits.max_by_key(|(_, word)| word.len()).map(|(role, _)| role)
}

/// Whether it is a mark that stands behind its letter.
fn is_mark(char: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&char)
}

fn base(char: char) -> Option<char> {
    Some(match char {
        'à'..='å' | 'ā'..='ą' | 'ạ'..='ặ' => 'a',
        'è'..='ë' | 'ẹ'..='ệ' => 'e',
        'ì'..='ï' | 'ĩ' | 'ỉ'..='ị' => 'i',
        'ò'..='ö' | 'ơ' | 'ọ'..='ợ' => 'o',
        'ù'..='ü' | 'ũ' | 'ư' | 'ụ'..='ự' => 'u',
        'ý' | 'ỳ'..='ỹ' => 'y',
        'đ' => 'd',
        '&' => '&',
        char if char.is_alphanumeric() => char,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_marks_do_not_count() {
        fn check(text: &str, expected: &str) {
            assert_eq!(folded(text), expected, "{text:?}");
        }
        check("LỪA ĐẢO (C2)*", "lua dao (c2)*");
        check("Lừa Đảo", "lua dao");
        check("Lu\u{31b}\u{300}a Đa\u{309}o", "lua dao");
        check("Win32/Emotet.A!ml", "win32/emotet.a!ml");
        check("", "");
    }
}
