//! Decisions as protobuf and back.

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_trust::decision::{
    Decision, OperatorState, OperatorView, OtherName, Outcome, RuleView, SourceView, ValueView,
};

use super::{ConvertError, fixed};
use crate::pb;

/// How deep decisions may be nested in each other: a policy has far fewer rules that fall back in a row.
const NESTED_MAX: usize = 16;

impl From<&Decision> for pb::Decision {
    fn from(decision: &Decision) -> Self {
        let store_dir = &decision.store_dir;
        let path = decision.path.as_ref().map(|path| store_dir.join(path));
        let nested = |nested: &Option<Box<Decision>>| {
            nested.as_deref().map(|nested| Box::new(Self::from(nested)))
        };
        Self {
            path: path.unwrap_or_else(|| decision.asked.to_string()),
            outcome: outcome(decision.outcome).into(),
            sentence: decision.sentence.clone(),
            rule: decision.rule.name.clone(),
            rule_line: u32::try_from(decision.rule.line).unwrap_or_default(),
            rule_text: decision.rule.text.clone(),
            values: decision.values.iter().map(value).collect(),
            operators: decision.operators.iter().map(operator).collect(),
            steps: decision.steps.clone(),
            accepted: decision
                .accepted
                .map(|value| value.as_bytes().to_vec())
                .unwrap_or_default(),
            blocked_by: decision
                .blocked_by
                .as_ref()
                .map(|path| store_dir.join(path))
                .unwrap_or_default(),
            missing: decision.missing.clone(),
            warned: nested(&decision.warned),
            fallen_from: nested(&decision.fallen_from),
            valid_until_s: decision.valid_until_s.unwrap_or_default(),
            store_dir: store_dir.to_string(),
            other_names: decision
                .other_names
                .iter()
                .map(|other| pb::OtherName {
                    path: store_dir.join(&other.path),
                    operators: other.operators.clone(),
                    self_verified: other.is_self_verified,
                })
                .collect(),
        }
    }
}

impl TryFrom<pb::Decision> for Decision {
    type Error = ConvertError;

    fn try_from(message: pb::Decision) -> Result<Self, ConvertError> {
        read(message, NESTED_MAX)
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Accepted => pb::Outcome::Accepted,
        Outcome::Insufficient => pb::Outcome::Insufficient,
        Outcome::Unknown => pb::Outcome::Unknown,
        Outcome::Conflict => pb::Outcome::Conflict,
        Outcome::Vetoed => pb::Outcome::Vetoed,
        Outcome::VetoUnavailable => pb::Outcome::VetoUnavailable,
        Outcome::BlockedBy => pb::Outcome::BlockedBy,
        Outcome::Denied => pb::Outcome::Denied,
        Outcome::Waiting => pb::Outcome::Waiting,
        // An outcome that is not known here is never taken for another one.
        _ => pb::Outcome::Unspecified,
    }
}

fn value(value: &ValueView) -> pb::DecisionValue {
    let facts = value.facts.as_ref();
    let references = facts.map(|facts| facts.references.iter().map(ToString::to_string).collect());
    pb::DecisionValue {
        letter: value.letter.clone(),
        fingerprint: value.fingerprint.as_bytes().to_vec(),
        nar_hash: facts
            .map(|facts| facts.nar_hash.to_string())
            .unwrap_or_default(),
        nar_size: facts.map(|facts| facts.nar_size).unwrap_or_default(),
        references: references.unwrap_or_default(),
        references_known: facts.is_some(),
        voters: value.voters.clone(),
        store_path: facts
            .map(|facts| facts.store_dir.join(&facts.path))
            .unwrap_or_default(),
    }
}

fn operator(view: &OperatorView) -> pb::OperatorStanding {
    let state = match view.state {
        OperatorState::Votes => pb::OperatorState::Votes,
        OperatorState::Silent => pb::OperatorState::Silent,
        OperatorState::Contradicted => pb::OperatorState::Contradicted,
        OperatorState::Stale => pb::OperatorState::Stale,
        OperatorState::Quarantined => pb::OperatorState::Quarantined,
    };
    pb::OperatorStanding {
        operator: view.operator.clone(),
        state: state.into(),
        letters: view.letters.clone(),
        sources: view.sources.iter().map(source).collect(),
        reason: view.reason.clone(),
    }
}

fn source(view: &SourceView) -> pb::ClaimSource {
    let (origin, index, checkpoint_size) = view.leaf.clone().unwrap_or_default();
    pb::ClaimSource {
        letter: view.letter.clone(),
        name: view.name.clone(),
        origin,
        index,
        checkpoint_size,
        nix_key: view.nix_key.clone(),
        system: view.system.clone(),
        drv_path: view.drv_path.clone(),
        nix_version: view.nix_version.clone(),
        finished_at_s: view.finished_at_s,
    }
}

