//! Choice: branching by data. The matched rule brings its own Assign and Output; the state's are for the Default.

use asl::choice;
use asl::program::{Choice, ChoiceRule, QueryLanguage};

use crate::data_flow::Sight;
use crate::fault::Fault;
use crate::turn::{Passed, Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, choice: &'a Choice) -> Result<(), Fault> {
    let effective = turn.effective_input(site)?;
    let rule = turn.look(site, choice.rules.as_slice(), Sight::of(&effective), |view, entropy| {
        for rule in &choice.rules {
            if choice::matches(&rule.condition, view, entropy)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    })?;
    let (passed, next) = match (rule, choice.default) {
        (Some(rule), _) => (chosen(turn, site, rule, effective)?, rule.next),
        (None, Some(default)) => (turn.pass_on(site, effective)?, default),
        (None, None) => {
            let text = "Failed to transition out of the state. The state does not point to a next state.";
            // The documents call this States.NoChoiceMatched; the service does not.
            return Err(Fault::Runtime(text.into()));
        }
    };
    turn.exit(site, passed, Some(next))
}

fn chosen<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    rule: &ChoiceRule,
    effective: asl::payload::Payload,
) -> Result<Passed, Fault> {
    let assigned = turn.assignments(site, rule.assign.as_ref(), Sight::of(&effective))?;
    let output = match (&rule.output, site.state.query_language) {
        (Some(template), _) => turn.template(site, template, Sight::of(&effective))?,
        (None, QueryLanguage::JsonPath) => {
            turn.select(site, &site.state.flow.output_path, "OutputPath", &effective)?
        }
        // The state's Output, like its Assign, is for the Default alone.
        (None, QueryLanguage::Jsonata) => effective,
    };
    Ok(Passed { output, assigned })
}
