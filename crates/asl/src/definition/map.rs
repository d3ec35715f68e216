//! `Type: Map`: the processor, what it reads and where its results go.

use crate::diagnostic::Code;
use crate::json::Node;
use crate::program::{
    ItemBatcher, Items, Map, MapMode, QueryLanguage, ResultWriter, StateMachineType, Template,
};

use super::compiler::{Compiler, Here, Scope};
use super::fields::{Bounds, Fields};
use super::layout::ScopeLayout;
use super::paths::Reference;
use super::templates::Available;

/// AWS's greatest `MaxInputBytesPerBatch`.
const BATCH_BYTES_MAX: i64 = 262_144;
/// AWS's longest label.
const LABEL_CHARS_MAX: usize = 40;

impl Compiler<'_> {
    pub(super) fn map(&mut self, here: &Here<'_, '_>, inner: &[ScopeLayout<'_>]) -> Option<Map> {
        let fields = &here.fields;
        self.findings.exactly_one(fields, &["ItemProcessor", "Iterator"]);
        let mode = self.processor(here, inner);
        if mode == Some(MapMode::Inline) {
            self.distributed_only(fields);
        }
        let items = self.items(here);
        let item_selector = self.item_selector(here);
        let count = Bounds::from(0);
        let concurrency = ["MaxConcurrency", "MaxConcurrencyPath"];
        let max_concurrency = self.dynamic_integer(here, fields, concurrency, count, "MaxConcurrency");
        let tolerated = ["ToleratedFailureCount", "ToleratedFailureCountPath"];
        let tolerated_failure_count =
            self.dynamic_integer(here, fields, tolerated, count, "ToleratedFailureCount");
        let tolerated = ["ToleratedFailurePercentage", "ToleratedFailurePercentagePath"];
        let tolerated_failure_percentage = self.dynamic_number(here, fields, tolerated, 100.0);
        let item_reader = self.item_reader(here);
        let item_batcher = self.item_batcher(here);
        let result_writer = self.result_writer(here);
        let label = self.label(fields);
        let retry = self.retriers(fields);
        let catch = self.catchers(here)?;
        Some(Map {
            processor: inner.first()?.workflow,
            mode: mode?,
            items,
            item_selector,
            max_concurrency,
            tolerated_failure_count,
            tolerated_failure_percentage,
            item_reader,
            item_batcher,
            result_writer,
            label,
            retry,
            catch,
        })
    }

    /// The scope inside; yields how it is run.
    fn processor(&mut self, here: &Here<'_, '_>, inner: &[ScopeLayout<'_>]) -> Option<MapMode> {
        let name = if here.fields.object.has("ItemProcessor") { "ItemProcessor" } else { "Iterator" };
        let fields = self.findings.object(&here.fields, name)?;
        self.check_nesting(&here.fields, inner.is_empty());
        let layout = inner.first()?;
        self.findings.required(&fields, &["States", "StartAt"]);
        self.findings.known(&fields, &["Comment", "ProcessorConfig", "StartAt", "States"]);
        self.findings.string(&fields, "Comment");
        let mode = self.processor_config(here, &fields);
        let machine_type = match mode {
            MapMode::Inline => here.scope.machine_type,
            MapMode::Distributed(child) => child,
        };
        if mode != MapMode::Inline {
            self.sealed.insert(layout.workflow);
        }
        let scope = Scope {
            workflow: layout.workflow,
            names: layout.names.clone(),
            machine_type,
            path: format!("{}/ItemProcessor", here.path).into(),
        };
        self.scope(&fields, layout, scope, Some((here.id, here.scope.workflow)));
        Some(mode)
    }

    fn processor_config(&mut self, here: &Here<'_, '_>, processor: &Fields<'_>) -> MapMode {
        let Some(fields) = self.findings.object(processor, "ProcessorConfig") else { return MapMode::Inline };
        let mode = self.findings.choice(&fields, "Mode", &["INLINE", "DISTRIBUTED"]);
        if mode != Some("DISTRIBUTED") {
            self.findings.known(&fields, &["Mode"]);
            return MapMode::Inline;
        }
        self.findings.known(&fields, &["ExecutionType", "Mode"]);
        self.findings.required(&fields, &["ExecutionType"]);
        if here.scope.machine_type == StateMachineType::Express
            && let Some(node) = fields.object.get("Mode")
        {
            const MESSAGE: &str =
                "The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state machines";
            self.findings.schema(MESSAGE, &fields.site.field("Mode"), &node.span);
        }
        match self.findings.choice(&fields, "ExecutionType", &["STANDARD", "EXPRESS"]) {
            Some("EXPRESS") => MapMode::Distributed(StateMachineType::Express),
            _ => MapMode::Distributed(StateMachineType::Standard),
        }
    }

    /// What an inline Map would not do. (Tolerated failures are another matter: AWS takes them and checks their types.)
    fn distributed_only(&mut self, fields: &Fields<'_>) {
        for name in ["ItemReader", "ItemBatcher", "ResultWriter"] {
            if let Some(member) = fields.object.member(name) {
                let message = format!("The field '{name}' is not supported for a Map in 'INLINE' mode");
                self.findings.schema(message, &fields.site.field(name), &member.key_span);
            }
        }
    }

    fn items(&mut self, here: &Here<'_, '_>) -> Option<Items> {
        let fields = &here.fields;
        match here.language {
            QueryLanguage::JsonPath => {
                let node = fields.object.get("ItemsPath")?;
                let compiled =
                    self.reference(node, &fields.site.field("ItemsPath"), Reference::DataOrContext)?;
                Some(Items::Path(compiled.path))
            }
            QueryLanguage::Jsonata => {
                let node = fields.object.get("Items")?;
                let template =
                    self.template_field(here.language, fields, "Items", "Items", Available::INPUT)?;
                if matches!(template, Template::Literal(_))
                    && node.as_array().is_none()
                    && node.as_object().is_none()
                {
                    const MESSAGE: &str =
                        "The field 'Items' must be an array, an object or a JSONata expression";
                    self.findings.schema(MESSAGE, &fields.site.field("Items"), &node.span);
                }
                Some(Items::Jsonata(template))
            }
        }
    }

    /// `ItemSelector`, or `Parameters` as it was called before.
    fn item_selector(&mut self, here: &Here<'_, '_>) -> Option<Template> {
        if here.language == QueryLanguage::JsonPath {
            self.findings.at_most_one(&here.fields, &["ItemSelector", "Parameters"]);
            if !here.fields.object.has("ItemSelector") {
                return self.payload_field(here, "Parameters");
            }
        }
        self.payload_field(here, "ItemSelector")
    }

    /// `Parameters` or `Arguments` of a reader or writer.
    pub(super) fn nested_arguments(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        container: &str,
    ) -> Option<Template> {
        self.language_fields(here.language, fields, &["Parameters"], &["Arguments"]);
        let name = match here.language {
            QueryLanguage::JsonPath => "Parameters",
            QueryLanguage::Jsonata => "Arguments",
        };
        self.template_field(here.language, fields, name, &format!("{container}/{name}"), Available::INPUT)
    }

    /// The last part of `arn:aws:states:::s3:ACTION`.
    pub(super) fn s3_action(&mut self, fields: &Fields<'_>, actions: &[&str]) -> Option<std::sync::Arc<str>> {
        let resource = self.findings.string(fields, "Resource")?;
        let call = resource.strip_prefix("arn:").and_then(|rest| rest.split_once(":states:::s3:"));
        if let Some((_, action)) = call.filter(|(_, action)| actions.contains(action)) {
            return Some(action.into());
        }
        let span = &fields.object.get("Resource")?.span;
        let message = "The field 'Resource' does not match any of the allowed values";
        self.findings.schema(message, &fields.site.field("Resource"), span);
        None
    }

    fn item_batcher(&mut self, here: &Here<'_, '_>) -> Option<ItemBatcher> {
        let fields = self.findings.object(&here.fields, "ItemBatcher")?;
        const KNOWN: [&str; 5] = [
            "BatchInput",
            "MaxInputBytesPerBatch",
            "MaxInputBytesPerBatchPath",
            "MaxItemsPerBatch",
            "MaxItemsPerBatchPath",
        ];
        self.findings.known(&fields, &KNOWN);
        self.language_fields(here.language, &fields, &[KNOWN[2], KNOWN[4]], &[]);
        if !KNOWN[1..].iter().any(|name| fields.object.has(name)) {
            let names = KNOWN[1..].join(", ");
            let message = format!("This object should have at least one of the following fields: [{names}]");
            self.findings.schema(message, &fields.site, &fields.span);
        }
        let place = "ItemBatcher/BatchInput";
        let batch_input = self.template_field(here.language, &fields, "BatchInput", place, Available::INPUT);
        let place = "ItemBatcher/MaxItemsPerBatch";
        let max_items_per_batch =
            self.dynamic_integer(here, &fields, [KNOWN[3], KNOWN[4]], Bounds::from(0), place);
        let place = "ItemBatcher/MaxInputBytesPerBatch";
        let bounds = Bounds::new(0, BATCH_BYTES_MAX);
        let max_input_bytes_per_batch =
            self.dynamic_integer(here, &fields, [KNOWN[1], KNOWN[2]], bounds, place);
        Some(ItemBatcher { batch_input, max_items_per_batch, max_input_bytes_per_batch })
    }

    fn result_writer(&mut self, here: &Here<'_, '_>) -> Option<ResultWriter> {
        let fields = self.findings.object(&here.fields, "ResultWriter")?;
        self.findings.known(&fields, &["Arguments", "Parameters", "Resource", "WriterConfig"]);
        if fields.object.members.is_empty() {
            const MESSAGE: &str =
                "This object should have at least one of the following fields: [Resource, WriterConfig]";
            self.findings.schema(MESSAGE, &fields.site, &fields.span);
        }
        let container = match here.language {
            QueryLanguage::JsonPath => "Parameters",
            QueryLanguage::Jsonata => "Arguments",
        };
        self.s3_action(&fields, &["putObject"]);
        if fields.object.has("Resource") != fields.object.has(container) {
            self.findings.required(&fields, &["Resource", container]);
        }
        let arguments = self.nested_arguments(here, &fields, "ResultWriter");
        let config = self.findings.object(&fields, "WriterConfig");
        if let Some(config) = &config {
            self.findings.known(config, &["OutputType", "Transformation"]);
            self.findings.choice(config, "Transformation", &["NONE", "COMPACT", "FLATTEN"]);
            self.findings.choice(config, "OutputType", &["JSON", "JSONL"]);
        }
        Some(ResultWriter {
            arguments,
            config: config.map(|config| config.object.to_map()).unwrap_or_default(),
        })
    }

    fn label(&mut self, fields: &Fields<'_>) -> Option<std::sync::Arc<str>> {
        let label = self.findings.string(fields, "Label")?;
        let span = fields.object.get("Label").map(|node: &Node| node.span.clone())?;
        let site = fields.site.field("Label");
        let forbidden =
            |c: char| c.is_whitespace() || c.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"".contains(c);
        let wrong = match label.chars().find(|c| forbidden(*c)) {
            _ if label.is_empty() => Some("Label cannot be empty".to_owned()),
            _ if label.chars().count() > LABEL_CHARS_MAX => {
                Some(format!("Label cannot exceed {LABEL_CHARS_MAX} characters"))
            }
            Some(c) => Some(format!("Label contains invalid character: '{}'", c.escape_debug())),
            None => None,
        };
        if let Some(message) = wrong {
            self.findings.error(Code::InvalidLabelName, message, &site, &span);
        }
        if !self.labels.insert(label.to_owned()) {
            self.findings.error(
                Code::DuplicateLabelName,
                format!("Duplicate Label name: {label}"),
                &site,
                &span,
            );
        }
        Some(label.into())
    }
}
