//! `Type: Choice`: rules, their tests and their targets.

use crate::choice::{DataTest, Operand, Operator, Pattern, Property, Relation};
use crate::json::{Kind, Node};
use crate::jsonata::is_expression;
use crate::program::{Choice, ChoiceRule, Condition, QueryLanguage};
use crate::timestamp::Timestamp;

use super::compiler::{Compiler, Here};
use super::fields::{Fields, Site};
use super::templates::Available;

const COMBINATIONS: [&str; 3] = ["And", "Or", "Not"];
const RULE_FIELDS: [&str; 3] = ["Assign", "Comment", "Next"];

impl Compiler<'_> {
    pub(super) fn choice_state(&mut self, here: &Here<'_, '_>) -> Option<Choice> {
        let fields = &here.fields;
        self.findings.required(fields, &["Choices"]);
        let elements = self.findings.filled_array(fields, "Choices").unwrap_or_default();
        let site = fields.site.field("Choices");
        let rules: Vec<Option<ChoiceRule>> = elements
            .iter()
            .enumerate()
            .map(|(index, node)| self.rule(here, node, site.index(index), index))
            .collect();
        let default = self.transition(here, fields, "Default");
        let default_broken = fields.object.has("Default") && default.is_none();
        let rules: Option<Vec<ChoiceRule>> = rules.into_iter().collect();
        let rules = rules.filter(|rules| !rules.is_empty() && !default_broken);
        Some(Choice { rules: rules?, default })
    }

    fn rule(&mut self, here: &Here<'_, '_>, node: &Node, site: Site, index: usize) -> Option<ChoiceRule> {
        let fields = self.findings.fields(node, site)?;
        self.findings.required(&fields, &["Next"]);
        self.findings.string(&fields, "Comment");
        let next = self.transition(here, &fields, "Next");
        let place = |name: &str| format!("Choices[{index}]/{name}");
        let condition = match here.language {
            QueryLanguage::JsonPath => {
                self.language_fields(here.language, &fields, &[], &["Condition", "Output"]);
                self.condition(&fields, &["Assign", "Comment", "Next", "Condition", "Output"])
            }
            QueryLanguage::Jsonata => self.jsonata_condition(here, &fields, &place("Condition")),
        };
        let assign = self.assign(here, &fields, &place("Assign"), Available::INPUT);
        let output = match here.language {
            QueryLanguage::JsonPath => None,
            QueryLanguage::Jsonata => {
                self.template_field(here.language, &fields, "Output", &place("Output"), Available::INPUT)
            }
        };
        Some(ChoiceRule { condition: condition?, next: next?, assign, output })
    }

    fn jsonata_condition(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        place: &str,
    ) -> Option<Condition> {
        for member in &fields.object.members {
            let name = member.key.as_str();
            let jsonpath = name == "Variable" || COMBINATIONS.contains(&name) || operator(name).is_some();
            if jsonpath {
                self.language_field(here.language, fields, name, &[name], &[]);
            } else if !RULE_FIELDS.contains(&name) && !["Condition", "Output"].contains(&name) {
                self.findings.schema(
                    format!("Field '{name}' is not supported"),
                    &fields.site,
                    &member.key_span,
                );
            }
        }
        self.findings.required(fields, &["Condition"]);
        let node = fields.object.get("Condition")?;
        let site = fields.site.field("Condition");
        let is_expression = node.as_str().is_some_and(|text| !matches!(is_expression(text), Ok(None)));
        if !is_expression && !matches!(node.kind, Kind::Bool(_)) {
            const MESSAGE: &str = "The field 'Condition' must be a boolean or a JSONata expression";
            self.findings.schema(MESSAGE, &site, &node.span);
        }
        Some(Condition::Jsonata(self.template(here.language, node, &site, place, Available::INPUT)))
    }

    /// A rule's test; `also` are the fields that a rule on this level may have besides.
    fn condition(&mut self, fields: &Fields<'_>, also: &[&str]) -> Option<Condition> {
        let kinds = COMBINATIONS.iter().chain(&["Variable"]).filter(|name| fields.object.has(name)).count();
        if kinds != 1 {
            if !fields.object.has("Condition") {
                const MESSAGE: &str = "The object must have only one of the following fields, [And, Or, Not, Variable, Condition]";
                self.findings.schema(MESSAGE, &fields.site, &fields.span);
            }
            return None;
        }
        for member in &fields.object.members {
            let name = member.key.as_str();
            let known = name == "Variable" || COMBINATIONS.contains(&name) || operator(name).is_some();
            if !known && !also.contains(&name) {
                self.findings.schema(
                    format!("Field '{name}' is not supported"),
                    &fields.site,
                    &member.key_span,
                );
            }
        }
        self.findings.duplicates(fields);
        if fields.object.has("Not") {
            let inner = self.findings.object(fields, "Not")?;
            return self.condition(&inner, &["Comment"]).map(|condition| Condition::Not(Box::new(condition)));
        }
        for name in ["And", "Or"] {
            if fields.object.has(name) {
                let elements = self.findings.filled_array(fields, name)?;
                let site = fields.site.field(name);
                let conditions: Vec<Option<Condition>> = elements
                    .iter()
                    .enumerate()
                    .map(|(index, node)| {
                        let inner = self.findings.fields(node, site.index(index))?;
                        self.condition(&inner, &["Comment"])
                    })
                    .collect();
                let conditions: Vec<Condition> = conditions.into_iter().collect::<Option<_>>()?;
                return Some(if name == "And" {
                    Condition::And(conditions)
                } else {
                    Condition::Or(conditions)
                });
            }
        }
        self.data_test(fields)
    }

    fn data_test(&mut self, fields: &Fields<'_>) -> Option<Condition> {
        let variable = fields.object.get("Variable")?;
        let variable = match variable.as_str() {
            Some(_) => self.choice_reference(variable, &fields.site.field("Variable")),
            None => self.findings.string(fields, "Variable").and(None),
        };
        let operators: Vec<&str> = fields
            .object
            .effective()
            .map(|member| member.key.as_str())
            .filter(|name| operator(name).is_some())
            .collect();
        let &[name] = operators.as_slice() else {
            let message = match operators.len() {
                0 => "A comparison operator is required".to_owned(),
                _ => format!("There should only be one of the following fields: [{}]", operators.join(", ")),
            };
            self.findings.schema(message, &fields.site, &fields.span);
            return None;
        };
        let operator = self.operator(fields, name)?;
        Some(Condition::Test(DataTest { variable: variable?, operator }))
    }

    fn operator(&mut self, fields: &Fields<'_>, name: &str) -> Option<Operator> {
        let node = fields.object.get(name)?;
        let site = fields.site.field(name);
        match operator(name)? {
            Known::Is(property) => {
                self.findings.boolean(fields, name).map(|expected| Operator::Is { property, expected })
            }
            Known::Matches => {
                self.findings.string(fields, name).map(|text| Operator::Matches(Pattern::new(text)))
            }
            Known::Compare { operand, relation, path: true } => {
                let to = self.choice_reference(node, &site)?;
                Some(Operator::ComparePath { operand, relation, to })
            }
            Known::Compare { operand, relation, path: false } => {
                self.looks_like_path(name, node, &site);
                let to = match (operand, &node.kind) {
                    (Operand::String, Kind::String(_))
                    | (Operand::Numeric, Kind::Number(_))
                    | (Operand::Boolean, Kind::Bool(_)) => node.to_value(),
                    (Operand::Timestamp, Kind::String(text)) => {
                        if Timestamp::parse(text).is_err() {
                            self.findings.schema(
                                "String does not match RFC3339 timestamp",
                                &site,
                                &node.span,
                            );
                        }
                        node.to_value()
                    }
                    (operand, _) => {
                        let expected = match operand {
                            Operand::String | Operand::Timestamp => "String",
                            Operand::Numeric => "Number",
                            Operand::Boolean => "Boolean",
                        };
                        self.findings.schema(format!("Expected value of type {expected}"), &site, &node.span);
                        return None;
                    }
                };
                Some(Operator::Compare { operand, relation, to })
            }
        }
    }
}

