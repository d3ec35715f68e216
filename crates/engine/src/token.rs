//! Task tokens: decodable without any table, and guessable by nobody who was not given one.
//!
//! A token names the execution and the task, and bears a nonce drawn from the turn's entropy. It is not signed: who holds a
//! token of a task may answer for that task, as with AWS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::TaskId;

/// What a task token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskToken {
    /// The execution that waits.
    pub execution_arn: String,
    /// The task in it.
    pub task: TaskId,
    /// Must equal the task's.
    pub nonce: u64,
}

/// Version byte, so that a later shape of tokens can be told apart.
const FORMAT: u8 = 1;

/// The token of a task.
pub fn encode(execution_arn: &str, task: TaskId, nonce: u64) -> String {
    let mut bytes = Vec::with_capacity(17 + execution_arn.len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(&task.0.to_be_bytes());
    bytes.extend_from_slice(&nonce.to_be_bytes());
    bytes.extend_from_slice(execution_arn.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token; `None` for what is none.
pub fn decode(token: &str) -> Option<TaskToken> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (&format, rest) = bytes.split_first()?;
    let (task, rest) = rest.split_first_chunk::<8>()?;
    let (nonce, arn) = rest.split_first_chunk::<8>()?;
    let execution_arn = std::str::from_utf8(arn).ok()?;
    if format != FORMAT || !execution_arn.starts_with("arn:") {
        return None;
    }
    Some(TaskToken {
        execution_arn: execution_arn.to_owned(),
        task: TaskId(u64::from_be_bytes(*task)),
        nonce: u64::from_be_bytes(*nonce),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_it_was_made_of() {
        let arn = "arn:aws:states:us-east-1:000000000000:execution:Orders:one";
        let token = encode(arn, TaskId(7), u64::MAX);
        assert_eq!(
            decode(&token),
            Some(TaskToken { execution_arn: arn.into(), task: TaskId(7), nonce: u64::MAX })
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "AAAA", "not base64 !", &URL_SAFE_NO_PAD.encode(b"\x01aaaaaaaabbbbbbbbxyz")] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
