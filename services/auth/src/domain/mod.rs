//! Rules without I/O: who may do what, and what a token therefore says.

mod capability;
mod claims;
mod evaluation;
pub(crate) mod event;
mod explanation;
mod identity;
mod narrowing;
pub(crate) mod page;
mod pattern;
mod resource;
pub(crate) mod role;
mod scopes;

pub(crate) use capability::{Capability, CapabilitySet};
pub(crate) use claims::{CLAIM_LIMIT, Claims, Condition, Text, text_of};
pub(crate) use evaluation::{
    Asker, Binding, Facts, Finding, Holder, Outcome, Question, Verdict, evaluate, reach,
};
pub(crate) use explanation::{Explanation, explain, why};
pub(crate) use identity::{
    ANONYMOUS, ClaimMatch, Human, Identity, IssuerFacts, Mismatch, Rule, Rules, StaticKeys, Upstream,
    human_id, pull_token_issuer,
};
pub(crate) use narrowing::Narrowing;
pub(crate) use pattern::{Pattern, PatternError, Patterns};
pub(crate) use resource::Resource;
pub(crate) use scopes::{Decided, Denied, divide, parse_scopes};
