//! UTCTime and GeneralizedTime, read as they are meant, with what DER does not allow as flaws.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::defect::{Flaw, Flaws};
use super::der::{Element, tag};

/// The time of an element; `None` if it is no time at all.
///
/// 99991231235959Z, by which RFC 5280 section 4.1.2.5 says "never", is beyond what a timestamp holds, and becomes the
/// last one.
pub(super) fn read(element: Element<'_>, flaws: &mut Flaws<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(element.content).ok().filter(|text| text.is_ascii())?;
    let (year, rest) = match element.tag {
        tag::UTC_TIME => {
            let year = digits(text.get(..2)?)?;
            // The window of RFC 5280: 50 to 99 are of the last century.
            (if year >= 50 { 1900 + year } else { 2000 + year }, &text[2..])
        }
        tag::GENERALIZED_TIME => (digits(text.get(..4)?)?, &text[4..]),
        _ => return None,
    };
    let field = |at: usize| rest.get(at..at + 2).and_then(digits).and_then(|value| i8::try_from(value).ok());
    let (month, day, hour, minute) = (field(0)?, field(2)?, field(4)?, field(6)?);
    let (second, mut zone) = match field(8) {
        Some(second) => (second, rest.get(10..)?),
        None => {
            // Go takes UTCTime without seconds, and no other time without them.
            flaws.add(if element.tag == tag::UTC_TIME { Flaw::NoSeconds } else { Flaw::Malformed });
            (0, rest.get(8..)?)
        }
    };
    if let Some(fraction) = zone.strip_prefix(['.', ',']) {
        flaws.add(Flaw::FractionalSeconds);
        zone = fraction.trim_start_matches(|sign: char| sign.is_ascii_digit());
    }
    let seconds = offset(zone, flaws)?;
    let date = DateTime::new(i16::try_from(year).ok()?, month, day, hour, minute, second, 0).ok()?;
    if (element.tag == tag::UTC_TIME) != (1950..2050).contains(&year) {
        flaws.add(Flaw::WrongTimeType);
    }
    let Ok(local) = TimeZone::UTC.to_timestamp(date) else {
        return Some(if year > 5000 { Timestamp::MAX } else { Timestamp::MIN });
    };
    Some(local.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
}

/// Seconds east of UTC.
fn offset(zone: &str, flaws: &mut Flaws<'_>) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'Z' if zone.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (digits(zone.get(1..3)?)?, digits(zone.get(3..5)?)?);
    if zone.len() != 5 || hours > 23 || minutes > 59 {
        return None;
    }
    flaws.add(if hours + minutes == 0 { Flaw::ZeroOffset } else { Flaw::TimeOffset });
    Some(sign * i64::from(hours * 3600 + minutes * 60))
}

fn digits(text: &str) -> Option<i32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::defect::{Defects, Part};
    use super::*;

    fn time(tag: u8, text: &str) -> Option<(String, Vec<Flaw>)> {
        let mut defects = Defects::default();
        let element = Element { tag, content: text.as_bytes(), whole: text.as_bytes() };
        let time = read(element, &mut defects.of(Part::NotAfter))?;
        Some((time.to_string(), defects.0.into_iter().map(|defect| defect.flaw).collect()))
    }

    #[test]
    fn times_are_read_as_they_are_meant() {
        for (tag, text, time_, flaw) in [
            (tag::UTC_TIME, "260101000000Z", "2026-01-01T00:00:00Z", None),
            (tag::UTC_TIME, "500101000000Z", "1950-01-01T00:00:00Z", None),
            (tag::UTC_TIME, "2601010000Z", "2026-01-01T00:00:00Z", Some(Flaw::NoSeconds)),
            (tag::UTC_TIME, "260101000000+0100", "2025-12-31T23:00:00Z", Some(Flaw::TimeOffset)),
            (tag::UTC_TIME, "260101000000-0000", "2026-01-01T00:00:00Z", Some(Flaw::ZeroOffset)),
            (tag::GENERALIZED_TIME, "20500101000000Z", "2050-01-01T00:00:00Z", None),
            (tag::GENERALIZED_TIME, "20260101000000Z", "2026-01-01T00:00:00Z", Some(Flaw::WrongTimeType)),
            (tag::GENERALIZED_TIME, "20500101000000.5Z", "2050-01-01T00:00:00Z", Some(Flaw::FractionalSeconds)),
            (tag::GENERALIZED_TIME, "99991231235959Z", "9999-12-30T22:00:00.999999999Z", None),
        ] {
            assert_eq!(time(tag, text), Some((time_.to_owned(), flaw.into_iter().collect())), "{text}");
        }
        for bad in [
            "",
            "26",
            "261301000000Z",
            "260230000000Z",
            "260101000000",
            "260101000000ZZ",
            "260101000060Z",
            "26010100000éZ",
            "260101000000+9900",
        ] {
            assert_eq!(time(tag::UTC_TIME, bad), None, "{bad}");
        }
    }
}
