//! From the text of a policy file to a [`Policy`], one line at a time.

mod rules;
mod time;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use quorix_nix::signature::PublicKey;
use quorix_tlog::note::VerifierKey;
use quorix_tlog::tlog_policy::Quorum;

use super::files::Expanded;
use super::line::{Item, Line};
use super::{
    Also, Builder, Cache, Disregard, Member, Policy, PolicyError, PolicyFiles, Rule, SignedSet,
    Voters, lint, witnesses,
};

pub use time::date;
pub(super) use words::{name_of, no_more, set};
use words::{new_name, nix_public_key, one_operator_a_key, tag, unknown_option, url};

const BUILDER: &str = "builder NAME LOG-VKEY URL… operator=OP";
const CACHE: &str = "cache NAME NIX-PUBLIC-KEY URL operator=OP";
const VOTERS: &str = "voters NAME any|all|K|P% MEMBER…";
const WEIGHTED: &str = "weighted NAME THRESHOLD MEMBER=W…";
const RULE: &str = "rule NAME quorum=VOTERS";

/// How many groups of voters may be within each other.
const GROUPS_DEPTH_MAX: usize = 16;
/// The most lines that say something: each is compared with those before.
const DEFINITIONS_MAX: usize = 10_000;

/// Parses and checks a whole file with what it includes.
pub(super) fn parse(text: &str, files: &dyn PolicyFiles) -> Result<Policy, PolicyError> {
    let expanded = Expanded::of(text, files)?;
    read(&expanded.text, files).map_err(|error| expanded.located(error))
}

fn read(text: &str, files: &dyn PolicyFiles) -> Result<Policy, PolicyError> {
    let witnesses = witnesses::read(text);
    let asks_for_witnesses = witnesses
        .as_ref()
        .is_ok_and(|(policy, _)| policy.quorum != Quorum::None);
    let mut draft = Draft {
        files,
        asks_for_witnesses: asks_for_witnesses || witnesses.is_err(),
        builders: Vec::new(),
        caches: Vec::new(),
        voters: Vec::new(),
        rules: Vec::new(),
        also: Vec::new(),
        disregarded: Vec::new(),
        sets: BTreeMap::new(),
        opened: BTreeMap::new(),
        default: None,
    };
    let mut definitions = 0_usize;
    for (index, text) in text.split('\n').enumerate() {
        let number = index.saturating_add(1);
        if let Err(error) = &witnesses
            && error.line == number
            && !error.text.is_empty()
        {
            return Err(error.clone());
        }
        if let Some(line) = Line::split(number, text)? {
            definitions = definitions.saturating_add(1);
            if definitions > DEFINITIONS_MAX {
                let message = format!("a policy has at most {DEFINITIONS_MAX} lines");
                let hint = "put exemptions into a signed set: `quorix policy exempt`";
                return Err(line.error(line.keyword, message, hint));
            }
            draft.line(&line)?;
        }
    }
    let (witnesses, witness_operators) = witnesses?;
    let Some(default) = draft.default else {
        return Err(PolicyError {
            file: String::new(),
            line: text.lines().count().max(1),
            column: 1,
            message: "no rule is the default".into(),
            hint: "add a line `default RULE`".into(),
            text: String::new(),
        });
    };
    let mut policy = Policy {
        text: text.into(),
        sets: draft.sets,
        builders: draft.builders,
        caches: draft.caches,
        voters: draft.voters,
        rules: draft.rules,
        also: draft.also,
        disregarded: draft.disregarded,
        witnesses,
        witness_operators,
        default,
        warnings: Vec::new(),
    };
    policy.warnings = lint::warnings(&policy);
    Ok(policy)
}

/// What has been defined so far.
struct Draft<'f> {
    files: &'f dyn PolicyFiles,
    /// Whether a checkpoint has a time.
    asks_for_witnesses: bool,
    builders: Vec<Builder>,
    caches: Vec<Cache>,
    voters: Vec<Voters>,
    rules: Vec<Rule>,
    also: Vec<Also>,
    disregarded: Vec<Disregard>,
    sets: BTreeMap<String, Vec<u8>>,
    /// Sets that were read, by file and key: each is read once, so that all rules have the same.
    opened: BTreeMap<(String, String), Arc<SignedSet>>,
    default: Option<usize>,
}

