//! House rules that no compiler checks: who may import whom, how files open, what never comes in.
//!
//! Each rule is a function from a file's path and text to findings; the walk over the repository
//! and each rule's own test stand below. A rule that is wrong is changed here, in a commit that says why.
#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

use std::fs;
use std::path::Path;

/// What a file breaks, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    message: String,
}

fn finding(line: usize, message: impl Into<String>) -> Finding {
    Finding { line, message: message.into() }
}

type Rule = fn(&str, &str) -> Vec<Finding>;

/// Most lines that a file has.
const MAX_LINES: usize = 800;
/// Most lines of `src/main.rs`: it calls, and decides nothing.
const MAX_MAIN_LINES: usize = 60;

/// Where `unsafe` may stand: the mapped image and the batched socket calls.
const UNSAFE_FILES: [&str; 2] = ["src/image.rs", "src/datagram.rs"];

/// Where a letter may be folded outside `src/name.rs`, and why it is not a name's.
const FOLDING: [(&str, &str); 5] = [
    ("src/console/account/totp.rs", "recovery codes as people type them"),
    ("src/feed/rpz.rs", "a TTL's unit letter in a zone file"),
    ("src/tabular/heading.rs", "the headings of tables"),
    ("src/evidence/store/words.rs", "texts of a column, millions of them, without making names of them"),
    ("src/sinkhole/http/tests.rs", "the field names of an HTTP head"),
];

/// The modules that may import only these of ours.
const ONLY: &[(&str, &[&str])] = &[
    ("cases", &["database", "fetch", "identity", "outlet", "tabular"]),
    ("clock", &[]),
    ("coverage", &["cases", "database", "identity", "mac", "tabular"]),
    (
        "console",
        &[
            "cases",
            "client",
            "clock",
            "coverage",
            "credentials",
            "database",
            "evidence",
            "explain",
            "feed",
            "identity",
            "listener",
            "metrics",
            "name",
            "oidc",
            "policy",
            "report",
            "roster",
            "rules",
            "tabular",
            "wire",
        ],
    ),
    ("credentials", &["name"]),
    ("database", &[]),
    ("datagram", &[]),
    ("mac", &[]),
    ("metrics", &[]),
    ("name", &[]),
    ("client", &[]),
    ("tabular", &[]),
    ("identity", &["database", "mac", "name", "tabular"]),
    ("listener", &["client"]),
    ("wire", &["mac", "name"]),
    ("tsig", &["name", "wire"]),
    ("policy", &["name"]),
    ("explain", &["name", "policy", "rules"]),
    ("feed", &["name", "policy", "tabular"]),
    ("fetch", &["clock", "feed", "name", "tsig", "wire"]),
    ("image", &["name", "policy"]),
    ("roster", &["tabular"]),
    ("rules", &["name", "policy"]),
    ("replay", &["client", "evidence", "name", "policy", "serve"]),
    ("report", &["cases", "client", "evidence", "identity", "mac"]),
    ("publish", &["client", "image", "listener", "name", "policy"]),
    ("resolve", &["datagram", "name", "wire"]),
    ("evidence", &["clock", "database", "mac", "metrics", "name", "wire"]),
    ("oidc", &["fetch"]),
    ("outlet", &["clock", "evidence"]),
    ("sinkhole", &["client", "clock", "evidence", "listener", "name"]),
    ("update", &["clock", "feed", "image", "name", "policy"]),
    (
        "serve",
        &[
            "client",
            "clock",
            "credentials",
            "datagram",
            "evidence",
            "image",
            "listener",
            "name",
            "policy",
            "publish",
            "resolve",
            "tsig",
            "wire",
        ],
    ),
    (
        "config",
        &[
            "cases",
            "client",
            "console",
            "credentials",
            "evidence",
            "feed",
            "fetch",
            "identity",
            "name",
            "oidc",
            "outlet",
            "publish",
            "report",
            "resolve",
            "roster",
            "serve",
            "sinkhole",
            "tsig",
        ],
    ),
];

/// Pairs of a module and one that it must not import.
const NEVER: [(&str, &str); 2] = [("console", "serve"), ("console", "resolve")];

