//! Addresses: account and region as one small number, executions as numbers that grow.
//!
//! A key can be drawn without the disk, since a shard steps ahead of the commit: a number that was drawn and never
//! committed is simply drawn again after a restart. Scopes become durable in the first transaction that uses them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use crate::StoreError;

/// Account and region, with which every key begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Twelve digits.
    pub account: Arc<str>,
    /// `eu-central-1`.
    pub region: Arc<str>,
}

impl Scope {
    /// The scope that an ARN names: its fifth and fourth part.
    pub fn of_arn(arn: &str) -> Option<Scope> {
        let mut parts = arn.split(':');
        let region = parts.nth(3)?;
        let account = parts.next()?;
        parts.next()?;
        Some(Scope { account: account.into(), region: region.into() })
    }
}

/// An interned [`Scope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId(pub u32);

/// The address of an execution in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutionKey {
    /// Account and region.
    pub scope: ScopeId,
    /// Grows with every execution of the store.
    pub number: u64,
}

impl std::fmt::Display for ExecutionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.scope.0, self.number)
    }
}

/// Draws execution keys and interns scopes; one a store, shared by the shards.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next: AtomicU64,
    scopes: RwLock<Scopes>,
}

#[derive(Debug, Default)]
struct Scopes {
    ids: HashMap<Scope, ScopeId>,
    names: Vec<Scope>,
}

/// Enough for every region of 4,000 accounts; a bound on what a stranger's requests can make us remember.
const SCOPES_MAX: usize = 1 << 17;

impl Keys {
    pub(crate) fn new(next: u64, scopes: Vec<Scope>) -> Keys {
        let ids = scopes.iter().cloned().zip((1..).map(ScopeId)).collect();
        Keys(Arc::new(Inner {
            next: AtomicU64::new(next),
            scopes: RwLock::new(Scopes { ids, names: scopes }),
        }))
    }

    /// A key for a new execution of that scope, never given before.
    pub fn draw(&self, scope: &Scope) -> Result<ExecutionKey, StoreError> {
        let scope = self.intern(scope)?;
        Ok(ExecutionKey { scope, number: self.0.next.fetch_add(1, Ordering::Relaxed) })
    }

    /// The number of a scope, if it was ever used.
    pub fn find(&self, scope: &Scope) -> Option<ScopeId> {
        self.read().ids.get(scope).copied()
    }

    /// The scope of a number.
    pub fn scope(&self, id: ScopeId) -> Option<Scope> {
        let index = (id.0 as usize).checked_sub(1)?;
        self.read().names.get(index).cloned()
    }

    /// The number of a scope, new or old.
    pub(crate) fn intern(&self, scope: &Scope) -> Result<ScopeId, StoreError> {
        if let Some(id) = self.find(scope) {
            return Ok(id);
        }
        let mut scopes = self.0.scopes.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(id) = scopes.ids.get(scope) {
            return Ok(*id);
        }
        if scopes.names.len() >= SCOPES_MAX {
            return Err(StoreError::Refused(format!("more than {SCOPES_MAX} pairs of account and region")));
        }
        scopes.names.push(scope.clone());
        let id = ScopeId(u32::try_from(scopes.names.len()).unwrap_or(u32::MAX));
        scopes.ids.insert(scope.clone(), id);
        Ok(id)
    }

    /// The scope that an ARN names, interned.
    pub(crate) fn intern_arn(&self, arn: &str) -> Result<ScopeId, StoreError> {
        let scope =
            Scope::of_arn(arn).ok_or_else(|| StoreError::Refused(format!("{arn:?} is not an ARN")))?;
        self.intern(&scope)
    }

    /// Numbers and names of all scopes after the first `known` ones.
    pub(crate) fn scopes_after(&self, known: usize) -> Vec<(ScopeId, Scope)> {
        let scopes = self.read();
        scopes
            .names
            .iter()
            .enumerate()
            .skip(known)
            .map(|(index, scope)| (ScopeId(index as u32 + 1), scope.clone()))
            .collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Scopes> {
        self.0.scopes.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
