//! Spans of time as people write them: `30d`, `12w`, `6mo`, `1y`.

use std::str::FromStr;

use time::{Date, Duration, Month, OffsetDateTime};

/// A span of time: days, or months of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Days.
    Days(u16),
    /// Months.
    Months(u16),
}

/// A moment, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Span),
    /// The beginning of a day, in UTC.
    Day(Date),
}

impl Span {
    /// Returns the moment that is so long before another one. There is nothing before the first year.
    #[must_use]
    pub fn before(self, moment: OffsetDateTime) -> OffsetDateTime {
        let first = OffsetDateTime::new_utc(Date::MIN, time::Time::MIDNIGHT);
        match self {
            Self::Days(days) => moment.checked_sub(Duration::days(days.into())).unwrap_or(first),
            Self::Months(months) => {
                let count = moment.year() * 12 + i32::from(u8::from(moment.month())) - 1 - i32::from(months);
                let month =
                    u8::try_from(count.rem_euclid(12) + 1).ok().and_then(|it| Month::try_from(it).ok());
                // The last days of a month may not be in another one.
                let day = |day| Date::from_calendar_date(count.div_euclid(12), month?, day).ok();
                let date = (28..=moment.day()).rev().chain([moment.day()]).find_map(day);
                date.map_or(first, |date| moment.replace_date(date))
            }
        }
    }
}

impl Since {
    /// Returns the moment, seen from now.
    #[must_use]
    pub fn moment(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Ago(span) => span.before(now),
            Self::Day(date) => OffsetDateTime::new_utc(date, time::Time::MIDNIGHT),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
        let number = text.strip_suffix(unit).and_then(|number| number.parse::<u16>().ok());
        let span = match (number, unit) {
            (None | Some(0), _) => None,
            (Some(days), "d") => Some(Self::Days(days)),
            (Some(weeks), "w") => weeks.checked_mul(7).map(Self::Days),
            (Some(months), "mo") => Some(Self::Months(months)),
            (Some(years), "y") => years.checked_mul(12).map(Self::Months),
            _ => None,
        };
        span.ok_or_else(|| "write 30d, 12w, 6mo or 1y, for days, weeks, months or years".to_owned())
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let format = time::format_description::parse_borrowed::<2>("[year]-[month]-[day]");
        let day = format.ok().and_then(|format| Date::parse(text, &format).ok());
        match (text.parse(), day) {
            (Ok(span), _) => Ok(Self::Ago(span)),
            (_, Some(day)) => Ok(Self::Day(day)),
            _ => Err("write a day as 2026-01-31, or 30d, 12w, 6mo or 1y".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn spans_are_written_as_people_do() {
        assert_eq!("90d".parse(), Ok(Span::Days(90)));
        assert_eq!("12w".parse(), Ok(Span::Days(84)));
        assert_eq!("6mo".parse(), Ok(Span::Months(6)));
        assert_eq!("1y".parse(), Ok(Span::Months(12)));
        for text in ["", "d", "0d", "-1d", "6m", "1.5y", "99999d", "9999w", "1 y"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let now = datetime!(2026-03-31 10:00 UTC);
        assert_eq!(Span::Months(1).before(now), datetime!(2026-02-28 10:00 UTC));
        assert_eq!(Span::Months(3).before(now), datetime!(2025-12-31 10:00 UTC));
        assert_eq!(Span::Months(12).before(now), datetime!(2025-03-31 10:00 UTC));
        assert_eq!(Span::Days(31).before(now), datetime!(2026-02-28 10:00 UTC));
    }

    #[test]
    fn a_moment_is_a_day_or_a_span() {
        let now = datetime!(2026-03-31 10:00 UTC);
        let moment = |text: &str| text.parse().map(|since: Since| since.moment(now));
        assert_eq!(moment("2026-01-02"), Ok(datetime!(2026-01-02 00:00 UTC)));
        assert_eq!(moment("1d"), Ok(datetime!(2026-03-30 10:00 UTC)));
        assert!(moment("yesterday").is_err());
    }
}
