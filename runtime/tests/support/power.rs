//! A machine's power supply, as the kernel would list it, in a folder of a test's own.

use std::fs;
use std::path::Path;

/// Puts a battery into the machine whose folder this is, or says anew how it does: `Charging` or `Discharging`.
pub(crate) fn power(folder: &Path, status: &str) {
    let battery = folder.join("power/battery");
    fs::create_dir_all(&battery).expect("ours");
    for (fact, value) in [("type", "Battery"), ("status", status)] {
        // Whoever reads it reads the old fact or the new one.
        let half = folder.join("power.new");
        fs::write(&half, value).expect("ours");
        fs::rename(half, battery.join(fact)).expect("ours");
    }
}
