//! A leaf: a thread that makes one thing while others load and serve, and whoever waits for it.

use std::sync::LazyLock;

/// What another thread makes meanwhile, or why it could not.
pub(super) type Later<T> =
    LazyLock<Result<T, String>, Box<dyn FnOnce() -> Result<T, String> + Send>>;

/// Starts making something, in what time others leave. Whoever looks at it first waits for it.
pub(super) fn later<T: Send + 'static>(
    name: &'static str,
    make: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> std::io::Result<Later<T>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(|| {
        stand_back();
        make()
    })?;
    let join = move || {
        let made = thread.join();
        made.unwrap_or_else(|_| Err(format!("making {name} failed")))
    };
    Ok(LazyLock::new(Box::new(join)))
}

/// The priority of a thread that runs where no other wants to.
pub const PRIORITY_LAST: i32 = 19;

/// Puts this thread behind all others. Where that is not possible it takes its share.
#[cfg(target_os = "linux")]
fn stand_back() {
    // SAFETY: on Linux this changes the thread that calls it, which is 0, and touches no memory.
    unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, PRIORITY_LAST) };
}

#[cfg(not(target_os = "linux"))]
fn stand_back() {}
