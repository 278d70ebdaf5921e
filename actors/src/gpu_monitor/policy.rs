//! When an owner lends the machine, and what of a reading speaks against it.
//!
//! Every limit has two sides: what wants the machine back is more than what may go on while it is away, so that a
//! value at the limit does not send streams to and fro.

use super::protocol::{Gpu, Heat, Power, Reading, Reason};
use core::str::FromStr;

/// What an owner lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For whom the machine is first.
    pub share: Share,
    /// The hours at which it is lent at all; any where none are named.
    pub hours: Option<Hours>,
    /// Milliseconds that nobody must have wanted it before it is lent again.
    pub idle_ms: u64,
}

/// For whom the machine is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// For the troop, whatever else it does.
    Always,
    /// For whoever uses its graphics card, and for its battery; else for the troop.
    Polite,
    /// For everybody else: the troop gets it while nobody uses it.
    Idle,
}

/// A part of the day: from one minute to another, over midnight if the second is the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Policy {
    /// What speaks against lending the machine that looks like this; `away` says whether it is not lent now.
    pub(super) fn against(&self, reading: &Reading, away: bool) -> Option<Reason> {
        let health = match reading.gpu {
            Gpu::Lost => Some(Reason::Lost),
            Gpu::Seen {
                heat: Some(heat), ..
            } => heat.is_too_much(away).then_some(Reason::Hot),
            Gpu::Seen { heat: None, .. } | Gpu::Absent | Gpu::Unknown => None,
        };
        let hours = self.hours.and_then(|hours| match reading.minute {
            Some(minute) => (!hours.has(minute)).then_some(Reason::Hours),
            None => Some(Reason::Unknown),
        });
        let polite = || match (reading.power, reading.gpu) {
            (Some(Power::Battery { .. }), _) => Some(Reason::Battery),
            (None, _) | (_, Gpu::Unknown) => Some(Reason::Unknown),
            (_, Gpu::Seen { percent, .. }) if percent >= limit(away, GPU_PERCENT) => {
                Some(Reason::Gpu)
            }
            _ => None,
        };
        let idle = || match reading.cpu_permille {
            None => Some(Reason::Unknown),
            Some(share) => (share >= limit(away, CPU_PERMILLE)).then_some(Reason::Cpu),
        };
        let used = match self.share {
            Share::Always => None,
            Share::Polite => polite(),
            Share::Idle => polite().or_else(idle),
        };
        health.or(hours).or(used)
    }
}

impl Heat {
    fn is_too_much(self, away: bool) -> bool {
        let margin = match away {
            false => HEAT_MARGIN,
            true => COOL_MARGIN,
        };
        self.celsius.saturating_add(margin) >= self.limit
    }
}

impl Hours {
    /// Whether `minute` of the day is one of them.
    pub fn has(self, minute: u16) -> bool {
        match self.from <= self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }
}

/// Text is not `HH:MM-HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hours are written HH:MM-HH:MM, as in 18:00-08:00, and begin and end at different times")]
pub struct HoursError;

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Hours, HoursError> {
        let (from, to) = text.split_once('-').ok_or(HoursError)?;
        let hours = Hours {
            from: minute(from)?,
            to: minute(to)?,
        };
        match hours.from == hours.to {
            true => Err(HoursError),
            false => Ok(hours),
        }
    }
}

fn minute(text: &str) -> Result<u16, HoursError> {
    let part = |text: &str, below: u16| {
        let two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number: &u16| *number < below);
        number.filter(|_| two).ok_or(HoursError)
    };
    let (hour, minute) = text.split_once(':').ok_or(HoursError)?;
    Ok(part(hour, 24)? * 60 + part(minute, 60)?)
}

/// From here on a machine is in use, and below that it no longer is.
type Limit = (u32, u32);

fn limit(away: bool, (from, below): Limit) -> u32 {
    match away {
        false => from,
        true => below,
    }
}