/// Modules that only these may import; `main` is the binary.
const RESERVED: [(&str, &[&str]); 3] =
    [("config", &["daemon", "cli", "demo", "main"]), ("daemon", &["cli", "main"]), ("cli", &["main"])];

#[test]
fn the_house_is_tidy() {
    let mut report = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files(root) {
        // Pictures and gzipped feeds are not text.
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        for rule in rules_for(&path) {
            report.extend(
                rule(&path, &text).into_iter().map(|it| format!("{path}:{}: {}", it.line, it.message)),
            );
        }
    }
    assert!(report.is_empty(), "{} findings:\n{}", report.len(), report.join("\n"));
}

#[test]
fn exceptions_are_still_needed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, why) in FOLDING {
        let text = fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(
            !folding_anywhere(&text).is_empty(),
            "{path} folds nothing any more ({why}): drop it from FOLDING"
        );
    }
}

/// The rules that a file is held to.
fn rules_for(path: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    // This file's own tests spell out what they look for.
    if path == "tests/tidy.rs" {
        return vec![length, head];
    }
    if path.ends_with(".rs") {
        rules.extend([unfinished as Rule, bare_allow, unsafe_code, length]);
    }
    if path.starts_with("src/") && path.ends_with(".rs") {
        rules.extend([head as Rule, imports, folding]);
    }
    if path == "Cargo.toml" {
        rules.push(reasons);
    }
    rules.push(machine_paths);
    rules
}

/// Every file of the repository but what is built or downloaded, relative to its root.
fn files(root: &Path) -> Vec<String> {
    const SKIPPED: [&str; 5] = [".git", "target", "data", "artifacts", "corpus"];
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// STYLE 9: the file's head says what lives here.
fn head(_path: &str, text: &str) -> Vec<Finding> {
    if text.starts_with("//! ") {
        return Vec::new();
    }
    vec![finding(1, "opens without `//!`: say what lives here, and what may not")]
}

/// STYLE 10.
fn length(path: &str, text: &str) -> Vec<Finding> {
    let (max, mend) = match path {
        "src/main.rs" => (MAX_MAIN_LINES, "it only calls: move the rest to `cli` or `daemon`"),
        _ => (MAX_LINES, "split it by idea; tests of more than 200 lines move to `tests.rs`"),
    };
    let count = text.lines().count();
    if count <= max {
        return Vec::new();
    }
    vec![finding(max + 1, format!("{count} lines, more than {max}: {mend}"))]
}

/// STYLE 26, its first half.
fn unfinished(_path: &str, text: &str) -> Vec<Finding> {
    let is_marked = |line: &str| words(line).any(|word| ["TODO", "FIXME", "XXX"].contains(&word));
    lines_where(text, is_marked, "unfinished: mend it, or state the limitation in the module's doc")
}

/// STYLE 26, its second half.
fn bare_allow(_path: &str, text: &str) -> Vec<Finding> {
    let is_bare = |line: &str| {
        let line: String = line.split_whitespace().collect();
        line.contains("#[allow(") || line.contains("#![allow(")
    };
    lines_where(&code(text), is_bare, "a bare allow: write `#[expect(lint, reason = \"…\")]`")
}

/// STYLE 25.
fn unsafe_code(path: &str, text: &str) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&path) {
        return Vec::new();
    }
    let message = format!("unsafe code: it may stand only in {}", UNSAFE_FILES.join(" and "));
    lines_where(&code(text), |line| words(line).any(|word| word == "unsafe"), &message)
}

/// Letters are folded in one place, or two places will fold them in two ways.
fn folding(path: &str, text: &str) -> Vec<Finding> {
    if path == "src/name.rs" || FOLDING.iter().any(|(excepted, _)| *excepted == path) {
        return Vec::new();
    }
    folding_anywhere(text)
}

