//! The fields around a state's work, and which language each belongs to.

use crate::program::{DataFlow, QueryLanguage, Template};

use super::compiler::{Compiler, Here};
use super::fields::Fields;
use super::templates::Available;

impl Compiler<'_> {
    /// `InputPath`, `Parameters`, … or `Arguments`, `Output`; and `Assign`.
    pub(super) fn data_flow(&mut self, here: &Here<'_, '_>, state_type: &str) -> Option<DataFlow> {
        let fields = &here.fields;
        if state_type == "Fail" {
            return None;
        }
        let works = matches!(state_type, "Task" | "Parallel" | "Map");
        let after = if works { Available::RESULT } else { Available::INPUT };
        let mut flow = DataFlow::default();
        match here.language {
            QueryLanguage::JsonPath => {
                flow.input_path = self.selector(fields, "InputPath");
                flow.output_path = self.selector(fields, "OutputPath");
                flow.result_path = self.result_path(fields);
                if state_type != "Map" {
                    flow.arguments = self.payload_field(here, "Parameters");
                }
                flow.result_selector = self.payload_field(here, "ResultSelector");
            }
            QueryLanguage::Jsonata => {
                flow.arguments =
                    self.template_field(here.language, fields, "Arguments", "Arguments", Available::INPUT);
                flow.output = self.template_field(here.language, fields, "Output", "Output", after);
            }
        }
        flow.assign = self.assign(here, fields, "Assign", after);
        Some(flow)
    }

    /// A payload template of a JSONPath state.
    pub(super) fn payload_field(&mut self, here: &Here<'_, '_>, name: &str) -> Option<Template> {
        self.template_field(here.language, &here.fields, name, name, Available::INPUT)
    }

    /// Refuses a field that only the other language has. AWS's location is the object.
    pub(super) fn language_field(
        &mut self,
        language: QueryLanguage,
        fields: &Fields<'_>,
        name: &str,
        jsonpath_only: &[&str],
        jsonata_only: &[&str],
    ) {
        let (mine, other, foreign) = match language {
            QueryLanguage::JsonPath => ("JSONPath", "JSONata", jsonata_only),
            QueryLanguage::Jsonata => ("JSONata", "JSONPath", jsonpath_only),
        };
        let Some(member) = fields.object.member(name).filter(|_| foreign.contains(&name)) else { return };
        let message = format!(
            "The QueryLanguage is set to '{mine}', but field '{name}' is only supported for the '{other}' QueryLanguage"
        );
        self.findings.schema(message, &fields.site, &member.key_span);
    }

    /// All fields of a nested object against the two lists.
    pub(super) fn language_fields(
        &mut self,
        language: QueryLanguage,
        fields: &Fields<'_>,
        jsonpath_only: &[&str],
        jsonata_only: &[&str],
    ) {
        for name in jsonpath_only.iter().chain(jsonata_only) {
            self.language_field(language, fields, name, jsonpath_only, jsonata_only);
        }
    }
}
