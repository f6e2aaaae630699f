//! Headings, compared without regard to case, marks on letters and punctuation.
//!
//! Which headings there are is for whoever reads a table.

/// The text in lower case without marks on its letters, with one blank where something else than a
/// letter or digit stands: `Địa chỉ IP` and `dia_chi-ip` are one heading, composed or not.
pub fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    for char in text.chars().flat_map(char::to_lowercase) {
        match base(char) {
            Some(char) => bare.push(char),
            // A mark of its own belongs to the letter before it.
            None if ('\u{300}'..='\u{36f}').contains(&char) => {}
            None if bare.is_empty() || bare.ends_with(' ') => {}
            None => bare.push(' '),
        }
    }
    bare.truncate(bare.trim_end().len());
    bare
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
