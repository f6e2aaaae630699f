//! Fields of a request: of its query, of a form, and of cookies; as they came, decoded and no more.

/// Decoded fields in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded` (URL standard, section 5.1).
    pub fn read(octets: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(octets).into_owned().collect())
    }

    /// These fields.
    pub fn of(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// The first field of this name, trimmed; `None` where it is missing or empty.
    pub fn find(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The first field of this name as it came: a password may begin or end with a space.
    pub fn verbatim(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// All fields of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The fields as a query with `name` set to `value`, or taken out.
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let kept = self.iter().filter(|(key, value)| *key != name && !value.is_empty());
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept);
        if let Some(value) = value {
            query.append_pair(name, value);
        }
        query.finish()
    }
}

/// The value of a cookie in such a field (RFC 6265, section 5.4).
pub fn cookie<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    field.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_put_back() {
        let fields = Fields::read(b"name=%C4%90+a%26b&agency=x&empty=+&agency=y");
        assert_eq!(fields.find("name"), Some("Đ a&b"));
        assert_eq!(fields.find("empty"), None);
        assert_eq!(fields.all("agency").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(fields.with("agency", Some("z")), "name=%C4%90+a%26b&empty=+&agency=z");
        assert_eq!(cookie("a=1; session=x=y ;session=z", "session"), Some("x=y"));
        assert_eq!(
            [cookie("session", "session"), cookie("", ""), cookie("xsession=1", "session")],
            [None; 3]
        );
    }
}
