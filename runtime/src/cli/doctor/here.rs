//! What needs no node: folder, disk, models, limits, sandbox, certificate, and the machine itself.

use super::super::{Context, table};
use super::{Finding, bad, ok, unknown};
use crate::descriptors;
use crate::enrolment::{Enrolment, EnrolmentError};
use crate::leaves::SystemClock;
use crate::leaves::sensors::SystemSensors;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;
use troop_actors::certificate::CertificateError;
use troop_actors::gpu_monitor::protocol::{Gpu, Power};
use troop_actors::ids::NodeKey;
use troop_actors::model_store::Store;
use troop_actors::ports::{Clock, Sensors};

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let folder = context.home.folder();
    let mut found = vec![home(folder)];
    if folder.exists() {
        found.push(key(&context.home.path("node.key")));
        found.push(models(&context.home.path("models")));
        found.extend(certificate(context));
    }
    found.extend([disk(folder), files(), sandbox(), machine()]);
    found
}

fn home(folder: &Path) -> Finding {
    let shown = folder.display();
    let facts = match fs::metadata(folder) {
        Ok(facts) => facts,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return ok("home", format_args!("{shown} is made by the first node"));
        }
        Err(error) => {
            let fix = "give it to this user, or choose another with --home";
            return bad("home", format_args!("{shown}: {error}"), fix);
        }
    };
    match facts.permissions().mode() & 0o077 {
        0 => ok("home", format_args!("{shown} is its owner's alone")),
        _ => bad(
            "home",
            format_args!("{shown} is open to other users"),
            format_args!("chmod 700 {shown}"),
        ),
    }
}

fn key(path: &Path) -> Finding {
    let shown = path.display();
    let Ok(facts) = fs::metadata(path) else {
        return ok("key", "it is made by the first node");
    };
    match (facts.permissions().mode() & 0o077, facts.len()) {
        (0, KEY_BYTES) => ok("key", "it is its owner's alone"),
        (0, bytes) => bad(
            "key",
            format_args!("{shown} has {bytes} bytes, not {KEY_BYTES}"),
            "bring it back from a copy; without one, move it away and join again",
        ),
        _ => bad(
            "key",
            format_args!("{shown} can be read by other users, who can then be this node"),
            format_args!("chmod 600 {shown}; if it was read, move it away and join again"),
        ),
    }
}

fn disk(folder: &Path) -> Finding {
    // A folder that is still to be made will lie on the disk of the first one above that is there.
    let present = folder.ancestors().find(|path| path.exists());
    let Some(free) = present.and_then(free_bytes) else {
        return unknown("disk", "the system does not say what is free");
    };
    let detail = format!("{} free for models and books", table::bytes(free));
    match free >= FREE_BYTES_MIN {
        true => ok("disk", detail),
        false => bad(
            "disk",
            detail,
            "troop rm MODEL, or a larger disk with --home",
        ),
    }
}

fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all zeros is a valid value of this struct of numbers.
    let mut facts: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero, and the call fills a struct of ours.
    match unsafe { libc::statvfs(path.as_ptr(), &raw mut facts) } {
        0 => Some(facts.f_bavail.saturating_mul(facts.f_frsize)),
        _ => None,
    }
}

fn files() -> Finding {
    match descriptors::raise() {
        Ok(limit) if limit >= FILES_MIN => ok("files", format_args!("{limit} may be open at once")),
        Ok(limit) => bad(
            "files",
            format_args!("{limit} may be open at once, {FILES_MIN} may be needed"),
            "ulimit -Hn 16384, or LimitNOFILE=16384 in the service's unit",
        ),
        Err(error) => unknown("files", error),
    }
}

/// Every model's file has the length it should have. That its bytes are right too takes as long as reading them.
fn models(folder: &Path) -> Finding {
    if !folder.exists() {
        return ok("models", "none are here yet");
    }
    let read = Store::open(folder).and_then(|store| {
        let damaged = store.damaged()?;
        Ok((store.list()?, damaged, store))
    });
    let (models, damaged, store) = match read {
        Ok(read) => read,
        Err(error) => return bad("models", error, "look at the folder's owner and rights"),
    };
    if let Some(error) = damaged.first() {
        return bad("models", error, "troop rm NAME, and troop pull it again");
    }
    for model in &models {
        let name = &model.name;
        let found = fs::metadata(store.blob(model)).map(|facts| facts.len());
        if found.as_ref().ok() != Some(&model.size) {
            let is = found.map_or_else(|error| error.to_string(), table::bytes);
            return bad(
                "models",
                format_args!("{name}: {is}, not {}", table::bytes(model.size)),
                format_args!("troop rm {name} && troop pull {name}"),
            );
        }
    }
    let names: Vec<_> = models.iter().map(|model| &model.name[..]).collect();
    match names[..] {
        [] => ok("models", "none are here yet"),
        _ => ok(
            "models",
            format_args!("{}, each as long as it should be", names.join(", ")),
        ),
    }
}

