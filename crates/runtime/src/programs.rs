//! Compiled definitions, shared by all executions that run them.
//!
//! Invariant: a definition is checked once, when it is created; a stored one is only compiled, so a stricter validator
//! orphans nothing. The cache is bounded; what falls out is compiled again from the stored text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use asl::CompileOptions;
use asl::diagnostic::Diagnostic;
use asl::program::Program;
use asl::resource::ResourceCatalog;
use engine::{DefinitionHash, StateMachineType};
use sha2::{Digest, Sha256};
use store::{Reader, Scope, StoreError};

/// Compiles a definition for a type of state machine.
pub type Compile = Arc<dyn Fn(&str, StateMachineType) -> Result<Program, Vec<Diagnostic>> + Send + Sync>;

/// The two ways in which definitions are read.
#[derive(Clone)]
pub struct Compilers {
    /// For CreateStateMachine and UpdateStateMachine: with the whole catalog of resources and every check.
    pub checked: Compile,
    /// For definitions that were accepted before: refuses only what cannot be understood at all.
    pub stored: Compile,
}

impl Compilers {
    /// The compiler of crate `asl`, with this catalog of resources for definitions that are created.
    pub fn with_catalog(catalog: Arc<dyn ResourceCatalog + Send + Sync>) -> Compilers {
        let checked = move |text: &str, machine_type: StateMachineType| {
            asl::compile(
                text,
                &CompileOptions { machine_type, catalog: &*catalog, ..CompileOptions::default() },
            )
        };
        Compilers { checked: Arc::new(checked), stored: Arc::new(asl::compile_stored) }
    }
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The text is gone.
    #[error("the definition is not in the store")]
    Missing,
    /// The text was accepted once and is not understood now.
    #[error("the stored definition does not compile: {0}")]
    Invalid(String),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const PROGRAMS_MAX: usize = 1_024;

/// The cache.
pub struct Programs {
    reader: Arc<dyn Reader>,
    compilers: Compilers,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    programs: HashMap<DefinitionHash, (Arc<Program>, u64)>,
    uses: u64,
}

/// The name of a text.
pub fn hash(definition: &str) -> DefinitionHash {
    DefinitionHash(Sha256::digest(definition).into())
}

impl Programs {
    /// An empty cache over what `reader` finds.
    pub fn new(reader: Arc<dyn Reader>, compilers: Compilers) -> Programs {
        Programs { reader, compilers, cache: Mutex::default() }
    }

    /// Compiles a definition that somebody wants to create, with all checks.
    pub fn check(
        &self,
        definition: &str,
        machine_type: StateMachineType,
    ) -> Result<Arc<Program>, Vec<Diagnostic>> {
        let program = Arc::new((self.compilers.checked)(definition, machine_type)?);
        self.keep(hash(definition), &program);
        Ok(program)
    }

    /// The program of a stored definition.
    pub fn get(&self, scope: &Scope, definition: DefinitionHash) -> Result<Arc<Program>, ProgramError> {
        if let Some(program) = self.cached(definition) {
            return Ok(program);
        }
        let text = self.reader.definition(scope, definition)?.ok_or(ProgramError::Missing)?;
        // The type decides only what is refused, and nothing is refused here.
        let compiled = (self.compilers.stored)(&text, StateMachineType::Standard);
        let program = compiled.map_err(|found| ProgramError::Invalid(asl::diagnostic::joined(&found)))?;
        let program = Arc::new(program);
        self.keep(definition, &program);
        Ok(program)
    }

    /// The program of a definition if it is in memory.
    pub fn cached(&self, definition: DefinitionHash) -> Option<Arc<Program>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let uses = cache.uses;
        let (program, used) = cache.programs.get_mut(&definition)?;
        *used = uses;
        Some(Arc::clone(program))
    }

    fn keep(&self, definition: DefinitionHash, program: &Arc<Program>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let uses = cache.uses;
        cache.programs.insert(definition, (Arc::clone(program), uses));
        if cache.programs.len() > PROGRAMS_MAX {
            // Half of them at once, so that the search is paid for rarely.
            let mut by_use: Vec<u64> = cache.programs.values().map(|(_, used)| *used).collect();
            by_use.sort_unstable();
            let oldest = by_use[by_use.len() / 2];
            cache.programs.retain(|_, (_, used)| *used >= oldest);
        }
    }
}
