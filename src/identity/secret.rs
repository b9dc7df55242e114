//! A secret of this machine's user, drawn when it is first needed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{IdentityError, file_error, make_dir};

const NAME: &str = "secret.key";

/// The secret that is kept in the directory of state: 32 random bytes, the same each time. Who knows it could continue the
/// uploads of this user, and no more.
///
/// # Errors
/// When it cannot be read or written, or is no secret.
pub fn own_secret(state: &Path) -> Result<[u8; 32], IdentityError> {
    make_dir(state)?;
    let path = state.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| IdentityError::Damaged {
            path: path.display().to_string(),
            why: "it has not 32 bytes".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => draw(state, &path),
        Err(error) => Err(file_error(&path, error)),
    }
}

/// Of two processes that draw one at the same time, the first wins, and both have the same.
fn draw(state: &Path, path: &Path) -> Result<[u8; 32], IdentityError> {
    let secret: [u8; 32] = rand::random();
    let fresh = state.join(format!(".{NAME}.{:016x}", rand::random::<u64>()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(&secret))
        .and_then(|()| fs::hard_link(&fresh, path));
    // It has its own name now, or is of no use.
    let _ = fs::remove_file(&fresh);
    match written {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => own_secret(state),
        Err(error) => Err(file_error(path, error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_is_drawn_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let drawn: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| own_secret(&state).unwrap()))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(drawn.iter().all(|secret| *secret == drawn[0]));
        assert_ne!(drawn[0], [0; 32]);
        assert_eq!(own_secret(&state).unwrap(), drawn[0]);
        let file = state.join(NAME);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
        fs::write(&file, "short").unwrap();
        let error = own_secret(&state).unwrap_err().to_string();
        assert!(error.contains("secret.key"), "{error}");
    }
}
