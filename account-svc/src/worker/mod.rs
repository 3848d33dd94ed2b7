//! What repeats.

pub mod keep_session_keys;
pub mod resume_registrations;
