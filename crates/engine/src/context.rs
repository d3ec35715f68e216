//! The context object: `$$` in JSONPath, `$states.context` in JSONata.
//!
//! It is made afresh for a state that looks at it, and only then: it holds the execution's whole input.

use asl::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use crate::event::StateType;
use crate::execution::Execution;
use crate::frame::{Frame, Visit, Work};
use crate::ids::{FrameId, TaskId};
use crate::start::Start;
use crate::token;
use crate::turn::Turn;

/// What is special about the moment of an evaluation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// Nonce of the task token that is about to be issued.
    pub nonce: Option<u64>,
    /// Index of the item that an ItemSelector is evaluated for.
    pub item: Option<u32>,
}

impl Turn<'_> {
    /// The context object as a frame sees it now. The part that a turn does not change is kept between evaluations.
    pub fn context(&mut self, id: FrameId, moment: Moment) -> Value {
        let kept = match self.context.take() {
            Some(Value::Object(context)) => context,
            _ => self.execution.unchanging_context(),
        };
        let context = self.execution.context(kept, id, moment);
        match (&self.trial, self.execution.frame(id).and_then(Frame::visit)) {
            (Some(trial), Some(visit)) => trial.context(context, &visit.input, moment),
            _ => context,
        }
    }
}

impl Execution {
    /// The context object as a frame sees it, without haste.
    pub(crate) fn whole_context(&self, id: FrameId) -> Value {
        self.context(self.unchanging_context(), id, Moment::default())
    }

    fn context(&self, kept: Map<String, Value>, id: FrameId, moment: Moment) -> Value {
        let mut context = kept;
        let Some(visit) = self.frame(id).and_then(Frame::visit) else { return Value::Object(context) };
        context.insert("State".into(), state_context(visit));
        let task = moment.nonce.zip(self.start()).map(|(nonce, start)| {
            let token = token::encode(&start.execution_arn, TaskId(self.seq + 1), nonce);
            json!({ "Token": token })
        });
        replace(&mut context, "Task", task);
        let item = match moment.item {
            Some(index) => item_context(visit, index),
            None => self.enclosing_item(id),
        };
        replace(&mut context, "Map", item.map(|item| json!({ "Item": item })));
        Value::Object(context)
    }

    fn unchanging_context(&self) -> Map<String, Value> {
        let Some(start) = self.start() else { return Map::new() };
        let machine = json!({ "Id": &*start.state_machine_arn, "Name": &*start.state_machine_name });
        let members = [("Execution", self.execution_context(start)), ("StateMachine", machine)];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn execution_context(&self, start: &Start) -> Value {
        let mut execution = Map::new();
        execution.insert("Id".into(), (&*start.execution_arn).into());
        execution.insert("Input".into(), start.input.value().clone());
        execution.insert("StartTime".into(), time(self.started_at));
        execution.insert("Name".into(), (&*start.name).into());
        execution.insert("RoleArn".into(), (&*start.role_arn).into());
        // Recorded: the caller of StartSyncExecution cannot redrive, and its execution does not know how often.
        if !start.synchronous {
            execution.insert("RedriveCount".into(), self.redrive_count.into());
        }
        if let Some(at) = self.redriven_at {
            execution.insert("RedriveTime".into(), time(at));
        }
        Value::Object(execution)
    }

    /// The item of the innermost iteration that a frame is part of.
    fn enclosing_item(&self, id: FrameId) -> Option<Value> {
        let mut frame = self.frame(id)?;
        while let Some((parent, index)) = frame.parent {
            frame = self.frame(parent)?;
            if let Some(item) = frame.visit().and_then(|visit| item_context(visit, index)) {
                return Some(item);
            }
        }
        None
    }
}

fn state_context(visit: &Visit) -> Value {
    let mut state = Map::new();
    state.insert("Name".into(), (&*visit.name).into());
    state.insert("EnteredTime".into(), time(visit.entered_at));
    if matches!(visit.state_type, StateType::Task | StateType::Parallel | StateType::Map) {
        state.insert("RetryCount".into(), visit.retry_count().into());
    }
    Value::Object(state)
}

fn item_context(visit: &Visit, index: u32) -> Option<Value> {
    let Work::Fan(fan) = &visit.work else { return None };
    match fan.items.as_ref()?.value() {
        Value::Array(items) => Some(json!({ "Index": index, "Value": items.get(index as usize)? })),
        Value::Object(items) => {
            let (key, value) = items.iter().nth(index as usize)?;
            Some(json!({ "Index": index, "Key": key, "Value": value }))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn replace(context: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            context.insert(name.into(), value);
        }
        None => {
            context.shift_remove(name);
        }
    }
}

fn time(at: Timestamp) -> Value {
    at.to_string().into()
}
