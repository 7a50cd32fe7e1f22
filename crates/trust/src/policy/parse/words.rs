//! The words of a policy line: names, URLs, keys, thresholds, levels, and what is wrong with each.

use std::str::FromStr;

use quorix_nix::signature::PublicKey;
use quorix_nix::store_path::{StoreDir, StorePath};

use super::super::line::{Item, Line};
use super::super::{Level, Mode, PolicyError};

pub(super) fn one_operator_a_key<'k>(
    line: &Line<'_>,
    item: Item<'_>,
    key: &[u8; 32],
    operator: &str,
    known: impl Iterator<Item = (&'k [u8; 32], &'k String, usize)>,
) -> Result<(), PolicyError> {
    for (other, owner, number) in known {
        if other == key && owner != operator {
            let message = format!("this key is operator `{owner}`'s on line {number}");
            return Err(line.error(item, message, "one key speaks for one operator"));
        }
    }
    Ok(())
}

pub(in super::super) fn set<T>(
    slot: &mut Option<T>,
    line: &Line<'_>,
    item: Item<'_>,
    value: T,
) -> Result<(), PolicyError> {
    if slot.replace(value).is_some() {
        let word = item.text.split('=').next().unwrap_or_default();
        return Err(line.error(item, format!("`{word}` is said twice"), "say it once"));
    }
    Ok(())
}

pub(in super::super) fn no_more(
    line: &Line<'_>,
    from: usize,
    form: &str,
) -> Result<(), PolicyError> {
    match line.items.get(from) {
        Some(item) => Err(line.error(
            *item,
            format!("`{}` is one word too many", item.text),
            format!("write `{form}`"),
        )),
        None => Ok(()),
    }
}

pub(super) fn new_name<'n>(
    line: &Line<'_>,
    form: &str,
    mut taken: impl Iterator<Item = &'n str>,
) -> Result<String, PolicyError> {
    let item = line.item(0, "a name", form)?;
    let name = name_of(line, item)?;
    if taken.any(|other| other == name) {
        return Err(line.error(
            item,
            format!("`{name}` is defined twice"),
            "give it another name",
        ));
    }
    Ok(name)
}

pub(in super::super) fn name_of(line: &Line<'_>, item: Item<'_>) -> Result<String, PolicyError> {
    let good = |c: char| c.is_alphanumeric() || "-_.@/+".contains(c);
    if item.text.is_empty() || item.text.chars().count() > 64 || !item.text.chars().all(good) {
        let hint = "use 1 to 64 letters, digits, - _ . @ / +";
        return Err(line.error(item, format!("`{}` is not a name", item.text), hint));
    }
    Ok(item.text.into())
}

pub(super) fn url(line: &Line<'_>, item: Item<'_>) -> Result<String, PolicyError> {
    let known = ["https://", "http://", "file:///"]
        .iter()
        .any(|scheme| item.text.starts_with(scheme));
    if !known || item.text.len() > 2_048 {
        let hint = "URLs begin with https://, http:// or file:///";
        return Err(line.error(
            item,
            format!("`{}` is not a URL or an option that I know", item.text),
            hint,
        ));
    }
    Ok(item.text.trim_end_matches('/').into())
}

pub(super) fn tag(line: &Line<'_>, item: Item<'_>) -> Result<(String, String), PolicyError> {
    match item.text.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.into(), value.into()))
        }
        _ => Err(line.error(
            item,
            format!("`{}` is not a tag", item.text),
            "write `tag=KEY:VALUE`",
        )),
    }
}

pub(super) fn nix_public_key(line: &Line<'_>, item: Item<'_>) -> Result<PublicKey, PolicyError> {
    PublicKey::from_str(item.text).map_err(|error| {
        line.error(
            item,
            format!("not a Nix public key: {error}"),
            "copy it whole: NAME:BASE64, as in trusted-public-keys",
        )
    })
}

pub(super) fn store_path(line: &Line<'_>, item: Item<'_>) -> Result<StorePath, PolicyError> {
    let parsed = match item.text.rsplit_once('/') {
        Some((dir, base)) => StoreDir::from_str(dir)
            .map_err(|error| error.to_string())
            .and_then(|_| StorePath::from_str(base).map_err(|error| error.to_string())),
        None => StorePath::from_str(item.text).map_err(|error| error.to_string()),
    };
    parsed.map_err(|error| {
        line.error(
            item,
            format!("not a store path: {error}"),
            "write it whole: /nix/store/HASH-NAME",
        )
    })
}

pub(super) fn threshold(
    line: &Line<'_>,
    item: Item<'_>,
    name: &str,
    members: usize,
) -> Result<usize, PolicyError> {
    let hint = || {
        format!("use a number from 1 to {members}, `any`, `all`, or a percentage from 1% to 100%")
    };
    let number = |text: &str| match text.parse::<usize>() {
        Ok(number) if !text.starts_with(['0', '+']) => Some(number),
        _ => None,
    };
    let needed = match (item.text, item.text.strip_suffix('%')) {
        ("any", _) => Some(1),
        ("all", _) => Some(members),
        // P % of n is ⌈P·n/100⌉, in exact integers (SEMANTICS §3).
        (_, Some(percent)) => number(percent)
            .filter(|percent| *percent <= 100)
            .map(|percent| percent.saturating_mul(members).div_ceil(100)),
        (text, None) => number(text),
    };
    match needed {
        Some(needed) if needed <= members => Ok(needed),
        Some(needed) => Err(line.error(
            item,
            format!("group \"{name}\" needs {needed} of {members} members"),
            hint(),
        )),
        None => Err(line.error(
            item,
            format!("`{}` does not say how many must agree", item.text),
            hint(),
        )),
    }
}

pub(super) fn level(line: &Line<'_>, item: Item<'_>) -> Result<Level, PolicyError> {
    match item.text {
        "path" => Ok(Level::Path),
        "closure" => Ok(Level::Closure),
        "build" => Ok(Level::Build),
        "resolved" => Ok(Level::Resolved),
        other => Err(line.error(
            item,
            format!("`{other}` is not a level"),
            "use `path`, `closure`, `build` or `resolved`",
        )),
    }
}

pub(super) fn mode(line: &Line<'_>, item: Item<'_>) -> Result<Mode, PolicyError> {
    match item.text {
        "enforce" => Ok(Mode::Enforce),
        "warn" => Ok(Mode::Warn),
        "deny" => Ok(Mode::Deny),
        other => Err(line.error(
            item,
            format!("`{other}` is not a mode"),
            "use `enforce`, `warn` or `deny`",
        )),
    }
}

/// A weight, or the sum of some: 1 to a million.
pub(super) fn weight(line: &Line<'_>, item: Item<'_>) -> Result<usize, PolicyError> {
    let weight = item.text.parse().ok();
    weight
        .filter(|weight| (1..=1_000_000).contains(weight) && !item.text.starts_with(['0', '+']))
        .ok_or_else(|| {
            let message = format!("`{}` is not a weight", item.text);
            line.error(item, message, "use a number from 1 to 1000000")
        })
}

pub(super) fn unknown_option(line: &Line<'_>, item: Item<'_>, form: &str) -> PolicyError {
    let word = item.text.split('=').next().unwrap_or_default();
    line.error(
        item,
        format!("`{word}` is not an option of `{}`", line.keyword.text),
        format!("write `{form} …`"),
    )
}
