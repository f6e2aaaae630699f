//! `sachdns ca`

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{CliError, ConfigArg};
use crate::clock::{self, local_time};
use crate::sinkhole::authority::{self, Export, Facts, Wish};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the sinkhole's own certificate authority; a running server uses it at once. See docs/ca.md before.
    Init(Init),
    /// Write its certificate, for machines that are to trust it.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    config: ConfigArg,
    /// What it calls itself, at most 55 characters; digits of its key follow.
    #[arg(long, value_name = "TEXT", default_value = "SachDNS sinkhole CA")]
    name: String,
    /// How many years it is valid.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=25))]
    years: u16,
    /// Put the one that is there aside. Machines must then be told to trust the new one.
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Form::Pem)]
    format: Form,
    /// Write it there; to standard output otherwise, or where it is `-`.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text, for Linux and browsers.
    Pem,
    /// Octets, for Windows (.cer) and Android.
    Der,
    /// What people compare, and until when it is valid.
    Fingerprint,
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Init(arguments) => init(arguments),
        Command::Export(arguments) => export(arguments),
    }
}

fn init(arguments: &Init) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let (folder, now) = (authority::folder(&config.data_dir), clock::now());
    let wish = Wish {
        name: arguments.name.clone(),
        years: arguments.years,
        permitted: config.watch.permitted.clone(),
        excluded: config.watch.excluded.clone(),
    };
    if arguments.replace && folder.exists() {
        let aside = authority::put_aside(&folder, now)?;
        eprintln!("note: the old one is in {}; remove it once no machine needs it", aside.display());
    }
    authority::create(&folder, &wish, now)?;
    let mut out = io::stdout().lock();
    describe(&mut out, &Export::read(&folder)?)?;
    writeln!(out, "key: {}; whoever has it can pass for any site", folder.join("ca.key").display())?;
    if config.watch.ports.https.is_empty() {
        eprintln!("note: sinkhole.https_listen is empty: set it, and start the server again");
    }
    Ok(())
}

fn export(arguments: &ExportArgs) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let export = Export::read(&authority::folder(&config.data_dir))?;
    let mut text = Vec::new();
    let octets = match arguments.format {
        Form::Pem => export.pem.as_bytes(),
        Form::Der => &export.der,
        Form::Fingerprint => {
            describe(&mut text, &export)?;
            &text
        }
    };
    match arguments.output.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => {
            let written = File::create(path).and_then(|mut file| file.write_all(octets));
            written.map_err(|source| CliError::Open { path: path.to_owned(), source })?;
        }
        None if arguments.format == Form::Der && arguments.output.is_none() && io::stdout().is_terminal() => {
            return Err(CliError::Binary { what: "a certificate in DER" });
        }
        None => io::stdout().lock().write_all(octets)?,
    }
    if arguments.format != Form::Fingerprint {
        eprintln!("SHA-256 {}", export.sha256());
    }
    Ok(())
}

fn describe(out: &mut impl Write, export: &Export) -> io::Result<()> {
    let Facts { name, from, until, permitted, excluded } = &export.facts;
    writeln!(out, "name: {name}")?;
    writeln!(out, "valid: {} to {}", local_time(*from), local_time(*until))?;
    if !permitted.is_empty() {
        writeln!(out, "signs only for: {}", permitted.join(", "))?;
    }
    if !excluded.is_empty() {
        writeln!(out, "never signs for: {}", excluded.join(", "))?;
    }
    writeln!(out, "SHA-256: {}", export.sha256())?;
    writeln!(out, "SHA-1 (Windows: thumbprint): {}", export.sha1())
}
