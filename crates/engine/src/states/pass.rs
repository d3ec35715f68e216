//! Pass: input to output.

use asl::program::Pass;

use crate::context::Moment;
use crate::fault::Fault;
use crate::turn::{Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, pass: &Pass) -> Result<(), Fault> {
    let result = match &pass.result {
        Some(result) => result.clone(),
        None => {
            let effective = turn.effective_input(site)?;
            turn.arguments(site, &effective, Moment::default())?
        }
    };
    turn.finish(site, result)
}
