//! Policy documents: read and checked once, evaluated often.
//!
//! A document that parses can be evaluated: unknown operators and malformed elements are refused when it is stored, in
//! IAM's words. Evaluation is pure; time and addresses come as condition keys.

mod condition;
mod document;
mod pattern;

pub use condition::{Condition, Keys};
pub use document::{Effect, Kind, Malformed, Policy, Principals, Statement};
pub use pattern::Pattern;

use crate::wire::Principal;

/// What a set of policies says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement denies it; nothing can allow it any more.
    Denied,
    /// A statement allows it, and none denies it.
    Allowed,
    /// No statement speaks of it.
    Silent,
}

/// How a policy's `Principal` element matches a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrincipalMatch {
    /// It does not.
    None,
    /// Its account is named: policies of that account must allow the action as well.
    Account,
    /// The caller itself is named.
    Direct,
}

/// The verdict of identity-based policies.
pub fn evaluate<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    action: &str,
    resource: &str,
    keys: &Keys,
) -> Verdict {
    let mut verdict = Verdict::Silent;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        if !statement.applies(action, Some(resource), keys) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return Verdict::Denied,
            Effect::Allow => verdict = Verdict::Allowed,
        }
    }
    verdict
}

/// The verdict of a policy with principals (of a resource, or a role's trust), and how far its allowance reaches.
/// Without `resource` the statements' resources are not looked at: a trust policy has none.
pub fn evaluate_for(
    policy: &Policy,
    principal: &Principal,
    action: &str,
    resource: Option<&str>,
    keys: &Keys,
) -> (Verdict, PrincipalMatch) {
    let mut reach = PrincipalMatch::None;
    for statement in &policy.statements {
        let matched = statement.principal_match(principal);
        if matched == PrincipalMatch::None || !statement.applies(action, resource, keys) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return (Verdict::Denied, PrincipalMatch::None),
            Effect::Allow => reach = reach.max(matched),
        }
    }
    let verdict = if reach == PrincipalMatch::None { Verdict::Silent } else { Verdict::Allowed };
    (verdict, reach)
}

#[cfg(test)]
mod tests;
