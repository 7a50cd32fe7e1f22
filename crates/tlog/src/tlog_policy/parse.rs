//! From the octets of a policy file to a [`TlogPolicy`], one line at a time.

use std::collections::BTreeSet;

use super::{
    Group, MAX_DEFINITIONS, MAX_POLICY_LENGTH, Member, PolicyLog, PolicyName, PolicyWitness,
    Quorum, TlogPolicy, TlogPolicyError,
};
use crate::decimal;

const LOG: &str = "log VKEY [URL]";
const WITNESS: &str = "witness NAME VKEY [URL]";
const GROUP: &str = "group NAME any|all|K MEMBER…";
const QUORUM: &str = "quorum NAME";

/// The predefined name of an empty quorum.
const NONE: &[u8] = b"none";

type Result<T> = std::result::Result<T, TlogPolicyError>;

/// Reads and checks a whole file.
pub(super) fn parse(bytes: &[u8]) -> Result<TlogPolicy> {
    let count = bytes.iter().filter(|byte| **byte == b'\n').count();
    let at_end = |message: &str, hint: &str| TlogPolicyError {
        line: count.max(1),
        column: 1,
        message: message.into(),
        hint: hint.into(),
        text: String::new(),
    };
    if bytes.len() > MAX_POLICY_LENGTH {
        return Err(at_end("the policy is larger than 1 MiB", "shorten it"));
    }
    let mut draft = Draft::default();
    if !bytes.is_empty() {
        let ended = bytes.strip_suffix(b"\n").ok_or_else(|| {
            at_end(
                "the last line does not end with a line feed",
                "end it: a file that was cut off must not mean something else",
            )
        })?;
        for (number, text) in (1..).zip(ended.split(|byte| *byte == b'\n')) {
            draft.line(&Line::split(number, text)?)?;
        }
    }
    let quorum = draft.quorum.ok_or_else(|| {
        let hint = "add `quorum NAME`, or `quorum none` if no cosignature is asked for";
        at_end("no quorum is defined", hint)
    })?;
    Ok(TlogPolicy {
        logs: draft.logs,
        witnesses: draft.witnesses,
        groups: draft.groups,
        quorum,
    })
}

/// A word of a line with its offset in bytes.
#[derive(Clone, Copy)]
struct Word<'a> {
    offset: usize,
    text: &'a [u8],
}

impl Word<'_> {
    fn shown(&self) -> String {
        String::from_utf8_lossy(self.text).into_owned()
    }
}

struct Line<'a> {
    number: usize,
    text: &'a [u8],
    words: Vec<Word<'a>>,
}

impl<'a> Line<'a> {
    /// Words between spaces and tabs; none where the line is a comment.
    fn split(number: usize, text: &'a [u8]) -> Result<Self> {
        let mut line = Self {
            number,
            text,
            words: Vec::new(),
        };
        let control = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
        if let Some(offset) = text.iter().position(control) {
            let hint = "lines end with a line feed alone; words are separated by spaces or tabs";
            return Err(line.error_at(offset, "control character", hint));
        }
        let mut offset = 0_usize;
        for word in text.split(|byte| matches!(byte, b' ' | b'\t')) {
            if !word.is_empty() {
                line.words.push(Word { offset, text: word });
            }
            offset = offset.saturating_add(word.len()).saturating_add(1);
        }
        if line
            .words
            .first()
            .is_some_and(|word| word.text.starts_with(b"#"))
        {
            line.words.clear();
        }
        Ok(line)
    }

    fn error_at(
        &self,
        offset: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> TlogPolicyError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        TlogPolicyError {
            line: self.number,
            column: String::from_utf8_lossy(before)
                .chars()
                .count()
                .saturating_add(1),
            message: message.into(),
            hint: hint.into(),
            text: String::from_utf8_lossy(self.text).into_owned(),
        }
    }

    fn error(
        &self,
        word: Word<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> TlogPolicyError {
        self.error_at(word.offset, message, hint)
    }

    /// The word at a position after the keyword, or what is missing.
    fn word(&self, position: usize, what: &str, form: &str) -> Result<Word<'a>> {
        let found = self.words.get(position.saturating_add(1)).copied();
        found.ok_or_else(|| {
            let keyword = self.words.first().map(Word::shown).unwrap_or_default();
            let message = format!("`{keyword}` needs {what}");
            self.error_at(self.text.len(), message, format!("write `{form}`"))
        })
    }

    /// The optional URL at a position, after which nothing may come.
    fn url(&self, position: usize, form: &str) -> Result<Option<String>> {
        if let Some(word) = self.words.get(position.saturating_add(2)) {
            let message = format!("`{}` is one word too many", word.shown());
            return Err(self.error(*word, message, format!("write `{form}`")));
        }
        let url = self.words.get(position.saturating_add(1));
        Ok(url.map(Word::shown))
    }
}

/// What has been defined so far.
#[derive(Default)]
struct Draft {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// Names that are members of a group already.
    taken: BTreeSet<PolicyName>,
    quorum: Option<Quorum>,
}

