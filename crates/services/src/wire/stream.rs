//! Bodies that are too large to hold: a request's as it comes from the socket, an answer's as it goes to it.
//!
//! Only the listener makes a [`Sender`] known to a request; callers inside the process get and give whole bytes.

use super::error::ServiceError;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A client that sends nothing for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Something that is taken once, by whoever comes first.
struct Once<T>(Arc<Mutex<Option<T>>>);

impl<T> Once<T> {
    fn of(value: Option<T>) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The client of a request that came over HTTP: it takes an answer in pieces, and may be sending its body still.
#[derive(Clone)]
pub struct Sender {
    body: Once<Incoming>,
}

impl Sender {
    /// A client whose body, if one is given, was not read.
    pub fn new(body: Option<Incoming>) -> Self {
        Self { body: Once::of(body) }
    }

    /// The body that is still to be read; the second call finds none.
    pub fn body(&self) -> Option<Pieces> {
        self.body.take().map(|body| Pieces { body })
    }

    /// Reads all of the body that is still to be read, within a bound.
    pub async fn collect(&self, bytes_max: usize) -> Result<Option<Bytes>, ServiceError> {
        let Some(mut pieces) = self.body() else { return Ok(None) };
        let mut all = bytes::BytesMut::new();
        while let Some(piece) = pieces.next().await? {
            if all.len() + piece.len() > bytes_max {
                return Err(ServiceError::client(
                    "EntityTooLarge",
                    "Your proposed upload exceeds the maximum allowed size",
                ));
            }
            all.extend_from_slice(&piece);
        }
        Ok(Some(all.freeze()))
    }

    /// Reads what nobody wanted, up to a bound, so that the client gets to read the answer.
    pub async fn drain(&self, bytes_max: u64) {
        let Some(mut pieces) = self.body() else { return };
        let mut read = 0;
        while let Ok(Some(piece)) = pieces.next().await {
            read += piece.len() as u64;
            if read > bytes_max {
                return;
            }
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sender")
    }
}

/// A body that is being read.
pub struct Pieces {
    body: Incoming,
}

impl Pieces {
    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ServiceError> {
        loop {
            let frame = match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => {
                    let message = "The request body terminated unexpectedly";
                    return Err(ServiceError::client("IncompleteBody", message));
                }
                Err(_) => {
                    let message = "Your socket connection to the server was not read from or written to within the \
                                   timeout period.";
                    return Err(ServiceError::client("RequestTimeout", message));
                }
            };
            // Trailers of HTTP itself say nothing here; AWS's are inside the body.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pieces")
    }
}

/// An answer's body that is made while it is sent.
#[derive(Clone)]
pub struct Outgoing(Once<UnsyncBoxBody<Bytes, std::io::Error>>);

impl Outgoing {
    /// A body for one answer.
    pub fn new(body: impl hyper::body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static) -> Self {
        Self(Once::of(Some(UnsyncBoxBody::new(body))))
    }

    /// The body; the second call finds none.
    pub fn take(&self) -> Option<UnsyncBoxBody<Bytes, std::io::Error>> {
        self.0.take()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Outgoing")
    }
}

impl PartialEq for Outgoing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.0, &other.0.0)
    }
}
