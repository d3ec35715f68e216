//! A query, parsed: commands in order, expressions inside.

use regex::Regex;

use super::functions::Function;

/// What is wrong with a query's text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub message: String,
    /// In characters from the beginning.
    pub start: usize,
    pub end: usize,
}

/// Commands in the order in which they are written.
#[derive(Debug)]
pub(super) struct Query {
    pub commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) enum Command {
    /// `fields`: computes and shows, in addition to what is shown.
    Fields(Vec<Column>),
    /// `display`: shows only these.
    Display(Vec<Column>),
    Filter(Expression),
    Sort(Vec<(Expression, Direction)>),
    Limit(usize),
    Dedup(Vec<Expression>),
    Parse(Extraction),
    Stats(Stats),
}

/// An expression with the name of its result.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub expression: Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// `parse`: what the groups of an expression match, as fields.
#[derive(Debug)]
pub(super) struct Extraction {
    pub from: Expression,
    pub pattern: Regex,
    /// Name of each group, in order.
    pub names: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Stats {
    /// May mention aggregates by [`Expression::Aggregate`].
    pub columns: Vec<Column>,
    pub aggregates: Vec<Aggregate>,
    pub groups: Vec<Column>,
}

/// `avg(x)` and its like.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub kind: AggregateKind,
    /// None for `count(*)`.
    pub of: Option<Expression>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AggregateKind {
    Count,
    CountDistinct,
    Sum,
    Average,
    Least,
    Greatest,
    Deviation,
    /// Between 0 and 100.
    Percentile(f64),
    Earliest,
    Latest,
    SortsFirst,
    SortsLast,
}

#[derive(Debug)]
pub(super) enum Expression {
    Field(String),
    Number(f64),
    Text(String),
    Truth(bool),
    Call(Function, Vec<Expression>),
    /// `bin(5m)`: the time rounded down to this many milliseconds.
    Bin(Box<Expression>, i64),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Like(Box<Expression>, Regex),
    In(Box<Expression>, Vec<Expression>),
    /// Index of an aggregate of the same `stats`.
    Aggregate(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divided,
    Remainder,
    Power,
}
