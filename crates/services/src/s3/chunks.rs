//! AWS's chunked encoding, taken apart piece by piece: `<hexadecimal size>[;chunk-signature=…]\r\n<bytes>\r\n`…, a chunk of
//! size 0, then `name:value` lines. Signatures of chunks are not verified.

use crate::wire::ServiceError;
use bytes::Bytes;

/// A line is a size with a signature, or a trailer; none is nearly as long.
const LINE_BYTES_MAX: usize = 4096;

/// What follows the bytes: names in lower case, and values.
pub(super) type Trailers = Vec<(String, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Size,
    Bytes { left: u64 },
    LineEnd,
    Trailers,
}

/// The state between two pieces.
#[derive(Debug)]
pub(super) struct Chunks {
    part: Part,
    line: Vec<u8>,
    trailers: Trailers,
}

impl Chunks {
    pub fn new() -> Self {
        Self { part: Part::Size, line: Vec::new(), trailers: Trailers::new() }
    }

    /// Takes a piece apart; the object's bytes in it are added to `found`.
    pub fn feed(&mut self, mut piece: Bytes, found: &mut Vec<Bytes>) -> Result<(), ServiceError> {
        while !piece.is_empty() {
            if let Part::Bytes { left } = &mut self.part {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                found.push(piece.split_to(size));
                *left -= size as u64;
                if *left == 0 {
                    self.part = Part::LineEnd;
                }
                continue;
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let line = piece.split_to(end.map_or(piece.len(), |end| end + 1));
            self.line.extend_from_slice(&line);
            if self.line.len() > LINE_BYTES_MAX {
                return Err(incomplete());
            }
            if end.is_some() {
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// The trailers, if the last chunk has come. The last line may lack its end.
    pub fn finish(mut self) -> Result<Trailers, ServiceError> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        if self.part == Part::Trailers { Ok(self.trailers) } else { Err(incomplete()) }
    }

    fn end_line(&mut self) -> Result<(), ServiceError> {
        let line = String::from_utf8_lossy(&self.line).trim_end_matches(['\r', '\n']).to_owned();
        self.line.clear();
        self.part = match self.part {
            Part::Size => {
                let size = line.split(';').next().unwrap_or_default().trim();
                match u64::from_str_radix(size, 16).map_err(|_| incomplete())? {
                    0 => Part::Trailers,
                    left => Part::Bytes { left },
                }
            }
            Part::LineEnd if line.is_empty() => Part::Size,
            Part::LineEnd | Part::Bytes { .. } => return Err(incomplete()),
            Part::Trailers => {
                if let Some((name, value)) = line.split_once(':') {
                    self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
                Part::Trailers
            }
        };
        Ok(())
    }
}

pub(super) fn incomplete() -> ServiceError {
    let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    ServiceError::client("IncompleteBody", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(text: &str, step: usize) -> Option<(String, Trailers)> {
        let (mut chunks, mut found) = (Chunks::new(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            chunks.feed(Bytes::copy_from_slice(piece), &mut found).ok()?;
        }
        let trailers = chunks.finish().ok()?;
        Some((String::from_utf8(found.concat()).ok()?, trailers))
    }

    #[test]
    fn chunks_are_found_wherever_the_pieces_are_cut() {
        let text = "4;chunk-signature=ab\r\n1234\r\n5\r\n56789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
        let trailer = ("x-amz-checksum-crc32".to_owned(), "y/Q5Jg==".to_owned());
        for step in 1..=text.len() {
            assert_eq!(taken_apart(text, step), Some(("123456789".to_owned(), vec![trailer.clone()])));
        }
    }

    #[test]
    fn what_is_cut_short_or_out_of_step_is_incomplete() {
        for text in ["", "4\r\n12", "4\r\n1234\r\n", "4\r\n12345\r\n0\r\n\r\n", "x\r\n"] {
            assert_eq!(taken_apart(text, 3), None, "{text:?}");
        }
        assert_eq!(taken_apart(&"a".repeat(LINE_BYTES_MAX + 1), 100), None);
    }
}