fn folding_anywhere(text: &str) -> Vec<Finding> {
    const FOLDS: [&str; 3] = ["to_lowercase", "to_ascii_lowercase", "make_ascii_lowercase"];
    let is_fold = |line: &str| words(line).any(|word| FOLDS.contains(&word));
    let message = "folds letters: a name's are folded by `name`; for anything else compare with \
                   `eq_ignore_ascii_case`, or add the file and the reason to FOLDING in tests/tidy.rs";
    lines_where(&code(text), is_fold, message)
}

/// STYLE 35: a dependency says why it is there.
fn reasons(_path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_dependencies = false;
    let mut before = "";
    for (number, line) in (1..).zip(text.lines()) {
        let mut is_entry =
            is_dependencies && line.contains('=') && !line.starts_with(['#', ' ', '\t', ']', '}']);
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap();
            is_dependencies = header.ends_with("dependencies");
            is_entry = header.contains("dependencies.");
        }
        if is_entry && !before.starts_with('#') {
            findings.push(finding(number, "a dependency without its reason: put a comment line above it"));
        }
        before = line;
    }
    findings
}

/// Nothing tells whose machine it was made on, nor needs that machine.
fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let is_tied = |line: &str| {
        ["/home/", "/root/", "/Users/", "/work/", "/tmp/", "C:\\Users"].iter().any(|place| {
            line.match_indices(place).any(|(at, _)| {
                // `a/home/b` and a URL's path are no places on a machine.
                !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || ".-_$})".contains(c))
            })
        })
    };
    // Feeds that stand here for their tests hold what was published.
    if path.starts_with("zones/") || path.starts_with("tests/feeds/") {
        return Vec::new();
    }
    lines_where(
        text,
        is_tied,
        "a path of one machine: take it relative, from the environment, or from tempfile",
    )
}

/// The import directions.
fn imports(path: &str, text: &str) -> Vec<Finding> {
    let module = match path.strip_prefix("src/").unwrap().trim_end_matches(".rs").split('/').next() {
        Some("lib") | None => return Vec::new(),
        Some(module) => module,
    };
    // The binary sees the library from outside.
    let root = if module == "main" { "sachdns" } else { "crate" };
    let mut findings = Vec::new();
    for (line, imported) in imported(&code(text), root) {
        if imported == module {
            continue;
        }
        if let Some((_, only)) = ONLY.iter().find(|(from, _)| *from == module)
            && !only.contains(&&*imported)
        {
            let allowed = if only.is_empty() { "nothing of ours".to_owned() } else { only.join(" and ") };
            findings.push(finding(
                line,
                format!("`{module}` imports `{imported}`, but may only import {allowed}"),
            ));
        } else if NEVER.contains(&(module, &imported)) {
            findings.push(finding(
                line,
                format!(
                    "`{module}` must not know `{imported}`: pass in what it needs from where both are known"
                ),
            ));
        } else if let Some((_, by)) = RESERVED.iter().find(|(reserved, _)| *reserved == imported)
            && !by.contains(&module)
        {
            findings.push(finding(
                line,
                format!("only {} may import `{imported}`: give `{module}` its own options", by.join(", ")),
            ));
        }
    }
    findings
}

/// The first segments behind `root::` with their lines, groups such as `root::{a, b::c}` opened.
fn imported(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let start = format!("{root}::");
    for (at, _) in code.match_indices(&start) {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let line_of = |at: usize| 1 + code[..at].matches('\n').count();
        let from = at + start.len();
        let rest = &code[from..];
        if !rest.starts_with('{') {
            found.extend(words(rest).next().map(|word| (line_of(at), word.to_owned())));
            continue;
        }
        let mut depth = 0;
        let mut is_first = false;
        for (offset, letter) in rest.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && is_first && is_word(letter) {
                let word = words(&rest[offset..]).next().unwrap_or_default();
                found.push((line_of(from + offset), word.to_owned()));
                is_first = false;
            }
            is_first |= depth == 1 && matches!(letter, '{' | ',');
        }
    }
    found
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter| !is_word(letter)).filter(|word| !word.is_empty())
}

fn lines_where(text: &str, is_wrong: impl Fn(&str) -> bool, message: &str) -> Vec<Finding> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| is_wrong(line))
        .map(|(line, _)| finding(line, message))
        .collect()
}

