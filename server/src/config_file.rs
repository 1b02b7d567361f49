//! The configuration file: flags of `serve` by another name, so that both mean the same and are checked by the same rules.
//!
//! ```toml
//! engine = "epoll"
//! echo = ["0.0.0.0:7000-7015"]
//! max_connections = 500000
//! idle_timeout = "10m"
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::{Spanned, Value};

/// A file that is larger is none of ours.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Flags that make no sense in a file.
const NOT_IN_FILES: [&str; 3] = ["config", "print_config", "help"];

/// A name is suggested when it is at least so alike, as `strsim` counts: one of four letters may be wrong.
const ALIKE_MIN: f64 = 0.75;

/// What a file says, as flags of `serve`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFlags {
    /// The flags, in the order of their names.
    pub flags: Vec<OsString>,
    /// The line of each, by the name of the flag's field.
    pub lines: BTreeMap<String, usize>,
}

/// Reads a file. What the command line says, too, is left out: flags win.
///
/// # Errors
/// One line with the place, what is wrong and how to mend it.
pub fn read(path: &Path, serve: &Command, given: &ArgMatches) -> Result<FileFlags, String> {
    let name = path.display().to_string();
    let error = |error: std::io::Error| format!("{name}: {error}");
    let size = std::fs::metadata(path).map_err(error)?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{name}: {size} bytes are no configuration; at most {FILE_BYTES_MAX} are read"));
    }
    let text = std::fs::read_to_string(path).map_err(error)?;
    parse(&text, serve, given).map_err(|(line, why)| format!("{name}:{line}: {why}"))
}

/// The text of a file, and where in it something is wrong.
fn parse(text: &str, serve: &Command, given: &ArgMatches) -> Result<FileFlags, (usize, String)> {
    let line = |span: Range<usize>| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count();
    let table: BTreeMap<Spanned<String>, Spanned<Value>> = toml::from_str(text).map_err(|error| {
        (error.span().map_or(1, line), error.message().lines().next().unwrap_or("not TOML").to_owned())
    })?;
    let mut file = FileFlags::default();
    for (key, value) in table {
        let at = line(key.span());
        let key = key.into_inner();
        let argument = serve.get_arguments().find(|argument| argument.get_id() == key.as_str());
        let Some(flag) =
            argument.filter(|_| !NOT_IN_FILES.contains(&key.as_str())).and_then(|it| it.get_long())
        else {
            return Err((at, unknown(&key, serve)));
        };
        let flags = flags(flag, &key, value.into_inner()).map_err(|why| (at, why))?;
        check(serve, &flags).map_err(|why| (at, why))?;
        if given.value_source(&key) != Some(ValueSource::CommandLine) {
            file.flags.extend(flags);
            file.lines.insert(key, at);
        }
    }
    Ok(file)
}

fn unknown(key: &str, serve: &Command) -> String {
    let names = serve
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .map(|argument| argument.get_id().as_str());
    let nearest = names
        .filter(|name| !NOT_IN_FILES.contains(name))
        .map(|name| (strsim::jaro_winkler(name, key), name))
        .filter(|&(alike, _)| alike >= ALIKE_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("unknown key `{key}`; did you mean `{name}`?"),
        None => {
            format!("unknown key `{key}`; keys are the flags of `tidemark-server serve --help` with _ for -")
        }
    }
}

/// A key's value as flags.
fn flags(flag: &str, key: &str, value: Value) -> Result<Vec<OsString>, String> {
    let one = |value: Value| match value {
        Value::String(text) => Ok(format!("--{flag}={text}").into()),
        Value::Integer(number) => Ok(format!("--{flag}={number}").into()),
        Value::Boolean(true) => Ok(format!("--{flag}").into()),
        other => Err(format!(
            "`{key}` cannot be {}; write what the flag --{flag} takes, in quotes",
            article(&other)
        )),
    };
    match value {
        Value::Boolean(false) => Ok(Vec::new()),
        Value::Array(values) => values.into_iter().map(one).collect(),
        value => one(value).map(|flag| vec![flag]),
    }
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::Float(_) => "a number with a fraction",
        Value::Datetime(_) => "a date",
        Value::Table(_) => "a table",
        Value::Array(_) => "an array in an array",
        Value::String(_) | Value::Integer(_) | Value::Boolean(_) => "that",
    }
}

/// Parses the flags of one key by themselves, so that what is wrong with them is told at its place.
fn check(serve: &Command, flags: &[OsString]) -> Result<(), String> {
    let words = std::iter::once(OsString::from("serve")).chain(flags.iter().cloned());
    serve.clone().try_get_matches_from(words).map(drop).map_err(|error| {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::Cli;

    fn serve() -> Command {
        Cli::command().find_subcommand("serve").unwrap().clone()
    }

    fn given(flags: &str) -> ArgMatches {
        serve().get_matches_from(std::iter::once("serve").chain(flags.split_whitespace()))
    }

    fn parsed(text: &str, flags: &str) -> Result<FileFlags, (usize, String)> {
        parse(text, &serve(), &given(flags))
    }

    #[test]
    fn keys_are_flags_and_flags_win() {
        let text = "# a comment\nmax_connections = 5\necho = [\"127.0.0.1:0\", \"[::1]:0\"]\npin = true\nidle_timeout = \"5s\"\n";
        let file = parsed(text, "--max-connections 9").unwrap();
        assert_eq!(file.flags, ["--echo=127.0.0.1:0", "--echo=[::1]:0", "--idle-timeout=5s", "--pin"]);
        assert_eq!((file.lines["echo"], file.lines["pin"], file.lines.get("max_connections")), (3, 4, None));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_the_fix() {
        for (text, line, why) in [
            ("\nmax_conections = 5", 2, "unknown key `max_conections`; did you mean `max_connections`?"),
            (
                "zzz = 5",
                1,
                "unknown key `zzz`; keys are the flags of `tidemark-server serve --help` with _ for -",
            ),
            ("config = \"a\"", 1, "unknown key `config`"),
            ("engine = \"epoll\"\nengine = \"tokio\"", 2, "duplicate key"),
            ("backlog = 0", 1, "invalid value '0' for '--backlog <N>': 0 is not in 1..=1048576"),
            ("idle_timeout = 5", 1, "invalid value '5' for '--idle-timeout <DURATION>'"),
            (
                "backlog = 1.5",
                1,
                "`backlog` cannot be a number with a fraction; write what the flag --backlog takes, in quotes",
            ),
            ("[echo]\na = 1", 1, "`echo` cannot be a table"),
            ("backlog = ", 1, ""),
            ("a = \"\n", 1, ""),
        ] {
            let (at, told) = parsed(text, "").unwrap_err();
            assert!(at == line && told.starts_with(why) && !told.contains('\n'), "{text:?}: {at}: {told:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_files_do_not_panic(text in "([a-z_]{1,9}|[=\\[\\]\"'{}.,#\n é0-9-]){0,60}") {
            let _ = parsed(&text, "");
        }
    }
}
