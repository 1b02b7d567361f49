//! How `doctor` is asked and what it answers, in every program alike.

use clap::Args;
use tidemark_host::doctor::{Check, Level, render, render_settings, worst};

use crate::Exit;

/// The flags that every `doctor` has.
#[derive(Clone, Copy, Debug, Args)]
pub struct DoctorFlags {
    /// How many connections are to be held at once
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub connections: u64,
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
    /// Print only the kernel's settings that are to be changed, as a file for /etc/sysctl.d
    #[arg(long, conflicts_with = "json")]
    sysctl: bool,
}

impl DoctorFlags {
    /// What is printed, ending in a newline unless it is empty, and how the program ends: well when nothing fails.
    pub fn answer(&self, checks: &[Check]) -> (String, Exit) {
        let text = if self.json {
            // Plain data cannot fail to be written.
            serde_json::to_string_pretty(checks).unwrap_or_default() + "\n"
        } else if self.sysctl {
            render_settings(checks)
        } else {
            render(checks)
        };
        let exit = if worst(checks) == Level::Fail { Exit::CouldNotRun } else { Exit::Good };
        (text, exit)
    }
}
