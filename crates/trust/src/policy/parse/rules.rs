//! The lines `rule`, `also`, `disregard` and `default`.

use std::str::FromStr as _;
use std::sync::Arc;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_tlog::note::VerifierKey;

use super::super::line::{Item, Line};
use super::super::{
    Also, CelRule, Condition, Disregard, Level, Mode, PolicyError, Rule, SignedSet,
};
use super::words::{self, name_of, new_name, no_more, set, store_path, unknown_option};
use super::{Draft, RULE, VOTERS, time};

const ALSO: &str = "also NAME name=GLOB|system=S|drv=DRV|when=CEL quorum=VOTERS";
const DISREGARD: &str = "disregard OP STOREPATH DIGEST";

/// What a line says of a rule so far.
#[derive(Default)]
struct Terms {
    quorum: Option<usize>,
    require: Option<usize>,
    veto: Option<usize>,
    level: Option<Level>,
    max_age_s: Option<u64>,
    min_observed_s: Option<u64>,
}

impl Draft<'_> {
    pub(super) fn rule(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = self.new_rule(line, RULE)?;
        let mut terms = Terms::default();
        let (mut path, mut file, mut key) = (None, None, None);
        let (mut mode, mut fallback, mut grace_s) = (None, None, None);
        for item in line.items.iter().skip(1).copied() {
            match item.option() {
                Some(("path", value)) => set(&mut path, line, item, store_path(line, value)?)?,
                Some(("set", value)) => set(&mut file, line, item, value)?,
                Some(("set-key", value)) => set(&mut key, line, item, vkey(line, value)?)?,
                Some(("grace", value)) => self.duration(&mut grace_s, line, item, value)?,
                Some(("mode", value)) => set(&mut mode, line, item, words::mode(line, value)?)?,
                Some(("fallback", value)) => {
                    set(&mut fallback, line, item, self.earlier_rule(line, value)?)?;
                }
                _ => self.term(&mut terms, line, item, RULE)?,
            }
        }
        let set = self.signed_set(line, file, key)?;
        if path.is_some() && set.is_some() {
            let hint = "a path, or a set of paths: make two rules of it";
            return Err(line.error(line.keyword, "a rule has `path=` and `set=`", hint));
        }
        let mode = mode.unwrap_or(Mode::Enforce);
        if terms.quorum.is_none() && mode != Mode::Deny {
            let hint = format!("write `{RULE}`");
            return Err(line.error(line.keyword, "a rule needs a quorum", hint));
        }
        if mode == Mode::Warn && fallback.is_none() {
            let hint = "add `fallback=RULE`: the rule that is in force meanwhile";
            let message = "a rule with `mode=warn` needs a fallback";
            return Err(line.error(line.keyword, message, hint));
        }
        self.rules.push(Rule {
            path,
            set,
            grace_s,
            mode,
            fallback,
            ..terms.rule(name, line)
        });
        Ok(())
    }

    pub(super) fn also(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = self.new_rule(line, ALSO)?;
        let (mut terms, mut when) = (Terms::default(), None);
        for item in line.items.iter().skip(1).copied() {
            let condition = match item.option() {
                Some(("name", value)) => Condition::Name(value.text.into()),
                Some(("system", value)) => Condition::System(value.text.into()),
                Some(("drv", value)) => Condition::Drv(store_path(line, value)?),
                Some(("when", value)) => {
                    let rule = CelRule::compile(value.text);
                    let hint =
                        "write `when=(EXPRESSION)`, as in when=(name.startsWith(\"linux-\"))";
                    Condition::Cel(rule.map_err(|reason| line.error(value, reason, hint))?)
                }
                Some(("fallback" | "grace" | "mode" | "path" | "set", _)) => {
                    let word = item.text.split('=').next().unwrap_or_default();
                    let message =
                        format!("`{word}` is not an option of `also`: it can only narrow");
                    return Err(line.error(item, message, "use a `rule` for that"));
                }
                _ => {
                    self.term(&mut terms, line, item, ALSO)?;
                    continue;
                }
            };
            if when.replace(condition).is_some() {
                let hint = "say the other one as an `also` line of its own, or both with `when=`";
                return Err(line.error(item, "`also` has two conditions", hint));
            }
        }
        let Some(when) = when else {
            let hint = format!("write `{ALSO}`");
            return Err(line.error(line.keyword, "`also` needs a condition", hint));
        };
        if terms.quorum.is_none() {
            let hint = format!("write `{ALSO}`");
            return Err(line.error(line.keyword, "`also` needs a quorum", hint));
        }
        let rule = terms.rule(name, line);
        self.also.push(Also { when, rule });
        Ok(())
    }

    pub(super) fn disregard(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let operator = line.item(0, "an operator", DISREGARD)?;
        let path = store_path(line, line.item(1, "a store path", DISREGARD)?)?;
        let value = line.item(2, "a digest", DISREGARD)?;
        no_more(line, 3, DISREGARD)?;
        if !self.is_operator(operator.text) {
            let message = format!("no operator called `{}` is defined above", operator.text);
            return Err(line.error(operator, message, self.meant(operator.text)));
        }
        let digest = FingerprintDigest::from_str(value.text).map_err(|_| {
            let hint = "write the fingerprint's digest: 64 hexadecimal digits, as `quorix decide` shows it";
            line.error(value, "not a digest", hint)
        })?;
        self.disregarded.push(Disregard {
            operator: operator.text.into(),
            path,
            value: digest,
        });
        Ok(())
    }

    pub(super) fn default_rule(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let item = line.item(0, "the name of a rule", "default RULE")?;
        no_more(line, 1, "default RULE")?;
        let index = self.earlier_rule(line, item)?;
        if self
            .rules
            .get(index)
            .is_some_and(|rule| rule.path.is_some() || rule.set.is_some())
        {
            let hint = "the default is a rule without `path=` and `set=`";
            let message = format!("rule `{}` is for some paths only", item.text);
            return Err(line.error(item, message, hint));
        }
        set(&mut self.default, line, line.keyword, index)
    }

    /// An option that `rule` and `also` share.
    fn term(
        &self,
        terms: &mut Terms,
        line: &Line<'_>,
        item: Item<'_>,
        form: &str,
    ) -> Result<(), PolicyError> {
        match item.option() {
            Some(("quorum", value)) => set(&mut terms.quorum, line, item, self.group(line, value)?),
            Some(("require", value)) => {
                set(&mut terms.require, line, item, self.group(line, value)?)
            }
            Some(("veto", value)) => set(&mut terms.veto, line, item, self.group(line, value)?),
            Some(("level", value)) => set(&mut terms.level, line, item, words::level(line, value)?),
            Some(("max-age", value)) => self.duration(&mut terms.max_age_s, line, item, value),
            Some(("min-observed", value)) => {
                self.duration(&mut terms.min_observed_s, line, item, value)
            }
            _ => Err(unknown_option(line, item, form)),
        }
    }

    /// A time that takes witnesses to be known. POSIX seconds.
    pub(super) fn time(
        &self,
        slot: &mut Option<u64>,
        line: &Line<'_>,
        item: Item<'_>,
        value: Item<'_>,
    ) -> Result<(), PolicyError> {
        self.needs_witnesses(line, item)?;
        let time = time::date(value.text).ok_or_else(|| {
            let hint = "write 2026-11-25, 2026-11-25T12:00:00Z or POSIX seconds";
            line.error(value, format!("`{}` is not a time", value.text), hint)
        })?;
        set(slot, line, item, time)
    }

    fn duration(
        &self,
        slot: &mut Option<u64>,
        line: &Line<'_>,
        item: Item<'_>,
        value: Item<'_>,
    ) -> Result<(), PolicyError> {
        // Grace goes by the time of a receipt, which is this machine's.
        if !item.text.starts_with("grace") {
            self.needs_witnesses(line, item)?;
        }
        let duration = time::duration(value.text).ok_or_else(|| {
            let hint = "write 90s, 15m, 12h, 30d or 2w";
            line.error(value, format!("`{}` is not a duration", value.text), hint)
        })?;
        set(slot, line, item, duration)
    }

    fn needs_witnesses(&self, line: &Line<'_>, item: Item<'_>) -> Result<(), PolicyError> {
        if self.asks_for_witnesses {
            return Ok(());
        }
        let word = item.text.split('=').next().unwrap_or_default();
        let message = format!(
            "`{word}` needs a witness quorum: without cosignatures a checkpoint has no time"
        );
        Err(line.error(item, message, "remove it, or name witnesses and a quorum"))
    }

    fn signed_set(
        &mut self,
        line: &Line<'_>,
        file: Option<Item<'_>>,
        key: Option<VerifierKey>,
    ) -> Result<Option<Arc<SignedSet>>, PolicyError> {
        let form = "set=FILE set-key=VKEY";
        let (file, key) = match (file, key) {
            (None, None) => return Ok(None),
            (Some(file), Some(key)) => (file, key),
            _ => {
                let hint = format!("write `{form}`");
                return Err(line.error(line.keyword, "a set needs a file and a key", hint));
            }
        };
        let wrong = |reason: String| {
            let hint = "`quorix policy exempt add` makes one";
            let message = format!("the set `{}` cannot be used: {reason}", file.text);
            line.error(file, message, hint)
        };
        let opened = (file.text.to_owned(), key.to_string());
        if let Some(set) = self.opened.get(&opened) {
            return Ok(Some(Arc::clone(set)));
        }
        let bytes = match self.sets.get(file.text) {
            Some(bytes) => bytes.clone(),
            None => self.files.read(file.text).map_err(wrong)?,
        };
        let set = SignedSet::open(&bytes, &key).map_err(|error| wrong(error.to_string()))?;
        let set = Arc::new(set);
        self.sets.insert(file.text.into(), bytes);
        self.opened.insert(opened, Arc::clone(&set));
        Ok(Some(set))
    }

    /// A name that no rule has; those of `also` are among them, so that a decision names one rule.
    fn new_rule(&self, line: &Line<'_>, form: &str) -> Result<String, PolicyError> {
        let also = self.also.iter().map(|also| &also.rule);
        let rules = self.rules.iter().chain(also);
        let name = new_name(line, form, rules.map(|rule| rule.name.as_str()))?;
        if let Some(item) = line.items.first() {
            name_of(line, *item)?;
        }
        Ok(name)
    }

    fn group(&self, line: &Line<'_>, item: Item<'_>) -> Result<usize, PolicyError> {
        let mut names = self.voters.iter().map(|voters| voters.name.as_str());
        names.position(|name| name == item.text).ok_or_else(|| {
            let message = format!("no voters called `{}` are defined above", item.text);
            line.error(item, message, format!("define them first: `{VOTERS}`"))
        })
    }

    fn earlier_rule(&self, line: &Line<'_>, item: Item<'_>) -> Result<usize, PolicyError> {
        let mut names = self.rules.iter().map(|rule| rule.name.as_str());
        names.position(|name| name == item.text).ok_or_else(|| {
            let message = format!("no rule called `{}` is defined above", item.text);
            line.error(item, message, format!("define it first: `{RULE}`"))
        })
    }
}

impl Terms {
    fn rule(self, name: String, line: &Line<'_>) -> Rule {
        Rule {
            name,
            path: None,
            set: None,
            quorum: self.quorum,
            require: self.require,
            veto: self.veto,
            level: self.level.unwrap_or(Level::Closure),
            max_age_s: self.max_age_s,
            min_observed_s: self.min_observed_s,
            grace_s: None,
            mode: Mode::Enforce,
            fallback: None,
            line: line.number,
            text: line.text.trim().to_owned(),
        }
    }
}

fn vkey(line: &Line<'_>, item: Item<'_>) -> Result<VerifierKey, PolicyError> {
    item.text.parse().map_err(|error| {
        let hint = "`quorix key show FILE` prints it: name+id+key";
        line.error(item, format!("not a vkey: {error}"), hint)
    })
}
