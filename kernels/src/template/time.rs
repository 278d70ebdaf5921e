//! Dates for templates that ask what day it is. The time is an input, and the zone is UTC, so that a
//! prompt rendered again is the same prompt.

/// `strftime` of a moment in seconds since the Unix epoch.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, String> {
    let (year, month, day) = date(seconds / 86_400);
    // The first of January 1970 was a Thursday.
    let weekday = ((seconds / 86_400 + 4) % 7) as usize;
    let of_year = (seconds / 86_400).saturating_sub(days_before(year)) + 1;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut code = characters.next();
        let bare = code == Some('-');
        if bare {
            code = characters.next();
        }
        let two = |number: u64| {
            if bare {
                number.to_string()
            } else {
                format!("{number:02}")
            }
        };
        let half = if hour % 12 == 0 { 12 } else { hour % 12 };
        match code {
            Some('Y') => text.push_str(&year.to_string()),
            Some('y') => text.push_str(&two(year % 100)),
            Some('m') => text.push_str(&two(month)),
            Some('d') => text.push_str(&two(day)),
            Some('e') => text.push_str(&format!("{day:2}")),
            Some('B') => text.push_str(MONTHS[month as usize - 1]),
            Some('b' | 'h') => text.push_str(&MONTHS[month as usize - 1][..3]),
            Some('A') => text.push_str(DAYS[weekday]),
            Some('a') => text.push_str(&DAYS[weekday][..3]),
            Some('j') if bare => text.push_str(&of_year.to_string()),
            Some('j') => text.push_str(&format!("{of_year:03}")),
            Some('H') => text.push_str(&two(hour)),
            Some('I') => text.push_str(&two(half)),
            Some('M') => text.push_str(&two(minute)),
            Some('S') => text.push_str(&two(second)),
            Some('p') => text.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('F') => text.push_str(&format!("{year}-{month:02}-{day:02}")),
            Some('T') => text.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('Z') => text.push_str("UTC"),
            Some('z') => text.push_str("+0000"),
            Some('%') => text.push('%'),
            other => {
                return Err(format!(
                    "strftime_now: unknown code %{}",
                    other.unwrap_or(' ')
                ));
            }
        }
    }
    Ok(text)
}

/// Year, month and day of a number of days since the epoch; the Gregorian calendar counted in eras of 400
/// years that begin in March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days from the epoch to the first of January.
fn days_before(year: u64) -> u64 {
    let last = year - 1;
    (last * 365 + last / 4 - last / 100 + last / 400).saturating_sub(719_162)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 Thu 001 12 AM"),
            (951_827_696, "2000-02-29 Tue 060 12 PM"),
            (1_735_689_599, "2024-12-31 Tue 366 11 PM"),
            (1_740_787_200, "2025-03-01 Sat 060 12 AM"),
            (4_102_444_800, "2100-01-01 Fri 001 12 AM"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(strftime("%F %a %j %I %p", seconds).unwrap(), expected);
        }
        assert_eq!(
            strftime("%d %B %Y, %-d %b %%", 1_740_787_200).unwrap(),
            "01 March 2025, 1 Mar %"
        );
        assert!(strftime("%Q", 0).is_err() && strftime("%", 0).is_err());
        assert!(strftime("%F %T %j", u64::MAX).is_ok());
    }
}
