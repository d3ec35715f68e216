//! Fail: the scope ends with an error. There is no FailStateExited.

use std::sync::Arc;

use asl::dynamic;
use asl::program::{Dynamic, Fail};

use crate::data_flow::Sight;
use crate::fault::Fault;
use crate::start::Failure;
use crate::turn::{Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, fail: &Fail) -> Result<(), Fault> {
    let input = turn.visit(site.frame).input.clone();
    let mut text = |dynamic: &Dynamic<Arc<str>>| {
        turn.look(site, dynamic, Sight::of(&input), |view, entropy| dynamic::text(dynamic, view, entropy))
    };
    let error = fail.error.as_ref().map(&mut text).transpose()?;
    let cause = fail.cause.as_ref().map(&mut text).transpose()?;
    Err(Fault::Bare(Failure { error, cause }))
}
