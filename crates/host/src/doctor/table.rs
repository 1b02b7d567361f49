//! The checks as text.

use std::fmt::Write as _;

use super::{Check, Level, Setting};

/// An aligned table, and below it what to do about each warning and failure, as shell lines to copy.
pub fn render(checks: &[Check]) -> String {
    let header = ["", "check", "is", "needs", "why"];
    let rows: Vec<[&str; 5]> = std::iter::once(header)
        .chain(checks.iter().map(|check| [mark(check.level), check.name, &check.is, &check.need, &check.why]))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut text = String::new();
    for [mark, name, is, need, why] in rows {
        let [w0, w1, w2, w3] = widths;
        let line = format!("{mark:w0$}  {name:w1$}  {is:w2$}  {need:w3$}  {why}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    let mut fixes = checks.iter().filter_map(|check| Some((check.name, check.fix.as_ref()?))).peekable();
    if fixes.peek().is_none() {
        let all_ok = super::worst(checks) == Level::Ok;
        text.push_str(if all_ok { "Nothing to fix.\n" } else { "No command to offer for these warnings.\n" });
        return text;
    }
    text.push_str("To fix:\n");
    for (name, fix) in fixes {
        // Writing into a String cannot fail.
        let _ = write!(text, "\n# {name}\n{}\n", fix.lines().join("\n"));
    }
    text
}

/// The kernel's settings that are to be changed, each once, as the lines of a file for `sysctl`; empty when there are none. Of
/// a setting that two checks ask for, the last wish holds, as it would in the file.
pub fn render_settings(checks: &[Check]) -> String {
    let mut settings: Vec<&Setting> = Vec::new();
    for setting in checks.iter().filter_map(|check| check.fix.as_ref()).flat_map(|fix| &fix.settings) {
        settings.retain(|earlier| earlier.key != setting.key);
        settings.push(setting);
    }
    settings.into_iter().map(|setting| setting.line() + "\n").collect()
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    }
}
