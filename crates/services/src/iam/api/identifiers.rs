//! Ids, keys and secrets in the shapes of IAM.

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Tells our keys from those a developer has for the real AWS.
const MARK: &str = "PASSO";

/// `AROA…`, `AIDA…`, `ANPA…`: a prefix and 17 characters.
pub(super) fn unique_id(prefix: &str) -> String {
    format!("{prefix}{}", random(17))
}

/// An access key id that bears our mark: 20 characters, as AWS's.
pub(in crate::iam) fn issued_key(prefix: &str) -> String {
    format!("{prefix}{MARK}{}", random(11))
}

/// Whether a key id bears our mark.
pub(in crate::iam) fn is_issued_key(access_key_id: &str) -> bool {
    access_key_id.get(4..).is_some_and(|rest| rest.starts_with(MARK))
}

/// A secret: random characters, five bits each.
pub(in crate::iam) fn secret(length: usize) -> String {
    random(length)
}

/// Whether the text is an account: twelve digits.
pub(in crate::iam) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn random(length: usize) -> String {
    let mut output = String::with_capacity(length);
    while output.len() < length {
        // Six bits of a version 4 UUID are fixed (in bytes 6 and 8); those bytes are left out.
        let bytes = Uuid::new_v4().into_bytes();
        let usable = bytes.iter().enumerate().filter(|(at, _)| !matches!(at, 6 | 8)).map(|(_, byte)| byte);
        output.extend(
            usable.map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).take(length - output.len()),
        );
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_have_the_length_of_aws() {
        assert_eq!(unique_id("AROA").len(), 21);
        let key = issued_key("ASIA");
        assert_eq!(key.len(), 20);
        assert!(is_issued_key(&key) && !is_issued_key("ASIAIOSFODNN7EXAMPLE") && !is_issued_key("ab"));
        assert_eq!(secret(40).len(), 40);
        assert_ne!(secret(40), secret(40));
        assert!(is_account("000000000000") && !is_account("00000000000") && !is_account("00000000000x"));
    }
}
