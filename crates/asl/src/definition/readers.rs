//! `ItemReader` of a Map: where its items come from, and how they lie there.
//!
//! Combinations that are not read are refused here by name, so that no Map Run fails of them.

use crate::program::{Dynamic, ItemReader};

use super::compiler::{Compiler, Here};
use super::fields::{Bounds, Fields};

/// AWS's greatest `MaxItems`.
const ITEMS_MAX: i64 = 100_000_000;
/// AWS's longest `ItemsPointer`.
const POINTER_CHARS_MAX: usize = 2_000;

const READER_FIELDS: [&str; 9] = [
    "CSVDelimiter",
    "CSVHeaderLocation",
    "CSVHeaders",
    "InputType",
    "ItemsPointer",
    "ManifestType",
    "MaxItems",
    "MaxItemsPath",
    "Transformation",
];

impl Compiler<'_> {
    pub(super) fn item_reader(&mut self, here: &Here<'_, '_>) -> Option<ItemReader> {
        let fields = self.findings.object(&here.fields, "ItemReader")?;
        self.findings.known(&fields, &["Arguments", "Parameters", "ReaderConfig", "Resource"]);
        self.findings.required(&fields, &["Resource"]);
        let action = self.s3_action(&fields, &["getObject", "listObjectsV2"]);
        let arguments = self.nested_arguments(here, &fields, "ItemReader");
        let config = self.findings.object(&fields, "ReaderConfig");
        let listing = action.as_deref() == Some("listObjectsV2");
        let max_items = config.as_ref().and_then(|config| self.reader_config(here, config, listing));
        let mut config = config.map(|config| config.object.to_map()).unwrap_or_default();
        config.remove("MaxItems");
        config.remove("MaxItemsPath");
        Some(ItemReader { action: action?, arguments, config, max_items })
    }

    fn reader_config(
        &mut self,
        here: &Here<'_, '_>,
        config: &Fields<'_>,
        listing: bool,
    ) -> Option<Dynamic<u64>> {
        self.findings.known(config, &READER_FIELDS);
        self.language_fields(here.language, config, &["MaxItemsPath"], &[]);
        let input =
            self.findings.choice(config, "InputType", &["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"]);
        let transformation = self.findings.choice(config, "Transformation", &["NONE", "LOAD_AND_FLATTEN"]);
        let manifest = self.findings.choice(config, "ManifestType", &["S3_INVENTORY", "ATHENA_DATA"]);
        self.input_of_reader(config, listing, input, [transformation, manifest]);
        self.findings.choice(config, "CSVDelimiter", &["COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"]);
        let header = self.findings.choice(config, "CSVHeaderLocation", &["FIRST_ROW", "GIVEN"]);
        self.items_pointer(config, input);
        if input == Some("CSV") && !config.object.has("CSVHeaderLocation") {
            self.findings.schema("The field 'CSVHeaderLocation' is required", &config.site, &config.span);
        }
        if matches!(input, Some("JSON" | "JSONL" | "PARQUET")) {
            for name in ["CSVHeaderLocation", "CSVHeaders", "CSVDelimiter"] {
                if let Some(member) = config.object.member(name) {
                    let message = format!("Field '{name}' is not supported");
                    self.findings.schema(message, &config.site.field(name), &member.key_span);
                }
            }
        }
        if header == Some("GIVEN") {
            self.findings.required(config, &["CSVHeaders"]);
        }
        self.findings.filled_array(config, "CSVHeaders");
        // Zero and less is left to the run, where AWS says "field MaxItems must be positive".
        let bounds = Bounds::new(0, ITEMS_MAX);
        self.dynamic_integer(
            here,
            config,
            ["MaxItems", "MaxItemsPath"],
            bounds,
            "ItemReader/ReaderConfig/MaxItems",
        )
    }

    /// Refuses combinations of `InputType`, `Transformation` and `ManifestType` that are not read.
    fn input_of_reader(
        &mut self,
        config: &Fields<'_>,
        listing: bool,
        input: Option<&str>,
        [transformation, manifest]: [Option<&str>; 2],
    ) {
        let mut refuse = |name: &str, message: String| {
            if let Some(node) = config.object.get(name) {
                self.findings.schema(message, &config.site.field(name), &node.span);
            }
        };
        if let Some(kind) = manifest.filter(|_| listing) {
            refuse("ManifestType", format!("ManifestType '{kind}' is not supported for 's3:listObjectsV2'"));
        }
        match (manifest, input) {
            (Some("S3_INVENTORY"), Some(other)) if other != "MANIFEST" => {
                refuse(
                    "InputType",
                    format!("InputType '{other}' is not supported for ManifestType 'S3_INVENTORY'"),
                );
            }
            (Some("ATHENA_DATA"), None | Some("JSON" | "MANIFEST")) => {
                let message = "ManifestType 'ATHENA_DATA' requires one of the following InputTypes: [CSV, JSONL, PARQUET]";
                refuse("ManifestType", message.to_owned());
            }
            _ => {}
        }
        if transformation != Some("LOAD_AND_FLATTEN") {
            return;
        }
        if !listing {
            let message = "Transformation 'LOAD_AND_FLATTEN' is only supported for 's3:listObjectsV2'";
            refuse("Transformation", message.to_owned());
        } else if !matches!(input, Some("CSV" | "JSON" | "JSONL" | "PARQUET")) {
            let message = "Transformation 'LOAD_AND_FLATTEN' requires one of the following InputTypes: [CSV, JSON, JSONL, PARQUET]";
            refuse("Transformation", message.to_owned());
        }
    }

    /// `ItemsPointer`: a JSON Pointer into a JSON object.
    fn items_pointer(&mut self, config: &Fields<'_>, input: Option<&str>) {
        let Some(pointer) = self.findings.string(config, "ItemsPointer") else { return };
        let Some(node) = config.object.get("ItemsPointer") else { return };
        let site = config.site.field("ItemsPointer");
        if input.is_some_and(|input| input != "JSON") {
            self.findings.schema(
                "Field 'ItemsPointer' is only supported for InputType 'JSON'",
                &site,
                &node.span,
            );
        }
        let escaped = pointer.replace("~0", "").replace("~1", "");
        let well_formed = (pointer.is_empty() || pointer.starts_with('/')) && !escaped.contains('~');
        if !well_formed || pointer.chars().count() >= POINTER_CHARS_MAX {
            self.findings.schema("Value is not a valid JSON Pointer", &site, &node.span);
        }
    }
}
