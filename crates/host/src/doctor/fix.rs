//! What to do about a check that is not good.

use serde::Serialize;

/// Where settings of the kernel are kept, so that they last.
pub const SETTINGS_FILE: &str = "/etc/sysctl.d/90-tidemark.conf";

/// What to do, in the order of its fields. At least one of them is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// In words: what needs no privilege, or what no command can do.
    pub advice: Option<String>,
    /// Settings of the kernel, in the order to change them.
    pub settings: Vec<Setting>,
    /// A shell line for what is no setting of the kernel.
    pub command: Option<String>,
    /// How that command's effect is made to last.
    pub lasting: Option<String>,
}

/// A setting of the kernel, as `sysctl` knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Such as `fs.nr_open`.
    pub key: &'static str,
    /// What it should be.
    pub value: String,
}

impl Setting {
    pub(super) fn new(key: &'static str, value: &impl ToString) -> Self {
        Self { key, value: value.to_string() }
    }

    /// The shell line that changes it until the next start of the machine.
    pub fn command(&self) -> String {
        let Self { key, value } = self;
        if value.contains(' ') {
            format!("sudo sysctl -w {key}=\"{value}\"")
        } else {
            format!("sudo sysctl -w {key}={value}")
        }
    }

    /// The line that makes it last, of a file such as [`SETTINGS_FILE`].
    pub fn line(&self) -> String {
        format!("{} = {}", self.key, self.value)
    }
}

impl Fix {
    /// Only words.
    pub(super) fn advice(words: impl Into<String>) -> Self {
        Self { advice: Some(words.into()), ..Self::default() }
    }

    /// One setting.
    pub(super) fn setting(key: &'static str, value: &impl ToString) -> Self {
        Self { settings: vec![Setting::new(key, value)], ..Self::default() }
    }

    /// Shell lines to copy: words as comments, commands, and in comments what makes them last.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.advice.iter().map(|words| format!("# {words}")).collect();
        for setting in &self.settings {
            lines.push(setting.command());
            lines.push(format!("# to last, in {SETTINGS_FILE}: {}", setting.line()));
        }
        lines.extend(self.command.clone());
        lines.extend(self.lasting.iter().map(|how| format!("# to last, {how}")));
        lines
    }
}
