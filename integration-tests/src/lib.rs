//! The harness of the integration tests: real processes, a plain HTTP client, and a sandbox for other people's clients.
//!
//! It owns starting, watching and stopping the programs under test ([`Cluster`]), the content that tests push
//! ([`image`]), an HTTP client that hides nothing ([`Registry`]) and the private world in which real container clients run
//! ([`Sandbox`]). It never links a service: whatever it learns, it learns as a user would, over a socket.
//!
//! Invariants: no fixed ports, no fixed paths, every wait has a deadline, and every process is gone when its test ends.

pub mod cluster;
pub mod deadline;
pub mod gateways;
pub mod image;
pub mod nginx;
pub mod openid_provider;
pub mod pki;
pub mod ports;
pub mod process;
pub mod programs;
pub mod registry;
pub mod sandbox;

pub use cluster::{Cluster, Mode, Setup};
pub use registry::{Credential, Registry, Reply, Request, Session};
pub use sandbox::{Sandbox, Transport};

/// Runs each listed `async fn(Mode) -> anyhow::Result<()>` twice: against one process and against five.
///
/// A scenario that is written but not listed is dead code, which the lints refuse.
#[macro_export]
macro_rules! in_both_modes {
    ($($scenario:ident),+ $(,)?) => {
        mod all_in_one {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() -> anyhow::Result<()> {
                Box::pin(super::$scenario($crate::Mode::AllInOne)).await
            })+
        }
        mod split {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() -> anyhow::Result<()> {
                Box::pin(super::$scenario($crate::Mode::Split)).await
            })+
        }
    };
}
