//! Objects that were compressed before they were stored: GZIP and ZSTD, told by the extension of the key.
//!
//! Invariant: one call yields a bounded amount of text, whatever the bytes say: they may grow a thousandfold (GZIP) or more
//! than thirty thousandfold (ZSTD). Dictionaries and windows above 8 MiB, which every decoder may refuse, are refused.

use std::io::Write;

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Compressed bytes inflated at a time.
const INFLATE_BYTES: usize = 4 << 10;
/// The largest window: what the format asks decoders to support.
const WINDOW_BYTES_MAX: u64 = 8 << 20;
const MAGIC: u32 = 0xFD2F_B528;

/// Turns compressed bytes into text, piece by piece.
pub(super) enum Inflater {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd(Box<Zstd>),
}

impl Inflater {
    /// The one that a key asks for.
    pub fn of(key: &str) -> Option<Inflater> {
        let name = key.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let ends = |extensions: [&str; 2]| extensions.iter().any(|extension| name.ends_with(extension));
        if ends([".gz", ".gzip"]) {
            Some(Inflater::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))))
        } else if ends([".zst", ".zstd"]) {
            Some(Inflater::Zstd(Box::default()))
        } else {
            None
        }
    }

    /// Takes some of the compressed bytes, or all, and adds what they give to the text.
    pub fn feed(&mut self, compressed: &mut Bytes, text: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Inflater::Gzip(decoder) => {
                let piece = compressed.len().min(INFLATE_BYTES);
                let written = decoder.write_all(&compressed[..piece]).and_then(|()| decoder.flush());
                written.map_err(not_gzip)?;
                compressed.advance(piece);
                text.append(decoder.get_mut());
                Ok(())
            }
            Inflater::Zstd(decoder) => decoder.feed(compressed, text),
        }
    }

    /// There are no more compressed bytes.
    pub fn finish(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Inflater::Gzip(decoder) => {
                decoder.try_finish().map_err(not_gzip)?;
                text.append(decoder.get_mut());
                Ok(())
            }
            Inflater::Zstd(decoder) if decoder.stage == Stage::Frame && decoder.pending.is_empty() => Ok(()),
            Inflater::Zstd(_) => Err(not_zstd("it ends too soon")),
        }
    }
}

fn not_gzip(error: std::io::Error) -> String {
    format!("The object is not valid GZIP: {error}")
}

fn not_zstd(why: impl std::fmt::Display) -> String {
    format!("The object is not valid ZSTD: {why}")
}

/// What comes next in the compressed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The header of a frame.
    #[default]
    Frame,
    /// Blocks; the frame ends with a checksum or without.
    Blocks { checksum: bool },
    /// So many bytes of a frame that is to be skipped.
    Skipped(u32),
}

/// Frames, decoded block by block: a block gives at most 128 KiB.
#[derive(Default)]
pub(super) struct Zstd {
    decoder: FrameDecoder,
    stage: Stage,
    /// The beginning of a header or block that is not complete.
    pending: Vec<u8>,
}

impl Zstd {
    fn feed(&mut self, compressed: &mut Bytes, text: &mut Vec<u8>) -> Result<(), String> {
        let before = text.len();
        while text.len() == before {
            if let Stage::Skipped(left) = self.stage {
                let skipped = compressed.len().min(left as usize);
                compressed.advance(skipped);
                let left = left - skipped as u32;
                self.stage = if left == 0 { Stage::Frame } else { Stage::Skipped(left) };
                if left > 0 {
                    return Ok(());
                }
            }
            let wanted = self.wanted();
            if self.pending.len() < wanted {
                if compressed.is_empty() {
                    return Ok(());
                }
                let piece = compressed.len().min(wanted - self.pending.len());
                self.pending.extend_from_slice(&compressed[..piece]);
                compressed.advance(piece);
                continue;
            }
            match self.stage {
                Stage::Frame | Stage::Skipped(_) => self.open()?,
                Stage::Blocks { .. } => self.block(text)?,
            }
            self.pending.clear();
        }
        Ok(())
    }

    /// How long the next header or block is, as far as the pending bytes tell.
    fn wanted(&self) -> usize {
        let pending = &self.pending;
        match self.stage {
            Stage::Blocks { checksum } => match pending.first_chunk::<3>() {
                None => 3,
                Some(&[a, b, c]) => {
                    let header = u32::from_le_bytes([a, b, c, 0]);
                    let size = if header >> 1 & 3 == 1 { 1 } else { header >> 3 };
                    3 + size as usize + if checksum && header & 1 == 1 { 4 } else { 0 }
                }
            },
            Stage::Frame | Stage::Skipped(_) => match pending.get(4) {
                None => 5,
                Some(_) if is_skippable(pending) => 8,
                Some(descriptor) => header_length(*descriptor),
            },
        }
    }

