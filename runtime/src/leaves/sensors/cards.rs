//! Graphics cards as their driver's library (NVML) tells of them. It is looked for at run time: where there is none,
//! there is no card to be minded.

use nvml_wrapper::enum_wrappers::device::{TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use std::collections::BTreeMap;
use troop_actors::gpu_monitor::protocol::{Gpu, Heat};

/// The cards of this machine.
pub(super) struct Cards {
    library: Result<Nvml, NvmlError>,
    /// By card, until when its samples were taken.
    sampled: BTreeMap<u32, u64>,
    looks: u64,
}

impl Cards {
    pub(super) fn find() -> Cards {
        Cards {
            library: Nvml::init(),
            sampled: BTreeMap::new(),
            looks: 0,
        }
    }

    /// The worst of them; what the processes `ours` take of them is ours.
    pub(super) fn read(&mut self, ours: &[u32]) -> Gpu {
        self.looks += 1;
        if self.library.is_err() && self.looks.is_multiple_of(TRY_AGAIN) {
            self.library = Nvml::init();
        }
        let count = match &self.library {
            Ok(library) => library.device_count(),
            Err(error) => return gone(error),
        };
        match count {
            Ok(count) => (0..count.min(CARDS_MAX))
                .map(|index| self.card(index, ours))
                .fold(Gpu::Absent, worse),
            Err(error) => gone(&error),
        }
    }

    fn card(&mut self, index: u32, ours: &[u32]) -> Gpu {
        let Ok(library) = &self.library else {
            return Gpu::Absent;
        };
        let sampled = self.sampled.entry(index).or_default();
        let seen = library
            .device_by_index(index)
            .and_then(|card| seen(&card, sampled, ours));
        seen.unwrap_or_else(|error| match error {
            NvmlError::GpuLost => Gpu::Lost,
            _ => Gpu::Unknown,
        })
    }
}

/// A library that does not begin: without a driver there is no card; anything else hides one.
fn gone(error: &NvmlError) -> Gpu {
    match error {
        NvmlError::LibloadingError(_)
        | NvmlError::LibraryNotFound
        | NvmlError::DriverNotLoaded
        | NvmlError::NotFound => Gpu::Absent,
        NvmlError::GpuLost => Gpu::Lost,
        _ => Gpu::Unknown,
    }
}

fn seen(card: &Device<'_>, sampled: &mut u64, ours: &[u32]) -> Result<Gpu, NvmlError> {
    let percent = percent(card, sampled, ours)?;
    let heat = heat(card);
    Ok(Gpu::Seen { percent, heat })
}

/// Hundredths of a card that others take: by process where the card tells, else what all take; of a card that is
/// split into parts, which tells neither, all or nothing.
fn percent(card: &Device<'_>, sampled: &mut u64, ours: &[u32]) -> Result<u32, NvmlError> {
    let samples = match card.process_utilization_stats(*sampled) {
        Ok(samples) => samples,
        // Nobody used it since.
        Err(NvmlError::NotFound) => Vec::new(),
        Err(NvmlError::NotSupported) => return whole(card, ours),
        Err(error) => return Err(error),
    };
    let mut latest: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
    for sample in samples {
        *sampled = (*sampled).max(sample.timestamp);
        let known = latest.entry(sample.pid).or_default();
        *known = (*known).max((sample.timestamp, sample.sm_util));
    }
    let others = latest.iter().filter(|(pid, _)| !ours.contains(pid));
    let sum: u32 = others.map(|(_, (_, share))| (*share).min(100)).sum();
    Ok(sum.min(100))
}

fn whole(card: &Device<'_>, ours: &[u32]) -> Result<u32, NvmlError> {
    match card.utilization_rates() {
        Ok(rates) => Ok(rates.gpu.min(100)),
        Err(NvmlError::NotSupported) => {
            let processes = card.running_compute_processes()?;
            let others = processes.iter().any(|process| !ours.contains(&process.pid));
            Ok(if others { 100 } else { 0 })
        }
        Err(error) => Err(error),
    }
}

fn heat(card: &Device<'_>) -> Option<Heat> {
    let celsius = card.temperature(TemperatureSensor::Gpu).ok()?;
    let limit = card.temperature_threshold(TemperatureThreshold::Slowdown);
    let limit = limit.ok()?;
    Some(Heat { celsius, limit })
}

/// Of two cards, what is worse of each.
fn worse(one: Gpu, other: Gpu) -> Gpu {
    let rank = |gpu: &Gpu| match gpu {
        Gpu::Absent => 0,
        Gpu::Seen { .. } => 1,
        Gpu::Unknown => 2,
        Gpu::Lost => 3,
    };
    match (one, other) {
        (
            Gpu::Seen { percent, heat },
            Gpu::Seen {
                percent: more,
                heat: hotter,
            },
        ) => {
            // Hotter is what is nearer to its limit.
            let left = |heat: &Heat| heat.limit.saturating_sub(heat.celsius);
            Gpu::Seen {
                percent: percent.max(more),
                heat: heat.into_iter().chain(hotter).min_by_key(left),
            }
        }
        _ if rank(&one) >= rank(&other) => one,
        _ => other,
    }
}

/// A driver may be loaded later: it is looked for again every so many looks.
const TRY_AGAIN: u64 = 30;
/// No machine has more.
const CARDS_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_all_cards_counts_and_no_driver_is_no_card() {
        let seen = |percent, celsius| Gpu::Seen {
            percent,
            heat: Some(Heat { celsius, limit: 90 }),
        };
        assert_eq!(worse(seen(5, 80), seen(70, 40)), seen(70, 80));
        assert_eq!(worse(Gpu::Absent, seen(5, 40)), seen(5, 40));
        assert_eq!(worse(Gpu::Unknown, seen(5, 40)), Gpu::Unknown);
        assert_eq!(worse(Gpu::Unknown, Gpu::Lost), Gpu::Lost);
        let cases = [
            (NvmlError::DriverNotLoaded, Gpu::Absent),
            (NvmlError::LibraryNotFound, Gpu::Absent),
            (NvmlError::GpuLost, Gpu::Lost),
            (NvmlError::Unknown, Gpu::Unknown),
        ];
        for (error, expected) in cases {
            assert_eq!(gone(&error), expected, "{error}");
        }
        // Whatever this machine has is what is found, by a look that does not fall.
        let found = Cards::find().read(&[std::process::id()]);
        let absent = Nvml::init().is_err_and(|error| gone(&error) == Gpu::Absent);
        assert_eq!(found == Gpu::Absent, absent);
    }
}