impl Draft {
    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let Some(keyword) = line.words.first().copied() else {
            return Ok(());
        };
        match keyword.text {
            b"log" => self.log(line, keyword),
            b"witness" => self.witness(line, keyword),
            b"group" => self.group(line, keyword),
            b"quorum" => self.define_quorum(line, keyword),
            _ => {
                let message = format!("`{}` is not known", keyword.shown());
                let hint = "a line begins with `log`, `witness`, `group`, `quorum` or `#`";
                Err(line.error(keyword, message, hint))
            }
        }
    }

    fn log(&mut self, line: &Line<'_>, keyword: Word<'_>) -> Result<()> {
        bounded(line, keyword, "logs", self.logs.len())?;
        let word = line.word(0, "the log's key", LOG)?;
        let key: crate::log_key::LogKey = vkey(line, word)?;
        let url = line.url(1, LOG)?;
        let public = key.public_bytes();
        if let Some(other) = self
            .logs
            .iter()
            .find(|log| log.key.public_bytes() == public)
        {
            let message = format!("this log's key is on line {} already", other.line);
            return Err(line.error(word, message, "name each key once, whatever its name"));
        }
        self.logs.push(PolicyLog {
            key,
            url,
            line: line.number,
        });
        Ok(())
    }

    fn witness(&mut self, line: &Line<'_>, keyword: Word<'_>) -> Result<()> {
        bounded(line, keyword, "witnesses", self.witnesses.len())?;
        let name = self.new_name(line, WITNESS)?;
        let word = line.word(1, "the witness's key", WITNESS)?;
        let key: crate::cosignature::CosignerKey = vkey(line, word)?;
        let url = line.url(2, WITNESS)?;
        let public = key.public_bytes();
        let same = |witness: &&PolicyWitness| witness.key.public_bytes() == public;
        if let Some(other) = self.witnesses.iter().find(same) {
            let message = format!(
                "this key is that of witness `{}` on line {}",
                other.name, other.line
            );
            return Err(line.error(word, message, "one key is one witness: it counts once"));
        }
        self.witnesses.push(PolicyWitness {
            name,
            key,
            url,
            line: line.number,
        });
        Ok(())
    }

    fn group(&mut self, line: &Line<'_>, keyword: Word<'_>) -> Result<()> {
        bounded(line, keyword, "groups", self.groups.len())?;
        let name = self.new_name(line, GROUP)?;
        let threshold = line.word(1, "a threshold", GROUP)?;
        line.word(2, "at least one member", GROUP)?;
        let mut members = Vec::new();
        for word in line.words.iter().skip(3).copied() {
            members.push(self.member(line, word)?);
        }
        let count = members.len();
        let threshold = match threshold.text {
            b"any" => 1,
            b"all" => count,
            text => std::str::from_utf8(text)
                .ok()
                .and_then(decimal::parse)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=count).contains(number))
                .ok_or_else(|| {
                    let message = format!(
                        "group `{name}` needs {} of {count} members",
                        threshold.shown()
                    );
                    let hint = format!("use a number from 1 to {count}, `any`, or `all`");
                    line.error(threshold, message, hint)
                })?,
        };
        self.groups.push(Group {
            name,
            threshold,
            members,
            line: line.number,
        });
        Ok(())
    }

    /// A member that is in no group yet.
    fn member(&mut self, line: &Line<'_>, word: Word<'_>) -> Result<Member> {
        if word.text == NONE {
            let hint = "`none` can only be a quorum";
            return Err(line.error(word, "`none` cannot be a member", hint));
        }
        let member = self.named(line, word)?;
        if !self.taken.insert(PolicyName(word.text.to_vec())) {
            let message = format!("`{}` is a member of a group already", word.shown());
            let hint = "each name can be a member once, so that nobody counts twice";
            return Err(line.error(word, message, hint));
        }
        Ok(member)
    }

    fn define_quorum(&mut self, line: &Line<'_>, keyword: Word<'_>) -> Result<()> {
        if self.quorum.is_some() {
            let hint = "a policy has exactly one quorum line";
            return Err(line.error(keyword, "the quorum is defined twice", hint));
        }
        let word = line.word(0, "a name", QUORUM)?;
        if let Some(more) = line.words.get(2).copied() {
            let message = format!("`{}` is one word too many", more.shown());
            let hint = "define a group of several names and name that";
            return Err(line.error(more, message, hint));
        }
        self.quorum = Some(if word.text == NONE {
            Quorum::None
        } else {
            Quorum::Of(self.named(line, word)?)
        });
        Ok(())
    }

    fn named(&self, line: &Line<'_>, word: Word<'_>) -> Result<Member> {
        self.find(word.text).ok_or_else(|| {
            let message = format!("`{}` is not defined on a line above", word.shown());
            line.error(
                word,
                message,
                "define witnesses and groups before they are used",
            )
        })
    }

    fn find(&self, name: &[u8]) -> Option<Member> {
        let witness = self
            .witnesses
            .iter()
            .position(|w| w.name.as_bytes() == name);
        let group = || self.groups.iter().position(|g| g.name.as_bytes() == name);
        witness
            .map(Member::Witness)
            .or_else(|| group().map(Member::Group))
    }

    fn new_name(&self, line: &Line<'_>, form: &str) -> Result<PolicyName> {
        let word = line.word(0, "a name", form)?;
        if word.text == NONE || self.find(word.text).is_some() {
            let message = format!("`{}` is defined already", word.shown());
            let hint = "witnesses and groups need different names; `none` is taken";
            return Err(line.error(word, message, hint));
        }
        Ok(PolicyName(word.text.to_vec()))
    }
}

fn bounded(line: &Line<'_>, keyword: Word<'_>, what: &str, count: usize) -> Result<()> {
    if count < MAX_DEFINITIONS {
        return Ok(());
    }
    let message = format!("more than {MAX_DEFINITIONS} {what}");
    Err(line.error(keyword, message, "use a smaller policy"))
}

fn vkey<K: std::str::FromStr<Err = crate::note::KeyError>>(
    line: &Line<'_>,
    word: Word<'_>,
) -> Result<K> {
    let hint = "`quorix key show FILE` prints one: name+id+key";
    let text = std::str::from_utf8(word.text)
        .map_err(|_| line.error(word, "not a key: it is not UTF-8", hint))?;
    text.parse()
        .map_err(|error| line.error(word, format!("not a usable key: {error}"), hint))
}
