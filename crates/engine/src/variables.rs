//! Variables: what a state sees of them, and AWS's bounds on them.
//!
//! Scopes follow the tree of frames: a branch or iteration reads its own variables and those around it, and writes only its
//! own. What it wrote is gone when it ends.

use std::sync::Arc;

use asl::payload::{Document, Payload};
use asl::scope::Variables;
use serde_json::Value;

use crate::execution::Execution;
use crate::fault::Fault;
use crate::ids::FrameId;
use crate::turn::{Site, Turn};

/// Most bytes of all variables of an execution (AWS: 10 MiB).
const STORED_MAX: u64 = 10 * 1024 * 1024;

/// The variables that a frame sees.
#[derive(Clone, Copy)]
pub(crate) struct Visible<'e> {
    pub execution: &'e Execution,
    pub frame: FrameId,
}

impl Visible<'_> {
    /// The payload of a variable: the innermost scope that has it.
    pub fn payload(&self, name: &str) -> Option<&Payload> {
        self.execution.ancestors(self.frame).find_map(|frame| frame.variables.get(name))
    }
}

impl Variables for Visible<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.payload(name).map(Payload::value)
    }

    fn document(&self, name: &str) -> Option<Document<'_>> {
        self.payload(name).map(Document::Payload)
    }
}

impl<'a> Turn<'a> {
    /// Refuses assignments above AWS's bounds.
    pub fn check_variables(&self, site: Site<'a>, assigned: &[(Arc<str>, Payload)]) -> Result<(), Fault> {
        if assigned.is_empty() {
            return Ok(());
        }
        let mut field = 0;
        for (_, value) in assigned {
            self.check_size(value, &site.state.name)?;
            field += value.len() as u64;
        }
        let payload_max = self.start().limits.payload_max;
        let replaced = |name: &str| assigned.iter().any(|(assigned, _)| &**assigned == name);
        let stored: u64 = self
            .execution
            .frames
            .iter()
            .flatten()
            .flat_map(|frame| &frame.variables)
            .filter(|(name, _)| !replaced(name))
            .map(|(_, value)| value.len() as u64)
            .sum();
        if payload_max > 0 && (field > payload_max || stored + field > STORED_MAX) {
            return Err(Fault::too_large(&site.state.name));
        }
        Ok(())
    }
}
