//! The decision, rule by rule, and the properties of SEMANTICS §4.

mod closure;
mod fallbacks;
mod language;
mod names;
mod narrowing;
mod properties;
mod rules;
mod world;
