//! The administration: groups, identities, roles, bindings and policies, and what a token may do by them.

mod authorization;
mod bindings;
mod conditions;
mod explain;
mod groups;
mod identities;
mod outbox;
mod policies;
mod roles;
mod start;
mod support;
