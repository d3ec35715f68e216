//! A browser's form (`multipart/form-data`): fields, then the file. The fields are held, within S3's bound; the file is
//! read in pieces. What follows the file is not looked at, as on AWS.

use super::errors::{invalid_argument, invalid_request};
use super::intake::RequestBody;
use crate::wire::{ServiceError, ServiceRequest};
use bytes::{Bytes, BytesMut};

/// S3's bound on everything before the file.
const FIELDS_BYTES_MAX: usize = 20 * 1024;

/// The fields before the file, with their names in lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    fields: Vec<(String, String)>,
    /// The file's own name, without folders.
    pub file_name: String,
}

impl Fields {
    /// The value of a field; names are compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The file of a form, while it is read.
pub(super) struct FormFile {
    body: RequestBody,
    /// `\r\n--boundary`, which ends the file.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    is_ended: bool,
}

impl FormFile {
    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ServiceError> {
        loop {
            if self.is_ended {
                // The rest is read, so that the browser reads the answer.
                while self.body.next().await?.is_some() {}
                return Ok(None);
            }
            if let Some(end) = find(&self.buffer, &self.delimiter) {
                self.is_ended = true;
                let bytes = self.buffer.split_to(end).freeze();
                if !bytes.is_empty() {
                    return Ok(Some(bytes));
                }
                continue;
            }
            // The last bytes may be the beginning of the delimiter.
            let certain = self.buffer.len().saturating_sub(self.delimiter.len());
            if certain > 0 {
                return Ok(Some(self.buffer.split_to(certain).freeze()));
            }
            match self.body.next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Err(malformed()),
            }
        }
    }
}

/// Reads the fields of a form, up to the bytes of the file.
pub(super) async fn read(request: &ServiceRequest) -> Result<(Fields, FormFile), ServiceError> {
    let boundary = request.header("content-type").and_then(boundary).ok_or_else(malformed)?;
    let mut reader = Reader {
        body: RequestBody::of(request),
        // The first delimiter needs no line before it.
        buffer: BytesMut::from(&b"\r\n"[..]),
        taken: 0,
    };
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    reader.until(&delimiter).await?;
    let mut fields = Fields::default();
    loop {
        // After a delimiter comes the end of its line, or `--` after the last one.
        let line = reader.until(b"\r\n").await?;
        if line.starts_with(b"--") {
            return Err(invalid_argument("POST requires exactly one file upload per request.", "file", "0"));
        }
        let heads = reader.until(b"\r\n\r\n").await?;
        let (name, file_name) = names(&String::from_utf8_lossy(&heads)).ok_or_else(malformed)?;
        if name.eq_ignore_ascii_case("file") {
            fields.file_name = file_name.unwrap_or_default();
            let Reader { body, buffer, .. } = reader;
            return Ok((fields, FormFile { body, delimiter, buffer, is_ended: false }));
        }
        let value = reader.until(&delimiter).await?;
        let value = String::from_utf8(value.to_vec()).map_err(|_| malformed())?;
        fields.fields.push((name.to_ascii_lowercase(), value));
    }
}

struct Reader {
    body: RequestBody,
    buffer: BytesMut,
    taken: usize,
}

impl Reader {
    /// Takes everything before `end`, and `end` itself.
    async fn until(&mut self, end: &[u8]) -> Result<Bytes, ServiceError> {
        loop {
            if let Some(position) = find(&self.buffer, end) {
                let found = self.buffer.split_to(position).freeze();
                let _ = self.buffer.split_to(end.len());
                self.taken += found.len() + end.len();
                return if self.taken > FIELDS_BYTES_MAX { Err(too_long()) } else { Ok(found) };
            }
            if self.taken + self.buffer.len() > FIELDS_BYTES_MAX {
                return Err(too_long());
            }
            match self.body.next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Err(malformed()),
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // The first byte is looked for by a loop that compilers make fast; large files have few of it.
    let mut from = 0;
    while let Some(offset) = bytes.get(from..)?.iter().position(|byte| *byte == wanted[0]) {
        let position = from + offset;
        if bytes[position..].starts_with(wanted) {
            return Some(position);
        }
        from = position + 1;
    }
    None
}

fn boundary(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let value = parameters.map(str::trim).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    // The bound of RFC 2046.
    (1..=70).contains(&value.len()).then_some(value)
}

/// The name of a part, and that of its file.
fn names(heads: &str) -> Option<(String, Option<String>)> {
    let disposition = heads.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let quoted = |name: &str| {
        let begin = format!("; {name}=\"");
        let (_, rest) = disposition.split_once(&begin)?;
        Some(rest.split('"').next()?.replace("%22", "\""))
    };
    let file_name =
        quoted("filename").map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
    Some((quoted("name")?, file_name))
}

fn malformed() -> ServiceError {
    let message = "The body of your POST request is not well-formed multipart/form-data.";
    ServiceError::client("MalformedPOSTRequest", message)
}

fn too_long() -> ServiceError {
    let message = "Your POST request fields preceding the upload file were too large.";
    ServiceError::client("MaxPostPreDataLengthExceeded", message)
        .with_field("MaxPostPreDataLengthBytes", FIELDS_BYTES_MAX.to_string())
}

/// A field that a form must have.
pub(super) fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, ServiceError> {
    fields.get(name).ok_or_else(|| {
        invalid_request(format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method};

    async fn read_all(body: &str) -> Result<(Fields, String), ServiceError> {
        let mut request =
            ServiceRequest::rest(Method::POST, "/bucket", Bytes::copy_from_slice(body.as_bytes()));
        let content_type = HeaderValue::from_static("multipart/form-data; boundary=XX");
        request.headers.insert("content-type", content_type);
        let (fields, mut file) = read(&request).await?;
        let mut found = Vec::new();
        while let Some(piece) = file.next().await? {
            found.extend_from_slice(&piece);
        }
        Ok((fields, String::from_utf8_lossy(&found).into_owned()))
    }

    fn part(heads: &str, value: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {heads}\r\n\r\n{value}\r\n")
    }

    #[tokio::test]
    async fn fields_and_file_are_found_and_what_follows_is_not_looked_at() {
        let file = "line\r\n--X\r\n-- no delimiter";
        let body = [
            part("name=\"Key\"", "a b"),
            part("name=\"file\"; filename=\"C:\\up\\cat.jpg\"", file),
            part("name=\"submit\"", "Upload"),
            "--XX--\r\n".to_owned(),
        ];
        let (fields, found) = read_all(&body.concat()).await.unwrap();
        assert_eq!((fields.get("key"), fields.file_name.as_str()), (Some("a b"), "cat.jpg"));
        assert_eq!(fields.get("submit"), None);
        assert_eq!(found, file);
        let empty = [part("name=\"file\"; filename=\"\"", ""), "--XX--".to_owned()].concat();
        assert_eq!(read_all(&empty).await.unwrap().1, "");
    }

    #[tokio::test]
    async fn a_form_cut_short_or_without_a_file_is_refused() {
        let code = async |body: &str| read_all(body).await.err().map(|error| error.code.into_owned());
        let field = part("name=\"key\"", "k");
        assert_eq!(code(&format!("{field}--XX--\r\n")).await.as_deref(), Some("InvalidArgument"));
        let cut = format!("{field}--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nbytes");
        assert_eq!(code(&cut).await.as_deref(), Some("MalformedPOSTRequest"));
        let long = part("name=\"key\"", &"k".repeat(FIELDS_BYTES_MAX));
        assert_eq!(code(&long).await.as_deref(), Some("MaxPostPreDataLengthExceeded"));
    }
}
