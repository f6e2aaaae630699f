//! What people at machines say against cases, and nobody has decided about.

use super::desk::DeskError;
use super::{Case, Desk};

impl Desk {
    /// Open cases of which somebody at the machine said that the name is listed by mistake, and no analyst what it is; those seen last
    /// first, of an agency or of all.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn doubted(&self, agency: Option<&str>, most: u32) -> Result<Vec<Case>, DeskError> {
        self.ask(|reader| super::store::doubted(reader, agency, most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Class, Evidence, Options, Sighting, Subject, Verdict};
    use super::*;

    #[test]
    fn doubts_wait_until_somebody_judges() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path(), Options::default()).unwrap();
        let client = "10.0.0.1".parse().unwrap();
        let sighting = Sighting {
            time: 1,
            client,
            machine: Subject::Address(client),
            host: None,
            agency: Some("a".to_owned()),
            family: String::new(),
            class: Class::Unknown,
            name: "c2.example".to_owned(),
            evidence: Evidence::Query,
            count: 1,
            officer: None,
        };
        desk.sighting(&sighting, 1).unwrap();
        let id = desk.list(&super::super::CaseFilter::default()).unwrap()[0].id;
        let doubted = |agency| desk.doubted(agency, 10).unwrap().len();
        assert_eq!(doubted(None), 0);
        desk.said_wrong(id, "", &Actor::Visitor(client), 2).unwrap();
        assert_eq!([doubted(None), doubted(Some("a")), doubted(Some("b"))], [1, 1, 0]);
        desk.verdict(id, Verdict::Confirmed, &[], "seen", &Actor::Person("An".to_owned()), 3).unwrap();
        assert_eq!(doubted(None), 0);
    }
}