impl Draft<'_> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        match line.keyword.text {
            "builder" => self.builder(line),
            "cache" => self.cache(line),
            "voters" => self.voters(line),
            "weighted" => self.weighted(line),
            "rule" => self.rule(line),
            "also" => self.also(line),
            "disregard" => self.disregard(line),
            "default" => self.default_rule(line),
            // Read by tlog-policy's own reader.
            "log" | "witness" | "group" | "quorum" => Ok(()),
            other => Err(line.error(
                line.keyword,
                format!("`{other}` is not a policy line"),
                "use builder, cache, voters, weighted, rule, also, disregard, default, include, witness, group, quorum or log",
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
        let (mut since_s, mut until_s) = (None, None);
        for item in line.items.iter().skip(2).copied() {
            match item.option() {
                Some(("operator", value)) => set(&mut operator, line, item, name_of(line, value)?)?,
                Some(("nix-key", value)) => {
                    set(&mut nix_key, line, item, nix_public_key(line, value)?)?
                }
                Some(("tag", value)) => tags.push(tag(line, value)?),
                Some(("since", value)) => self.time(&mut since_s, line, item, value)?,
                Some(("until", value)) => self.time(&mut until_s, line, item, value)?,
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
            since_s,
            until_s,
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
        let name = self.new_group(line, VOTERS)?;
        let threshold = line.item(1, "how many must agree", VOTERS)?;
        line.item(2, "members", VOTERS)?;
        let (mut members, mut operators) = (Vec::new(), BTreeSet::new());
        for item in line.items.iter().skip(2).copied() {
            let (member, inside) = self.member(line, item, item)?;
            once(line, item, inside, &mut operators)?;
            members.push(member);
        }
        let threshold = words::threshold(line, threshold, &name, members.len())?;
        self.voters.push(Voters {
            name,
            threshold,
            weights: vec![1; members.len()],
            members,
            line: line.number,
        });
        Ok(())
    }

    fn weighted(&mut self, line: &Line<'_>) -> Result<(), PolicyError> {
        let name = self.new_group(line, WEIGHTED)?;
        let threshold = line.item(1, "the weight that is enough", WEIGHTED)?;
        line.item(2, "members", WEIGHTED)?;
        let (mut members, mut weights, mut operators) = (Vec::new(), Vec::new(), BTreeSet::new());
        for item in line.items.iter().skip(2).copied() {
            let Some((member, weight)) = item.option() else {
                let message = format!("`{}` has no weight", item.text);
                return Err(line.error(item, message, format!("write `{WEIGHTED}`")));
            };
            let member = Item {
                column: item.column,
                text: member,
            };
            let (member, inside) = self.member(line, item, member)?;
            once(line, item, inside, &mut operators)?;
            members.push(member);
            weights.push(words::weight(line, weight)?);
        }
        let total = weights.iter().sum::<usize>();
        let threshold_at = threshold;
        let threshold = words::weight(line, threshold)?;
        if threshold > total {
            return Err(line.error(
                threshold_at,
                format!("group \"{name}\" needs a weight of {threshold} of {total}"),
                format!("use a number from 1 to {total}"),
            ));
        }
        self.voters.push(Voters {
            name,
            threshold,
            members,
            weights,
            line: line.number,
        });
        Ok(())
    }

    /// A name that no group and no operator has.
    fn new_group(&self, line: &Line<'_>, form: &str) -> Result<String, PolicyError> {
        let groups = self.voters.iter().map(|voters| voters.name.as_str());
        let name = new_name(line, form, groups)?;
        match line.items.first() {
            Some(item) if self.is_operator(&name) => {
                let message = format!("`{name}` is an operator already");
                Err(line.error(*item, message, "give the group another name"))
            }
            _ => Ok(name),
        }
    }

    /// A member of a group, and the operators that it stands for.
    fn member(
        &self,
        line: &Line<'_>,
        at: Item<'_>,
        item: Item<'_>,
    ) -> Result<(Member, Vec<String>), PolicyError> {
        let mut groups = self.voters.iter();
        match groups.position(|voters| voters.name == item.text) {
            // An operator that was named after the group: nobody could tell which of them is meant.
            Some(_) if self.is_operator(item.text) => {
                let message = format!("`{}` is an operator and a group", item.text);
                Err(line.error(at, message, "give one of them another name"))
            }
            Some(index) if self.depth_of(index) >= GROUPS_DEPTH_MAX => {
                let message = format!("groups are nested more than {GROUPS_DEPTH_MAX} deep");
                Err(line.error(at, message, "name the members of the inner groups here"))
            }
            Some(index) => Ok((Member::Voters(index), self.operators_of(index))),
            None if self.is_operator(item.text) => Ok((
                Member::Operator(item.text.into()),
                vec![item.text.to_owned()],
            )),
            None => {
                let message = format!("nobody called `{}` is defined above", item.text);
                Err(line.error(at, message, self.meant(item.text)))
            }
        }
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

    /// How many groups are within each other in a group, itself included; at most [`GROUPS_DEPTH_MAX`].
    fn depth_of(&self, group: usize) -> usize {
        let members = self.voters.get(group).map(|voters| &voters.members);
        let inner = members.into_iter().flatten().map(|member| match member {
            Member::Operator(_) => 0,
            Member::Voters(inner) => self.depth_of(*inner),
        });
        inner.max().unwrap_or(0).saturating_add(1)
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

/// Nobody is in a group twice, also not through a group inside.
fn once(
    line: &Line<'_>,
    item: Item<'_>,
    inside: Vec<String>,
    operators: &mut BTreeSet<String>,
) -> Result<(), PolicyError> {
    for operator in inside {
        if !operators.insert(operator.clone()) {
            let message = format!("operator `{operator}` is in this group twice");
            let hint = "one operator has one vote; name it once";
            return Err(line.error(item, message, hint));
        }
    }
    Ok(())
}
