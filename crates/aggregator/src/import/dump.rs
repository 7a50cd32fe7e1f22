//! A dump of narinfos, read record by record. A record ends at a blank line, or where the next one begins with its
//! `StorePath:`. What is too long is passed over to its end and counted as malformed.

use std::io::{BufRead, Read as _};

use super::{
    BATCH_BYTES, BATCH_RECORDS, ImportError, Importer, Progress, RECORD_BYTES_MAX, Record, Verified,
};

/// What every narinfo has once, and the usual ones begin with.
const FIRST_KEY: &[u8] = b"StorePath:";

/// What is verified and committed at a time.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    /// Bytes of the input that they took.
    read: u64,
}

pub(super) fn take(
    importer: &Importer,
    input: impl BufRead,
    mut progress: Progress,
    mut noted: impl FnMut(&Progress) -> Result<(), String>,
) -> Result<Progress, ImportError> {
    let mut records = Records::new(input);
    let mut read = records.batch();
    // Verified, and not committed yet.
    let mut done: Option<(Vec<Verified>, u64)> = None;
    loop {
        // What was read before the input failed counts.
        let (batch, failed) = match read {
            Ok(batch) => (batch, None),
            Err(error) => (Batch::default(), Some(ImportError::Input(error))),
        };
        let is_last = batch.records.is_empty();
        // While this batch is verified, the one before is committed and the next one read.
        let (verified, next) = importer.verify_beside::<_, ImportError>(&batch.records, || {
            if let Some((verified, read)) = done.take() {
                importer.commit(verified, &mut progress.counts)?;
                progress.offset = progress.offset.saturating_add(read);
                noted(&progress).map_err(ImportError::NotNoted)?;
            }
            Ok(if is_last {
                Ok(Batch::default())
            } else {
                records.batch()
            })
        })?;
        match failed {
            Some(error) => return Err(error),
            None if is_last => return Ok(progress),
            None => {}
        }
        done = Some((verified, batch.read));
        read = next;
    }
}

/// Records of a dump, one after the other.
struct Records<R> {
    input: R,
    /// The first line of the next record, where it was read already.
    ahead: Vec<u8>,
}

impl<R: BufRead> Records<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            ahead: Vec::new(),
        }
    }

    /// The next batch; an empty one at the end.
    fn batch(&mut self) -> std::io::Result<Batch> {
        let (mut batch, mut bytes) = (Batch::default(), 0_usize);
        while batch.records.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let Some((record, length)) = self.next()? else {
                break;
            };
            if let Record::Text(text) = &record {
                bytes = bytes.saturating_add(text.len());
            }
            batch.read = batch.read.saturating_add(length);
            batch.records.push(record);
        }
        Ok(batch)
    }

    /// The next record, and how many bytes of the input it took, blank lines included.
    fn next(&mut self) -> std::io::Result<Option<(Record, u64)>> {
        let mut text = std::mem::take(&mut self.ahead);
        let mut taken = text.len() as u64;
        let mut has_first_key = text.starts_with(FIRST_KEY);
        let mut is_too_long = false;
        // What is read next goes on with a line that was too long for one piece.
        let mut is_rest = false;
        loop {
            let mut line = Vec::new();
            let limit = RECORD_BYTES_MAX as u64;
            let read = self
                .input
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut line)?;
            let is_blank = !is_rest && line.trim_ascii().is_empty();
            if read == 0 || (is_blank && (!text.is_empty() || is_too_long)) {
                taken = taken.saturating_add(read as u64);
                if read == 0 && text.is_empty() && !is_too_long {
                    return Ok(None);
                }
                return Ok(Some((record(text, is_too_long), taken)));
            }
            if !is_rest && line.starts_with(FIRST_KEY) {
                if has_first_key {
                    self.ahead = line;
                    return Ok(Some((record(text, is_too_long), taken)));
                }
                has_first_key = true;
            }
            taken = taken.saturating_add(read as u64);
            if text.len().saturating_add(line.len()) > RECORD_BYTES_MAX {
                is_too_long = true;
                text.clear();
            }
            is_rest = !line.ends_with(b"\n");
            if !is_blank && !is_too_long {
                text.extend_from_slice(&line);
            }
        }
    }
}

fn record(text: Vec<u8>, is_too_long: bool) -> Record {
    if is_too_long {
        Record::Broken
    } else {
        Record::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(dump: &[u8]) -> Vec<(Option<String>, u64)> {
        let mut records = Records::new(dump);
        let mut found = Vec::new();
        while let Some((record, length)) = records.next().unwrap() {
            let text = match record {
                Record::Text(text) => Some(String::from_utf8(text).unwrap()),
                _ => None,
            };
            found.push((text, length));
        }
        let total: u64 = found.iter().map(|(_, length)| length).sum();
        assert!(total <= dump.len() as u64);
        found
    }

    fn some(text: &str, length: u64) -> (Option<String>, u64) {
        (Some(text.to_owned()), length)
    }

    #[test]
    fn records_end_at_blank_lines_and_where_the_next_one_begins() {
        let dump = b"\n\nStorePath: a\nURL: x\n\nStorePath: b\nStorePath: c\nURL: z";
        assert_eq!(
            records(dump),
            [
                some("StorePath: a\nURL: x\n", 23),
                some("StorePath: b\n", 13),
                some("StorePath: c\nURL: z", 19),
            ]
        );
        assert_eq!(records(b""), []);
        assert_eq!(records(b"\n \n"), []);
        assert_eq!(
            records(b"junk\n\nmore"),
            [some("junk\n", 6), some("more", 4)]
        );
    }

    #[test]
    fn what_is_too_long_is_passed_over_to_its_end() {
        let mut dump = b"StorePath: a\n".to_vec();
        dump.extend(vec![b'x'; RECORD_BYTES_MAX * 2]);
        dump.extend(b"\n\nStorePath: b\n");
        let found = records(&dump);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, None);
        assert_eq!(found[1], some("StorePath: b\n", 13));

        // A piece of a long line is no beginning of another record.
        let mut dump = b"StorePath: a\nSig: ".to_vec();
        dump.extend(vec![b'x'; RECORD_BYTES_MAX - b"Sig: ".len()]);
        dump.extend(b"StorePath: b\n");
        let length = dump.len() as u64;
        assert_eq!(records(&dump), [(None, length)]);
    }
}
