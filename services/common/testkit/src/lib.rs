//! Parts that tests share.
//!
//! * [`OidcIssuer`]: an OpenID provider that speaks HTTP on a loopback port, with keys that rotate and faults on demand;
//! * [`Workload`]: what GitHub Actions, GitLab, Buildkite, `CircleCI`, Kubernetes and Google put into identity tokens;
//! * [`TestKeys`]: signs access and registry tokens, and serves the `auth` services that verifiers need;
//! * [`TestCertificates`]: a certificate authority and an identity for each peer;
//! * [`RpcFaults`]: a layer of an `RpcChannel` that makes calls fail in all the ways that a network does;
//! * [`TestDirectory`]: a directory that is removed when dropped.
//!
//! Nothing here stands in for a service under test: tokens are really signed, certificates really verified, and the
//! issuer is reached over a socket. Claims are spelled out here rather than borrowed from the crates that read them, so
//! that a change of format fails a test.
//!
//! Test code may panic: every function here does when the machine refuses something a test cannot go on without.

mod authority;
mod certificates;
mod directory;
mod faults;
mod issuer;
mod keys;
mod revocations;
mod tls;
mod tokens;
mod workloads;

pub use authority::TestAuthority;
pub use certificates::TestCertificates;
pub use directory::{TestDirectory, test_dir};
pub use faults::{Calls, FaultyChannel, RpcFault, RpcFaults};
pub use issuer::{Fault, OidcIssuer};
pub use keys::SigningKey;
pub use revocations::TestRevocations;
pub use tokens::{AccessToken, RegistryToken, TestKeys};
pub use workloads::{
    BuildkiteJob, CircleCiJob, ComputeInstance, GitHubJob, GitLabJob, KubernetesPod, Workload,
};
