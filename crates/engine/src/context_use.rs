//! Whether an expression looks at the context object, which is made only for those that do: it holds the execution's whole
//! input, and making it costs more than most expressions.

use asl::choice::Operator;
use asl::intrinsic::PathOrIntrinsic;
use asl::program::{ChoiceRule, Condition, Dynamic, PathSelector, Template};

/// Something that is evaluated.
pub(crate) trait ReadsContext {
    /// Whether it can look at the context object. May say yes without need, never no.
    fn reads_context(&self) -> bool;
}

impl ReadsContext for PathOrIntrinsic {
    fn reads_context(&self) -> bool {
        self.text().contains("$$")
    }
}

impl ReadsContext for Template {
    fn reads_context(&self) -> bool {
        match self {
            Template::Literal(_) => false,
            Template::Object(members) => members.iter().any(|(_, member)| member.reads_context()),
            Template::Array(elements) => elements.iter().any(Template::reads_context),
            Template::Path { expression, .. } => expression.reads_context(),
            Template::Jsonata { expression, .. } => expression.reads_context(),
        }
    }
}

impl<T> ReadsContext for Dynamic<T> {
    fn reads_context(&self) -> bool {
        match self {
            Dynamic::Literal(_) => false,
            Dynamic::Path { path, .. } => path.reads_context(),
            Dynamic::Jsonata(template) => template.reads_context(),
        }
    }
}

impl ReadsContext for PathSelector {
    fn reads_context(&self) -> bool {
        match self {
            PathSelector::Whole | PathSelector::Empty => false,
            PathSelector::Path(path) => path.reads_context(),
        }
    }
}

impl ReadsContext for Condition {
    fn reads_context(&self) -> bool {
        match self {
            Condition::Jsonata(template) => template.reads_context(),
            Condition::And(conditions) | Condition::Or(conditions) => {
                conditions.iter().any(Condition::reads_context)
            }
            Condition::Not(condition) => condition.reads_context(),
            Condition::Test(test) => {
                let other = match &test.operator {
                    Operator::ComparePath { to, .. } => to.source.contains("$$"),
                    Operator::Is { .. } | Operator::Matches(_) | Operator::Compare { .. } => false,
                };
                other || test.variable.source.contains("$$")
            }
        }
    }
}

impl ReadsContext for [ChoiceRule] {
    fn reads_context(&self) -> bool {
        self.iter().any(|rule| rule.condition.reads_context())
    }
}
