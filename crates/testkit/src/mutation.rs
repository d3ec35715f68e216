//! Planted bugs: each falsifies one thing at a seam, so that a law must notice.
//!
//! Product code knows nothing of them: they change what passes between the core, the shard, the store and the world. The
//! tests plant them one by one; a law that catches none, or a bug that no law catches, is a hole in the checks.

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutation {
    /// A step forgets to ask for a task.
    DropEffect,
    /// A step forgets to arm a timer.
    DropTimer,
    /// A step forgets a cancellation.
    ForgetCancellation,
    /// A step asks twice.
    TellEffectTwice,
    /// An event follows itself.
    CorruptPrevious,
    /// An id is left out of the history.
    HistoryGap,
    /// Another terminal event after the terminal one.
    SecondTerminalEvent,
    /// A state is left twice.
    ExitTwice,
    /// An event is applied twice.
    ApplyTwice,
    /// Replay passes over an event.
    SkipEventOnReplay,
    /// After a restart the attempts are counted by another retrier.
    WrongRetryCounterAfterRestart,
    /// The nonce of a token is not looked at.
    IgnoreNonce,
    /// A late result is taken for an open task.
    ResurrectClosedTask,
    /// Whatever the timer says, its time has come.
    TrustEarlyTimers,
    /// The core draws chance from elsewhere.
    HiddenEntropy,
    /// A turn that ran out of budget is not gone on with.
    ForgetTheRestOfATurn,
    /// Effects leave when the batch is taken.
    DispatchBeforeCommit,
    /// Answers leave when the batch is taken.
    AnswerBeforeCommit,
    /// Nobody is told of the end.
    LoseFinished,
    /// A retry has the invocation id of the first attempt.
    ReuseInvocationIds,
    /// A redelivery has a new invocation id.
    FreshInvocationIds,
    /// The row of a parked execution does not say when it is due.
    DropParkedDue,
    /// Recovery does not ask again for cancellations.
    ForgetCancellationAfterRestart,
    /// Recovery passes over an execution.
    SkipRecovery,
    /// A submitted job is started again instead of observed.
    StartSubmittedJobsAgain,
    /// The store acknowledges a batch and does not keep it.
    LoseTail,
    /// The store keeps only the first half of a turn.
    TearTurns,
    /// The row of an ended execution says RUNNING.
    StaleRow,
    /// A batch takes what is due before what is here.
    TimersBeforeResults,
    /// An unknown outcome is taken for a success.
    TakeUnknownForCommitted,
    /// An unknown outcome is shrugged off; memory stays as it is.
    TakeUnknownForNothing,
    /// A journal is read without its last event.
    LoseLastEventOnLoad,
    /// Executions go on with the newest definition of their machine.
    LatestDefinition,
    /// The store keeps the rows of a Map Run's children, and not its events.
    LoseMapRunEvents,
    /// The store keeps a Map Run's events, and not the rows of its children.
    LoseChildRows,
    /// Children are run when the batch is taken.
    RunChildrenBeforeCommit,
    /// A Map Run that is loaded does not ask for its children again.
    ForgetChildrenAfterRestart,
    /// An end is taken for the end of whatever the child does now.
    TakeEndsOfBeforeARedrive,
    /// Some children never tell their end.
    LoseEndsOfChildren,
    /// A redrive finds the first few children that did not succeed, and thinks that there are no more.
    ForgetTheRestOfARedrive,
    /// The row of a child that is redriven does not say so.
    ForgetThatAChildWasRedriven,
    /// A child is started by the effect and by another one like it.
    StartChildrenTwice,
    /// A Map Run that is stopped lets its children go on.
    ForgetToStopChildren,
    /// Whatever the cursor says, the reader begins with the first item.
    ReadFromTheBeginning,
    /// A child that succeeded is counted among those that failed.
    MiscountChildren,
    /// The row of a child does not say that it has ended.
    LoseEndsInRows,
}

impl Mutation {
    /// Those around a Map Run.
    pub const OF_MAP_RUNS: [Mutation; 13] = [
        Mutation::LoseMapRunEvents,
        Mutation::LoseChildRows,
        Mutation::RunChildrenBeforeCommit,
        Mutation::ForgetChildrenAfterRestart,
        Mutation::TakeEndsOfBeforeARedrive,
        Mutation::LoseEndsOfChildren,
        Mutation::ForgetTheRestOfARedrive,
        Mutation::ForgetThatAChildWasRedriven,
        Mutation::StartChildrenTwice,
        Mutation::ForgetToStopChildren,
        Mutation::ReadFromTheBeginning,
        Mutation::MiscountChildren,
        Mutation::LoseEndsInRows,
    ];

    /// Those between the core and whoever drives it.
    pub const OF_THE_CORE: [Mutation; 16] = [
        Mutation::DropEffect,
        Mutation::DropTimer,
        Mutation::ForgetCancellation,
        Mutation::TellEffectTwice,
        Mutation::CorruptPrevious,
        Mutation::HistoryGap,
        Mutation::SecondTerminalEvent,
        Mutation::ExitTwice,
        Mutation::ApplyTwice,
        Mutation::SkipEventOnReplay,
        Mutation::WrongRetryCounterAfterRestart,
        Mutation::IgnoreNonce,
        Mutation::ResurrectClosedTask,
        Mutation::TrustEarlyTimers,
        Mutation::HiddenEntropy,
        Mutation::ForgetTheRestOfATurn,
    ];

    /// Those between the shard, the store and the world.
    pub const OF_THE_SHELL: [Mutation; 17] = [
        Mutation::DispatchBeforeCommit,
        Mutation::AnswerBeforeCommit,
        Mutation::LoseFinished,
        Mutation::ReuseInvocationIds,
        Mutation::FreshInvocationIds,
        Mutation::DropParkedDue,
        Mutation::ForgetCancellationAfterRestart,
        Mutation::SkipRecovery,
        Mutation::StartSubmittedJobsAgain,
        Mutation::LoseTail,
        Mutation::TearTurns,
        Mutation::StaleRow,
        Mutation::TimersBeforeResults,
        Mutation::TakeUnknownForCommitted,
        Mutation::TakeUnknownForNothing,
        Mutation::LoseLastEventOnLoad,
        Mutation::LatestDefinition,
    ];
}
