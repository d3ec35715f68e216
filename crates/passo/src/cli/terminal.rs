//! Writing for people: colour where it is wanted, plain lines where it is not, talk on standard error, data on standard
//! output.
//!
//! Commands that look at a server write what they found as data. When nobody reads on, they end without a word, as
//! `head` wants it.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

/// Where people read.
pub struct Terminal {
    colour: bool,
    live: bool,
    lines: Lines,
    /// The transient status line, so that it can be taken away before the next line.
    status: Mutex<bool>,
}

/// Where lines go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// To standard error.
    Talk,
    /// To standard output.
    Data,
    /// Nowhere.
    Nowhere,
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
    colour_allowed() && std::io::stderr().is_terminal()
}

fn colour_allowed() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !set("NO_COLOR") && !dumb
}

impl Terminal {
    /// Looks at standard error and the environment.
    pub fn detect() -> Terminal {
        let colour = colour_wanted();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Terminal {
            colour,
            live: std::io::stderr().is_terminal() && !dumb,
            lines: Lines::Talk,
            status: Mutex::new(false),
        }
    }

    /// For commands whose lines are what was asked for.
    pub fn for_data() -> Terminal {
        let colour = colour_allowed() && std::io::stdout().is_terminal();
        let live = std::io::stdout().is_terminal() && Terminal::detect().live;
        Terminal { colour, live, lines: Lines::Data, status: Mutex::new(false) }
    }

    /// For work that shall not be seen.
    pub fn silent() -> Terminal {
        Terminal { colour: false, live: false, lines: Lines::Nowhere, status: Mutex::new(false) }
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

    /// A line on standard error, or on standard output where lines are data.
    pub fn line(&self, text: &str) {
        match self.lines {
            Lines::Talk => self.talk(text),
            Lines::Data => self.data(text),
            Lines::Nowhere => {}
        }
    }

    /// A line on standard error.
    pub fn talk(&self, text: &str) {
        self.clear_status();
        // A closed standard error is no reason to stop.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// `error: …` on standard error.
    pub fn error(&self, text: &str) {
        self.talk(&format!("{} {text}", self.paint(Style::Bad, "error:")));
    }

    /// `warning: …` on standard error.
    pub fn warning(&self, text: &str) {
        self.talk(&format!("{} {text}", self.paint(Style::Warn, "warning:")));
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
        let mut output = std::io::stdout().lock();
        let written = writeln!(output, "{text}").and_then(|()| output.flush());
        if let Err(error) = written.map_err(|error| error.kind())
            && self.lines == Lines::Data
        {
            // Nobody reads on, or nothing can be written any more; there is no server here that must be closed.
            std::process::exit(if error == std::io::ErrorKind::BrokenPipe { 0 } else { 3 });
        }
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
