//! Where an `also` rule holds: conditions on facts that nobody voted on.
//!
//! What is not known counts as met, and what cannot be computed refuses: whoever keeps a fact back must not get
//! around a rule by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program, Value};
use quorix_nix::store_path::StorePath;

/// The most bytes that a CEL expression may have.
const CEL_BYTES_MAX: usize = 4 * 1024;
/// How deep a CEL expression may be nested.
const CEL_DEPTH_MAX: usize = 32;
/// The most pairs of system and derivation over which an expression is evaluated; with more it refuses.
const TOLD_MAX: usize = 64;
/// Functions that go over the elements of something.
const COMPREHENSIONS: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];

/// Where an `also` rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `name=GLOB`: the name after the hash; `*` is any text, `?` one character.
    Name(String),
    /// `system=S`.
    System(String),
    /// `drv=DRV`.
    Drv(StorePath),
    /// `when=CEL`.
    Cel(CelRule),
}

/// What a builder told of one build beside the value: Nix system and derivation, `None` where not told.
pub type ToldPair<'a> = (Option<&'a str>, Option<&'a StorePath>);

/// What builders told of their builds beside the value. An entry that no witness dates may turn out not to count: what
/// it tells can meet a condition, and does not stand for knowing anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// By all entries that count or may count.
    pairs: BTreeSet<ToldPair<'a>>,
    /// Some entry that surely counts told a system; some one told a derivation.
    surely: (bool, bool),
}

impl<'a> Told<'a> {
    /// Adds what one entry told. `is_sure`: it counts for certain.
    pub fn add(&mut self, system: Option<&'a str>, drv: Option<&'a StorePath>, is_sure: bool) {
        if system.is_some() || drv.is_some() {
            self.pairs.insert((system, drv));
        }
        self.surely.0 |= is_sure && system.is_some();
        self.surely.1 |= is_sure && drv.is_some();
    }
}

/// Whether a rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applies {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// That cannot be found out, so nothing is accepted. Why, for people.
    Refuses(String),
}

impl Condition {
    /// Whether the condition is met for a path of which this was told.
    #[must_use]
    pub fn applies(&self, path: &StorePath, told: &Told<'_>) -> Applies {
        let met = match self {
            Self::Name(glob) => matches(glob, path.name()),
            Self::System(system) => {
                let mut systems = told.pairs.iter().filter_map(|(system, _)| *system);
                !told.surely.0 || systems.any(|one| one == system)
            }
            Self::Drv(drv) => {
                let mut drvs = told.pairs.iter().filter_map(|(_, drv)| *drv);
                !told.surely.1 || drvs.any(|one| one == drv)
            }
            Self::Cel(rule) => return rule.applies(path, told),
        };
        if met { Applies::Yes } else { Applies::No }
    }
}

/// Whether a name matches a pattern of `*` and `?`. Takes at most pattern × name steps.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(from) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at = at.saturating_add(1);
            }
            Some(p) if *p == '?' || p == c => {
                at = at.saturating_add(1);
                from = from.saturating_add(1);
            }
            _ => {
                let Some((star_at, star_from)) = star else {
                    return false;
                };
                star = Some((star_at, star_from.saturating_add(1)));
                at = star_at.saturating_add(1);
                from = star_from.saturating_add(1);
            }
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// A compiled CEL expression over `name`, `path`, `system` and `drv`.
#[derive(Clone)]
pub struct CelRule {
    source: String,
    compiled: Arc<(Program, Arc<Env>)>,
    asks_what_was_told: bool,
}

impl std::fmt::Debug for CelRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CelRule({:?})", self.source)
    }
}

