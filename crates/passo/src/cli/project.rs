//! What `passo run PATH` means: a template, a folder with one, or a bare definition.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use templates::{Options, Place, Template};

use super::Failed;
use super::terminal::Terminal;
use super::validate;

/// Something that can be deployed and run.
pub struct Project {
    /// Stack name.
    pub stack: String,
    /// Folder of the template.
    pub folder: PathBuf,
    /// The file that was found.
    pub file: PathBuf,
    kind: Kind,
}

enum Kind {
    Template,
    Definition(String),
}

const TEMPLATE_NAMES: [&str; 4] = ["template.yaml", "template.yml", "template.json", "template.sam.yaml"];

impl Project {
    /// Finds what `path` means.
    pub fn find(path: &Path, stack: Option<&str>) -> Result<Project, Failed> {
        let file = if path.is_dir() { template_in(path)? } else { path.to_path_buf() };
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Failed::Usage(format!("{}: {error}", file.display())))?;
        let folder = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
            .to_path_buf();
        let kind = match is_template(&file, &text) {
            true => Kind::Template,
            false => Kind::Definition(definition_json(&file, text)?),
        };
        let stack = match stack {
            Some(stack) => stack.to_string(),
            None => stack_name(&file, &folder, &kind),
        };
        Ok(Project { stack, folder, file, kind })
    }

    /// Reads and checks everything that can be checked before a call.
    pub fn template(&self, terminal: &Terminal, options: &Options) -> Result<Template, Failed> {
        let template = match &self.kind {
            Kind::Template => return read_template(terminal, &self.file, options),
            Kind::Definition(text) => {
                self.check_definition(terminal, text)?;
                let name = self.file.display().to_string();
                Template::parse(&name, &wrapped(text).to_string(), &self.folder, options)
            }
        };
        template.map_err(|error| Failed::Usage(error.to_string()))
    }

    /// The definitions to draw, with the files they come from.
    pub fn definitions(&self) -> Result<Vec<(PathBuf, String)>, Failed> {
        let template = match &self.kind {
            Kind::Definition(text) => {
                return Ok(vec![(self.file.clone(), with_plausible_substitutions(text))]);
            }
            // What cannot be deployed here, or not yet, can be drawn all the same.
            Kind::Template => {
                let options = Options { skip_unsupported: true, ..plain_options() };
                Template::read(&self.file, &options).map_err(|error| Failed::Usage(error.to_string()))?
            }
        };
        let definitions = template.definitions().into_iter();
        Ok(definitions.map(|(file, text)| (file, with_plausible_substitutions(text))).collect())
    }

    fn check_definition(&self, terminal: &Terminal, text: &str) -> Result<(), Failed> {
        let errors = validate::errors(text);
        if errors.is_empty() {
            return Ok(());
        }
        validate::show(terminal, &self.file.display().to_string(), text, &errors);
        Err(Failed::Usage(format!("{} cannot be run as it stands", self.file.display())))
    }

    /// The input that comes with the project: `input.json`, else the first of `inputs/`.
    pub fn default_input(&self) -> Option<PathBuf> {
        let beside = self.folder.join("input.json");
        if beside.is_file() {
            return Some(beside);
        }
        let mut inputs: Vec<PathBuf> = std::fs::read_dir(self.folder.join("inputs"))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        inputs.sort();
        inputs.into_iter().next()
    }
}

/// A definition as the API takes it; the file may be YAML.
pub fn definition_json(file: &Path, text: String) -> Result<String, Failed> {
    templates::definition_text(&file.display().to_string(), text)
        .map_err(|error| Failed::Usage(error.to_string()))
}

/// YAML is a template; JSON is one when it has Resources.
pub fn is_template(file: &Path, text: &str) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "yaml" | "yml" => !file.to_string_lossy().contains(".asl."),
        _ => serde_json::from_str::<Value>(text).is_ok_and(|value| value["Resources"].is_object()),
    }
}

/// Reads a template for its errors.
pub fn check_template(terminal: &Terminal, file: &Path) -> Result<(), Failed> {
    read_template(terminal, file, &plain_options()).map(drop)
}

/// For templates that are only read.
fn plain_options() -> Options {
    Options {
        stack: "stack".into(),
        place: Place { account: "000000000000".into(), region: "us-east-1".into() },
        ..Options::default()
    }
}

/// Reads a template and the definitions that it names, before anything is created.
fn read_template(terminal: &Terminal, file: &Path, options: &Options) -> Result<Template, Failed> {
    let template = Template::read(file, options).map_err(|error| Failed::Usage(error.to_string()))?;
    for (source, text) in template.definitions() {
        let text = with_plausible_substitutions(text);
        let errors = validate::errors(&text);
        if !errors.is_empty() {
            let name = source.display().to_string();
            validate::show(terminal, &name, &text, &errors);
            return Err(Failed::Usage(format!("{name} cannot be run as it stands")));
        }
    }
    Ok(template)
}

/// `${Name}` stands for what only the deployment knows; for the check it is a function's ARN inside a string, and a
/// number outside. Lines stay where they are.
fn with_plausible_substitutions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else { break };
        let line = out.rsplit('\n').next().unwrap_or_default();
        let inside = line.matches('"').count() % 2 == 1;
        match inside {
            true => out.push_str(&format!("arn:aws:lambda:us-east-1:000000000000:function:{name}")),
            false => out.push('1'),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn template_in(folder: &Path) -> Result<PathBuf, Failed> {
    if let Some(found) = TEMPLATE_NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let hint = format!("expected one of {} in it", TEMPLATE_NAMES.join(", "));
    Err(Failed::Usage(format!("{} has no template: {hint}", folder.display())))
}

/// The folder's name for a template, the file's for a definition; only what AWS allows in names.
fn stack_name(file: &Path, folder: &Path, kind: &Kind) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let source = match kind {
        Kind::Template => folder.file_name(),
        Kind::Definition(_) => file.file_name(),
    };
    let name = source.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "stack".into() } else { name.to_string() }
}

/// A stack around a bare definition, with a role that may do everything.
fn wrapped(definition: &str) -> Value {
    let trust = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": "states.amazonaws.com" }, "Action": "sts:AssumeRole" }] });
    let everything = json!({ "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
    json!({ "Resources": {
        "Role": { "Type": "AWS::IAM::Role", "Properties": { "AssumeRolePolicyDocument": trust,
            "Policies": [{ "PolicyName": "everything", "PolicyDocument": everything }] } },
        "Workflow": { "Type": "AWS::StepFunctions::StateMachine", "Properties": {
            "StateMachineName": { "Ref": "AWS::StackName" }, "DefinitionString": definition,
            "RoleArn": { "Fn::GetAtt": ["Role", "Arn"] } } } } })
}
