//! Pages inflated: the codecs that AWS names.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// How the pages of a column are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Snappy,
    Gzip,
    Zstd,
}

impl Codec {
    /// By its number in the footer.
    pub fn of(number: i64) -> Result<Codec, String> {
        let name = match number {
            0 => return Ok(Codec::Plain),
            1 => return Ok(Codec::Snappy),
            2 => return Ok(Codec::Gzip),
            6 => return Ok(Codec::Zstd),
            3 => "LZO",
            4 => "BROTLI",
            5 | 7 => "LZ4",
            _ => "of an unknown kind",
        };
        Err(format!("The Parquet file's compression {name} is not supported; GZIP, SNAPPY and ZSTD are."))
    }

    /// The page, which has to be exactly as long as its header says.
    pub fn inflate(self, compressed: Bytes, length: usize) -> Result<Bytes, String> {
        let bad = |why: String| format!("A page of the Parquet file cannot be inflated: {why}");
        let bytes = match self {
            Codec::Plain => compressed,
            Codec::Snappy => {
                let told = snap::raw::decompress_len(&compressed).map_err(|error| bad(error.to_string()))?;
                if told != length {
                    return Err(bad(format!("it is {told} bytes long instead of {length}")));
                }
                let inflated = snap::raw::Decoder::new().decompress_vec(&compressed);
                inflated.map_err(|error| bad(error.to_string()))?.into()
            }
            Codec::Gzip => read(MultiGzDecoder::new(&*compressed), length).map_err(bad)?,
            Codec::Zstd if length == 0 => Bytes::new(),
            Codec::Zstd => {
                let decoder = StreamingDecoder::new(&*compressed).map_err(|error| bad(error.to_string()))?;
                read(decoder, length).map_err(bad)?
            }
        };
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(bad(format!("it is {} bytes long instead of {length}", bytes.len())))
        }
    }
}

/// At most one byte more than is wanted.
fn read(from: impl Read, length: usize) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    from.take(length as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}