/// Nothing is said of a node that is its own troop's coordinator: it shows nobody a certificate.
fn certificate(context: &Context) -> Option<Finding> {
    let leave = "troop leave, and join with a new invitation";
    let enrolment = match Enrolment::load(&context.home) {
        Ok(enrolment) => enrolment?,
        Err(EnrolmentError::Home(error)) => return Some(unknown("certificate", error)),
        Err(error) => return Some(bad("certificate", error, leave)),
    };
    let secret = fs::read(context.home.path("node.key")).ok()?;
    let me = NodeKey::from_secret(secret.try_into().ok()?).node();
    let now = SystemClock::start().now();
    Some(match enrolment.verify(me, now) {
        Ok(certificate) => {
            let left = table::span(certificate.expires.since_ms(now) / 1000);
            let name = &certificate.name;
            let detail = format!("{name}, {}: good for {left}", certificate.roles);
            match now >= certificate.renew_at().plus_ms(DAY_MS) {
                false => ok("certificate", detail),
                true => bad(
                    "certificate",
                    format_args!("{detail}, and was not renewed"),
                    "start the node while the coordinator can be reached",
                ),
            }
        }
        Err(error @ CertificateError::Expired { .. }) => bad("certificate", error, leave),
        Err(error) => bad("certificate", error, leave),
    })
}

/// Tries the sandbox of engines, in a child that shuts itself in and looks for a way out.
fn sandbox() -> Finding {
    let tried = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .arg("try-sandbox")
            .env_clear()
            .stdin(Stdio::null())
            .output()
    });
    let said = match &tried {
        Ok(tried) => String::from_utf8_lossy(&tried.stdout).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    match tried.is_ok_and(|tried| tried.status.success()) {
        true => ok(
            "sandbox",
            "engines open no file and no socket, and start no program",
        ),
        false => bad(
            "sandbox",
            said,
            "a Linux kernel with seccomp; in a container, one that allows it",
        ),
    }
}

/// What the monitor of this machine sees, whatever it makes of it.
fn machine() -> Finding {
    let (tell, told) = channel();
    // A driver that hangs keeps its thread, not the doctor.
    std::thread::spawn(move || tell.send(SystemSensors::new().read()));
    let Ok(seen) = told.recv_timeout(LOOK_TIME_MAX) else {
        return bad(
            "machine",
            "its sensors do not answer",
            "nvidia-smi, if it has such a GPU",
        );
    };
    let gpu = match seen.gpu {
        Gpu::Absent => "no GPU driver".to_owned(),
        Gpu::Unknown => {
            let fix = "nvidia-smi says more; after an update of the driver the machine is to be restarted";
            return bad("machine", "the GPU's driver does not answer", fix);
        }
        Gpu::Lost => return bad("machine", "the GPU is lost", "restart the machine"),
        Gpu::Seen { percent, heat } => {
            let heat = heat.map(|heat| format!(", {} of {} °C", heat.celsius, heat.limit));
            format!("GPU {percent} % used{}", heat.unwrap_or_default())
        }
    };
    let cpu = match seen.cpu_permille {
        Some(share) => format!("others use {} % of the processors", share / 10),
        None => "use of the processors unknown".to_owned(),
    };
    let power = match seen.power {
        Some(Power::Mains) => "on the mains".to_owned(),
        Some(Power::Battery { percent: None }) => "on battery".to_owned(),
        Some(Power::Battery {
            percent: Some(left),
        }) => format!("on battery, {left} % left"),
        None => "power unknown".to_owned(),
    };
    ok("machine", format_args!("{gpu}, {cpu}, {power}"))
}

const KEY_BYTES: u64 = 32;
/// Below this a small model does not fit, and books that cannot grow stop a coordinator.
const FREE_BYTES_MIN: u64 = 1_000_000_000;
/// Clients of one listener, stores, and engines.
const FILES_MIN: u64 = 2_048;
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);
/// A node that runs renews its certificate on the day it may, and so does one that starts.
const DAY_MS: u64 = 24 * 3_600_000;
