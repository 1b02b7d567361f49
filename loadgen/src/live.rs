//! What is shown while a run goes: a bar on a terminal, a line an interval elsewhere. Always on standard error, so that
//! standard output holds the result alone.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::LiveArg;
use crate::report::SeriesRow;
use crate::report::units::{Count, Ns};

/// Redraws a second at the most: each takes time from the generator's own CPU.
const REDRAWS_PER_SECOND: u8 = 4;

/// The live view of one run.
#[derive(Debug)]
pub enum Live {
    /// Nothing.
    Off,
    /// Lines.
    Plain,
    /// A bar that is redrawn in place.
    Bar(ProgressBar),
}

impl Live {
    /// The view that was asked for, as far as standard error allows it.
    pub fn new(asked: LiveArg) -> Self {
        match asked {
            LiveArg::Off => Self::Off,
            LiveArg::Auto if io::stderr().is_terminal() => Self::Bar(new_bar()),
            LiveArg::Auto | LiveArg::Plain => Self::Plain,
        }
    }

    /// A line that is told also when nothing else is: what a program has to know that started this one.
    pub fn announce(&self, text: &str) {
        match self {
            Self::Off => Self::Plain.say(text),
            Self::Plain | Self::Bar(_) => self.say(text),
        }
    }

    /// A line above the bar.
    pub fn say(&self, text: &str) {
        match self {
            Self::Off => {}
            // A closed standard error is no reason to end a run.
            Self::Plain => drop(writeln!(io::stderr(), "{text}")),
            Self::Bar(bar) => bar.println(text),
        }
    }

    /// Whether the ramp should be shown as it goes.
    pub fn is_redrawn(&self) -> bool {
        matches!(self, Self::Bar(_))
    }

    /// Connections open so far, of all.
    pub fn ramp(&self, open: u64, of: u64) {
        if let Self::Bar(bar) = self {
            bar.set_length(of);
            bar.set_position(open);
            bar.set_message(format!("connecting {} of {}", Count(open), Count(of)));
        }
    }

    /// One interval of the measurement, of `of_s`.
    pub fn interval(&self, row: &SeriesRow, interval_s: f64, of_s: f64) {
        // What still came in after the last interval is in the result.
        if row.t_s - interval_s > of_s - 1e-6 {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "completions of a second"
        )]
        let completed_per_s = (row.completed as f64 / interval_s).round() as u64;
        let decimals = if interval_s.fract() == 0.0 { 0 } else { 2 };
        let text = format!(
            "{:>3.decimals$}/{of_s} s  {:>9}/s  response p50 {:>7}  p99 {:>7}  max {:>7}  lag p99 {:>7}  errors {}",
            row.t_s,
            Count(completed_per_s),
            Ns(row.response_p50_ns),
            Ns(row.response_p99_ns),
            Ns(row.response_max_ns),
            Ns(row.lag_p99_ns),
            row.errored + row.timed_out
        );
        match self {
            Self::Off => {}
            Self::Plain => self.say(&text),
            Self::Bar(bar) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "seconds of one run"
                )]
                let (done, all) = (row.t_s.min(of_s) as u64, of_s.ceil() as u64);
                bar.set_length(all);
                bar.set_position(done);
                bar.set_message(text);
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
    let style =
        ProgressStyle::with_template("{bar:20} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}
