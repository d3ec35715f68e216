//! A service that panics fails one call, not the connection or the task of its caller.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future panicked. The panic's own message went to the process's panic hook.
pub(super) struct Panicked;

/// A future whose panic is its result. After one it is not polled again.
pub(super) struct Contained<F>(F);

impl<F> Contained<F> {
    pub(super) fn new(future: F) -> Self {
        Self(future)
    }
}

impl<F: Future + Unpin> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Safe to unwind: the future is dropped next, and what services share is behind locks that survive poisoning and
        // transactions that roll back.
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_result() {
        let ends_well = Contained::new(Box::pin(async { 1 })).await;
        assert!(matches!(ends_well, Ok(1)));
        let panics = Contained::new(Box::pin(async {
            tokio::task::yield_now().await;
            panic!("a bug in a service")
        }));
        let result: Result<(), Panicked> = panics.await;
        assert!(result.is_err());
    }
}