/// An operator by its name.
enum Known {
    Is(Property),
    Matches,
    Compare { operand: Operand, relation: Relation, path: bool },
}

fn operator(name: &str) -> Option<Known> {
    let is = match name {
        "IsNull" => Some(Property::Null),
        "IsPresent" => Some(Property::Present),
        "IsNumeric" => Some(Property::Numeric),
        "IsString" => Some(Property::String),
        "IsBoolean" => Some(Property::Boolean),
        "IsTimestamp" => Some(Property::Timestamp),
        _ => None,
    };
    if let Some(property) = is {
        return Some(Known::Is(property));
    }
    if name == "StringMatches" {
        return Some(Known::Matches);
    }
    let (name, path) = match name.strip_suffix("Path") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let operands = [
        ("String", Operand::String),
        ("Numeric", Operand::Numeric),
        ("Boolean", Operand::Boolean),
        ("Timestamp", Operand::Timestamp),
    ];
    let (operand, relation) =
        operands.into_iter().find_map(|(prefix, operand)| Some((operand, name.strip_prefix(prefix)?)))?;
    let relation = match relation {
        "Equals" => Relation::Equals,
        "LessThan" => Relation::LessThan,
        "LessThanEquals" => Relation::LessThanEquals,
        "GreaterThan" => Relation::GreaterThan,
        "GreaterThanEquals" => Relation::GreaterThanEquals,
        _ => return None,
    };
    let known = operand != Operand::Boolean || relation == Relation::Equals;
    known.then_some(Known::Compare { operand, relation, path })
}
