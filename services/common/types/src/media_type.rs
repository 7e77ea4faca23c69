//! Media types of the image specification and of Docker's formats.

/// An OCI image manifest.
pub const OCI_IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image configuration.
pub const OCI_IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The artifact manifest that release candidates of the image specification 1.1 had; some clients still push it.
pub const OCI_ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// A compressed layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list, schema 2.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A layer of a Docker image that clients fetch from elsewhere.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// Bytes about which nothing else is known; blobs are served as these.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// Layers that a registry need not hold: clients fetch them from the descriptor's `urls`.
pub const NON_DISTRIBUTABLE_LAYERS: [&str; 5] = [
    DOCKER_FOREIGN_LAYER,
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

/// Whether content of this type is a list of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_IMAGE_INDEX | DOCKER_MANIFEST_LIST)
}

/// Whether a registry need not hold a layer of this type.
pub fn is_non_distributable(media_type: &str) -> bool {
    NON_DISTRIBUTABLE_LAYERS.contains(&media_type)
}
