//! Data flow: how a state's input becomes the input of its work, and the work's result the state's output.
//!
//! JSONPath: InputPath → Parameters → work → ResultSelector → ResultPath (into the raw input) → OutputPath, with Assign
//! looking at the raw result. JSONata: Arguments → work → Output and Assign, neither seeing the other. Every variable is read
//! as it was when the state was entered.

use std::sync::Arc;

use asl::entropy::SeededEntropy;
use asl::jsonpath::ResultPathMatchFailure;
use asl::payload::Payload;
use asl::program::{Catcher, PathSelector, QueryLanguage, ResultPath, StateKind, Template};
use asl::template::{self, TemplateError, View};
use serde_json::{Map, Value};

use crate::context::Moment;
use crate::context_use::ReadsContext;
use crate::fault::Fault;
use crate::start::Failure;
use crate::turn::{Passed, Site, Turn};
use crate::variables::Visible;

impl From<TemplateError> for Fault {
    fn from(error: TemplateError) -> Fault {
        match error.error {
            template::QUERY_EVALUATION => Fault::Query {
                text: error.cause,
                location: error.location.map(|location| location.to_string()),
            },
            template::RUNTIME => Fault::Runtime(error.cause),
            name => Fault::Named(name, error.cause),
        }
    }
}

/// What an evaluation looks at besides context and variables.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'p> {
    /// `$`, or `$states.input`.
    pub input: &'p Payload,
    /// `$states.result`.
    pub result: Option<&'p Payload>,
    /// `$states.errorOutput`.
    pub error_output: Option<&'p Payload>,
    /// What is special about now.
    pub moment: Moment,
}

