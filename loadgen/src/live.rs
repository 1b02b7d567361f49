//! What is shown while a run goes: a bar on a terminal, a line a second elsewhere. Always on standard error, so that
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
        if matches!(self, Self::Off) || !ends_a_second(row.t_s, interval_s) {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "completions of a second"
        )]
        let completed_per_s = (row.completed as f64 / interval_s).round() as u64;
        let decimals = if interval_s > 1.0 && interval_s.fract() > 0.0 { 2 } else { 0 };
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

/// Whether an interval that ended then is the first to end in its second. Of shorter ones the others are not told: each line takes
/// time from the generator's own CPU.
fn ends_a_second(t_s: f64, interval_s: f64) -> bool {
    // Ends of intervals are multiples of their length, but for what a float makes of them.
    const ROUNDING_S: f64 = 1e-6;
    (t_s + ROUNDING_S).floor() > (t_s - interval_s + ROUNDING_S).floor()
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
    let style =
        ProgressStyle::with_template("{bar:20} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_once_a_second_however_short_the_intervals() {
        let told = |interval_ms: u32, of: u32| {
            let interval_s = f64::from(interval_ms) / 1e3;
            let ends = (1..=of).map(|index| f64::from(index) * interval_s);
            ends.filter(|&end_s| ends_a_second(end_s, interval_s)).count()
        };
        assert_eq!(told(10, 1_000), 10);
        assert_eq!(told(15, 1_000), 15);
        assert_eq!(told(100, 9), 0);
        assert_eq!(told(1_000, 10), 10);
        assert_eq!(told(1_500, 10), 10);
    }
}
