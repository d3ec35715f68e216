//! Colours and fonts of the drawing, light and dark.
//!
//! Each colour is written out at each class, not by variables: converters to PNG and PDF do not know them.

/// Which colours a drawing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the reader's system prefers.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

const FONTS: &str = "\
text{font-family:\"Amazon Ember\",\"Helvetica Neue\",Helvetica,Arial,\"Liberation Sans\",sans-serif}\
.name{font-size:14px;font-weight:bold}\
.title,.label{font-size:11px}\
.letters{font-size:15px;font-weight:bold;text-anchor:middle;fill:#fff}\
.end{font-size:12px;text-anchor:middle}\
.label{text-anchor:middle}\
.glyph{fill:none;stroke:#fff;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}\
.edge{fill:none;stroke-width:1.5}\
.edge.catch{stroke-dasharray:5 4}\
.taken{stroke-width:2.5}\
.state{stroke-width:1}.rule{stroke-width:1}\
.frame{fill:none;stroke-width:1.2;stroke-dasharray:6 4}\
.mark{fill:none;stroke:#fff;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}\
.seen{stroke-width:2;stroke-dasharray:none}";

/// Class, property, light, dark.
const COLOURS: [(&str, &str, &str, &str); 34] = [
    (".canvas", "fill", "#f7f8fa", "#0f1720"),
    (".canvas", "stroke", "#e3e7ec", "#243140"),
    (".dot", "fill", "#d9dfe6", "#22303f"),
    (".shadow", "fill", "#1b2733", "#000000"),
    (".state,.behind", "fill", "#ffffff", "#1a2633"),
    (".state,.behind", "stroke", "#b6c0cc", "#465a70"),
    (".around", "fill", "#edf1f6", "#141e29"),
    (".head", "fill", "#ffffff", "#1a2633"),
    (".rule", "stroke", "#c9d2dc", "#33465a"),
    (".frame", "stroke", "#7d8b9b", "#6b8099"),
    (".name", "fill", "#16202b", "#eef3f8"),
    (".title", "fill", "#5a6b7d", "#9fb0c2"),
    (".terminal", "fill", "#dfe5ec", "#2b3b4d"),
    (".end", "fill", "#2d3b4a", "#dbe4ee"),
    (".edge", "stroke", "#66788c", "#8599ae"),
    (".arrow", "fill", "#66788c", "#8599ae"),
    (".edge.catch", "stroke", "#b8620a", "#f0a04b"),
    (".arrow.catch", "fill", "#b8620a", "#f0a04b"),
    (".plate", "fill", "#ffffff", "#22303f"),
    (".plate", "stroke", "#c4cdd7", "#4a5e74"),
    (".plate.catch", "stroke", "#e0b27a", "#8a6230"),
    (".label", "fill", "#33424f", "#d3dde8"),
    (".label.catch", "fill", "#8f4b05", "#f5b873"),
    (".state.succeeded", "fill", "#e9f7ee", "#12301f"),
    (".seen.succeeded", "stroke", "#1d8348", "#37b871"),
    (".state.progress", "fill", "#e8f1fd", "#122a45"),
    (".seen.progress", "stroke", "#0b62d6", "#5aa2ff"),
    (".state.failed", "fill", "#fdecea", "#3a1512"),
    (".seen.failed", "stroke", "#c0362c", "#ff7468"),
    (".state.caught", "fill", "#fff3e2", "#38260c"),
    (".seen.caught", "stroke", "#d9780a", "#ffae4d"),
    (".state.aborted", "fill", "#eceff2", "#262e37"),
    (".seen.aborted", "stroke", "#5d6a78", "#93a1b0"),
    (".edge.taken", "stroke", "#1d8348", "#37b871"),
];

/// Status marks: filled circles and arrowheads.
const MARKS: [(&str, &str, &str); 5] = [
    (".disc.succeeded,.arrow.taken", "#1d8348", "#2c9d5e"),
    (".disc.progress", "#0b62d6", "#2f7fe6"),
    (".disc.failed", "#c0362c", "#d9493e"),
    (".disc.caught", "#d9780a", "#d9780a"),
    (".disc.aborted", "#5d6a78", "#6f7d8c"),
];

/// The drawing's style sheet.
pub(crate) fn sheet(theme: Theme) -> String {
    let rules = |dark: bool| {
        let colours = COLOURS.iter().map(|(class, property, light, night)| {
            format!("{class}{{{property}:{}}}", if dark { night } else { light })
        });
        let marks = MARKS
            .iter()
            .map(|(class, light, night)| format!("{class}{{fill:{}}}", if dark { night } else { light }));
        colours.chain(marks).collect::<String>()
    };
    match theme {
        Theme::Light => format!("{FONTS}{}", rules(false)),
        Theme::Dark => format!("{FONTS}{}", rules(true)),
        Theme::Auto => {
            format!("{FONTS}{}@media (prefers-color-scheme:dark){{{}}}", rules(false), rules(true))
        }
    }
}
