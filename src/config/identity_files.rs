//! The PEM files that TLS to a receiver of syslog is set up with: an outlet's, or that of cases.
//!
//! They are read here, so that a missing one is told at once.

use std::path::PathBuf;

use super::faults::Problem;
use super::reader::{Reader, Table, parsed};
use crate::outlet::{Identity, IdentityError, Own};

/// What the settings are called, each with its table.
pub(super) struct Settings {
    /// The authorities of the receiver's certificate.
    pub(super) ca: &'static str,
    /// What a receiver is shown that asks who this server is …
    pub(super) certificate: &'static str,
    /// … and its key.
    pub(super) key: &'static str,
    /// The receiver itself, and what is written there.
    pub(super) to: &'static str,
    pub(super) expected: &'static str,
    /// A certificate and a key, as they are written.
    pub(super) examples: [&'static str; 2],
}

/// The files that TLS is set up with, and the lines that name them.
pub(super) struct Files {
    settings: &'static Settings,
    ca: (usize, Option<PathBuf>),
    certificate: (usize, Option<PathBuf>),
    key: (usize, Option<PathBuf>),
}

impl Files {
    pub(super) fn take<'a>(
        settings: &'static Settings,
        reader: &mut Reader<'a>,
        table: &mut Table<'a>,
    ) -> Self {
        let mut file = |setting: &'static str| {
            let key = setting.rsplit('.').next().unwrap_or(setting);
            let read = parsed("the path of a PEM file, or \"\" for none", |text| {
                let path = Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty());
                Ok::<_, std::convert::Infallible>(path)
            });
            (table.line_of(key), reader.take(table, key, None, read))
        };
        let Settings { ca, certificate, key, .. } = settings;
        Self { settings, ca: file(ca), certificate: file(certificate), key: file(key) }
    }

    /// The line of one of them; `None` for another setting.
    pub(super) fn line_of(&self, setting: &str) -> Option<usize> {
        let Settings { ca, certificate, key, .. } = self.settings;
        let lines = [(ca, self.ca.0), (certificate, self.certificate.0), (key, self.key.0)];
        lines.into_iter().find(|(of, _)| **of == setting).map(|(_, line)| line)
    }

    /// Who must be there; or which setting is wrong, and what with it.
    pub(super) fn identity(&self, name: &str) -> Result<Identity, (&'static str, Problem)> {
        let read = |setting, path: &Option<PathBuf>| {
            let read = path.as_deref().map(super::upstreams::read_certificates).transpose();
            read.map_err(|problem| (setting, problem))
        };
        let authorities = read(self.settings.ca, &self.ca.1)?;
        let certificate = read(self.settings.certificate, &self.certificate.1)?;
        let own = match (certificate, read(self.settings.key, &self.key.1)?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(Own::from_pem(&certificate, &key).map_err(|error| self.fault(name, &error))?)
            }
            (Some(_), None) => {
                return Err((self.settings.key, Problem::Missing(self.settings.examples[1])));
            }
            (None, Some(_)) => {
                return Err((self.settings.certificate, Problem::Missing(self.settings.examples[0])));
            }
        };
        Identity::new(name, authorities.as_deref(), own).map_err(|error| match (&error, &self.ca.1) {
            (IdentityError::Pem(_) | IdentityError::NoRoots, Some(path)) => {
                (self.settings.ca, Problem::File { path: path.clone(), why: error.to_string() })
            }
            _ => self.fault(name, &error),
        })
    }

    fn fault(&self, name: &str, error: &IdentityError) -> (&'static str, Problem) {
        let (setting, path) = match error {
            IdentityError::Key => (self.settings.key, &self.key.1),
            IdentityError::Pem(_) | IdentityError::Own(_) => (self.settings.certificate, &self.certificate.1),
            IdentityError::Name(_) | IdentityError::NoRoots | IdentityError::Tls(_) => {
                (self.settings.to, &None)
            }
        };
        let problem = match path {
            Some(path) => Problem::File { path: path.clone(), why: error.to_string() },
            None => Problem::Value {
                got: name.to_owned(),
                why: error.to_string(),
                expected: self.settings.expected,
            },
        };
        (setting, problem)
    }
}
