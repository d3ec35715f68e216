//! Expressions, from `or` down to fields and calls.

use super::super::functions::FUNCTIONS;
use super::super::parse;
use super::super::query::{Aggregate, AggregateKind, Expression, Malformed, Operator};
use super::scanner::Scanner;

/// Expressions nest this deep.
const DEPTH_MAX: usize = 32;
/// Chains of one operator are this long.
const CHAIN_MAX: usize = 200;

/// Name, kind, and whether it has an argument of its own.
const AGGREGATES: [(&str, AggregateKind); 14] = [
    ("count", AggregateKind::Count),
    ("count_distinct", AggregateKind::CountDistinct),
    ("sum", AggregateKind::Sum),
    ("avg", AggregateKind::Average),
    ("min", AggregateKind::Least),
    ("max", AggregateKind::Greatest),
    ("stddev", AggregateKind::Deviation),
    ("median", AggregateKind::Percentile(50.0)),
    ("pct", AggregateKind::Percentile(50.0)),
    ("percentile", AggregateKind::Percentile(50.0)),
    ("earliest", AggregateKind::Earliest),
    ("latest", AggregateKind::Latest),
    ("sortsfirst", AggregateKind::SortsFirst),
    ("sortslast", AggregateKind::SortsLast),
];

const COMPARISONS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// Units of periods, and their lengths in milliseconds.
const PERIODS: [(&[&str], i64); 6] = [
    (&["ms", "msec", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "second", "seconds"], 1_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

/// The parser's state.
pub(super) struct Reader<'a> {
    pub scanner: Scanner<'a>,
    /// Aggregates of the `stats` command that is being read.
    pub aggregates: Option<Vec<Aggregate>>,
    pub depth: usize,
}

fn both(operator: Operator, left: Expression, right: Expression) -> Expression {
    Expression::Binary(operator, Box::new(left), Box::new(right))
}

impl Reader<'_> {
    pub fn expression(&mut self) -> Result<Expression, Malformed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.scanner.refuse_here("the expression is nested too deeply"));
        }
        let found = self.any();
        self.depth -= 1;
        found
    }

    fn any(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.all()?;
        for _ in 0..CHAIN_MAX {
            if !self.scanner.take_word("or") {
                return Ok(left);
            }
            left = both(Operator::Or, left, self.all()?);
        }
        Err(self.scanner.refuse_here("the expression is too long"))
    }

    fn all(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.negation()?;
        for _ in 0..CHAIN_MAX {
            if !self.scanner.take_word("and") {
                return Ok(left);
            }
            left = both(Operator::And, left, self.negation()?);
        }
        Err(self.scanner.refuse_here("the expression is too long"))
    }

    fn negation(&mut self) -> Result<Expression, Malformed> {
        let mut negative = false;
        while self.scanner.take_word("not") {
            negative = !negative;
        }
        let inner = self.comparison()?;
        Ok(if negative { Expression::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Expression, Malformed> {
        let left = self.sum()?;
        let start = self.scanner.next_position();
        let negative = self.scanner.take_word("not");
        let found = if self.scanner.take_word("like") || self.scanner.take("=~") {
            Expression::Like(Box::new(left), self.pattern()?)
        } else if self.scanner.take_word("in") {
            Expression::In(Box::new(left), self.list()?)
        } else if negative {
            return Err(self.scanner.unexpected_at(start, "not"));
        } else {
            for (sign, operator) in COMPARISONS {
                if self.scanner.take(sign) {
                    return Ok(both(operator, left, self.sum()?));
                }
            }
            return Ok(left);
        };
        Ok(if negative { Expression::Not(Box::new(found)) } else { found })
    }

    fn pattern(&mut self) -> Result<regex::Regex, Malformed> {
        let start = self.scanner.next_position();
        let pattern = if let Some(source) = self.scanner.regular_expression() {
            parse::expression(&source?)
        } else if let Some(text) = self.scanner.string() {
            parse::contained(&text?)
        } else {
            return Err(self.scanner.unexpected());
        };
        pattern.map_err(|message| self.scanner.refuse(start, &message))
    }

    fn list(&mut self) -> Result<Vec<Expression>, Malformed> {
        if !self.scanner.take("[") {
            return Err(self.scanner.unexpected());
        }
        let mut items = vec![self.expression()?];
        while self.scanner.take(",") {
            items.push(self.expression()?);
        }
        if self.scanner.take("]") { Ok(items) } else { Err(self.scanner.unexpected()) }
    }

    fn sum(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.product()?;
        for _ in 0..CHAIN_MAX {
            let operator = match () {
                () if self.scanner.take("+") => Operator::Plus,
                () if self.scanner.take("-") => Operator::Minus,
                () => return Ok(left),
            };
            left = both(operator, left, self.product()?);
        }
        Err(self.scanner.refuse_here("the expression is too long"))
    }

    fn product(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.power()?;
        for _ in 0..CHAIN_MAX {
            let operator = match () {
                () if self.scanner.take("*") => Operator::Times,
                () if self.scanner.take("/") => Operator::Divided,
                () if self.scanner.take("%") => Operator::Remainder,
                () => return Ok(left),
            };
            left = both(operator, left, self.power()?);
        }
        Err(self.scanner.refuse_here("the expression is too long"))
    }

    fn power(&mut self) -> Result<Expression, Malformed> {
        let base = self.primary()?;
        if self.scanner.take("^") {
            return Ok(both(Operator::Power, base, self.primary()?));
        }
        Ok(base)
    }

    fn primary(&mut self) -> Result<Expression, Malformed> {
        if self.scanner.take("(") {
            let inner = self.expression()?;
            return if self.scanner.take(")") { Ok(inner) } else { Err(self.scanner.unexpected()) };
        }
        if self.scanner.take("-") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(self.scanner.refuse_here("the expression is nested too deeply"));
            }
            let inner = self.primary()?;
            self.depth -= 1;
            return Ok(Expression::Negative(Box::new(inner)));
        }
        if let Some(number) = self.scanner.number() {
            return Ok(Expression::Number(number));
        }
        if let Some(text) = self.scanner.string() {
            return text.map(Expression::Text);
        }
        let start = self.scanner.next_position();
        let Some(name) = self.scanner.field() else { return Err(self.scanner.unexpected()) };
        let name = name?;
        if self.scanner.take("(") {
            return self.call(start, &name);
        }
        Ok(match name.to_lowercase().as_str() {
            "true" => Expression::Truth(true),
            "false" => Expression::Truth(false),
            _ => Expression::Field(name),
        })
    }

    fn call(&mut self, start: usize, name: &str) -> Result<Expression, Malformed> {
        let lower = name.to_lowercase();
        if lower == "bin" {
            let period = self.period()?;
            self.close()?;
            return Ok(Expression::Bin(Box::new(Expression::Field("@timestamp".into())), period));
        }
        if let Some((_, kind)) = AGGREGATES.iter().find(|(known, _)| *known == lower) {
            return self.aggregate(start, &lower, *kind);
        }
        let Some((_, function, fewest, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == lower) else {
            return Err(self.scanner.refuse(start, &format!("unknown function {name}")));
        };
        let mut arguments = Vec::new();
        while arguments.len() < *most {
            // The second argument of datefloor and dateceil is a period.
            let is_period = arguments.len() == 1 && lower.starts_with("date");
            arguments.push(match is_period {
                true => Expression::Number(self.period()? as f64),
                false => self.expression()?,
            });
            if !self.scanner.take(",") {
                break;
            }
        }
        self.close()?;
        if arguments.len() < *fewest {
            return Err(self.scanner.refuse(start, &format!("{name} needs {fewest} arguments")));
        }
        Ok(Expression::Call(*function, arguments))
    }

    fn close(&mut self) -> Result<(), Malformed> {
        if self.scanner.take(")") { Ok(()) } else { Err(self.scanner.unexpected()) }
    }

    /// `5m` in milliseconds.
    fn period(&mut self) -> Result<i64, Malformed> {
        let start = self.scanner.next_position();
        let number = self.scanner.number();
        let unit = self.scanner.word().unwrap_or_default().to_lowercase();
        let known = PERIODS.iter().find(|(names, _)| names.contains(&unit.as_str()));
        match (number, known) {
            (Some(number), Some((_, length))) if (1.0..1e6).contains(&number) => {
                Ok((number * *length as f64) as i64)
            }
            _ => Err(self.scanner.refuse(start, "a period such as 5m is expected")),
        }
    }

    fn aggregate(&mut self, start: usize, name: &str, kind: AggregateKind) -> Result<Expression, Malformed> {
        // Inside an aggregate there is no other.
        let Some(mut aggregates) = self.aggregates.take() else {
            return Err(self.scanner.refuse(start, &format!("{name} is only known to stats")));
        };
        let of = match self.scanner.take("*") {
            true if kind == AggregateKind::Count => None,
            true => return Err(self.scanner.refuse(start, &format!("{name} needs a field"))),
            false if kind == AggregateKind::Count && self.scanner.take(")") => {
                aggregates.push(Aggregate { kind, of: None });
                let index = aggregates.len() - 1;
                self.aggregates = Some(aggregates);
                return Ok(Expression::Aggregate(index));
            }
            false => Some(self.expression()?),
        };
        let mut kind = kind;
        if name == "pct" || name == "percentile" {
            let at = self.scanner.next_position();
            let percent = if self.scanner.take(",") { self.scanner.number() } else { None };
            match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
                Some(percent) => kind = AggregateKind::Percentile(percent),
                None => return Err(self.scanner.refuse(at, "pct needs a percentage from 0 to 100")),
            }
        }
        self.close()?;
        aggregates.push(Aggregate { kind, of });
        let index = aggregates.len() - 1;
        self.aggregates = Some(aggregates);
        Ok(Expression::Aggregate(index))
    }
}
