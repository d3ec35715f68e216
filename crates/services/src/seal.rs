//! Secrets at rest: sealed with a key that lies in a file of its own, `secrets.key` in the data directory, mode 0600.
//!
//! Invariant: what is sealed can be opened only with that key and for the owner it was sealed for (its ARN), so that a row
//! that is moved or changed does not open. AES-256-GCM by `ring`, which TLS brings along. It does not protect from who can
//! read the whole data directory: keep the key apart from backups of the databases. `secrets.check` holds a text that was
//! sealed with it, so that another key, or a new one in the place of a lost one, is noticed before anything is sealed with it.

use crate::storage::{StorageError, create_directory};
use crate::wire::ServiceError;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "secrets.key";
const KEY_LEN: usize = 32;
const CHECK_FILE: &str = "secrets.check";
const CHECK: &str = "passo";

const LOST: &str = "the secrets of this data directory were sealed with another key: put the key back (and if \
    it is the right one, remove secrets.check alone), or remove both secrets.key and secrets.check to go on with a new one: the \
    secrets of connections, of Secrets Manager and of CloudFormation's stacks are lost then";

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sealer {
    key: Arc<LessSafeKey>,
}

impl Sealer {
    /// Reads the key of a data directory, or makes one if it never had any.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StorageError> {
        create_directory(data_dir)?;
        let path = data_dir.join(FILE);
        let failed = |source| StorageError::File { path: path.clone(), source };
        let check = match std::fs::read(data_dir.join(CHECK_FILE)) {
            Ok(check) => Some(check),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let bytes = match File::open(&path) {
            Ok(file) => read(file).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && check.is_none() => {
                let mut bytes = vec![0; KEY_LEN];
                SystemRandom::new().fill(&mut bytes).map_err(|_| failed(unusable("no random numbers")))?;
                make(data_dir, FILE, &bytes).map_err(failed)?;
                bytes
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(failed(unusable(LOST))),
            Err(error) => return Err(failed(error)),
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| failed(unusable("it holds no key")))?;
        let sealer = Self { key: Arc::new(LessSafeKey::new(key)) };
        match check {
            Some(check) => drop(sealer.unseal(CHECK_FILE, &check).map_err(|_| failed(unusable(LOST)))?),
            None => {
                let check = sealer
                    .seal(CHECK_FILE, CHECK.as_bytes())
                    .map_err(|error| failed(unusable(&error.message)))?;
                make(data_dir, CHECK_FILE, &check).map_err(failed)?;
            }
        }
        Ok(sealer)
    }

    /// Seals a secret of this owner.
    pub(crate) fn seal(&self, owner: &str, secret: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let mut nonce = [0; NONCE_LEN];
        let failed = |_| ServiceError::internal("a secret could not be sealed");
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = secret.to_vec();
        let owner = Aad::from(owner.as_bytes());
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_used, owner, &mut sealed).map_err(failed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this owner.
    pub(crate) fn unseal(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let failed = || ServiceError::internal(format!("{owner} was not sealed with the key in {FILE}"));
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut opened = rest.to_vec();
        let secret = self.key.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut opened);
        Ok(secret.map_err(|_| failed())?.to_vec())
    }
}

fn unusable(reason: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, reason.to_owned())
}

fn read(file: File) -> std::io::Result<Vec<u8>> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(unusable("others may read this key; chmod 600 it"));
    }
    let mut bytes = Vec::with_capacity(KEY_LEN);
    file.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file is in its place whole or not at all.
fn make(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = directory.join(format!("{name}.new"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_owner_with_the_key_of_its_directory_alone() {
        let directory = tempfile::tempdir().expect("directory");
        let sealer = Sealer::open(directory.path()).expect("key");
        let sealed = sealer.seal("me", b"hush").expect("sealed");
        assert!(!sealed.windows(4).any(|bytes| bytes == b"hush"));
        let again = Sealer::open(directory.path()).expect("key");
        assert_eq!(again.unseal("me", &sealed).expect("opened"), b"hush");
        assert!(again.unseal("you", &sealed).is_err());
        let mut changed = sealed.clone();
        changed[NONCE_LEN] ^= 1;
        assert!(again.unseal("me", &changed).is_err() && again.unseal("me", b"short").is_err());
        let other = tempfile::tempdir().expect("directory");
        assert!(Sealer::open(other.path()).expect("key").unseal("me", &sealed).is_err());
    }

    #[test]
    fn a_lost_or_exchanged_key_is_noticed_and_its_return_mends_it() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join(FILE);
        let sealed = Sealer::open(directory.path()).expect("key").seal("me", b"hush").expect("sealed");
        let kept = std::fs::read(&file).expect("the key");
        std::fs::remove_file(&file).expect("lost");
        let refused = |directory: &Path| Sealer::open(directory).err().expect("refused").to_string();
        assert!(refused(directory.path()).contains("put the key back"));
        assert!(!file.exists(), "no other takes its place");
        make(directory.path(), FILE, &[7; KEY_LEN]).expect("exchanged");
        assert!(refused(directory.path()).contains("put the key back"));
        make(directory.path(), FILE, &kept).expect("put back");
        let again = Sealer::open(directory.path()).expect("key");
        assert_eq!(again.unseal("me", &sealed).expect("opened"), b"hush");
        std::fs::remove_file(&file)
            .and_then(|()| std::fs::remove_file(directory.path().join(CHECK_FILE)))
            .expect("gone");
        assert!(Sealer::open(directory.path()).expect("a new key").unseal("me", &sealed).is_err());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        drop(Sealer::open(directory.path()).expect("key"));
        let file = directory.path().join(FILE);
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("changed");
        let refused = Sealer::open(directory.path()).err().expect("refused").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
