//! From the text of a policy file to a [`Policy`], one line at a time.

mod words;

use std::collections::BTreeSet;
use std::str::FromStr;

use quorix_nix::signature::PublicKey;
use quorix_tlog::note::VerifierKey;

use super::line::{Item, Line};
use super::{
    Builder, Cache, Level, Member, Mode, POLICY_BYTES_MAX, Policy, PolicyError, Rule, Voters, check,
};

use words::{
    name_of, needs_witnesses, new_name, nix_public_key, no_more, one_operator_a_key, set,
    store_path, tag, unknown_option, url, watched_log,
};

const BUILDER: &str = "builder NAME LOG-VKEY URL… operator=OP";
const CACHE: &str = "cache NAME NIX-PUBLIC-KEY URL operator=OP";
const VOTERS: &str = "voters NAME any|all|K|P% MEMBER…";
const RULE: &str = "rule NAME quorum=VOTERS";

/// Parses and checks a whole file.
pub(super) fn parse(text: &str) -> Result<Policy, PolicyError> {
    let at_end = |message: &str, hint: &str| PolicyError {
        line: text.lines().count().max(1),
        column: 1,
        message: message.into(),
        hint: hint.into(),
        text: String::new(),
    };
    if text.len() > POLICY_BYTES_MAX {
        return Err(at_end("the policy is larger than 1 MiB", "shorten it"));
    }
    let mut draft = Draft::default();
    for (index, text) in text.split('\n').enumerate() {
        if let Some(line) = Line::split(index.saturating_add(1), text)? {
            draft.line(&line)?;
        }
    }
    if !draft.quorum_said {
        return Err(at_end(
            "nothing is said about witnesses",
            "add a line `quorum none`",
        ));
    }
    let Some(default) = draft.default else {
        return Err(at_end(
            "no rule is the default",
            "add a line `default RULE`",
        ));
    };
    let Draft {
        builders,
        caches,
        voters,
        rules,
        ..
    } = draft;
    let mut policy = Policy {
        text: text.into(),
        builders,
        caches,
        voters,
        rules,
        default,
        warnings: Vec::new(),
    };
    policy.warnings = check::warnings(&policy);
    Ok(policy)
}

/// What has been defined so far.
#[derive(Default)]
struct Draft {
    builders: Vec<Builder>,
    caches: Vec<Cache>,
    voters: Vec<Voters>,
    rules: Vec<Rule>,
    default: Option<usize>,
    quorum_said: bool,
}

impl Draft {
    fn line(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        match line.keyword.text {
            "builder" => self.builder(line),
            "cache" => self.cache(line),
            "voters" => self.voters(line),
            "rule" => self.rule(line),
            "default" => self.default_rule(line),
            "quorum" => self.quorum(line),
            "log" => watched_log(line),
            "witness" | "group" => Err(line.error(
                line.keyword,
                format!(
                    "this version cannot check witnesses yet, so `{}` would promise too much",
                    line.keyword.text
                ),
                "remove the line and write `quorum none`",
            )),
            "weighted" | "also" | "disregard" => Err(line.error(
                line.keyword,
                format!("this version does not know `{}` yet", line.keyword.text),
                "remove the line; nothing in a policy is ever ignored",
            )),
            other => Err(line.error(
                line.keyword,
                format!("`{other}` is not a policy line"),
                "use builder, cache, voters, rule, default, quorum or log",
            )),
        }
    }

    fn builder(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = new_name(
            line,
            BUILDER,
            self.builders.iter().map(|builder| builder.name.as_str()),
        )?;
        let vkey = line.item(1, "the vkey of its log", BUILDER)?;
        let key = VerifierKey::from_str(vkey.text).map_err(|error| {
            line.error(
                vkey,
                format!("not a vkey: {error}"),
                "`quorix key show FILE` prints it: name+id+key",
            )
        })?;
        let (mut urls, mut operator, mut nix_key, mut tags) = (Vec::new(), None, None, Vec::new());
        for item in line.items.iter().skip(2).copied() {
            match item.option() {
                Some(("operator", value)) => set(&mut operator, line, item, name_of(line, value)?)?,
                Some(("nix-key", value)) => {
                    set(&mut nix_key, line, item, nix_public_key(line, value)?)?
                }
                Some(("tag", value)) => tags.push(tag(line, value)?),
                Some(("since" | "until", _)) => return Err(needs_witnesses(line, item)),
                _ => urls.push(url(line, item)?),
            }
        }
        if urls.is_empty() {
            line.item(usize::MAX, "a URL", BUILDER)?;
        }
        let Some(operator) = operator else {
            return Err(line.error(
                line.keyword,
                "a builder needs an operator",
                format!("write `{BUILDER}`"),
            ));
        };
        if let Some(other) = self
            .builders
            .iter()
            .find(|other| other.origin() == key.name().as_str())
        {
            let message = format!(
                "the log {} is already on line {}",
                other.origin(),
                other.line
            );
            return Err(line.error(
                vkey,
                message,
                "every log has a name of its own; add mirrors as further URLs",
            ));
        }
        let log_keys = self
            .builders
            .iter()
            .map(|other| (other.key.as_bytes(), &other.operator, other.line));
        one_operator_a_key(line, vkey, key.as_bytes(), &operator, log_keys)?;
        if let Some(nix_key) = &nix_key {
            self.one_operator_a_nix_key(line, vkey, nix_key, &operator)?;
        }
        self.builders.push(Builder {
            name,
            key,
            urls,
            operator,
            nix_key,
            tags,
            line: line.number,
        });
        Ok(())
    }

