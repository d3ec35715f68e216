//! What a template declares, for `ValidateTemplate` and `GetTemplateSummary`.

use super::records::Record;
use super::stacks::as_text;
use super::{CloudFormation, invalid, orders};
use crate::wire::{CallContext, Form, ServiceError, ServiceResponse, Xml};
use serde_json::Value;

impl CloudFormation {
    pub(super) async fn summary(
        &self,
        context: &CallContext,
        operation: &str,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        let call = self.call(context);
        let name = form.get("StackName").filter(|name| !name.is_empty());
        let template = match name {
            Some(name) => {
                self.database.read(|connection| Record::named(connection, &call, name))?.details.template
            }
            None => orders::template(self, context, form, None).await?,
        };
        let declared = self.environment.stack_maker().await?.declared(&template).map_err(invalid)?;
        let is_summary = operation == "GetTemplateSummary";
        let items = |name: &str| declared[name].as_array().into_iter().flatten();
        let parameters = items("Parameters").map(|declared| parameter(declared, is_summary));
        let mut shown = vec![
            Xml::list("Parameters", parameters),
            Xml::text_list("Capabilities", items("Capabilities").map(as_text)),
            Xml::text_list("DeclaredTransforms", items("DeclaredTransforms").map(as_text)),
        ];
        let mut optional = vec!["Description", "CapabilitiesReason"];
        if is_summary {
            shown.push(Xml::text_list("ResourceTypes", items("ResourceTypes").map(as_text)));
            optional.extend(["Metadata", "Version"]);
        }
        let given =
            optional.into_iter().filter(|name| declared[*name].as_str().is_some_and(|text| !text.is_empty()));
        shown.extend(given.map(|name| Xml::text(name, as_text(&declared[name]))));
        Ok(ServiceResponse::xml(shown))
    }
}

fn parameter(declared: &Value, is_summary: bool) -> Vec<Xml> {
    let mut shown = vec![
        Xml::text("ParameterKey", as_text(&declared["ParameterKey"])),
        Xml::text("NoEcho", declared["NoEcho"] == true),
    ];
    let mut optional = vec!["DefaultValue", "Description"];
    if is_summary {
        optional.push("ParameterType");
        let allowed = declared["AllowedValues"].as_array().into_iter().flatten().map(as_text);
        let constraints = Xml::element("ParameterConstraints");
        shown.push(constraints.with(Xml::text_list("AllowedValues", allowed)));
    }
    let given = optional.into_iter().filter(|name| !declared[*name].is_null());
    shown.extend(given.map(|name| Xml::text(name, as_text(&declared[name]))));
    shown
}
