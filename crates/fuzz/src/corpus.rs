//! Texts worth mutating: in memory, and the kept ones in a file with a JSON string a line.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;

/// Longest text that is kept in the tree, and all of a target together.
const KEPT_BYTES_MAX: usize = 1_500;
const FILE_BYTES_MAX: usize = 96 << 10;

/// The texts, each once.
#[derive(Default)]
pub(crate) struct Corpus {
    pub texts: Vec<String>,
    known: HashSet<u64>,
}

impl Corpus {
    pub fn has(&self, text: &str) -> bool {
        self.known.contains(&hash(text))
    }

    pub fn add(&mut self, text: String) {
        self.known.insert(hash(&text));
        self.texts.push(text);
    }
}

/// The texts of a file.
pub(crate) fn kept(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Writes texts, the smallest first, as far as a file of the tree may grow.
pub(crate) fn keep(file: &Path, texts: impl Iterator<Item = String>) -> std::io::Result<()> {
    let mut written = Vec::new();
    for text in texts.filter(|text| text.len() <= KEPT_BYTES_MAX) {
        let line = serde_json::Value::from(text).to_string();
        if written.len() + line.len() >= FILE_BYTES_MAX {
            break;
        }
        writeln!(written, "{line}")?;
    }
    std::fs::write(file, written)
}

pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The beginning of an ending, without what it quotes and counts.
pub(crate) fn kind_of(ending: &str) -> String {
    let mut quoted = false;
    let letters = ending.chars().take(200).filter(|c| {
        quoted ^= matches!(c, '\'' | '"' | '`');
        !quoted && (c.is_ascii_alphabetic() || *c == ' ')
    });
    letters.take(32).collect()
}