    fn cache(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = new_name(
            line,
            CACHE,
            self.caches.iter().map(|cache| cache.name.as_str()),
        )?;
        let key_item = line.item(1, "the cache's public key", CACHE)?;
        let key = nix_public_key(line, key_item)?;
        let url = url(line, line.item(2, "a URL", CACHE)?)?;
        let mut operator = None;
        for item in line.items.iter().skip(3).copied() {
            match item.option() {
                Some(("operator", value)) => set(&mut operator, line, item, name_of(line, value)?)?,
                _ => return Err(unknown_option(line, item, CACHE)),
            }
        }
        let Some(operator) = operator else {
            return Err(line.error(
                line.keyword,
                "a cache needs an operator",
                format!("write `{CACHE}`"),
            ));
        };
        self.one_operator_a_nix_key(line, key_item, &key, &operator)?;
        self.caches.push(Cache {
            name,
            key,
            url,
            operator,
            line: line.number,
        });
        Ok(())
    }

    fn voters(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = new_name(
            line,
            VOTERS,
            self.voters.iter().map(|voters| voters.name.as_str()),
        )?;
        let threshold = line.item(1, "how many must agree", VOTERS)?;
        line.item(2, "members", VOTERS)?;
        if let (true, Some(item)) = (self.is_operator(&name), line.items.first()) {
            return Err(line.error(
                *item,
                format!("`{name}` is an operator already"),
                "give the group another name",
            ));
        }
        let mut members = Vec::new();
        let mut operators = BTreeSet::new();
        for item in line.items.iter().skip(2).copied() {
            let group = self
                .voters
                .iter()
                .position(|voters| voters.name == item.text);
            let (member, inside) = match group {
                Some(index) => (Member::Voters(index), self.operators_of(index)),
                None if self.is_operator(item.text) => (
                    Member::Operator(item.text.into()),
                    vec![item.text.to_owned()],
                ),
                None => {
                    let message = format!("nobody called `{}` is defined above", item.text);
                    return Err(line.error(item, message, self.meant(item.text)));
                }
            };
            for operator in inside {
                if !operators.insert(operator.clone()) {
                    let message = format!("operator `{operator}` is in this group twice");
                    return Err(line.error(
                        item,
                        message,
                        "one operator has one vote; name it once",
                    ));
                }
            }
            members.push(member);
        }
        let threshold = words::threshold(line, threshold, &name, members.len())?;
        self.voters.push(Voters {
            name,
            threshold,
            members,
            line: line.number,
        });
        Ok(())
    }

    fn rule(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = new_name(line, RULE, self.rules.iter().map(|rule| rule.name.as_str()))?;
        let (mut path, mut quorum, mut require, mut veto) = (None, None, None, None);
        let (mut level, mut mode, mut fallback) = (None, None, None);
        for item in line.items.iter().skip(1).copied() {
            match item.option() {
                Some(("path", value)) => set(&mut path, line, item, store_path(line, value)?)?,
                Some(("quorum", value)) => set(&mut quorum, line, item, self.group(line, value)?)?,
                Some(("require", value)) => {
                    set(&mut require, line, item, self.group(line, value)?)?
                }
                Some(("veto", value)) => set(&mut veto, line, item, self.group(line, value)?)?,
                Some(("level", value)) => set(&mut level, line, item, words::level(line, value)?)?,
                Some(("mode", value)) => set(&mut mode, line, item, words::mode(line, value)?)?,
                Some(("fallback", value)) => {
                    set(&mut fallback, line, item, self.earlier_rule(line, value)?)?
                }
                Some(("max-age" | "min-observed" | "grace", _)) => {
                    return Err(needs_witnesses(line, item));
                }
                Some(("set", _)) => {
                    return Err(line.error(
                        item,
                        "this version does not know `set=` yet",
                        "use one rule a path",
                    ));
                }
                _ => return Err(unknown_option(line, item, RULE)),
            }
        }
        let mode = mode.unwrap_or(Mode::Enforce);
        if quorum.is_none() && mode != Mode::Deny {
            return Err(line.error(
                line.keyword,
                "a rule needs a quorum",
                format!("write `{RULE}`"),
            ));
        }
        if mode == Mode::Warn && fallback.is_none() {
            let hint = "add `fallback=RULE`: the rule that is in force meanwhile";
            return Err(line.error(
                line.keyword,
                "a rule with `mode=warn` needs a fallback",
                hint,
            ));
        }
        let level = level.unwrap_or(Level::Closure);
        let text = line.text.trim().to_owned();
        let rule = Rule {
            name,
            path,
            quorum,
            require,
            veto,
            level,
            mode,
            fallback,
            line: line.number,
            text,
        };
        self.rules.push(rule);
        Ok(())
    }

