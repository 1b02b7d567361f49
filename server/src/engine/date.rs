//! The value of the `date` field, formatted once a second.

use std::time::{Duration, Instant, SystemTime};

/// Formats the wall clock's time only when its second has passed.
#[derive(Debug, Default)]
pub(super) struct Date {
    text: String,
    valid_until: Option<Instant>,
}

impl Date {
    /// The current date as HTTP writes it (RFC 9110 5.6.7). `now` is the turn's time; no clock is read while the second
    /// lasts.
    pub(super) fn at(&mut self, now: Instant) -> &str {
        if self.valid_until.is_none_or(|until| now >= until) {
            self.format(now, SystemTime::now());
        }
        &self.text
    }

    fn format(&mut self, now: Instant, wall: SystemTime) {
        // httpdate panics on years it cannot write; such a clock is not worth a date.
        let year_9999 = Duration::from_secs(253_402_300_799);
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(year_9999);
        self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch);
        let left = Duration::from_nanos(u64::from(1_000_000_000 - since_epoch.subsec_nanos()));
        self.valid_until = Some(now + left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_formatted_anew_when_its_second_has_passed() {
        let start = Instant::now();
        let mut date = Date::default();
        date.format(start, SystemTime::UNIX_EPOCH + Duration::from_millis(1_250));
        assert_eq!(date.text, "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(date.valid_until, Some(start + Duration::from_millis(750)));
        assert_eq!(date.at(start + Duration::from_millis(749)), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_ne!(date.at(start + Duration::from_millis(750)), "Thu, 01 Jan 1970 00:00:01 GMT");
    }

    #[test]
    fn a_clock_beyond_all_years_does_not_panic() {
        let mut date = Date::default();
        date.format(Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40));
        assert!(date.text.contains("9999"), "{}", date.text);
    }
}
