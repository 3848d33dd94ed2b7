//! What repeats.

pub mod keep_own_audit;
pub mod keep_session_keys;
pub mod prune_sessions;
pub mod resume_closings;
pub mod resume_registrations;
pub mod send_mails;