/// A desktop and a film take a few hundredths of a graphics card, a game or a computation most of it.
const GPU_PERCENT: Limit = (20, 10);
/// A quarter of all processors is more than reading and typing take.
const CPU_PERMILLE: Limit = (250, 120);
/// Degrees below the limit at which a card is left to cool, and to which it has to cool.
const HEAT_MARGIN: u32 = 2;
const COOL_MARGIN: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_pass_midnight_and_are_read_strictly() {
        let night: Hours = "18:00-08:00".parse().unwrap();
        let day: Hours = "08:30-17:05".parse().unwrap();
        for (minute, at_night, at_day) in [
            (0, true, false),
            (479, true, false),
            (480, false, false),
            (510, false, true),
            (1_024, false, true),
            (1_025, false, false),
            (1_080, true, false),
            (1_439, true, false),
        ] {
            assert_eq!(night.has(minute), at_night, "{minute}");
            assert_eq!(day.has(minute), at_day, "{minute}");
        }
        let wrong = [
            "",
            "18-8",
            "18:00",
            "18:00-",
            "24:00-08:00",
            "18:60-08:00",
            "8:00-09:00",
            "08:00-08:00",
            "+8:00-09:00",
            "18:00-08:00-09:00",
            "١٨:٠٠-٠٨:٠٠",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Hours>(), Err(HoursError), "{text}");
        }
    }

    fn calm() -> Reading {
        Reading {
            gpu: Gpu::Absent,
            cpu_permille: Some(0),
            power: Some(Power::Mains),
            minute: Some(600),
        }
    }

    fn against(share: Share, reading: Reading) -> Option<Reason> {
        let policy = Policy {
            share,
            hours: None,
            idle_ms: 1,
        };
        policy.against(&reading, false)
    }

    #[test]
    fn each_share_minds_what_it_says_and_what_is_not_known_counts_as_the_worst() {
        let gpu = |percent, heat| Gpu::Seen { percent, heat };
        let heat = |celsius| Some(Heat { celsius, limit: 90 });
        let battery = Some(Power::Battery { percent: Some(9) });
        // The reading, and what always, polite and idle make of it.
        let cases = [
            (calm(), [None, None, None]),
            (
                Reading {
                    gpu: gpu(20, None),
                    ..calm()
                },
                [None, Some(Reason::Gpu), Some(Reason::Gpu)],
            ),
            (
                Reading {
                    gpu: gpu(19, heat(87)),
                    ..calm()
                },
                [None, None, None],
            ),
            (
                Reading {
                    gpu: gpu(0, heat(88)),
                    ..calm()
                },
                [Some(Reason::Hot); 3],
            ),
            (
                Reading {
                    gpu: Gpu::Lost,
                    ..calm()
                },
                [Some(Reason::Lost); 3],
            ),
            (
                Reading {
                    gpu: Gpu::Unknown,
                    ..calm()
                },
                [None, Some(Reason::Unknown), Some(Reason::Unknown)],
            ),
            (
                Reading {
                    power: battery,
                    ..calm()
                },
                [None, Some(Reason::Battery), Some(Reason::Battery)],
            ),
            (
                Reading {
                    power: None,
                    ..calm()
                },
                [None, Some(Reason::Unknown), Some(Reason::Unknown)],
            ),
            (
                Reading {
                    cpu_permille: Some(250),
                    ..calm()
                },
                [None, None, Some(Reason::Cpu)],
            ),
            (
                Reading {
                    cpu_permille: None,
                    ..calm()
                },
                [None, None, Some(Reason::Unknown)],
            ),
            (
                Reading {
                    minute: None,
                    ..calm()
                },
                [None, None, None],
            ),
        ];
        for (reading, expected) in cases {
            let found =
                [Share::Always, Share::Polite, Share::Idle].map(|share| against(share, reading));
            assert_eq!(found, expected, "{reading:?}");
        }
    }

    #[test]
    fn hours_bind_every_share_and_a_clock_that_is_away_is_outside_of_them() {
        for share in [Share::Always, Share::Polite, Share::Idle] {
            let policy = Policy {
                share,
                hours: Some("18:00-08:00".parse().unwrap()),
                idle_ms: 1,
            };
            let at = |minute| policy.against(&Reading { minute, ..calm() }, false);
            assert_eq!(at(Some(600)), Some(Reason::Hours));
            assert_eq!(at(Some(1_200)), None);
            assert_eq!(at(None), Some(Reason::Unknown));
        }
    }
}
