//! Mutants: pieces of known texts cut, repeated, exchanged and mixed with the words that the texts are made of.

use asl::entropy::{Entropy, SeededEntropy};

/// Longest mutant, in characters.
const CHARS_MAX: usize = 8_000;
/// What no text of a test holds often enough.
const WORDS: [&str; 24] = [
    "\u{0}",
    "\u{1F600}",
    "é",
    "\\u0000",
    "\\uD83D",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "-0.0",
    "NaN",
    "''",
    "\"\"",
    "\\",
    "\n",
    "$",
    "$$",
    "..",
    "[*]",
    "[?(@)]",
    "{%",
    "%}",
    "null",
    "\t",
];

pub(crate) struct Mutator {
    entropy: SeededEntropy,
    words: Vec<String>,
}

impl Mutator {
    /// The words are those of the texts.
    pub fn new(seed: u64, texts: &[String]) -> Mutator {
        let mut words: Vec<String> = WORDS.map(str::to_owned).to_vec();
        for text in texts {
            let pieces = text.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_'));
            words.extend(pieces.map(|piece| piece.chars().take(60).collect()));
        }
        words.sort();
        words.dedup();
        Mutator { entropy: SeededEntropy::new(seed), words }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.entropy.next_u64() % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        // Most cuts are short.
        let longest = if self.below(4) == 0 { length } else { 12 };
        start..(start + self.below(longest + 1)).min(length)
    }

    fn word(&mut self) -> Vec<char> {
        let index = self.below(self.words.len());
        self.words[index].chars().collect()
    }

    /// A mutant of one text, with parts of others.
    pub fn mutant(&mut self, texts: &[String]) -> String {
        // The newest texts reached what is least known.
        let newest = texts.len() / 4 + 1;
        let index = if self.below(2) == 0 {
            texts.len().saturating_sub(1 + self.below(newest))
        } else {
            self.below(texts.len())
        };
        let mut mutant: Vec<char> = texts.get(index).map(|text| text.chars().collect()).unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.change(&mut mutant, texts);
            mutant.truncate(CHARS_MAX);
        }
        mutant.into_iter().collect()
    }

    fn change(&mut self, mutant: &mut Vec<char>, texts: &[String]) {
        let range = self.range(mutant.len());
        match self.below(8) {
            0 => drop(mutant.drain(range)),
            1 | 2 => drop(mutant.splice(range, self.word())),
            3 => drop(mutant.splice(range.start..range.start, self.word())),
            4 => {
                let piece = mutant[range.clone()].to_vec();
                let times = if self.below(4) == 0 { self.below(60) } else { self.below(3) };
                drop(mutant.splice(range.end..range.end, piece.repeat(times)));
            }
            5 => {
                let index = self.below(texts.len());
                let other: Vec<char> =
                    texts.get(index).map(|text| text.chars().collect()).unwrap_or_default();
                let piece = self.range(other.len());
                drop(mutant.splice(range, other[piece].iter().copied()));
            }
            6 => {
                let piece = mutant[range].to_vec();
                let at = self.below(mutant.len() + 1);
                drop(mutant.splice(at..at, piece));
            }
            _ => {
                if let Some(place) = mutant.get_mut(range.start) {
                    let changed = *place as u32 ^ (1 << (self.entropy.next_u64() % 8));
                    *place = char::from_u32(changed).unwrap_or('\u{FFFD}');
                }
            }
        }
    }
}
