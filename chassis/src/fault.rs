//! Named places where a test can kill the process. In an image there is nothing here: the feature `harness` is off.

/// Where the process may be killed. Set `TALLYSTICK_KILL_AT` to a name to have it happen, with SIGKILL, there.
#[cfg(feature = "harness")]
pub fn point(name: &'static str) {
    static KILL_AT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let kill_at = KILL_AT.get_or_init(|| std::env::var("TALLYSTICK_KILL_AT").ok());
    if kill_at.as_deref() == Some(name) {
        tracing::warn!(name, "killed by request");
        // A signal that cannot be caught: whatever was not committed is lost, as in a power cut of this process.
        let killed = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        tracing::error!(?killed, "still alive");
    }
}

/// Where a test could kill the process.
#[cfg(not(feature = "harness"))]
#[inline(always)]
pub fn point(_name: &'static str) {}