impl<'p> Sight<'p> {
    /// Only an input.
    pub fn of(input: &'p Payload) -> Sight<'p> {
        Sight { input, result: None, error_output: None, moment: Moment::default() }
    }
}

impl<'a> Turn<'a> {
    /// Evaluates something over a frame's data. `what` tells whether the context object is needed for it.
    pub fn look<R>(
        &mut self,
        site: Site<'a>,
        what: &(impl ReadsContext + ?Sized),
        sight: Sight<'_>,
        evaluate: impl FnOnce(&View<'_>, &mut SeededEntropy) -> Result<R, TemplateError>,
    ) -> Result<R, Fault> {
        let context = what.reads_context().then(|| self.context(site.frame, sight.moment));
        let variables = Visible { execution: self.execution, frame: site.frame };
        let view = View::new(sight.input, context.as_ref().unwrap_or(&Value::Null), &variables, self.at);
        let view = View { result: sight.result, error_output: sight.error_output, ..view };
        let result = evaluate(&view, &mut self.entropy).map_err(Fault::from);
        if context.is_some() {
            self.context = context;
        }
        result
    }

    /// Evaluates a template.
    pub fn template(
        &mut self,
        site: Site<'a>,
        template: &Template,
        sight: Sight<'_>,
    ) -> Result<Payload, Fault> {
        match template {
            Template::Literal(payload) => Ok(payload.clone()),
            template => {
                self.look(site, template, sight, |view, entropy| template::evaluate(template, view, entropy))
            }
        }
    }

    /// The state's input after InputPath.
    pub fn effective_input(&mut self, site: Site<'a>) -> Result<Payload, Fault> {
        let input = self.visit(site.frame).input.clone();
        let effective = self.select(site, &site.state.flow.input_path, "InputPath", &input)?;
        self.note(|inspection| inspection.after_input_path = Some(effective.clone()));
        Ok(effective)
    }

    /// The input of the state's work: Parameters or Arguments over the effective input.
    pub fn arguments(
        &mut self,
        site: Site<'a>,
        effective: &Payload,
        moment: Moment,
    ) -> Result<Payload, Fault> {
        let arguments = match &site.state.flow.arguments {
            None => effective.clone(),
            Some(template) => self.template(site, template, Sight { moment, ..Sight::of(effective) })?,
        };
        self.note(|inspection| inspection.after_arguments = Some(arguments.clone()));
        Ok(arguments)
    }

    /// Output and assignments of a state whose work gave a result.
    pub fn pass_on(&mut self, site: Site<'a>, result: Payload) -> Result<Passed, Fault> {
        match site.state.query_language {
            QueryLanguage::JsonPath => self.pass_on_by_paths(site, result),
            QueryLanguage::Jsonata => {
                let worked = matches!(
                    site.state.kind,
                    StateKind::Task(_) | StateKind::Parallel(_) | StateKind::Map(_)
                );
                let input = self.visit(site.frame).input.clone();
                let sight = Sight { result: worked.then_some(&result), ..Sight::of(&input) };
                let assigned = self.assignments(site, site.state.flow.assign.as_ref(), sight)?;
                let output = match &site.state.flow.output {
                    Some(template) => self.template(site, template, sight)?,
                    None if worked => result,
                    None => input,
                };
                Ok(Passed { output, assigned })
            }
        }
    }

    fn pass_on_by_paths(&mut self, site: Site<'a>, result: Payload) -> Result<Passed, Fault> {
        let flow = &site.state.flow;
        let assigned = self.assignments(site, flow.assign.as_ref(), Sight::of(&result))?;
        let selected = match &flow.result_selector {
            Some(template) => self.template(site, template, Sight::of(&result))?,
            None => result,
        };
        self.note(|inspection| inspection.after_result_selector = Some(selected.clone()));
        let merged = self.merge(site, &flow.result_path, selected)?;
        self.note(|inspection| inspection.after_result_path = Some(merged.clone()));
        let output = self.select(site, &flow.output_path, "OutputPath", &merged)?;
        Ok(Passed { output, assigned })
    }

    /// Output and assignments of a state that a catcher leaves.
    pub fn catch_output(
        &mut self,
        site: Site<'a>,
        catcher: &Catcher,
        failure: &Failure,
    ) -> Result<Passed, Fault> {
        let error_output = error_output(failure);
        if site.state.query_language == QueryLanguage::JsonPath {
            let assigned = self.assignments(site, catcher.assign.as_ref(), Sight::of(&error_output))?;
            let output = self.merge(site, &catcher.result_path, error_output)?;
            return Ok(Passed { output, assigned });
        }
        let input = self.visit(site.frame).input.clone();
        let sight = Sight { error_output: Some(&error_output), ..Sight::of(&input) };
        let assigned = self.assignments(site, catcher.assign.as_ref(), sight)?;
        let output = match &catcher.output {
            Some(template) => self.template(site, template, sight)?,
            None => error_output.clone(),
        };
        Ok(Passed { output, assigned })
    }

    /// Evaluates an Assign.
    pub fn assignments(
        &mut self,
        site: Site<'a>,
        assign: Option<&Template>,
        sight: Sight<'_>,
    ) -> Result<Vec<(Arc<str>, Payload)>, Fault> {
        match assign {
            None => Ok(Vec::new()),
            Some(assign) => {
                self.look(site, assign, sight, |view, entropy| template::assign(assign, view, entropy))
            }
        }
    }

    /// Applies InputPath or OutputPath.
    pub fn select(
        &mut self,
        site: Site<'a>,
        selector: &PathSelector,
        field: &'static str,
        payload: &Payload,
    ) -> Result<Payload, Fault> {
        match selector {
            PathSelector::Whole => Ok(payload.clone()),
            PathSelector::Empty => Ok(Payload::empty_object()),
            PathSelector::Path(_) => self.look(site, selector, Sight::of(payload), |view, entropy| {
                template::select(selector, field, payload, view, entropy)
            }),
        }
    }

    /// Applies ResultPath to the raw input.
    fn merge(&mut self, site: Site<'a>, result_path: &ResultPath, result: Payload) -> Result<Payload, Fault> {
        let input = &self.visit(site.frame).input;
        match result_path {
            ResultPath::Replace => Ok(result),
            ResultPath::Discard => Ok(input.clone()),
            ResultPath::At(path) => {
                let failed = |failure: ResultPathMatchFailure| {
                    Fault::Named("States.ResultPathMatchFailure", failure.to_string())
                };
                path.put(input, &result).map_err(failed)
            }
        }
    }
}

/// What a catcher sees: always both keys, `null` where the failure lacks one
/// (recorded: a SendTaskFailure without error and cause gives `{"Error":null,"Cause":null}`).
fn error_output(failure: &Failure) -> Payload {
    let text = |text: &Option<Arc<str>>| text.as_deref().map_or(Value::Null, Value::from);
    let mut output = Map::new();
    output.insert("Error".into(), text(&failure.error));
    output.insert("Cause".into(), text(&failure.cause));
    Payload::from_value(Value::Object(output))
}