    fn default_rule(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let item = line.item(0, "the name of a rule", "default RULE")?;
        no_more(line, 1, "default RULE")?;
        let index = self.earlier_rule(line, item)?;
        if self
            .rules
            .get(index)
            .is_some_and(|rule| rule.path.is_some())
        {
            let hint = "the default is a rule without `path=`";
            return Err(line.error(
                item,
                format!("rule `{}` is for one path only", item.text),
                hint,
            ));
        }
        set(&mut self.default, line, line.keyword, index)
    }

    fn quorum(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let item = line.item(0, "`none`", "quorum none")?;
        no_more(line, 1, "quorum none")?;
        if item.text != "none" {
            let hint = "write `quorum none`: then no log's consistency for all readers is checked";
            return Err(line.error(item, "this version cannot check witness quorums yet", hint));
        }
        if self.quorum_said {
            return Err(line.error(line.keyword, "`quorum` is said twice", "say it once"));
        }
        self.quorum_said = true;
        Ok(())
    }

    /// Who may have been meant by a member that is neither an operator nor a group.
    fn meant(&self, name: &str) -> String {
        let builders = self.builders.iter().map(|one| (&one.name, &one.operator));
        let mut all = builders.chain(self.caches.iter().map(|one| (&one.name, &one.operator)));
        match all.find(|(other, _)| *other == name) {
            Some((_, operator)) => format!("`{name}` votes for its operator: write `{operator}`"),
            None => "members are operators (`operator=…`) or other voters".into(),
        }
    }

    fn is_operator(&self, name: &str) -> bool {
        let builders = self.builders.iter().map(|builder| &builder.operator);
        builders
            .chain(self.caches.iter().map(|cache| &cache.operator))
            .any(|operator| operator == name)
    }

    fn operators_of(&self, group: usize) -> Vec<String> {
        let members = self
            .voters
            .get(group)
            .map(|voters| voters.members.as_slice())
            .unwrap_or_default();
        let inside = members.iter().map(|member| match member {
            Member::Operator(operator) => vec![operator.clone()],
            Member::Voters(inner) => self.operators_of(*inner),
        });
        inside.flatten().collect()
    }

    fn group(&self, line: &Line<'_>, item: Item<'_>) -> Result<usize, PolicyError> {
        self.voters
            .iter()
            .position(|voters| voters.name == item.text)
            .ok_or_else(|| {
                let message = format!("no voters called `{}` are defined above", item.text);
                line.error(item, message, format!("define them first: `{VOTERS}`"))
            })
    }

    fn earlier_rule(&self, line: &Line<'_>, item: Item<'_>) -> Result<usize, PolicyError> {
        self.rules
            .iter()
            .position(|rule| rule.name == item.text)
            .ok_or_else(|| {
                let message = format!("no rule called `{}` is defined above", item.text);
                line.error(item, message, format!("define it first: `{RULE}`"))
            })
    }

    fn one_operator_a_nix_key(
        &self,
        line: &Line<'_>,
        item: Item<'_>,
        key: &PublicKey,
        operator: &str,
    ) -> Result<(), PolicyError> {
        let caches = self
            .caches
            .iter()
            .map(|cache| (cache.key.as_bytes(), &cache.operator, cache.line));
        let builders = self.builders.iter().filter_map(|builder| {
            let key = builder.nix_key.as_ref()?;
            Some((key.as_bytes(), &builder.operator, builder.line))
        });
        one_operator_a_key(line, item, key.as_bytes(), operator, caches.chain(builders))
    }
}
