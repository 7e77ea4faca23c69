//! The contracts between Roadstead's services.
//!
//! These messages are the only thing two services share: no trait, table, bucket prefix or configuration type crosses
//! that seam. The `.proto` files beside this crate are the documentation; the Rust here is generated from them.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated code")]

/// Messages that several services use, and the reasons of every error.
pub mod common {
    pub mod v1 {
        tonic::include_proto!("roadstead.common.v1");
    }
}

/// Tokens, keys and authorisation.
pub mod auth {
    pub mod v1 {
        tonic::include_proto!("roadstead.auth.v1");
    }
}

/// Repositories, manifests, tags, links and upload sessions.
pub mod metadata {
    pub mod v1 {
        tonic::include_proto!("roadstead.metadata.v1");
    }
}

/// Bytes.
pub mod blobs {
    pub mod v1 {
        tonic::include_proto!("roadstead.blobs.v1");
    }
}

/// The event log.
pub mod events {
    pub mod v1 {
        tonic::include_proto!("roadstead.events.v1");
    }
}

// Debug output of the messages that hold secrets, without those; `build.rs` says which they are.
include!(concat!(env!("OUT_DIR"), "/redacted.rs"));

/// The encoded `FileDescriptorSet` of every contract, for reflection and for tests that enumerate all RPCs.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
