//! Whoever calls an RPC of the administration.

use roadstead_authn::AccessClaims;
use roadstead_types::Principal;

use crate::{
    access::{self, Bearer, SharedRules},
    domain::{
        Capability, CapabilitySet, Condition, Facts, Identity, Narrowing, Question, Resource, evaluate,
        event::Author,
    },
    error::Error,
    store::{Result, Snapshot},
};

/// The bearer of an access token, with what decisions about them need.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) claims: AccessClaims,
    pub(crate) narrowing: Narrowing,
    pub(crate) rules: SharedRules,
    pub(crate) author: Author,
}

impl Caller {
    pub(crate) fn bearer(&self) -> Bearer<'_> {
        Bearer {
            identities: &self.claims.provenance.identities,
            act: Some(&self.claims.act),
            narrowing: &self.narrowing,
        }
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.claims.principal
    }

    /// Refuses a token that was revoked since it was signed.
    pub(crate) fn check_alive(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        if snapshot.is_origin_revoked(&self.claims.provenance)? {
            return Err(Error::TokenInvalid("it was revoked"));
        }
        Ok(())
    }

    /// Whether the caller may do something at a resource.
    pub(crate) fn may(
        &self,
        snapshot: &Snapshot<'_>,
        capability: Capability,
        resource: &Resource,
    ) -> Result<bool> {
        let facts = self.facts(snapshot, resource)?;
        Ok(self.allows(&facts, snapshot.now, capability, resource, None))
    }

    /// Demands that the caller may do something at a resource.
    pub(crate) fn require(
        &self,
        snapshot: &Snapshot<'_>,
        capability: Capability,
        resource: &Resource,
    ) -> Result<()> {
        if self.may(snapshot, capability, resource)? {
            return Ok(());
        }
        Err(self.lacks(capability, resource))
    }

    /// Demands that the caller has capabilities at a resource and may hand them on under the given conditions: nobody
    /// gives what they do not have, nor frees it of a condition that they are under themselves.
    pub(crate) fn require_to_give(
        &self,
        snapshot: &Snapshot<'_>,
        capabilities: CapabilitySet,
        resource: &Resource,
        conditions: &[Condition],
    ) -> Result<()> {
        let facts = self.facts(snapshot, resource)?;
        let missing = capabilities
            .iter()
            .find(|capability| !self.allows(&facts, snapshot.now, *capability, resource, Some(conditions)));
        missing.map_or(Ok(()), |capability| Err(self.lacks(capability, resource)))
    }

    /// Demands that the caller could give everything that an identity has: whoever decides who an identity is has what
    /// it has.
    pub(crate) fn require_to_give_all_of(&self, snapshot: &Snapshot<'_>, identity: &Identity) -> Result<()> {
        for binding in snapshot.bindings_of(&identity.id, usize::MAX)? {
            self.require_to_give(
                snapshot,
                binding.capabilities,
                &binding.resource,
                &binding.conditions,
            )?;
        }
        Ok(())
    }

    /// Where the caller has a capability. For lists.
    pub(crate) fn reach(&self, snapshot: &Snapshot<'_>, capability: Capability) -> Result<Vec<Resource>> {
        let mut reach = access::reach_of(snapshot, &self.rules, &self.bearer(), &[capability])?;
        Ok(reach.pop().unwrap_or_default())
    }

    pub(crate) fn lacks(&self, capability: Capability, resource: &Resource) -> Error {
        Error::CapabilityMissing {
            identity: self.principal().to_string(),
            resource: resource.clone(),
            capability,
        }
    }

    fn facts(&self, snapshot: &Snapshot<'_>, resource: &Resource) -> Result<Facts> {
        access::facts(snapshot, &self.claims.provenance.identities, resource)
    }

    fn allows(
        &self,
        facts: &Facts,
        now: i64,
        capability: Capability,
        resource: &Resource,
        handed_on: Option<&[Condition]>,
    ) -> bool {
        let question = Question {
            capability,
            resource,
            handed_on,
        };
        evaluate(facts, &self.bearer().asker(now), &question, &self.rules).allowed
    }
}
