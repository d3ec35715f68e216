//! Map Runs, for customers: list, describe, update.

use std::sync::Arc;
use std::time::Duration;

use asl::arn::{Arn, ArnResource};
use asl::timestamp::Timestamp;
use engine::EventKind;
use engine::map_run::{MapRun, MapRunCounts, MapRunInputKind, MapRunStatus, Thresholds};

use crate::error::Error;
use crate::runtime::Runtime;
use crate::shard::Answer;
use crate::shell::map_runs::is_over;

/// How often a Map Run that runs, but is not in memory yet after a start, is looked for.
const LOOKS_MAX: usize = 200;

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An item of ListMapRuns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRunListItem {
    /// `executionArn`
    pub execution_arn: Arc<str>,
    /// `mapRunArn`
    pub map_run_arn: Arc<str>,
    /// `stateMachineArn`, with the label
    pub state_machine_arn: Arc<str>,
    /// `startDate`
    pub start_date: Timestamp,
    /// `stopDate`
    pub stop_date: Option<Timestamp>,
}

/// Answer of DescribeMapRun.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunDescription {
    /// `mapRunArn`
    pub map_run_arn: Arc<str>,
    /// `executionArn`
    pub execution_arn: Arc<str>,
    /// `status`
    pub status: MapRunStatus,
    /// `startDate`
    pub start_date: Timestamp,
    /// `stopDate`
    pub stop_date: Option<Timestamp>,
    /// `maxConcurrency` and the tolerated failures
    pub thresholds: Thresholds,
    /// `executionCounts`
    pub executions: MapRunCounts,
    /// `itemCounts`
    pub items: MapRunCounts,
    /// `redriveCount`
    pub redrive_count: u32,
    /// `redriveDate`
    pub redrive_date: Option<Timestamp>,
}

impl MapRunDescription {
    /// Of one that has begun.
    pub(crate) fn of(map_run: &MapRun) -> Option<MapRunDescription> {
        let ((executions, items), (start_date, stop_date)) = (map_run.counts(), map_run.times());
        let (redrive_count, redrive_date) = map_run.redrives();
        Some(MapRunDescription {
            map_run_arn: Arc::clone(map_run.map_run_arn()),
            execution_arn: Arc::clone(map_run.execution_arn()),
            status: map_run.status(),
            start_date,
            stop_date,
            thresholds: map_run.thresholds()?.clone(),
            executions,
            items,
            redrive_count,
            redrive_date,
        })
    }
}

/// UpdateMapRun: what is given is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateMapRun {
    /// `maxConcurrency`
    pub max_concurrency: Option<u64>,
    /// `toleratedFailureCount`
    pub tolerated_failure_count: Option<u64>,
    /// `toleratedFailurePercentage`
    pub tolerated_failure_percentage: Option<f64>,
}

impl Runtime {
    /// ListMapRuns of an execution, newest first.
    pub async fn list_map_runs(&self, execution_arn: &str) -> Result<Vec<MapRunListItem>, Error> {
        let row = self.execution_row(execution_arn).await?;
        let key = row.key;
        let events = self.core.read(move |reader| reader.events(key)).await?;
        let mut found: Vec<MapRunListItem> = Vec::new();
        let mut frames = Vec::new();
        for event in &events {
            match &event.kind {
                EventKind::MapRunStarted { map_run_arn } => {
                    let state_machine_arn = labelled_machine(map_run_arn);
                    frames.push(event.frame);
                    found.push(MapRunListItem {
                        execution_arn: Arc::clone(&row.arn),
                        map_run_arn: Arc::clone(map_run_arn),
                        state_machine_arn,
                        start_date: event.at,
                        stop_date: None,
                    });
                }
                EventKind::MapRunSucceeded { .. }
                | EventKind::MapRunFailed { .. }
                | EventKind::MapRunAborted {} => {
                    let place = frames.iter().rposition(|frame| *frame == event.frame);
                    if let Some(item) = place.and_then(|place| found.get_mut(place)) {
                        item.stop_date = Some(event.at);
                    }
                }
                _ => {}
            }
        }
        for item in &mut found {
            if let Some(described) = self.described(&item.map_run_arn).await? {
                (item.start_date, item.stop_date) = (described.start_date, described.stop_date);
            }
        }
        found.reverse();
        Ok(found)
    }

    /// DescribeMapRun.
    pub async fn describe_map_run(&self, map_run_arn: &str) -> Result<MapRunDescription, Error> {
        parse(map_run_arn)?;
        let described = self.described(map_run_arn).await?;
        described.ok_or_else(|| Error::reference_not_found(&map_run_arn.into()))
    }

    /// From memory, or from disk; none before it has begun.
    async fn described(&self, map_run_arn: &str) -> Result<Option<MapRunDescription>, Error> {
        let known = self.core.map_runs.find(map_run_arn).and_then(|run| run.description());
        if known.is_some() {
            return Ok(known);
        }
        let arn: Arc<str> = map_run_arn.into();
        let events = self.core.read(move |reader| reader.map_run_events(&arn)).await?;
        Ok(MapRunDescription::of(&MapRun::replay(&events)))
    }

    /// UpdateMapRun.
    pub async fn update_map_run(&self, map_run_arn: &str, update: UpdateMapRun) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            let described = self.describe_map_run(map_run_arn).await?;
            if is_over(described.status) {
                break;
            }
            let kind = MapRunInputKind::Updated(update.of(described.thresholds));
            let answer = match self.core.map_runs.find(map_run_arn) {
                Some(run) => run.ask(kind).await,
                None => None,
            };
            match answer {
                Some(Answer::Accepted { .. }) => return Ok(()),
                Some(_) => break,
                // It runs, and its parent has not asked for it again since the server was started.
                None => self.core.clock.sleep_until(self.core.clock.now().plus(LOOK_AGAIN)).await,
            }
        }
        Err(Error::Validation {
            message: "Map Run is not in RUNNING status and cannot be updated".to_owned(),
            reason: Some("CANNOT_UPDATE_COMPLETED_MAP_RUN"),
        })
    }
}

impl UpdateMapRun {
    fn of(&self, mut thresholds: Thresholds) -> Thresholds {
        if let Some(max_concurrency) = self.max_concurrency {
            thresholds.max_concurrency = if max_concurrency == 0 { 10_000 } else { max_concurrency };
        }
        if self.tolerated_failure_count.is_some() {
            thresholds.tolerated_failure_count = self.tolerated_failure_count;
        }
        if let Some(percentage) = self.tolerated_failure_percentage {
            // A percentage of 0 to 100 has no more than 100,000,000 millionths.
            thresholds.tolerated_failure_millionths =
                Some((percentage.clamp(0.0, 100.0) * 1_000_000.0) as u64);
        }
        thresholds
    }
}

fn parse(text: &str) -> Result<(), Error> {
    let arn = Arn::parse(text)?;
    match arn.resource {
        ArnResource::MapRun { .. } => Ok(()),
        _ => Err(arn.wrong_type().into()),
    }
}

fn labelled_machine(map_run_arn: &str) -> Arc<str> {
    let machine = Arn::parse(map_run_arn).ok().and_then(|arn| {
        let label = arn.label()?.to_owned();
        arn.labelled(&label)
    });
    machine.map_or_else(|| map_run_arn.into(), |arn| arn.to_string().into())
}
