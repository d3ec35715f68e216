//! Parallel: branches side by side, each a frame of its own. They join as iterations of a Map do.

use std::sync::Arc;

use asl::program::Parallel;

use crate::context::Moment;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::frame::Work;
use crate::ids::FrameId;
use crate::turn::{Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, parallel: &Parallel) -> Result<(), Fault> {
    let effective = turn.effective_input(site)?;
    let input = turn.arguments(site, &effective, Moment::default())?;
    turn.check_size(&input, &site.state.name)?;
    let branches = parallel.branches.len() as u32;
    turn.emit(site.frame, EventKind::ParallelStateStarted { branches, input });
    for _ in 0..branches {
        next_branch(turn, site, parallel)?;
    }
    Ok(())
}

pub(crate) fn next_branch<'a>(turn: &mut Turn<'a>, site: Site<'a>, parallel: &Parallel) -> Result<(), Fault> {
    let frame = turn.frame(site.frame);
    let Some(Work::Fan(fan)) = frame.visit().map(|visit| &visit.work) else { return Ok(()) };
    let workflow = turn.program.workflow(parallel.branches[fan.next as usize]);
    let kind = EventKind::BranchStarted {
        parent: site.frame,
        index: fan.next,
        first: Arc::clone(&turn.program.state(workflow.start_at).path),
        input: fan.input.clone(),
    };
    let prev = frame.last;
    turn.emit_after(FrameId(turn.execution.frames.len() as u32), prev, kind);
    Ok(())
}
