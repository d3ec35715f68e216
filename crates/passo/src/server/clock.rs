//! A clock that can be set forward, so that schedules, waits and alarms can be tried without waiting.
//!
//! It runs on like the machine's and differs from it by an offset, which only grows and is on disk before it counts: time
//! never goes back, also not over a restart. It exists only if the server was started with `--clock`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use asl::timestamp::Timestamp;
use bytes::Bytes;
use runtime::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Below the data directory; holds the offset in milliseconds.
const FILE: &str = "clock";
/// Sleeps are cut into pieces, as the machine's own clock may be set as well.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct MovableClock {
    offset_ms: Arc<watch::Sender<i64>>,
    file: Arc<Path>,
}

/// Why a clock cannot be had or set.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The file that keeps the offset.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The data directory has seen times that are yet to come.
    #[error(
        "the clock of this data directory was set forward to {0}; start with --clock to go on from there"
    )]
    Ahead(jiff::Timestamp),
    /// Time only goes forward.
    #[error("the clock shows {0} and cannot be set back")]
    Back(jiff::Timestamp),
}

fn machine_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl MovableClock {
    /// The clock of a data directory: at `start`, or where it was if that is later.
    pub fn open(data: &Path, start: jiff::Timestamp) -> Result<MovableClock, ClockError> {
        let file: Arc<Path> = data.join(FILE).into();
        let held = read(&file)?;
        let asked = start.as_millisecond() - machine_ms();
        let offset = held.map_or(asked, |held| held.max(asked));
        write(&file, offset)?;
        Ok(MovableClock { offset_ms: Arc::new(watch::Sender::new(offset)), file })
    }

    /// Refuses a data directory whose clock is ahead of the machine's.
    pub fn refuse_ahead(data: &Path) -> Result<(), ClockError> {
        match read(&data.join(FILE))? {
            Some(offset) if offset > 0 => {
                let shown = jiff::Timestamp::from_millisecond(machine_ms() + offset).unwrap_or_default();
                Err(ClockError::Ahead(shown))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn now_ms(&self) -> i64 {
        machine_ms() + *self.offset_ms.borrow()
    }

    /// What the clock shows.
    pub fn shown(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.now_ms()).unwrap_or_default()
    }

    /// Sets it forward.
    pub fn set(&self, time: jiff::Timestamp) -> Result<(), ClockError> {
        let offset = time.as_millisecond() - machine_ms();
        let mut outcome = Ok(());
        // One at a time, and on disk before anybody sees it.
        self.offset_ms.send_if_modified(|held| {
            outcome = match offset < *held {
                true => Err(ClockError::Back(self.shown_at(*held))),
                false => write(&self.file, offset),
            };
            if outcome.is_ok() {
                *held = offset;
            }
            outcome.is_ok()
        });
        outcome
    }

    fn shown_at(&self, offset_ms: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(machine_ms() + offset_ms).unwrap_or_default()
    }

    fn sleep_until_ms(&self, at_ms: i64) -> BoxFuture<'static, ()> {
        let mut moves = self.offset_ms.subscribe();
        Box::pin(async move {
            loop {
                let left = at_ms - machine_ms() - *moves.borrow_and_update();
                if left <= 0 {
                    return;
                }
                let slice = Duration::from_millis(left.unsigned_abs()).min(SLEEP_MAX);
                // An error means that the clock is gone, and with it everyone who would wake up.
                let _ = tokio::time::timeout(slice, moves.changed()).await;
            }
        })
    }

    /// Answers `/local/clock`: GET shows it, POST sets it by `{"time": "…"}` or moves it by `{"advance": SECONDS}`.
    pub fn answer(&self, request: &http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        if request.uri().path() != "/local/clock" {
            return None;
        }
        let outcome = match *request.method() {
            http::Method::GET => Ok(()),
            http::Method::POST => self.moved(request.body()),
            _ => Err((405, "GET shows the clock, POST sets it".to_string())),
        };
        let (status, body) = match outcome {
            Ok(()) => (200, json!({ "time": self.shown().to_string() })),
            Err((status, message)) => (status, json!({ "message": message })),
        };
        let mut response = http::Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        Some(response)
    }

    fn moved(&self, body: &[u8]) -> Result<(), (u16, String)> {
        let usage =
            || (400, r#"expected {"time": "2026-03-08T10:00:00Z"} or {"advance": SECONDS}"#.to_string());
        let wish: Value = serde_json::from_slice(body).map_err(|_| usage())?;
        let time = match (wish["time"].as_str(), wish["advance"].as_i64()) {
            (Some(time), None) => time.parse().map_err(|_| usage())?,
            (None, Some(seconds)) if seconds >= 0 => {
                self.shown().checked_add(jiff::SignedDuration::from_secs(seconds)).map_err(|_| usage())?
            }
            _ => return Err(usage()),
        };
        self.set(time).map_err(|error| match error {
            ClockError::Back(_) | ClockError::Ahead(_) => (409, error.to_string()),
            ClockError::File(..) => (500, error.to_string()),
        })
    }
}

impl runtime::Clock for MovableClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_epoch_millis(self.now_ms())
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.sleep_until_ms(at.epoch_millis())
    }
}

impl services::Clock for MovableClock {
    fn now(&self) -> jiff::Timestamp {
        self.shown()
    }

    fn sleep_until(&self, at: jiff::Timestamp) -> BoxFuture<'static, ()> {
        self.sleep_until_ms(at.as_millisecond())
    }
}

fn read(file: &Path) -> Result<Option<i64>, ClockError> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let wrong = |_| std::io::Error::other("it holds no number");
            text.trim().parse().map(Some).map_err(wrong).map_err(|error| ClockError::File(file.into(), error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClockError::File(file.into(), error)),
    }
}

/// Whole or not at all, and still there after a power cut.
fn write(file: &Path, offset_ms: i64) -> Result<(), ClockError> {
    let written = || -> std::io::Result<()> {
        let fresh = file.with_extension("new");
        let mut handle = std::fs::File::create(&fresh)?;
        writeln!(handle, "{offset_ms}")?;
        handle.sync_all()?;
        std::fs::rename(&fresh, file)?;
        std::fs::File::open(file.parent().unwrap_or(file))?.sync_all()
    };
    written().map_err(|error| ClockError::File(file.into(), error))
}
