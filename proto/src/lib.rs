//! The wire: types and services generated from `ecovisor/v1/*.proto`, and nothing else. Their meaning is said there, at
//! each field.

/// Version 1 of the wire.
#[allow(missing_docs, clippy::all, clippy::as_conversions, clippy::unwrap_used, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("ecovisor.v1");
}

/// The encoded `FileDescriptorSet` of version 1, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ecovisor.v1.bin"));
