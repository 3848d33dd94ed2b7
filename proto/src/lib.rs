//! The contract of Tallystick: generated messages, clients and servers, their descriptors with comments, and who may call
//! what. No logic lives here; `proto/README.md` has the rules and how to change the contract.

#![allow(clippy::all, clippy::as_conversions, clippy::too_many_lines, missing_docs)]

include!(concat!(env!("OUT_DIR"), "/tree.rs"));

/// Every file of the contract, with source info, so that reflection carries the comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Who may call what, read from the contract's own method options.
pub mod access {
    use super::tallystick::common::v1::{Caller, Right};

    /// One RPC and its callers.
    #[derive(Debug, Clone, Copy)]
    pub struct MethodAccess {
        /// As it stands in the HTTP/2 request: "/package.Service/Method".
        pub path: &'static str,
        /// The kinds of caller that may call it. Empty: nobody.
        pub callers: &'static [Caller],
        /// The services that may, when the kind SERVICE is allowed. Empty: every service.
        pub services: &'static [&'static str],
        /// What a user must be to the objects. Unspecified: no user may call.
        pub right: Right,
        /// The string fields of the request that name the objects: name and number.
        pub objects: &'static [(&'static str, u32)],
        /// The caller sends a stream of requests.
        pub streams: bool,
    }

    include!(concat!(env!("OUT_DIR"), "/access.rs"));
}

pub use tallystick::{account, billing, common, ops, settlement, workspace};
