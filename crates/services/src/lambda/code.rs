//! Zip files: checked when uploaded, unpacked when a worker first needs them.

use super::api::Call;
use crate::process::write_executable;
use crate::wire::{ServiceError, ServiceRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// AWS's bounds: 50 MB zipped in a request, 250 MB unpacked.
const ZIPPED_BYTES_MAX: usize = 52_428_800;
const UNPACKED_BYTES_MAX: u64 = 262_144_000;
const ENTRIES_MAX: usize = 100_000;

/// Decodes and checks an uploaded zip file.
pub(super) fn read(zip_base64: &str) -> Result<Vec<u8>, ServiceError> {
    let invalid = |message: &str| ServiceError::client("InvalidParameterValueException", message);
    let zip = STANDARD.decode(zip_base64).map_err(|_| {
        invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
    })?;
    if zip.len() > ZIPPED_BYTES_MAX {
        let message =
            format!("Request must be smaller than {ZIPPED_BYTES_MAX} bytes for the CreateFunction operation");
        return Err(ServiceError::new(413, "RequestEntityTooLargeException", message));
    }
    check(zip)
}

/// An object of the embedded S3, read in the name of the caller, and checked.
pub(super) async fn fetched(
    call: &Call<'_>,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Vec<u8>, ServiceError> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let version = version.map(|version| format!("?versionId={}", encode(version))).unwrap_or_default();
    let path = format!("/{}/{}{version}", encode(bucket), encode(key));
    let request = ServiceRequest::rest(Method::GET, &path, Bytes::new()).of_service("s3");
    let answer = call.inner.environment.call(call.context, "s3", request).await.map_err(|error| {
        let ServiceError { code, message, .. } = error;
        let message =
            format!("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}");
        ServiceError::client("InvalidParameterValueException", message)
    })?;
    check(answer.body_bytes().to_vec())
}

fn check(zip: Vec<u8>) -> Result<Vec<u8>, ServiceError> {
    let invalid = |message: &str| ServiceError::client("InvalidParameterValueException", message);
    if zip.is_empty() {
        return Err(invalid("Uploaded file must be a non-empty zip"));
    }
    let unreadable =
        || invalid("Could not unzip uploaded file. Please check your file, then try to upload again.");
    let mut archive = zip::ZipArchive::new(Cursor::new(&zip)).map_err(|_| unreadable())?;
    let mut unpacked: u64 = 0;
    if archive.len() > ENTRIES_MAX {
        return Err(invalid("The uploaded file has too many entries"));
    }
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|_| unreadable())?;
        entry.enclosed_name().ok_or_else(unreadable)?;
        unpacked = unpacked.saturating_add(entry.size());
    }
    if unpacked > UNPACKED_BYTES_MAX {
        return Err(invalid(&format!("Unzipped size must be smaller than {UNPACKED_BYTES_MAX} bytes")));
    }
    Ok(zip)
}

/// CodeSha256 as AWS shows it.
pub(super) fn sha256(zip: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(zip))
}

/// Unpacks a zip file into an empty directory, readable by the directory's group.
pub(super) fn unpack(zip: &[u8], directory: &Path, gid: Option<u32>) -> std::io::Result<()> {
    let invalid = |error: zip::result::ZipError| std::io::Error::other(error);
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).map_err(invalid)?;
    let mut left = UNPACKED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(invalid)?;
        // Names that lead out of the directory were refused at the upload.
        let Some(path) = entry.enclosed_name().map(|name| directory.join(name)) else { continue };
        if entry.is_dir() {
            make_directories(directory, &path, gid)?;
            continue;
        }
        if entry.is_symlink() {
            continue;
        }
        if let Some(parent) = path.parent() {
            make_directories(directory, parent, gid)?;
        }
        let mut bytes = Vec::new();
        // The sizes in the archive's directory are only a claim.
        left = left.saturating_sub((&mut entry).take(left + 1).read_to_end(&mut bytes)? as u64);
        if left == 0 {
            return Err(std::io::Error::other("the bundle is larger than it says"));
        }
        let is_executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        write_executable(&path, &bytes, if is_executable { 0o750 } else { 0o640 })?;
        give_to(&path, gid)?;
    }
    Ok(())
}

fn make_directories(root: &Path, path: &Path, gid: Option<u32>) -> std::io::Result<()> {
    if path == root || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(root, parent, gid)?;
    }
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o750))?;
    give_to(path, gid)
}

fn give_to(path: &Path, gid: Option<u32>) -> std::io::Result<()> {
    match gid {
        Some(gid) => std::os::unix::fs::chown(path, None, Some(gid)),
        None => Ok(()),
    }
}
