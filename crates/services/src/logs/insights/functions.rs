//! The functions of expressions: strings, numbers, dates, and tests for presence.

use super::value::Datum;

/// A function by its name in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    IsPresent,
    IsEmpty,
    IsBlank,
    Coalesce,
    Concat,
    StrLen,
    StrContains,
    Trim,
    LeftTrim,
    RightTrim,
    ToUpper,
    ToLower,
    Substr,
    Replace,
    Abs,
    Ceil,
    Floor,
    Sqrt,
    Log,
    Greatest,
    Least,
    DateFloor,
    DateCeil,
    FromMillis,
    ToMillis,
}

/// Name, function, fewest and most arguments.
pub(super) const FUNCTIONS: [(&str, Function, usize, usize); 25] = [
    ("ispresent", Function::IsPresent, 1, 1),
    ("isempty", Function::IsEmpty, 1, 1),
    ("isblank", Function::IsBlank, 1, 1),
    ("coalesce", Function::Coalesce, 1, 50),
    ("concat", Function::Concat, 1, 50),
    ("strlen", Function::StrLen, 1, 1),
    ("strcontains", Function::StrContains, 2, 2),
    ("trim", Function::Trim, 1, 2),
    ("ltrim", Function::LeftTrim, 1, 2),
    ("rtrim", Function::RightTrim, 1, 2),
    ("toupper", Function::ToUpper, 1, 1),
    ("tolower", Function::ToLower, 1, 1),
    ("substr", Function::Substr, 2, 3),
    ("replace", Function::Replace, 3, 3),
    ("abs", Function::Abs, 1, 1),
    ("ceil", Function::Ceil, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("sqrt", Function::Sqrt, 1, 1),
    ("log", Function::Log, 1, 1),
    ("greatest", Function::Greatest, 1, 50),
    ("least", Function::Least, 1, 50),
    ("datefloor", Function::DateFloor, 2, 2),
    ("dateceil", Function::DateCeil, 2, 2),
    ("frommillis", Function::FromMillis, 1, 1),
    ("tomillis", Function::ToMillis, 1, 1),
];

/// Texts that a query builds grow no longer.
const TEXT_BYTES_MAX: usize = 1 << 20;

impl Function {
    /// Applies it; a result that cannot be is missing.
    pub fn apply(self, arguments: &[Option<Datum>]) -> Option<Datum> {
        let text = |index: usize| arguments.get(index)?.as_ref().map(Datum::shown);
        let number = |index: usize| arguments.get(index)?.as_ref().and_then(Datum::number);
        let truth = |truth: bool| Some(Datum::Truth(truth));
        let numeric = |number: f64| number.is_finite().then_some(Datum::Number(number));
        match self {
            Function::IsPresent => truth(arguments[0].is_some()),
            Function::IsEmpty => truth(text(0).is_none_or(|text| text.is_empty())),
            Function::IsBlank => truth(text(0).is_none_or(|text| text.trim().is_empty())),
            Function::Coalesce => arguments.iter().flatten().next().cloned(),
            Function::Concat => {
                let mut all: String = arguments.iter().flatten().map(Datum::shown).collect();
                if all.len() > TEXT_BYTES_MAX {
                    let end = (0..=TEXT_BYTES_MAX).rev().find(|end| all.is_char_boundary(*end)).unwrap_or(0);
                    all.truncate(end);
                }
                Some(Datum::Text(all))
            }
            Function::StrLen => numeric(text(0)?.chars().count() as f64),
            Function::StrContains => numeric(f64::from(u8::from(text(0)?.contains(&text(1)?)))),
            Function::Trim | Function::LeftTrim | Function::RightTrim => {
                Some(Datum::Text(self.trimmed(&text(0)?, text(1).as_deref())))
            }
            Function::ToUpper => Some(Datum::Text(text(0)?.to_uppercase())),
            Function::ToLower => Some(Datum::Text(text(0)?.to_lowercase())),
            Function::Substr => {
                let length = number(2).map_or(usize::MAX, |length| length.max(0.0) as usize);
                let letters = text(0)?.chars().skip(number(1)?.max(0.0) as usize).take(length).collect();
                Some(Datum::Text(letters))
            }
            Function::Replace => replaced(&text(0)?, &text(1)?, &text(2)?),
            Function::Abs => numeric(number(0)?.abs()),
            Function::Ceil => numeric(number(0)?.ceil()),
            Function::Floor => numeric(number(0)?.floor()),
            Function::Sqrt => numeric(number(0)?.sqrt()),
            Function::Log => numeric(number(0)?.ln()),
            Function::Greatest => arguments.iter().flatten().max_by(|one, other| one.order(other)).cloned(),
            Function::Least => arguments.iter().flatten().min_by(|one, other| one.order(other)).cloned(),
            Function::DateFloor | Function::DateCeil => {
                let (at, period) = (number(0)? as i64, number(1)? as i64);
                let floor = at.checked_sub(at.rem_euclid(period.max(1)))?;
                let up = self == Function::DateCeil && floor < at;
                Some(Datum::Time(if up { floor.checked_add(period)? } else { floor }))
            }
            Function::FromMillis => Some(Datum::Time(number(0)? as i64)),
            Function::ToMillis => numeric(number(0)?),
        }
    }

    fn trimmed(self, text: &str, letters: Option<&str>) -> String {
        let cut = |letter: char| match letters {
            Some(letters) => letters.contains(letter),
            None => letter.is_whitespace(),
        };
        match self {
            Function::LeftTrim => text.trim_start_matches(cut).to_owned(),
            Function::RightTrim => text.trim_end_matches(cut).to_owned(),
            _ => text.trim_matches(cut).to_owned(),
        }
    }
}

fn replaced(text: &str, from: &str, to: &str) -> Option<Datum> {
    let grown = text.len() + text.matches(from).count() * to.len();
    (grown <= TEXT_BYTES_MAX).then(|| Datum::Text(text.replace(from, to)))
}
