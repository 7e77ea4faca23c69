//! What the contracts say about each RPC.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

/// One RPC.
#[derive(Debug)]
pub(crate) struct Method {
    /// Counts all methods, for tables.
    pub(crate) index: usize,
    /// `package.Service/Method`: the path without its first slash.
    pub(crate) full_name: &'static str,
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
    /// Whether the contract lets a call be repeated.
    pub(crate) idempotent: bool,
}

impl Method {
    /// Looks up a request's path. A path that is in no contract gives [`UNKNOWN`].
    pub(crate) fn of(path: &str) -> &'static Self {
        METHODS.by_path.get(path).copied().unwrap_or(&UNKNOWN)
    }

    /// How many methods there are, [`UNKNOWN`] included.
    pub(crate) fn count() -> usize {
        METHODS.by_path.len() + 1
    }

    pub(crate) fn is_streaming(&self) -> bool {
        self.client_streaming || self.server_streaming
    }
}

/// Stands for everything without a contract. It gets the treatment that is right for anything: no retry, and no deadline
/// of our own.
pub(crate) static UNKNOWN: Method = Method {
    index: 0,
    full_name: "unknown/unknown",
    service: "unknown",
    name: "unknown",
    client_streaming: true,
    server_streaming: true,
    idempotent: false,
};

struct Methods {
    by_path: HashMap<&'static str, &'static Method>,
}

static METHODS: LazyLock<Methods> = LazyLock::new(|| {
    let mut by_path = HashMap::new();
    for descriptors in [
        roadstead_proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ] {
        let set = FileDescriptorSet::decode(descriptors).expect("the build encoded the descriptors");
        for file in &set.file {
            for service in &file.service {
                let service_name = leak(format!("{}.{}", file.package(), service.name()));
                for method in &service.method {
                    let path = leak(format!("/{service_name}/{}", method.name()));
                    let method = describe(by_path.len() + 1, path, service_name, method);
                    by_path.insert(path, &*Box::leak(Box::new(method)));
                }
            }
        }
    }
    Methods { by_path }
});

fn describe(
    index: usize,
    path: &'static str,
    service: &'static str,
    method: &MethodDescriptorProto,
) -> Method {
    let level = method.options.as_ref().map_or(
        IdempotencyLevel::IdempotencyUnknown,
        prost_types::MethodOptions::idempotency_level,
    );
    Method {
        index,
        full_name: &path[1..],
        service,
        name: &path[service.len() + 2..],
        client_streaming: method.client_streaming(),
        server_streaming: method.server_streaming(),
        idempotent: level != IdempotencyLevel::IdempotencyUnknown,
    }
}

/// The names live as long as the process: they are metric labels.
fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn the_contract_tells_streams_and_idempotent_calls() {
        let append = Method::of("/roadstead.blobs.v1.BlobWriteService/Append");
        assert!(append.client_streaming && append.server_streaming && !append.idempotent);
        assert_eq!(append.full_name, "roadstead.blobs.v1.BlobWriteService/Append");
        assert_eq!(
            (append.service, append.name),
            ("roadstead.blobs.v1.BlobWriteService", "Append")
        );

        let read = Method::of("/roadstead.blobs.v1.BlobReadService/Read");
        assert!(!read.client_streaming && read.server_streaming && read.idempotent);

        let get = Method::of("/roadstead.metadata.v1.ReadService/GetManifest");
        assert!(!get.is_streaming() && get.idempotent);
    }

    #[test]
    fn a_path_without_contract_is_never_retried() {
        let method = Method::of("/no.such.Service/Method");
        assert_eq!(method.index, 0);
        assert!(!method.idempotent && method.is_streaming());
    }
}
