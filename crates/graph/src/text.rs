//! How wide text is, without a font: the widths of Helvetica, which Arial, Liberation Sans and their like share.
//!
//! An SVG says which fonts it likes, not which one it gets, so boxes leave room beside what is computed here.

use unicode_width::UnicodeWidthChar;

/// Widths of the letters from space to tilde, in thousandths of the size.
const ASCII: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
/// Bold letters are wider.
const BOLD: f64 = 1.08;
/// Room for fonts that are wider than Helvetica.
const MARGIN: f64 = 1.05;

/// A kind of letters.
#[derive(Clone, Copy)]
pub struct Font {
    /// Size in pixels.
    pub size: f64,
    /// Whether bold.
    pub bold: bool,
}

/// Names of states.
pub const NAME: Font = Font { size: 14.0, bold: true };
/// What stands above a name.
pub const TITLE: Font = Font { size: 11.0, bold: false };
/// What stands on an edge.
pub const LABEL: Font = Font { size: 11.0, bold: false };

/// Width in pixels.
pub fn width(text: &str, font: Font) -> f64 {
    let thousandths: f64 = text.chars().map(letter).sum();
    thousandths / 1000.0 * font.size * MARGIN * if font.bold { BOLD } else { 1.0 }
}

fn letter(letter: char) -> f64 {
    let index = (letter as usize).wrapping_sub(32);
    match ASCII.get(index) {
        Some(width) => f64::from(*width),
        None => match letter.width() {
            Some(0) | None => 0.0,
            Some(1) => 620.0,
            Some(_) => 1000.0,
        },
    }
}

/// Cuts `text` into lines of at most `width_max`, where words or capitals begin if that is possible.
pub fn wrapped(text: &str, font: Font, width_max: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        let line = lines.last_mut().map(std::mem::take).unwrap_or_default();
        lines.pop();
        let joined = format!("{line}{word}");
        if width(joined.trim_end(), font) <= width_max {
            lines.push(joined);
            continue;
        }
        if !line.is_empty() {
            lines.push(line);
        }
        broken(&word, font, width_max, &mut lines);
    }
    lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// A word by itself; one that is too long is cut anywhere.
fn broken(word: &str, font: Font, width_max: f64, lines: &mut Vec<String>) {
    let mut line = String::new();
    for letter in word.chars() {
        line.push(letter);
        if width(line.trim_end(), font) > width_max && line.chars().count() > 1 {
            line.pop();
            lines.push(std::mem::replace(&mut line, letter.to_string()));
        }
    }
    lines.push(line);
}

/// Pieces at whose ends a line may break: after blanks, `-`, `_` and before a capital that follows a small letter.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in text.chars() {
        let blank = before.is_whitespace() && !letter.is_whitespace();
        let sign = "-_./:".contains(before);
        let capital = before.is_lowercase() && letter.is_uppercase();
        if blank || sign || capital {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(letter);
        }
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_words_and_capitals_and_no_letter_is_lost() {
        let font = Font { size: 10.0, bold: false };
        assert_eq!(wrapped("Reserve the stock", font, 60.0), ["Reserve the", "stock"]);
        assert_eq!(wrapped("GenerateDailySummary", font, 60.0), ["Generate", "Daily", "Summary"]);
        let long = "x".repeat(80);
        let lines = wrapped(&long, font, 100.0);
        assert!(lines.iter().all(|line| width(line, font) <= 100.0));
        assert_eq!(lines.concat(), long);
        assert!(wrapped("", font, 10.0).is_empty());
    }
}