/// The text with its comments, strings and characters blanked; line breaks stay where they are.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let blank = |out: &mut String, skipped: &str| {
        out.extend(skipped.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
    };
    while let Some(letter) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_len(rest)
        } else if !out.ends_with(is_word) && raw_string_len(rest).is_some() {
            raw_string_len(rest).unwrap()
        } else if letter == '"' {
            quoted_len(rest, '"')
        } else if letter == '\'' && is_character(rest) {
            quoted_len(rest, '\'')
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        blank(&mut out, &rest[..len]);
        rest = &rest[len..];
    }
    out
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and the like at the start of `text`.
fn raw_string_len(text: &str) -> Option<usize> {
    let after =
        text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + len)
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = true;
    for (at, letter) in text.char_indices() {
        if is_escaped {
            // The opening quote counts as escaped.
            is_escaped = false;
        } else if letter == '\\' {
            is_escaped = true;
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Whether the apostrophe at the start of `text` opens a character, not a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    match (letters.next(), letters.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(second)) => second == '\'',
        _ => false,
    }
}

mod rules {
    use super::*;

    /// The rule finds something on these lines of the text, and nowhere else.
    #[track_caller]
    fn check(rule: Rule, path: &str, text: &str, expected: &[usize]) {
        let found = rule(path, text);
        let lines: Vec<_> = found.iter().map(|it| it.line).collect();
        assert_eq!(lines, expected, "{path}: {text}\n{found:#?}");
    }

    #[test]
    fn heads() {
        check(head, "src/a.rs", "//! What lives here.\n", &[]);
        check(head, "src/a.rs", "// What lives here.\n", &[1]);
        check(head, "src/a.rs", "use std::fmt;\n//! Too late.\n", &[1]);
        check(head, "src/a.rs", "", &[1]);
    }

    #[test]
    fn lengths() {
        check(length, "src/a.rs", &"x\n".repeat(800), &[]);
        check(length, "src/a.rs", &"x\n".repeat(801), &[801]);
        check(length, "src/main.rs", &"x\n".repeat(60), &[]);
        check(length, "src/main.rs", &"x\n".repeat(61), &[61]);
    }

    #[test]
    fn unfinished_work() {
        check(unfinished, "src/a.rs", "// all done\nlet todo = 1;\n", &[]);
        check(unfinished, "src/a.rs", "ok();\n// TODO: later\n/* FIXME */\n", &[2, 3]);
    }

    #[test]
    fn bare_allows() {
        check(bare_allow, "src/a.rs", "#[expect(dead_code, reason = \"…\")]\n// #[allow(x)]\n", &[]);
        check(
            bare_allow,
            "src/a.rs",
            "#![allow(missing_docs)]\n#[allow(dead_code)]\n# [ allow (x)]\n",
            &[1, 2, 3],
        );
        check(bare_allow, "src/a.rs", "let s = \"#[allow(x)]\";\n", &[]);
    }

    #[test]
    fn unsafe_blocks() {
        check(unsafe_code, "src/a.rs", "// unsafe\n#![deny(unsafe_code)]\nlet s = \"unsafe\";\n", &[]);
        check(unsafe_code, "src/a.rs", "\nlet x = unsafe { f() };\n", &[2]);
        check(unsafe_code, "src/image.rs", "unsafe {}\n", &[]);
    }

    #[test]
    fn folded_letters() {
        check(folding, "src/a.rs", "a.eq_ignore_ascii_case(b);\n// to_lowercase\n", &[]);
        check(folding, "src/a.rs", "a.to_lowercase();\nb.to_ascii_lowercase();\n", &[1, 2]);
        check(folding, "src/a.rs", "a.map(u8::to_ascii_lowercase);\nb.make_ascii_lowercase();\n", &[1, 2]);
        check(folding, "src/name.rs", "a.make_ascii_lowercase();\n", &[]);
    }

