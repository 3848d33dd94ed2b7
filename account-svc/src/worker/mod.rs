//! What repeats.

pub mod resume_registrations;
