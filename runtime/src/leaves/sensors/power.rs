//! Power supplies as the kernel lists them: a folder each, a file for each fact.

use std::fs;
use std::io;
use std::path::Path;
use troop_actors::gpu_monitor::protocol::Power;

/// What feeds the machine. One that lists no supplies has no battery to run on.
pub(super) fn read(folder: &Path) -> Option<Power> {
    let supplies = match fs::read_dir(folder) {
        Ok(supplies) => supplies,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Power::Mains),
        Err(_) => return None,
    };
    let mut mains = false;
    let mut discharging = false;
    let mut left: Option<u8> = None;
    for supply in supplies.take(SUPPLIES_MAX) {
        let path = supply.ok()?.path();
        let fact = |name: &str| {
            let text = fs::read_to_string(path.join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        // The battery of a mouse feeds no computer.
        if fact("scope") == "Device" {
            continue;
        }
        if fact("type") != "Battery" {
            mains |= fact("online") == "1";
            continue;
        }
        match &fact("status")[..] {
            "Discharging" => {
                discharging = true;
                let percent = fact("capacity").parse::<u8>().ok();
                left = left.into_iter().chain(percent).min();
            }
            "" | "Unknown" if fact("present") != "0" => return None,
            _ => {}
        }
    }
    Some(match discharging && !mains {
        true => Power::Battery { percent: left },
        false => Power::Mains,
    })
}

/// No machine has more.
const SUPPLIES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, supplies: &[&[(&str, &str)]]) -> Option<Power> {
        let folder =
            std::env::temp_dir().join(format!("troop-power-{}-{name}", std::process::id()));
        for (number, facts) in supplies.iter().enumerate() {
            let supply = folder.join(format!("supply-{number}"));
            fs::create_dir_all(&supply).unwrap();
            for (fact, value) in *facts {
                fs::write(supply.join(fact), format!("{value}\n")).unwrap();
            }
        }
        let read = read(&folder);
        let _ = fs::remove_dir_all(&folder);
        read
    }

    #[test]
    fn a_machine_runs_on_its_battery_only_where_that_is_drained_and_nothing_else_feeds_it() {
        let battery = |status, percent| {
            [
                ("type", "Battery"),
                ("status", status),
                ("capacity", percent),
            ]
        };
        let plug = |online| [("type", "Mains"), ("online", online)];
        let mouse = [
            ("type", "Battery"),
            ("scope", "Device"),
            ("status", "Discharging"),
        ];
        assert_eq!(machine("desktop", &[]), Some(Power::Mains));
        assert_eq!(machine("mouse", &[&mouse]), Some(Power::Mains));
        let unplugged = machine(
            "unplugged",
            &[
                &plug("0"),
                &battery("Discharging", "81"),
                &battery("Discharging", "7"),
            ],
        );
        assert_eq!(unplugged, Some(Power::Battery { percent: Some(7) }));
        let plugged = machine("plugged", &[&plug("1"), &battery("Charging", "81")]);
        assert_eq!(plugged, Some(Power::Mains));
        // A charger too weak for the load is a charger.
        let weak = machine("weak", &[&plug("1"), &battery("Discharging", "81")]);
        assert_eq!(weak, Some(Power::Mains));
        let odd = machine("odd", &[&battery("Discharging", "many")]);
        assert_eq!(odd, Some(Power::Battery { percent: None }));
        assert_eq!(machine("silent", &[&[("type", "Battery")]]), None);
    }
}