    #[test]
    fn dependencies_reasons() {
        let good = "[package]\nname = \"a\"\n[dependencies]\n# Why.\na = \"1\"\n# Why too.\nb = { version = \"1\" }\n";
        check(reasons, "Cargo.toml", good, &[]);
        check(reasons, "Cargo.toml", "[dependencies]\na = \"1\"\n# Why.\nb = \"1\"\nc = \"1\"\n", &[2, 5]);
        check(reasons, "Cargo.toml", "[dev-dependencies]\n\na = \"1\"\n[features]\nx = []\n", &[3]);
        check(reasons, "Cargo.toml", "[dependencies.a]\nversion = \"1\"\n# Why.\n[dependencies.b]\n", &[1]);
        check(reasons, "Cargo.toml", "[target.'cfg(unix)'.dependencies]\na = \"1\"\n", &[2]);
    }

    #[test]
    fn paths_of_one_machine() {
        check(machine_paths, "Makefile", "x:\n\tcat $(HOME)/home/a src/root/b ../tmp/c\n", &[]);
        check(machine_paths, "Makefile", "a = /home/me/x\nb = \"/root/y\"\nc = /tmp/z\n", &[1, 2, 3]);
        check(machine_paths, "src/a.rs", "// see (/work/notes)\n", &[1]);
    }

    #[test]
    fn import_directions() {
        fn allowed(path: &str, text: &str) {
            check(imports, path, text, &[]);
        }
        fn refused(path: &str, text: &str) {
            check(imports, path, text, &[1]);
        }
        refused("src/name.rs", "use crate::policy;");
        allowed("src/name.rs", "use std::fmt; use super::x;");
        allowed("src/policy/decide.rs", "use crate::name::Name; use crate::policy::rule::Rule;");
        refused("src/policy/mod.rs", "use crate::resolve::Upstream;");
        refused("src/policy/mod.rs", "fn f(x: crate::feed::Feed) {}");
        refused("src/resolve/mod.rs", "use crate::policy::decide;");
        refused("src/evidence/store/mod.rs", "use crate::serve::pipeline;");
        refused("src/sinkhole/http.rs", "use crate::serve::pipeline;");
        refused("src/sinkhole/http.rs", "use crate::resolve::cache;");
        refused("src/console/auth.rs", "use crate::resolve::cache;");
        allowed("src/console/auth.rs", "use crate::cases::Case;");
        refused("src/feed/mod.rs", "use crate::evidence::record;");
        allowed("src/feed/mod.rs", "use crate::policy::action::Action;");
        refused("src/wire.rs", "use crate::serve;");
        refused("src/serve/mod.rs", "use crate::config::Server;");
        allowed("src/daemon.rs", "use crate::config::Config;");
        allowed("src/cli/serve.rs", "use crate::daemon; use crate::config;");
        refused("src/config/mod.rs", "use crate::daemon;");
        refused("src/daemon.rs", "use crate::cli;");
        allowed("src/main.rs", "sachdns::cli::main()");
        allowed("src/lib.rs", "pub use crate::config::Config;");
        // However it is spelled.
        refused("src/resolve/mod.rs", "use crate::{name, policy::{decide, rule}};");
        refused("src/resolve/mod.rs", "use crate::{policy};");
        allowed("src/resolve/mod.rs", "use crate::{name::{self, policy}, wire};");
        refused("src/resolve/mod.rs", "pub(crate) use crate::policy as p;");
        check(imports, "src/resolve/mod.rs", "use crate::{\n    name,\n    policy,\n};", &[3]);
        allowed("src/resolve/mod.rs", "// see crate::policy\n/* crate::policy */ let s = \"crate::policy\";");
        allowed("src/resolve/mod.rs", "let s = r#\"crate::policy \"# ; let c = '\"'; // \" crate::policy");
        refused("src/resolve/mod.rs", "let c = '\"'; let l: &'static str = \"\"; use crate::policy;");
    }

    #[test]
    fn code_keeps_its_lines() {
        let text = "a // b\n\"c\nd\" e /* f /* g */ \n h */ 'i' 'j: '\\'' r##\"k\"# \n l\"## m\n";
        let code = code(text);
        assert_eq!(code.lines().count(), text.lines().count());
        let left: Vec<_> = words(&code).collect();
        assert_eq!(left, ["a", "e", "j", "m"]);
    }
}
