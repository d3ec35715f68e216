//! AWS's rules for the names of state machines, executions and activities.

use crate::error::Error;

const LENGTH_MAX: usize = 80;

/// Refuses a name with `InvalidName`.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    if length == 0 || length > LENGTH_MAX || name.chars().any(is_forbidden) {
        return Err(Error::InvalidName(name.to_owned()));
    }
    Ok(())
}

fn is_forbidden(character: char) -> bool {
    character.is_whitespace()
        || "<>{}[]?*\"#%\\^|~`$&,;:/".contains(character)
        || matches!(character, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}'..='\u{ffff}' | '\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_by_aws() {
        for good in ["a", "Order-1_2.3", "Bestellung-für-Ärzte", &"x".repeat(80)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:b", "a/b", "a?", "a\u{7f}", "\u{fffe}", &"x".repeat(81)] {
            assert!(matches!(check(bad), Err(Error::InvalidName(name)) if name == bad), "{bad}");
        }
    }
}
