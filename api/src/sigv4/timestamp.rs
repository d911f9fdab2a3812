//! The time of a signature: ISO 8601 basic form, or an HTTP date.

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;

const SECONDS_PER_DAY: u64 = 86_400;

/// A signature's time, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedTime {
    epoch_s: u64,
    basic: [u8; 16],
}

impl SignedTime {
    /// `yyyymmddThhmmssZ`, or RFC 1123 as in a Date header. Times before 1970 are refused.
    pub fn parse(text: &str) -> Option<Self> {
        match <[u8; 16]>::try_from(text.as_bytes()) {
            Ok(basic) if basic[8] == b'T' && basic[15] == b'Z' => Self::parse_basic(basic),
            _ => {
                let zoned = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
                u64::try_from(zoned.as_second()).ok().map(Self::from_epoch_s)
            }
        }
    }

    fn parse_basic(basic: [u8; 16]) -> Option<Self> {
        let number = |from: usize, to: usize| {
            basic[from..to].iter().try_fold(0_u16, |value, digit| {
                digit.is_ascii_digit().then(|| value * 10 + u16::from(digit - b'0'))
            })
        };
        let small = |from: usize| number(from, from + 2).and_then(|value| i8::try_from(value).ok());
        let year = i16::try_from(number(0, 4)?).ok()?;
        let civil = DateTime::new(year, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, 0).ok()?;
        let days = civil.date().duration_since(jiff::civil::date(1970, 1, 1)).as_secs();
        let time = civil.time();
        let seconds =
            i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        Some(Self { epoch_s: u64::try_from(days + seconds).ok()?, basic })
    }

    /// The time so many seconds after 1970; beyond the year 9999 its last second.
    pub fn from_epoch_s(epoch_s: u64) -> Self {
        let (year, month, day) = civil_from_days(epoch_s / SECONDS_PER_DAY);
        if year > 9_999 {
            return Self { epoch_s, basic: *b"99991231T235959Z" };
        }
        let second = epoch_s % SECONDS_PER_DAY;
        let mut basic = *b"00000000T000000Z";
        put_digits(&mut basic[0..4], year);
        put_digits(&mut basic[4..6], month);
        put_digits(&mut basic[6..8], day);
        put_digits(&mut basic[9..11], second / 3_600);
        put_digits(&mut basic[11..13], second / 60 % 60);
        put_digits(&mut basic[13..15], second % 60);
        Self { epoch_s, basic }
    }

    /// Seconds since 1970.
    pub fn epoch_s(&self) -> u64 {
        self.epoch_s
    }

    /// `yyyymmddThhmmssZ`.
    pub fn basic(&self) -> &str {
        // Both makers write ASCII only.
        std::str::from_utf8(&self.basic).unwrap_or("")
    }
}

fn put_digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Proleptic Gregorian date so many days after 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_second() {
        let basic = SignedTime::parse("20260102T030405Z").unwrap();
        assert_eq!(basic.epoch_s(), 1_767_323_045);
        assert_eq!(SignedTime::parse("Fri, 02 Jan 2026 03:04:05 GMT"), Some(basic));
        for wrong in [
            "",
            "20260102T030405",
            "2026-01-02T03:04:05Z",
            "20261302T030405Z",
            "19600102T030405Z",
            "20260230T000000Z",
        ] {
            assert_eq!(SignedTime::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_written_time_reads_back() {
        for epoch_s in (0..253_402_300_800).step_by(86_399 * 37) {
            let time = SignedTime::from_epoch_s(epoch_s);
            assert_eq!(SignedTime::parse(time.basic()), Some(time), "{epoch_s}");
        }
        assert_eq!(SignedTime::from_epoch_s(u64::MAX / 2).basic(), "99991231T235959Z");
    }
}
