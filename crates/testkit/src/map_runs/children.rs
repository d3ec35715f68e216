//! The children of a simulated Map Run, as the world knows them.
//!
//! Invariant: a Standard child that began is known by its ARN and outlives the process; an Express child is begun again from its
//! row until its end is on disk.

use std::sync::Arc;

use engine::Start;
use engine::map_run::{ChildResult, ChildStatus, FindUnsuccessful, MapRunInputKind, Unsuccessful};
use store::{ExecutionStatus, MapRunItem, MapRunItemsQuery, WhichItems};

use super::{ARN, Message, World};
use crate::laws::{Checked, Law, hold};

/// A child, as the world knows it.
#[derive(Clone, Debug)]
pub(super) struct Child {
    arn: Arc<str>,
    redrives: u32,
    pub begun: bool,
    pub ended: Option<ChildResult>,
}

impl World {
    pub(super) fn rows(&self, from: u64, which: WhichItems) -> Vec<MapRunItem> {
        let query = MapRunItemsQuery { map_run_arn: ARN.into(), from, which, limit: 1_000 };
        self.store.reader().map_run_items(&query).expect("rows")
    }

    pub(super) fn child_ends(&mut self, index: u64) {
        let Some(child) = self.children.get(&index) else { return };
        let redrives = Some(child.redrives);
        let result = child.ended.clone().unwrap_or_else(|| self.plan.result(index, self.start.redrive));
        if let Some(child) = self.children.get_mut(&index) {
            child.ended = Some(result.clone());
        }
        self.input(MapRunInputKind::ChildEnded { index, redrives, result });
    }

    pub(super) fn run_child(&mut self, index: u64, start: Option<Arc<Start>>) -> Checked {
        let row = self.rows(index, WhichItems::All).into_iter().next().filter(|row| row.index == index);
        let Some(row) = row else {
            return hold(Law::L6, false, || format!("child {index} is to run and has no row"));
        };
        hold(Law::L6, row.status == ExecutionStatus::Running, || {
            format!("child {index} is to run: {row:?}")
        })?;
        let (arn, known) = (Arc::clone(&row.execution_arn), self.children.get(&index).cloned());
        let first = start.is_none_or(|start| start.execution_arn == arn && known.is_none());
        hold(Law::L6, first, || format!("child {index} is started a second time"))?;
        match known {
            None => {
                let child = Child { arn, redrives: row.redrive_count, begun: false, ended: None };
                self.children.insert(index, child);
                self.send(40, Message::Begins(index));
            }
            Some(child) => {
                let same = child.arn == arn || self.plan.express;
                hold(Law::SameEnd, same, || format!("child {index} is {arn} and was {}", child.arn))?;
                self.run_again(index, child, row.redrive_count);
            }
        }
        Ok(())
    }

    fn run_again(&mut self, index: u64, child: Child, redrives: u32) {
        let succeeded = matches!(child.ended, Some(ChildResult::Succeeded(_)));
        match child.ended {
            // An Express child has nothing on disk but its row: it runs again.
            Some(_) if self.plan.express || (!succeeded && redrives > child.redrives) => {
                self.children.insert(index, Child { redrives, ended: None, begun: true, ..child });
                self.send(500, Message::Ends(index));
            }
            Some(result) => {
                self.input(MapRunInputKind::ChildEnded { index, redrives: Some(redrives), result });
            }
            None => {}
        }
    }

    pub(super) fn stop_child(&mut self, index: u64, redrives: u32) {
        let begun = self.children.get(&index).is_some_and(|child| child.begun);
        if begun && !self.plan.express {
            let child = self.children.get_mut(&index).expect("it was begun");
            let result = child.ended.get_or_insert(ChildResult::Aborted).clone();
            // One that was to be redriven, and was not any more, is stopped before it began again.
            let redrives = Some(child.redrives).filter(|count| *count >= redrives);
            self.messages.retain(|_, message| !matches!(message, Message::Ends(of) if *of == index));
            return self.input(MapRunInputKind::ChildEnded { index, redrives, result });
        }
        let of_it =
            |message: &Message| matches!(message, Message::Ends(of) | Message::Begins(of) if *of == index);
        self.messages.retain(|_, message| !of_it(message));
        self.children.remove(&index);
        let redrives = self.plan.express.then_some(redrives);
        self.input(MapRunInputKind::ChildEnded { index, redrives, result: ChildResult::Aborted });
    }

    pub(super) fn find_unsuccessful(&mut self, find: &FindUnsuccessful) {
        let FindUnsuccessful { redrive, from, .. } = *find;
        let mut found = self.rows(from, WhichItems::Unsuccessful);
        found.truncate(1 + self.dice.below(4) as usize);
        let children = found.iter().filter_map(|item| {
            let status = match item.status {
                ExecutionStatus::Failed => ChildStatus::Failed,
                ExecutionStatus::TimedOut => ChildStatus::TimedOut,
                ExecutionStatus::Aborted => ChildStatus::Aborted,
                ExecutionStatus::Running | ExecutionStatus::Succeeded | ExecutionStatus::PendingRedrive => {
                    return None;
                }
            };
            let redrives = match self.children.get(&item.index) {
                _ if self.plan.express => item.redrive_count + 1,
                Some(child) if child.begun => child.redrives + 1,
                Some(_) | None => 0,
            };
            Some(Unsuccessful { index: item.index, items: item.items, status, redrives })
        });
        let (children, end) = (children.collect(), found.is_empty());
        self.input(MapRunInputKind::UnsuccessfulFound { redrive, from, children, end });
    }
}
