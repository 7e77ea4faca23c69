//! Real clients against real processes: all in one, split, and behind nginx with TLS on another name.
//!
//! These tests need root (mount namespaces, container storage) and the programs that `integration-tests/run` installs.

mod buildah;
mod crane;
mod credential_helper;
mod docker;
mod documented;
mod large;
mod next_commands;
mod oras;
mod podman;
mod skopeo;
mod world;
