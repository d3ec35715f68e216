//! A process's output pipes, read line by line as they fill.
//!
//! Reading can be awaited: what the code wrote before it answered is in the pipe by then, and is taken before the
//! invocation's last log lines.

use super::logs::MESSAGE_BYTES_MAX;
use super::worker::WorkerLog;
use crate::process::Running;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

/// Reads a worker's pipes line by line.
pub(super) struct OutputReader {
    drains: mpsc::Sender<oneshot::Sender<()>>,
}

impl OutputReader {
    /// Starts to read both pipes of a process.
    pub fn start(running: &mut Running, log: WorkerLog) -> io::Result<Self> {
        let mut pipes = Vec::new();
        let descriptors =
            [running.stdout.take().map(OwnedFd::from), running.stderr.take().map(OwnedFd::from)];
        for descriptor in descriptors.into_iter().flatten() {
            let pipe = pipe::Receiver::from_owned_fd(descriptor)?;
            pipes.push(Lines { pipe, rest: Vec::new(), open: true });
        }
        let (drains, requests) = mpsc::channel(1);
        tokio::spawn(read(pipes, requests, log));
        Ok(Self { drains })
    }

    /// Waits until everything written so far has been taken.
    pub async fn drain(&self) {
        let (done, waiting) = oneshot::channel();
        if self.drains.send(done).await.is_ok() {
            let _ = waiting.await;
        }
    }
}

struct Lines {
    pipe: pipe::Receiver,
    rest: Vec<u8>,
    open: bool,
}

impl Lines {
    /// Takes what is in the pipe now and returns whole lines.
    fn take(&mut self, lines: &mut Vec<String>) {
        let mut buffer = [0; 16 * 1024];
        while self.open {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.open = false,
            }
            self.split(lines);
        }
        if !self.open && !self.rest.is_empty() {
            lines.push(text(&std::mem::take(&mut self.rest)));
        }
    }

    fn split(&mut self, lines: &mut Vec<String>) {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.push(text(&line[..end]));
        }
        if self.rest.len() >= MESSAGE_BYTES_MAX {
            lines.push(text(&std::mem::take(&mut self.rest)));
        }
    }
}

/// Bootstraps write the line ends inside of one event as carriage returns.
fn text(line: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(line).trim_end_matches('\r').replace('\r', "\n");
    while text.len() > MESSAGE_BYTES_MAX {
        text.pop();
    }
    text
}

async fn read(mut pipes: Vec<Lines>, mut requests: mpsc::Receiver<oneshot::Sender<()>>, log: WorkerLog) {
    loop {
        let request = tokio::select! {
            () = readable(&pipes), if pipes.iter().any(|lines| lines.open) => None,
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
        };
        let mut lines = Vec::new();
        for pipe in &mut pipes {
            pipe.take(&mut lines);
        }
        for line in lines {
            log.line(line).await;
        }
        if let Some(request) = request {
            let _ = request.send(());
        }
    }
}

/// Ends when one of the open pipes has something to read.
async fn readable(pipes: &[Lines]) {
    let open = pipes.iter().filter(|lines| lines.open);
    let mut waiting: Vec<_> = open.map(|lines| Box::pin(lines.pipe.ready(Interest::READABLE))).collect();
    std::future::poll_fn(|context| {
        let any = waiting.iter_mut().any(|future| future.as_mut().poll(context).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
