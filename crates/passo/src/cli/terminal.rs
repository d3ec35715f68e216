//! Writing for people: colour where it is wanted, plain lines where it is not, talk on standard error, data on standard
//! output.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

/// Where people read.
pub struct Terminal {
    colour: bool,
    live: bool,
    /// The transient status line, so that it can be taken away before the next line.
    status: Mutex<bool>,
}

/// A way to set words apart.
#[derive(Clone, Copy)]
pub enum Style {
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Something to look at.
    Warn,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

/// `NO_COLOR`, `TERM=dumb` and pipes get none.
pub fn colour_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !set("NO_COLOR") && !dumb && std::io::stderr().is_terminal()
}

impl Terminal {
    /// Looks at standard error and the environment.
    pub fn detect() -> Terminal {
        let colour = colour_wanted();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Terminal { colour, live: std::io::stderr().is_terminal() && !dumb, status: Mutex::new(false) }
    }

    /// `text`, set apart if colour is wanted.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_string();
        }
        let code = match style {
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
            Style::Dim => "2",
            Style::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A line on standard error.
    pub fn line(&self, text: &str) {
        self.clear_status();
        // A closed standard error is no reason to stop.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// `error: …` on standard error.
    pub fn error(&self, text: &str) {
        self.line(&format!("{} {text}", self.paint(Style::Bad, "error:")));
    }

    /// `warning: …` on standard error.
    pub fn warning(&self, text: &str) {
        self.line(&format!("{} {text}", self.paint(Style::Warn, "warning:")));
    }

    /// The line at the bottom that the next one replaces; nothing where lines cannot be redrawn.
    pub fn status(&self, text: &str) {
        if !self.live {
            return;
        }
        let mut shown = self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let width = terminal_width();
        let cut = cut(text, width.saturating_sub(1));
        let _ = write!(std::io::stderr().lock(), "\r\u{1b}[2K{}", self.paint(Style::Dim, &cut));
        let _ = std::io::stderr().flush();
        *shown = true;
    }

    /// Takes the status line away.
    pub fn clear_status(&self) {
        let mut shown = self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::take(&mut *shown) {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[2K");
        }
    }

    /// Data on standard output.
    pub fn data(&self, text: &str) {
        self.clear_status();
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

fn terminal_width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|width| *width > 20)
        .unwrap_or(100)
}

/// At most `width` columns.
fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|letter| {
            used += unicode_width::UnicodeWidthChar::width(*letter).unwrap_or(0);
            used <= width
        })
        .collect()
}
