//! Files that somebody names: read whole, but never more than they may have.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// All bytes of a file, at most `most`. What it says of its own length is not believed: a device says none.
///
/// # Errors
/// In words for people: it cannot be read, or it has more.
pub(super) fn read_at_most(file: &Path, most: usize) -> Result<Vec<u8>, String> {
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("it is larger than {}", size(most)));
    }
    Ok(bytes)
}

fn size(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    match bytes {
        whole if whole >= MIB && whole.is_multiple_of(MIB) => format!("{} MiB", whole / MIB),
        other => format!("{other} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_an_endless_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"four").unwrap();
        assert_eq!(read_at_most(&file, 4), Ok(b"four".to_vec()));
        let larger = |most: usize| read_at_most(Path::new("/dev/zero"), most).unwrap_err();
        assert_eq!(
            read_at_most(&file, 3).unwrap_err(),
            "it is larger than 3 bytes"
        );
        assert_eq!(larger(1024 * 1024), "it is larger than 1 MiB");
        assert!(read_at_most(&dir.path().join("absent"), 4).is_err());
    }
}
