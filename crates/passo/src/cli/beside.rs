//! Programs that run beside an execution: `Metadata: Passo: Beside` of the template.
//!
//! A workflow may call what is not part of its stack, such as the API of a provider. For `passo run` a template names a
//! command that stands in for it: started in the template's folder before the execution, ready at its first line of output,
//! ended with `passo run`. AWS ignores the section, and so do `passo deploy` and `passo serve`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::Failed;
use super::terminal::{Style, Terminal};

/// A program that says nothing for so long is not going to.
const READY_WAIT: Duration = Duration::from_secs(30);
/// More of what it says at its failure is not shown.
const SAID_MAX: u64 = 4096;

/// A command of the section.
#[derive(Debug, PartialEq, Eq)]
pub struct Beside {
    command: Vec<String>,
}

/// A program that runs; it ends when this is dropped.
pub struct Running {
    _child: Child,
}

impl Beside {
    /// The programs in a template's `Metadata`.
    pub fn all(metadata: &Value) -> Result<Vec<Beside>, Failed> {
        let programs = match &metadata["Passo"]["Beside"] {
            Value::Null => return Ok(Vec::new()),
            Value::Array(programs) => programs,
            _ => return Err(Failed::Usage("Metadata.Passo.Beside must be a list".into())),
        };
        let read = |(index, program): (usize, &Value)| {
            Beside::read(program)
                .map_err(|what| Failed::Usage(format!("Metadata.Passo.Beside[{index}]: {what}")))
        };
        programs.iter().enumerate().map(read).collect()
    }

    fn read(program: &Value) -> Result<Beside, String> {
        let members = program.as_object();
        if let Some(unknown) = members.and_then(|members| members.keys().find(|name| *name != "Command")) {
            return Err(format!("'{unknown}' is not one of Command"));
        }
        let words = program["Command"].as_array().into_iter().flatten();
        let command: Option<Vec<String>> = words.map(|word| word.as_str().map(str::to_owned)).collect();
        let command = command.filter(|command| !command.is_empty());
        Ok(Beside { command: command.ok_or("Command must be a list of words (text in quotes)")? })
    }

    /// Starts it, and returns once it is ready.
    pub async fn start(&self, terminal: &Terminal, folder: &Path) -> Result<Running, Failed> {
        let command = self.command.join(" ");
        let failed =
            |what: String| Failed::Usage(format!("beside: `{command}` in {}: {what}", folder.display()));
        terminal.status(&format!("  {command}"));
        let mut process = Command::new(&self.command[0]);
        process.args(&self.command[1..]).current_dir(folder).kill_on_drop(true);
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().map_err(|error| failed(error.to_string()))?;
        let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed("its output cannot be read".into()));
        };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let first = tokio::time::timeout(READY_WAIT, (&mut output).take(SAID_MAX).read_line(&mut line)).await;
        match first {
            Err(_) => return Err(failed(format!("it said nothing in {} seconds", READY_WAIT.as_secs()))),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(0)) => {
                let mut said = Vec::new();
                // What it said is a help; that it ended is the news.
                let _ = errors.take(SAID_MAX).read_to_end(&mut said).await;
                return Err(failed(format!("it ended\n{}", String::from_utf8_lossy(&said).trim_end())));
            }
            Ok(Ok(_)) => {}
        }
        // A program whose pipes are full would stop.
        tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
        let mut errors = errors;
        tokio::spawn(async move { tokio::io::copy(&mut errors, &mut tokio::io::sink()).await });
        terminal.line(&terminal.paint(Style::Dim, &format!("  {:<7} {}", "beside", line.trim_end())));
        Ok(Running { _child: child })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        let refusal = |metadata: Value| match Beside::all(&metadata) {
            Err(Failed::Usage(message)) => message,
            other => format!("{other:?}"),
        };
        let beside = |program: Value| refusal(json!({ "Passo": { "Beside": [program] } }));
        assert_eq!(refusal(json!({ "Passo": { "Beside": {} } })), "Metadata.Passo.Beside must be a list");
        assert!(beside(json!({ "Command": ["a"], "Port": 1 })).contains("'Port' is not one of"));
        assert!(beside(json!({ "Command": "a b" })).contains("Command must be a list"));
        assert!(Beside::all(&Value::Null).is_ok_and(|programs| programs.is_empty()));
    }
}