impl PartialEq for CelRule {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for CelRule {}

impl CelRule {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, for people: too large, too deep, a comprehension, or no CEL.
    pub fn compile(source: &str) -> Result<Self, String> {
        if source.len() > CEL_BYTES_MAX {
            return Err("the expression is larger than 4 KiB".into());
        }
        let program = Program::compile(source).map_err(|errors| {
            let text = errors.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("not a CEL expression: {first}")
        })?;
        check(program.expression())?;
        let references = program.references();
        let known = ["name", "path", "system", "drv"];
        let variables = references.variables();
        if let Some(other) = variables.iter().find(|name| !known.contains(name)) {
            return Err(format!(
                "`{other}` is not known: an expression may ask for name, path, system and drv"
            ));
        }
        let asks_what_was_told =
            references.has_variable("system") || references.has_variable("drv");
        drop(variables);
        Ok(Self {
            source: source.into(),
            compiled: Arc::new((program, Arc::new(Env::stdlib()))),
            asks_what_was_told,
        })
    }

    /// An error refuses, and so does an expression that is neither true nor false. Without loops and regular
    /// expressions it takes no more than its own size times that of the names.
    fn applies(&self, path: &StorePath, told: &Told<'_>) -> Applies {
        let all = told.pairs.iter().copied();
        let mut pairs: Vec<ToldPair<'_>> = all.filter(|_| self.asks_what_was_told).collect();
        if pairs.len() > TOLD_MAX {
            return Applies::Refuses("too many different systems and derivations are told".into());
        }
        // As if what is not sure were not there, too.
        if pairs.is_empty() || told.surely == (false, false) {
            pairs.push((None, None));
        }
        let mut met = false;
        for one in pairs {
            match self.evaluate(path, one) {
                Ok(yes) => met |= yes,
                Err(reason) => return Applies::Refuses(reason),
            }
        }
        if met { Applies::Yes } else { Applies::No }
    }

    fn evaluate(&self, path: &StorePath, (system, drv): ToldPair<'_>) -> Result<bool, String> {
        let (program, env) = &*self.compiled;
        let mut context = Context::with_env(Arc::clone(env));
        let mut variables = vec![("name", path.name().to_owned()), ("path", path.to_string())];
        variables.extend(system.map(|system| ("system", system.to_owned())));
        variables.extend(drv.map(|drv| ("drv", drv.to_string())));
        for (name, value) in variables {
            context.add_variable_from_value(name, value);
        }
        match program.execute(&context) {
            Ok(Value::Bool(met)) => Ok(met),
            Ok(_) => Err("its condition is neither true nor false".into()),
            Err(error) => Err(format!("its condition fails: {error}")),
        }
    }
}

/// Refuses what goes over elements, and what is nested too deep.
fn check(expression: &IdedExpr) -> Result<(), String> {
    let mut pending = vec![(expression, 1_usize)];
    while let Some((one, depth)) = pending.pop() {
        if depth > CEL_DEPTH_MAX {
            return Err(format!(
                "the expression is nested more than {CEL_DEPTH_MAX} deep"
            ));
        }
        let below = depth.saturating_add(1);
        let mut add = |inner| pending.push((inner, below));
        match &one.expr {
            Expr::Comprehension(_) => return Err(comprehension()),
            Expr::Call(call) => {
                if COMPREHENSIONS.contains(&call.func_name.as_str()) {
                    return Err(comprehension());
                }
                call.target.as_deref().into_iter().for_each(&mut add);
                call.args.iter().for_each(add);
            }
            Expr::List(list) => list.elements.iter().for_each(add),
            Expr::Select(select) => add(&select.operand),
            Expr::Map(map) => entries(&map.entries).into_iter().for_each(add),
            Expr::Struct(one) => entries(&one.entries).into_iter().for_each(add),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }
    Ok(())
}

fn entries(entries: &[cel::common::ast::IdedEntryExpr]) -> Vec<&IdedExpr> {
    let mut inner = Vec::new();
    for entry in entries {
        match &entry.expr {
            EntryExpr::StructField(field) => inner.push(&field.value),
            EntryExpr::MapEntry(entry) => inner.extend([&entry.key, &entry.value]),
        }
    }
    inner
}

fn comprehension() -> String {
    format!(
        "{} are not allowed: they would take too long",
        COMPREHENSIONS.join(", ")
    )
}