fn read(message: pb::Decision, depth: usize) -> Result<Decision, ConvertError> {
    let invalid = |field, error: &dyn std::fmt::Display| ConvertError::new(field, error);
    let store_dir: StoreDir = message
        .store_dir
        .parse()
        .map_err(|error| invalid("decision.store_dir", &error))?;
    let absolute = |field, text: &str| {
        store_dir
            .parse(text)
            .map_err(|error| invalid(field, &error))
    };
    let (path, asked) = match message.path.parse::<HashPart>() {
        Ok(asked) => (None, asked),
        Err(_) => {
            let path = absolute("decision.path", &message.path)?;
            let asked = path.hash_part();
            (Some(path), asked)
        }
    };
    let nested = |field, nested: Option<Box<pb::Decision>>| match (nested, depth.checked_sub(1)) {
        (None, _) => Ok(None),
        (Some(nested), Some(depth)) => read(*nested, depth).map(|nested| Some(Box::new(nested))),
        (Some(_), None) => Err(ConvertError::new(field, "is nested too deep")),
    };
    let accepted = match message.accepted.as_slice() {
        [] => None,
        bytes => Some(FingerprintDigest::from_bytes(fixed(
            "decision.accepted",
            bytes,
        )?)),
    };
    let blocked_by = match message.blocked_by.as_str() {
        "" => None,
        text => Some(absolute("decision.blocked_by", text)?),
    };
    let values = message
        .values
        .into_iter()
        .map(|value| read_value(value, &store_dir));
    Ok(Decision {
        values: values.collect::<Result<_, _>>()?,
        asked,
        path,
        outcome: read_outcome(message.outcome)?,
        sentence: message.sentence,
        rule: RuleView {
            name: message.rule,
            line: usize::try_from(message.rule_line).unwrap_or_default(),
            text: message.rule_text,
        },
        operators: message
            .operators
            .into_iter()
            .map(read_operator)
            .collect::<Result<_, _>>()?,
        steps: message.steps,
        accepted,
        blocked_by,
        missing: message.missing,
        other_names: message
            .other_names
            .into_iter()
            .map(|other| {
                Ok(OtherName {
                    path: absolute("decision.other_names", &other.path)?,
                    operators: other.operators,
                    is_self_verified: other.self_verified,
                })
            })
            .collect::<Result<_, _>>()?,
        warned: nested("decision.warned", message.warned)?,
        fallen_from: nested("decision.fallen_from", message.fallen_from)?,
        valid_until_s: (message.valid_until_s != 0).then_some(message.valid_until_s),
        store_dir,
    })
}

fn read_outcome(found: i32) -> Result<Outcome, ConvertError> {
    Ok(match pb::Outcome::try_from(found) {
        Ok(pb::Outcome::Accepted) => Outcome::Accepted,
        Ok(pb::Outcome::Insufficient) => Outcome::Insufficient,
        Ok(pb::Outcome::Unknown) => Outcome::Unknown,
        Ok(pb::Outcome::Conflict) => Outcome::Conflict,
        Ok(pb::Outcome::Vetoed) => Outcome::Vetoed,
        Ok(pb::Outcome::VetoUnavailable) => Outcome::VetoUnavailable,
        Ok(pb::Outcome::BlockedBy) => Outcome::BlockedBy,
        Ok(pb::Outcome::Denied) => Outcome::Denied,
        Ok(pb::Outcome::Waiting) => Outcome::Waiting,
        Ok(pb::Outcome::Unspecified) | Err(_) => {
            return Err(ConvertError::unknown("decision.outcome", found));
        }
    })
}

fn read_value(value: pb::DecisionValue, store_dir: &StoreDir) -> Result<ValueView, ConvertError> {
    let fingerprint =
        FingerprintDigest::from_bytes(fixed("value.fingerprint", &value.fingerprint)?);
    let facts = if value.references_known {
        let invalid = |field, error: &dyn std::fmt::Display| ConvertError::new(field, error);
        let reference = |text: &String| {
            text.parse::<StorePath>()
                .map_err(|error| invalid("value.references", &error))
        };
        let facts = Fingerprint {
            store_dir: store_dir.clone(),
            path: store_dir
                .parse(&value.store_path)
                .map_err(|error| invalid("value.store_path", &error))?,
            nar_hash: value
                .nar_hash
                .parse()
                .map_err(|error| invalid("value.nar_hash", &error))?,
            nar_size: value.nar_size,
            references: value
                .references
                .iter()
                .map(reference)
                .collect::<Result<_, _>>()?,
        };
        if facts.digest() != fingerprint {
            return Err(ConvertError::new(
                "value.fingerprint",
                "is not that of the facts beside it",
            ));
        }
        Some(facts)
    } else {
        None
    };
    Ok(ValueView {
        letter: value.letter,
        fingerprint,
        facts,
        voters: value.voters,
    })
}

fn read_operator(view: pb::OperatorStanding) -> Result<OperatorView, ConvertError> {
    let state = match pb::OperatorState::try_from(view.state) {
        Ok(pb::OperatorState::Votes) => OperatorState::Votes,
        Ok(pb::OperatorState::Silent) => OperatorState::Silent,
        Ok(pb::OperatorState::Contradicted) => OperatorState::Contradicted,
        Ok(pb::OperatorState::Stale) => OperatorState::Stale,
        Ok(pb::OperatorState::Quarantined) => OperatorState::Quarantined,
        Ok(pb::OperatorState::Unspecified) | Err(_) => {
            return Err(ConvertError::unknown("operator.state", view.state));
        }
    };
    Ok(OperatorView {
        operator: view.operator,
        state,
        letters: view.letters,
        sources: view.sources.into_iter().map(read_source).collect(),
        reason: view.reason,
    })
}

fn read_source(source: pb::ClaimSource) -> SourceView {
    let leaf = (source.origin, source.index, source.checkpoint_size);
    SourceView {
        letter: source.letter,
        name: source.name,
        leaf: (!leaf.0.is_empty()).then_some(leaf),
        nix_key: source.nix_key,
        system: source.system,
        drv_path: source.drv_path,
        nix_version: source.nix_version,
        finished_at_s: source.finished_at_s,
    }
}