    /// Begins a frame whose header is pending.
    fn open(&mut self) -> Result<(), String> {
        let header = &self.pending;
        let number = |at: usize, length: usize| {
            let bytes = header.get(at..at + length).unwrap_or_default();
            bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        if is_skippable(header) {
            self.stage = Stage::Skipped(number(4, 4) as u32);
            return Ok(());
        }
        if number(0, 4) != u64::from(MAGIC) {
            return Err(not_zstd("it has another beginning"));
        }
        let descriptor = header[4];
        if descriptor & 3 != 0 {
            return Err(not_zstd("it needs a dictionary"));
        }
        let window = if descriptor & 0x20 == 0 {
            let window = header[5];
            let base = 1_u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        } else {
            number(5, header_length(descriptor) - 5)
        };
        if window > WINDOW_BYTES_MAX {
            return Err(format!("The object's ZSTD window of {window} bytes is above {WINDOW_BYTES_MAX}."));
        }
        self.decoder.reset(header.as_slice()).map_err(not_zstd)?;
        self.stage = Stage::Blocks { checksum: descriptor & 4 != 0 };
        Ok(())
    }

    /// Decodes the pending block.
    fn block(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let one = BlockDecodingStrategy::UptoBlocks(1);
        let finished = self.decoder.decode_blocks(self.pending.as_slice(), one).map_err(not_zstd)?;
        self.decoder.collect_to_writer(text).map_err(not_zstd)?;
        if finished {
            self.stage = Stage::Frame;
        }
        Ok(())
    }
}

fn is_skippable(header: &[u8]) -> bool {
    matches!(header, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..])
}

/// The length of a frame's header, the magic number included.
fn header_length(descriptor: u8) -> usize {
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [usize::from(single), 2, 4, 8][usize::from(descriptor >> 6)];
    5 + usize::from(!single) + dictionary + size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(compressed: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut inflater = Inflater::of("a/b.jsonl.ZST").expect("an extension of ZSTD");
        let mut text = Vec::new();
        for piece in compressed.chunks(piece) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                inflater.feed(&mut piece, &mut text)?;
            }
        }
        inflater.finish(&mut text)?;
        Ok(text)
    }

    /// A frame without compression, as any encoder may write it.
    fn frame(blocks: &[(u8, u32, &[u8])]) -> Vec<u8> {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend([0, 0x38]);
        for (index, (kind, size, content)) in blocks.iter().enumerate() {
            let last = u32::from(index + 1 == blocks.len());
            let header = size << 3 | u32::from(*kind) << 1 | last;
            frame.extend(&header.to_le_bytes()[..3]);
            frame.extend(*content);
        }
        frame
    }

    #[test]
    fn frames_follow_each_other_and_come_in_pieces_of_any_size() {
        let mut object = frame(&[(0, 5, b"hello"), (1, 3, b"!")]);
        object.extend([0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 9, 9, 9]);
        object.extend(frame(&[(0, 4, b" you")]));
        for piece in [1, 2, 7, 1_000] {
            assert_eq!(inflate(&object, piece).as_deref(), Ok(&b"hello!!! you"[..]), "{piece}");
        }
    }

    #[test]
    fn what_an_encoder_wrote_is_read() {
        let text = "one line of text, and again\n".repeat(20_000);
        let object =
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
        assert!(object.len() < text.len() / 10);
        assert!(inflate(&object, 1_000) == Ok(text.into_bytes()));
    }

    #[test]
    fn a_piece_gives_no_more_than_a_block() {
        let object = frame(&[(1, 100_000, &b" "[..]); 200]);
        let mut inflater = Inflater::of("x.zstd").expect("an extension of ZSTD");
        let mut compressed = Bytes::from(object);
        while !compressed.is_empty() {
            let mut text = Vec::new();
            inflater.feed(&mut compressed, &mut text).expect("it is valid");
            // A decoder holds back a window, which comes with the last block.
            assert!(text.len() <= 8 << 20, "{}", text.len());
        }
    }

    #[test]
    fn what_is_not_zstd_is_refused_in_words() {
        let huge_window = [MAGIC.to_le_bytes().as_slice(), &[0, 0xFF]].concat();
        let single_segment = [MAGIC.to_le_bytes().as_slice(), &[0xE0, 0, 0, 0, 0, 0, 0, 1, 0]].concat();
        let dictionary = [MAGIC.to_le_bytes().as_slice(), &[1, 0x38, 7]].concat();
        let reserved = frame(&[(3, 1, b"x")]);
        let cut = frame(&[(0, 5, b"hell")]);
        for object in [&b"plain text"[..], &huge_window, &single_segment, &dictionary, &reserved, &cut] {
            let refused = inflate(object, 3).expect_err("it is not valid");
            assert!(refused.contains("ZSTD"), "{refused}");
        }
    }
}
