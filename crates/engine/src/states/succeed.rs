//! Succeed: the scope ends well.

use crate::fault::Fault;
use crate::turn::{Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>) -> Result<(), Fault> {
    let effective = turn.effective_input(site)?;
    turn.finish(site, effective)
}
