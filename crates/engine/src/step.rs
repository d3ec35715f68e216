//! `step`: one input in, events and effects out.

use asl::program::Program;

use crate::effect::Effect;
use crate::event::Event;
use crate::execution::Execution;
use crate::input::{Ignored, Input, Outcome};

/// What an input led to. The events were applied already.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whether the input fitted the state.
    pub outcome: Outcome,
    /// To be appended to the journal in one commit.
    pub events: Vec<Event>,
    /// To be carried out after that commit, not before.
    pub effects: Vec<Effect>,
    /// The budget is used up: go on with `InputKind::Resumed`.
    pub more: bool,
}

/// Moves an execution by one input until it waits for the world again, or `budget` events were written.
/// (The interpreter lands next; until then every input is stale.)
pub fn step(_program: &Program, _execution: &mut Execution, _input: Input, _budget: u32) -> Step {
    Step { outcome: Outcome::Ignored(Ignored::Stale), events: Vec::new(), effects: Vec::new(), more: false }
}
