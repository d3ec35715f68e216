//! Thrift's compact protocol, as far as Parquet's metadata needs it.
//!
//! Invariant: nothing is built from what is read but what the caller takes, nesting is bounded, and every step consumes bytes,
//! so hostile bytes cost no more than their length.

/// Structs and lists within each other.
const DEPTH_MAX: usize = 32;

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// They end too soon.
    Short,
    /// They are not what the format says.
    Wrong(&'static str),
}

impl From<Broken> for String {
    fn from(broken: Broken) -> String {
        match broken {
            Broken::Short => "The Parquet file is not complete: it ends within its metadata.".into(),
            Broken::Wrong(what) => format!("The Parquet file is not valid: {what}."),
        }
    }
}

/// The type of a field, in the numbers of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    const TRUE: Kind = Kind(1);
    const FALSE: Kind = Kind(2);
    const STRUCT: Kind = Kind(12);
}

/// Reads values off the front of the bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
    /// The value of a boolean field lies in its header.
    in_list: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, depth: 0, in_list: false }
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Calls `field` for each field of a struct, which has to take its value or skip it.
    pub fn fields(
        &mut self,
        mut field: impl FnMut(&mut Reader<'a>, i64, Kind) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.deeper()?;
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            let kind = Kind(header & 15);
            if kind.0 == 0 {
                break;
            }
            id = match header >> 4 {
                0 => self.integer()?,
                delta => id.wrapping_add(i64::from(delta)),
            };
            self.in_list = false;
            field(self, id, kind)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// The fields of a struct that is a field itself.
    pub fn structure(
        &mut self,
        kind: Kind,
        field: impl FnMut(&mut Reader<'a>, i64, Kind) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        if kind != Kind::STRUCT {
            return Err(Broken::Wrong("a field has another type"));
        }
        self.fields(field)
    }

    /// Calls `element` for each element of a list.
    pub fn list(
        &mut self,
        kind: Kind,
        mut element: impl FnMut(&mut Reader<'a>, Kind) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        if !matches!(kind.0, 9 | 10) {
            return Err(Broken::Wrong("a field has another type"));
        }
        self.deeper()?;
        let header = self.byte()?;
        let length = match header >> 4 {
            15 => self.unsigned()?,
            length => u64::from(length),
        };
        for _ in 0..length {
            self.in_list = true;
            element(self, Kind(header & 15))?;
        }
        self.depth -= 1;
        Ok(())
    }

    pub fn number(&mut self, kind: Kind) -> Result<i64, Broken> {
        match kind.0 {
            3 => Ok(i64::from(self.byte()? as i8)),
            4..=6 => self.integer(),
            _ => Err(Broken::Wrong("a field has another type")),
        }
    }

    pub fn boolean(&mut self, kind: Kind) -> Result<bool, Broken> {
        match kind {
            Kind::TRUE | Kind::FALSE if self.in_list => Ok(Kind(self.byte()?) == Kind::TRUE),
            Kind::TRUE => Ok(true),
            Kind::FALSE => Ok(false),
            _ => Err(Broken::Wrong("a field has another type")),
        }
    }

    pub fn text(&mut self, kind: Kind) -> Result<String, Broken> {
        if kind.0 != 8 {
            return Err(Broken::Wrong("a field has another type"));
        }
        let length = self.unsigned()?;
        let bytes = self.take(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn skip(&mut self, kind: Kind) -> Result<(), Broken> {
        match kind.0 {
            1 | 2 => self.boolean(kind).map(|_| ()),
            3 => self.byte().map(|_| ()),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.take(8).map(|_| ()),
            8 => {
                let length = self.unsigned()?;
                self.take(length).map(|_| ())
            }
            9 | 10 => self.list(kind, |reader, kind| reader.skip(kind)),
            11 => self.skip_map(),
            12 => self.fields(|reader, _, kind| reader.skip(kind)),
            13 => self.take(16).map(|_| ()),
            _ => Err(Broken::Wrong("its metadata has a field of an unknown type")),
        }
    }

    fn skip_map(&mut self) -> Result<(), Broken> {
        let length = self.unsigned()?;
        if length == 0 {
            return Ok(());
        }
        self.deeper()?;
        let kinds = self.byte()?;
        for _ in 0..length {
            for kind in [Kind(kinds >> 4), Kind(kinds & 15)] {
                self.in_list = true;
                self.skip(kind)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Broken> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Broken::Wrong("its metadata nests too deeply")) } else { Ok(()) }
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let (first, rest) = self.rest.split_first().ok_or(Broken::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken::Short)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Broken::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn unsigned(&mut self) -> Result<u64, Broken> {
        let (number, used) = varint(self.rest)?;
        self.rest = &self.rest[used..];
        Ok(number)
    }

    fn integer(&mut self) -> Result<i64, Broken> {
        self.unsigned().map(zigzag)
    }
}

/// A number of seven bits a byte, and its length.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), Broken> {
    let mut number = 0_u64;
    for at in 0..10 {
        let byte = *bytes.get(at).ok_or(Broken::Short)?;
        number |= u64::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Ok((number, at + 1));
        }
    }
    Err(Broken::Wrong("a number is too long"))
}

/// A signed number that was written as an unsigned one.
pub(super) fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
