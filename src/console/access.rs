//! Who may do what: roles, rights, and whose rows a viewer sees. The one place for it.
//!
//! Pure. Which right a request needs stands in `super::routes`; that it is asked for, in [`super::server`].

use std::sync::Arc;

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the service: everything.
    Admin,
    /// Of the province's operations centre.
    Analyst,
    /// Looks after the machines of one agency, and sees that agency only.
    Officer,
    /// Sees the province, and changes nothing.
    Reader,
}

/// Every role, with its word in the database, in commands and in exports.
pub const ROLES: [(&str, Role); 4] = [
    ("admin", Role::Admin),
    ("analyst", Role::Analyst),
    ("officer", Role::Officer),
    ("reader", Role::Reader),
];

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// To see what is of one's own scope: queries, hits, machines, cases.
    See,
    /// To see what is of the province: feeds, rules, hunts, agencies side by side.
    SeeProvince,
    /// To take cases through: notes, who was told, what somebody says.
    Work,
    /// To say what a case is, to close, reopen and merge.
    Judge,
    /// To block and to let pass, to approve and reject versions of feeds, to hunt.
    Rule,
    /// To read who looked and who changed what.
    Audit,
    /// Accounts, imports, settings.
    Manage,
    /// To read how the server does, in figures.
    Measure,
}

/// Every right.
pub const RIGHTS: [Right; 8] = [
    Right::See,
    Right::SeeProvince,
    Right::Work,
    Right::Judge,
    Right::Rule,
    Right::Audit,
    Right::Manage,
    Right::Measure,
];

impl Role {
    /// Whether this role has that right.
    pub fn may(self, right: Right) -> bool {
        use Right::{Audit, Manage, See, SeeProvince, Work};
        match self {
            Self::Admin => true,
            Self::Analyst => !matches!(right, Audit | Manage),
            Self::Officer => matches!(right, See | Work),
            Self::Reader => matches!(right, See | SeeProvince),
        }
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        ROLES.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }
}

/// Why a text is no role.
#[derive(Debug, thiserror::Error)]
#[error("no role; admin, analyst, officer and reader are")]
pub struct RoleError;

impl std::str::FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        ROLES.iter().find(|(word, _)| *word == text).map(|(_, role)| *role).ok_or(RoleError)
    }
}

/// Whose rows somebody sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everybody's.
    Province,
    /// Those of the agency with this id.
    Agency(Arc<str>),
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The account's name, as the audit records it.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Whose rows it sees.
    pub scope: Scope,
}

impl Viewer {
    /// Whether this one has that right.
    pub fn may(&self, right: Right) -> bool {
        self.role.may(right)
    }

    /// The only agency that this one sees, if there is one.
    pub fn agency(&self) -> Option<&str> {
        match &self.scope {
            Scope::Province => None,
            Scope::Agency(id) => Some(id),
        }
    }

    /// Whether rows of this agency (`None`: of no known agency) are this one's to see.
    pub fn sees(&self, agency: Option<&str>) -> bool {
        match &self.scope {
            Scope::Province => true,
            Scope::Agency(id) => agency == Some(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_officer_sees_one_agency() {
        let scope = Scope::Agency("so-tttt".into());
        let officer = Viewer { name: "an".to_owned(), role: Role::Officer, scope };
        assert!(officer.sees(Some("so-tttt")));
        assert!(!officer.sees(Some("so-yte")) && !officer.sees(None));
        let rights: Vec<_> = RIGHTS.into_iter().filter(|right| officer.may(*right)).collect();
        assert_eq!(rights, [Right::See, Right::Work]);
    }
}
